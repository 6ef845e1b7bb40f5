"""What waits for a session's engine is bounded, and no sender displaces another."""

from __future__ import annotations

import asyncio

from participant.node import inbox
from participant.node.inbox import MAX_BYTES_EACH, MAX_EACH, MAX_WAITING, Inbox
from tss.envelope import holder

FIRST, SECOND = holder(1), holder(2)


def test_what_was_put_is_taken_once_and_in_order():
    box = Inbox()
    box.put(b"1")
    assert box.put_from(FIRST, b"2")
    box.put(b"3")
    assert box.take() == [b"1", b"2", b"3"]
    assert box.take() == []


def test_of_each_sender_only_so_much_waits():
    box = Inbox()
    assert all(box.put_from(FIRST, b"x%d" % n) for n in range(MAX_EACH))
    assert not box.put_from(FIRST, b"x")
    assert box.put_from(SECOND, b"y")
    assert len(box.take()) == MAX_EACH + 1
    assert box.put_from(FIRST, b"x")


def test_copies_of_what_waits_leave_room_for_what_is_new():
    """A gateway may tell everything a hundred times."""
    box = Inbox()
    assert all(box.put_from(FIRST, b"acceptance") for _ in range(MAX_EACH + 1))
    assert all(box.put_from(FIRST, b"echo") for _ in range(MAX_EACH + 1))
    assert box.take() == [b"acceptance", b"echo"]
    assert box.put_from(FIRST, b"echo")
    assert box.take() == [b"echo"], "what was taken is not remembered"


def test_of_each_sender_only_so_many_bytes_wait():
    box = Inbox()
    half = MAX_BYTES_EACH // 2
    assert box.put_from(FIRST, bytes(half))
    assert box.put_from(FIRST, b"1" * half)
    assert not box.put_from(FIRST, b"x")
    box.take()
    assert box.put_from(FIRST, b"x")


async def waits(box: Inbox) -> asyncio.Task[None]:
    """A reader that waits for space; it had its chance."""
    reader = asyncio.create_task(box.has_space())
    await asyncio.sleep(0)
    assert not reader.done()
    return reader


async def test_a_reader_waits_while_there_is_too_much():
    box = Inbox()
    for _ in range(MAX_WAITING):
        await box.has_space()
        box.put(b"x")
    reader = await waits(box)
    box.take()
    await reader


async def test_a_reader_waits_while_there_are_too_many_bytes(monkeypatch):
    monkeypatch.setattr(inbox, "MAX_WAITING_BYTES", 10)
    box = Inbox()
    box.put(bytes(10))
    reader = await waits(box)
    box.take()
    await reader


async def test_nobody_waits_for_a_session_that_is_over():
    box = Inbox()
    for _ in range(MAX_WAITING):
        box.put(b"x")
    reader = await waits(box)
    box.close()
    await reader
    box.put(b"late")
    await box.has_space()
