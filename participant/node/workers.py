"""Threads for everything that is not the event loop's business.

Two kinds, so that a session's short steps (decoding, signatures, the store) never wait behind minutes of arithmetic, and
arithmetic that somebody waits for goes before what is made ahead of time. No more threads compute at once than there are
cores for it. A step may compute, too, where its session's caller waits (`lead`): it takes a core that is free, and never
waits for another thread.
"""

from __future__ import annotations

import asyncio
import heapq
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import IntEnum
from functools import partial
from itertools import count
from typing import Any, Final, TypeVar

import gmpy2

from kit.cores import usable_cores
from participant.node.tasks import tell
from tss.effects import Job, run_job

T = TypeVar("T")

STEP_THREADS: Final = 4
"""For steps, beside those that compute."""


class Urgency(IntEnum):
    """Whose arithmetic goes first; what has begun is not interrupted."""

    SIGNING = 0
    CEREMONY = 1
    STOCK = 2
    POOL = 3


def free_the_lock_in_powers() -> None:
    """For a thread that computes: gmpy2 keeps the interpreter's lock unless its context, the thread's, says otherwise."""
    gmpy2.get_context().allow_release_gil = True


class Batch:
    """Jobs that were handed in together. Whoever waits for their results is woken once, and not for each."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs: list[Job | None] = list(jobs)
        self._begun = 0
        self._results: list[Any | BaseException] = [None] * len(jobs)
        self._left = len(jobs)
        self._lock = threading.Lock()
        self._is_dropped = False
        self._waiting: asyncio.Future[list[Any | BaseException]] | None = None

    def take(self) -> int | None:
        """The number of a job that nobody has begun, for whoever begins it now."""
        with self._lock:
            if self._begun == len(self._jobs) or self._is_dropped:
                return None
            self._begun += 1
            return self._begun - 1

    def run(self, number: int) -> None:
        """Run a job that was taken."""
        job, self._jobs[number] = self._jobs[number], None
        result = run_job(job) if job is not None else None
        with self._lock:
            self._results[number] = result
            self._left -= 1
            waiting = self._waiting if not self._left else None
        if waiting is not None:
            tell(waiting, partial(self._give, waiting))

    def results(self) -> list[Any | BaseException] | None:
        """All results, once; None as long as one is missing. An exception stands for itself."""
        with self._lock:
            if self._left:
                return None
            # Not kept here: results hold secrets.
            results, self._results = self._results, []
            return results

    def wait(self) -> asyncio.Future[list[Any | BaseException]]:
        """The same for the event loop. Nothing more is begun when it is cancelled."""
        future: asyncio.Future[list[Any | BaseException]] = asyncio.get_running_loop().create_future()
        future.add_done_callback(lambda done: self._drop() if done.cancelled() else None)
        with self._lock:
            self._waiting = future
        self._give(future)
        if self._is_dropped:
            future.cancel()
        return future

    def cancel(self) -> None:
        """From any thread: nothing more is begun, and who waits is told."""
        self._drop()
        if self._waiting is not None:
            tell(self._waiting, self._waiting.cancel)

    def _drop(self) -> None:
        with self._lock:
            self._is_dropped = True

    def _give(self, future: asyncio.Future[list[Any | BaseException]]) -> None:
        if not future.done() and (results := self.results()) is not None:
            future.set_result(results)


class Workers:
    """`step` for what takes milliseconds, `jobs` for a protocol's heavy computations."""

    def __init__(self, threads: int = 0) -> None:
        """`threads` compute at once; 0 = one a core that this process may run on."""
        cores = threads or usable_cores()
        self._steps = ThreadPoolExecutor(STEP_THREADS + cores, "step", initializer=free_the_lock_in_powers)
        self._changed = threading.Condition()
        self._free = cores
        self._queue: list[tuple[Urgency, int, Batch]] = []
        self._numbers = count()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"job-{number}", daemon=True) for number in range(cores)
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
        batch = Batch(jobs)
        with self._changed:
            self._put(batch, len(jobs), urgency)
        return batch.wait()

    def lead(self, jobs: Sequence[Job]) -> Batch:
        """Run jobs, with Urgency.SIGNING, in the step's thread that calls this as far as a core is free for it.

        The other cores take their part. What they have not finished when this returns is to be waited for.
        """
        batch = Batch(jobs)
        with self._changed:
            leads = self._free > 0 and not self._closed
            self._free -= leads
            self._put(batch, len(jobs) - leads, Urgency.SIGNING)
        if leads:
            try:
                while not self._closed and (number := batch.take()) is not None:
                    batch.run(number)
            finally:
                self._release()
        if self._closed:
            batch.cancel()
        return batch

    def _put(self, batch: Batch, jobs: int, urgency: Urgency) -> None:
        for _ in range(jobs):
            heapq.heappush(self._queue, (urgency, next(self._numbers), batch))
        self._changed.notify(min(jobs, self._free))

    def _release(self) -> None:
        with self._changed:
            self._free += 1
            self._changed.notify()

    def _work(self) -> None:
        free_the_lock_in_powers()
        # Nothing is kept until the next job comes: it may hold secrets.
        while self._work_once():
            pass

    def _work_once(self) -> bool:
        """Run the most urgent job, as soon as there are one and a core for it; False when there will be none."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or (self._free and self._queue))
            if self._closed:
                return False
            batch = heapq.heappop(self._queue)[2]
            number = batch.take()
            if number is None:
                return True
            self._free -= 1
        batch.run(number)
        self._release()
        return True

    def close(self) -> None:
        """Let what runs end, drop what waits. Idempotent."""
        with self._changed:
            self._closed = True
            waiting, self._queue = self._queue, []
            self._changed.notify_all()
        for _, _, batch in waiting:
            batch.cancel()
        for thread in self._threads:
            thread.join()
        self._steps.shutdown(wait=True, cancel_futures=True)
