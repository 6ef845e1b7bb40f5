"""The search for safe primes: real processes at small sizes, and scripted ones that crash, talk nonsense or never find."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from node_testing import new_store, raw
from tss_testing import TESTING_TINY, safe_primes

from participant.node import primes
from participant.node.api import PrimePool
from participant.node.config import NodeConfig
from participant.node.errors import InternalFailure, StoreFailed
from participant.node.primes import PrimeSearch, worker_command
from participant.store import Store
from tss.errors import InternalError, NoBlame
from tss.primes import is_safe_prime

BITS = TESTING_TINY.pb
WAIT = 60.0
"""Seconds after which a test that hangs is stopped; nothing is asserted about time."""

SEARCHES_FOR_EVER = "import sys; print('t 7', flush=True); sys.stdin.read()"


def unhurried(bits: int, _: int) -> Sequence[str]:
    """The search itself, but not nicer than the tests: beside those a search at IDLE_NICENESS may get no time for minutes."""
    return worker_command(bits, 0)


def scripted(code: str) -> Callable[[int, int], Sequence[str]]:
    return lambda bits, niceness: [sys.executable, "-c", code, str(bits), str(niceness)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with new_store(tmp_path) as opened:
        yield opened


@pytest.fixture
def make(store: Store) -> Iterator[Callable[..., PrimeSearch]]:
    """Makes searches that are closed at the end. Without a word about it nothing is searched by itself."""
    made: list[PrimeSearch] = []

    def build(*, target: int = 0, processes: int = 1, **options: object) -> PrimeSearch:
        config = NodeConfig(primes_target=target, prime_processes=processes)
        given: dict[str, Any] = {"command": unhurried, **options}
        made.append(PrimeSearch(store, config, TESTING_TINY, **given))
        return made[-1]

    yield build
    for search in made:
        search.close()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def wait_until(search: PrimeSearch, holds: Callable[[], bool]) -> None:
    """Looks again after everything that happens in `search`."""
    with search._lock:
        assert search._lock.wait_for(holds, WAIT)


async def changed(search: PrimeSearch, holds: Callable[[], bool]) -> None:
    assert await search.changes.wait_for(holds, WAIT)


def running(search: PrimeSearch) -> list[primes._Worker]:
    return [worker for worker in search._workers if not worker.stopped]


def test_found_primes_are_four_distinct_safe_ones(make, store):
    taken = make().take_primes(BITS)
    assert len(set(taken)) == 4
    for prime in taken:
        assert is_safe_prime(prime)
        assert prime.bit_length() == BITS
        assert prime >> (BITS - 2) == 3


def test_each_is_handed_out_once(make, store, threads):
    search = make(cores=2)
    taken = [prime for four in threads.map(lambda _: search.take_primes(BITS), range(8)) for prime in four]
    assert len(set(taken)) == 32
    assert not set(taken) & set(store.primes.take(100, BITS))


def test_the_pool_comes_first_and_is_durably_empty_before_anybody_sees_its_primes(make, store):
    kept = safe_primes(TESTING_TINY, 5, "pool")
    for prime in kept:
        store.primes.add(prime)
    search = make(command=scripted("raise SystemExit('nobody searches while the pool has enough')"))
    assert list(search.take_primes(BITS)) == kept[:4]
    assert search.pool() == PrimePool(available=1, target=0, searching=False)
    store.close()
    assert raw(store.path, "SELECT count(*) FROM prime") == [(1,)]


def test_the_rest_of_the_pool_is_taken_and_what_is_missing_is_found(make, store):
    kept = safe_primes(TESTING_TINY, 3, "part")
    for prime in kept:
        store.primes.add(prime)
    taken = make().take_primes(BITS)
    assert list(taken[:3]) == kept
    assert taken[3] not in kept


def test_a_pool_that_does_not_open_hinders_nobody(make, store):
    search = make()
    store.close()
    assert len(set(search.take_primes(BITS))) == 4


def test_other_sizes_than_the_pools_are_found_too(make, store):
    search = make()
    assert all(prime.bit_length() == 64 for prime in search.take_primes(64))
    assert search.pool().available == store.primes.count(BITS)


def test_never_more_processes_than_cores(make, threads):
    search = make(target=1, processes=9, cores=3, command=scripted(SEARCHES_FOR_EVER))
    most = 0
    begin, real = threading.Barrier(4), search._start

    def start(bits: int, niceness: int) -> bool:
        nonlocal most
        begun = real(bits, niceness)
        most = max(most, len(search._workers))
        return begun

    search._start = start

    def take() -> object:
        begin.wait(WAIT)
        return search.take_primes(BITS)

    search._look(idle=True)
    waiting = [threads.submit(take) for _ in range(3)]
    begin.wait(WAIT)
    wait_until(search, lambda: len(search._takers) == 3)
    search._look(idle=False)
    search.cancel()
    for future in waiting:
        assert isinstance(future.exception(WAIT), NoBlame)
    assert most == 3


def test_an_idle_node_searches_with_few_processes_of_low_priority_and_a_ceremony_with_all_cores(
    make, threads
):
    asked: list[tuple[int, int]] = []

    def command(bits: int, niceness: int) -> Sequence[str]:
        asked.append((bits, niceness))
        return [sys.executable, "-c", SEARCHES_FOR_EVER]

    search = make(target=4, processes=1, cores=4, command=command)
    search._look(idle=True)
    assert len(running(search)) == 1
    search._look(idle=True)
    assert asked == [(BITS, primes.IDLE_NICENESS)]
    waiting = threads.submit(search.take_primes, BITS)
    wait_until(search, lambda: len(running(search)) == 4)
    assert asked[1:] == [(BITS, 0)] * 3
    search.cancel()
    assert isinstance(waiting.exception(WAIT), NoBlame)
    wait_until(search, lambda: len(running(search)) == 1)
    search._look(idle=False)
    assert running(search) == []
    wait_until(search, lambda: not search._workers)


def test_a_ceremony_takes_the_cores_from_a_search_for_another_size(make, threads):
    asked: list[int] = []

    def command(bits: int, niceness: int) -> Sequence[str]:
        asked.append(bits)
        return [sys.executable, "-c", SEARCHES_FOR_EVER]

    search = make(target=4, processes=2, cores=2, command=command)
    search._look(idle=True)
    waiting = threads.submit(search.take_primes, 96)
    wait_until(search, lambda: [worker.bits for worker in running(search)] == [96, 96])
    assert asked == [BITS, BITS, 96, 96]
    search.cancel()
    assert waiting.exception(WAIT) is not None


def test_progress_tells_what_is_found_and_tested(make, store, threads):
    one = safe_primes(TESTING_TINY, 1, "one")[0]
    code = f"import sys; print('t 32', flush=True); print('p {one:x}', flush=True); sys.stdin.read()"
    search = make(cores=1, command=scripted(code))
    assert search.state is None
    waiting = threads.submit(search.take_primes, BITS)
    wait_until(search, lambda: search._takers != [] and search._takers[0].found == [one])
    state = search.state
    assert state is not None
    assert (state.found, state.wanted, state.tested, state.processes) == (1, 4, 32, 1)
    search.cancel()
    assert isinstance(waiting.exception(WAIT), NoBlame)
    assert search.state is None
    # Nobody saw it, so it serves the next one.
    assert store.primes.take(4, BITS) == [one]


def test_close_ends_everything(make, threads):
    search = make(cores=2, command=scripted(SEARCHES_FOR_EVER))
    waiting = threads.submit(search.take_primes, BITS)
    wait_until(search, lambda: len(running(search)) == 2)
    processes = [worker.process for worker in search._workers]
    search.close()
    assert isinstance(waiting.exception(WAIT), NoBlame)
    assert [process.returncode for process in processes] == [-signal.SIGKILL] * 2
    with pytest.raises(NoBlame, match="stops"):
        search.take_primes(BITS)
    search.close()


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise SystemExit('no such library')", "no such library"),
        ("raise SystemExit(3)", "exit code 3"),
        ("print('p nonsense', flush=True); import sys; sys.stdin.read()", "exit code -9"),
    ],
    ids=["says-why", "silent", "nonsense"],
)
async def test_a_search_that_does_not_run_is_said_so(make, threads, code, reason):
    search = make(target=4, cores=2, command=scripted(code))
    with pytest.raises(InternalError, match=reason):
        await asyncio.wrap_future(threads.submit(search.take_primes, BITS))
    with pytest.raises(InternalFailure, match=reason):
        async for _ in search.fill():
            pass


async def test_a_command_that_is_not_there(make, tmp_path):
    search = make(command=lambda *_: [str(tmp_path / "none")])
    with pytest.raises(InternalError, match="cannot be started"):
        search.take_primes(BITS)
    with pytest.raises(InternalFailure, match="cannot be started"):
        async for _ in search.fill(1):
            pass


async def test_fill_reports_until_the_pool_holds_what_was_asked_for(make, store):
    search = make(target=3, cores=2)
    steps = [step async for step in search.fill()]
    assert [step.result for step in steps[:-1]] == [None] * (len(steps) - 1)
    assert {(step.stage, step.total) for step in steps} == {("primes", 3)}
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    pool = steps[-1].result
    assert isinstance(pool, PrimePool)
    assert pool.available >= 3
    assert store.primes.count(BITS) >= 3
    more = [step async for step in search.fill(pool.available + 2)]
    assert more[-1].done == pool.available + 2
    assert all(is_safe_prime(prime) for prime in store.primes.take(100, BITS))


async def test_fill_of_a_full_pool_ends_at_once(make, store):
    store.primes.add(safe_primes(TESTING_TINY, 1, "full")[0])
    search = make(target=1, command=scripted("raise SystemExit('nothing to do')"))
    (only,) = [step async for step in search.fill()]
    assert only.result == PrimePool(available=1, target=1, searching=False)


async def test_a_fill_that_nobody_follows_any_more_stops_its_search(make):
    search = make(cores=2, command=scripted(SEARCHES_FOR_EVER))
    steps = search.fill(1)
    await anext(steps)
    assert len(running(search)) == 2
    await steps.aclose()
    assert running(search) == []


async def test_fill_of_a_store_that_takes_nothing(make, store):
    search = make()
    store.close()
    with pytest.raises(StoreFailed, match="cannot be kept"):
        async for _ in search.fill(1):
            pass


async def test_the_idle_node_fills_its_pool_and_a_busy_one_does_not(make, store, monkeypatch):
    monkeypatch.setattr(primes, "IDLE_POLL", 0.001)
    looks, idle = 0, False

    def look() -> bool:
        nonlocal looks
        looks += 1
        search.changes.notify()
        return idle

    search = make(target=3, idle=look)
    filler = asyncio.create_task(search.run())
    await changed(search, lambda: looks > 3)
    assert not search.pool().searching
    idle = True
    await changed(search, lambda: search.pool().available >= 3)
    await changed(search, lambda: not search.pool().searching)
    search.take_primes(BITS)
    await changed(search, lambda: search.pool().available >= 3 and not search.pool().searching)
    filler.cancel()
    await asyncio.gather(filler, return_exceptions=True)
    assert store.primes.count(BITS) == search.pool().available


async def test_a_broken_search_is_tried_again_later(make, monkeypatch, caplog):
    monkeypatch.setattr(primes, "IDLE_POLL", 0.001)
    monkeypatch.setattr(primes, "RETRY_SECONDS", 0.001)
    broken = True

    def command(bits: int, niceness: int) -> Sequence[str]:
        return [sys.executable, "-c", "raise SystemExit('not yet')"] if broken else unhurried(bits, niceness)

    search = make(target=1, command=command)
    filler = asyncio.create_task(search.run())
    await changed(search, lambda: search._failed is not None)
    broken = False
    await changed(search, lambda: search.pool().available >= 1)
    filler.cancel()
    await asyncio.gather(filler, return_exceptions=True)
    assert "not yet" in caplog.text


def test_no_prime_is_shown(make, caplog):
    caplog.set_level("DEBUG")
    search = make()
    taken = search.take_primes(BITS)
    shown = repr(search) + repr(search.__dict__) + caplog.text
    assert all(f"{prime}" not in shown and f"{prime:x}" not in shown for prime in taken)


def test_the_worker_ignores_an_interrupt_and_ends_with_its_input(store):
    command = worker_command(BITS, 3)
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline()[:2] in ("p ", "t ")
        status = dict(
            line.split(":\t", 1)
            for line in Path(f"/proc/{worker.pid}/status").read_text().splitlines()
            if ":\t" in line
        )
        assert int(status["SigIgn"], 16) >> (signal.SIGINT - 1) & 1
        assert os.getpriority(os.PRIO_PROCESS, worker.pid) == os.getpriority(os.PRIO_PROCESS, 0) + 3
        worker.send_signal(signal.SIGINT)
        _, said = worker.communicate(timeout=WAIT)
    assert (worker.returncode, said) == (0, "")


def test_a_killed_parent_leaves_no_search_behind(tmp_path):
    parent_code = textwrap.dedent(
        """
        import sys, threading
        from pathlib import Path
        from node_testing import new_store
        from tss.params import LEVEL_128
        from participant.node.config import NodeConfig
        from participant.node.primes import PrimeSearch

        # Full size: nothing is found before the test has looked.
        search = PrimeSearch(new_store(Path(sys.argv[1])), NodeConfig(), LEVEL_128, cores=2)
        threading.Thread(target=search.take_primes, args=(4096,), daemon=True).start()
        with search._lock:
            while len(search._workers) < 2 or not search._tested:
                search._lock.wait(0.05)
            print(*(worker.process.pid for worker in search._workers), flush=True)
        sys.stdin.read()
        """
    )
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": f"{root}:{root / 'tests' / 'support'}"}
    parent = subprocess.Popen(
        [sys.executable, "-c", parent_code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    with parent:
        assert parent.stdout is not None
        children = [os.pidfd_open(int(pid)) for pid in parent.stdout.readline().split()]
        parent.kill()
    assert len(children) == 2
    for child in children:
        assert select.select([child], [], [], WAIT)[0]
        os.close(child)


def test_a_future_of_a_worker_thread_gets_plain_integers(make, threads):
    future: Future[tuple[int, ...]] = threads.submit(make().take_primes, BITS)
    assert all(type(prime) is int for prime in future.result(WAIT))
