"""Recovery of lost shares (protocol.md 2.4): what operators ask for, approve, start and look at.

t helpers give the share back to its place. Then all members refresh together: that makes the auxiliary information that the
place lacks, brings the accounts to the committee with its identity, and makes worthless whatever is left on the lost device.
The share that came back never signs.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing

from participant.callers import Caller
from participant.committee import Committee
from participant.node.api import Progress, RecoveryView
from participant.node.ceremonies import Ceremonies
from participant.node.errors import InvalidRequest, NodeFailure
from participant.node.following import Course
from participant.node.gathering import Gathering, me_among
from participant.node.membership import Membership
from participant.node.plan import Declined
from participant.node.records import Records
from participant.node.recover_plan import RecoverPlanner
from participant.node.refresh_plan import touched
from participant.node.requests import recover_requests
from participant.node.workers import Workers
from participant.policy import Action
from participant.recover_request import LostAccount, RecoverRequest
from participant.reshare_request import BadRequest
from participant.store import AuditRecord, Store
from participant.store.approvals import WITHDRAWN
from participant.store.recoveries import COMPLETE, Recovery
from tss.cggmp24 import recover, refresh

log = logging.getLogger(__name__)


def _missing(names: str) -> str:
    return (
        f"a recovery needs its helpers and the node that lost its shares, and {names} cannot be heard: start "
        "them, and have their operators approve the request (mpc-keygen approve FILE). A member that "
        "stays away need not be a helper: make a request without it (--helpers)"
    )


class Recovering:
    """The recoveries that this node's operator approved. For the event loop; what blocks runs in `workers`."""

    def __init__(
        self,
        *,
        store: Store,
        records: Records,
        planner: RecoverPlanner,
        ceremonies: Ceremonies,
        workers: Workers,
        identity: bytes,
        join: Callable[[Gathering], None],
        leave: Callable[[Gathering], None],
        add_committee: Callable[[Committee], None],
        membership_of: Callable[[bytes], Membership | None],
    ) -> None:
        """`join` opens a gathering's room, `leave` closes it; `membership_of` gives this node's committees by id."""
        self._store = store
        self._records = records
        self._planner = planner
        self._ceremonies = ceremonies
        self._workers = workers
        self._identity = identity
        self._join = join
        self._leave = leave
        self._add_committee = add_committee
        self._membership_of = membership_of
        self._requests = recover_requests(store, records.suites)
        self._gatherings: dict[bytes, Gathering] = {}

    # Life

    async def begin(self) -> None:
        """After a start: go on with what is approved and not complete."""
        for request in await self._workers.step(self._requests.open):
            self._enter(request)

    def _enter(self, request: RecoverRequest) -> None:
        self._add_committee(request.new)
        me = me_among(request.seats, self._identity)
        if me is None or request.request_id in self._gatherings:
            return
        gathering = Gathering(
            request.new,
            me,
            self._store.identity().sign,
            self._records.protos,
            request_id=request.request_id,
            concerned=frozenset({request.old.committee_id, request.new.committee_id}),
            seats=request.seats,
        )
        self._gatherings[request.request_id] = gathering
        self._join(gathering)

    def settled(self) -> None:
        """New shares came into force: leave the rooms of what is complete."""
        for request_id in list(self._gatherings):
            approval = self._store.approvals.get(request_id)
            if approval is None or not approval.is_open:
                self._close(request_id)

    def _close(self, request_id: bytes) -> None:
        gathering = self._gatherings.pop(request_id, None)
        if gathering is not None:
            self._leave(gathering)

    # What operators ask for

    def request(
        self, index: int, committee: Committee, helpers: Sequence[int] | None, account_ids: Sequence[str]
    ) -> RecoverRequest:
        """See NodeApi.recover_request. Blocking. Raises KeyShareNotFound, ShareCorrupt, InvalidRequest."""
        records = self._store.accounts.accounts()
        known = {record.account_id: record for record in records}
        for name in account_ids:
            self._store.accounts.account(name)
        old = self._former(committee, index) if not account_ids else known[account_ids[0]].committee_id
        wanted = list(account_ids) or [r.account_id for r in records if r.committee_id == old]
        if not wanted:
            raise InvalidRequest("the committee has no account on this node")
        former = self._store.accounts.committee(old)
        if any(known[name].committee_id != old for name in wanted):
            raise InvalidRequest("the accounts are of several committees: make a request for each")
        points = [i for i in range(former.n) if i != index][: known[wanted[0]].threshold]
        accounts = {name: (self._records.account(name).share, known[name].aux_id) for name in wanted}
        try:
            return RecoverRequest.of(
                former, committee, index, points if helpers is None else helpers, accounts
            )
        except BadRequest as error:
            raise InvalidRequest(str(error)) from None

    def _former(self, committee: Committee, index: int) -> bytes:
        """The committee of this node that has the same members but one. Raises InvalidRequest."""

        def others(of: Committee) -> list[bytes]:
            return [identity for place, identity in enumerate(of.identities) if place != index]

        found = [
            known.committee_id
            for known in self._store.accounts.committees()
            if others(known) == others(committee) and self._store.accounts.accounts(known.committee_id)
        ]
        if len(found) != 1:
            raise InvalidRequest("name the accounts: this node has no, or several committees that fit")
        return found[0]

    async def approve(self, text: str, public_keys: Mapping[str, bytes]) -> RecoveryView:
        """See NodeApi.approve_recovery. Raises InvalidRequest."""
        try:
            request = await self._workers.step(self._approve, text, public_keys)
        except (BadRequest, Declined) as error:
            raise InvalidRequest(str(error)) from None
        self._enter(request)
        return await self._workers.step(self._view, request)

    def _approve(self, text: str, public_keys: Mapping[str, bytes]) -> RecoverRequest:
        request = RecoverRequest.from_yaml(text, self._records.suites)
        if self._identity not in request.new.identities:
            raise BadRequest("this node is no member of the committee that the request names")
        for name, public_key in public_keys.items():
            lost = request.account(name)
            if lost is None or lost.terms.X.to_bytes() != public_key:
                raise BadRequest(
                    f"the request has another public key for account {name!r} than the one given"
                )
        for lost in request.accounts:
            self._check(request, lost)
        entries = [
            Recovery(request.request_id, a.account_id, a.terms.key_id, a.terms.share_epoch, request.r)
            for a in request.accounts
        ]
        what = f"request {request.request_id.hex()}: index {request.r - 1}, identity {request.identity.hex()}"
        with self._store.transaction():
            self._store.accounts.put_committee(request.new)
            self._store.approvals.put(request.request_id, recover.KIND, "", text.encode())
            self._store.recoveries.put(entries)
            self._store.audit.append(AuditRecord("recovery", "operator", "approved", what))
        return request

    def _check(self, request: RecoverRequest, lost: LostAccount) -> None:
        if self._identity == request.identity:
            self._planner.check_place(lost)
        elif self._store.accounts.account(lost.account_id).committee_id != request.new.committee_id:
            self._planner.known(request, lost)

    async def withdraw(self, request_id: bytes) -> None:
        """See NodeApi.withdraw_approval. Raises InvalidRequest, StoreConflict."""
        await self._workers.step(self._withdraw, request_id)
        self._close(request_id)

    def _withdraw(self, request_id: bytes) -> None:
        names = {entry.account_id for entry in self._store.recoveries.entries(request_id)}
        for pending in self._store.sessions.pendings():
            if not pending.voided and not names.isdisjoint(touched(pending)):
                raise InvalidRequest(
                    "new shares wait for the certificate of all members: start those that are away, and let it come to its end"
                )
        with self._store.transaction():
            self._store.approvals.end(request_id, WITHDRAWN)
            self._store.recoveries.forget(request_id)
            self._store.audit.append(
                AuditRecord("recovery", "operator", "approval withdrawn", request_id.hex())
            )

    # Running it

    async def run(self, request_id: bytes, caller: Caller | None) -> AsyncGenerator[Progress, None]:
        """See NodeApi.recover."""
        request = await self._workers.step(self._requests.get, request_id)
        if request is None:
            raise InvalidRequest(f"no request {request_id.hex()} was approved on this node")
        last = [f"refresh {curve}" for curve in request.suites]
        course = Course(("waiting", *(f"recover {a.account_id}" for a in request.accounts), *last))
        if not await self._workers.step(self._is_complete, request_id):
            gathering = self._gatherings.get(request_id)
            membership = self._membership_of(request.new.committee_id)
            if gathering is None or membership is None:
                raise InvalidRequest(
                    f"the request {request_id.hex()} is run on one of its helpers, or on the node that lost its shares"
                )
            for action in (Action.RECOVERY, Action.REFRESH):
                await self._ceremonies.decide(action, membership, caller, None)
            async with self._ceremonies.lock(gathering), self._ceremonies.lock(membership):
                running = self._run(request, gathering, membership, caller, course)
                try:
                    async with aclosing(running) as steps:
                        async for progress in steps:
                            yield progress
                except NodeFailure:
                    # A certificate that was under way from before may have come first.
                    if not await self._workers.step(self._is_complete, request_id):
                        raise
        view = await self._workers.step(self._view, request)
        yield course.report(last[-1], text="done", result=view)

    async def _run(
        self,
        request: RecoverRequest,
        gathering: Gathering,
        membership: Membership,
        caller: Caller | None,
        course: Course,
    ) -> AsyncGenerator[Progress, None]:
        gathered = self._ceremonies.gather_approved(gathering, course, _missing)
        async with aclosing(gathered) as steps:
            async for progress in steps:
                yield progress
        ceremonies = self._ceremonies
        for lost in request.accounts:
            about = (gathering, lost.suite, recover.KIND, lost.account_id, lost.terms.tail(), caller, course)
            running = ceremonies.run(*about, stage=f"recover {lost.account_id}")
            async with aclosing(running) as steps:
                async for progress in steps:
                    yield progress
        # Everybody, also those who did not help: what is left on the lost device is worth nothing then.
        async with aclosing(ceremonies.gather(membership, course)) as steps:
            async for progress in steps:
                yield progress
        for curve, suite in request.suites.items():
            lines = [account.line for account in request.accounts if account.suite is suite]
            tail = [sorted(lines, key=lambda line: line[0])]
            running = ceremonies.run(
                *(membership, suite, refresh.KIND, None, tail, caller, course),
                stage=f"refresh {curve}",
            )
            async with aclosing(running) as steps:
                async for progress in steps:
                    yield progress

    # Looking at it

    def _is_complete(self, request_id: bytes) -> bool:
        approval = self._store.approvals.get(request_id)
        return approval is not None and approval.outcome == COMPLETE

    def views(self) -> list[RecoveryView]:
        """See NodeApi.recoveries. Blocking."""
        return [self._view(request) for request in self._requests.all()]

    def _view(self, request: RecoverRequest) -> RecoveryView:
        approval = self._store.approvals.get(request.request_id)
        entries = self._store.recoveries.entries(request.request_id)
        gathering = self._gatherings.get(request.request_id)
        return RecoveryView(
            request_id=request.request_id,
            old_committee_id=request.old.committee_id,
            new_committee_id=request.new.committee_id,
            lost=request.r - 1,
            identity=request.identity,
            helpers=tuple(point - 1 for point in request.helpers),
            account_ids=tuple(account.account_id for account in request.accounts),
            back=tuple(entry.account_id for entry in entries if entry.is_back),
            settled=tuple(entry.account_id for entry in entries if entry.is_settled),
            withdrawn=approval is not None and approval.outcome == WITHDRAWN,
            complete=approval is not None and approval.outcome == COMPLETE,
            absent="" if gathering is None else gathering.names(gathering.absent),
        )
