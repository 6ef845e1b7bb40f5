"""uvicorn on a socket that is bound already, with the bounds that it lacks.

uvicorn waits for ever for a request's head and body and takes heads of any size. Here a connection that is slow with
either is closed, heads are bounded, and so are connections, in all and per address. The application is handed its
`Connection`, so that a response that lasts can learn that its reader left, and end although the reader stalls.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from kit.connection import CONNECTION, Unchunked, until_closed
from kit.net import BACKLOG, port_of

# What a client may still send of a body that was refused already; a well-behaved one gets to read the answer.
MAX_DISCARDED = 64 * 1024 * 1024
# Requests that may wait behind one that is being answered; none may behind a stream, which has no end.
MAX_PIPELINED = 32
# How long a reader that was cut off has to take what is on its way to it.
LAST_WORDS_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Bounds on connections. Seconds and bytes; 0 connections = no bound."""

    head_seconds: float = 10.0
    body_seconds: float = 30.0
    keep_alive_seconds: float = 60.0
    max_head_bytes: int = 32 * 1024
    max_connections: int = 0
    max_connections_per_address: int = 0


class _Table:
    """Open connections, in all and per address."""

    def __init__(self, limits: HttpLimits) -> None:
        self.limits = limits
        self.total = 0
        self.by_address: Counter[str] = Counter()

    def enter(self, address: str) -> str | None:
        """Counts one in; returns the reason if it is one too many (it is counted all the same)."""
        self.total += 1
        self.by_address[address] += 1
        if 0 < self.limits.max_connections < self.total:
            return "connections_full"
        if 0 < self.limits.max_connections_per_address < self.by_address[address]:
            return "connections_per_address_full"
        return None

    def leave(self, address: str) -> None:
        self.total -= 1
        self.by_address[address] -= 1
        if not self.by_address[address]:
            del self.by_address[address]


class _Config(uvicorn.Config):
    """uvicorn's configuration with what our protocol class needs; uvicorn hands it to each connection."""

    def __init__(
        self, app: ASGIApp, limits: HttpLimits, context: ssl.SSLContext | None, refused: Callable[[str], None]
    ) -> None:
        super().__init__(
            cast("Any", app),
            http=BoundedHttpProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=cast("int", limits.keep_alive_seconds),
            ssl_context_factory=(lambda _, __: context) if context is not None else None,
        )
        self.limits = limits
        self.refused = refused
        self.table = _Table(limits)


class _EndOfParsing(Exception):
    """Raised through the parser to end it."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """uvicorn's connection with bounds; it is also the `Connection` that the application sees."""

    config: _Config

    def __init__(
        self,
        config: _Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._timer: asyncio.TimerHandle | None = None
        self._address = ""
        self._head_bytes = 0
        self._discarded = 0
        self._message_open = False
        self._refused = False
        self._lost: Callable[[], None] | None = None

    # Connection

    def on_lost(self, callback: Callable[[], None] | None) -> None:
        """See `Connection`."""
        self._lost = callback

    def unsent(self) -> int:
        """See `Connection`."""
        return self.transport.get_write_buffer_size()

    def pipelined(self) -> bool:
        """See `Connection`."""
        return bool(self.pipeline)

    def certificate(self) -> bytes | None:
        """See `Connection`."""
        secure: ssl.SSLObject | None = self.transport.get_extra_info("ssl_object")
        return None if secure is None else secure.getpeercert(binary_form=True)

    def writable(self) -> bool:
        """See `Connection`."""
        return not self.flow.write_paused and not self.transport.is_closing()

    def write_part(self, data: bytes) -> None:
        """See `Connection`."""
        self.transport.write(b"%x\r\n%b\r\n" % (len(data), data))

    def finish(self, last_part: bytes) -> None:
        """See `Connection`."""
        self.end(b"%x\r\n%b\r\n0\r\n\r\n" % (len(last_part), last_part))

    def end(self, last_bytes: bytes) -> None:
        """`finish`, of a response that ends with these bytes as they are."""
        if self.cycle is None or self.cycle.response_complete or self.transport.is_closing():
            return
        if self.cycle.response_started:
            self.transport.write(last_bytes)
        self._break_off()

    def _break_off(self) -> None:
        """Closes the connection in the middle of a response."""
        # Wakes a sender that waits for the reader; what it still sends is dropped.
        self.cycle.disconnected = True
        self.flow.resume_writing()
        self.transport.close()
        self.loop.call_later(LAST_WORDS_SECONDS, self.transport.abort)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Takes the connection, or refuses it if there are too many."""
        super().connection_made(transport)
        self._address = self.client[0] if self.client is not None else ""
        reason = self.config.table.enter(self._address)
        if reason is not None:
            self._refuse(503, reason, "too many connections; try again later")
            return
        self._start_timer(self.config.limits.head_seconds, self._head_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the connection."""
        self._stop_timer()
        self.config.table.leave(self._address)
        super().connection_lost(exc)
        if self._lost is not None:
            lost, self._lost = self._lost, None
            lost()
        # These lead back here by the scope. Without them the connection's memory is free at once, not when circles are
        # looked for, which is seldom.
        self.cycle = cast("Any", None)
        self.scope = cast("Any", None)
        self.pipeline.clear()

    def data_received(self, data: bytes) -> None:
        """Parses, and keeps an eye on size and time."""
        if self._refused:
            return
        idle = self.cycle is None or self.cycle.response_complete
        if self._timer is None and idle:
            # Also for bytes that begin no request, such as empty lines: they end uvicorn's keep-alive timer.
            self._start_timer(self.config.limits.head_seconds, self._head_is_late)
        if not self._message_open:
            self._head_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            self._stop_timer()
        elif not self._message_open and self._head_bytes > self.config.limits.max_head_bytes:
            self._refuse_head()

    # Parser callbacks

    def on_message_begin(self) -> None:
        """Puts the connection into the scope. Ends it if this request would wait for ever, or with too many others."""
        if self._lost is not None or len(self.pipeline) >= MAX_PIPELINED:
            self._refuse(400, "pipelined", "a request came that would wait for others' answers")
            raise _EndOfParsing
        super().on_message_begin()
        cast("dict[str, Any]", self.scope)["extensions"] = {CONNECTION: self}
        self._fields_bytes = 0

    def on_url(self, url: bytes) -> None:
        """Counts the head, which may come in one piece."""
        self._count_field(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Counts the head, which may come in one piece."""
        self._count_field(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """From here on the body's time counts."""
        self._message_open = True
        self._head_bytes = 0
        self._discarded = 0
        self._stop_timer()
        if self.parser.get_http_version() == "1.0":
            cast("dict[str, Any]", self.scope)["extensions"] = {CONNECTION: Unchunked(self)}
        super().on_headers_complete()
        self._start_timer(self.config.limits.body_seconds, self._body_is_late)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if cycle.scope["http_version"] == "1.0":
            app = until_closed(app, cycle)
        super()._start_asgi_task(cycle, app)

    def on_body(self, body: bytes) -> None:
        """Passes the body on, or counts what comes after the answer."""
        if self.cycle.response_complete:
            self._discarded += len(body)
            if self._discarded > MAX_DISCARDED:
                self.transport.abort()
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is there."""
        self._message_open = False
        self._head_bytes = 0
        self._stop_timer()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """What uvicorn answers to what is no HTTP."""
        if self._refused or self.transport.is_closing():
            return
        if self._fields_bytes > self.config.limits.max_head_bytes:
            self._refuse_head()
        else:
            self._refuse(400, "bad_request", msg)

    # Bounds

    _fields_bytes = 0

    def _count_field(self, size: int) -> None:
        self._fields_bytes += size
        if self._fields_bytes > self.config.limits.max_head_bytes:
            raise _EndOfParsing

    def _start_timer(self, seconds: float, late: Callable[[], None]) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, late)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _head_is_late(self) -> None:
        self._refuse(408, "head_timeout", "the request's head did not come in time")

    def _body_is_late(self) -> None:
        if self.cycle.response_started:
            self.config.refused("body_timeout")
            self.transport.close()
        else:
            # The application's answer, if it still gives one, is dropped.
            self.cycle.disconnected = True
            self._refuse(408, "body_timeout", "the request's body did not come in time")

    def _refuse_head(self) -> None:
        self._refuse(431, "head_too_large", "the request's head is too large")

    def _refuse(self, status: int, reason: str, text: str) -> None:
        self._refused = True
        self._stop_timer()
        self.config.refused(reason)
        answering = (
            self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete
        )
        if answering or self.pipeline:
            # Another answer is on its way (a pipelined request was bad): nothing may be written into it.
            self._break_off()
            return
        body = b'{"error":"%b","message":"%b"}' % (reason.encode(), text.encode())
        self.transport.write(
            b"HTTP/1.1 %d Refused\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
            b"connection: close\r\n\r\n%b" % (status, len(body), body)
        )
        self.transport.close()


class _Server(uvicorn.Server):
    """uvicorn's server without signal handlers and with a bounded TLS handshake."""

    config: _Config

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to the daemon."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listens on the sockets."""
        loop = asyncio.get_running_loop()
        context = self.config.ssl
        handshake = self.config.limits.head_seconds if context is not None else None

        def new_connection() -> asyncio.Protocol:
            return BoundedHttpProtocol(self.config, self.server_state, {}, loop)

        self.servers = [
            await loop.create_server(
                new_connection, sock=sock, ssl=context, backlog=BACKLOG, ssl_handshake_timeout=handshake
            )
            for sock in sockets or []
        ]
        self.started = True


class HttpServer:
    """One listener. `start`, then `stop`; `ended` is done if it ends on its own, which is a failure."""

    def __init__(
        self,
        app: ASGIApp,
        sock: socket.socket,
        *,
        limits: HttpLimits,
        context: ssl.SSLContext | None = None,
        refused: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Prepares a server on a bound socket; `refused` is told the reason of each refusal made here."""
        self.port = port_of(sock)
        self._sock = sock
        self._config = _Config(app, limits, context, refused)
        self._server = _Server(self._config)
        self._task: asyncio.Task[None] | None = None

    @property
    def connections(self) -> int:
        """How many are open."""
        return self._config.table.total

    def reload(self, limits: HttpLimits) -> None:
        """Other bounds, for connections and requests to come."""
        self._config.limits = limits
        self._config.table.limits = limits
        self._config.timeout_keep_alive = cast("int", limits.keep_alive_seconds)

    @property
    def ended(self) -> asyncio.Task[None]:
        """The task that serves."""
        if self._task is None:
            raise RuntimeError("the server was not started")
        return self._task

    async def start(self) -> None:
        """Returns when connections are accepted."""
        self._config.load()
        # uvicorn sets the Date header once a second; the first requests need one too.
        await self._server.on_tick(0)
        self._task = asyncio.create_task(self._server.serve(sockets=[self._sock]), name="http")
        while not self._server.started:
            if self._task.done():
                self._task.result()
            await asyncio.sleep(0)

    def stop_accepting(self) -> None:
        """Closes the listener; connections that are open go on."""
        for server in self._server.servers:
            server.close()

    async def stop(self, seconds: float) -> None:
        """Ends within about `seconds`: connections may finish their responses, then they are cut off."""
        self._config.timeout_graceful_shutdown = cast("int", seconds)
        self._server.should_exit = True
        task = self.ended
        with contextlib.suppress(asyncio.CancelledError):
            await task
        for connection in list(self._server.server_state.connections):
            cast("BoundedHttpProtocol", connection).transport.abort()
