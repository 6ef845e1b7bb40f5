from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import gmpy2
import pytest

from participant.node.workers import STEP_THREADS, Batch, Urgency, Workers

WAIT = 60.0


@pytest.fixture
def workers() -> Iterator[Workers]:
    opened = Workers(2)
    yield opened
    opened.close()


async def test_a_step_gets_its_arguments_and_gives_its_result(workers):
    assert await workers.step(lambda a, *, b: (a, b), 1, b=2) == (1, 2)


async def test_a_step_raises_what_it_raises(workers):
    def fail() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await workers.step(fail)


async def test_powers_free_the_interpreters_lock_in_both_pools(workers):
    def looks() -> bool:
        return bool(gmpy2.get_context().allow_release_gil)

    assert await workers.step(looks)
    assert await workers.jobs([looks, looks, looks]) == [True] * 3
    assert not looks()


async def test_jobs_come_back_in_their_order_with_exceptions_in_place(workers):
    first_may_end = threading.Event()

    def first() -> str:
        assert first_may_end.wait(WAIT)
        return "first"

    def second() -> str:
        first_may_end.set()
        raise ValueError("second")

    results = await workers.jobs([first, second])
    assert results[0] == "first"
    assert isinstance(results[1], ValueError)
    assert await workers.jobs([]) == []


async def test_steps_do_not_wait_for_jobs(workers):
    end = threading.Event()
    jobs = workers.jobs([lambda: end.wait(WAIT)] * 8)
    assert await asyncio.wait_for(workers.step(lambda: "here"), WAIT) == "here"
    assert not jobs.done()
    end.set()
    assert await jobs == [True] * 8


async def test_close_lets_what_runs_end_and_drops_what_waits():
    workers = Workers(1)
    begun, end, ran = threading.Event(), threading.Event(), []

    def long() -> None:
        begun.set()
        assert end.wait(WAIT)
        ran.append("long")

    jobs = workers.jobs([long, lambda: ran.append("waits")])
    assert await asyncio.get_running_loop().run_in_executor(None, begun.wait, WAIT)
    closing = threading.Thread(target=workers.close)
    closing.start()
    end.set()
    await asyncio.get_running_loop().run_in_executor(None, closing.join, WAIT)
    assert "long" in ran
    jobs.cancel()
    await asyncio.gather(jobs, return_exceptions=True)
    with pytest.raises(RuntimeError):
        await workers.step(lambda: None)


def test_one_thread_a_core_unless_said_otherwise(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(1, 8)))
    for asked, count in ((0, 7), (3, 3)):
        workers = Workers(asked)
        assert len(workers._threads) == count
        assert workers._steps._max_workers == STEP_THREADS + count
        workers.close()


async def test_what_somebody_waits_for_goes_before_what_is_made_ahead():
    workers = Workers(1)
    begun, end, order = threading.Event(), threading.Event(), []

    def blocks() -> None:
        begun.set()
        assert end.wait(WAIT)

    running = workers.jobs([blocks])
    assert await asyncio.get_running_loop().run_in_executor(None, begun.wait, WAIT)
    later = workers.jobs([lambda: order.append("stock")] * 2, Urgency.STOCK)
    middle = workers.jobs([lambda: order.append("ceremony")], Urgency.CEREMONY)
    first = workers.jobs([lambda: order.append("signing")], Urgency.SIGNING)
    end.set()
    await asyncio.gather(running, later, middle, first)
    workers.close()
    assert order == ["signing", "ceremony", "stock", "stock"]


def leading(workers: Workers, *jobs: Callable[[], Any]) -> Future[Batch]:
    """In a step's thread."""
    return workers._steps.submit(workers.lead, jobs)


def name_of_thread() -> str:
    return threading.current_thread().name[:4].rstrip("-_")


async def test_a_step_does_its_jobs_itself_where_there_is_one_core():
    workers = Workers(1)
    batch = await asyncio.wrap_future(leading(workers, *[name_of_thread] * 5))
    assert batch.results() == ["step"] * 5
    # And leaves the core to others then.
    assert await workers.jobs([name_of_thread]) == ["job"]
    workers.close()


async def test_an_exception_stands_for_itself_in_a_step_too(workers):
    def fail() -> None:
        raise ValueError("broken")

    batch = await asyncio.wrap_future(leading(workers, fail, lambda: 2))
    found = await batch.wait()
    assert isinstance(found[0], ValueError)
    assert found[1] == 2


async def test_other_cores_take_their_part_and_what_they_have_not_done_is_waited_for(workers):
    meeting, end = threading.Barrier(2, timeout=WAIT), threading.Event()

    def meets() -> str:
        """One of the two that meet waits on."""
        name = name_of_thread()
        if meeting.wait() >= 0 and name == "job":
            assert end.wait(WAIT)
        return name

    batch = await asyncio.wrap_future(leading(workers, meets, meets))
    assert batch.results() is None
    waiting = batch.wait()
    end.set()
    assert sorted(await waiting) == ["job", "step"]


async def test_a_step_takes_no_core_from_others(workers):
    """All cores are taken: its jobs are done when one is free, and the step does not wait for that."""
    end = threading.Event()
    busy = workers.jobs([lambda: end.wait(WAIT)] * 2)
    await begun(workers, 2)
    batch = await asyncio.wrap_future(leading(workers, name_of_thread))
    assert batch.results() is None
    end.set()
    assert await batch.wait() == ["job"]
    assert await busy == [True, True]


async def test_no_more_compute_at_once_than_there_are_cores(workers):
    lock, now, most = threading.Lock(), 0, 0

    def counted() -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        gmpy2.powmod(3, gmpy2.mpz(1) << 20_000, (gmpy2.mpz(1) << 20_000) - 1)
        with lock:
            now -= 1

    led = [leading(workers, *[counted] * 10) for _ in range(6)]
    await workers.jobs([counted] * 10)
    for future in led:
        await (await asyncio.wrap_future(future)).wait()
    assert 1 <= most <= 2
    await until(lambda: workers._free == 2)


async def test_what_nobody_waits_for_any_more_is_not_begun(workers):
    end, ran = threading.Event(), []
    jobs = workers.jobs([*[lambda: end.wait(WAIT)] * 2, *[lambda: ran.append("late")] * 3])
    await begun(workers, 2)
    jobs.cancel()
    # Its callbacks.
    await asyncio.sleep(0)
    end.set()
    assert await workers.jobs([name_of_thread]) == ["job"]
    assert ran == []


async def test_a_step_that_leads_stops_when_the_workers_close():
    workers = Workers(1)
    started, end, ran = threading.Event(), threading.Event(), []

    def first() -> None:
        started.set()
        assert end.wait(WAIT)

    led = leading(workers, first, lambda: ran.append("second"))
    loop = asyncio.get_running_loop()
    assert await loop.run_in_executor(None, started.wait, WAIT)
    closing = threading.Thread(target=workers.close)
    closing.start()
    await until(lambda: workers._closed)
    end.set()
    await loop.run_in_executor(None, closing.join, WAIT)
    batch = await asyncio.wrap_future(led)
    assert ran == []
    with pytest.raises(asyncio.CancelledError):
        await batch.wait()


async def begun(workers: Workers, jobs: int) -> None:
    """So many jobs are being computed."""
    await until(lambda: workers._free <= len(workers._threads) - jobs)


async def until(holds: Callable[[], bool]) -> None:
    """Another thread's doing."""
    async with asyncio.timeout(WAIT):
        while not holds():  # noqa: ASYNC110 - what a thread does sets no event of the loop
            await asyncio.sleep(0)
