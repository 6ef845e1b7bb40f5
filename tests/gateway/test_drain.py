"""SIGTERM: readers move to another gateway and miss nothing that was accepted."""

from __future__ import annotations

import asyncio
import signal
import threading
from pathlib import Path

import httpx2
import pytest
from gateway_testing import PATIENCE, GatewayProcess, RawClient, Sse, new_room, running_gateway, subscribed
from redis_testing import running_redis

MESSAGES = 100


def metrics_url(gateway: GatewayProcess) -> str:
    match = gateway.process.wait_for(r"Metrics on (http://\S+)")
    return match[1]


class Poster(threading.Thread):
    """Posts numbers in turn to the gateways, and what one of them does not take to the next."""

    def __init__(self, gateways: list[GatewayProcess], room: str) -> None:
        super().__init__()
        self.gateways = gateways
        self.room = room
        self.refused: set[str] = set()

    def run(self) -> None:
        with httpx2.Client(timeout=PATIENCE) as http:
            for number in range(MESSAGES):
                turn = number
                while not self._took(http, self.gateways[turn % len(self.gateways)], number):
                    turn += 1

    def _took(self, http: httpx2.Client, gateway: GatewayProcess, number: int) -> bool:
        try:
            answer = http.post(gateway.room(self.room, "broadcast"), content=str(number))
        except httpx2.TransportError:
            self.refused.add("gone")
            return False
        if answer.status_code != 200:
            self.refused.add(answer.json()["error"])
        return answer.status_code == 200


async def read(
    gateway: GatewayProcess, room: str, events: list[Sse], until: int, grown: asyncio.Event | None = None
) -> None:
    """Events into the list, from the last one on, until it has so many or the stream ends."""
    async with subscribed(gateway, room, events[-1].id if events else None) as reader:
        while len(events) < until and (event := await reader.next()) is not None:
            if event.event == "new-message":
                events.append(event)
                if grown is not None:
                    grown.set()
            if event.event == ":" and "closing" in event.data:
                assert await reader.next() is None


@pytest.mark.fault(1)
async def test_readers_move_to_another_gateway_and_miss_nothing(tmp_path: Path) -> None:
    settings = {"metrics": {"port": 0}}
    with running_redis() as redis:
        settings["redis"] = {"url": redis.url, "timeout_seconds": 20}
        with running_gateway(tmp_path, settings) as first, running_gateway(tmp_path, settings) as second:
            room, events = new_room(), list[Sse]()
            poster = Poster([first, second], room)
            poster.start()
            await read(first, room, events, MESSAGES // 3)
            grown = asyncio.Event()
            leaving = asyncio.create_task(read(first, room, events, MESSAGES * 2, grown))
            await grown.wait()
            first.process.send_signal(signal.SIGTERM)
            await leaving
            moved_at = len(events)
            assert first.process.wait() == 0
            await asyncio.to_thread(poster.join)
            last = httpx2.post(second.room(room, "broadcast"), content="last", timeout=PATIENCE)
            assert last.status_code == 200
            while not events or events[-1].data != "last":
                await read(second, room, events, len(events) + 1)
    assert moved_at <= len(events)
    assert [event.id for event in events] == list(range(len(events)))
    numbers = [int(event.data) for event in events[:-1]]
    # Posted again where the first answer was lost, never lost itself.
    assert list(dict.fromkeys(numbers)) == list(range(MESSAGES))
    assert poster.refused <= {"draining", "gone"}


def test_while_it_drains_it_is_not_ready_and_takes_nothing_that_readers_would_miss(tmp_path: Path) -> None:
    with (
        running_gateway(tmp_path, {"metrics": {"port": 0}, "server": {"drain_seconds": 60}}) as gateway,
        RawClient(gateway.host, gateway.port) as half,
    ):
        health = metrics_url(gateway)
        assert httpx2.get(f"{health}/readyz").status_code == 200
        head = "POST /rooms/room/broadcast HTTP/1.1\r\nHost: g\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        half.send(head.encode()).read_until(b"\r\n\r\n")
        gateway.process.send_signal(signal.SIGTERM)
        gateway.process.wait_for('"draining"')
        answer = httpx2.get(f"{health}/readyz", timeout=PATIENCE)
        assert (answer.status_code, answer.json()["failing"]) == (503, {"drain": "the daemon is ending"})
        assert httpx2.get(f"{health}/healthz", timeout=PATIENCE).status_code == 200
        said = half.send(b"ok").read_until(b"}")
        assert said.startswith(b"HTTP/1.1 503 ")
        assert b'"draining"' in said
        assert gateway.process.wait() == 0
