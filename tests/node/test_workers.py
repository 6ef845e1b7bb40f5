from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import gmpy2
import pytest

from participant.node.workers import STEP_THREADS, Urgency, Workers

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
    monkeypatch.setattr("os.cpu_count", lambda: 7)
    for asked, count in ((0, 7), (3, 3)):
        workers = Workers(asked)
        assert len(workers._threads) == count
        assert workers._steps._max_workers == STEP_THREADS
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
