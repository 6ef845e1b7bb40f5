"""Safe primes for aux runs: those of the pool first, and a search in processes of their own for what is missing.

A search forgets nothing when it is stopped (every candidate is as good as the next), so processes come and go with the
demand: one a core while a ceremony or an operator waits, a few of low priority while the node is idle, none otherwise.
"""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from kit.cores import usable_cores
from participant.errors import NodeError
from participant.node.api import PrimePool, Progress
from participant.node.config import NodeConfig
from participant.node.errors import InternalFailure, StoreFailed
from participant.node.tasks import Changes
from participant.store import Store
from tss.errors import InternalError, NoBlame
from tss.params import SecurityLevel

log = logging.getLogger(__name__)

PRIMES_EACH: Final = 4
"""What one aux run takes: p, q_ of N and p, q_ of N^."""

IDLE_NICENESS: Final = 19
IDLE_POLL: Final = 1.0
"""Seconds between two looks at whether the node is idle."""

MAX_FAILURES: Final = 3
"""Processes in a row that end by themselves before the search is given up."""

RETRY_SECONDS: Final = 60.0
"""Before the idle node searches again after a failure."""

SHOW_SECONDS: Final = 0.5
"""Between two reports of progress while no prime is found."""

WorkerCommand = Callable[[int, int], Sequence[str]]
"""(bits, niceness) -> argv of a process that behaves as `participant.node.prime_worker` does."""


def worker_command(bits: int, niceness: int) -> Sequence[str]:
    """The search itself. -P: a file in the current directory is never taken for a module."""
    return [sys.executable, "-P", "-m", "participant.node.prime_worker", str(bits), str(niceness)]


@dataclass(frozen=True)
class SearchState:
    """What a search that somebody waits for has come to."""

    found: int
    wanted: int
    tested: int
    """Candidates, since the first of those who wait began to."""
    processes: int


@dataclass(eq=False)
class _Taker:
    """An aux run that waits for its primes."""

    bits: int
    found: list[int] = field(default_factory=list, repr=False)
    error: Exception | None = None

    @property
    def waits(self) -> bool:
        return len(self.found) < PRIMES_EACH and self.error is None


@dataclass(eq=False)
class _Worker:
    """A process that searches, and the thread that reads from it."""

    bits: int
    process: subprocess.Popen[str]
    stopped: bool = False
    reader: threading.Thread = field(init=False)


class PrimeSearch:
    """Hands out primes, each once in its life, and keeps the store's pool filled."""

    def __init__(
        self,
        store: Store,
        config: NodeConfig,
        level: SecurityLevel,
        *,
        idle: Callable[[], bool] = lambda: True,
        cores: int = 0,
        command: WorkerCommand = worker_command,
    ) -> None:
        """The pool holds primes of `level`. `idle` tells whether the node has nothing better to do; `cores` 0 = all."""
        self._store = store
        self._bits = level.pb
        self._target = config.primes_target
        self._cores = cores or usable_cores()
        self._background = min(config.prime_processes, self._cores)
        self._idle = idle
        self._command = command
        self._lock = threading.Condition()
        self._takers: list[_Taker] = []
        self._fills: dict[object, int] = {}
        self._filling_idle = False
        self._workers: set[_Worker] = set()
        self._failures = 0
        self._failed: NodeError | None = None
        self._tested = 0
        self._closed = False
        self._available = store.primes.count(self._bits)
        self._loop: asyncio.AbstractEventLoop | None = None
        self.changes = Changes()
        """Notified, on the loop that `run` or `fill` belong to, when `state` or `pool` differ."""

    # For everybody

    def pool(self) -> PrimePool:
        """What an operator sees. Does not block."""
        return PrimePool(self._available, self._target, bool(self._workers))

    @property
    def state(self) -> SearchState | None:
        """The search that ceremonies wait for; None when none does. Does not block."""
        takers = tuple(self._takers)
        if not takers:
            return None
        found = sum(len(taker.found) for taker in takers)
        return SearchState(found, PRIMES_EACH * len(takers), self._tested, len(self._workers))

    # For worker threads

    def take_primes(self, bits: int) -> tuple[int, int, int, int]:
        """Four safe primes of `bits` bits that nobody has had or will have. Blocks, for minutes at full size.

        Raises NoBlame when the search is cancelled, InternalError when it cannot run.
        """
        taker = _Taker(bits)
        with self._lock:
            self._check_open()
            self._take_stored(taker)
            if not self._takers:
                self._tested, self._failures = 0, 0
            self._takers.append(taker)
            try:
                self._reconcile()
                self._lock.wait_for(lambda: not taker.waits)
            finally:
                self._takers.remove(taker)
                self._reconcile()
                self._notify()
        if taker.error is not None:
            self._give_back(taker)
            raise taker.error
        first, second, third, fourth = taker.found
        return first, second, third, fourth

    def _take_stored(self, taker: _Taker) -> None:
        try:
            taker.found = self._store.primes.take(PRIMES_EACH, taker.bits)
            self._available = self._store.primes.count(self._bits)
        except NodeError as error:
            # The pool is a convenience: whoever waits gets fresh ones.
            log.warning("the pool of safe primes cannot be used: %s", error)

    def _give_back(self, taker: _Taker) -> None:
        """They left this object for nowhere, so they are as good as new."""
        for prime in taker.found:
            self._put(prime, taker.bits)

    def cancel(self) -> None:
        """Nobody needs what `take_primes` waits for any more."""
        with self._lock:
            self._end_takers(NoBlame("the search for safe primes was cancelled"))

    def close(self) -> None:
        """End all searches, and wait until their processes are gone. Idempotent."""
        with self._lock:
            self._closed = True
            self._end_takers(NoBlame("this node stops"))
            self._reconcile()
            readers = [worker.reader for worker in self._workers]
        for reader in readers:
            reader.join()

    def _check_open(self) -> None:
        if self._closed:
            raise NoBlame("this node stops")

    def _end_takers(self, error: Exception) -> None:
        for taker in self._takers:
            taker.error = taker.error or error
        self._lock.notify_all()

    # For the event loop

    async def run(self) -> None:
        """Keep the pool at its target while the node is idle; for ever."""
        self._loop = asyncio.get_running_loop()
        if self._background == 0 or self._target == 0:
            return
        try:
            while True:
                await asyncio.to_thread(self._look, idle=self._idle())
                if self._failed is not None:
                    log.warning("%s; tried again in %.0f s", self._failed, RETRY_SECONDS)
                    await asyncio.sleep(RETRY_SECONDS)
                    self._failed = None
                await asyncio.sleep(IDLE_POLL)
        finally:
            self._filling_idle = False

    def _look(self, *, idle: bool) -> None:
        with self._lock:
            wanted = idle and self._available < self._target
            if wanted != self._filling_idle:
                self._filling_idle, self._failures = wanted, 0
            self._reconcile()

    async def fill(self, count: int = 0) -> AsyncGenerator[Progress, None]:
        """Search on all cores until the pool holds `count` (0: its target). The last item carries PrimePool.

        Raises StoreFailed, InternalFailure.
        """
        self._loop = loop = asyncio.get_running_loop()
        target, started, me = count or self._target, loop.time(), object()
        await asyncio.to_thread(self._begin_fill, me, target)
        try:
            while self._available < target:
                if self._failed is not None:
                    raise self._failed
                if self._closed:
                    raise InternalFailure("this node stops")
                yield self._progress(target, loop.time() - started)
                await self.changes.wait_for(self._differs(self._available), SHOW_SECONDS)
        finally:
            self._end_fill(me)
        yield self._progress(target, loop.time() - started, self.pool())

    def _differs(self, available: int) -> Callable[[], bool]:
        return lambda: self._available != available or self._failed is not None or self._closed

    def _progress(self, target: int, elapsed: float, result: PrimePool | None = None) -> Progress:
        done = min(self._available, target)
        text = f"{self._available} of {target} safe primes in the pool"
        if result is None:
            text += f", {self._tested} candidates tested"
        return Progress("primes", done, target, text=text, elapsed=elapsed, result=result)

    def _begin_fill(self, who: object, target: int) -> None:
        with self._lock:
            if not self._fills and not self._takers:
                self._tested = 0
            self._fills[who] = target
            self._failures, self._failed = 0, None
            self._reconcile()

    def _end_fill(self, who: object) -> None:
        with self._lock:
            self._fills.pop(who, None)
            self._reconcile()

    def _notify(self) -> None:
        """From any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.changes.notify)

    # Processes; the lock is held

    def _demand(self) -> tuple[int, int, int]:
        """(bits, number of processes, their niceness) that are wanted now."""
        if self._closed:
            return self._bits, 0, 0
        if self._takers:
            waiting = next((taker for taker in self._takers if taker.waits), None)
            return (self._bits, 0, 0) if waiting is None else (waiting.bits, self._cores, 0)
        if self._failed is not None:
            return self._bits, 0, 0
        if any(target > self._available for target in self._fills.values()):
            return self._bits, self._cores, 0
        wanted = self._filling_idle and self._available < self._target
        return self._bits, self._background if wanted else 0, IDLE_NICENESS

    def _reconcile(self) -> None:
        """Start and stop processes until they are those that are wanted."""
        bits, count, niceness = self._demand()
        running = [worker for worker in self._workers if not worker.stopped]
        fitting = [worker for worker in running if worker.bits == bits][:count]
        for worker in running:
            if worker not in fitting:
                worker.stopped = True
                worker.process.kill()
        # One that was killed counts until it is gone: there are never more than cores.
        for _ in range(min(count - len(fitting), self._cores - len(self._workers))):
            if not self._start(bits, niceness):
                break
        self._lock.notify_all()

    def _start(self, bits: int, niceness: int) -> bool:
        path = os.pathsep.join(entry for entry in sys.path if entry)
        try:
            # Never a bare fork, which gRPC's threads do not survive: subprocess executes at once.
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                self._command(bits, niceness),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": path},
                # A terminal's Ctrl-C reaches a process group: not this one.
                process_group=0,
            )
        except OSError as error:
            self._give_up(f"a process that searches safe primes cannot be started: {error}")
            return False
        worker = _Worker(bits, process)
        worker.reader = threading.Thread(target=self._read, args=(worker,), name="primes", daemon=True)
        self._workers.add(worker)
        worker.reader.start()
        return True

    def _give_up(self, text: str, failure: type[NodeError] = InternalFailure) -> None:
        self._failed = failure(text)
        self._end_takers(InternalError(text))
        self._notify()

    # The reader threads

    def _read(self, worker: _Worker) -> None:
        process = worker.process
        assert process.stdin is not None  # noqa: S101 - they are pipes
        assert process.stdout is not None  # noqa: S101 - they are pipes
        assert process.stderr is not None  # noqa: S101 - they are pipes
        with process.stdin, process.stdout, process.stderr:
            try:
                for line in process.stdout:
                    self._take_line(worker, line)
            except ValueError:
                # What it wrote may hold a prime: the log does not get it.
                log.error("a process that searches safe primes wrote something else")  # noqa: TRY400 - see above
                process.kill()
            said = process.stderr.read().strip().splitlines()
            code = process.wait()
        with self._lock:
            self._workers.discard(worker)
            if not worker.stopped:
                self._failures += 1
                reason = said[-1] if said else f"exit code {code}"
                log.warning("a process that searched safe primes ended by itself: %s", reason)
                if self._failures >= MAX_FAILURES:
                    self._give_up(f"the search for safe primes does not run: {reason}")
            self._reconcile()
            self._notify()

    def _take_line(self, worker: _Worker, line: str) -> None:
        what, _, value = line.strip().partition(" ")
        if what == "t":
            with self._lock:
                self._tested += int(value)
            return
        prime = int(value, 16)
        with self._lock:
            self._failures = 0
            taker = next((taker for taker in self._takers if taker.waits and taker.bits == worker.bits), None)
            if taker is not None:
                if prime not in taker.found:
                    taker.found.append(prime)
                self._lock.notify_all()
            elif not self._closed:
                self._put(prime, worker.bits)
            self._reconcile()
        self._notify()

    def _put(self, prime: int, bits: int) -> None:
        try:
            self._store.primes.add(prime)
            if bits == self._bits:
                self._available = self._store.primes.count(bits)
        except NodeError as error:
            self._failed = StoreFailed(f"a safe prime was found and cannot be kept: {error}")
