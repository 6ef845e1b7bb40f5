"""A gateway process on ephemeral ports, and clients that see exactly what it sends."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx2
import yaml
from processes import Process, command, start_process

PATIENCE = 20.0
LISTENING = r"Listening on (https?)://([^\s]+):(\d+)"
GRPC = r"gRPC server on (\S+):(\d+)"

_rooms = itertools.count()


def new_room(name: str = "room") -> str:
    return f"{name}_{next(_rooms)}"


class GatewayProcess:
    """A running sign-gateway."""

    def __init__(self, process: Process) -> None:
        match = process.wait_for(LISTENING)
        self.process = process
        self.scheme, self.host, port = match.groups()
        self.port = int(port)
        self.url = f"{self.scheme}://{self.host}:{port}"
        grpc = process.wait_for(GRPC)
        self.grpc = f"{grpc[1]}:{grpc[2]}"
        self.grpc_port = int(grpc[2])

    def room(self, room: str, call: str) -> str:
        return f"{self.url}/rooms/{room}/{call}"

    @property
    def _secure(self) -> bool:
        """Whether there are certificates to verify: to read the system's authorities takes longer than a request."""
        return self.scheme == "https"

    def post(self, room: str, body: bytes | str, **kwargs: Any) -> httpx2.Response:
        content = body.encode() if isinstance(body, str) else body
        options = {"verify": self._secure, "timeout": PATIENCE} | kwargs
        return httpx2.post(self.room(room, "broadcast"), content=content, **options)

    def metrics(self) -> str:
        """All samples."""
        return httpx2.get(f"{self.url}/metrics", timeout=PATIENCE, verify=self._secure).text

    def metric(self, name: str) -> float:
        """The value of a sample, such as 'gateway_refusals_total{reason="not_utf8"}'; 0 if there is none."""
        for line in self.metrics().splitlines():
            if line.startswith(name + " "):
                return float(line.rpartition(" ")[2])
        return 0.0

    def wait_for_metric(self, name: str, value: float) -> None:
        """Asks until the sample has the value; every turn is a round trip, so nothing spins."""
        deadline = time.monotonic() + PATIENCE
        while (found := self.metric(name)) != value:
            if time.monotonic() > deadline:
                raise AssertionError(f"{name} is {found}, not {value}")

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in list(self.process.lines) if line.startswith("{")]

    def connect(self, receive_buffer: int | None = None) -> RawClient:
        return RawClient(self.host, self.port, receive_buffer)


@contextlib.contextmanager
def running_gateway(
    directory: Path, settings: Mapping[str, Any] | None = None, env: Mapping[str, str] | None = None
) -> Iterator[GatewayProcess]:
    """A gateway whose file holds `settings`, on ports of its own unless they say otherwise."""
    tree: dict[str, Any] = {"server": {"port": 0}, "grpc": {"port": 0}}
    for section, values in (settings or {}).items():
        tree.setdefault(section, {}).update(values)
    path = directory / f"gateway{next(_rooms)}.yaml"
    path.write_text(yaml.safe_dump(tree))
    with start_process(command("sign-gateway", path), LISTENING, env) as process:
        yield GatewayProcess(process)


class RawClient:
    """A blocking socket for tests in which every byte matters."""

    def __init__(self, host: str, port: int, receive_buffer: int | None = None) -> None:
        self.sock = socket.socket()
        if receive_buffer is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(PATIENCE)
        self.sock.connect((host, port))
        self.received = b""

    def send(self, data: bytes) -> Self:
        self.sock.sendall(data)
        return self

    def read_until(self, end: bytes) -> bytes:
        """Everything up to and including the next `end`."""
        while end not in self.received:
            data = self.sock.recv(65536)
            if not data:
                raise AssertionError(f"closed before {end!r}: {self.received!r}")
            self.received += data
        head, _, self.received = self.received.partition(end)
        return head + end

    def read_all(self) -> bytes:
        """Everything until the other side closes or resets."""
        with contextlib.suppress(ConnectionResetError):
            while data := self.sock.recv(65536):
                self.received += data
        everything, self.received = self.received, b""
        return everything

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()


@dataclass(frozen=True)
class Sse:
    """One event, or a comment (`event` ":"), or a lone retry field (`event` "retry")."""

    event: str
    id: int | None
    data: str


class SseReader:
    """Reads a stream by the rules of the HTML standard, on bytes: lines end with LF, CR or CRLF only."""

    def __init__(self, response: httpx2.Response) -> None:
        self.response = response
        self.incarnation = response.headers["room-incarnation"]
        self._chunks = response.aiter_raw()
        self._buffer = bytearray()

    async def _block(self) -> bytes | None:
        searched = 0
        while (end := self._buffer.find(b"\n\n", searched)) < 0:
            searched = max(0, len(self._buffer) - 1)
            try:
                async with asyncio.timeout(PATIENCE):
                    self._buffer += await anext(self._chunks)
            except StopAsyncIteration:
                if self._buffer:
                    raise AssertionError(f"cut inside an event: {bytes(self._buffer)!r}") from None
                return None
        block = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return block

    async def next(self) -> Sse | None:
        """The next block, whatever it is; None at the end of the stream."""
        block = await self._block()
        if block is None:
            return None
        name, number, data = "message", None, []
        for line in block.split(b"\n"):
            assert b"\r" not in line
            field, _, value = line.decode().partition(":")
            value = value.removeprefix(" ")
            if not field:
                return Sse(":", None, value)
            if field == "retry":
                return Sse("retry", None, value)
            if field == "event":
                name = value
            elif field == "id":
                number = int(value)
            elif field == "data":
                data.append(value)
        return Sse(name, number, "\n".join(data))

    async def message(self) -> Sse:
        """The next event that is no comment and no retry."""
        while True:
            event = await self.next()
            assert event is not None, "the stream ended"
            if event.event not in (":", "retry"):
                return event

    async def messages(self, count: int) -> list[Sse]:
        return [await self.message() for _ in range(count)]

    async def rest(self) -> list[Sse]:
        """Everything up to the end of the stream."""
        found = []
        while (event := await self.next()) is not None:
            found.append(event)
        return found


@contextlib.asynccontextmanager
async def subscribed(
    gateway: GatewayProcess, room: str, last_event_id: str | int | None = None, **client: Any
) -> AsyncIterator[SseReader]:
    headers = {} if last_event_id is None else {"Last-Event-ID": str(last_event_id)}
    async with (
        httpx2.AsyncClient(timeout=httpx2.Timeout(PATIENCE, read=None), **client) as http,
        http.stream("GET", gateway.room(room, "subscribe"), headers=headers) as response,
    ):
        assert response.status_code == 200, await response.aread()
        yield SseReader(response)
