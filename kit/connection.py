"""What an application may know and do about the connection that it answers on, in either version of HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

CONNECTION = "kit.connection"


class Connection(Protocol):
    """The connection of one request."""

    def on_lost(self, callback: Callable[[], None] | None) -> None:
        """Calls `callback` once when the connection is gone; None takes it back.

        Until then the response is a stream without end: a request that comes behind it ends the connection.
        """

    def unsent(self) -> int:
        """Bytes that were sent to the reader and wait for it here."""
        ...

    def pipelined(self) -> bool:
        """Whether requests wait for the end of this one's response."""
        ...

    def certificate(self) -> bytes | None:
        """The client certificate (DER) that TLS has verified; None where none was asked for."""
        ...

    def writable(self) -> bool:
        """Whether what is written now goes to the reader without waiting for it."""
        ...

    def write_part(self, data: bytes) -> None:
        """Writes a part of the response of unknown length that has begun; only while the connection is writable."""

    def finish(self, last_part: bytes) -> None:
        """Ends the response of unknown length although its reader does not read: nothing more of it is sent.

        `last_part` and the end of the response reach the reader if it takes what was sent before in
        LAST_WORDS_SECONDS (kit.http); then the connection is reset.
        """


def connection_of(scope: Scope) -> Connection:
    """The connection of a request that came through `HttpServer`."""
    return cast("Connection", scope["extensions"][CONNECTION])


class Chunked(Connection, Protocol):
    """A connection whose responses of unknown length go out in chunks."""

    transport: asyncio.Transport

    def end(self, last_bytes: bytes) -> None:
        """`finish`, of a response that ends with these bytes as they are."""


class Unchunked:
    """The `Connection` of a request in HTTP/1.0, which has no chunks: a response lasts until the connection is closed.

    A class of its own, for each message is written to thousands of connections of the other kind.
    """

    def __init__(self, connection: Chunked) -> None:
        """The same connection."""
        self._connection = connection

    def on_lost(self, callback: Callable[[], None] | None) -> None:
        """See `Connection`."""
        self._connection.on_lost(callback)

    def unsent(self) -> int:
        """See `Connection`."""
        return self._connection.unsent()

    def pipelined(self) -> bool:
        """See `Connection`."""
        return self._connection.pipelined()

    def certificate(self) -> bytes | None:
        """See `Connection`."""
        return self._connection.certificate()

    def writable(self) -> bool:
        """See `Connection`."""
        return self._connection.writable()

    def write_part(self, data: bytes) -> None:
        """See `Connection`."""
        self._connection.transport.write(data)

    def finish(self, last_part: bytes) -> None:
        """See `Connection`."""
        self._connection.end(last_part)


def until_closed(app: ASGIApp, cycle: RequestResponseCycle) -> ASGIApp:
    """`app`, which answers a request in HTTP/1.0: uvicorn would send what has no content-length in chunks."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        endless = False

        async def send_plain(message: Message) -> None:
            nonlocal endless
            if message["type"] == "http.response.start":
                endless = all(name.lower() != b"content-length" for name, _ in message.get("headers", ()))
                if endless:
                    cycle.chunked_encoding = False
            elif endless:
                # uvicorn holds each part against it.
                cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        await app(scope, receive, send_plain)

    return answer
