from __future__ import annotations

import asyncio

import pytest

from kit.together import until_one_ends

WAIT = 60.0


async def for_ever(ended: list[str], name: str) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        ended.append(name)


async def failing() -> None:
    await asyncio.sleep(0)
    raise LookupError("the reason")


async def test_what_one_raises_comes_out_when_the_others_have_ended():
    ended: list[str] = []
    with pytest.raises(LookupError, match="the reason"):
        await until_one_ends(for_ever(ended, "a"), failing(), for_ever(ended, "b"))
    assert ended == ["a", "b"]


async def test_one_that_returns_ends_the_others():
    ended: list[str] = []
    await until_one_ends(for_ever(ended, "a"), asyncio.sleep(0))
    assert ended == ["a"]


async def test_who_is_cancelled_ends_them_all():
    ended: list[str] = []
    running = asyncio.create_task(until_one_ends(for_ever(ended, "a"), for_ever(ended, "b")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, WAIT)
    assert ended == ["a", "b"]


async def test_a_cancellation_while_the_others_end_is_not_lost():
    ending, free = asyncio.Event(), asyncio.Event()

    async def slow_to_end() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ending.set()
            await free.wait()

    running = asyncio.create_task(until_one_ends(slow_to_end(), failing()))
    await asyncio.wait_for(ending.wait(), WAIT)
    running.cancel()
    free.set()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, WAIT)
