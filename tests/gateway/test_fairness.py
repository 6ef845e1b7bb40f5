"""A noisy room does not keep the others waiting: counted in writes, on an event loop without sockets or clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from gateway.access import Access
from gateway.http_api import Subscribe
from gateway.limits import ClientLimits
from gateway.memory import MemoryStore
from gateway.meters import Meters
from gateway.rooms import BATCH_BYTES, Broker
from gateway.settings import AccessSettings, ClientsSettings, RoomsSettings, ServerSettings
from kit.connection import CONNECTION

NOISY_READERS = 20
BACKLOG = 40
# Two events fill a batch.
NOISE = b"x" * (BATCH_BYTES // 2 - 100)


class GreedyReader:
    """Takes whatever it is sent at once, so that its writes never wait."""

    def on_lost(self, callback: Callable[[], None] | None) -> None:
        self.lost = callback

    def unsent(self) -> int:
        return 0

    def pipelined(self) -> bool:
        return False

    def writable(self) -> bool:
        return False

    def finish(self, last_part: bytes) -> None:
        raise AssertionError(f"cut off: {last_part!r}")


class Hall:
    """Readers of several rooms; `writes` are the events that were written, in order: (room, bytes)."""

    def __init__(self) -> None:
        self.store = MemoryStore(RoomsSettings())
        meters = Meters(CollectorRegistry())
        self.broker = Broker(self.store, RoomsSettings(), meters)
        access = Access(AccessSettings(), meters)
        limits = ClientLimits(ClientsSettings())
        self.endpoint = Subscribe(self.broker, ServerSettings(), meters, limits, access)
        self.writes: list[tuple[str, int]] = []
        self.on_first_noise: Callable[[], None] | None = None
        self.tasks: list[asyncio.Task[None]] = []

    def read(self, room: str) -> None:
        async def receive() -> Any:
            raise AssertionError("nobody reads a body")

        async def send(message: Any) -> None:
            body = message.get("body", b"")
            if body.startswith(b"event: new-message"):
                self.writes.append((room, len(body)))
                if room == "noisy" and self.on_first_noise is not None:
                    act, self.on_first_noise = self.on_first_noise, None
                    act()

        scope = {
            "method": "GET",
            "path": f"/rooms/{room}/subscribe",
            "path_params": {"room_id": room},
            "headers": [],
            "client": ("127.0.0.1", 1),
            "extensions": {CONNECTION: GreedyReader()},
        }
        self.tasks.append(asyncio.create_task(self.endpoint(scope, receive, send)))

    async def until(self, done: Callable[[], bool]) -> int:
        """Turns of the event loop until `done`."""
        for turn in range(100_000):
            if done():
                return turn
            await asyncio.sleep(0)
        raise AssertionError("never")

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


@pytest.fixture
async def hall() -> Any:
    hall = Hall()
    yield hall
    await hall.close()


async def test_a_quiet_rooms_event_waits_for_a_few_batches_of_each_noisy_reader_at_most(hall: Hall) -> None:
    for _ in range(BACKLOG):
        await hall.store.append("noisy", NOISE)
    hall.read("quiet")
    await hall.until(lambda: hall.broker.subscribers == 1)
    hall.on_first_noise = lambda: hall.tasks.append(asyncio.create_task(hall.store.append("quiet", b"m")))
    for _ in range(NOISY_READERS):
        hall.read("noisy")
    await hall.until(lambda: any(room == "quiet" for room, _ in hall.writes))
    rooms = [room for room, _ in hall.writes]
    # A turn for the post, one for its reader to wake, one for what is under way.
    assert rooms.index("quiet") <= 3 * NOISY_READERS
    assert max(size for _, size in hall.writes) <= BATCH_BYTES
    # The noise goes on behind it and loses nothing.
    total = NOISY_READERS * sum(len(event.frame) for event in hall.store.read("noisy", 0, 1 << 40))
    await hall.until(lambda: sum(size for room, size in hall.writes if room == "noisy") == total)


async def test_posts_without_end_in_one_room_leave_the_others_their_turn(hall: Hall) -> None:
    for _ in range(NOISY_READERS):
        hall.read("noisy")
    hall.read("quiet")
    await hall.until(lambda: hall.broker.subscribers == NOISY_READERS + 1)

    async def shout() -> None:
        while True:
            await hall.store.append("noisy", b"noise")
            await asyncio.sleep(0)

    hall.tasks.append(asyncio.create_task(shout()))
    for number in range(1, 51):
        before = len(hall.writes)
        await hall.store.append("quiet", b"m")
        await hall.until(lambda number=number: sum(room == "quiet" for room, _ in hall.writes) == number)
        assert sum(room == "noisy" for room, _ in hall.writes[before:]) <= 2 * NOISY_READERS
