"""The rooms client against the real gateway, a process of its own."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from processes import Process, command, start_process

from participant.channel import (
    MAX_ENVELOPE,
    ChannelItem,
    Lost,
    Received,
    Restarted,
    RoomChannel,
    session_topic,
)
from participant.room_refusals import RoomBodyTooLarge
from participant.rooms import Backoff, Event, HistoryLost, Incarnation, RoomsClient

WAIT = 60.0
"""Seconds after which a test that hangs is stopped; nothing is asserted about time."""
READY = r"Listening on (http://\S+)"


def start(folder: Path, *, port: int = 0, rooms: str = "", server: str = "") -> Process:
    config = folder / "sign-gateway.yaml"
    config.write_text(
        f"server: {{host: 127.0.0.1, port: {port}{server}}}\ngrpc: {{host: 127.0.0.1, port: 0}}\nrooms: {{{rooms}}}\n"
    )
    return start_process(command("sign-gateway", config), READY)


def url_of(process: Process) -> str:
    assert process.ready is not None
    return str(process.ready[1])


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Process]:
    with start(tmp_path) as process:
        yield process


@asynccontextmanager
async def client(url: str, **options: Any) -> AsyncIterator[RoomsClient]:
    rooms = RoomsClient(url, backoff=Backoff(0.01, 0.1), **options)
    try:
        yield rooms
    finally:
        await rooms.close()


async def test_history_then_live(gateway: Process) -> None:
    async with asyncio.timeout(WAIT), client(url_of(gateway)) as rooms:
        await rooms.post("room", "first\nsecond line")
        async with aclosing(rooms.subscribe("room")) as items:
            assert await anext(items) == Event(0, "first\nsecond line")
            await rooms.post("room", "é")
            assert await anext(items) == Event(1, "é")
        assert rooms.counters.disconnects == 0


@pytest.mark.fault(1)
async def test_a_gateway_that_is_killed_and_comes_back_empty(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "participant.rooms")
    first = start(tmp_path)
    url = url_of(first)
    port = urlsplit(url).port
    assert port is not None
    try:
        async with asyncio.timeout(WAIT), client(url) as rooms, aclosing(rooms.subscribe("room")) as items:
            await rooms.post("room", "before")
            assert await anext(items) == Event(0, "before")
            waiting = asyncio.ensure_future(anext(items))
            first.kill()
            post = asyncio.create_task(rooms.post("room", "during"))
            while "Connection refused" not in caplog.text:  # noqa: ASYNC110 - a log record sets no event
                await asyncio.sleep(0.01)
            with await asyncio.to_thread(start, tmp_path, port=port):
                assert isinstance(await waiting, Incarnation)
                await post
                assert await anext(items) == Event(0, "during")
                await rooms.post("room", "after")
                assert await anext(items) == Event(1, "after")
                assert rooms.counters.incarnations == 1
    finally:
        first.kill()
    assert caplog.text.count("Connected to gateway at") == 2


async def test_a_drain_loses_nothing_and_is_no_error(
    gateway: Process, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        asyncio.timeout(WAIT),
        client(url_of(gateway)) as rooms,
        aclosing(rooms.subscribe("room")) as items,
    ):
        await rooms.post("room", "x")
        assert await anext(items) == Event(0, "x")
        waiting = asyncio.ensure_future(anext(items))
        await asyncio.to_thread(gateway.terminate)
        while rooms.counters.disconnects == 0:  # noqa: ASYNC110 - a counter sets no event
            await asyncio.sleep(0.01)
        assert rooms.reachable is False
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting


@pytest.mark.fault(1)
async def test_a_ring_that_has_turned(tmp_path: Path) -> None:
    with start(tmp_path, rooms="max_messages: 5") as process:
        async with asyncio.timeout(WAIT), client(url_of(process)) as rooms:
            for number in range(12):
                await rooms.post("room", str(number))
            async with aclosing(rooms.subscribe("room")) as items:
                found = [await anext(items) for _ in range(6)]
            assert found == [HistoryLost(7), *(Event(n, str(n)) for n in range(7, 12))]


async def test_heartbeats_keep_a_silent_room_alive(tmp_path: Path) -> None:
    """So many pass that a silence of that length would have been taken for death."""
    with start(tmp_path, rooms="heartbeat_seconds: 0.25") as process:
        async with asyncio.timeout(WAIT), client(url_of(process), heartbeat_timeout=3.0) as rooms:
            async with aclosing(rooms.subscribe("room")) as items:
                waiting = asyncio.ensure_future(anext(items))
                while rooms.counters.chunks < 16:  # noqa: ASYNC110 - a counter sets no event
                    await asyncio.sleep(0.01)
                assert not waiting.done()
                await rooms.post("room", "x")
                assert await waiting == Event(0, "x")
            assert rooms.counters.disconnects == 0


async def test_bodies_up_to_the_gateways_limit_and_above(tmp_path: Path, gateway: Process) -> None:
    envelope = bytes(range(256)) * (MAX_ENVELOPE // 256)
    async with (
        asyncio.timeout(WAIT),
        client(url_of(gateway)) as rooms,
        RoomChannel(rooms).open(session_topic(bytes(32))) as conversation,
        aclosing(conversation.events()) as items,
    ):
        await conversation.post(envelope, sender=0)
        assert await anext(items) == Received(envelope)
    with start(tmp_path, server=", max_body_bytes: 1000") as process:
        async with asyncio.timeout(WAIT), client(url_of(process)) as rooms:
            with pytest.raises(RoomBodyTooLarge, match="too large for the gateway"):
                await rooms.post("room", "x" * 1001)


async def test_two_conversations_hear_each_other_and_ignore_strangers(gateway: Process) -> None:
    topic = session_topic(bytes(range(32)))
    async with asyncio.timeout(WAIT), client(url_of(gateway)) as one, client(url_of(gateway)) as two:
        await two.post(topic.name, '{"sender":1,"receiver":null,"body":{"wallet-mpc":"of another kind"}}')
        async with RoomChannel(one).open(topic) as ours, RoomChannel(two).open(topic) as theirs:
            async with aclosing(ours.events()) as heard, aclosing(theirs.events()) as overheard:
                await ours.post(b"from one", sender=0)
                await theirs.post(b"from two", sender=1, receiver=0)
                both: list[list[ChannelItem]] = [
                    [await anext(e) for _ in range(2)] for e in (heard, overheard)
                ]
                assert both == [[Received(b"from one"), Received(b"from two")]] * 2
                assert not any(isinstance(item, Restarted | Lost) for items in both for item in items)
            assert ours.foreign == theirs.foreign == 1


@pytest.mark.fault(22)
async def test_a_stopped_gateway_is_dead_until_it_goes_on(gateway: Process) -> None:
    """SIGSTOP: the connection stands, no byte comes. The client reconnects and resumes where it was."""
    async with (
        asyncio.timeout(WAIT),
        client(url_of(gateway), heartbeat_timeout=0.5) as rooms,
        aclosing(rooms.subscribe("room")) as items,
    ):
        await rooms.post("room", "x")
        assert await anext(items) == Event(0, "x")
        gateway.send_signal(signal.SIGSTOP)
        waiting = asyncio.ensure_future(anext(items))
        while rooms.counters.disconnects == 0:  # noqa: ASYNC110 - a counter sets no event
            await asyncio.sleep(0.01)
        gateway.send_signal(signal.SIGCONT)
        await rooms.post("room", "y")
        assert await waiting == Event(1, "y")
