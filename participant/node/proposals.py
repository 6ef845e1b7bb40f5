"""Proposals, from both sides: this node's own, and what it answers to the others'.

Whoever proposed, the way is one: plan it from this node's own records, ask this node's policy, write the decision down,
take part. What is declined is told to the proposer with a code and a text (protocol.md 0.7: refused, nobody is blamed).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from participant.node.blame import Blame
from participant.node.config import NodeConfig
from participant.node.driver import SessionDriver
from participant.node.errors import Busy
from participant.node.membership import Membership
from participant.node.plan import Decline, Declined, Misused, Plan, StoreResult
from participant.node.planner import CEREMONIES, PRESIGNING, SIGNING, Planner, signer_points, used_ahead
from participant.node.records import Records
from participant.node.refresh_plan import Behind, gives_up
from participant.node.room import Room
from participant.node.sessions import Sessions
from participant.node.stock import Stock
from participant.node.workers import Workers
from participant.policy import SELF, Policy, PolicyRequest, Refuse
from participant.store import AuditRecord, Store, StoreError
from tss.encoding import encode
from tss.envelope import Kind, Signed, pack
from tss.envelope import sign as sign_body
from tss.errors import PeerFault
from tss.params import Suite
from tss.proposal import WITHOUT_ROUND_0, Proposal, decode_proposal
from tss.session import session_id

log = logging.getLogger(__name__)

_UNRECORDED: Final = frozenset({Decline.EXPIRED, Decline.BUSY, Decline.STOPPING})
"""Reasons that say nothing about the proposal itself."""

Gate = Callable[[Proposal], None]
"""A further condition on a proposal; raises Declined."""


class PolicyDeclined(Declined):
    """This node's own policy said no."""

    def __init__(self, decision: Refuse) -> None:
        super().__init__(str(decision.code), decision.text)
        self.decision = decision


class Proposals:
    """Makes sessions of proposals. For the event loop; what blocks runs in `workers`."""

    def __init__(
        self,
        *,
        config: NodeConfig,
        store: Store,
        records: Records,
        planner: Planner,
        policy: Policy,
        sessions: Sessions,
        stock: Stock,
        blame: Blame,
        workers: Workers,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._store = store
        self._records = records
        self._planner = planner
        self._policy = policy
        self._sessions = sessions
        self._stock = stock
        self._blame = blame
        self._workers = workers
        self._wall = wall
        self._considered: set[bytes] = set()
        self.stopping = False
        self.dropped: Counter[str] = Counter()

    # This node's own

    def expiry(self) -> int:
        """When a proposal that is made now expires, Unix seconds."""
        return int(self._wall() + self._config.proposal_lifetime)

    async def make(
        self, membership: Membership, suite: Suite, proposal: Proposal, home: Room, *, caller: str | None
    ) -> SessionDriver:
        """Propose and take part. `caller`: who asked this node, None for itself.

        Raises Declined (PolicyDeclined for the policy), Busy, StoreError.
        """
        self._check_free(membership, proposal)
        return await self.make_written(membership, suite, lambda: proposal, home, caller=caller)

    async def make_written(
        self,
        membership: Membership,
        suite: Suite,
        write: Callable[[], Proposal],
        home: Room,
        *,
        caller: str | None,
        store_result: StoreResult | None = None,
    ) -> SessionDriver:
        """The same with what `write`, called in a worker thread, gives. `store_result`: see Plan."""
        plan, signed = await self._workers.step(self._written, membership, suite, write, caller=caller)
        proposal = plan.proposal
        self._check_free(membership, proposal)
        self._planner.ownership.note(membership, proposal, signed)
        driver = self._sessions.open(replace(plan, store_result=store_result).backed_by(signed), home)
        driver.post_home(pack(signed))
        return driver

    # The others'

    async def take(
        self,
        membership: Membership,
        signed: Signed,
        home: Room,
        *,
        gate: Gate = lambda _: None,
        caller: str | None = None,
        past: bool = False,
    ) -> SessionDriver | None:
        """Answer a proposal that another member signed: take part, or decline. The session, when there is a new one.

        `caller`: who asked this node for the same thing, where that is how it came about. `past`: it was made before this
        process was heard, so nobody counts on this one. A node whose store was lost or is an older copy may have accepted it
        in its former life, and a second acceptance would be two versions of one message.
        """
        ph = signed.body.sid
        if ph in self._considered or self._sessions.is_known(ph):
            return None
        self._considered.add(ph)
        try:
            return await self._take(membership, signed, home, gate, caller, past=past)
        finally:
            self._considered.discard(ph)

    async def _take(
        self,
        membership: Membership,
        signed: Signed,
        home: Room,
        gate: Gate,
        caller: str | None,
        *,
        past: bool,
    ) -> SessionDriver | None:
        suite, ph = self._records.suite_of(signed.body.proto), signed.body.sid
        try:
            proposal = decode_proposal(suite, signed.body)
        except PeerFault as error:
            self.dropped["proposal"] += 1
            self._refuse(membership, suite, ph, home, Declined(Decline.UNREADABLE, error.what))
            return None
        points = signer_points(proposal)
        if points is not None and membership.me.index not in points:
            self._sessions.forget(ph)
            if proposal.kind in WITHOUT_ROUND_0:
                # All of it goes through this room, under an id that is known from now on.
                self._sessions.forget(session_id([suite.proto, "sid", proposal.kind, suite.group.name, ph]))
            return None
        if proposal.expiry < self._wall():
            # The gateway shows a room's whole past to whoever joins.
            self.dropped["expired"] += 1
            self._sessions.forget(ph)
            return None
        if past:
            await self._pass_over(membership, suite, proposal, home)
            return None
        identity = membership.identities[proposal.initiator].hex()
        try:
            self._check_expiry(proposal)
            gate(proposal)
            self._check_free(membership, proposal)
            await self._until_presigned(membership, proposal)
            plan = await self._workers.step(
                self._accept, membership, suite, proposal, identity, signed, caller=caller
            )
            if plan is None:
                self._sessions.forget(ph)
                return None
            self._check_free(membership, proposal)
            return self._sessions.open(plan.backed_by(signed), home)
        except Declined as declined:
            self._refuse(membership, suite, ph, home, declined)
            if isinstance(declined, Behind):
                for envelope in declined.envelopes:
                    membership.room.send(envelope)
            elif declined.code == Decline.PENDING:
                membership.presence.refresh()
        except Busy as busy:
            self._refuse(membership, suite, ph, home, Declined(Decline.BUSY, str(busy)))
        except StoreError as error:
            log.error("a proposal of index %d is declined: %s", proposal.initiator.index - 1, error)  # noqa: TRY400 - written to be read
            text = "this node's store does not take its part"
            self._refuse(membership, suite, ph, home, Declined(Decline.STORE_FAILED, text))
        return None

    async def _pass_over(self, membership: Membership, suite: Suite, proposal: Proposal, home: Room) -> None:
        """Take no part in what is past. Who waits with everybody else for this node is told to begin again."""
        ph = proposal.hash(suite)
        self.dropped["past"] += 1
        if proposal.kind in CEREMONIES and not await self._workers.step(self._store.sessions.known, ph):
            text = "this node has started since: propose it again"
            self._refuse(membership, suite, ph, home, Declined(Decline.BUSY, text))
        else:
            self._sessions.forget(ph)

    async def _until_presigned(self, membership: Membership, proposal: Proposal) -> None:
        """The owner of a presignature may have its half, and use it, a moment before this node has its own."""
        used = used_ahead(proposal)
        if used is None or self._stock.find(used) is not None:
            return
        making = [
            driver.outcome
            for driver in self._sessions.active(membership.committee_id)
            if driver.plan.kind in PRESIGNING and driver.plan.proposal.initiator == proposal.initiator
        ]
        if making:
            await asyncio.wait(making, timeout=self._config.deadlines.for_phase("sign.r0") / 2)

    def _check_expiry(self, proposal: Proposal) -> None:
        latest = self._wall() + self._config.proposal_lifetime + self._config.max_clock_skew
        if proposal.expiry > latest:
            raise Declined(
                Decline.EXPIRED,
                f"the proposal expires {proposal.expiry - self._wall():.0f} s from now by this node's clock: one of the two "
                "clocks is wrong",
            )

    def _check_free(self, membership: Membership, proposal: Proposal) -> None:
        """What may be under way beside it."""
        if self.stopping:
            raise Declined(Decline.STOPPING, "this node is being stopped")
        if membership.presence.has_twin():
            raise Declined(Decline.STOPPING, "another process speaks with this node's identity")
        active = [driver for driver in self._sessions.active() if driver.plan.kind in CEREMONIES]
        touched = [driver.plan.membership.touches for driver in active]
        if proposal.kind in CEREMONIES and any(membership.touches & others for others in touched):
            raise Declined(Decline.BUSY, "another ceremony of the committee is under way")
        if proposal.kind in PRESIGNING:
            owned = self._stock.owned_by(membership.committee_id, proposal.initiator.index)
            if owned >= self._config.stock.cap:
                raise Declined(
                    Decline.BUSY,
                    f"this node keeps at most {self._config.stock.cap} presignatures of an owner",
                )

    # In a worker thread

    def _written(
        self, membership: Membership, suite: Suite, write: Callable[[], Proposal], *, caller: str | None
    ) -> tuple[Plan, Signed]:
        proposal = write()
        plan = self._consider(membership, suite, proposal, caller or SELF, proposer=SELF, caller=caller)
        return plan, sign_body(proposal.body(suite), membership.sign_function)

    def _accept(
        self,
        membership: Membership,
        suite: Suite,
        proposal: Proposal,
        identity: str,
        signed: Signed,
        *,
        caller: str | None,
    ) -> Plan | None:
        if self._store.sessions.known(proposal.hash(suite)):
            # Accepted by a former process: what it knew is lost, so this one never speaks there (protocol.md 0.7).
            return None
        return self._consider(
            membership, suite, proposal, identity, proposer=identity, caller=caller, signed=signed
        )

    def _consider(
        self,
        membership: Membership,
        suite: Suite,
        proposal: Proposal,
        who: str,
        *,
        proposer: str,
        caller: str | None,
        signed: Signed | None = None,
    ) -> Plan:
        """Plan, policy, record. `signed`: another's proposal as it came. Raises Declined."""
        plan, request = self._plan(membership, suite, proposal, who, signed)
        request = replace(request, proposer=proposer, caller=caller)
        decision = self._policy.decide(request)
        if isinstance(decision, Refuse):
            self._record(refusal(request, who, proposal.request_id, decision))
            raise PolicyDeclined(decision)
        if proposal.kind in CEREMONIES:
            self._void_pending(membership, proposal, plan.accounts)
        if proposal.kind not in SIGNING:
            # A signature's record is written together with the answer (protocol.md 3.5).
            self._record(plan.audit)
        return plan

    def _plan(
        self, membership: Membership, suite: Suite, proposal: Proposal, who: str, signed: Signed | None
    ) -> tuple[Plan, PolicyRequest]:
        try:
            return self._planner.plan(membership, suite, proposal, who, signed)
        except Declined as declined:
            if isinstance(declined, Misused):
                self._blame.mark(membership, [declined.fault], None)
                index, check = proposal.initiator.index - 1, declined.fault.check
                log.warning("index %d is in quarantine for what it proposed [%s]", index, check)
            if declined.code not in _UNRECORDED:
                self._record(
                    AuditRecord(
                        kind=proposal.kind,
                        caller=who,
                        decision="decline",
                        reason=f"{declined.code}: {declined}"[:400],
                        account=proposal.account_id,
                        request_id=proposal.request_id,
                    )
                )
            raise

    def _record(self, record: AuditRecord) -> None:
        self._store.audit.append(record)

    def _void_pending(self, membership: Membership, proposal: Proposal, accounts: Sequence[str]) -> None:
        """Taking part in a new run gives up what a former one left unfinished (protocol.md 0.8, completion)."""
        for pending in self._store.sessions.pendings():
            same = pending.committee_id == membership.record_id and not pending.voided
            if same and gives_up(proposal, accounts, pending):
                self._store.sessions.void_pending(pending.sid)

    def _refuse(
        self, membership: Membership, suite: Suite, ph: bytes, home: Room, declined: Declined
    ) -> None:
        log.info("a proposal is declined: %s: %s", declined.code, declined)
        text = str(declined).encode()[:480].decode(errors="ignore")
        home.send(membership.note(suite.proto, ph, Kind.ABORT, encode([declined.code[:64], text])))
        self._sessions.forget(ph)


def refusal(request: PolicyRequest, who: str, request_id: bytes | None, decision: Refuse) -> AuditRecord:
    """The audit record of what a policy refused."""
    return AuditRecord(
        kind=str(request.action),
        caller=who,
        decision="refuse",
        reason=f"{decision.code}: {decision.text}"[:400],
        account=request.account_id,
        request_id=request_id,
        digest=request.digest,
        path=request.path,
        signers=request.signers or None,
    )
