"""Rooms in Redis: any number of gateways that use one server serve the same rooms.

A room is a stream and a hash (`gateway.redis_scripts`), changed by scripts alone, so ids have no gaps whoever posts. An
append tells the room's channel of itself; each gateway listens to the channels of the rooms that its own subscribers
read and keeps their newest events, encoded once for all of them. What the channel loses is read from the stream: after
a broken connection every watched room is looked up again.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import redis.asyncio
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import OutOfMemoryError, RedisError, ResponseError

from gateway import redis_scripts
from gateway.settings import RedisSettings, RoomsSettings
from gateway.store import (
    Event,
    HistoryLost,
    RoomStore,
    StoreFull,
    StoreUnavailable,
    View,
    Watch,
    first_events,
)
from kit.logs import get_logger

# Larger messages are told by number alone: Redis drops a listener with 32 MiB before it.
MAX_TOLD_BYTES = 64 * 1024
# What a gateway keeps of a watched room for the readers that are nearly up to date.
MAX_CACHED_BYTES = 4 * 1024 * 1024
MAX_CACHED_EVENTS = 256
RECONNECT_SECONDS = (0.05, 2.0)
# Of watched rooms, when they are kept alive: below redis.max_connections, so that others' requests have some.
LOOKS_AT_A_TIME = 16

_log = get_logger(__name__)


class _Room:
    """A room that this gateway's subscribers read."""

    __slots__ = (
        "cache",
        "cached_bytes",
        "fetching",
        "heard",
        "incarnation",
        "listening",
        "next_id",
        "watches",
    )

    def __init__(self) -> None:
        self.incarnation: str | None = None
        self.next_id = 0
        # The events before next_id, without gaps; empty when the newest are not here.
        self.cache: deque[Event] = deque()
        self.cached_bytes = 0
        self.fetching = asyncio.Lock()
        self.watches: dict[_RedisWatch, None] = {}
        self.listening = asyncio.Event()

    def grow(self, event: Event) -> None:
        """The next event of the room."""
        self.cache.append(event)
        self.cached_bytes += len(event.frame)
        while len(self.cache) > 1 and (
            len(self.cache) > MAX_CACHED_EVENTS or self.cached_bytes > MAX_CACHED_BYTES
        ):
            self.cached_bytes -= len(self.cache.popleft().frame)

    def forget(self) -> None:
        """The events that are here are not the newest."""
        self.cache.clear()
        self.cached_bytes = 0

    def cached(self, start: int) -> Iterator[Event] | None:
        """The events from `start` on; None when they are not here."""
        first = self.next_id - len(self.cache)
        return islice(self.cache, start - first, None) if first <= start < self.next_id else None


class _RedisWatch(Watch):
    __slots__ = ("_store", "begun", "grown", "lost", "name", "room", "view")

    def __init__(self, store: RedisStore, name: str, room: _Room, grown: Callable[[int], None]) -> None:
        self._store = store
        self.name = name
        self.room = room
        self.grown = grown
        self.begun = False
        # Whether the room is another one now: Redis lost it.
        self.lost = False

    async def read(self, start: int, max_bytes: int) -> Sequence[Event]:
        return await self._store.read(self, start, max_bytes)

    def newest(self) -> Event | None:
        return self.room.cache[-1] if self.room.cache and not self.lost else None

    def close(self) -> None:
        self._store.unwatch(self)


class RedisStore(RoomStore):
    """See the module. Belongs to one event loop.

    A request that Redis does not answer in time raises StoreUnavailable. A message may have been stored all the same:
    its sender posts it again.
    """

    def __init__(
        self, settings: RedisSettings, limits: RoomsSettings, now: Callable[[], float] = time.monotonic
    ) -> None:
        """`now`: seconds of a clock that never goes back. Connects when it is used first."""
        if settings.url is None:
            raise ValueError("redis.url is not set")
        self._limits = limits
        self._now = now
        self._seconds = settings.timeout_seconds
        # One hash tag: all keys are in one slot, as scripts that touch several of them need.
        self._prefix = "{" + settings.prefix + "}:"
        options: dict[str, Any] = {
            "username": settings.username,
            "password": settings.read_password(),
            "socket_timeout": settings.timeout_seconds,
            "socket_connect_timeout": settings.timeout_seconds,
            "max_connections": settings.max_connections,
            # Trying again is the caller's: a message that was stored and not answered would be there twice.
            "retry": Retry(NoBackoff(), 0),
            "health_check_interval": 0,
        }
        if settings.url.startswith("rediss://"):
            options["ssl_ca_certs"] = None if settings.ca is None else str(settings.ca)
        options = {name: value for name, value in options.items() if value is not None}
        pool = redis.asyncio.BlockingConnectionPool.from_url(
            settings.url, timeout=settings.timeout_seconds, **options
        )
        self._redis = redis.asyncio.Redis.from_pool(pool)
        listening = {**options, "socket_timeout": None}
        del listening["max_connections"]
        self._listening = redis.asyncio.Redis.from_url(settings.url, **listening)
        self._view = self._redis.register_script(redis_scripts.VIEW)
        self._index = self._redis.register_script(redis_scripts.INDEX)
        self._append = self._redis.register_script(redis_scripts.APPEND)
        self._read = self._redis.register_script(redis_scripts.READ)
        self._watched: dict[str, _Room] = {}
        # How many answers to SUBSCRIBE are due, by room.
        self._asked: Counter[str] = Counter()
        self._listener: asyncio.Task[None] | None = None
        self._wanted = asyncio.Event()
        self._touched_at = now()
        self.rooms = 0
        self.total_bytes = 0

    # -- keys ----------------------------------------------------------------------------------------------------

    def _keys(self, name: str) -> list[str]:
        return [f"{self._prefix}room:{name}", f"{self._prefix}log:{name}", f"{self._prefix}rooms"]

    def _channel(self, name: str) -> str:
        return f"{self._prefix}grown:{name}"

    def _opening(self, name: str) -> list[str | int]:
        limits = self._limits
        return [
            name, secrets.token_hex(16), limits.first_index, int(limits.idle_seconds * 1000),
            int(limits.min_idle_seconds * 1000), limits.max_rooms, self._prefix,
        ]  # fmt: skip

    async def _ask(self, answer: Awaitable[Any]) -> Any:
        """What Redis answers. Raises StoreUnavailable, StoreFull."""
        try:
            async with asyncio.timeout(self._seconds):
                found = await answer
        except ResponseError as error:
            # Inside a script it comes as an answer like any other.
            if isinstance(error, OutOfMemoryError) or "OOM" in str(error):
                raise StoreFull("memory_full", "the store's memory for messages is full") from None
            raise StoreUnavailable(f"Redis: {error}") from None
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreUnavailable(f"Redis: {type(error).__name__}: {error}") from None
        if isinstance(found, list) and found[0] == b"rooms_full":
            raise StoreFull("rooms_full", f"there are {found[1]} rooms in use, as many as there may be")
        return found

    # -- the interface -------------------------------------------------------------------------------------------

    async def append(self, room: str, body: bytes) -> int:
        """See RoomStore."""
        limits = self._limits
        args = [
            *self._opening(room), body, limits.max_messages, limits.max_bytes, self._channel(room), MAX_TOLD_BYTES,
        ]  # fmt: skip
        answer = await self._ask(self._append(keys=self._keys(room), args=args))
        return int(answer[1])

    async def next_index(self, room: str) -> int:
        """See RoomStore."""
        answer = await self._ask(self._index(keys=self._keys(room), args=self._opening(room)))
        return int(answer[1])

    async def watch(self, room: str, grown: Callable[[int], None]) -> Watch:
        """See RoomStore."""
        place = self._watched.get(room)
        if place is None:
            place = self._watched[room] = _Room()
            if self._listener is None:
                loop = asyncio.get_running_loop()
                self._listener = loop.create_task(self._listen_for_ever(), name="redis channels")
            self._wanted.set()
        watch = _RedisWatch(self, room, place, grown)
        place.watches[watch] = None
        try:
            async with asyncio.timeout(self._seconds):
                await place.listening.wait()
            watch.view = await self._look(room, place)
            watch.begun = True
            if place.next_id > watch.view.next_id:
                grown(place.next_id)
        except BaseException as error:
            self.unwatch(watch)
            if isinstance(error, TimeoutError):
                raise StoreUnavailable("Redis: no answer to a subscription") from None
            raise
        return watch

    def unwatch(self, watch: _RedisWatch) -> None:
        """Ends a watch; with a room's last one nobody here listens to it any longer."""
        watch.room.watches.pop(watch, None)
        if not watch.room.watches and self._watched.get(watch.name) is watch.room:
            del self._watched[watch.name]
            self._wanted.set()

    async def read(self, watch: _RedisWatch, start: int, max_bytes: int) -> Sequence[Event]:
        """See Watch."""
        place = watch.room
        found = self._cached(watch, start, max_bytes)
        if found is None:
            # Readers of one event wait for one answer.
            async with place.fetching:
                found = self._cached(watch, start, max_bytes)
                if found is None:
                    found = await self._fetch(watch, start, max_bytes)
        return found

    def _cached(self, watch: _RedisWatch, start: int, max_bytes: int) -> Sequence[Event] | None:
        if watch.lost:
            return ()
        cached = watch.room.cached(start)
        return None if cached is None else first_events(cached, max_bytes)

    async def _fetch(self, watch: _RedisWatch, start: int, max_bytes: int) -> Sequence[Event]:
        keys = self._keys(watch.name)[:2]
        said, *found = await self._ask(self._read(keys=keys, args=[watch.view.incarnation, start, max_bytes]))
        if said == b"lost":
            return ()
        if said == b"overtaken":
            raise HistoryLost(int(found[0]))
        events = [Event.encode(start + number, body) for number, body in enumerate(found)]
        place = watch.room
        if events and events[-1].id == place.next_id - 1 and not place.cache:
            for event in events:
                place.grow(event)
        return events

    async def expire(self) -> int:
        """See RoomStore. Redis drops what idles by itself; here watched rooms are kept alive, and rooms are counted."""
        limits = self._limits
        if self._now() - self._touched_at >= min(limits.idle_seconds, limits.min_idle_seconds) / 4:
            self._touched_at = self._now()
            await self._keep_watched_alive()
        # The gauge alone rests on this process's clock: what ends when is up to Redis'.
        now = int(time.time() * 1000)
        self.rooms = await self._ask(self._redis.zcount(f"{self._prefix}rooms", now, "+inf"))
        self.total_bytes = int((await self._ask(self._redis.info("memory")))["used_memory"])
        return 0

    async def _keep_watched_alive(self) -> None:
        rooms = iter([(name, place) for name, place in self._watched.items() if place.listening.is_set()])

        async def look_at_some() -> None:
            for name, place in rooms:
                # Of a room that Redis lost, and has no place for: its readers learn of it where they read.
                with contextlib.suppress(StoreFull):
                    await self._look(name, place)

        answers = await asyncio.gather(
            *(look_at_some() for _ in range(LOOKS_AT_A_TIME)), return_exceptions=True
        )
        for answer in answers:
            if answer is not None:
                raise answer

    async def check(self) -> str | None:
        """See RoomStore."""
        try:
            await self._ask(self._redis.ping())
        except StoreUnavailable as error:
            return str(error)
        return None

    async def close(self) -> None:
        """See RoomStore."""
        if self._listener is not None:
            self._listener.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._listener
        await self._listening.aclose()
        await self._redis.aclose()

    # -- what happens in watched rooms ---------------------------------------------------------------------------

    async def _look(self, name: str, place: _Room) -> View:
        """The room as it is now, kept alive by that; watches that began in another incarnation are told."""
        answer = await self._ask(self._view(keys=self._keys(name), args=self._opening(name)))
        view = View(answer[1].decode("ascii"), int(answer[2]), int(answer[3]))
        self._heard(place, view.incarnation, view.next_id)
        return view

    def _heard(self, place: _Room, incarnation: str, next_id: int, event: Event | None = None) -> None:
        """The room has events up to `next_id`; `event` is the last of them, where it is known."""
        if incarnation != place.incarnation:
            for watch in place.watches:
                if watch.begun:
                    watch.lost = True
                    # What it is told of cannot be read, which ends it.
                    watch.grown(place.next_id + 1)
            place.incarnation, place.next_id = incarnation, 0
            place.forget()
        if next_id <= place.next_id:
            return
        if event is not None and event.id == place.next_id:
            place.grow(event)
        else:
            place.forget()
        place.next_id = next_id
        for watch in list(place.watches):
            if watch.begun and not watch.lost:
                watch.grown(next_id)

    # -- the connection that listens -----------------------------------------------------------------------------

    async def _listen_for_ever(self) -> None:
        shortest, longest = RECONNECT_SECONDS
        delay = shortest
        while True:
            began = self._now()
            pubsub = self._listening.pubsub()
            try:
                async with asyncio.TaskGroup() as tasks:
                    await pubsub.subscribe(self._prefix)
                    tasks.create_task(self._subscribe(pubsub))
                    tasks.create_task(self._hear(pubsub))
            except* (RedisError, OSError, TimeoutError) as group:
                _log.warning("the connection to Redis is lost", error=repr(group.exceptions[0]))
            finally:
                for place in self._watched.values():
                    place.listening.clear()
                self._asked.clear()
                with contextlib.suppress(RedisError, OSError):
                    await pubsub.aclose()  # type: ignore[no-untyped-call]
            delay = shortest if self._now() - began > longest else min(2 * delay, longest)
            await asyncio.sleep(delay)

    async def _subscribe(self, pubsub: PubSub) -> None:
        """Listen to the channels of the watched rooms and no others, and have Redis say that it is there."""
        known: dict[str, _Room] = {}
        while True:
            self._wanted.clear()
            wanted = dict(self._watched)
            # A room that was left and entered again since is asked for again, so that there is an answer to wait for.
            new = [name for name, place in wanted.items() if known.get(name) is not place]
            gone = known.keys() - wanted.keys()
            known = wanted
            if new:
                self._asked.update(new)
                await pubsub.subscribe(*map(self._channel, new))
            if gone:
                await pubsub.unsubscribe(*map(self._channel, gone))
            try:
                async with asyncio.timeout(self._seconds):
                    await self._wanted.wait()
            except TimeoutError:
                await pubsub.ping()

    async def _hear(self, pubsub: PubSub) -> None:
        start = len(self._channel(""))
        async with asyncio.TaskGroup() as looks:
            while True:
                message = await pubsub.get_message(timeout=3 * self._seconds)
                if message is None:
                    raise TimeoutError("Redis is silent")
                name = (message["channel"] or b"")[start:].decode()
                place = self._watched.get(name)
                if message["type"] == "subscribe" and self._asked[name]:
                    self._asked[name] -= 1
                    # Not if it is to be left, and entered again, by commands that are under way.
                    if place is not None and not self._asked[name]:
                        place.listening.set()
                        if place.incarnation is not None:
                            looks.create_task(self._catch_up(name, place))
                elif message["type"] == "message" and place is not None:
                    incarnation, number, *body = message["data"].split(b" ", 2)
                    number = int(number)
                    event = Event.encode(number, body[0]) if body else None
                    self._heard(place, incarnation.decode("ascii"), number + 1, event)

    async def _catch_up(self, name: str, place: _Room) -> None:
        """After a connection was lost: what was appended meanwhile was told to nobody here."""
        with contextlib.suppress(StoreUnavailable, StoreFull):
            await self._look(name, place)
