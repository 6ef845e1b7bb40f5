"""Ceremonies, in which every member of a committee takes part: auxiliary information, key generation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any, Final

from participant.callers import Caller
from participant.node.api import AuxView, Progress
from participant.node.config import NodeConfig
from participant.node.errors import (
    AccountAlreadyExists,
    Busy,
    GatewayRefused,
    GatewayUnreachable,
    InvalidRequest,
    NodeFailure,
    PartiesMissing,
    PeerQuarantined,
    PolicyRefused,
)
from participant.node.following import Course, until_all_are_here
from participant.node.gathering import Gathering
from participant.node.membership import Membership
from participant.node.outcomes import failure_of_session, refusal_of
from participant.node.plan import Decline, Declined
from participant.node.primes import PrimeSearch
from participant.node.proposals import Proposals, refusal
from participant.node.records import Records
from participant.node.views import Views
from participant.node.workers import Workers
from participant.policy import SELF, Action, Policy, PolicyRequest, Refuse
from participant.store import WITHOUT_AUX, Store, StoreConflict, check_account_id
from tss.cggmp24 import aux_info, keygen
from tss.envelope import PartyId
from tss.errors import AbortedByPeer, Refused
from tss.frost import dkg
from tss.params import Suite
from tss.proposal import REQUEST_ID_BYTES, Proposal
from tss.rand import Rng

TRIES: Final = 6
"""Proposals of one ceremony before it is given up: two members that start at once turn each other down."""

_AGAIN: Final = frozenset(
    str(code) for code in (Decline.BUSY, Decline.NEEDS_AUX, Decline.PENDING, Decline.BEHIND)
)
"""Refusals that pass by themselves."""


class Ceremonies:
    """Starts ceremonies and sees them through. For the event loop."""

    def __init__(
        self,
        *,
        config: NodeConfig,
        store: Store,
        records: Records,
        policy: Policy,
        proposals: Proposals,
        primes: PrimeSearch,
        views: Views,
        workers: Workers,
        reachable: Callable[[], bool | None],
        rng: Rng,
    ) -> None:
        self._config = config
        self._store = store
        self._records = records
        self._policy = policy
        self._proposals = proposals
        self._primes = primes
        self._views = views
        self._workers = workers
        self._reachable = reachable
        self._rng = rng
        self._locks: dict[bytes, asyncio.Lock] = {}

    def lock(self, membership: Membership) -> asyncio.Lock:
        """Held by the one ceremony of a committee that this node proposes at a time."""
        return self._locks.setdefault(membership.committee_id, asyncio.Lock())

    async def create_account(
        self,
        membership: Membership,
        account_id: str,
        suite: Suite,
        threshold: int | None,
        caller: Caller | None,
    ) -> AsyncGenerator[Progress, None]:
        """See NodeApi.create_account."""
        t = membership.committee.threshold if threshold is None else threshold
        if not 2 <= t <= membership.committee.n:
            raise InvalidRequest(
                f"threshold {t} is out of range: 2 <= t <= {membership.committee.n} in this committee"
            )
        try:
            check_account_id(account_id)
        except StoreConflict as error:
            raise InvalidRequest(str(error)) from None
        if caller is not None:
            caller.check_account(account_id)
        await self.decide(Action.KEYGEN, membership, caller, account_id)
        self.check_quarantine(membership)
        self._check_free_id(account_id)
        kind = keygen.KIND if suite.has_aux else dkg.KIND
        needed = suite.has_aux and self._lacks_aux(membership)
        course = Course(("waiting", "aux", kind) if needed else ("waiting", kind))
        async with self.lock(membership):
            async with aclosing(self.gather(membership, course)) as steps:
                async for progress in steps:
                    yield progress
            self._check_free_id(account_id)
            if suite.has_aux and await self._needs_aux(membership):
                async with aclosing(self._aux(membership, suite, None, caller, course)) as steps:
                    async for progress in steps:
                        yield progress
                await self._needs_aux(membership)
            tail = keygen.tail(membership.committee.n, t)
            proposing = self.run(membership, suite, kind, account_id, tail, caller, course)
            async with aclosing(proposing) as steps:
                async for progress in steps:
                    yield progress
        yield course.report(kind, text="done", result=self._views.one(account_id))

    async def run_aux(
        self, membership: Membership, account_ids: Sequence[str], caller: Caller | None
    ) -> AsyncGenerator[Progress, None]:
        """See NodeApi.run_aux."""
        await self.decide(Action.AUX, membership, caller, None)
        self.check_quarantine(membership)
        committee_accounts = {
            record.account_id: record for record in self._store.accounts.accounts(membership.committee_id)
        }
        unknown = [account_id for account_id in account_ids if account_id not in committee_accounts]
        if unknown:
            raise InvalidRequest(f"the committee has no account {unknown[0]!r} on this node")
        without = [name for name in account_ids if committee_accounts[name].curve in WITHOUT_AUX]
        if without:
            curve = committee_accounts[without[0]].curve
            raise InvalidRequest(
                f"account {without[0]!r} is of {curve}, which needs no auxiliary information"
            )
        moving = {
            *account_ids,
            *(name for name, record in committee_accounts.items() if record.lacks_aux),
        }
        key_ids = sorted(committee_accounts[name].key_id for name in moving)
        curves = {committee_accounts[name].curve for name in moving} or {next(iter(self._records.curves))}
        if len(curves) > 1:
            raise InvalidRequest("the accounts are of several curves; run aux for one curve at a time")
        suite = self._records.suite(curves.pop())
        course = Course(("waiting", "aux"))
        async with self.lock(membership):
            async with aclosing(self.gather(membership, course)) as steps:
                async for progress in steps:
                    yield progress
            async with aclosing(self._aux(membership, suite, key_ids or None, caller, course)) as steps:
                async for progress in steps:
                    yield progress
        aux_id = self._store.accounts.current_aux_id(membership.committee_id) or b""
        using = tuple(
            record.account_id
            for record in self._store.accounts.accounts(membership.committee_id)
            if record.aux_id == aux_id
        )
        yield course.report("aux", text="done", result=AuxView(membership.committee_id, aux_id, using))

    async def decide(
        self, action: Action, membership: Membership, caller: Caller | None, account_id: str | None
    ) -> None:
        """Refuse before anything is waited for. Raises PolicyRefused."""
        name = None if caller is None else caller.name
        request = PolicyRequest(
            action, caller=name, account_id=account_id, committee_id=membership.committee_id
        )
        decision = self._policy.decide(request)
        if isinstance(decision, Refuse):
            record = refusal(request, name or SELF, None, decision)
            await self._workers.step(self._store.audit.append, record)
            raise PolicyRefused.of(decision)

    def check_quarantine(self, membership: Membership) -> None:
        """Everybody takes part, or nobody. Raises PeerQuarantined."""
        marked = self._store.quarantine.peers(membership.committee_id, None)
        indices = [party.index - 1 for party in membership.others if membership.identities[party] in marked]
        if indices:
            raise PeerQuarantined(
                f"this needs every member of the committee, and index {', '.join(map(str, indices))} failed a check earlier: "
                "look at the evidence (mpc-keygen quarantine list), then clear it or replace that member",
                indices,
            )

    def _check_free_id(self, account_id: str) -> None:
        if self._store.accounts.has_account(account_id):
            raise AccountAlreadyExists(f"account {account_id!r} exists already on this node")

    # Who is there, and with what

    def gather(self, membership: Membership, course: Course) -> AsyncGenerator[Progress, None]:
        """Wait until every member is there. Raises PartiesMissing, GatewayUnreachable, GatewayRefused."""

        def report(absent: Sequence[PartyId]) -> Progress:
            indices = tuple(party.index - 1 for party in absent)
            text = f"waiting for index {', '.join(map(str, indices))}"
            return course.report("waiting", text=text, waiting_for=indices)

        def failure(absent: Sequence[PartyId]) -> NodeFailure:
            indices = [party.index - 1 for party in absent]
            names = ", ".join(f"index {index}" for index in indices)
            return PartiesMissing(
                f"this needs every member of the committee, and {names} cannot be heard: start them, and see that all "
                "have one committee file and one gateway",
                indices,
            )

        return self._until_all_are_here(membership, report, failure)

    def gather_approved(
        self, gathering: Gathering, course: Course, missing: Callable[[str], str]
    ) -> AsyncGenerator[Progress, None]:
        """The same for those who take part in a request; `missing` tells people, given names, what to do."""

        def report(absent: Sequence[PartyId]) -> Progress:
            return course.report(
                "waiting", text=f"waiting for {gathering.names(absent)} to approve the request"
            )

        def failure(absent: Sequence[PartyId]) -> NodeFailure:
            return PartiesMissing(missing(gathering.names(absent)), [party.index - 1 for party in absent])

        return self._until_all_are_here(gathering, report, failure)

    def _until_all_are_here(
        self,
        membership: Membership,
        report: Callable[[Sequence[PartyId]], Progress],
        failure: Callable[[Sequence[PartyId]], NodeFailure],
    ) -> AsyncGenerator[Progress, None]:
        def cause(absent: Sequence[PartyId]) -> NodeFailure:
            if membership.room.refused is not None:
                return GatewayRefused.because(membership.room.refused)
            if self._reachable() is False:
                return GatewayUnreachable.at(self._config.gateway_url)
            return failure(absent)

        return until_all_are_here(membership, self._config.gather, report, cause)

    def _lacks_aux(self, membership: Membership) -> bool:
        return self._store.accounts.current_aux_id(membership.committee_id) is None

    async def _needs_aux(self, membership: Membership) -> bool:
        """Whether the members have no aux set in common, after those that are behind had time to catch up."""
        presence = membership.presence

        def common() -> bool:
            own = self._store.accounts.current_aux_id(membership.committee_id)
            hellos = [presence.peers[party].hello for party in membership.others]
            return own is not None and all(hello is not None and hello.aux_id == own for hello in hellos)

        def nobody() -> bool:
            hellos = [presence.peers[party].hello for party in membership.others]
            theirs = all(hello is None or (hello.aux_id is None and not hello.pending) for hello in hellos)
            return theirs and self._lacks_aux(membership)

        await presence.changes.wait_for(lambda: common() or nobody(), self._config.gather)
        return not common()

    # Sessions

    def _aux(
        self,
        membership: Membership,
        suite: Suite,
        key_ids: list[bytes] | None,
        caller: Caller | None,
        course: Course,
    ) -> AsyncGenerator[Progress, None]:
        tail = aux_info.tail(key_ids)
        return self.run(membership, suite, aux_info.KIND, None, tail, caller, course)

    async def run(
        self,
        membership: Membership,
        suite: Suite,
        kind: str,
        account_id: str | None,
        tail: list[Any] | Callable[[], list[Any]],
        caller: Caller | None,
        course: Course,
        *,
        stage: str = "",
    ) -> AsyncGenerator[Progress, None]:
        """Propose until all take part, and see it through. `tail` is asked for before each try. Raises NodeFailure."""
        for number in range(TRIES):
            said = await self._workers.step(tail) if callable(tail) else tail
            proposal = Proposal(
                initiator=membership.me,
                committee_id=membership.committee_id,
                account_id=account_id,
                kind=kind,
                request_id=self._rng(REQUEST_ID_BYTES),
                tail=said,
                message=None,
                expiry=self._proposals.expiry(),
            )
            name = None if caller is None else caller.name
            try:
                driver = await self._proposals.make(membership, suite, proposal, membership.room, caller=name)
                async with aclosing(course.follow(driver, stage or kind, self._primes_note)) as steps:
                    async for progress in steps:
                        yield progress
                await driver.outcome
            except (Declined, NodeFailure, Refused, AbortedByPeer) as error:
                if number == TRIES - 1 or not _passes(error):
                    raise failure_of_session(error) from None
                yield course.report("waiting", text=f"waiting: {error}")
                # The lower index has the shorter wait, so that of two that met one goes first.
                await asyncio.sleep((0.3 + 1.5 * membership.index) * (1 + number))
            except Exception as error:
                raise failure_of_session(error) from error
            else:
                return

    def _primes_note(self) -> str:
        state = self._primes.state
        if state is None:
            return ""
        return f"safe primes: {state.found} of {state.wanted}, {state.tested} candidates tested"


def _passes(error: Exception) -> bool:
    """Whether the reason may be gone in a moment."""
    if isinstance(error, Declined):
        return error.code in _AGAIN
    if isinstance(error, (Refused, AbortedByPeer)):
        return refusal_of(error)[0] in _AGAIN
    return isinstance(error, Busy)
