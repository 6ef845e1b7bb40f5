"""Threads for everything that is not the event loop's business.

Two pools, so that a session's short steps (decoding, signatures, the store) never wait behind minutes of arithmetic. Only
the event loop submits to either: work inside a pool never submits to one, so nothing can wait for itself.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeVar

import gmpy2

from tss.effects import Job, run_job

T = TypeVar("T")

STEP_THREADS: Final = 4


def _free_the_lock_in_powers() -> None:
    """Gmpy2 keeps the interpreter's lock unless its context, which is the thread's, says otherwise."""
    gmpy2.get_context().allow_release_gil = True


class Workers:
    """`step` for what takes milliseconds, `jobs` for a protocol's heavy computations."""

    def __init__(self, threads: int = 0) -> None:
        """`threads` for jobs; 0 = one a core."""
        count = threads or os.cpu_count() or 1
        self._steps = ThreadPoolExecutor(STEP_THREADS, "step", initializer=_free_the_lock_in_powers)
        self._jobs = ThreadPoolExecutor(count, "job", initializer=_free_the_lock_in_powers)

    async def step(self, function: Callable[..., T], *arguments: Any, **keywords: Any) -> T:
        """Run a short blocking function."""
        loop = asyncio.get_running_loop()
        # Not asyncio.to_thread: that would run it in a copy of this context, where gmpy2 keeps the lock.
        return await loop.run_in_executor(self._steps, partial(function, *arguments, **keywords))

    def jobs(self, jobs: Sequence[Job]) -> asyncio.Future[list[Any | BaseException]]:
        """Run jobs in parallel: the results in their order, an exception standing for itself."""
        loop = asyncio.get_running_loop()
        return asyncio.gather(*(loop.run_in_executor(self._jobs, run_job, job) for job in jobs))

    def close(self) -> None:
        """Let what runs end, drop what waits."""
        self._jobs.shutdown(wait=True, cancel_futures=True)
        self._steps.shutdown(wait=True, cancel_futures=True)
