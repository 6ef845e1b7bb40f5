"""What stores promise that several gateways share, each with its real server and two gateways' stores in one process."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Iterator
from random import Random

import pytest
from store_testing import SHARED, Reader, StoreServer, running_store, stores, until

from gateway.shared import SharedStore
from gateway.store import HistoryLost, StoreFull


@pytest.fixture(scope="module", params=SHARED)
def server(request: pytest.FixtureRequest) -> Iterator[StoreServer]:
    with running_store(request.param) as found:
        yield found


# One room on several gateways


async def test_whoever_writes_there_is_one_order_without_gaps(server: StoreServer) -> None:
    async with stores(server, 3) as shared:
        readers = [await Reader().open(store, "room") for store in shared]
        ids = await asyncio.gather(*(shared[k % 3].append("room", b"%d" % k) for k in range(150)))
        assert sorted(ids) == list(range(150))
        for reader in readers:
            assert await reader.read(150) == list(range(150))
        assert readers[0].bodies == readers[1].bodies == readers[2].bodies
        assert [readers[0].bodies[number] for number in ids] == [b"%d" % k for k in range(150)]


async def test_indices_and_messages_of_several_gateways_do_not_disturb_each_other(
    server: StoreServer,
) -> None:
    async with stores(server, 3, max_messages=50) as shared:
        reader = await Reader().open(shared[0], "room")
        indices = asyncio.gather(*(shared[k % 3].next_index("room") for k in range(60)))
        ids = await asyncio.gather(*(shared[k % 3].append("room", b"m") for k in range(40)))
        assert sorted(await indices) == list(range(60))
        assert sorted(ids) == list(range(40))
        assert await reader.read(40) == list(range(40))


async def test_rooms_are_told_apart_whatever_their_names_are(server: StoreServer) -> None:
    names = [
        "a.b",
        "a",
        "b",
        "*",
        ">",
        "a b",
        "=2A",
        "ü" * 128,
        "%20",
        "-",
        "a/b",
        "\N{SNOWMAN}",
        "$JS",
        "a:b",
    ]
    async with stores(server, 2) as (store, other):
        for name in names:
            assert await store.append(name, name.encode()) == 0
        for name in names:
            reader = await Reader().open(other, name)
            assert await reader.read(1) == [0]
            assert reader.bodies == [name.encode()]


async def test_a_long_history_is_read_from_anywhere(server: StoreServer) -> None:
    async with stores(server, 2) as (store, other):
        for k in range(700):
            await store.append("room", b"%d" % k)
            if not k % 7:
                await store.append("neighbour", b"m")
        watch = await other.watch("room", lambda _: None)
        for start in (0, 1, 333, 698, 699):
            at = start
            while at < 700:
                events = await watch.read(at, 20_000)
                assert [event.id for event in events] == list(range(at, at + len(events)))
                at += len(events)
            assert at == 700
        assert not await watch.read(700, 20_000)


async def test_what_was_appended_while_nobody_listened_is_read(server: StoreServer) -> None:
    async with stores(server, 2) as (store, other):
        first = await Reader().open(store, "room")
        await other.append("room", b"one")
        assert await first.read(1) == [0]
        first.watch.close()
        await other.append("room", b"two")
        second = await Reader().open(store, "room")
        await other.append("room", b"three")
        assert await second.read(3) == [0, 1, 2]
        assert second.bodies == [b"one", b"two", b"three"]


async def test_a_room_that_is_left_and_entered_again_at_once_is_heard(server: StoreServer) -> None:
    async with stores(server, 2) as (store, other):

        async def come_and_go(room: str) -> None:
            for _ in range(5):
                (await store.watch(room, lambda _: None)).close()
                left = asyncio.create_task(store.watch(room, lambda _: None))
                await asyncio.sleep(0)
                left.cancel()
            reader = await Reader().open(store, room)
            await other.append(room, b"m")
            assert await reader.read(1) == [0]
            reader.watch.close()

        await asyncio.gather(*(come_and_go(f"room {k}") for k in range(10)))
        assert not store._watched


# Bounds


async def test_a_room_keeps_so_many_bytes(server: StoreServer) -> None:
    async with stores(server, 2, max_bytes=2500) as shared:
        for k in range(6):
            await shared[k % 2].append("room", b"x" * 1000)
        for store in shared:
            watch = await store.watch("room", lambda _: None)
            assert (watch.view.oldest, watch.view.next_id) == (4, 6)
            with pytest.raises(HistoryLost) as caught:
                await watch.read(3, 10_000)
            assert caught.value.oldest == 4
            assert [event.id for event in await watch.read(4, 10_000)] == [4, 5]


async def test_indices_do_not_drive_out_messages(server: StoreServer) -> None:
    async with stores(server, 1, max_messages=3) as (store,):
        for _ in range(5):
            await store.append("room", b"m")
        for _ in range(40):
            await store.next_index("room")
        watch = await store.watch("room", lambda _: None)
        assert (watch.view.oldest, watch.view.next_id) == (2, 5)
        assert [event.id for event in await watch.read(2, 10_000)] == [2, 3, 4]


async def test_there_are_as_many_rooms_as_there_may_be(server: StoreServer) -> None:
    async with stores(server, 2, max_rooms=2) as (store, other):
        assert [await store.append(room, b"m") for room in ("a", "b", "a")] == [0, 0, 1]
        with pytest.raises(StoreFull) as caught:
            await other.append("c", b"m")
        assert caught.value.reason == "rooms_full"
        assert await other.append("b", b"m") == 1


async def test_the_longest_idle_room_makes_place(server: StoreServer) -> None:
    async with stores(server, 2, max_rooms=2, min_idle_seconds=0) as (store, other):
        for room in ("b", "a", "b"):
            await store.append(room, b"m")
        assert await other.append("c", b"m") == 0
        assert not await server.keeps(store, "a")
        assert await store.append("b", b"m") == 2


@pytest.mark.parametrize("kind", SHARED)
async def test_a_full_store_says_so_and_keeps_what_it_has(kind: str) -> None:
    # Redis has its own bound, of the server; a NATS stream is made with that of the settings.
    with running_store(kind, max_bytes=4_000_000) as server:
        async with stores(server, 2, max_total_bytes=4_000_000) as (store, other):

            async def fill() -> None:
                for k in range(20):
                    await store.append(f"room {k}", b"x" * 500_000)

            with pytest.raises(StoreFull) as caught:
                await fill()
            assert caught.value.reason == "memory_full"
            assert await store.check() is None
            reader = await Reader().open(other, "room 0")
            assert await reader.read(1) == [0]


# How rooms end


async def test_a_room_ends_in_the_store_by_itself_and_begins_anew(server: StoreServer) -> None:
    async with stores(server, 2, idle_seconds=2) as (store, other):
        await store.append("room", b"m")
        assert [await store.next_index("room") for _ in range(2)] == [0, 1]
        watch = await store.watch("room", lambda _: None)
        assert watch.view.next_id == 1
        # Nobody is left who could end it: `other` does no housekeeping.
        await store.close()

        async def gone() -> bool:
            return not await server.keeps(other, "room")

        await until(gone)
        again = await other.watch("room", lambda _: None)
        assert again.view.incarnation != watch.view.incarnation
        assert (again.view.oldest, again.view.next_id) == (0, 0)
        assert (await other.append("room", b"m"), await other.next_index("room")) == (0, 0)


async def test_a_room_that_somebody_reads_lives_on(server: StoreServer) -> None:
    async with stores(server, 2, idle_seconds=3, min_idle_seconds=3) as (store, other):
        reader = await Reader().open(store, "room")
        await other.append("other", b"m")

        async def other_is_gone() -> bool:
            await store.expire()
            return not await server.keeps(other, "other")

        await until(other_is_gone)
        await other.append("room", b"still here")
        assert await reader.read(1) == [0]


async def test_housekeeping_outlives_a_room_that_was_lost_and_has_no_place(server: StoreServer) -> None:
    async with stores(server, 2, max_rooms=1, idle_seconds=0.2, min_idle_seconds=0.2) as (store, other):
        await Reader().open(store, "room")

        async def taken() -> bool:
            try:
                await other.append("other", b"m")
            except StoreFull:
                return False
            return True

        await until(taken)
        await store.expire()
        assert await store.check() is None


@pytest.mark.parametrize("seed", [1])
async def test_rooms_that_come_and_go_tell_all_readers_one_story(server: StoreServer, seed: int) -> None:
    """Rooms end, are dropped for others and are written to, all at once, by gateways that know nothing of each other."""
    random = Random(seed)
    bounds = {"idle_seconds": 0.15, "min_idle_seconds": 0, "max_rooms": 3, "max_messages": 4}
    story: dict[tuple[str, str, int], bytes] = {}
    bodies = itertools.count()

    async def read(store: SharedStore, room: str) -> None:
        watch = await store.watch(room, lambda _: None)
        at = watch.view.oldest
        while at < watch.view.next_id:
            try:
                events = await watch.read(at, 1 << 20)
            except HistoryLost as error:
                at = max(error.oldest, at + 1)
                continue
            if not events:
                # The room is another one by now.
                break
            for event in events:
                assert event.id == at, f"seed {seed}"
                known = story.setdefault((room, watch.view.incarnation, at), event.frame)
                assert known == event.frame, f"seed {seed}"
                at += 1
        watch.close()

    async def act(store: SharedStore) -> None:
        for _ in range(40):
            room = f"room{random.randrange(5)}"
            with contextlib.suppress(StoreFull):
                match random.randrange(8):
                    case 0:
                        await store.expire()
                    case 1 | 2:
                        await read(store, room)
                    case 3:
                        # Long enough for some rooms to end.
                        await asyncio.sleep(random.random() / 10)
                    case _:
                        await store.append(room, b"%d" % next(bodies))

    async with stores(server, 3, **bounds) as shared:
        await asyncio.gather(*(act(store) for store in shared * 2))
    assert len({incarnation for _, incarnation, _ in story}) > 5
    # No message stands in a room twice, or in two.
    assert len({frame.split(b"data: ")[1] for frame in story.values()}) == len(story)
