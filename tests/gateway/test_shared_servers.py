"""What happens to shared stores when their servers are killed, come back, lose something, or are not heard any more."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import pytest
from deaf_proxy import deaf_proxy
from redis_testing import running_redis
from store_testing import SHARED, Reader, StoreServer, copy_of, go_back, running_store, stores, until

from gateway.settings import RoomsSettings
from gateway.shared import SharedStore
from gateway.store import StoreUnavailable


@pytest.fixture(scope="module", params=SHARED)
def server(request: pytest.FixtureRequest) -> Iterator[StoreServer]:
    with running_store(request.param) as found:
        yield found


@pytest.mark.parametrize("kind", SHARED)
async def test_a_server_that_forgets_tells_readers(kind: str) -> None:
    with running_store(kind) as server:
        async with stores(server, 2) as (store, other):
            reader = await Reader().open(store, "room")
            await other.append("room", b"m")
            await reader.read(1)
            server.kill()
            with pytest.raises(StoreUnavailable):
                await store.append("room", b"lost")
            assert await store.check() is not None
            server.start()
            assert await reader.is_lost()

            async def works() -> bool:
                return await other.check() is None

            await until(works)
            assert await other.append("room", b"first") == 0


async def test_a_message_whose_answer_is_lost_is_there_and_posted_again_there_twice(
    server: StoreServer,
) -> None:
    async with stores(server, prefix="deaf") as (store,), deaf_proxy(server.address) as proxy:
        behind = server.store(RoomsSettings(), "deaf", port=proxy.port, seconds=1)
        reader = await Reader().open(store, "room")

        async def known() -> bool:
            with contextlib.suppress(StoreUnavailable):
                await behind.append("room", b"before")
                return True
            return False

        await until(known)
        proxy.swallow_answers()
        with pytest.raises(StoreUnavailable):
            await behind.append("room", b"unanswered")
        # What was said to the server before it was closed is done.
        await behind.close()
        last = await store.append("room", b"unanswered")
        assert await reader.read(last + 1) == list(range(last + 1))
        assert reader.bodies[-3:] == [b"before", b"unanswered", b"unanswered"]


@pytest.mark.parametrize("kind", SHARED)
async def test_a_server_that_lost_the_end_of_a_room_tells_readers(kind: str) -> None:
    with running_store(kind, durable=True) as server:
        async with stores(server, 2) as (store, other):
            reader, second = await Reader().open(store, "room"), await Reader().open(other, "room")
            await other.append("room", b"kept")
            copy = copy_of(server)
            for _ in range(3):
                await other.append("room", b"lost")
            assert await reader.read(4) == await second.read(4) == [0, 1, 2, 3]
            go_back(server, copy)
            assert await reader.is_lost()
            assert await second.is_lost()
            again = await Reader().open(store, "room")
            assert again.watch.view.incarnation != reader.watch.view.incarnation
            assert (again.watch.view.oldest, again.watch.view.next_id) == (0, 0)
            assert await other.append("room", b"new") == 0
            assert await again.read(1) == [0]


@pytest.mark.parametrize("kind", SHARED)
async def test_what_was_answered_is_there_whenever_the_server_is_killed(kind: str) -> None:
    with running_store(kind, durable=True) as server:
        async with stores(server, 3) as shared:
            reader = await Reader().open(shared[0], "room")
            stored: dict[int, bytes] = {}
            indices: list[int] = []
            killed = asyncio.Event()

            async def write(store: SharedStore, who: int) -> None:
                for k in range(60):
                    body = b"%d-%d" % (who, k)
                    try:
                        stored[await store.append("room", body)] = body
                        indices.append(await store.next_index("room"))
                    except StoreUnavailable:
                        # As a client that was answered 503 waits; what it posted may be there.
                        await asyncio.sleep(0.02)
                    if len(stored) >= 20:
                        killed.set()

            async def kill() -> None:
                await killed.wait()
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start)

            await asyncio.gather(*(write(store, who) for who, store in enumerate(shared)), kill())

            async def works() -> bool:
                return await shared[1].check() is None

            await until(works)
            final = await shared[1].append("room", b"final")
            assert await reader.read(final + 1) == list(range(final + 1))
            assert {number: reader.bodies[number] for number in stored} == stored
            assert len(set(indices)) == len(indices)


async def test_redis_with_a_log_loses_nothing_when_it_is_killed() -> None:
    with running_redis("--appendonly", "yes", "--appendfsync", "everysec") as server:
        async with stores(server) as (store,):
            for k in range(50):
                assert await store.append("room", b"%d" % k) == k
                assert await store.next_index("room") == k
            before = await store.watch("room", lambda _: None)
            server.kill()
            server.start()

            async def works() -> bool:
                return await store.check() is None

            await until(works)
            reader = await Reader().open(store, "room")
            assert reader.watch.view == before.view
            assert await reader.read(50) == list(range(50))
            assert await store.next_index("room") == 50
