"""One request that a caller gave to every participant, as one of them sees it.

Who else was asked, whose turn it is to propose, and the signature, whoever made it. A caller's word counts for this node
alone: it takes part only in what it was asked itself, and in one proposal of it at a time. What else stands in the room
- strangers, other requests under the same tx_id, what a former session left - is passed over.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

from participant.node.api import SignedDigest
from participant.node.ask_notes import ASKED, FINISHED, AskNote, decode_finished, encode_finished
from participant.node.ask_standing import Standing
from participant.node.config import AskSettings
from participant.node.driver import SessionDriver
from participant.node.errors import Busy, GatewayUnreachable, NodeFailure, TimedOut
from participant.node.outcomes import OperatorAbort, failure_of_session
from participant.node.plan import Decline, Declined
from participant.node.results import signed_digest
from participant.node.room import Room
from participant.node.signing import Request
from participant.node.stock import Points
from participant.node.tasks import Changes
from tss.cggmp24 import presign, sign
from tss.cggmp24.sign import SignRequest
from tss.envelope import Kind, Signed
from tss.errors import ProtocolError, SchemaViolation
from tss.proposal import Proposal

log = logging.getLogger(__name__)

ECHO_SECONDS: Final = 5.0
"""For a signature of this node's own to come back from the room, so that all answer with the first one there."""

RETRY_SECONDS: Final = 0.5
"""Before those who were busy or silent are asked again."""

MAX_ROUNDS: Final = 3
"""Doublings of that time."""

MAX_ATTEMPTS: Final = 32
"""Proposals of one node for one request."""

Attempt = Callable[[Points], Awaitable[SignedDigest]]
"""Propose to these evaluation points, in the request's room, and see it through. Raises what `Signing.attempt` does."""


_DIGEST_AT: Final = {presign.FULL_KIND: 9, sign.KIND: 1}
"""Where a tail to sign has the digest, and behind it the path."""


class Ask:
    """For the event loop. `pursue` is its life; the rest is called with what arrives in the room."""

    def __init__(self, request: Request, note: AskNote, settings: AskSettings) -> None:
        self.request = request
        self.note = note
        self.scope = note.scope(request.account.suite.proto)
        self._settings = settings
        self._me = request.membership.me.index
        self._standing = Standing(request.membership, request.account.record.threshold)
        self._engaged: bytes | None = None
        self._made: SignedDigest | None = None
        self._attempts = 0
        self._rounds = 0
        self._version = 0
        self.finished: SignedDigest | None = None
        """The first signature in the room."""
        self._failure: NodeFailure | None = None
        self.changes = Changes()
        self.dropped: Counter[str] = Counter()
        self.over = False
        """Whether this node's caller has got an answer, or none is to be had any more."""

    def enter(
        self,
        room: Room,
        attempt: Attempt,
        marked: Callable[[], set[bytes]],
        blocked: Callable[[], set[Points]],
    ) -> None:
        """The room of the request, how to propose in it, the identities in quarantine, and the signer sets that are blocked."""
        self.room = room
        self._attempt = attempt
        self._marked = marked
        self._blocked = blocked

    def fail(self, failure: NodeFailure) -> None:
        """End the request at this node: the gateway does not let it into the room, or an operator has enough."""
        self._failure = self._failure or failure
        self._moved()

    def _moved(self) -> None:
        self._version += 1
        self.changes.notify()

    # Saying

    def say(self) -> None:
        """Post what this node has to say, now and whenever the gateway lost it."""
        signed = self.finished or self._made
        if signed is not None:
            self._say(FINISHED, encode_finished(signed))
        elif not self.over:
            self._say(ASKED, self.note.encode())

    def _say(self, round_: int, payload: bytes) -> None:
        membership, proto = self.request.membership, self.request.account.suite.proto
        self.room.send(membership.note(proto, self.scope, Kind.ASK, payload, round_))

    # Hearing

    def take(self, signed: Signed) -> None:
        """A note of a member, this node's own included; its signature was checked."""
        body = signed.body
        try:
            if body.round == ASKED:
                self._take_asked(body.sender.index, body.sid, AskNote.decode(body.payload))
            elif body.round == FINISHED and body.sid == self.scope:
                self._take_finished(body.payload)
            else:
                self.dropped["other"] += 1
        except SchemaViolation as error:
            self.dropped["malformed"] += 1
            log.warning("a note of index %d is of no use: %s", body.sender.index - 1, error.what)

    def _take_asked(self, point: int, scope: bytes, note: AskNote) -> None:
        if note.execution_id != self.note.execution_id or scope != note.scope(
            self.request.account.suite.proto
        ):
            self.dropped["other"] += 1
            return
        self._standing.heard(point, self.note.difference(note))
        self._moved()

    def _take_finished(self, payload: bytes) -> None:
        signed = decode_finished(payload, self.request.account.share.X, self.note.data)
        if self.finished is None:
            self.finished = signed
            self._moved()

    # Proposals of others

    def gate(self, ph: bytes, proposal: Proposal) -> None:
        """Let a proposal in the room pass when this node was asked for just that. Raises Declined."""
        due = SignRequest(self.note.data, ())
        index = _DIGEST_AT.get(proposal.kind)
        same = (
            not self.over
            and index is not None
            and proposal.request_id == self.note.execution_id
            and proposal.account_id == self.note.account_id
            and proposal.tail[index] == due.digest
            and not proposal.tail[index + 1]
        )
        if not same:
            raise Declined(Decline.NOT_ASKED, "this node was not asked to sign this here")
        if self.finished is not None or self._made is not None:
            self.say()
            raise Declined(Decline.BUSY, "the request is finished, its signature is in the room")
        if self._engaged not in (None, ph):
            raise Declined(Decline.BUSY, "this node is in another proposal for this request")
        self._engaged = ph

    def joined(self, ph: bytes, driver: SessionDriver | None) -> None:
        """What became of a proposal: a session, or none."""
        if driver is not None:
            driver.outcome.add_done_callback(lambda _: self._ended(ph, driver))
            driver.on_identifying(lambda: self._free(ph))
        elif self._engaged == ph:
            self._engaged = None
            self._moved()

    def _free(self, ph: bytes) -> None:
        """A session gives no signature any more: this node may take part in another."""
        if self._engaged == ph:
            self._engaged = None
            self._moved()

    def _ended(self, ph: bytes, driver: SessionDriver) -> None:
        if self._engaged == ph:
            self._engaged = None
        error = None if driver.outcome.cancelled() else driver.outcome.exception()
        if isinstance(error, OperatorAbort):
            self.fail(failure_of_session(error))
        elif error is None and not driver.outcome.cancelled():
            from_stock = driver.plan.kind == sign.KIND
            sid = driver.sid or b""
            (due,) = self.request.decoded.digests
            points = driver.plan.points
            self._sign(signed_digest(driver.outcome.result(), due, points, sid, from_stock=from_stock))
        self._moved()

    def _sign(self, signed: SignedDigest) -> None:
        if self._made is None:
            self._made = signed
            self.say()

    # The request's life

    async def pursue(self) -> SignedDigest:
        """The signature. Raises NodeFailure."""
        self.say()
        try:
            async with asyncio.timeout(self._settings.total):
                await self._gather()
                while self.finished is None:
                    await self._take_turn()
        except TimeoutError:
            raise self._too_late() from None
        return self.finished

    async def _gather(self) -> None:
        """Wait until enough were asked the same; this node's own note counts when it is back from the room."""
        standing = self._standing
        await self.changes.wait_for(lambda: standing.enough or self._answered(), self._settings.gather)
        if not standing.enough:
            self._check()
            if self.finished is None and self._made is None:
                raise self._too_few()
        self._began = asyncio.get_running_loop().time()

    def _answered(self) -> bool:
        return self.finished is not None or self._made is not None or self._failure is not None

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    async def _take_turn(self) -> None:
        """Propose while it is this node's turn and it is free; else wait until something happens."""
        self._check()
        if self._made is not None:
            await self.changes.wait_for(lambda: self.finished is not None, ECHO_SECONDS)
            self.finished = self.finished or self._made
            return
        standing, elapsed = self._standing, asyncio.get_running_loop().time() - self._began
        turn, spent = divmod(elapsed, self._settings.turn)
        version, wait = self._version, self._settings.turn - spent
        if standing.whose_turn(int(turn)) == self._me and self._engaged is None:
            standing.leave_out(self._marked())
            standing.close(self._blocked())
            points = standing.choose()
            if points is not None:
                await self._propose(points)
                return
            if standing.hopeless() and elapsed >= self._settings.gather:
                raise standing.failure()
            wait = min(wait, RETRY_SECONDS * 2**self._rounds)
            if standing.come_back():
                self._rounds = min(self._rounds + 1, MAX_ROUNDS)
        await self.changes.wait_for(lambda: self._version != version, wait)

    async def _propose(self, points: Points) -> None:
        self._attempts += 1
        if self._attempts > MAX_ATTEMPTS:
            raise self._standing.failure()
        self._engaged = b""
        attempt = asyncio.ensure_future(self._attempt(points))
        attempt.add_done_callback(self._attempted)
        try:
            await self.changes.wait_for(
                lambda: attempt.done() or self.finished is not None, self._settings.total
            )
            if self.finished is None:
                self._sign(attempt.result())
        except Busy as error:
            log.info("request %s waits: %s", self.note.execution_id.hex(), error)
            self._standing.pass_over(points, "waits until this node is free")
        except (Declined, ProtocolError) as error:
            log.info("a proposal for request %s failed: %s", self.note.execution_id.hex(), error)
            if isinstance(error, OperatorAbort):
                raise failure_of_session(error) from None
            self._standing.after(points, error, self.request.membership.presence.mark_silent)
        finally:
            attempt.cancel()
            self._engaged = None

    def _attempted(self, attempt: asyncio.Future[SignedDigest]) -> None:
        # Looked at here, so that one that nobody waits for any more does not complain.
        if not attempt.cancelled():
            attempt.exception()
        self._moved()

    # What the caller is told

    def _too_few(self) -> NodeFailure:
        seconds = f"{self._settings.gather:.0f} s"
        if not self._standing.own_came_back:
            return GatewayUnreachable(
                f"Connection refused: nothing came back from room {self.room.topic.name} within {seconds}. Is the gateway "
                "up? This node goes on trying to reach it"
            )
        names = ", ".join(f"index {point - 1}" for point in sorted(self._standing.asked))
        return self._standing.threshold_not_met(f"within {seconds} only {names} were asked the same")

    def _too_late(self) -> NodeFailure:
        why = self._standing.reasons()
        silent = ",".join(str(point - 1) for point in sorted(self._standing.said))
        return TimedOut(
            f"no signature within {self._settings.total:.0f} s{f' ({why})' if why else ''}; ask again",
            silent=silent,
        )
