"""Requests to sign: from a payload to signatures, with whoever is there, each request exactly once.

A request runs to its end even when its caller is gone, and its result is stored: asking again with the same id gives the
same signature. A member that refuses, is silent or cheats is left out, and the next signer set is tried.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from participant.node.api import SignCall, SignedDigest, SignResult
from participant.node.candidates import Candidates
from participant.node.config import NodeConfig
from participant.node.driver import Identifying
from participant.node.errors import (
    Aborted,
    Busy,
    CeremonyFailed,
    GatewayRefused,
    InvalidRequest,
    NodeFailure,
    PolicyRefused,
    TimedOut,
    failure_of,
)
from participant.node.frost import signing_tail, suite_for
from participant.node.membership import Membership
from participant.node.outcomes import OperatorAbort, failure_of_own, failure_of_session, refusal_of
from participant.node.plan import Decline, Declined
from participant.node.proposals import Proposals, refusal
from participant.node.records import Account, Records
from participant.node.results import content_hash, decode_signed, encode_signed, sign_result, signed_digest
from participant.node.room import Room
from participant.node.stock import Points, Stock, Stocked
from participant.node.workers import Workers
from participant.payloads import Decoded, DigestToSign, Payload, PayloadError, decode, to_value
from participant.policy import SELF, Action, PayloadKind, Policy, PolicyRequest, Refuse
from participant.store import RequestState, RequestStatus, Store
from tss.cggmp24 import presign, sign
from tss.cggmp24.presignature import Presignature
from tss.cggmp24.sign import Signature, SignRequest
from tss.encoding import Value, encode
from tss.envelope import holder
from tss.errors import (
    AbortedByPeer,
    LocalFault,
    NoBlame,
    PeerFault,
    PresignatureSpent,
    ProtocolError,
    Refused,
    Timeout,
)
from tss.frost import terms as frost
from tss.frost.nonces import Prepared
from tss.hd import derive, format_path, parse_path
from tss.params import Suite
from tss.proposal import REQUEST_ID_BYTES, Proposal
from tss.rand import Rng

log = logging.getLogger(__name__)

PAUSE_SECONDS: Final = 0.25
"""Before a member that is busy is asked again."""

MAX_BUSY: Final = 40
"""Times that one member may be busy."""

MAX_FAILURES: Final = 3
"""Attempts that end without anybody to leave out."""


MAX_SETS: Final = 3
"""Other signer sets that are tried with one member which refuses because of somebody else in the set."""


@dataclass(frozen=True)
class Request:
    """A call, understood: everything that all of its attempts have in common."""

    call: SignCall
    membership: Membership
    account: Account = field(repr=False)
    payload: Payload
    path: tuple[int, ...]
    decoded: Decoded
    stored: threading.Event = field(default_factory=threading.Event, repr=False)
    """Set when the signature was stored together with the answer that it came with."""

    @property
    def caller(self) -> str | None:
        """The caller's name; None for the operator."""
        return None if self.call.caller is None else self.call.caller.name


@dataclass
class Pursuit:
    """One digest on its way to a signature."""

    request: Request
    due: DigestToSign
    account: Account = field(repr=False)
    """As it was last looked up: a refresh may end while somebody waits for a signature."""
    candidates: Candidates
    failures: Counter[str] = field(default_factory=Counter)
    """By reason and member, as `_after` counts them."""

    def renew(self, account: Account) -> None:
        """Go on with the account as it is now. Raises NodeFailure when it does not sign any more."""
        account.check_active()
        self.account = account
        self.candidates.renew(account.record)


class Signing:
    """For the event loop."""

    def __init__(
        self,
        *,
        config: NodeConfig,
        store: Store,
        records: Records,
        policy: Policy,
        proposals: Proposals,
        stock: Stock,
        workers: Workers,
        membership_of: Callable[[bytes], Membership],
        reachable: Callable[[], bool | None],
        rng: Rng,
    ) -> None:
        self._config = config
        self._store = store
        self._records = records
        self._policy = policy
        self._proposals = proposals
        self._stock = stock
        self._workers = workers
        self._membership_of = membership_of
        self._reachable = reachable
        self._rng = rng
        self._running: dict[bytes, asyncio.Task[SignResult]] = {}
        self._slots = asyncio.Semaphore(config.max_signing)
        self.on_signed: Callable[[str, Points, bool], None] = lambda _, __, ___: None
        """Called with account id, evaluation points and whether it was BIP-340 after every signature that this node coordinated."""

    # Requests

    async def sign(self, call: SignCall) -> SignResult:
        """See NodeApi.sign."""
        if len(call.request_id) != REQUEST_ID_BYTES:
            raise InvalidRequest(f"a request id has {REQUEST_ID_BYTES} bytes, not {len(call.request_id)}")
        try:
            request, state = await self._workers.step(self._begin, call)
        except NodeFailure:
            raise
        except Exception as error:
            raise failure_of(error) from error
        if state.status is RequestStatus.FINISHED and state.result is not None:
            return self._result(request, decode_signed(state.result))
        running = self._running.get(call.request_id)
        if running is None:
            running = asyncio.get_running_loop().create_task(self._run(request), name="request")
            self._running[call.request_id] = running
            running.add_done_callback(lambda task: self._ended(call.request_id, task))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            if running.cancelled():
                raise Aborted("the request was aborted") from None
            raise

    def abort(self, request_id: bytes) -> bool:
        """Stop working on a request; whether there was one. Its sessions are ended by whoever calls this."""
        running = self._running.get(request_id)
        return running is not None and running.cancel()

    async def close(self) -> None:
        """End all requests."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def understand(self, call: SignCall) -> Request:
        """Decode a call with this node's own records. Blocking. Raises NodeFailure and what lies below."""
        if call.caller is not None:
            call.caller.check_account(call.account_id)
        account = self._records.account(call.account_id)
        account.check_active()
        path = parse_path(call.path or "m")
        try:
            decoded = decode(call.payload, account.keys, path)
        except PayloadError as error:
            raise InvalidRequest(str(error)) from None
        membership = self._membership_of(account.record.committee_id)
        return Request(call, membership, account, call.payload, path, decoded)

    def _begin(self, call: SignCall) -> tuple[Request, RequestState]:
        request = self.understand(call)
        self.decide(request)
        content = content_hash(request.account.record.key_id, request.path, request.payload)
        return request, self._store.requests.begin(call.request_id, request.caller or SELF, content)

    def decide(self, request: Request) -> None:
        """This node's policy, before anything is done. Blocking. Raises PolicyRefused."""
        for due in request.decoded.digests:
            asked = self._policy_request(request, due)
            decision = self._policy.decide(asked)
            if isinstance(decision, Refuse):
                record = refusal(asked, request.caller or SELF, request.call.request_id, decision)
                self._store.audit.append(record)
                raise PolicyRefused.of(decision)

    def _policy_request(self, request: Request, due: DigestToSign) -> PolicyRequest:
        return PolicyRequest(
            action=Action.SIGN,
            caller=request.caller,
            account_id=request.call.account_id,
            committee_id=request.membership.committee_id,
            payload=PayloadKind(request.payload.kind),
            digest=due.digest,
            path=format_path(due.path),
            content=request.decoded.summary,
        )

    def _ended(self, request_id: bytes, task: asyncio.Task[SignResult]) -> None:
        self._running.pop(request_id, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.info("request %s failed: %s", request_id.hex(), error)

    async def _run(self, request: Request) -> SignResult:
        request_id = request.call.request_id
        try:
            async with asyncio.timeout(self._config.sign_total):
                signed = await self._sign_all(request)
            if not request.stored.is_set():
                data = encode_signed(signed)
                await self._workers.step(self._store.requests.finish, request_id, data)
            return self._result(request, signed)
        except BaseException as error:
            await asyncio.shield(self._workers.step(self._store.requests.fail, request_id))
            if isinstance(error, TimeoutError):
                text = f"the request was not finished within {self._config.sign_total:.0f} s; try again"
                raise TimedOut(text) from None
            if isinstance(error, (NodeFailure, asyncio.CancelledError)) or not isinstance(error, Exception):
                raise
            raise failure_of_session(error) from error

    def _result(self, request: Request, signed: tuple[SignedDigest, ...]) -> SignResult:
        call, curve = request.call, request.account.record.curve
        return sign_result(call.request_id, call.account_id, curve, request.payload, request.decoded, signed)

    async def _sign_all(self, request: Request) -> tuple[SignedDigest, ...]:
        """All digests of the payload, each once."""
        places = [replace(due, input_index=None) for due in request.decoded.digests]
        tasks: dict[DigestToSign, asyncio.Task[SignedDigest]] = {}
        try:
            async with asyncio.TaskGroup() as group:
                for place in dict.fromkeys(places):
                    tasks[place] = group.create_task(self._sign_one(request, place))
        except ExceptionGroup as errors:
            # What is raised inside `except*` would come out in a group again.
            raise errors.exceptions[0] from None
        return tuple(
            _of_input(tasks[place].result(), due.input_index)
            for place, due in zip(places, request.decoded.digests, strict=True)
        )

    @property
    def busy(self) -> bool:
        """Whether a request is under way."""
        return bool(self._running)

    async def signer_set(
        self, membership: Membership, account: Account, wanted: tuple[int, ...] | None
    ) -> Points:
        """The evaluation points that can sign now, `wanted` (indices) or any. Raises NodeFailure."""
        candidates = Candidates(membership, account.record, self._store, self._stock, wanted)
        points = await self._signers(candidates)
        if points is None:
            raise Busy(
                f"account {account.record.account_id!r} is just being given other shares; try again later"
            )
        return points

    # One digest

    async def _sign_one(self, request: Request, due: DigestToSign) -> SignedDigest:
        async with self._slots:
            candidates = Candidates(
                request.membership,
                request.account.record,
                self._store,
                self._stock,
                request.call.signers,
                bip340=due.tweaks is not None,
            )
            pursuit = Pursuit(request, due, request.account, candidates)
            while True:
                points = await self._signers(candidates)
                try:
                    if points is not None:
                        return await self._attempt_once(pursuit, points)
                except Declined as declined:
                    await self._after_own(pursuit, declined)
                except Busy as busy:
                    await self._pause(pursuit, "self", busy)
                except (PeerFault, NoBlame, LocalFault) as error:
                    await self._after(pursuit, points or (), error)
                pursuit.renew(await self._workers.step(self.present, request))

    def present(self, request: Request) -> Account:
        """The account as it is now. Blocking. Raises NodeFailure and what lies below."""
        account = self._records.account(request.call.account_id)
        if account.record.committee_id != request.membership.committee_id:
            raise CeremonyFailed(
                f"account {request.call.account_id!r} went to committee {account.record.committee_id.hex()} "
                "meanwhile. Try again"
            )
        return account

    async def _signers(self, candidates: Candidates) -> Points | None:
        """The next set to try; None when the account is to be looked up again.

        Raises ThresholdNotMet, GatewayUnreachable, GatewayRefused, PolicyRefused.
        """

        def known() -> bool:
            return candidates.choose() is not None or candidates.outdated()

        points = candidates.choose()
        if points is None and not candidates.hopeless():
            await candidates.membership.presence.changes.wait_for(known, self._config.gather)
            points = candidates.choose()
        if points is None and not candidates.outdated():
            if (refused := candidates.membership.room.refused) is not None:
                raise GatewayRefused.because(refused)
            raise candidates.failure(self._reachable(), self._config.gateway_url)
        return points

    async def _attempt_once(self, pursuit: Pursuit, points: Points) -> SignedDigest:
        request, account, due = pursuit.request, pursuit.account, pursuit.due
        presignature = self._stock.take(account.record, points, bip340=due.tweaks is not None)
        return await self.attempt(
            request.membership, account, request.membership.room, points, due, encode(to_value(request.payload)),
            request_id=request.call.request_id, caller=request.caller, presignature=presignature,
            stored=partial(self._store_signed, request) if len(request.decoded.digests) == 1 else None,
        )  # fmt: skip

    def _store_signed(self, request: Request, signed: SignedDigest) -> None:
        (due,) = request.decoded.digests
        data = encode_signed([_of_input(signed, due.input_index)])
        self._store.requests.finish(request.call.request_id, data)
        request.stored.set()

    async def attempt(
        self,
        membership: Membership,
        account: Account,
        home: Room,
        points: Points,
        due: DigestToSign,
        message: bytes,
        *,
        request_id: bytes,
        caller: str | None,
        presignature: Stocked | None,
        stored: Callable[[SignedDigest], None] | None = None,
    ) -> SignedDigest:
        """One proposal to sign in the room `home`, seen to its end. `message` is the encoded payload.

        `stored` stores the signature, in a worker thread and together with this node's last words.

        Raises Declined, Busy, ProtocolError, StoreError, and Identifying when the session turns to finding out who cheated.
        """
        from_stock, suite = presignature is not None, suite_for(account, due)

        def store_result(signature: Signature | frost.Signature, sid: bytes) -> None:
            if stored is not None:
                stored(signed_digest(signature, due, points, sid, from_stock=from_stock))

        def write() -> Proposal:
            kind, tail = self._tail(account, membership.me.index, points, due, presignature)
            proposal = Proposal(
                initiator=membership.me,
                committee_id=membership.committee_id,
                account_id=account.record.account_id,
                kind=kind,
                request_id=request_id,
                tail=tail,
                message=message,
                expiry=self._proposals.expiry(),
            )
            return self._unspoken(suite, proposal)

        try:
            driver = await self._proposals.make_written(
                membership, suite, write, home, caller=caller, store_result=store_result
            )
        except BaseException:
            if presignature is not None:
                self._stock.discard(presignature)
            raise
        signature: Signature | frost.Signature = await driver.result()
        self.on_signed(account.record.account_id, points, due.tweaks is not None)
        return signed_digest(signature, due, points, driver.sid or b"", from_stock=from_stock)

    def _tail(
        self,
        account: Account,
        me: int,
        points: Points,
        due: DigestToSign,
        presignature: Stocked | None,
    ) -> tuple[str, list[Value]]:
        """(kind, tail) of a proposal to sign. Blocking."""
        if due.message is not None:
            prepared = presignature if isinstance(presignature, Prepared) else None
            return signing_tail(account, points, due, prepared)
        request = SignRequest(due.digest, due.path)
        if not isinstance(presignature, Presignature):
            aux = self._records.aux_of(account)
            return presign.FULL_KIND, presign.full_tail(account.share, aux, points, me, request)
        return sign.KIND, self._promise(account, presignature, request, points)

    def _promise(
        self, account: Account, presignature: Presignature, due: SignRequest, points: Points
    ) -> list[Value]:
        tau = derive(account.share.X, account.share.chain_code, due.path).tau
        e_owner = presignature.promise(due.digest, due.path, tau, self._rng)
        return sign.tail(presignature.id, due, tau, points, e_owner)

    def _unspoken(self, suite: Suite, proposal: Proposal) -> Proposal:
        """The proposal with an expiry that makes it differ from those of former attempts within the same second."""
        while self._store.sessions.known(proposal.hash(suite)):
            proposal = replace(proposal, expiry=proposal.expiry + 1)
        return proposal

    # After an attempt that failed

    async def _after_own(self, pursuit: Pursuit, declined: Declined) -> None:
        """This node does not take part in its own proposal: try again, or raise what the caller is to know."""
        match declined.code:
            case Decline.BUSY:
                await self._pause(pursuit, "self", declined)
            case Decline.RECORDS_DIFFER | Decline.PRESIGNATURE_UNKNOWN:
                # A refresh ended since the account was looked up.
                self._count(pursuit, declined)
            case _:
                raise failure_of_own(declined) from None

    async def _after(self, pursuit: Pursuit, points: Points, error: ProtocolError) -> None:
        """Leave out whom it is due to, or raise what the caller is to know."""
        candidates, failures = pursuit.candidates, pursuit.failures
        presence = pursuit.request.membership.presence
        log.info("an attempt to sign for request %s failed: %s", pursuit.request.call.request_id.hex(), error)
        match error:
            case PresignatureSpent():
                pass
            case LocalFault() | OperatorAbort():
                raise failure_of_session(error) from error
            case Refused():
                await self._after_refusal(pursuit, points, error)
            case Identifying():
                candidates.exclude_set(points)
                if candidates.hopeless():
                    await self._identified(error)
            case Timeout():
                for point in error.silent:
                    presence.mark_silent(holder(point))
                    candidates.exclude(holder(point), "TIMEOUT", "did not answer in time")
                if not error.silent:
                    self._count(pursuit, error)
            case PeerFault() if error.peer is not None:
                candidates.exclude(
                    holder(error.peer), "PEER_FAULT", f"sent what fails a check [{error.check}]"
                )
                if candidates.hopeless():
                    raise failure_of_session(error) from error
            case AbortedByPeer():
                failures[f"aborted {error.by}"] += 1
                if failures[f"aborted {error.by}"] >= MAX_FAILURES:
                    candidates.exclude(holder(error.by), "ABORTED", f"ended the session: {error.reason}")
            case _:
                self._count(pursuit, error)

    async def _after_refusal(self, pursuit: Pursuit, points: Points, error: Refused) -> None:
        """It signs later, or with others, or not at all."""
        candidates, failures = pursuit.candidates, pursuit.failures
        code, text = refusal_of(error)
        match code:
            case Decline.PRESIGNATURE_UNKNOWN:
                return
            case Decline.BUSY:
                await self._pause(pursuit, f"busy {error.by}", error)
                return
            case Decline.RECORDS_DIFFER if failures[f"differs {error.by}"] < MAX_FAILURES:
                # A refresh has ended there and not yet here, or here and not yet there.
                await self._pause(pursuit, f"differs {error.by}", error)
                return
            case Decline.QUARANTINED | Decline.SET_BLOCKED:
                failures[f"set {error.by}"] += 1
                if failures[f"set {error.by}"] <= MAX_SETS:
                    candidates.exclude_set(points)
                    if not candidates.hopeless():
                        return
        candidates.exclude(holder(error.by), code, f"refuses: {text}")

    async def _identified(self, error: Identifying) -> None:
        """Nobody else can sign: the caller learns who it was."""
        try:
            await asyncio.shield(error.outcome)
        except ProtocolError as found:
            raise failure_of_session(found) from found

    def _count(self, pursuit: Pursuit, error: Exception) -> None:
        pursuit.failures[""] += 1
        if pursuit.failures[""] >= MAX_FAILURES:
            raise CeremonyFailed(f"{MAX_FAILURES} attempts failed, the last one: {error}. Try again")

    async def _pause(self, pursuit: Pursuit, who: str, error: Exception) -> None:
        failures = pursuit.failures
        failures[who] += 1
        if failures[who] > MAX_BUSY:
            raise Busy(f"{error}; try again later") from None
        await asyncio.sleep(PAUSE_SECONDS * min(failures[who], 8))


def _of_input(signed: SignedDigest, input_index: int | None) -> SignedDigest:
    return replace(signed, input_index=input_index)
