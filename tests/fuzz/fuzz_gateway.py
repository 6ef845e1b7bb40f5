"""Targets: whatever bytes a connection brings to the gateway's HTTP listener."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from fuzz_target import Target, judged, need
from prometheus_client import CollectorRegistry
from uvicorn.server import ServerState

from gateway.access import Access
from gateway.http_api import GatewayApp
from gateway.limits import ClientLimits
from gateway.memory import MemoryStore
from gateway.meters import Meters
from gateway.nats_link import Stored
from gateway.nats_log import HEADER, Record
from gateway.rooms import Broker
from gateway.settings import AccessSettings, ClientsSettings, RoomsSettings, ServerSettings
from gateway.store import StoreUnavailable
from kit.http import BoundedHttpProtocol, HttpLimits, _Config

MAX_BODY, MAX_HEAD = 600, 1024
# Inputs come faster than any client's.
NO_BOUNDS = ClientsSettings(messages_per_second=0, bytes_per_second=0, rooms_per_second=0)


class Wire(asyncio.Transport):
    """What the server writes, and whether it closed the connection."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.sent = bytearray()
        self.closed = False

    def write(self, data: Any) -> None:
        # As asyncio's own: what is written to a connection that is closing is dropped.
        if not self.closed:
            self.sent += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        return

    def resume_reading(self) -> None:
        return


class Quiet(Meters):
    """Writes no log lines."""

    def refused(self, reason: str, **about: object) -> None:
        json.dumps({"reason": reason, **about})


class Gateway:
    """A gateway without sockets, in a loop of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(self._failed)
        self.failures: list[str] = []
        self.loop.run_until_complete(self._open())

    async def _open(self) -> None:
        limits = RoomsSettings(
            max_rooms=4, max_messages=8, max_bytes=1 << 16, max_total_bytes=1 << 17, max_subscribers=8
        )
        server = ServerSettings(
            max_body_bytes=MAX_BODY, max_head_bytes=MAX_HEAD, cors_origins=["http://a.example"]
        )
        meters = Quiet(CollectorRegistry())
        self.store = MemoryStore(limits)
        self.broker = Broker(self.store, limits, meters)
        app = GatewayApp(
            self.broker, server, meters, ClientLimits(NO_BOUNDS), Access(AccessSettings(), meters)
        )

        async def judged(scope: Any, receive: Any, send: Any) -> None:
            try:
                await app(scope, receive, send)
            except Exception as error:
                self.failures.append(f"{type(error).__name__}: {error}")
                raise

        self.config = _Config(judged, HttpLimits(max_head_bytes=MAX_HEAD), None, lambda _: None)  # type: ignore[arg-type]
        self.config.load()

    def _failed(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.failures.append(repr(context))

    async def exchange(self, pieces: list[bytes]) -> bytes:
        """A connection that brings these pieces and is lost; what was answered."""
        wire = Wire()
        state = ServerState()
        protocol = BoundedHttpProtocol(self.config, state, {}, self.loop)
        protocol.connection_made(wire)
        for piece in pieces:
            if wire.closed:
                break
            protocol.data_received(piece)
            for _ in range(4):
                await asyncio.sleep(0)
        protocol.connection_lost(None)
        while state.tasks:
            await asyncio.gather(*state.tasks, return_exceptions=True)
        return bytes(wire.sent)

    def run(self, data: bytes) -> str:
        """The first byte says into how many pieces the bytes are cut."""
        count, stream = (data[0] % 4 + 1 if data else 1), data[1:]
        size = max(1, -(-len(stream) // count))
        pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
        sent = self.loop.run_until_complete(self.exchange(pieces))
        if self.failures:
            need(False, f"an exception left the application: {self.failures.pop()}")
        need(self.broker.subscribers == 0, "a subscription outlives its connection")
        need(self.config.table.total == 0, "a connection is counted that is gone")
        need(self.store.total_bytes <= 1 << 17, "more is kept than may be")
        if not sent:
            return "None"
        need(sent.startswith(b"HTTP/1.1 "), "not an answer")
        status = sent[9:12].decode()
        need(status != "500", "an internal error")
        return status


@lru_cache(maxsize=1)
def gateway() -> Gateway:
    return Gateway()


def _http(data: bytes) -> str:
    return gateway().run(data)


def _requests() -> Iterator[bytes]:
    host = b"Host: a\r\n"
    yield b"\0POST /rooms/r/broadcast HTTP/1.1\r\n" + host + b"Content-Length: 5\r\n\r\nhello"
    yield b"\1POST /rooms/r/issue_unique_idx HTTP/1.1\r\n" + host + b"\r\n"
    yield b"\2GET /rooms/r%20%C3%A9/subscribe HTTP/1.1\r\n" + host + b"Last-Event-ID: 3\r\n\r\n"
    yield (
        b"\3POST /rooms/r/broadcast HTTP/1.1\r\n"
        + host
        + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    )
    yield (
        b"\0OPTIONS /rooms/r/broadcast HTTP/1.1\r\n"
        + host
        + b"Origin: http://a.example\r\nAccess-Control-Request-Method: POST\r\n\r\n"
    )
    yield (
        b"\1POST /rooms/r/broadcast HTTP/1.1\r\n"
        + host
        + b"Expect: 100-continue\r\nContent-Length: 9999\r\n\r\n"
    )
    yield (
        b"\2GET / HTTP/1.0\r\n\r\nGET /rooms/a/b/subscribe HTTP/1.1\r\n" + host + b"Connection: close\r\n\r\n"
    )


WORDS = (
    b"POST ", b"GET ", b"/rooms/", b"/broadcast", b"/subscribe", b"/issue_unique_idx", b" HTTP/1.1\r\n", b"\r\n\r\n", b"Content-Length: ",
    b"Transfer-Encoding: chunked\r\n", b"Last-Event-ID: ", b"Expect: 100-continue\r\n", b"Connection: close\r\n", b"Upgrade: ", b"%00", b"%2F",
    b"%ff", b"?", b"#", b"http://", b"0\r\n\r\n",
)  # fmt: skip


def _record(data: bytes) -> Record:
    return Record.read(Stored("log.room", 7, 0, {HEADER: data.decode("latin-1")}, b"body"))


def _same_header(data: bytes, record: Record) -> None:
    need(record.header().encode() == data, "written back as other bytes")
    need(record.first_id >= 0, "a message before the first")


TARGETS = [
    Target("http", _http, _requests, WORDS, max_len=2048, share=0.15),
    Target(
        "nats-record", judged(_record, StoreUnavailable, _same_header),
        lambda: [b"note 00ff 0 0 1 0 0 0", b"message 00ff 5 12 1 5 60000 2000"], (b"note ", b"message ", b" 0", b" -1", b"_"),
        share=0.05,
    ),
]  # fmt: skip
