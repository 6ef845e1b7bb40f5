"""The node: everything of this package, put together behind `participant.node.facade`."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import Counter
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Final

from participant.channel import Channel, committee_topic
from participant.committee import Committee
from participant.identity import NodeKeys
from participant.node.asking import Asking
from participant.node.blame import Blame
from participant.node.catchup import CatchUp
from participant.node.ceremonies import Ceremonies
from participant.node.config import NodeConfig
from participant.node.driver import SessionDriver
from participant.node.errors import CommitteeNotFound
from participant.node.facade import NodeApi
from participant.node.gathering import Gathering
from participant.node.hello import MAX_SIDS, Hello, account_tag
from participant.node.identification import Identifications
from participant.node.membership import Membership
from participant.node.operations import Operations
from participant.node.persistence import erase_given_up
from participant.node.plan import Plan
from participant.node.planner import PRESIGNING, SIGNING, Planner
from participant.node.pools import Filling, Pools
from participant.node.presence import Facts, Presence
from participant.node.primes import PrimeSearch, WorkerCommand, worker_command
from participant.node.proposals import Proposals
from participant.node.records import Records
from participant.node.recovering import Recovering
from participant.node.refreshing import Refreshing
from participant.node.resharing import Resharing
from participant.node.revocation import Revocation
from participant.node.room import Room
from participant.node.sessions import Sessions
from participant.node.shares import Shares
from participant.node.signing import Signing
from participant.node.stock import Stock
from participant.node.stocking import Stocking
from participant.node.tasks import Tasks
from participant.node.views import Views
from participant.node.workers import Workers
from participant.policy import Policy
from participant.store import AccountState, Certificate, Store
from tss.cggmp24 import aux_info, refresh, reshare
from tss.envelope import Kind, PartyId, holder, routing
from tss.errors import PeerFault, ProtocolError, SchemaViolation
from tss.params import CGGMP24_SECP256K1, FROST_ED25519, Suite
from tss.rand import Rng

log = logging.getLogger(__name__)

SUITES: Final[Mapping[str, Suite]] = {"secp256k1": CGGMP24_SECP256K1, "ed25519": FROST_ED25519}
"""By curve."""

MAX_LOOKED_AT: Final = 256
"""Proposals and certificates of one member that are looked at at a time; what it sends beyond that is dropped."""


_SESSIONS_OWN: Final = frozenset({Kind.MSG, Kind.ECHO, Kind.ABORT})
"""Kinds that are nothing to anybody but their session."""


class Node(Operations):
    """See `participant.node.facade.NodeApi`, which this is."""

    def __init__(
        self,
        config: NodeConfig,
        store: Store,
        channel: Channel,
        policy: Policy,
        *,
        suites: Mapping[str, Suite] = SUITES,
        rng: Rng = os.urandom,
        prime_command: WorkerCommand = worker_command,
    ) -> None:
        """The store has the node's identity. Raises StoreError, and NotAMember for a committee without it."""
        self._config = config
        self._store = store
        self._channel = channel
        self._policy = policy
        self._rng = rng
        self._keys: NodeKeys = store.identity()
        self._identity = self._keys.identity
        if config.max_share_age is not None:
            store.accounts.max_share_age = int(config.max_share_age * 1000)
        self._records = Records(store, suites)
        self._views = Views(store, self._records, policy)
        self._shares = Shares(store, self._records, self._views)
        self._workers = Workers(config.workers)
        self._tasks = Tasks()
        self._stock = Stock(config.stock)
        self._pools = Pools()
        level = next(iter(suites.values())).level
        self._primes = PrimeSearch(store, config, level, idle=self._has_time, command=prime_command)
        self._memberships: dict[bytes, Membership] = {}
        self._standing: dict[bytes, list[asyncio.Task[None]]] = {}
        self._looked_at: Counter[tuple[bytes, PartyId]] = Counter()
        self._started_at = 0.0
        self._last_end = time.monotonic()
        self._running = False
        self._stopped = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sessions = Sessions(
            config=config,
            workers=self._workers,
            channel=channel,
            store=store,
            tasks=self._tasks,
            rng=rng,
            activated=self._activated,
        )
        self._sessions.on_failure = self._session_failed
        self._sessions.on_end = self._session_ended
        self._blame = Blame(store, self._stock, self._pools)
        self._identifications = Identifications(store, self._workers, self._blame, self._records.suite_of)
        self._identifications.on_change = lambda membership: membership.presence.refresh()
        planner = Planner(
            store, self._records, self._stock.find, self._primes.take_primes, self._pools.of, rng=rng
        )
        self._proposals = Proposals(
            config=config,
            store=store,
            records=self._records,
            planner=planner,
            policy=policy,
            sessions=self._sessions,
            stock=self._stock,
            blame=self._blame,
            workers=self._workers,
        )
        self._catchup = CatchUp(store, self._workers, self._activated)
        self._signing = Signing(
            config=config,
            store=store,
            records=self._records,
            policy=policy,
            proposals=self._proposals,
            stock=self._stock,
            workers=self._workers,
            membership_of=self._membership,
            reachable=self._reachable,
            rng=rng,
        )
        self._ceremonies = Ceremonies(
            config=config,
            store=store,
            records=self._records,
            policy=policy,
            proposals=self._proposals,
            primes=self._primes,
            views=self._views,
            workers=self._workers,
            reachable=self._reachable,
            rng=rng,
        )
        self._refreshing = Refreshing(
            config=config,
            store=store,
            records=self._records,
            ceremonies=self._ceremonies,
            views=self._views,
            memberships=lambda: list(self._memberships.values()),
            idle=self._has_time,
            rng=rng,
        )
        self._recovering = Recovering(
            store=store,
            records=self._records,
            planner=planner.recovering,
            ceremonies=self._ceremonies,
            workers=self._workers,
            identity=self._identity,
            join=self._gather,
            leave=self._part,
            add_committee=self._take_committee,
            membership_of=self._memberships.get,
        )
        self._resharing = Resharing(
            config=config,
            store=store,
            records=self._records,
            planner=planner.resharing,
            ceremonies=self._ceremonies,
            revocation=Revocation(store, suites, self._keys, self._destroyed),
            workers=self._workers,
            identity=self._identity,
            join=self._gather,
            leave=self._part,
            add_committee=self._take_committee,
            membership_of=self._memberships.get,
        )
        self._stocking = Stocking(
            config=config,
            store=store,
            records=self._records,
            proposals=self._proposals,
            stock=self._stock,
            workers=self._workers,
            memberships=lambda: list(self._memberships.values()),
            idle_since=lambda: self._last_end if self._has_time() else None,
            rng=rng,
        )
        self._signing.on_signed = self._stocking.signed
        self._filling = Filling(
            settings=config.stock,
            store=store,
            records=self._records,
            pools=self._pools,
            workers=self._workers,
            idle_since=lambda: self._last_end if self._has_time() else None,
            rng=rng,
        )
        self._asking = Asking(
            config=config,
            store=store,
            signing=self._signing,
            proposals=self._proposals,
            sessions=self._sessions,
            stock=self._stock,
            channel=channel,
            workers=self._workers,
        )

    # Life

    async def start(self) -> None:
        """See NodeApi."""
        self._loop = asyncio.get_running_loop()
        self._started_at = time.monotonic()
        for committee in self._config.committees:
            self._store.accounts.put_committee(committee)
        for committee in self._store.accounts.committees():
            self._join(committee)
        self._running = True
        self._tasks.stand(self._primes.run, "search of safe primes")
        self._tasks.stand(self._stocking.run, "stock")
        self._tasks.stand(self._filling.run, "pools of randomness")
        if self._config.refresh.every is not None:
            self._tasks.stand(self._refreshing.run, "refresh of old shares")
        self._tasks.stand(self.erase_deleted, "erasing of deleted accounts")
        self._tasks.spawn(self._workers.step(self._records.open_all), "opening of the shares")
        self._tasks.spawn(self._resharing.begin(), "resharings")
        self._tasks.spawn(self._recovering.begin(), "recoveries")

    async def stop(self) -> None:
        """See NodeApi."""
        if self._stopped:
            return
        self._stopped, self._running = True, False
        self._proposals.stopping = True
        await self._signing.close()
        await self._asking.close()
        self._primes.cancel()
        await self._tasks.close()
        await asyncio.to_thread(self._primes.close)
        self._stock.drop_all()
        self._pools.drop_all()
        await asyncio.to_thread(self._workers.close)

    def _join(self, committee: Committee) -> Membership:
        committee_id = committee.committee_id
        known = self._memberships.get(committee_id)
        if known is not None:
            return known
        me = holder(committee.point_of(self._keys.identity))
        membership = Membership(committee, me, self._keys.sign, self._records.protos)
        self._memberships[committee_id] = membership
        self._enter(membership)
        return membership

    def _take_committee(self, committee: Committee) -> None:
        self._store.accounts.put_committee(committee)
        self._join(committee)

    def _gather(self, gathering: Gathering) -> None:
        self._enter(gathering)

    def _part(self, gathering: Gathering) -> None:
        for task in self._standing.pop(gathering.committee_id, ()):
            task.cancel()

    def _enter(self, membership: Membership) -> None:
        """Open the room of a committee or gathering, and say hello there."""
        committee_id, me = membership.committee_id, membership.me
        membership.room = Room(
            self._channel,
            committee_topic(committee_id),
            membership.index,
            receive=lambda envelope: self._receive(membership, envelope),
            restarted=lambda: self._restarted(membership),
            standing=True,
        )
        membership.presence = Presence(
            config=self._config,
            proto=self._records.default.proto,
            committee_id=committee_id,
            me=me,
            parties=membership.parties,
            sign_function=membership.sign_function,
            rng=self._rng,
            facts=lambda: self._workers.step(self._facts, membership),
            post=membership.room.send,
            clock=time.monotonic,
        )
        membership.on_foreign = membership.presence.take_foreign
        membership.presence.on_boot = lambda party: self._member_restarted(membership, party)
        membership.presence.on_hello = lambda party, hello: self._heard(membership, party, hello)
        name = committee_id.hex()[:16]
        self._standing[committee_id] = [
            self._tasks.stand(membership.room.run, f"room of committee {name}"),
            self._tasks.stand(membership.presence.run, f"hellos to committee {name}"),
        ]
        self._tasks.spawn(self._catchup.begin(membership), f"catching up in committee {name}")
        self._tasks.spawn(self._identifications.begin(membership), f"open cases of committee {name}")
        self._tasks.spawn(self._say_again(membership), f"last words in committee {name}")

    def _membership(self, committee_id: bytes | None) -> Membership:
        """Raises CommitteeNotFound."""
        if committee_id is None:
            present = [known for known in self._memberships.values() if not self._is_left(known)]
            if len(present) != 1:
                raise CommitteeNotFound(
                    f"this node is a member of {len(present)} committees: name one of them"
                )
            return present[0]
        if committee_id not in self._memberships:
            raise CommitteeNotFound(f"this node is no member of committee {committee_id.hex()}")
        return self._memberships[committee_id]

    def _reachable(self) -> bool | None:
        return self._channel.reachable

    def _has_time(self) -> bool:
        return not self._sessions.active() and not self._signing.busy

    # What comes from a committee's room

    def _receive(self, membership: Membership, envelope: bytes) -> None:
        try:
            scope, kind, sender = routing(envelope)
        except SchemaViolation:
            membership.dropped["malformed"] += 1
            return
        if kind is Kind.HELLO:
            self._take_hello(membership, envelope)
        elif sender == membership.me:
            return
        elif (
            self._sessions.is_over(scope)
            and kind in _SESSIONS_OWN
            and not self._identifications.waits_for(scope)
        ):
            # Most of what a node hears is signing by others, which it takes no part in.
            self._sessions.deliver(scope, envelope)
        else:
            # Sessions verify it again: what is looked at, or kept for sessions to come, is not for strangers to fill.
            signed = membership.open(envelope)
            if signed is None:
                return
            if kind is Kind.PROPOSE:
                past = not membership.presence.is_heard
                answer = self._proposals.take(membership, signed, membership.room, past=past)
                self._look_at(membership, sender, answer, "a proposal")
            elif kind is Kind.DONE and not self._sessions.is_active(scope):
                self._look_at(
                    membership, sender, self._catchup.take(membership, scope, envelope), "a certificate"
                )
                if isinstance(membership, Gathering):
                    taking = self._resharing.take_done(membership, envelope)
                    self._look_at(membership, sender, taking, "a certificate")
            elif kind is Kind.SHOW and scope == membership.committee_id:
                taking = self._resharing.take_words(membership, signed)
                self._look_at(membership, sender, taking, "old holders' words")
            elif kind is Kind.MSG and self._identifications.waits_for(scope):
                opening = self._identifications.take(membership, scope, envelope)
                self._look_at(membership, sender, opening, "an abort message")
            else:
                self._sessions.deliver(scope, envelope)

    def _look_at(
        self, membership: Membership, sender: PartyId, work: Coroutine[Any, Any, Any], name: str
    ) -> None:
        who = (membership.committee_id, sender)
        if self._looked_at[who] >= MAX_LOOKED_AT:
            work.close()
            membership.dropped["flood"] += 1
            return
        self._looked_at[who] += 1
        task = self._tasks.spawn(work, name)
        task.add_done_callback(lambda _: self._looked_at.subtract((who,)))

    def _take_hello(self, membership: Membership, envelope: bytes) -> None:
        signed = membership.open(envelope)
        if signed is None:
            return
        try:
            membership.presence.take(signed)
        except SchemaViolation:
            membership.dropped["hello"] += 1

    def _restarted(self, membership: Membership) -> None:
        """The gateway lost what was said in the committee's room."""
        membership.presence.restarted()
        self._sessions.restarted(membership.room)
        self._tasks.spawn(self._catchup.begin(membership), "catching up")

    def _heard(self, membership: Membership, party: PartyId, hello: Hello) -> None:
        if hello.pending or hello.certificates:
            self._tasks.spawn(self._catchup.hear(membership, party, hello), "catching up")
        if isinstance(membership, Gathering) or self._has_moved(membership):
            self._tasks.spawn(self._resharing.hear(membership, party, hello), "a resharing")
        if hello.blocked:
            self._tasks.spawn(self._identifications.hear(membership, hello), "abort messages")

    def _member_restarted(self, membership: Membership, party: PartyId) -> None:
        dropped = self._stock.drop_party(membership.committee_id, party.index)
        if dropped:
            log.info("%d presignatures with index %d are gone: it started anew", dropped, party.index - 1)

    def _has_moved(self, membership: Membership) -> bool:
        return bool(self._store.resharings.moved_from(membership.committee_id))

    def _facts(self, membership: Membership) -> Facts:
        if isinstance(membership, Gathering):
            return self._resharing.facts(membership)
        committee_id = membership.committee_id
        records = self._store.accounts.accounts(committee_id)
        usable = [
            record
            for record in records
            if not record.lacks_aux
            and record.state is AccountState.ACTIVE
            and record.account_id not in self._records.damaged
        ]
        pending = [p.sid for p in self._store.sessions.pendings() if p.committee_id == committee_id]
        return Facts(
            aux_id=self._store.accounts.current_aux_id(committee_id),
            tags=frozenset(
                account_tag(committee_id, record.account_id, record.share_epoch, record.aux_id)
                for record in usable
            ),
            pending=tuple(pending[-MAX_SIDS:]),
            certificates=tuple(self._store.sessions.certificate_sids(committee_id, MAX_SIDS)),
            blocked=self._identifications.lacking(membership),
            stock=self._stock.notes(usable),
        )

    # What sessions leave behind

    def _activated(self, certificate: Certificate) -> None:
        """In a worker thread: new state is in force."""
        erase_given_up(self._store, certificate)
        self._records.forget()
        self._stock.drop_outdated(self._store.accounts.accounts())
        self._pools.renew(self._records.moduli())
        if certificate.kind == reshare.KIND:
            self._resharing.activated(certificate.sid, certificate.envelopes)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._refresh, certificate.committee_id)
            if certificate.kind == reshare.KIND:
                self._loop.call_soon_threadsafe(self._moved_here, certificate.sid)
            if certificate.kind == refresh.KIND:
                self._loop.call_soon_threadsafe(self._recovering.settled)

    def _moved_here(self, sid: bytes) -> None:
        self._tasks.spawn(self._resharing.after_activation(sid), "a resharing")

    def _destroyed(self, account_id: str) -> None:
        """In a worker thread: this node's share of an account is gone."""
        self._records.forget()
        self._stock.drop_outdated(self._store.accounts.accounts())
        if not self._store.accounts.has_account(account_id):
            self._stock.drop_account(account_id)

    def _refresh(self, committee_id: bytes) -> None:
        membership = self._memberships.get(committee_id)
        if membership is not None:
            membership.presence.refresh()

    def _session_ended(self, driver: SessionDriver) -> None:
        plan = driver.plan
        self._last_end = time.monotonic()
        if plan.presignature is not None:
            self._stock.discard(plan.presignature)
        if plan.kind in (aux_info.KIND, refresh.KIND, reshare.KIND):
            self._primes.cancel()
        error = driver.outcome.exception()
        if error is None and plan.setup.me.role == reshare.DEALER and isinstance(plan.membership, Gathering):
            dealt = self._resharing.dealt(plan.membership, driver.outcome.result())
            self._tasks.spawn(dealt, "a resharing")
        if error is None and plan.kind in SIGNING:
            self._tasks.spawn(self._workers.step(self._erase_former_shares, plan), "erasing of old shares")
        if error is None and plan.kind in PRESIGNING and plan.proposal.account_id is not None:
            self._stock.add(plan.proposal.account_id, plan.membership.committee_id, driver.outcome.result())
        if driver.identifying and driver.sid is not None and not isinstance(error, PeerFault):
            looking = self._identifications.ended(plan.membership, driver.sid, driver.openings)
            self._tasks.spawn(looking, "who cheated")
        if plan.kind in PRESIGNING:
            plan.membership.presence.refresh()

    def _erase_former_shares(self, plan: Plan) -> None:
        """In a worker thread: t parties signed, so the shares of the epoch that they signed in are good (protocol.md 0.8)."""
        account_id = plan.proposal.account_id or ""
        presignature = plan.presignature
        epoch = plan.proposal.tail[2] if presignature is None else presignature.public.share_epoch
        erased = self._store.accounts.erase_superseded(account_id, epoch)
        if erased:
            log.info("account %r has signed with its new share: %d old ones are erased", account_id, erased)

    async def _say_again(self, membership: Membership) -> None:
        """After a start: what is durable of sessions that the others may still be in (protocol.md 0.7)."""
        for envelope in await self._workers.step(self._store.sessions.lost_words, membership.committee_id):
            membership.room.send(envelope)

    def _session_failed(self, driver: SessionDriver, error: ProtocolError) -> None:
        """In a worker thread: a failed check marks its sender until an operator looks at it (no second try, no second bit)."""
        if isinstance(error, PeerFault):
            self._blame.mark(driver.plan.membership, (error, *error.also), driver.sid)


if TYPE_CHECKING:
    _is_the_facade: type[NodeApi] = Node
