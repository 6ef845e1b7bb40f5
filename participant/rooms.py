"""The client of the gateway's rooms: standing subscriptions that resume, and posts that arrive at least once.

A room may replay, repeat, forget or invent whatever it likes: what counts is decided by the signatures inside. This
client sees to it that a connection which dies costs nothing but time.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import ssl
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, Literal

from kit import tracing
from participant.answer import Answer, ConnectionFailed
from participant.exchange import Exchange
from participant.room_refusals import RoomForbidden, RoomUnknown, judge
from participant.sse import RawEvent, SseDecoder

log = logging.getLogger(__name__)

MAX_BODY: Final = 8 * 1024 * 1024
"""The gateway's default limit for a posted body, in bytes."""
MAX_EVENT: Final = MAX_BODY + MAX_BODY // 2
"""A body in `data:` lines; ours have one line, foreign ones may have many."""
ROOM_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
EVENT_ID: Final = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
INCARNATION: Final = "room-incarnation"
SETTLED_SECONDS: Final = 30.0
"""A stream that lived so long or brought something new ends a series of failures."""

Action = Literal["subscribe", "post"]
TokenProvider = Callable[[str, Action], str | None]
"""(room, action) -> bearer token or None; asked for every request. It gives the same one until that is nearly over."""


@dataclass(frozen=True)
class Event:
    """A message of the room: its number there, and the body as it was posted."""

    id: int
    data: str


@dataclass(frozen=True)
class Incarnation:
    """The gateway lost the room's history: post again what the session still needs. What follows starts anew."""

    value: str | None


@dataclass(frozen=True)
class HistoryLost:
    """Messages before number `oldest` are gone (None: the gateway did not say) that this client has not seen."""

    oldest: int | None


RoomItem = Event | Incarnation | HistoryLost


@dataclass
class Backoff:
    """Exponential, with full jitter: before try n a time uniform in [0, min(cap, base * 2^n)] seconds."""

    base: float = 0.25
    cap: float = 10.0

    def delay(self, failures: int, uniform: Callable[[], float]) -> float:
        """Seconds before the next try after `failures` >= 1 in a row."""
        return uniform() * min(self.cap, self.base * 2.0 ** min(failures - 1, 32))


@dataclass
class Counters:
    """What happened so far; the node shows them as metrics."""

    connects: int = 0
    disconnects: int = 0
    chunks: int = 0
    posts: int = 0
    post_retries: int = 0
    repeated_events: int = 0
    bad_events: int = 0
    oversized_events: int = 0
    renewals: int = 0
    incarnations: int = 0
    histories_lost: int = 0


class RoomsClient:
    """One gateway. Safe to share among all sessions of a node."""

    def __init__(
        self,
        base_url: str,
        *,
        tls: ssl.SSLContext | None = None,
        token: TokenProvider | None = None,
        heartbeat_timeout: float = 45.0,
        connect_timeout: float = 10.0,
        answer_timeout: float = 20.0,
        backoff: Backoff | None = None,
        max_event: int = MAX_EVENT,
        on_connected: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        """`heartbeat_timeout`: seconds without a byte (heartbeats count) after which a stream is dead.

        `answer_timeout`: seconds after which a request without an answer is made anew.
        `on_connected` is called whenever the gateway answers after it did not.
        """
        self.base_url = base_url.rstrip("/")
        self.counters = Counters()
        self._http = Exchange(
            self.base_url,
            tls,
            connect_timeout=connect_timeout,
            answer_timeout=answer_timeout,
            silence_timeout=heartbeat_timeout,
        )
        self._token = token
        self._on_connected = on_connected
        self._backoff = backoff or Backoff()
        self._max_event = max_event
        self._clock = clock
        self._sleep = sleep
        self._uniform = uniform
        self._reachable: bool | None = None
        # A gateway that dies is lost first and refuses then, when it is known what to do about it.
        self._said_refused = False
        self.refused: RoomForbidden | None = None
        """Why the gateway does not let this node in, where that was its last answer."""

    async def close(self) -> None:
        """End all connections; subscriptions must have been closed before."""
        await self._http.close()

    @property
    def reachable(self) -> bool | None:
        """Whether the last exchange with the gateway succeeded; None before the first."""
        return self._reachable

    async def post(self, room: str, body: str) -> None:
        """Post `body`, again and again until the gateway has taken it; the caller's deadline ends that by cancelling.

        It may arrive more than once: receivers ignore exact duplicates. Raises RoomError for what trying again will
        not change.
        """
        path = _path(room, "broadcast")
        with tracing.span("post into room", room=room, size=len(body)):
            await self._post(room, path, body.encode())

    async def _post(self, room: str, path: str, data: bytes) -> None:
        failures = 0
        while True:
            headers = {
                **_bearer(self._token_for(room, "post")),
                **tracing.headers(),
                "Content-Type": "text/plain;charset=utf-8",
            }
            try:
                async with self._http.request("POST", path, headers=headers, body=data) as answer:
                    await self._check(room, answer)
                    await answer.text()
                    self._came_up()
                    self.counters.posts += 1
                    return
            except ConnectionFailed as error:
                failures += 1
                wait = self._failed(room, error, failures)
            self.counters.post_retries += 1
            await self._sleep(wait)

    async def subscribe(self, room: str) -> AsyncGenerator[RoomItem, None]:
        """Everything in the room from its first message on, for ever; reconnects by itself and loses nothing.

        Close it (`contextlib.aclosing`) when done. Raises RoomError for what trying again will not change.
        """
        _path(room, "subscribe")
        state = _Position()
        failures = 0
        token = self._token_for(room, "subscribe")
        while True:
            started = self._clock()
            progress = state.seen
            end, broken = ConnectionFailed("the gateway ended the stream"), False
            try:
                async with aclosing(self._stream(room, state, token)) as items:
                    async for item in items:
                        yield item
            except ConnectionFailed as error:
                end, broken = error, True
            if state.restart:
                state.restart = False
                continue
            former, token = token, self._token_for(room, "subscribe")
            if former is not None and token != former and not broken:
                # A stream ends with its token: that is no failure.
                self.counters.renewals += 1
                continue
            self.counters.disconnects += 1
            settled = state.seen > progress or self._clock() - started >= SETTLED_SECONDS
            failures = 1 if settled else failures + 1
            await self._sleep(self._failed(room, end, failures))

    async def _stream(self, room: str, state: _Position, token: str | None) -> AsyncGenerator[RoomItem, None]:
        """One connection's items. Ends, or raises ConnectionFailed, when the connection does."""
        headers = {
            **_bearer(token),
            **tracing.headers(),
            "Accept": "text/event-stream",
            "Cache-Control": "no-store",
        }
        if state.last_id is not None:
            headers["Last-Event-ID"] = str(state.last_id)
        async with self._http.request("GET", _path(room, "subscribe"), headers=headers) as answer:
            await self._check(room, answer)
            if not answer.headers.get("content-type", "").startswith("text/event-stream"):
                raise RoomUnknown(room, answer.status, f"{self.base_url} answers, but not as a gateway does")
            self._came_up()
            self.counters.connects += 1
            incarnation = answer.headers.get(INCARNATION)
            changed = state.connected and (incarnation is None or incarnation != state.incarnation)
            state.connected, state.incarnation = True, incarnation
            if changed:
                self.counters.incarnations += 1
                log.info("room %s: the gateway lost its history, starting anew", room)
                resumed = state.last_id is not None
                state.last_id = None
                yield Incarnation(incarnation)
                if resumed:
                    # This stream left out what came before the old number; a fresh one does not.
                    state.restart = True
                    return
            decoder = SseDecoder(self._max_event)
            async for chunk in answer.chunks:
                self.counters.chunks += 1
                for raw in decoder.feed(chunk):
                    for item in self._items(room, raw, state):
                        yield item

    def _items(self, room: str, raw: RawEvent, state: _Position) -> Iterator[RoomItem]:
        if raw.event == "history-lost":
            oldest = int(raw.data) if raw.data is not None and EVENT_ID.fullmatch(raw.data) else None
            if oldest is not None and oldest > state.next_id:
                # Moved on first, so that the first event which is left does not look like a second gap.
                state.last_id = oldest - 1
            yield self._lost(room, oldest)
            return
        if raw.event != "new-message":
            return
        if raw.id is None or not EVENT_ID.fullmatch(raw.id):
            self.counters.bad_events += 1
            log.debug("room %s: an event without a number", room)
            return
        number = int(raw.id)
        if number < state.next_id:
            self.counters.repeated_events += 1
            return
        if number > state.next_id:
            # Numbers have no gaps. A reader from the start is not told by the gateway what its ring has dropped.
            yield self._lost(room, number)
        state.last_id = number
        state.seen += 1
        if raw.data is None:
            self.counters.oversized_events += 1
            log.warning(
                "room %s: message %d is larger than %d bytes or not text", room, number, self._max_event
            )
            return
        yield Event(number, raw.data)

    def _lost(self, room: str, oldest: int | None) -> HistoryLost:
        self.counters.histories_lost += 1
        log.warning("room %s: the gateway no longer has messages that this node has not seen", room)
        return HistoryLost(oldest)

    def _token_for(self, room: str, action: Action) -> str | None:
        return self._token(room, action) if self._token is not None else None

    async def _check(self, room: str, answer: Answer) -> None:
        """See `judge`."""
        try:
            await judge(room, answer)
        except RoomForbidden as error:
            self._reachable = False
            self.refused = error
            raise

    def _came_up(self) -> None:
        self.refused = None
        if self._reachable is not True:
            self._reachable = True
            self._said_refused = False
            log.info("Connected to gateway at %s", self.base_url)
            if self._on_connected is not None:
                self._on_connected()

    def _failed(self, room: str, error: ConnectionFailed, failures: int) -> float:
        """Say it, once for each change of state and not for each try; return the seconds to wait."""
        if error.busy:
            self._came_up()
            level = logging.WARNING if failures == 1 else logging.DEBUG
            log.log(level, "room %s: %s. Trying again with back-off.", room, error)
        elif self._reachable is False and (self._said_refused or not error.refused):
            log.debug("gateway at %s: %s", self.base_url, error)
        else:
            self._reachable = False
            self._say_down(error)
        return max(self._backoff.delay(failures, self._uniform), min(error.retry_after, self._backoff.cap))

    def _say_down(self, error: ConnectionFailed) -> None:
        if error.refused:
            self._said_refused = True
            log.warning(
                "Connection refused by the gateway at %s: nothing listens there. Start sign-gateway, or correct "
                "gateway.url in the configuration. Trying again with back-off until it answers.",
                self.base_url,
            )
        else:
            log.warning("Lost the gateway at %s (%s). Trying again with back-off.", self.base_url, error)


@dataclass
class _Position:
    """How far a subscription has come."""

    last_id: int | None = None
    incarnation: str | None = None
    connected: bool = False
    restart: bool = False
    seen: int = 0

    @property
    def next_id(self) -> int:
        """The number that the next event has when nothing is lost."""
        return 0 if self.last_id is None else self.last_id + 1


def _path(room: str, verb: str) -> str:
    if not ROOM_NAME.fullmatch(room):
        raise ValueError(f"{room[:140]!r} is no name for a room")
    return f"/rooms/{room}/{verb}"


def _bearer(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}
