"""Who is a slow reader: decided on a clock and a connection that the test holds in its hands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry

from gateway.memory import MemoryStore
from gateway.meters import Meters
from gateway.rooms import LEAST_PROGRESS_BYTES, Broker, Subscription
from gateway.settings import RoomsSettings
from gateway.store import Event

SLOW_SECONDS = 10.0


class ScriptedConnection:
    def __init__(self) -> None:
        self.left = 0
        self.free = True
        self.written: list[bytes] = []
        self.finished: bytes | None = None
        self.lost: Callable[[], None] | None = None

    def on_lost(self, callback: Callable[[], None] | None) -> None:
        self.lost = callback

    def unsent(self) -> int:
        return self.left

    def writable(self) -> bool:
        return self.free

    def write_part(self, data: bytes) -> None:
        assert self.free
        self.written.append(data)

    def finish(self, last_part: bytes) -> None:
        self.finished = last_part


class World:
    def __init__(self) -> None:
        self.time = 0.0
        limits = RoomsSettings.model_validate(
            {"slow_reader_seconds": SLOW_SECONDS, "max_backlog_messages": 3}
        )
        self.broker = Broker(MemoryStore(limits), limits, Meters(CollectorRegistry()), lambda: self.time)
        self.connection = ScriptedConnection()

    async def subscribe(self) -> Subscription:
        subscription = await self.broker.subscribe("room", self.connection)
        subscription.begin(0)
        return subscription

    def look(self, seconds: float, left: int) -> None:
        self.time += seconds
        self.connection.left = left
        self.broker.look_after(ping=False)


@pytest.fixture
async def world() -> World:
    return World()


async def test_a_large_event_on_a_slow_line_takes_as_long_as_it_takes(world: World) -> None:
    subscription = await world.subscribe()
    subscription.sending()
    left = 8_000_000
    world.look(0.1, left)
    for _ in range(100):
        left -= LEAST_PROGRESS_BYTES
        world.look(SLOW_SECONDS + 0.1, left)
    assert subscription.end_reason is None


async def test_a_trickle_is_not_progress(world: World) -> None:
    subscription = await world.subscribe()
    subscription.sending()
    world.look(0.1, 8_000_000)
    world.look(SLOW_SECONDS - 0.2, 7_999_990)
    assert subscription.end_reason is None
    world.look(0.3, 7_999_980)
    assert subscription.end_reason == "slow_reader"
    assert world.connection.finished is not None
    assert b"slow_reader" in world.connection.finished


async def test_a_reader_that_waits_is_not_slow(world: World) -> None:
    subscription = await world.subscribe()
    world.look(10 * SLOW_SECONDS, 0)
    assert subscription.end_reason is None


async def test_backlog_counts_only_while_a_write_is_stuck_and_only_what_is_new(world: World) -> None:
    for _ in range(10):
        await world.broker.store.append("room", b"old")
    subscription = await world.subscribe()
    subscription.sending()
    for _ in range(3):
        await world.broker.store.append("room", b"new")
    assert subscription.end_reason is None
    await world.broker.store.append("room", b"new")
    assert subscription.end_reason == "slow_reader"


async def test_a_gone_room_ends_the_subscription(world: World) -> None:
    subscription = await world.subscribe()
    subscription.grown(5)
    assert await subscription.read() == ()
    assert subscription.end_reason == "overtaken"


async def waiting(subscription: Subscription) -> asyncio.Task[None]:
    task = asyncio.ensure_future(subscription.wait())
    await asyncio.sleep(0)
    return task


async def test_what_comes_while_a_reader_waits_is_written_without_waking_its_task(world: World) -> None:
    subscription = await world.subscribe()
    task = await waiting(subscription)
    for number in range(3):
        await world.broker.store.append("room", b"m%d" % number)
    await asyncio.sleep(0)
    assert not task.done()
    assert world.connection.written == [Event.encode(number, b"m%d" % number).frame for number in range(3)]
    assert subscription.cursor == subscription.next_id == 3
    subscription.wake()
    await task


async def test_a_reader_that_does_not_take_it_is_written_by_its_task_in_order(world: World) -> None:
    subscription = await world.subscribe()
    world.connection.free = False
    task = await waiting(subscription)
    await world.broker.store.append("room", b"kept back")
    # Its turn comes only later: what the task has to write goes first.
    world.connection.free = True
    await world.broker.store.append("room", b"after it")
    await task
    assert world.connection.written == []
    assert [event.id for event in await subscription.read()] == [0, 1]


@pytest.mark.parametrize("change", ["ping", "cut", "gone", "behind"])
async def test_nothing_is_written_past_what_the_task_has_to_do(world: World, change: str) -> None:
    subscription = await world.subscribe()
    task = await waiting(subscription)
    if change == "ping":
        world.broker.look_after(ping=True)
        world.broker.look_after(ping=True)
    elif change == "cut":
        world.broker.cut(subscription, "slow_reader")
    elif change == "gone":
        subscription.lost()
    else:
        subscription.cursor = 5
    await world.broker.store.append("room", b"m")
    assert world.connection.written == []
    await task


async def test_unsubscribing_lets_go_of_room_and_connection(world: World) -> None:
    subscription = await world.subscribe()
    assert world.connection.lost is not None
    world.broker.unsubscribe(subscription)
    assert world.connection.lost is None
    assert world.broker.subscribers == 0
    await world.broker.store.append("room", b"m")
    assert subscription.next_id == 0
