"""Gateways that share rooms through a real Redis or NATS: one order and one counter for all, whatever ends in between."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from gateway_testing import PATIENCE, GatewayProcess, Sse, new_room, running_gateway, subscribed
from store_testing import SHARED, StoreServer, running_store


@contextlib.contextmanager
def gateways(server: StoreServer, directory: Path, count: int = 1) -> Iterator[list[GatewayProcess]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(running_gateway(directory, server.settings)) for _ in range(count)]


@pytest.fixture(scope="module", params=SHARED)
def server(request: pytest.FixtureRequest) -> Iterator[StoreServer]:
    with running_store(request.param) as found:
        yield found


@pytest.fixture(scope="module")
def three(server: StoreServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[GatewayProcess]]:
    with gateways(server, tmp_path_factory.mktemp("gateways"), 3) as found:
        yield found


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


def unique_idx(gateway: GatewayProcess, room: str) -> int:
    found: int = httpx2.post(gateway.room(room, "issue_unique_idx"), timeout=PATIENCE).json()["unique_idx"]
    return found


def ready(gateway: GatewayProcess) -> bool:
    return httpx2.get(f"{gateway.url}/readyz", timeout=PATIENCE).status_code == 200


@pytest.mark.parametrize("kind", SHARED)
async def test_a_store_that_is_killed_and_forgets_everything(kind: str, tmp_path: Path) -> None:
    room = new_room()
    with running_store(kind) as server, gateways(server, tmp_path, 2) as (gateway, other):
        async with subscribed(gateway, room) as reader:
            gateway.post(room, "before")
            assert (await reader.message()).data == "before"
            server.kill()
            assert not posted(gateway, room, "lost")
            assert not ready(gateway)
            server.start()
            await asyncio.to_thread(wait_until, posted, other, room, "after")
            # Its room is not the one that it read: it is sent away, and learns of it when it comes again.
            assert [event.data.partition(" ")[0] for event in await reader.rest()] == ["cut"]
        async with subscribed(gateway, room) as again:
            assert again.incarnation != reader.incarnation
            assert await again.message() == Sse("new-message", 0, "after")
        wait_until(ready, gateway)


@pytest.mark.parametrize("kind", SHARED)
async def test_a_store_that_is_killed_and_remembers(kind: str, tmp_path: Path) -> None:
    room = new_room()
    with running_store(kind, durable=True) as server, gateways(server, tmp_path, 2) as (gateway, other):
        async with subscribed(gateway, room) as reader:
            for k in range(20):
                gateway.post(room, f"{k}")
            assert [event.id for event in await reader.messages(20)] == list(range(20))
            indices = [unique_idx(other, room) for _ in range(3)]
            server.kill()
            assert not posted(other, room, "lost")
            server.start()
            await asyncio.to_thread(wait_until, posted, other, room, "after")
            # The same subscription goes on, though nobody told it of what came while it did not listen.
            assert await reader.message() == Sse("new-message", 20, "after")
        async with subscribed(other, room) as again:
            assert again.incarnation == reader.incarnation
            assert [event.data for event in await again.messages(21)] == [*map(str, range(20)), "after"]
        assert unique_idx(gateway, room) not in indices


@pytest.mark.parametrize("kind", SHARED)
async def test_a_store_that_does_not_answer_keeps_no_heartbeat_back(kind: str, tmp_path: Path) -> None:
    """Its process is stopped, and the gateway waits for an answer longer than the reader does for its next line."""
    room = new_room()
    patient = {"timeout_seconds": 10 * PATIENCE}
    with running_store(kind) as server:
        store = {section: {**values, **patient} for section, values in server.settings.items()}
        with running_gateway(tmp_path, {**store, "rooms": {"heartbeat_seconds": 0.1}}) as gateway:
            async with subscribed(gateway, room) as reader:
                assert server.process is not None
                server.process.send_signal(signal.SIGSTOP)
                # Housekeeping asks the store once a second.
                for _ in range(30):
                    assert (await reader.next()) in (Sse("retry", None, "5000"), Sse(":", None, "ping"))
                server.process.send_signal(signal.SIGCONT)
                assert gateway.post(room, "after").status_code == 200
                assert (await reader.message()).data == "after"


async def test_a_gateway_that_is_killed_takes_nothing_with_it(
    server: StoreServer, three: list[GatewayProcess], tmp_path: Path
) -> None:
    room = new_room()
    with gateways(server, tmp_path) as (gateway,):
        for k in range(3):
            gateway.post(room, f"{k}")
        gateway.process.kill()
    assert (await next_message(three[0], room, 1)).data == "2"
    three[1].post(room, "3")
    assert (await next_message(three[2], room, 2)).id == 3
