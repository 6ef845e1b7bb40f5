"""Gateways that share rooms through a real Redis: one order and one counter for all, whatever ends in between."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from gateway_testing import PATIENCE, GatewayProcess, Sse, new_room, running_gateway, subscribed
from redis import Redis
from redis_testing import RedisServer, running_redis


@contextlib.contextmanager
def gateways(
    redis: RedisServer, directory: Path, count: int = 1, **rooms: Any
) -> Iterator[list[GatewayProcess]]:
    settings = {"redis": {"url": redis.url, "timeout_seconds": 5}, "rooms": rooms}
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(running_gateway(directory, settings)) for _ in range(count)]


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


@pytest.fixture(scope="module")
def three(redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[GatewayProcess]]:
    with gateways(redis, tmp_path_factory.mktemp("gateways"), 3) as found:
        yield found


def client_of(redis: RedisServer) -> Redis:
    return Redis(unix_socket_path=f"{redis.directory}/redis.sock")


def room_is_gone(client: Redis, room: str) -> bool:
    return not client.exists(f"{{wallet-mpc}}:room:{room}")


def wait_until(condition: Any, *args: Any) -> None:
    """Each turn asks a server: nothing spins."""
    deadline = time.monotonic() + PATIENCE
    while not condition(*args):
        assert time.monotonic() < deadline


async def post(http: httpx2.AsyncClient, gateway: GatewayProcess, room: str, body: str) -> int:
    return (await http.post(gateway.room(room, "broadcast"), content=body)).status_code


# One room on many gateways


async def test_all_see_one_order_and_one_sequence_of_ids(three: list[GatewayProcess]) -> None:
    room = new_room()
    async with contextlib.AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx2.AsyncClient(timeout=PATIENCE))
        readers = [await stack.enter_async_context(subscribed(gateway, room)) for gateway in three]
        assert len({reader.incarnation for reader in readers}) == 1
        posts = [post(http, three[k % 3], room, f"message {k}") for k in range(60)]
        assert set(await asyncio.gather(*posts)) == {200}
        seen = [await reader.messages(60) for reader in readers]
    assert [event.id for event in seen[0]] == list(range(60))
    assert {event.data for event in seen[0]} == {f"message {k}" for k in range(60)}
    assert seen[0] == seen[1] == seen[2]


async def test_a_reader_resumes_on_another_gateway(three: list[GatewayProcess]) -> None:
    room = new_room()
    async with subscribed(three[0], room) as reader:
        for k in range(5):
            three[1].post(room, f"{k}")
        first = await reader.messages(3)
    async with subscribed(three[2], room, last_event_id=first[-1].id) as reader:
        three[1].post(room, "5")
        assert [event.data for event in await reader.messages(3)] == ["3", "4", "5"]


async def test_messages_of_every_size_arrive_on_the_others(three: list[GatewayProcess]) -> None:
    room = new_room()
    bodies = ["", "a\nb", "ü" * 70_000, "x" * (8 << 20)]
    async with subscribed(three[0], room) as reader, subscribed(three[1], room) as other:
        for body in bodies:
            assert three[2].post(room, body).status_code == 200
        assert [event.data for event in await reader.messages(4)] == bodies
        assert [event.data for event in await other.messages(4)] == bodies


async def test_no_index_is_given_twice(three: list[GatewayProcess]) -> None:
    room = new_room()
    async with httpx2.AsyncClient(timeout=PATIENCE) as http:
        answers = await asyncio.gather(
            *(http.post(three[k % 3].room(room, "issue_unique_idx")) for k in range(60))
        )
    assert sorted(answer.json()["unique_idx"] for answer in answers) == list(range(60))


# How rooms end


def test_a_room_expires_in_the_store(redis: RedisServer, tmp_path: Path) -> None:
    room = new_room()
    with gateways(redis, tmp_path, idle_seconds=0.2) as (gateway,):
        gateway.post(room, "m")
    # Nobody is left who could do it.
    with client_of(redis) as client:
        wait_until(room_is_gone, client, room)
        assert not client.keys(f"*{room}")


async def test_a_room_that_somebody_reads_lives_on(redis: RedisServer, tmp_path: Path) -> None:
    room, other = new_room(), new_room()
    with (
        gateways(redis, tmp_path, idle_seconds=0.4, min_idle_seconds=0.4) as (gateway,),
        client_of(redis) as client,
    ):
        async with subscribed(gateway, room) as reader:
            for _ in range(3):
                gateway.post(other, "m")
                await asyncio.to_thread(wait_until, room_is_gone, client, other)
            gateway.post(room, "still here")
            assert (await reader.message()).id == 0


def test_as_many_rooms_as_there_may_be(tmp_path: Path) -> None:
    with running_redis() as redis:
        with gateways(redis, tmp_path, max_rooms=2) as (gateway,):
            assert [gateway.post(room, "m").status_code for room in ("a", "b", "a")] == [200] * 3
            refused = gateway.post("c", "m")
            assert (refused.status_code, refused.json()["error"]) == (503, "rooms_full")
        with gateways(redis, tmp_path, max_rooms=2, min_idle_seconds=0) as (gateway,):
            assert gateway.post("c", "m").status_code == 200
        with client_of(redis) as client:
            assert sorted(client.zrange("{wallet-mpc}:rooms", 0, -1)) == [b"a", b"c"]
            assert room_is_gone(client, "b")


def test_the_ring_drops_the_oldest_by_number_and_by_bytes(redis: RedisServer, tmp_path: Path) -> None:
    room = new_room()
    with gateways(redis, tmp_path, max_messages=3) as (gateway,), client_of(redis) as client:
        for k in range(5):
            gateway.post(room, f"{k}")
        entries = client.xrange(f"{{wallet-mpc}}:log:{room}")
        assert [body[b"b"] for _, body in entries] == [b"2", b"3", b"4"]
        assert client.hget(f"{{wallet-mpc}}:room:{room}", "bytes") == b"3"


def test_a_store_without_memory_says_so(tmp_path: Path) -> None:
    with (
        running_redis("--maxmemory", "3mb", "--maxmemory-policy", "noeviction") as redis,
        gateways(redis, tmp_path) as (gateway,),
    ):
        answers = [gateway.post(new_room(), "x" * 500_000) for _ in range(12)]
        assert answers[0].status_code == 200
        refused = answers[-1]
        assert (refused.status_code, refused.json()["error"]) == (503, "memory_full")
        assert refused.headers["retry-after"]


# What happens to servers


async def next_message(gateway: GatewayProcess, room: str, last: int) -> Sse:
    async with subscribed(gateway, room, last_event_id=last) as reader:
        return await reader.message()


def posted(gateway: GatewayProcess, room: str, body: str) -> bool:
    answer = gateway.post(room, body)
    if answer.status_code != 200:
        assert (answer.status_code, answer.json()["error"]) == (503, "store_unavailable")
        assert int(answer.headers["retry-after"]) >= 1
    return answer.status_code == 200


def ready(gateway: GatewayProcess) -> bool:
    return httpx2.get(f"{gateway.url}/readyz", timeout=PATIENCE).status_code == 200


async def test_a_redis_that_is_killed_and_forgets_everything(tmp_path: Path) -> None:
    room = new_room()
    with running_redis() as redis, gateways(redis, tmp_path, 2) as (gateway, other):
        async with subscribed(gateway, room) as reader:
            gateway.post(room, "before")
            assert (await reader.message()).data == "before"
            redis.kill()
            assert not posted(gateway, room, "lost")
            assert not ready(gateway)
            redis.start()
            await asyncio.to_thread(wait_until, posted, other, room, "after")
            # Its room is not the one that it read: it is sent away, and learns of it when it comes again.
            assert [event.data.partition(" ")[0] for event in await reader.rest()] == ["cut"]
        async with subscribed(gateway, room) as again:
            assert again.incarnation != reader.incarnation
            assert await again.message() == Sse("new-message", 0, "after")
        wait_until(ready, gateway)


async def test_a_redis_that_is_killed_and_remembers(tmp_path: Path) -> None:
    room = new_room()
    durable = ("--appendonly", "yes", "--appendfsync", "always")
    with running_redis(*durable) as redis, gateways(redis, tmp_path, 2) as (gateway, other):
        async with subscribed(gateway, room) as reader:
            gateway.post(room, "before")
            assert (await reader.message()).id == 0
            redis.kill()
            assert not posted(other, room, "lost")
            redis.start()
            await asyncio.to_thread(wait_until, posted, other, room, "after")
            # The same subscription goes on, though nobody told it of what came while it did not listen.
            assert await reader.message() == Sse("new-message", 1, "after")
        assert (await next_message(other, room, 0)).data == "after"


async def test_a_gateway_that_is_killed_takes_nothing_with_it(redis: RedisServer, tmp_path: Path) -> None:
    room = new_room()
    with gateways(redis, tmp_path) as (survivor,):
        with gateways(redis, tmp_path) as (gateway,):
            for k in range(3):
                gateway.post(room, f"{k}")
            gateway.process.kill()
        assert (await next_message(survivor, room, 1)).data == "2"
        survivor.post(room, "3")
        assert (await next_message(survivor, room, 2)).id == 3
