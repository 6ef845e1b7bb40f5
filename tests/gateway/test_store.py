"""What every store promises (each store runs the same tests), and what the one in memory does on its own clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence

import pytest
from gateway_testing import PATIENCE
from nats_testing import NatsServer, running_nats
from redis_testing import RedisServer, running_redis

from gateway.memory import MemoryStore
from gateway.settings import RoomsSettings
from gateway.store import Event, HistoryLost, RoomStore, StoreFull


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


def limits(**values: float) -> RoomsSettings:
    return RoomsSettings.model_validate(values)


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


@pytest.fixture(scope="module")
def nats_server() -> Iterator[NatsServer]:
    with running_nats() as server:
        yield server


@pytest.fixture(params=["memory", "redis", "nats"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[RoomStore]:
    bounds = limits(max_messages=5)
    if request.param == "memory":
        made: RoomStore = MemoryStore(bounds)
    else:
        made = request.getfixturevalue(f"{request.param}_server").store(bounds)
    yield made
    await made.close()


BATCH = 1 << 20


def nothing(_: int) -> None:
    pass


async def read(store: RoomStore, room: str, start: int, max_bytes: int = BATCH) -> Sequence[Event]:
    """By a reader that comes for it."""
    watch = await store.watch(room, nothing)
    try:
        return await watch.read(start, max_bytes)
    finally:
        watch.close()


async def test_ids_count_from_0_per_room(store: RoomStore) -> None:
    assert [await store.append("a", b"m") for _ in range(3)] == [0, 1, 2]
    assert await store.append("b", b"m") == 0


async def test_reading_gives_what_was_appended_in_order(store: RoomStore) -> None:
    for number in range(4):
        await store.append("a", b"m%d" % number)
    for start in range(5):
        expected = [Event.encode(number, b"m%d" % number) for number in range(start, 4)]
        assert list(await read(store, "a", start)) == expected


async def test_reading_is_bounded_but_always_goes_on(store: RoomStore) -> None:
    for _ in range(3):
        await store.append("a", b"x" * 100)
    size = len(Event.encode(0, b"x" * 100).frame)
    assert [event.id for event in await read(store, "a", 0, 1)] == [0]
    assert [event.id for event in await read(store, "a", 0, 2 * size)] == [0, 1]


async def test_what_left_the_ring_is_lost_by_name(store: RoomStore) -> None:
    for _ in range(8):
        await store.append("a", b"m")
    with pytest.raises(HistoryLost) as caught:
        await read(store, "a", 2)
    assert caught.value.oldest == 3
    assert [event.id for event in await read(store, "a", 3)] == [3, 4, 5, 6, 7]


async def test_a_watch_tells_of_every_append_after_its_view(store: RoomStore) -> None:
    await store.append("a", b"m")
    told: list[int] = []
    all_told = asyncio.Event()

    def tell(next_id: int) -> None:
        told.append(next_id)
        if next_id == 3:
            all_told.set()

    watch = await store.watch("a", tell)
    assert (watch.view.oldest, watch.view.next_id) == (0, 1)
    await store.append("a", b"m")
    await store.append("b", b"m")
    await store.append("a", b"m")
    async with asyncio.timeout(PATIENCE):
        await all_told.wait()
    watch.close()
    watch.close()
    await store.append("a", b"m")
    assert told == [2, 3]


async def test_indices_are_a_counter_of_their_own(store: RoomStore) -> None:
    assert [await store.next_index("a") for _ in range(3)] == [0, 1, 2]
    assert await store.next_index("b") == 0
    assert await store.append("a", b"m") == 0


async def test_the_incarnation_is_the_rooms(store: RoomStore) -> None:
    views = [(await store.watch(room, nothing)).view for room in ("a", "a", "b")]
    assert views[0].incarnation == views[1].incarnation != views[2].incarnation
    assert views[0].incarnation.isalnum()


async def test_a_store_says_that_it_works(store: RoomStore) -> None:
    assert await store.check() is None
    await store.close()


async def test_memory_rooms_live_until_they_idled_long_enough() -> None:
    clock = Clock()
    store = MemoryStore(limits(idle_seconds=10), clock)
    await store.append("posted", b"m")
    watch = await store.watch("watched", nothing)
    before = watch.view.incarnation
    clock.time += 9
    await store.next_index("indexed")
    assert await store.expire() == 0
    clock.time += 2
    assert await store.expire() == 1
    assert store.rooms == 2
    clock.time += 100
    assert await store.expire() == 1
    # The idle life begins when the last watcher leaves.
    watch.close()
    clock.time += 9
    assert await store.expire() == 0
    clock.time += 2
    assert await store.expire() == 1
    assert (store.rooms, store.total_bytes) == (0, 0)
    assert (await store.watch("watched", nothing)).view.incarnation != before


async def test_memory_makes_place_by_dropping_the_longest_idle_room() -> None:
    clock = Clock()
    store = MemoryStore(limits(max_rooms=2, min_idle_seconds=5), clock)
    await store.append("a", b"m")
    clock.time += 1
    await store.append("b", b"m")
    clock.time += 1
    await store.append("a", b"m")
    clock.time += 3.5
    with pytest.raises(StoreFull) as caught:
        await store.append("c", b"m")
    assert caught.value.reason == "rooms_full"
    clock.time += 1
    # b idles for 5.5 seconds, a for 4.5.
    await store.append("c", b"m")
    assert await store.append("a", b"m") == 2
    assert store.rooms == 2


async def test_memory_never_exceeds_its_bytes() -> None:
    clock = Clock()
    frame = len(Event.encode(0, b"x" * 100).frame)
    store = MemoryStore(limits(max_bytes=3 * frame, max_total_bytes=5 * frame, min_idle_seconds=0), clock)
    for _ in range(4):
        await store.append("a", b"x" * 100)
    assert store.total_bytes == 3 * frame
    watch = await store.watch("b", nothing)
    for _ in range(3):
        await store.append("b", b"x" * 100)
    # Idle room a went for it.
    assert (store.rooms, store.total_bytes) == (1, 3 * frame)
    other = await store.watch("c", nothing)
    for _ in range(5):
        await store.append("c", b"x" * 100)
        assert store.total_bytes <= 5 * frame
    # c drops its own past for its present, never b's.
    assert len(await read(store, "b", 0)) == 3
    with pytest.raises(HistoryLost):
        await read(store, "c", 0)
    with pytest.raises(StoreFull) as caught:
        await store.append("d", b"x" * 300)
    assert caught.value.reason == "memory_full"
    watch.close()
    other.close()


def test_an_event_is_encoded_as_the_wire_says() -> None:
    assert Event.encode(7, b"a\nb").frame == b"event: new-message\nid: 7\ndata: a\ndata: b\n\n"
    assert Event.encode(0, b"").frame == b"event: new-message\nid: 0\ndata: \n\n"
