"""What callers and operators may ask of a node: the methods of `participant.node.facade.NodeApi`."""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

from participant.callers import Caller
from participant.committee import Committee
from participant.node.api import (
    AccountView,
    AskCall,
    BlockedSetView,
    CommitteeView,
    ImportedShare,
    PeerView,
    PrimePool,
    Progress,
    PublicKeyView,
    QuarantineView,
    RecoveryView,
    ReshareView,
    SessionView,
    SignCall,
    SignResult,
    StatusView,
    StockView,
    StoreReport,
)
from participant.node.asking import Asking
from participant.node.blame import clear_marks, lift_block
from participant.node.ceremonies import Ceremonies
from participant.node.config import NodeConfig
from participant.node.errors import NodeFailure, NotReady, SessionUnknown, failure_of
from participant.node.keeping import Keeping
from participant.node.membership import Membership
from participant.node.outcomes import OperatorAbort
from participant.node.primes import PrimeSearch
from participant.node.proposals import Proposals
from participant.node.records import Account, Records
from participant.node.recovering import Recovering
from participant.node.refreshing import Refreshing
from participant.node.resharing import Resharing
from participant.node.sessions import Sessions
from participant.node.shares import Shares
from participant.node.signing import Signing
from participant.node.stock import Stock
from participant.node.stocking import Stocking
from participant.node.views import Views
from participant.node.workers import Workers
from participant.sharefile import ShareEntry
from participant.store import AccountState, AuditRecord, Store
from tss.cggmp24 import recover, refresh
from tss.envelope import PartyId

T = TypeVar("T")


class Operations(Keeping):
    """The facade. `Node` makes the parts and keeps them going."""

    _config: NodeConfig
    _store: Store
    _identity: bytes
    _records: Records
    _views: Views
    _shares: Shares
    _workers: Workers
    _stock: Stock
    _primes: PrimeSearch
    _sessions: Sessions
    _proposals: Proposals
    _signing: Signing
    _asking: Asking
    _ceremonies: Ceremonies
    _refreshing: Refreshing
    _resharing: Resharing
    _recovering: Recovering
    _stocking: Stocking
    _memberships: dict[bytes, Membership]
    _started_at: float
    _running: bool

    @abstractmethod
    def _membership(self, committee_id: bytes | None) -> Membership: ...

    @abstractmethod
    def _join(self, committee: Committee) -> Membership: ...

    @abstractmethod
    def _refresh(self, committee_id: bytes) -> None: ...

    @abstractmethod
    def _reachable(self) -> bool | None: ...

    # Accounts

    async def create_account(
        self,
        account_id: str,
        *,
        curve: str = "secp256k1",
        threshold: int | None = None,
        committee_id: bytes | None = None,
        caller: Caller | None = None,
    ) -> AsyncGenerator[Progress, None]:
        """See NodeApi."""
        self._check_running()
        membership, suite = self._membership(committee_id), self._records.suite(curve)
        steps = self._ceremonies.create_account(membership, account_id, suite, threshold, caller)
        async for progress in _typed(steps):
            yield progress

    def accounts(
        self, committee_id: bytes | None = None, caller: Caller | None = None
    ) -> Sequence[AccountView]:
        """See NodeApi."""
        return _typed_call(self._views.all, committee_id, caller)

    def account(self, account_id: str, caller: Caller | None = None) -> AccountView:
        """See NodeApi."""
        return _typed_call(self._views.one, account_id, caller)

    def public_key(self, account_id: str, path: str = "m", caller: Caller | None = None) -> PublicKeyView:
        """See NodeApi."""
        return _typed_call(self._views.public_key, account_id, path, caller)

    def freeze(self, account_id: str, reason: str = "") -> AccountView:
        """See NodeApi."""
        return self._set_state(account_id, AccountState.FROZEN, reason)

    def unfreeze(self, account_id: str) -> AccountView:
        """See NodeApi."""
        return self._set_state(account_id, AccountState.ACTIVE, "")

    def _set_state(self, account_id: str, state: AccountState, reason: str) -> AccountView:
        def change() -> None:
            with self._store.transaction():
                self._store.accounts.set_state(account_id, state)
                record = AuditRecord("operator", "operator", str(state), reason[:400], account=account_id)
                self._store.audit.append(record)

        _typed_call(change)
        if state is AccountState.FROZEN:
            self._stock.drop_account(account_id)
        view = self.account(account_id)
        self._refresh(view.committee_id)
        return view

    async def import_share(
        self, entries: Iterable[ShareEntry], committee_id: bytes | None = None
    ) -> tuple[ImportedShare, ...]:
        """See NodeApi."""
        membership = self._membership(committee_id)
        found = await self._step(
            self._shares.import_entries, list(entries), membership.committee, self._identity
        )
        membership.presence.refresh()
        return found

    async def export_shares(self, account_ids: Sequence[str] = ()) -> tuple[ShareEntry, ...]:
        """See NodeApi."""
        return await self._step(self._shares.export, account_ids)

    # Signing

    async def sign(self, call: SignCall) -> SignResult:
        """See NodeApi."""
        self._check_running()
        return await _typed_await(self._signing.sign(call))

    async def sign_tx(self, call: AskCall) -> SignResult:
        """See NodeApi."""
        self._check_running()
        return await _typed_await(self._asking.sign_tx(call))

    # Stock

    def stock(self, account_id: str | None = None, caller: Caller | None = None) -> Sequence[StockView]:
        """See NodeApi."""
        if account_id is not None:
            self.account(account_id, caller)
            return [self._stock.view(account_id, self._stocking.target)]
        return self._stock.views(self._views.ids(caller), self._stocking.target)

    async def fill_stock(
        self, account_id: str, signers: tuple[int, ...] | None = None, count: int = 0
    ) -> AsyncGenerator[Progress, None]:
        """See NodeApi."""
        self._check_running()
        account: Account = await self._step(self._records.account, account_id)
        _typed_call(account.check_active)
        membership = self._membership(account.record.committee_id)
        points = await _typed_await(self._signing.signer_set(membership, account, signers))
        wanted = count or max(0, self._config.stock.target - self._stock.fresh(account.record)[points])
        async for progress in _typed(self._stocking.fill(membership, account, points, wanted)):
            yield progress

    def drop_stock(self, account_id: str | None = None) -> int:
        """See NodeApi."""
        return self._stock.drop_all() if account_id is None else self._stock.drop_account(account_id)

    # Ceremonies and primes

    async def run_aux(
        self,
        committee_id: bytes | None = None,
        account_ids: Sequence[str] = (),
        caller: Caller | None = None,
    ) -> AsyncGenerator[Progress, None]:
        """See NodeApi."""
        self._check_running()
        steps = self._ceremonies.run_aux(self._membership(committee_id), account_ids, caller)
        async for progress in _typed(steps):
            yield progress

    async def refresh_accounts(
        self,
        committee_id: bytes | None = None,
        account_ids: Sequence[str] = (),
        caller: Caller | None = None,
    ) -> AsyncGenerator[Progress, None]:
        """See NodeApi."""
        self._check_running()
        if committee_id is None and account_ids:
            committee_id = self.account(account_ids[0]).committee_id
        steps = self._refreshing.refresh(self._membership(committee_id), account_ids, caller)
        async for progress in _typed(steps):
            yield progress

    async def reshare_request(
        self,
        account_id: str,
        committee: Committee,
        threshold: int | None = None,
        dealers: Sequence[int] | None = None,
    ) -> tuple[str, bytes]:
        """See NodeApi."""
        request = await self._step(self._resharing.request, account_id, committee, threshold, dealers)
        return request.to_yaml(), request.request_id

    async def approve(self, text: str) -> ReshareView:
        """See NodeApi."""
        self._check_running()
        return await _typed_await(self._resharing.approve(text))

    async def withdraw_approval(self, request_id: bytes) -> None:
        """See NodeApi."""
        approval = await self._step(self._store.approvals.get, request_id)
        of_recovery = approval is not None and approval.kind == recover.KIND
        parts = self._recovering if of_recovery else self._resharing
        await _typed_await(parts.withdraw(request_id))

    async def reshare(
        self, request_id: bytes, caller: Caller | None = None
    ) -> AsyncGenerator[Progress, None]:
        """See NodeApi."""
        self._check_running()
        async for progress in _typed(self._resharing.run(request_id, caller)):
            yield progress

    async def resharings(self) -> Sequence[ReshareView]:
        """See NodeApi."""
        return await self._step(self._resharing.views)

    async def recover_request(
        self,
        index: int,
        committee: Committee,
        helpers: Sequence[int] | None = None,
        account_ids: Sequence[str] = (),
    ) -> tuple[str, bytes]:
        """See NodeApi."""
        request = await self._step(self._recovering.request, index, committee, helpers, account_ids)
        return request.to_yaml(), request.request_id

    async def approve_recovery(
        self, text: str, public_keys: Mapping[str, bytes] | None = None
    ) -> RecoveryView:
        """See NodeApi."""
        self._check_running()
        return await _typed_await(self._recovering.approve(text, public_keys or {}))

    async def recover(
        self, request_id: bytes, caller: Caller | None = None
    ) -> AsyncGenerator[Progress, None]:
        """See NodeApi."""
        self._check_running()
        async for progress in _typed(self._recovering.run(request_id, caller)):
            yield progress

    async def recoveries(self) -> Sequence[RecoveryView]:
        """See NodeApi."""
        return await self._step(self._recovering.views)

    async def fill_primes(self, count: int = 0) -> AsyncGenerator[Progress, None]:
        """See NodeApi."""
        async for progress in _typed(self._primes.fill(count)):
            yield progress

    # Sessions, peers, quarantine, store

    def sessions(self, *, ended: bool = False) -> Sequence[SessionView]:
        """See NodeApi."""
        return list(self._sessions.views(ended=ended))

    async def abort_session(
        self, session_id: bytes | None = None, request_id: bytes | None = None, reason: str = ""
    ) -> SessionView | None:
        """See NodeApi."""
        asked = request_id is not None and self._signing.abort(request_id)
        try:
            drivers = self._sessions.find(session_id, request_id)
        except SessionUnknown:
            if not asked:
                raise
            drivers = []
        error = OperatorAbort(f"ended by an operator or caller{': ' + reason if reason else ''}")
        for driver in drivers:
            driver.abort(error)
        for driver in drivers:
            await asyncio.wait([driver.outcome])
        if drivers:
            return self._sessions.view(drivers[0])
        return _before_a_session(request_id or b"") if asked else None

    def committees(self) -> Sequence[CommitteeView]:
        """See NodeApi."""
        return [
            CommitteeView(
                committee=membership.committee,
                index=membership.index,
                aux_id=self._store.accounts.current_aux_id(membership.committee_id),
                members=tuple(self.peers(membership.committee_id)),
                is_left=self._is_left(membership),
            )
            for membership in self._memberships.values()
        ]

    def _is_left(self, membership: Membership) -> bool:
        """Whether accounts were here, all are elsewhere, and the settings do not name it.

        Its room stays open: a member that was away learns there that its shares are to be destroyed.
        """
        committee_id = membership.committee_id
        if any(committee.committee_id == committee_id for committee in self._config.committees):
            return False
        if self._store.accounts.accounts(committee_id):
            return False
        had = self._store.sessions.had_accounts(committee_id)
        return had or bool(self._store.resharings.moved_from(committee_id))

    async def add_committee(self, committee: Committee) -> CommitteeView:
        """See NodeApi."""
        _typed_call(committee.index_of, self._identity)
        await self._step(self._store.accounts.put_committee, committee)
        self._join(committee)
        return next(v for v in self.committees() if v.committee.committee_id == committee.committee_id)

    def peers(self, committee_id: bytes | None = None) -> Sequence[PeerView]:
        """See NodeApi."""
        membership = self._membership(committee_id)
        marked = self._store.quarantine.peers(membership.committee_id, None)
        return [self._peer(membership, party, marked) for party in membership.parties]

    def _peer(self, membership: Membership, party: PartyId, marked: set[bytes]) -> PeerView:
        presence, identity = membership.presence, membership.identities[party]
        peer = presence.peers.get(party)
        seen = None if peer is None or peer.last_live is None else time.monotonic() - peer.last_live
        version = self._config.version if peer is None else (peer.hello.version if peer.hello else "")
        return PeerView(
            index=party.index - 1,
            identity=identity,
            own=peer is None,
            online=presence.is_present(party),
            last_seen=0.0 if peer is None else seen,
            version=version,
            quarantined=identity in marked,
            problem=presence.problem(party),
        )

    def quarantine(self, committee_id: bytes | None = None) -> Sequence[QuarantineView]:
        """See NodeApi."""
        found = []
        for entry in self._store.quarantine.entries(committee_id):
            membership = self._memberships.get(entry.committee_id)
            identities = [] if membership is None else membership.committee.identities
            found.append(
                QuarantineView(
                    number=entry.number,
                    identity=entry.peer,
                    committee_id=entry.committee_id,
                    index=identities.index(entry.peer) if entry.peer in identities else None,
                    aux_id=entry.aux_id,
                    reason=entry.reason,
                    evidence_id=entry.evidence_id,
                    since=entry.added_at // 1000,
                )
            )
        return found

    def clear_quarantine(self, identity: bytes, by: str, reason: str = "") -> int:
        """See NodeApi."""
        return _typed_call(clear_marks, self._store, identity, by, reason)

    def blocked_sets(self, committee_id: bytes | None = None) -> Sequence[BlockedSetView]:
        """See NodeApi."""
        return [
            BlockedSetView(
                session_id=entry.sid,
                committee_id=entry.committee_id,
                signers=tuple(point - 1 for point in entry.signers),
                lacking=tuple(point - 1 for point in entry.lacking),
                reason=entry.reason,
                since=entry.blocked_at // 1000,
            )
            for entry in self._store.blocked.entries(committee_id)
        ]

    def clear_blocked_set(self, session_id: bytes, by: str, reason: str = "") -> bool:
        """See NodeApi."""
        return _typed_call(lift_block, self._store, session_id, by, reason)

    def evidence_ids(self) -> Sequence[bytes]:
        """See NodeApi."""
        return self._store.quarantine.evidence_ids()

    def evidence(self, evidence_id: bytes) -> bytes | None:
        """See NodeApi."""
        return self._store.quarantine.evidence(evidence_id)

    async def check_store(self, *, deep: bool = False) -> StoreReport:
        """See NodeApi."""
        hook = self._records.check_share if deep else None
        findings = await self._step(self._store.check, hook)
        broken = any(finding.what == "audit" for finding in findings)
        records = 0 if broken else await self._step(self._store.audit.verify_chain)
        accounts = len(await self._step(self._store.accounts.accounts))
        return StoreReport(tuple(findings), accounts, records)

    def primes(self) -> PrimePool:
        """See NodeApi."""
        return self._primes.pool()

    def status(self) -> StatusView:
        """See NodeApi."""
        connected = self._reachable() is True
        committees = tuple(self.committees())
        dropped = Counter(self._sessions.dropped) + self._proposals.dropped
        for membership in self._memberships.values():
            dropped += membership.dropped
        heard = all(m.presence.connected_at is not None for m in self._memberships.values())
        twin = any(m.presence.has_twin() for m in self._memberships.values())
        return StatusView(
            ready=self._running and connected and heard and not twin,
            version=self._config.version,
            identity=self._identity,
            uptime=time.monotonic() - self._started_at if self._started_at else 0.0,
            gateway_url=self._config.gateway_url,
            gateway_connected=connected,
            accounts=len(self._store.accounts.ids()),
            sessions=len(self._sessions.active()),
            primes=self.primes(),
            committees=committees,
            warnings=tuple(self._warnings(committees)),
            dropped=dict(dropped),
        )

    def _warnings(self, committees: Sequence[CommitteeView]) -> Iterable[str]:
        if not committees:
            yield "this node is a member of no committee: give it a committee file"
        for membership in self._memberships.values():
            if membership.room.refused is not None:
                yield f"the gateway refuses this node: {membership.room.refused}"
        for view in committees:
            for member in () if view.is_left else view.members:
                if member.quarantined:
                    yield f"index {member.index} is in quarantine: look at the evidence, then clear it"
                elif member.problem:
                    yield f"index {member.index}: {member.problem}"
        for blocked in self.blocked_sets():
            names = ", ".join(map(str, blocked.signers))
            yield f"indices {names} do not sign together: {blocked.reason} (mpc-keygen quarantine list)"
        for pending in self._store.sessions.pendings():
            names = ", ".join(map(repr, pending.state.account_ids[:3]))
            if pending.kind == refresh.KIND and not pending.voided:
                yield f"new shares of {names} wait for the certificate of all members: start those that are away, or refresh again"
        for moving in self._resharing.views():
            if moving.certified and moving.old_can_sign:
                yield f"account {moving.account_id!r}: {moving.summary} (mpc-keygen resharings)"
        for account_id, what in self._records.damaged.items():
            yield f"account {account_id!r} is not used: {what}"

    # Helpers

    def _check_running(self) -> None:
        if not self._running:
            raise NotReady("this node is not running: it is starting, or being stopped")

    async def _step(self, function: Callable[..., T], *arguments: Any) -> T:
        return await _typed_await(self._workers.step(function, *arguments))


def _before_a_session(request_id: bytes) -> SessionView:
    """What is said of a request that was ended while it waited."""
    return SessionView(
        session_id=None,
        proposal=b"",
        kind="request",
        committee_id=b"",
        account_id=None,
        request_id=request_id,
        initiator=0,
        parties=(),
        phase="ended",
        waiting_for=(),
        started_at=0.0,
        outcome="Aborted: it had not reached a session yet",
    )


def _typed_call(function: Callable[..., T], *arguments: Any) -> T:
    try:
        return function(*arguments)
    except NodeFailure:
        raise
    except Exception as error:
        raise failure_of(error) from error


async def _typed_await(awaitable: Awaitable[T]) -> T:
    try:
        return await awaitable
    except NodeFailure:
        raise
    except Exception as error:
        raise failure_of(error) from error


async def _typed(steps: AsyncGenerator[Progress, None]) -> AsyncGenerator[Progress, None]:
    async with aclosing(steps):
        try:
            async for progress in steps:
                yield progress
        except NodeFailure:
            raise
        except Exception as error:
            raise failure_of(error) from error
