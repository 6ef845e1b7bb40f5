"""The gateway's own failures: answered where that is still possible, counted, and handed on to the server, which logs them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from gateway.access import Access
from gateway.http_api import GatewayApp
from gateway.limits import ClientLimits
from gateway.memory import MemoryStore
from gateway.meters import Meters
from gateway.rooms import Broker
from gateway.settings import GatewaySettings


class Broken(Exception):
    pass


class BrokenStore(MemoryStore):
    async def append(self, room: str, body: bytes) -> int:  # noqa: ARG002 - the interface
        raise Broken


class World:
    def __init__(self, *, fails_late: bool) -> None:
        settings = GatewaySettings()
        self.registry = CollectorRegistry()
        meters = Meters(self.registry)
        broker = Broker(BrokenStore(settings.rooms), settings.rooms, meters)
        limits, access = ClientLimits(settings.clients), Access(settings.access, meters)
        self.app = GatewayApp(broker, settings.server, meters, limits, access)
        self.fails_late = fails_late
        self.sent: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        return {"type": "http.request", "body": b"m", "more_body": False}

    async def send(self, message: dict[str, Any]) -> None:
        # As the server does it.
        if message["type"] == "http.response.start" and self.sent:
            raise RuntimeError("a response has begun")
        self.sent.append(message)

    async def post(self) -> None:
        if self.fails_late:
            await self.send({"type": "http.response.start", "status": 200, "headers": []})
        scope = {
            "type": "http", "method": "POST", "path": "/rooms/room/broadcast", "headers": [],
            "client": ("127.0.0.1", 1), "query_string": b"", "root_path": "",
        }  # fmt: skip
        await self.app(scope, self.receive, self.send)

    @property
    def counted(self) -> float | None:
        return self.registry.get_sample_value("gateway_refusals_total", {"reason": "internal_error"})


async def test_a_failure_before_the_answer_is_answered() -> None:
    world = World(fails_late=False)
    with pytest.raises(Broken):
        await world.post()
    assert world.sent[0]["status"] == 500
    assert json.loads(world.sent[1]["body"])["error"] == "internal_error"
    assert world.counted == 1


async def test_a_failure_in_an_answer_breaks_it_off() -> None:
    world = World(fails_late=True)
    with pytest.raises(Broken):
        await world.post()
    assert [message.get("status") for message in world.sent] == [200]
    assert world.counted == 1
