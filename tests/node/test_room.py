from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from memory_channel import Hub, Refused

from participant.channel import Topic
from participant.node import room as room_module
from participant.node.room import MAX_WAITING, Room

WAIT = 60.0
TOPIC = Topic("a_room")


class Listener:
    """What a room handed on, and a way to wait for it."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.restarts = 0
        self._more = asyncio.Condition()

    def receive(self, envelope: bytes) -> None:
        self.heard.append(envelope)
        self._wake()

    def restarted(self) -> None:
        self.restarts += 1
        self._wake()

    def _wake(self) -> None:
        async def wake() -> None:
            async with self._more:
                self._more.notify_all()

        self._task = asyncio.ensure_future(wake())

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT), self._more:
            await self._more.wait_for(holds)


@asynccontextmanager
async def joined(hub: Hub, **options: Any):
    listener = Listener()
    room = Room(hub, TOPIC, 1, receive=listener.receive, restarted=listener.restarted, **options)
    running = asyncio.create_task(room.run())
    try:
        yield room, listener
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert hub.joined == []


async def test_the_whole_history_and_ones_own_words_are_handed_on():
    hub = Hub()
    hub.say(TOPIC.name, b"before")
    async with joined(hub) as (room, listener):
        room.send(b"own")
        await listener.until(lambda: listener.heard == [b"before", b"own"])
        hub.say(TOPIC.name, b"after")
        await listener.until(lambda: listener.heard[-1] == b"after")


async def test_who_has_its_hands_full_hears_the_rest_later():
    hub = Hub()
    free = asyncio.Event()
    async with joined(hub, ready=free.wait) as (_, listener):
        hub.say(TOPIC.name, b"1")
        hub.say(TOPIC.name, b"2")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert listener.heard == []
        free.set()
        await listener.until(lambda: listener.heard == [b"1", b"2"])


async def test_what_is_sent_is_posted_in_order_with_its_hints():
    hub = Hub()
    async with joined(hub) as (room, _):
        for number in range(20):
            room.send(bytes([number]), to=2 if number % 2 else None)
        await asyncio.wait_for(room.flushed(), WAIT)
        assert hub.posted == [(TOPIC.name, bytes([n]), 1, 2 if n % 2 else None) for n in range(20)]


async def test_what_was_sent_before_joining_is_posted_too():
    hub = Hub()
    listener = Listener()
    room = Room(hub, TOPIC, 1, receive=listener.receive)
    room.send(b"early")
    running = asyncio.create_task(room.run())
    await listener.until(lambda: listener.heard == [b"early"])
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_flushed_means_posted():
    hub = Hub()
    gate = asyncio.Event()

    async def hold(topic: Topic, envelope: bytes) -> None:
        await gate.wait()

    hub.before_post = hold
    async with joined(hub) as (room, _):
        room.send(b"x")
        flushed = asyncio.create_task(room.flushed())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not flushed.done()
        gate.set()
        await asyncio.wait_for(flushed, WAIT)
        assert len(hub.posted) == 1


@pytest.mark.parametrize("at_once", [1, 2])
async def test_so_many_are_posted_at_once(at_once):
    hub = Hub()
    gate = asyncio.Event()
    under_way: list[bytes] = []

    async def hold(topic: Topic, envelope: bytes) -> None:
        under_way.append(envelope)
        if len(under_way) == at_once:
            await asyncio.sleep(0)
            gate.set()
        await gate.wait()
        # Nobody else begins while all have their hands full.
        most.append(len(under_way))
        under_way.remove(envelope)

    most: list[int] = []
    hub.before_post = hold
    async with joined(hub, at_once=at_once) as (room, _):
        for number in range(6):
            room.send(bytes([number]))
        await asyncio.wait_for(room.flushed(), WAIT)
        assert max(most) == at_once
        assert sorted(envelope for _, envelope, _, _ in hub.posted) == [bytes([n]) for n in range(6)]


async def test_what_was_under_way_when_the_gateway_refused_is_posted_when_it_lets_in_again(monkeypatch):
    monkeypatch.setattr(room_module, "RETRY_SECONDS", 0.0)
    hub = Hub()
    tries = 0

    async def refuse_once(topic: Topic, envelope: bytes) -> None:
        nonlocal tries
        tries += 1
        if tries == 2:
            raise Refused("not now")

    hub.before_post = refuse_once
    async with joined(hub, standing=True, at_once=2) as (room, _):
        for number in range(4):
            room.send(bytes([number]))
        await asyncio.wait_for(room.flushed(), WAIT)
        assert {envelope for _, envelope, _, _ in hub.posted} == {bytes([n]) for n in range(4)}


async def test_a_room_that_takes_nothing_drops_its_oldest(caplog):
    hub = Hub()
    gate, holding = asyncio.Event(), asyncio.Event()

    async def hold(topic: Topic, envelope: bytes) -> None:
        holding.set()
        await gate.wait()

    hub.before_post = hold
    async with joined(hub) as (room, listener):
        room.send(b"first")
        await asyncio.wait_for(holding.wait(), WAIT)
        numbers = [number.to_bytes(2, "big") for number in range(MAX_WAITING + 1)]
        for number in numbers[:-1]:
            room.send(number)
        assert "takes no messages" not in caplog.text
        room.send(numbers[-1])
        assert "takes no messages" in caplog.text
        gate.set()
        await asyncio.wait_for(room.flushed(), WAIT)
        posted = [envelope for _, envelope, _, _ in hub.posted]
        assert posted == [b"first", *numbers[1:]], "the one whose post is under way does not wait"
        await listener.until(lambda: len(listener.heard) == len(posted))


async def test_a_lost_history_is_told_and_lost_messages_are_logged(caplog):
    hub = Hub()
    async with joined(hub) as (room, listener):
        room.send(b"x")
        await listener.until(lambda: listener.heard == [b"x"])
        hub.lose_history()
        await listener.until(lambda: listener.restarts == 1)
        hub.lose_messages(TOPIC.name)
        hub.say(TOPIC.name, b"y")
        await listener.until(lambda: listener.heard[-1] == b"y")
        assert "messages are lost" in caplog.text


async def test_a_refused_room_ends_and_says_why(caplog):
    hub = Hub()
    hub.refusal = Refused("the token is wrong")
    room = Room(hub, TOPIC, 1, receive=lambda _: None)
    await asyncio.wait_for(room.run(), WAIT)
    assert room.refused is hub.refusal
    assert "the token is wrong" in caplog.text


async def test_a_subscription_that_is_refused_later_ends_it_too():
    hub = Hub()
    room = Room(hub, TOPIC, 1, receive=lambda _: None)
    running = asyncio.create_task(room.run())
    await hub.until(lambda: bool(hub.joined))
    hub.refuse(TOPIC.name, Refused("no more"))
    await asyncio.wait_for(running, WAIT)
    assert str(room.refused) == "no more"
    assert hub.joined == []


async def test_a_standing_room_comes_back_and_posts_what_waits(monkeypatch):
    monkeypatch.setattr(room_module, "RETRY_SECONDS", 0.001)
    hub = Hub()
    hub.refusal = Refused("not yet")
    async with joined(hub, standing=True) as (room, listener):
        room.send(b"x")
        await hub.until(lambda: len(hub.opened) >= 3)
        assert room.refused is hub.refusal
        hub.refusal = None
        await listener.until(lambda: listener.heard == [b"x"])
        assert room.refused is None


async def test_what_is_no_refusal_is_a_bug_and_is_not_swallowed():
    hub = Hub()

    async def broken(topic: Topic, envelope: bytes) -> None:
        raise ZeroDivisionError

    hub.before_post = broken
    room = Room(hub, TOPIC, 1, receive=lambda _: None, standing=True)
    room.send(b"x")
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(room.run(), WAIT)
