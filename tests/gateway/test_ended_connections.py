"""What a connection took is free when it ends: the collector of circles runs seldom in a daemon, and looks at old objects hardly ever."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator

import pytest
import uvloop
from gateway_testing import PATIENCE
from prometheus_client import CollectorRegistry

from gateway.access import Access
from gateway.http_api import GatewayApp
from gateway.limits import ClientLimits
from gateway.memory import MemoryStore
from gateway.meters import Meters
from gateway.rooms import Broker, Subscription
from gateway.settings import GatewaySettings
from kit.http import BoundedHttpProtocol, HttpLimits, HttpServer
from kit.net import listen

SUBSCRIBE = b"GET /rooms/r/subscribe HTTP/1.1\r\nHost: g\r\n\r\n"
POST = b"POST /rooms/r/broadcast HTTP/1.1\r\nHost: g\r\nContent-Length: 1\r\n\r\nx"


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def left() -> list[object]:
    # Not isinstance: some objects of other tests answer for their class in ways of their own.
    return [one for one in gc.get_objects() if type(one) in (BoundedHttpProtocol, Subscription)]


async def serve(requests: bytes, answered: bytes) -> None:
    settings, meters = GatewaySettings(), Meters(CollectorRegistry())
    broker = Broker(MemoryStore(settings.rooms), settings.rooms, meters)
    app = GatewayApp(
        broker, settings.server, meters, ClientLimits(settings.clients), Access(settings.access, meters)
    )
    http = HttpServer(app, listen("127.0.0.1", 0, "port"), limits=HttpLimits())
    await http.start()
    for _ in range(3):
        reader, writer = await asyncio.open_connection("127.0.0.1", http.port)
        writer.write(requests)
        await reader.readuntil(answered)
        writer.close()
        await writer.wait_closed()
    deadline = time.monotonic() + PATIENCE
    # Each turn is one of the loop, which has still to close what it was told to.
    while left() and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0)
    await http.stop(1)
    assert not left()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize(
    ("requests", "answered"),
    [
        (SUBSCRIBE, b"retry: 5000\n\n"),
        (SUBSCRIBE.replace(b"HTTP/1.1", b"HTTP/1.0"), b"retry: 5000\n\n"),
        (SUBSCRIBE + SUBSCRIBE, b"\r\n\r\n"),
        (POST, b"\r\n\r\n"),
        (b"PUT" + POST.removeprefix(b"POST"), b"\r\n\r\n"),
        (b"no request\r\n\r\n", b"\r\n\r\n"),
    ],
    ids=["stream", "HTTP/1.0", "pipelined", "post", "refused", "bad"],
)
def test_it_leaves_nothing_for_the_collector(requests: bytes, answered: bytes) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(requests, answered))
