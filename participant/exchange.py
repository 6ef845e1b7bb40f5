"""HTTP/1.1 with one server over kept connections, as the rooms' client needs it: small posts by the hundred, long streams.

A signature from stock is four such exchanges, and the layers of a general library cost more than everything else in them. Here
is a connection, httptools' parser, and nothing between: no redirects, no proxies, no cookies, no compression.
"""

from __future__ import annotations

import asyncio
import errno
import ssl
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Final, cast
from urllib.parse import urlsplit

from httptools import HttpParserError, HttpResponseParser

from participant.answer import SLOWEST, Answer, ConnectionFailed

MAX_IDLE: Final = 20
"""Connections that are kept for the next requests."""

MAX_UNREAD: Final = 256 * 1024
"""Bytes of a body that wait for their reader; above that the server is not read on."""

MAX_HEAD: Final = 64 * 1024
"""Bytes of an answer's header fields."""


class _Connection(asyncio.Protocol):
    """One connection, one exchange at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._parser = HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._parts: deque[bytes] = deque()
        self._unread = 0
        self._paused = False
        self.error: ConnectionFailed | None = None
        self.lost = False
        self._begin()

    def _begin(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self._head_bytes = 0
        self.answered = False
        self.complete = False
        self._kept_alive = False
        self.heard = False
        """Whether anything came since the request."""

    # The exchange

    def send(self, request: bytes) -> None:
        """Begin an exchange."""
        self._begin()
        if self._transport is not None:
            self._transport.write(request)

    async def head(self) -> None:
        """Return when status and header fields are there. Raises ConnectionFailed."""
        while not self.answered:
            if self.error is not None:
                raise self.error
            await self._change()

    async def body(self, silence: float) -> AsyncGenerator[bytes, None]:
        """The body as it comes. Raises ConnectionFailed, also when nothing came for `silence` seconds."""
        while True:
            while self._parts:
                part = self._parts.popleft()
                self._unread -= len(part)
                if self._paused and self._unread < MAX_UNREAD and self._transport is not None:
                    self._paused = False
                    self._transport.resume_reading()
                yield part
            if self.complete:
                return
            if self.error is not None:
                raise self.error
            try:
                async with asyncio.timeout(silence):
                    await self._change()
            except TimeoutError:
                raise ConnectionFailed(f"nothing came for {silence:.0f} s") from None

    @property
    def reusable(self) -> bool:
        """Whether another exchange may follow."""
        return self.complete and self._kept_alive and not self.lost and not self._parts

    def close(self) -> None:
        """Drop it."""
        if self._transport is not None:
            self._transport.abort()

    async def _change(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _changed(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # What the event loop says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        # What create_connection makes, under whatever class of the loop's.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self.complete:
            # Nothing was asked: whatever this is, no later answer may be mistaken for it.
            self.close()
            self.lost = True
            return
        self.heard = True
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:
            self._fail(f"the answer is no HTTP: {error}")
            self.close()
        if self._unread >= MAX_UNREAD and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.Protocol."""
        self.lost = True
        if self.answered and not self.complete and error is None and self._ends_with_connection:
            self.complete = True
        elif not self.complete:
            self._fail(
                f"{type(error).__name__}: {error}"
                if error is not None
                else "the server closed the connection"
            )
        self._changed()

    @property
    def _ends_with_connection(self) -> bool:
        return not {"content-length", "transfer-encoding"} & set(self.headers)

    def _fail(self, what: str) -> None:
        self.error = self.error or ConnectionFailed(what)
        self._changed()

    # What the parser says

    def on_message_begin(self) -> None:
        """An answer begins: the one that was asked for, unless that is complete."""
        if self.complete:
            raise ValueError("an answer that nobody asked for")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header field."""
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > MAX_HEAD:
            raise ValueError("too many header fields")
        self.headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))

    def on_headers_complete(self) -> None:
        """All of them. An answer below 200 only announces another."""
        self.status = self._parser.get_status_code()
        self.answered = self.status >= 200
        if not self.answered:
            self.headers = {}
        self._changed()

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._parts.append(body)
        self._unread += len(body)
        self._changed()

    def on_message_complete(self) -> None:
        """The end of the body."""
        self.complete = self.answered
        self._kept_alive = self._parser.should_keep_alive()
        self._changed()


class Exchange:
    """A client of one server. Safe to share among tasks of one event loop."""

    def __init__(
        self,
        base_url: str,
        tls: ssl.SSLContext | None,
        *,
        connect_timeout: float,
        answer_timeout: float,
        silence_timeout: float,
    ) -> None:
        """Seconds: to connect; to connect, send and see the head of an answer, a body's time added; without a byte."""
        parts = urlsplit(base_url)
        if parts.hostname is None:
            raise ValueError(f"{base_url!r} names no server")
        secure = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port or (443 if secure else 80)
        self._tls = (tls or ssl.create_default_context()) if secure else None
        self._prefix = parts.path.rstrip("/")
        self._authority = parts.netloc.rpartition("@")[2]
        self._connect_timeout = connect_timeout
        self._answer_timeout = answer_timeout
        self._silence_timeout = silence_timeout
        self._idle: deque[_Connection] = deque()
        self._busy: set[_Connection] = set()

    @asynccontextmanager
    async def request(
        self, method: str, path: str, *, headers: Mapping[str, str], body: bytes | None = None
    ) -> AsyncIterator[Answer]:
        """One exchange; names of the answer's header fields are in lower case. Raises ConnectionFailed."""
        seconds = self._answer_timeout + len(body or b"") / SLOWEST
        try:
            async with asyncio.timeout(seconds):
                connection = await self._asked(self._written(method, path, headers, body))
        except TimeoutError:
            raise ConnectionFailed(f"no answer in {seconds:.0f} s") from None
        try:
            async with aclosing(connection.body(self._silence_timeout)) as chunks:
                yield Answer(connection.status, connection.headers, chunks)
        finally:
            self._busy.discard(connection)
            if connection.reusable and len(self._idle) < MAX_IDLE:
                self._idle.append(connection)
            else:
                connection.close()

    async def close(self) -> None:
        """Drop all connections."""
        for connection in (*self._idle, *self._busy):
            connection.close()
        self._idle.clear()

    def _written(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
        fields = {"Host": self._authority, **headers, "Accept-Encoding": "identity"}
        if body is not None:
            fields["Content-Length"] = str(len(body))
        lines = [
            f"{method} {self._prefix}{path} HTTP/1.1",
            *(f"{name}: {text}" for name, text in fields.items()),
        ]
        if any(not line.isprintable() for line in lines):
            raise ValueError("a request's line or header field holds what would end it")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")

    async def _asked(self, request: bytes) -> _Connection:
        """A connection on which this request was answered so far that its head is there."""
        while True:
            kept = self._idle.pop() if self._idle else None
            if kept is not None and kept.lost:
                kept.close()
                continue
            connection = kept or await self._connect()
            self._busy.add(connection)
            try:
                connection.send(request)
                await connection.head()
            except ConnectionFailed:
                self._drop(connection)
                # A server may close what was kept at any time, and then has not read this.
                if kept is None or connection.heard:
                    raise
            except BaseException:
                self._drop(connection)
                raise
            else:
                return connection

    def _drop(self, connection: _Connection) -> None:
        self._busy.discard(connection)
        connection.close()

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_timeout):
                _, connection = await loop.create_connection(
                    _Connection, self._host, self._port, ssl=self._tls
                )
        except TimeoutError:
            raise ConnectionFailed(f"no connection in {self._connect_timeout:.0f} s") from None
        except OSError as error:
            # Where a name stands for several addresses, the error is a text about all of them.
            refused = error.errno == errno.ECONNREFUSED or f"[Errno {errno.ECONNREFUSED}]" in str(error)
            what = "Connection refused" if refused else f"{type(error).__name__}: {error}"
            raise ConnectionFailed(what, refused=refused) from error
        return connection
