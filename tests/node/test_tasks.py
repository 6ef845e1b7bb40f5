from __future__ import annotations

import asyncio
import gc

import pytest

from participant.node import tasks as tasks_module
from participant.node.tasks import Changes, Tasks

WAIT = 60.0


async def test_a_task_runs_though_nobody_holds_it():
    tasks, ran = Tasks(), asyncio.Event()
    gate = asyncio.Event()

    async def work() -> None:
        await gate.wait()
        ran.set()

    tasks.spawn(work(), "work")
    gc.collect()
    gate.set()
    await asyncio.wait_for(ran.wait(), WAIT)


async def test_a_failure_is_logged_under_the_tasks_name(caplog):
    tasks = Tasks()

    async def fail() -> None:
        raise ValueError("broken")

    task = tasks.spawn(fail(), "the errand")
    await asyncio.wait([task])
    assert "the errand failed: broken" in caplog.text


async def test_a_standing_task_begins_anew_when_it_fails(caplog, monkeypatch):
    monkeypatch.setattr(tasks_module, "AGAIN_SECONDS", 0.0)
    tasks, lives = Tasks(), []

    async def live() -> None:
        lives.append(len(lives))
        if len(lives) < 3:
            raise ValueError(f"broken {len(lives)}")

    await asyncio.wait_for(tasks.stand(live, "the watch"), WAIT)
    assert lives == [0, 1, 2]
    assert "the watch failed, and begins anew in 0 s: broken 2" in caplog.text


async def test_a_standing_task_ends_when_it_is_cancelled():
    tasks = Tasks()
    task = tasks.stand(asyncio.Event().wait, "the watch")
    await asyncio.sleep(0)
    await tasks.close()
    assert task.cancelled()


async def test_close_waits_for_what_cleans_up_and_ends_what_is_begun_meanwhile():
    tasks, ended = Tasks(), []

    async def last() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("last")

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            tasks.spawn(last(), "last")
            await asyncio.sleep(0)
            ended.append("work")

    running = tasks.spawn(work(), "work")
    await asyncio.sleep(0)
    await tasks.close()
    assert running.cancelled()
    assert sorted(ended) == ["last", "work"]
    await tasks.close()


async def test_a_cancelled_task_is_no_failure(caplog):
    tasks = Tasks()
    tasks.spawn(asyncio.sleep(WAIT), "sleep")
    await tasks.close()
    assert caplog.text == ""


async def test_what_holds_already_is_not_waited_for():
    assert await Changes().wait_for(lambda: True, 0)


async def test_every_notice_makes_all_waiters_look_again():
    changes, value = Changes(), 0
    waiters = [asyncio.create_task(changes.wait_for(lambda n=n: value >= n, WAIT)) for n in (1, 2)]
    await asyncio.sleep(0)
    changes.notify()
    await asyncio.sleep(0)
    assert not any(waiter.done() for waiter in waiters)
    value = 1
    changes.notify()
    assert await waiters[0]
    assert not waiters[1].done()
    value = 2
    changes.notify()
    assert await waiters[1]


async def test_the_end_of_the_time_is_an_answer_too():
    changes, looked = Changes(), []
    assert not await changes.wait_for(lambda: bool(looked.append(1)), 0)
    assert looked == [1, 1]
    late = []
    # The last look is after the deadline: what came without a notice counts.
    assert await changes.wait_for(lambda: late.append(1) or len(late) == 2, 0)


async def test_a_waiter_that_was_cancelled_is_forgotten():
    changes = Changes()
    waiter = asyncio.create_task(changes.wait_for(lambda: False, WAIT))
    await asyncio.sleep(0)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert not changes._waiters
    changes.notify()
