"""An HTTP server on a raw socket that misbehaves exactly as told: each connection is answered by the next script.

    async with ScriptedServer([events(b"id: 0\\ndata: x\\n\\n"), status(503)]) as server: ...

A script gets the request and the writer; when it returns, the connection is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Self


@dataclass
class ScriptedRequest:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    reader: asyncio.StreamReader = field(repr=False)


Script = Callable[[ScriptedRequest, asyncio.StreamWriter], Awaitable[None]]


class ScriptedServer:
    """`requests` holds what arrived, in order. After the last script connections are answered by silence."""

    def __init__(
        self, scripts: Sequence[Script], *, port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        self._scripts = list(scripts)
        self._port = port
        self._tls = tls
        self.requests: list[ScriptedRequest] = []
        self.ended: asyncio.Queue[ScriptedRequest] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            method, path, _ = head[0].split(" ")
            headers = {
                name.lower(): value.strip()
                for name, _, value in (line.partition(":") for line in head[1:] if line)
            }
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            request = ScriptedRequest(method, path, headers, body, reader)
            self.requests.append(request)
            script = self._scripts.pop(0) if self._scripts else until_closed
            await script(request, writer)
            self.ended.put_nowait(request)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        scheme = "http" if self._tls is None else "https"
        self.url = f"{scheme}://{'127.0.0.1' if self._tls is None else 'localhost'}:{self.port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def until_closed(request: ScriptedRequest, writer: asyncio.StreamWriter) -> None:
    """Say nothing until the client hangs up."""
    while await request.reader.read(4096):
        pass


def head(status: int, headers: dict[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} Scripted\r\n{lines}Connection: close\r\n\r\n".encode()


def status(code: int, text: str = "", **headers: str) -> Script:
    """A whole answer; a header's name may be written with underscores."""

    async def script(_: ScriptedRequest, writer: asyncio.StreamWriter) -> None:
        own = {name.replace("_", "-"): value for name, value in headers.items()}
        writer.write(head(code, {"Content-Length": str(len(text)), **own}) + text.encode())
        await writer.drain()

    return script


def events(
    content: bytes, *, incarnation: str | None = "one", pieces: int | None = None, stay: bool = False
) -> Script:
    """An event stream of these bytes, in pieces of that many bytes each; closed afterwards unless `stay`."""

    async def script(request: ScriptedRequest, writer: asyncio.StreamWriter) -> None:
        own = {} if incarnation is None else {"Room-Incarnation": incarnation}
        writer.write(head(200, {"Content-Type": "text/event-stream; charset=utf-8", **own}))
        step = pieces or max(len(content), 1)
        for start in range(0, len(content), step):
            writer.write(content[start : start + step])
            await writer.drain()
            await asyncio.sleep(0)
        if stay:
            await until_closed(request, writer)

    return script


def message(number: int, data: str = "") -> bytes:
    """An event as the gateway writes it."""
    lines = "".join(f"data: {line}\n" for line in (data or f"body {number}").split("\n"))
    return f"event: new-message\nid: {number}\n{lines}\n".encode()
