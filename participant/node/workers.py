"""Threads for everything that is not the event loop's business.

Two kinds, so that a session's short steps (decoding, signatures, the store) never wait behind minutes of arithmetic, and
arithmetic that somebody waits for goes before what is made ahead of time. Only the event loop submits to either: work
inside a thread never submits, so nothing can wait for itself.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from enum import IntEnum
from functools import partial
from itertools import count
from typing import Any, Final, TypeVar

import gmpy2

from tss.effects import Job, run_job

T = TypeVar("T")

STEP_THREADS: Final = 4


class Urgency(IntEnum):
    """Whose arithmetic goes first; what has begun is not interrupted."""

    SIGNING = 0
    CEREMONY = 1
    STOCK = 2
    POOL = 3
    STOP = 4


def free_the_lock_in_powers() -> None:
    """For a thread that computes: gmpy2 keeps the interpreter's lock unless its context, the thread's, says otherwise."""
    gmpy2.get_context().allow_release_gil = True


class Workers:
    """`step` for what takes milliseconds, `jobs` for a protocol's heavy computations."""

    def __init__(self, threads: int = 0) -> None:
        """`threads` for jobs; 0 = one a core."""
        self._steps = ThreadPoolExecutor(STEP_THREADS, "step", initializer=free_the_lock_in_powers)
        self._queue: queue.PriorityQueue[tuple[int, int, Job | None, Future[Any]]] = queue.PriorityQueue()
        self._numbers = count()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"job-{number}", daemon=True)
            for number in range(threads or os.cpu_count() or 1)
        ]
        for thread in self._threads:
            thread.start()

    async def step(self, function: Callable[..., T], *arguments: Any, **keywords: Any) -> T:
        """Run a short blocking function."""
        loop = asyncio.get_running_loop()
        # Not asyncio.to_thread: that would run it in a copy of this context, where gmpy2 keeps the lock.
        return await loop.run_in_executor(self._steps, partial(function, *arguments, **keywords))

    def jobs(
        self, jobs: Sequence[Job], urgency: Urgency = Urgency.SIGNING
    ) -> asyncio.Future[list[Any | BaseException]]:
        """Run jobs in parallel: the results in their order, an exception standing for itself."""
        if self._closed:
            raise RuntimeError("the workers are closed")
        futures: list[Future[Any]] = []
        for job in jobs:
            future: Future[Any] = Future()
            futures.append(future)
            self._queue.put((urgency, next(self._numbers), job, future))
        return asyncio.gather(*map(asyncio.wrap_future, futures))

    def _work(self) -> None:
        free_the_lock_in_powers()
        while True:
            _, _, job, future = self._queue.get()
            if job is None:
                return
            if not future.set_running_or_notify_cancel():
                continue
            result = run_job(job)
            future.set_result(result)
            # Not kept until the next job comes: results hold secrets.
            del job, future, result

    def close(self) -> None:
        """Let what runs end, drop what waits. Idempotent."""
        if not self._closed:
            self._closed = True
            while True:
                try:
                    self._queue.get_nowait()[3].cancel()
                except queue.Empty:
                    break
            for _ in self._threads:
                self._queue.put((Urgency.STOP, next(self._numbers), None, Future()))
        for thread in self._threads:
            thread.join()
        self._steps.shutdown(wait=True, cancel_futures=True)
