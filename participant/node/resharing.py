"""Resharing of an account to another committee (protocol.md 2.3): what operators ask for, approve, start and look at."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Final

from participant.callers import Caller
from participant.committee import Committee
from participant.node.api import Progress, ReshareView
from participant.node.ceremonies import Ceremonies
from participant.node.config import NodeConfig
from participant.node.destroyed import apart, together
from participant.node.errors import CeremonyFailed, InvalidRequest
from participant.node.following import Course
from participant.node.gathering import Gathering, me_among
from participant.node.hello import MAX_SIDS, Hello
from participant.node.membership import Membership
from participant.node.plan import Declined
from participant.node.presence import Facts
from participant.node.records import Records
from participant.node.requests import reshare_requests
from participant.node.reshare_plan import ResharePlanner, check_terms
from participant.node.revocation import Revocation
from participant.node.tasks import Changes
from participant.node.workers import Workers
from participant.policy import Action
from participant.reshare_request import BadRequest, ReshareRequest
from participant.store import AuditRecord, Store
from participant.store.approvals import WITHDRAWN
from tss.cggmp24 import reshare
from tss.cggmp24.completion import Certificate
from tss.encoding import Value
from tss.envelope import Kind, PartyId, Signed
from tss.errors import SchemaViolation

log = logging.getLogger(__name__)

REPEAT_SECONDS: Final = 5.0
"""Before the same words or certificate are posted again."""

COMPLETE: Final = "complete"
"""Outcome of an approval whose resharing is complete, as everybody in it knows."""


def _missing(names: str) -> str:
    return (
        f"a resharing needs all dealers and all new holders, and {names} cannot be heard: start them, have their "
        "operators approve the request (mpc-keygen approve FILE), and see that all use one gateway. An old "
        "member that stays away need not be a dealer: make a request without it (--dealers)"
    )


class Resharing:
    """The resharings that this node's operator approved. For the event loop; what blocks runs in `workers`."""

    def __init__(
        self,
        *,
        config: NodeConfig,
        store: Store,
        records: Records,
        planner: ResharePlanner,
        ceremonies: Ceremonies,
        revocation: Revocation,
        workers: Workers,
        identity: bytes,
        join: Callable[[Gathering], None],
        leave: Callable[[Gathering], None],
        add_committee: Callable[[Committee], None],
        membership_of: Callable[[bytes], Membership | None],
    ) -> None:
        """`join` opens a gathering's room, `leave` closes it; `membership_of` gives this node's committees by id."""
        self._config = config
        self._store = store
        self._records = records
        self._planner = planner
        self._ceremonies = ceremonies
        self._revocation = revocation
        self._workers = workers
        self._identity = identity
        self._join = join
        self._leave = leave
        self._add_committee = add_committee
        self._membership_of = membership_of
        self._requests = reshare_requests(store, records.suites)
        self._gatherings: dict[bytes, Gathering] = {}
        self._done: dict[bytes, set[PartyId]] = {}
        """Who in a gathering says that its resharing is complete."""
        self._posted: dict[tuple[bytes, bytes], float] = {}
        self.changes = Changes()

    # Life

    async def begin(self) -> None:
        """After a start: go on with what is approved and not complete."""
        await self._workers.step(self._revocation.settle)
        for request in await self._workers.step(self._requests.open):
            self._enter(request)

    def _enter(self, request: ReshareRequest) -> None:
        if request.request_id in self._gatherings:
            return
        me = me_among(request.seats, self._identity)
        if me is None:
            return
        own = [known for known in (request.new, request.old) if self._identity in known.identities]
        if request.new in own:
            self._add_committee(request.new)
        gathering = Gathering(
            own[0],
            me,
            self._store.identity().sign,
            self._records.protos,
            request_id=request.request_id,
            beside=own[1] if len(own) > 1 else None,
            concerned=frozenset({request.old.committee_id, request.new.committee_id}),
            seats=request.seats,
        )
        self._gatherings[request.request_id] = gathering
        self._join(gathering)

    # What operators ask for

    def request(
        self, account_id: str, committee: Committee, threshold: int | None, dealers: Sequence[int] | None
    ) -> ReshareRequest:
        """See NodeApi.reshare_request. Blocking. Raises KeyShareNotFound, ShareCorrupt, BadRequest."""
        account = self._records.account(account_id)
        old = self._store.accounts.committee(account.record.committee_id)
        points = sorted({index + 1 for index in dealers}) if dealers else account.share.indices
        return ReshareRequest.of(
            account_id,
            account.share,
            old,
            committee,
            dealers=points,
            threshold=committee.threshold if threshold is None else threshold,
        )

    async def approve(self, text: str) -> ReshareView:
        """See NodeApi.approve. Raises InvalidRequest."""
        try:
            request = await self._workers.step(self._approve, text)
        except (BadRequest, Declined) as error:
            raise InvalidRequest(str(error)) from None
        self._enter(request)
        self._tell(request.request_id)
        return await self._workers.step(self._view, request)

    def _approve(self, text: str) -> ReshareRequest:
        request = ReshareRequest.from_yaml(text, self._records.suites)
        seats = [party for party, identity in request.seats.items() if identity == self._identity]
        if not seats:
            raise BadRequest("this node is neither one of its dealers nor a member of the new committee")
        if any(party.role == reshare.DEALER for party in seats):
            self._planner.dealt(request)
        elif self._store.accounts.has_account(request.account_id):
            check_terms(request, self._records.account(request.account_id))
        if any(party.role == reshare.NEW for party in seats):
            self._planner.check_place(request)
        with self._store.transaction():
            self._store.approvals.put(request.request_id, reshare.KIND, request.account_id, text.encode())
            what = f"request {request.request_id.hex()}: to committee {request.new.committee_id.hex()}"
            record = AuditRecord("reshare", "operator", "approved", what, account=request.account_id)
            self._store.audit.append(record)
        return request

    async def withdraw(self, request_id: bytes) -> None:
        """See NodeApi.withdraw_approval. Raises StoreConflict."""
        await self._workers.step(self._withdraw, request_id)
        gathering = self._gatherings.pop(request_id, None)
        if gathering is not None:
            self._leave(gathering)

    def _withdraw(self, request_id: bytes) -> None:
        if self._store.resharings.certificate(request_id) is not None:
            raise InvalidRequest("the account has gone to the other committee: that is not taken back")
        with self._store.transaction():
            self._store.approvals.end(request_id, WITHDRAWN)
            self._store.audit.append(
                AuditRecord("reshare", "operator", "approval withdrawn", request_id.hex())
            )

    # Running it

    async def run(self, request_id: bytes, caller: Caller | None) -> AsyncGenerator[Progress, None]:
        """See NodeApi.reshare."""
        request = await self._workers.step(self._requests.get, request_id)
        gathering = self._gatherings.get(request_id)
        if request is None or gathering is None:
            raise InvalidRequest(f"no request {request_id.hex()} is approved and open on this node")
        await self._ceremonies.decide(Action.RESHARE, gathering, caller, request.account_id)
        course = Course(("waiting", reshare.KIND, "revocation"))
        async with self._ceremonies.lock(gathering):
            if not self._certified(request_id):
                async with aclosing(self._ceremonies.gather_approved(gathering, course, _missing)) as steps:
                    async for progress in steps:
                        yield progress
            if not self._certified(request_id):
                running = self._run(gathering, request, caller, course)
                async with aclosing(running) as steps:
                    async for progress in steps:
                        yield progress
            async with aclosing(self._wait_for_words(request, gathering, course)) as steps:
                async for progress in steps:
                    yield progress
        view = await self._workers.step(self._view, request)
        yield course.report("revocation", text=view.summary, result=view)

    def _run(
        self, gathering: Gathering, request: ReshareRequest, caller: Caller | None, course: Course
    ) -> AsyncGenerator[Progress, None]:
        tail: list[Value] = request.terms.tail()
        return self._ceremonies.run(
            gathering, request.suite, reshare.KIND, request.account_id, tail, caller, course
        )

    async def _wait_for_words(
        self, request: ReshareRequest, gathering: Gathering, course: Course
    ) -> AsyncGenerator[Progress, None]:
        """Until the old holders that are here have destroyed their shares. Those that are away do it when they come back."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._config.gather
        here = {identity for identity in gathering.seats.values() if identity in request.old.identities}
        due = {request.old.point_of(identity) for identity in here}

        def lacking() -> set[int]:
            known = self._store.resharings.words(request.terms.key_id)
            return set() if len(known) >= request.old.n else due - known.keys()

        while loop.time() < deadline:
            certified, absent = self._certified(request.request_id), lacking()
            if certified and not absent:
                return
            names = ", ".join(str(point - 1) for point in sorted(absent))
            yield course.report(
                "revocation", text=f"waiting for the old members {names} to destroy their shares"
            )
            await self.changes.wait_for(
                lambda known=(certified, absent): (self._certified(request.request_id), lacking()) != known,  # type: ignore[misc]
                min(1.0, max(0.0, deadline - loop.time())),
            )
        if not self._certified(request.request_id):
            raise CeremonyFailed(
                "the new members have not all said that they hold their shares: start those that are away, and run it again"
            )

    def _certified(self, request_id: bytes) -> bool:
        return self._store.resharings.certificate(request_id) is not None

    # Looking at it

    def views(self) -> list[ReshareView]:
        """See NodeApi.resharings. Blocking."""
        return [self._view(request) for request in self._requests.all()]

    def _view(self, request: ReshareRequest) -> ReshareView:
        store, request_id = self._store, request.request_id
        approval = store.approvals.get(request_id)
        words = set(store.resharings.words(request.terms.key_id))
        gathering = self._gatherings.get(request_id)
        certified = self._certified(request_id)
        return ReshareView(
            request_id=request_id,
            account_id=request.account_id,
            old_committee_id=request.old.committee_id,
            new_committee_id=request.new.committee_id,
            threshold=request.terms.t,
            new_threshold=request.terms.new_t,
            dealers=tuple(point - 1 for point in request.terms.dealers),
            withdrawn=approval is not None and approval.outcome == WITHDRAWN,
            certified=certified,
            deletions_due=request.deletions_due,
            deleted=tuple(point - 1 for point in sorted(words)),
            not_deleted=tuple(index for index in range(request.old.n) if index + 1 not in words),
            absent="" if gathering is None or certified else gathering.names(gathering.absent),
        )

    # What comes from rooms

    def facts(self, gathering: Gathering) -> Facts:
        """What this node's hello in a gathering says: whether it lacks the certificate or words, and of which runs. Blocking."""
        request = self._requests.get(gathering.request_id)
        if request is not None and self._revocation.is_complete(request):
            return Facts()
        runs = set(self._store.resharings.runs(gathering.request_id))
        sids = [sid for sid in self._store.sessions.pending_sids() if sid in runs]
        return Facts(pending=(gathering.request_id, *sids[-MAX_SIDS + 1 :]))

    async def hear(self, membership: Membership, party: PartyId, hello: Hello) -> None:
        """A member of a committee or gathering is here: tell it what it lacks."""
        if not isinstance(membership, Gathering):
            for key_id in await self._workers.step(
                self._revocation.lacking, membership.committee_id, party.index
            ):
                await self._post_words(membership, key_id)
            return
        request = await self._workers.step(self._requests.get, membership.request_id)
        if request is None:
            return
        said = self._done.setdefault(request.request_id, set())
        if request.request_id in hello.pending:
            said.discard(party)
            certificate = await self._workers.step(self._store.resharings.certificate, request.request_id)
            if certificate is not None and self._may_post(membership, certificate.sid):
                for envelope in certificate.envelopes:
                    membership.room.send(envelope)
            await self._post_words(membership, request.terms.key_id)
            return
        said.add(party)
        await self._end_complete(request, membership)

    async def _end_complete(self, request: ReshareRequest, gathering: Gathering) -> None:
        if self._done[request.request_id] < set(gathering.others):
            return
        if await self._workers.step(self._end, request):
            log.info("the resharing of account %r is complete, and everybody knows", request.account_id)

    def _end(self, request: ReshareRequest) -> bool:
        approval = self._store.approvals.get(request.request_id)
        if approval is None or not approval.is_open or not self._revocation.is_complete(request):
            return False
        self._store.approvals.end(request.request_id, COMPLETE)
        return True

    async def take_done(self, gathering: Gathering, envelope: bytes) -> None:
        """A new holder's done, where this node is no new holder."""
        if any(party.role == reshare.NEW for party in gathering.own_seats):
            return
        if await self._workers.step(self._revocation.take_done, gathering.request_id, envelope):
            await self._after(gathering.request_id)

    async def dealt(self, gathering: Gathering, certificate: Certificate) -> None:
        """This node's session as a dealer has ended well."""
        if any(party.role == reshare.NEW for party in gathering.own_seats):
            return
        await self._workers.step(
            self._revocation.certified, gathering.request_id, certificate.sid, certificate.envelopes
        )
        await self._after(gathering.request_id)

    def activated(self, sid: bytes, envelopes: Sequence[bytes]) -> None:
        """In a worker thread: this node holds the account in its new committee."""
        request_id = self._store.resharings.request_of(sid)
        if request_id is not None:
            self._revocation.certified(request_id, sid, envelopes)

    async def take_words(self, membership: Membership, signed: Signed) -> None:
        """A note with old holders' words."""
        try:
            words = apart(signed.body.payload)
        except SchemaViolation:
            membership.dropped["malformed"] += 1
            return
        old = membership.committee
        if isinstance(membership, Gathering):
            request = await self._workers.step(self._requests.get, membership.request_id)
            if request is None:
                return
            old = request.old
        news, destroyed = await self._workers.step(self._revocation.take_words, old, words)
        for key_id in destroyed:
            await self._post_words(membership, key_id, again=True)
            membership.presence.refresh()
        if news:
            for gathering in list(self._gatherings.values()):
                await self._after(gathering.request_id)

    async def after_activation(self, sid: bytes) -> None:
        """On the event loop, after `activated`."""
        request_id = await self._workers.step(self._store.resharings.request_of, sid)
        if request_id is not None:
            await self._after(request_id)

    async def _after(self, request_id: bytes) -> None:
        """A certificate or word is new: show what there is, to both rooms."""
        request = await self._workers.step(self._requests.get, request_id)
        gathering = self._gatherings.get(request_id)
        self.changes.notify()
        if request is None:
            return
        rooms = [gathering, self._membership_of(request.old.committee_id)]
        for membership in rooms:
            if membership is not None:
                await self._post_words(membership, request.terms.key_id, again=True)
        self._tell(request_id)

    def _tell(self, request_id: bytes) -> None:
        gathering = self._gatherings.get(request_id)
        if gathering is not None:
            gathering.presence.refresh()
        self.changes.notify()

    async def _post_words(self, membership: Membership, key_id: bytes, *, again: bool = False) -> None:
        words = await self._workers.step(self._revocation.words, key_id)
        if words and (again or self._may_post(membership, key_id)):
            proto = self._records.default.proto
            membership.room.send(membership.note(proto, membership.committee_id, Kind.SHOW, together(words)))

    def _may_post(self, membership: Membership, what: bytes) -> bool:
        now, known = asyncio.get_running_loop().time(), (membership.committee_id, what)
        if now - self._posted.get(known, -REPEAT_SECONDS) < REPEAT_SECONDS:
            return False
        self._posted[known] = now
        return True
