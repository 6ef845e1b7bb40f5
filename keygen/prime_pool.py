"""Filling a node's pool of safe primes, from a command that is no event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from participant.node.api import PrimePool, Progress
from participant.node.config import NodeConfig
from participant.node.primes import PrimeSearch
from participant.store import Store
from tss.params import SecurityLevel


def fill_pool(
    store: Store, level: SecurityLevel, count: int, report: Callable[[Progress], None], processes: int = 0
) -> PrimePool:
    """Search in `processes` processes (0: one a core) until the pool holds `count`. Raises StoreFailed, InternalFailure.

    What was found when the search is interrupted stays in the pool.
    """
    search = PrimeSearch(store, NodeConfig(primes_target=count), level, cores=processes)

    async def fill() -> PrimePool:
        async for progress in search.fill(count):
            report(progress)
        return search.pool()

    try:
        return asyncio.run(fill())
    finally:
        search.close()
