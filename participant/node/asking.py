"""wallet-mpc's way of asking: the caller gives every participant the same request, and each answers with the signature.

The nodes find each other in the room `signing_{tx_id}` and end in the same proposals as every other signature
(protocol.md 0.7, with the execution id as the request id). `tx_id`s collide, so requests are told apart by what was asked
(see `ask_notes`), and each has a subscription of its own: it sees the room from its start, whoever came before.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import replace
from functools import partial
from typing import Final

from participant.channel import Channel, signing_topic
from participant.node.api import AskCall, Chain, SignCall, SignedDigest, SignResult
from participant.node.ask import Ask
from participant.node.ask_notes import DIGEST_BYTES, TX_ID_LIMIT, AskNote
from participant.node.config import NodeConfig
from participant.node.errors import (
    BadDigestGiven,
    Busy,
    GatewayUnreachable,
    InvalidRequest,
    NodeFailure,
    NotReady,
    RequestIdUsed,
    failure_of,
)
from participant.node.outcomes import failure_of_session
from participant.node.proposals import Proposals
from participant.node.results import content_hash, decode_signed, encode_signed, sign_result
from participant.node.room import Room
from participant.node.sessions import Sessions
from participant.node.signing import Request, Signing
from participant.node.stock import Points, Stock
from participant.node.tasks import Tasks
from participant.node.workers import Workers
from participant.payloads import Digest, to_value
from participant.policy import SELF
from participant.store import RequestStatus, Store, StoreError
from tss.encoding import encode
from tss.envelope import Kind, Signed, routing
from tss.errors import PeerFault, SchemaViolation
from tss.proposal import REQUEST_ID_BYTES, decode_proposal

log = logging.getLogger(__name__)

MAX_WATCHED: Final = 256
"""Rooms of answered requests that are still watched; the oldest are left first."""


class _Watched:
    """A request, its answer, and the task that sits in its room."""

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.outcome: asyncio.Future[SignedDigest] = asyncio.get_running_loop().create_future()
        # Nobody has to be left who looks at it.
        self.outcome.add_done_callback(lambda future: future.cancelled() or future.exception())
        self.task: asyncio.Task[None] | None = None

    def leave(self) -> None:
        """Give up the room."""
        if self.task is not None:
            self.task.cancel()


class Asking:
    """All requests of this kind. For the event loop."""

    def __init__(
        self,
        *,
        config: NodeConfig,
        store: Store,
        signing: Signing,
        proposals: Proposals,
        sessions: Sessions,
        stock: Stock,
        channel: Channel,
        workers: Workers,
    ) -> None:
        self._config = config
        self._store = store
        self._signing = signing
        self._proposals = proposals
        self._sessions = sessions
        self._stock = stock
        self._channel = channel
        self._workers = workers
        self._tasks = Tasks()
        self._watched: dict[bytes, _Watched] = {}
        self.dropped: Counter[str] = Counter()
        """What stood in the rooms and was of no use, by reason."""

    async def sign_tx(self, call: AskCall) -> SignResult:
        """See NodeApi.sign_tx."""
        self._check(call)
        try:
            request = await self._workers.step(self._signing.understand, _sign_call(call))
            await self._workers.step(self._signing.decide, request)
            watched = await self._find(call, request)
            signed = await self._answer(watched)
        except NodeFailure:
            raise
        except Exception as error:
            raise failure_of(error) from error
        curve = request.account.record.curve
        result = sign_result(
            *(call.execution_id, call.account_id, curve, request.payload, request.decoded, (signed,))
        )
        return replace(result, v=0) if call.chain is Chain.BITCOIN else result

    async def close(self) -> None:
        """Leave all rooms; who still waits for an answer gets NotReady."""
        await self._tasks.close()

    def _check(self, call: AskCall) -> None:
        if len(call.execution_id) != REQUEST_ID_BYTES:
            raise InvalidRequest(
                f"an execution id has {REQUEST_ID_BYTES} bytes (a UUID), not {len(call.execution_id)}"
            )
        if not -TX_ID_LIMIT <= call.tx_id < TX_ID_LIMIT:
            raise InvalidRequest(f"tx_id {call.tx_id} is not a signed number of 32 bits")
        if len(call.data) != DIGEST_BYTES:
            raise BadDigestGiven(
                f"data is the {DIGEST_BYTES}-byte hash to sign, it has {len(call.data)} bytes: hash the transaction first"
            )

    # One request, whoever calls again

    async def _find(self, call: AskCall, request: Request) -> _Watched:
        """The request under way or answered with these fields, or a new one."""
        note = AskNote.of(call, request.account.record)
        known = self._watched.get(call.execution_id)
        if known is None or _is_failed(known):
            content = content_hash(request.account.record.key_id, request.path, request.payload)
            caller = request.caller or SELF
            state = await self._workers.step(self._store.requests.begin, call.execution_id, caller, content)
            # While the store was asked, the same caller may have asked again.
            known = self._watched.get(call.execution_id)
            if known is None or _is_failed(known):
                finished = None if state.result is None else decode_signed(state.result)[0]
                if finished is None and known is None and state.status is RequestStatus.IN_PROGRESS:
                    raise Busy("the same request was made to this node alone and is under way; wait for it")
                if known is not None:
                    known.leave()
                return self._begin(request, note, finished)
        if known.ask.note != note:
            raise RequestIdUsed(
                f"execution id {call.execution_id.hex()} was used for another request: "
                f"{known.ask.note.difference(note)}. Take a new one for every request"
            )
        return known

    def _begin(self, request: Request, note: AskNote, finished: SignedDigest | None) -> _Watched:
        active = sum(not watched.outcome.done() for watched in self._watched.values())
        if finished is None and active >= self._config.max_sessions:
            raise Busy(f"this node works on {active} requests of this kind; try again later")
        ask = Ask(request, note, self._config.ask)
        watched = _Watched(ask)
        room = Room(
            self._channel,
            signing_topic(note.tx_id),
            request.membership.index,
            receive=lambda envelope: self._receive(ask, room, envelope),
            restarted=lambda: self._restarted(ask, room),
        )
        committee_id, aux_id = request.membership.committee_id, note.aux_id
        ask.enter(
            room,
            partial(self._attempt, request, room),
            lambda: self._store.quarantine.peers(committee_id, aux_id),
            lambda: self._store.blocked.signer_sets(committee_id),
        )
        if finished is not None:
            ask.finished = finished
            watched.outcome.set_result(finished)
        self._watched[note.execution_id] = watched
        name = f"request {note.execution_id.hex()}"
        watched.task = self._tasks.spawn(self._run(watched, room), name)
        watched.task.add_done_callback(lambda _: self._left(watched))
        self._leave_oldest()
        return watched

    def _leave_oldest(self) -> None:
        answered = [watched for watched in self._watched.values() if watched.outcome.done()]
        for watched in answered[: max(0, len(answered) - MAX_WATCHED)]:
            watched.leave()

    def _left(self, watched: _Watched) -> None:
        if not watched.outcome.done():
            watched.outcome.cancel()
        self.dropped.update(watched.ask.dropped)
        if self._watched.get(watched.ask.note.execution_id) is watched:
            del self._watched[watched.ask.note.execution_id]

    async def _answer(self, watched: _Watched) -> SignedDigest:
        try:
            return await asyncio.shield(watched.outcome)
        except asyncio.CancelledError:
            if watched.outcome.cancelled():
                raise NotReady("this node is being stopped") from None
            raise

    async def _run(self, watched: _Watched, room: Room) -> None:
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(self._stay(watched.ask, room))
            if not watched.outcome.done():
                await self._pursue(watched)
            else:
                watched.ask.say()
            watched.ask.over = True
            await asyncio.sleep(self._config.ask.linger)
            listening.cancel()

    async def _stay(self, ask: Ask, room: Room) -> None:
        await room.run()
        ask.fail(GatewayUnreachable(f"the gateway refuses room {room.topic.name}: {room.refused}"))

    async def _pursue(self, watched: _Watched) -> None:
        """Get the signature and keep it; the request is open again when there is none."""
        ask, execution_id = watched.ask, watched.ask.note.execution_id
        try:
            signed = await ask.pursue()
            await self._workers.step(self._store.requests.finish, execution_id, encode_signed((signed,)))
        except Exception as error:  # noqa: BLE001 - whatever it was, the caller learns it
            failure = failure_of_session(error)
            log.info("request %s failed: %s", execution_id.hex(), failure)
            await self._reopen(execution_id)
            watched.outcome.set_exception(failure)
        else:
            watched.outcome.set_result(signed)

    async def _reopen(self, execution_id: bytes) -> None:
        try:
            await self._workers.step(self._store.requests.fail, execution_id)
        except StoreError as error:
            log.error("request %s: %s", execution_id.hex(), error)  # noqa: TRY400 - its text is written to be read

    # Proposing

    async def _attempt(self, request: Request, room: Room, points: Points) -> SignedDigest:
        # It may have been refreshed since the request came.
        account = await self._workers.step(self._signing.present, request)
        return await self._signing.attempt(
            request.membership,
            account,
            room,
            points,
            request.decoded.digests[0],
            encode(to_value(request.payload)),
            request_id=request.call.request_id,
            caller=request.caller,
            presignature=self._stock.take(account.record, points),
        )

    # The room

    def _receive(self, ask: Ask, room: Room, envelope: bytes) -> None:
        try:
            scope, kind, sender = routing(envelope)
        except SchemaViolation:
            self.dropped["malformed"] += 1
            return
        membership = ask.request.membership
        if kind is not Kind.ASK and sender == membership.me:
            return
        # Opened even where the session will do it again: strangers are not to fill what is kept for sessions to come.
        signed = membership.open(envelope)
        if signed is None:
            self.dropped["foreign"] += 1
        elif kind is Kind.ASK:
            ask.take(signed)
        elif kind is Kind.PROPOSE and not self._is_anothers(ask, signed):
            self._tasks.spawn(self._consider(ask, room, signed), "a proposal in a signing room")
        elif kind not in (Kind.HELLO, Kind.PROPOSE):
            self._sessions.deliver(scope, envelope)

    def _is_anothers(self, ask: Ask, signed: Signed) -> bool:
        """Whether a proposal is for another request of this node under the same tx_id, which hears it too."""
        try:
            proposal = decode_proposal(ask.request.account.suite, signed.body)
        except PeerFault:
            return False
        meant = self._watched.get(proposal.request_id)
        return meant is not None and meant.ask is not ask

    async def _consider(self, ask: Ask, room: Room, signed: Signed) -> None:
        ph = signed.body.sid
        caller = ask.request.caller
        driver = await self._proposals.take(
            ask.request.membership, signed, room, gate=partial(ask.gate, ph), caller=caller
        )
        ask.joined(ph, driver)

    def _restarted(self, ask: Ask, room: Room) -> None:
        ask.say()
        self._sessions.restarted(room)


def _is_failed(watched: _Watched) -> bool:
    outcome = watched.outcome
    return outcome.done() and (outcome.cancelled() or outcome.exception() is not None)


def _sign_call(call: AskCall) -> SignCall:
    return SignCall(call.execution_id, call.account_id, Digest(call.data), caller=call.caller)
