"""Randomness for presigning, made while the node has nothing better to do (`tss.randomizers`): in memory only."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Collection
from functools import partial

from gmpy2 import mpz

from participant.node.config import StockSettings
from participant.node.errors import InvalidRequest
from participant.node.records import Records
from participant.node.workers import Urgency, Workers
from participant.store import AccountRecord, AccountState, AuxSetNotFound, KeyShareNotFound, Store
from tss.cggmp24.presign_prove import fill_for
from tss.errors import ShareCorrupt
from tss.params import SecurityLevel, Suite
from tss.rand import Rng
from tss.randomizers import Pool

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""So long after an idle node found nothing to make it looks again."""


class Pools:
    """One pool for each security level. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pools: dict[SecurityLevel, Pool] = {}

    def of(self, suite: Suite) -> Pool:
        """The pool that presigning in this suite takes from."""
        with self._lock:
            return self._pools.setdefault(suite.level, Pool(suite.level))

    def step(self, rng: Rng) -> bool:
        """Make one thing more; False when nothing is lacking. Some tens of milliseconds."""
        with self._lock:
            pools = list(self._pools.values())
        return any(pool.step(rng) for pool in pools)

    def drop_pairs(self) -> None:
        """Forget what was made ahead, as after a failed check; tables stay."""
        with self._lock:
            pools = list(self._pools.values())
        for pool in pools:
            pool.drop_pairs()

    def renew(self, moduli: Collection[mpz]) -> None:
        """After a new epoch or new auxiliary information: forget what was made ahead, and tables of other moduli than these."""
        self.drop_pairs()
        with self._lock:
            pools = list(self._pools.values())
        for pool in pools:
            pool.retain(moduli)

    def drop_all(self) -> None:
        """Forget everything."""
        self.drop_pairs()
        with self._lock:
            self._pools.clear()

    def __len__(self) -> int:
        """How many pairs are there."""
        with self._lock:
            return sum(map(len, self._pools.values()))


class Filling:
    """Fills the pools for accounts that sign lately, one piece of work at a time, below everything else. For the event loop."""

    def __init__(
        self,
        *,
        settings: StockSettings,
        store: Store,
        records: Records,
        pools: Pools,
        workers: Workers,
        idle_since: Callable[[], float | None],
        rng: Rng,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`idle_since`: since when (`clock`) no session is under way; None while one is."""
        self._settings = settings
        self._store = store
        self._records = records
        self._pools = pools
        self._workers = workers
        self._idle_since = idle_since
        self._rng = rng
        self._clock = clock
        self._wall = wall

    async def run(self) -> None:
        """Keep them filled, for ever."""
        if self._settings.pool == 0:
            return
        while True:
            await asyncio.sleep(max(min(self._settings.idle, LOOK_SECONDS), 0.05))
            if self._is_idle():
                await self._workers.step(self._want)
            while self._is_idle() and await self._one():
                pass

    def _is_idle(self) -> bool:
        since = self._idle_since()
        return since is not None and self._clock() - since >= self._settings.idle

    async def _one(self) -> bool:
        (made,) = await self._workers.jobs([partial(self._pools.step, self._rng)], Urgency.POOL)
        if isinstance(made, BaseException):
            log.error("randomness could not be made ahead: %s", type(made).__name__)
            return False
        return bool(made)

    def _want(self) -> None:
        """Say for which keys. Blocking."""
        for record in self._store.accounts.accounts():
            if not self._signs_lately(record) or record.account_id in self._records.damaged:
                continue
            try:
                account = self._records.account(record.account_id)
                aux = self._records.aux_of(account)
            except (ShareCorrupt, InvalidRequest, KeyShareNotFound, AuxSetNotFound):
                continue
            fill_for(self._pools.of(account.suite), aux, record.threshold, self._settings.pool)

    def _signs_lately(self, record: AccountRecord) -> bool:
        last = record.last_signed_at
        usable = record.state is AccountState.ACTIVE and record.aux_id is not None
        return usable and last is not None and self._wall() - last / 1000 < self._settings.recent
