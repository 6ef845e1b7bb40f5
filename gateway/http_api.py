"""The three calls of a room as ASGI endpoints, exactly as deployed clients expect them.

GET  /rooms/{room_id}/subscribe          200 text/event-stream
POST /rooms/{room_id}/issue_unique_idx   200 {"unique_idx": n}
POST /rooms/{room_id}/broadcast          200, empty
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.access import Access, NotAdmitted
from gateway.client import client_address, header
from gateway.cors import Cors
from gateway.limits import ClientLimits, TooMuch
from gateway.meters import Meters
from gateway.rooms import CLOSING, LAST_WORDS, Broker, Subscription
from gateway.settings import ServerSettings
from gateway.store import StoreFull, StoreUnavailable
from gateway.tokens import ISSUE, POST, SUBSCRIBE
from kit import tracing
from kit.connection import connection_of

MAX_ROOM_ID_BYTES = 256
RETRY = b"retry: 5000\n\n"
PING = b": ping\n\n"
RETRY_AFTER_SECONDS = 5

Headers = Mapping[str, str]

# Where the endpoints find what let a request in.
GRANT = "gateway.grant"
# A client that asked beforehand (Expect) sends no body now, and what comes next would be taken for it.
_NO_BODY = {"connection": "close"}


class Refusal(Exception):
    """An answer other than 200. `reason` is stable (answer, log, metrics); `text` is for a human."""

    def __init__(self, status: int, reason: str, text: str, headers: Headers | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.reason = reason
        self.text = text
        self.headers = dict(headers or {})


class Disconnected(Exception):
    """The client left before its request was complete."""


class RoomEndpoint:
    """What the three have in common: one method, the room's id, refusals."""

    method = "POST"
    # What it asks of the store.
    operation: str
    right = POST

    def __init__(
        self, broker: Broker, server: ServerSettings, meters: Meters, limits: ClientLimits, access: Access
    ) -> None:
        """Serves rooms of `broker`."""
        self.broker = broker
        self.server = server
        self.meters = meters
        self.limits = limits
        self.access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        room = scope["path_params"]["room_id"]
        try:
            if scope["method"] != self.method:
                raise Refusal(405, "method_not_allowed", f"use {self.method}", {"allow": self.method})  # noqa: TRY301 - one way out
            self._check_room(room)
            self.check_open()
            client = client_address(scope)
            self.limits.message(client)
            scope[GRANT] = self.access.admit(scope, room, self.right)
            self.limits.room(client, room)
            with self.traced(scope, room):
                await self.serve(room, scope, receive, send)
        except NotAdmitted as error:
            refusal = Refusal(error.status, error.reason, str(error), error.headers)
            if header(scope, b"expect") is not None:
                refusal.headers |= _NO_BODY
        except TooMuch as error:
            refusal = Refusal(429, error.reason, str(error), _retry_after(error.retry_seconds))
        except StoreFull as error:
            refusal = Refusal(503, error.reason, str(error), _retry_after())
        except StoreUnavailable as error:
            self.broker.store_failed(self.operation)
            refusal = Refusal(503, "store_unavailable", str(error), _retry_after(error.retry_seconds))
        except Refusal as error:
            # A traceback leads back to this frame, and from it to the connection.
            refusal = error.with_traceback(None)
        except Disconnected:
            self.meters.refused("client_left", room=room)
            return
        else:
            return
        await refuse(self.meters, refusal, scope, receive, send, room=room)

    async def serve(self, room: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers the call, or raises Refusal, TooMuch, StoreFull, StoreUnavailable before it began to."""
        raise NotImplementedError

    def check_open(self) -> None:
        """Raises Refusal once the gateway drains: whoever asks asks another one."""
        if self.broker.draining:
            raise Refusal(503, "draining", "the gateway is closing", _retry_after())

    def traced(self, scope: Scope, room: str) -> AbstractContextManager[None]:
        """The span of the call, in the trace that its headers name."""
        return tracing.span_of(scope["headers"], f"room {self.operation}", room=room)

    @staticmethod
    def _check_room(room: str) -> None:
        if len(room.encode("utf-8", "surrogatepass")) > MAX_ROOM_ID_BYTES:
            raise Refusal(400, "bad_room_id", f"a room id has at most {MAX_ROOM_ID_BYTES} bytes")
        if not room.isprintable() or "\N{REPLACEMENT CHARACTER}" in room:
            raise Refusal(400, "bad_room_id", "a room id is printable UTF-8")


class Subscribe(RoomEndpoint):
    """The stream of a room: `retry:`, its history, then what comes."""

    method = "GET"
    operation = "watch"
    right = SUBSCRIBE

    async def serve(self, room: str, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        """See RoomEndpoint."""
        last = _last_event_id(scope)
        with self.limits.subscription(client_address(scope)):
            await self._serve(room, last, scope, send)

    async def _serve(self, room: str, last: int | None, scope: Scope, send: Send) -> None:
        connection = connection_of(scope)
        subscription = await self.broker.subscribe(room, connection)
        try:
            if connection.pipelined():
                text = "no request may follow this one: its answer has no end"
                raise Refusal(400, "pipelined", text, {"connection": "close"})
            with self.access.while_good(scope[GRANT], lambda reason: self.broker.cut(subscription, reason)):
                with super().traced(scope, room):
                    await self._begin(subscription, last, send)
                await self._follow(subscription, send)
        finally:
            self.broker.unsubscribe(subscription)

    def traced(self, scope: Scope, room: str) -> AbstractContextManager[None]:  # noqa: ARG002 - the others'
        """Nothing: a stream may last for ever, and what it begins with has a span of its own."""
        return nullcontext()

    async def _begin(self, subscription: Subscription, last: int | None, send: Send) -> None:
        view = subscription.view
        first = RETRY
        start = 0 if last is None or last >= view.next_id else last + 1
        if start < view.oldest:
            if start:
                self.meters.history_lost.inc()
                first += b"event: history-lost\ndata: %d\n\n" % view.oldest
            start = view.oldest
        subscription.begin(start)
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [
                    (b"content-type", b"text/event-stream"),
                    (b"cache-control", b"no-store"),
                    # nginx would otherwise hold events back.
                    (b"x-accel-buffering", b"no"),
                    (b"room-incarnation", view.incarnation.encode("ascii")),
                ],
            }
        )
        await send({"type": "http.response.body", "body": first, "more_body": True})

    async def _follow(self, subscription: Subscription, send: Send) -> None:
        while not subscription.gone:
            reason = subscription.end_reason
            behind = subscription.cursor < subscription.next_id
            if reason is not None and not (reason == CLOSING and behind):
                await send({"type": "http.response.body", "body": LAST_WORDS[reason], "more_body": False})
                return
            if behind:
                events = await subscription.read()
                if not events:
                    continue
                body = events[0].frame if len(events) == 1 else b"".join([event.frame for event in events])
                subscription.sending()
                await send({"type": "http.response.body", "body": body, "more_body": True})
                subscription.sent(events)
                if subscription.cursor < subscription.next_id:
                    # A write to a reader that takes everything does not wait: the others' turn comes all the same.
                    await asyncio.sleep(0)
            elif subscription.ping_due:
                subscription.ping_due = False
                subscription.sending()
                await send({"type": "http.response.body", "body": PING, "more_body": True})
                subscription.sent()
            else:
                await subscription.wait()


class IssueUniqueIdx(RoomEndpoint):
    """The room's counter."""

    operation = "next_index"
    right = ISSUE

    async def serve(self, room: str, scope: Scope, receive: Receive, send: Send) -> None:
        """See RoomEndpoint."""
        index = await self.broker.store.next_index(room)
        self.meters.indices.inc()
        await JSONResponse({"unique_idx": index})(scope, receive, send)


class Broadcast(RoomEndpoint):
    """Takes a message for everybody in the room, its sender included."""

    operation = "append"
    _bodies = 0

    async def serve(self, room: str, scope: Scope, receive: Receive, send: Send) -> None:
        """See RoomEndpoint."""
        rates = self.broker.rates
        rates.message(room)
        body = await self._body(scope, receive)
        rates.received(room, len(body))
        try:
            body.decode("utf-8")
        except UnicodeDecodeError:
            raise Refusal(400, "not_utf8", "the body is not UTF-8") from None
        if b"\r" in body:
            raise Refusal(
                400, "carriage_return", "the body holds a CR, which server-sent events cannot carry"
            )
        # A body may take its time: what is taken from here on has to reach the readers, who leave when the drain begins.
        self.check_open()
        with self.meters.post_seconds.time():
            await self.broker.store.append(room, body)
        self.meters.messages.inc()
        self.meters.message_bytes.inc(len(body))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """The whole body, never more of it in memory than allowed."""
        announced = header(scope, b"content-length")
        if announced is not None and int(announced) > self.server.max_body_bytes:
            raise self._too_large(_NO_BODY if header(scope, b"expect") is not None else None)
        client = client_address(scope)
        parts: list[bytes] = []
        size = 0
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Disconnected
                part: bytes = message.get("body", b"")
                size += len(part)
                self._bodies += len(part)
                parts.append(part)
                self.limits.received(client, len(part))
                if size > self.server.max_body_bytes:
                    raise self._too_large()
                if self._bodies > self.server.max_bodies_bytes:
                    raise Refusal(
                        503, "busy", "too many messages are being received at a time", _retry_after()
                    )
                if not message.get("more_body", False):
                    return parts[0] if len(parts) == 1 else b"".join(parts)
        finally:
            self._bodies -= size

    def _too_large(self, headers: Headers | None = None) -> Refusal:
        text = f"a message has at most {self.server.max_body_bytes} bytes"
        return Refusal(413, "body_too_large", text, headers)


def _retry_after(seconds: int = RETRY_AFTER_SECONDS) -> Headers:
    return {"retry-after": str(seconds)}


def _last_event_id(scope: Scope) -> int | None:
    value = header(scope, b"last-event-id")
    if value is None:
        return None
    # bytes.isdigit knows ASCII digits alone.
    if not value.isdigit():
        raise Refusal(400, "bad_last_event_id", "Last-Event-ID is not a decimal number")
    # Beyond 2^63 no store has an id, and int() refuses to parse thousands of digits.
    return int(value) if len(value) <= 18 else 2**63


async def refuse(
    meters: Meters, refusal: Refusal, scope: Scope, receive: Receive, send: Send, **about: object
) -> None:
    """Answers, logs and counts a refusal."""
    meters.refused(
        refusal.reason,
        status=refusal.status,
        method=scope["method"],
        path=scope["path"][:512],
        client=client_address(scope),
        **about,
    )
    answer = {"error": refusal.reason, "message": refusal.text}
    response = Response(
        json.dumps(answer), refusal.status, headers=refusal.headers, media_type="application/json"
    )
    await response(scope, receive, send)


def _failure(meters: Meters, scope: Scope, error: Exception) -> Response:
    """Of the gateway itself. The traceback is logged by the server, to which the exception goes on."""
    meters.refused(
        "internal_error", method=scope["method"], path=scope["path"][:512], error=type(error).__name__
    )
    return JSONResponse({"error": "internal_error", "message": "see the gateway's log"}, status_code=500)


class _Calls:
    """The calls of rooms by their paths; all else goes on to `rest`.

    A router's way through middleware and patterns takes as long as all that the gateway does with a message.
    """

    def __init__(self, calls: Mapping[str, RoomEndpoint], rest: ASGIApp, meters: Meters) -> None:
        self._calls = calls
        self._rest = rest
        self._meters = meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        _, first, *more = scope["path"].split("/")
        endpoint = self._calls.get(more[1]) if first == "rooms" and len(more) == 2 and more[0] else None
        if endpoint is None:
            await self._rest(scope, receive, send)
            return
        scope["path_params"] = {"room_id": more[0]}
        try:
            await endpoint(scope, receive, send)
        except Exception as error:
            # A response that has begun cannot be another one: then the server breaks off.
            with suppress(RuntimeError):
                await _failure(self._meters, scope, error)(scope, receive, send)
            raise


class GatewayApp:
    """The application: rooms, whatever `extra_routes` adds, 404 and 405 for the rest."""

    def __init__(
        self,
        broker: Broker,
        server: ServerSettings,
        meters: Meters,
        limits: ClientLimits,
        access: Access,
        extra_routes: Iterable[BaseRoute] = (),
    ) -> None:
        kinds = {"broadcast": Broadcast, "subscribe": Subscribe, "issue_unique_idx": IssueUniqueIdx}
        self._calls: dict[str, RoomEndpoint] = {
            name: kind(broker, server, meters, limits, access) for name, kind in kinds.items()
        }
        app = _Calls(self._calls, self._others(meters, extra_routes), meters)
        self._cors = Cors(app, server.cors_origins)
        self._meters = meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if self._cors.admits(scope):
            await self._cors(scope, receive, send)
        else:
            text = "pages of this origin may not use this gateway (server.cors_origins)"
            await refuse(self._meters, Refusal(403, "foreign_origin", text), scope, receive, send)

    def reload(self, server: ServerSettings) -> None:
        """Other origins and sizes, from the next request on."""
        self._cors.reload(server.cors_origins)
        for endpoint in self._calls.values():
            endpoint.server = server

    @staticmethod
    def _others(meters: Meters, routes: Iterable[BaseRoute]) -> Starlette:
        async def not_ours(request: Request, error: Exception) -> Response:
            status = error.status_code if isinstance(error, HTTPException) else 500
            headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
            reason = {404: "not_found", 405: "method_not_allowed"}.get(status, "http_error")
            client = client_address(request.scope)
            path = request.url.path[:512]
            meters.refused(reason, status=status, method=request.method, path=path, client=client)
            text = {404: "there is nothing here", 405: f"use {headers.get('Allow', 'another method')}"}.get(
                status, ""
            )
            return JSONResponse({"error": reason, "message": text}, status_code=status, headers=headers)

        async def failed(request: Request, error: Exception) -> Response:
            return _failure(meters, request.scope, error)

        app = Starlette(
            routes=list(routes),
            exception_handlers={HTTPException: not_ours, Exception: failed},
        )
        app.router.redirect_slashes = False
        return app
