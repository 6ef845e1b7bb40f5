"""Making stock: presignatures for accounts that sign, while the node has nothing better to do."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Final

from participant.node.api import Progress
from participant.node.candidates import Candidates, signer_sets
from participant.node.config import NodeConfig
from participant.node.driver import SessionDriver
from participant.node.errors import Busy, InvalidRequest, NodeFailure
from participant.node.following import Course
from participant.node.frost import share_for
from participant.node.membership import Membership
from participant.node.outcomes import failure_of_session
from participant.node.plan import Declined
from participant.node.proposals import Proposals
from participant.node.records import Account, Records
from participant.node.stock import Points, Stock
from participant.node.workers import Workers
from participant.store import AccountRecord, AccountState, Store, StoreError
from tss.cggmp24 import presign
from tss.envelope import holder
from tss.errors import ProtocolError, Refused, ShareCorrupt, Timeout
from tss.frost import sign as frost
from tss.params import FROST_BIP340
from tss.proposal import REQUEST_ID_BYTES, Proposal
from tss.rand import Rng

log = logging.getLogger(__name__)

TURN_SECONDS: Final = 0.5
"""Each index waits so much longer than the one before, so that idle nodes do not all begin at once."""

AFTER_FAILURE: Final = 30.0
"""Seconds before a signer set is tried again that made no stock."""


class Stocking:
    """Fills the stock. For the event loop."""

    def __init__(
        self,
        *,
        config: NodeConfig,
        store: Store,
        records: Records,
        proposals: Proposals,
        stock: Stock,
        workers: Workers,
        memberships: Callable[[], list[Membership]],
        idle_since: Callable[[], float | None],
        rng: Rng,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`idle_since`: since when (`clock`) no session is under way; None while one is."""
        self._config = config
        self._store = store
        self._records = records
        self._proposals = proposals
        self._stock = stock
        self._workers = workers
        self._memberships = memberships
        self._idle_since = idle_since
        self._rng = rng
        self._clock = clock
        self._wall = wall
        self._used: dict[str, dict[Points, float]] = {}
        self._by_bip340: dict[str, float] = {}
        self._failed: dict[tuple[str, Points, bool], float] = {}

    def signed(self, account_id: str, points: Points, bip340: bool) -> None:  # noqa: FBT001 - a callback's third item
        """Note which sets are in use, for accounts with too many of them to stock them all, and which accounts sign by BIP-340."""
        self._used.setdefault(account_id, {})[points] = self._clock()
        if bip340:
            self._by_bip340[account_id] = self._clock()

    def target(self, signers: Points, owner: int) -> int:
        """What a set's stock is filled up to by this node."""
        own = any(membership.me.index == owner for membership in self._memberships())
        return self._config.stock.target if own and signers else 0

    async def run(self) -> None:
        """Keep the stock filled and fresh, for ever."""
        settings = self._config.stock
        while True:
            await asyncio.sleep(min(settings.idle, 1.0) if settings.idle > 0 else 0.05)
            self._stock.drop_expired()
            if settings.target == 0:
                continue
            for membership in self._memberships():
                if self._is_idle(membership):
                    await self._fill_one(membership)

    def _is_idle(self, membership: Membership) -> bool:
        since = self._idle_since()
        turn = self._config.stock.idle + TURN_SECONDS * membership.index
        return since is not None and self._clock() - since >= turn

    async def _fill_one(self, membership: Membership) -> None:
        """One presigning session, for the first set that lacks stock."""
        found = await self._workers.step(self._next, membership)
        if found is None:
            return
        account, points, count, bip340 = found
        try:
            await self._presign(membership, account, points, count, bip340=bip340)
        except (Declined, NodeFailure, StoreError, ProtocolError) as error:
            log.info("no stock was made: %s", error)
            self._failed[account.record.account_id, points, bip340] = self._clock()

    def _next(self, membership: Membership) -> tuple[Account, Points, int, bool] | None:
        """(account, signers, how many, whether for BIP-340) that come next. Blocking."""
        settings = self._config.stock
        room = settings.cap - self._stock.owned_by(membership.committee_id, membership.me.index)
        if room <= 0:
            return None
        for record in self._store.accounts.accounts(membership.committee_id):
            if not self._signs_lately(record) or record.account_id in self._records.damaged:
                continue
            candidates = Candidates(membership, record, self._store, self._stock, None)
            fit = {party.index for party in membership.others if candidates.problem(party) is None}
            for points, bip340 in self._lines(membership, record):
                lacking = settings.target - self._stock.fresh(record, bip340=bip340)[points]
                waits = (
                    self._clock() - self._failed.get((record.account_id, points, bip340), -AFTER_FAILURE)
                    < AFTER_FAILURE
                )
                if lacking > 0 and not waits and set(points) <= {membership.me.index, *fit}:
                    try:
                        account = self._records.account(record.account_id)
                    except ShareCorrupt:
                        break
                    return account, points, min(lacking, settings.batch, room), bip340
        return None

    def _lines(self, membership: Membership, record: AccountRecord) -> list[tuple[Points, bool]]:
        """The signer sets to stock, by the account's own scheme and, where this node lately signed so, by BIP-340."""
        sets = self._sets(membership, record)
        since = self._clock() - self._by_bip340.get(record.account_id, -self._config.stock.recent)
        schemes = [False, True] if since < self._config.stock.recent else [False]
        return [(points, bip340) for bip340 in schemes for points in sets]

    def _signs_lately(self, record: AccountRecord) -> bool:
        last = record.last_signed_at
        usable = record.state is AccountState.ACTIVE and not record.lacks_aux
        return usable and last is not None and self._wall() - last / 1000 < self._config.stock.recent

    def _sets(self, membership: Membership, record: AccountRecord) -> list[Points]:
        sets = signer_sets(membership, record.threshold, self._config.stock.sets)
        if sets is not None:
            return sets
        used = self._used.get(record.account_id, {})
        recent = sorted(used, key=lambda points: -used[points])
        return recent[: self._config.stock.sets]

    async def fill(
        self, membership: Membership, account: Account, points: Points, count: int
    ) -> AsyncGenerator[Progress, None]:
        """Make `count` presignatures for one set, with progress. Raises NodeFailure."""
        if count > self._config.stock.cap:
            raise InvalidRequest(f"at most {self._config.stock.cap} presignatures are kept")
        made, course = 0, Course(("presign",))
        while made < count:
            size = min(count - made, self._config.stock.batch)
            try:
                driver = await self._propose(membership, account, points, size)
                async with aclosing(course.follow(driver, "presign")) as steps:
                    async for progress in steps:
                        yield replace(progress, done=made, total=count)
                await driver.outcome
            except Exception as error:
                raise failure_of_session(error) from error
            made += size
        view = self._stock.view(account.record.account_id, self.target)
        yield replace(course.report("presign", text="done", result=view), done=count, total=count)

    async def _presign(
        self, membership: Membership, account: Account, points: Points, count: int, *, bip340: bool
    ) -> None:
        driver = await self._propose(membership, account, points, count, bip340=bip340)
        try:
            await asyncio.shield(driver.outcome)
        except (Refused, Timeout) as error:
            if isinstance(error, Timeout):
                for point in error.silent:
                    membership.presence.mark_silent(holder(point))
            raise

    async def _propose(
        self, membership: Membership, account: Account, points: Points, count: int, *, bip340: bool = False
    ) -> SessionDriver:
        suite = FROST_BIP340 if bip340 else account.suite
        if suite.has_aux:
            kind, aux = presign.KIND, await self._workers.step(self._records.aux_of, account)
            tail = presign.tail(account.share, aux, points, membership.me.index, count)
        else:
            kind = frost.PREPARE_KIND
            share = await self._workers.step(share_for, account.share, None, suite)
            tail = frost.prepare_tail(share, points, membership.me.index, count)
        proposal = Proposal(
            initiator=membership.me,
            committee_id=membership.committee_id,
            account_id=account.record.account_id,
            kind=kind,
            request_id=self._rng(REQUEST_ID_BYTES),
            tail=tail,
            message=None,
            expiry=self._proposals.expiry(),
        )
        if self._stock.owned_by(membership.committee_id, membership.me.index) >= self._config.stock.cap:
            raise Busy(f"this node owns {self._config.stock.cap} presignatures already, as many as it may")
        return await self._proposals.make(membership, suite, proposal, membership.room, caller=None)
