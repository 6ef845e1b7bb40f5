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
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import redis.asyncio
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import OutOfMemoryError, RedisError, ResponseError

from gateway import redis_scripts
from gateway.settings import RedisSettings, RoomsSettings
from gateway.shared import SharedStore, WatchedRoom
from gateway.store import Event, HistoryLost, StoreFull, StoreUnavailable, View
from kit.together import until_one_ends

# Larger messages are told by number alone: Redis drops a listener with 32 MiB before it.
MAX_TOLD_BYTES = 64 * 1024


class RedisStore(SharedStore):
    """See the module, and SharedStore."""

    def __init__(
        self, settings: RedisSettings, limits: RoomsSettings, now: Callable[[], float] = time.monotonic
    ) -> None:
        """`now`: seconds of a clock that never goes back. Connects when it is used first."""
        if settings.url is None:
            raise ValueError("redis.url is not set")
        super().__init__(limits, settings.timeout_seconds, now)
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
        self._view_script = self._redis.register_script(redis_scripts.VIEW)
        self._index_script = self._redis.register_script(redis_scripts.INDEX)
        self._append_script = self._redis.register_script(redis_scripts.APPEND)
        self._read_script = self._redis.register_script(redis_scripts.READ)
        self._give_up_script = self._redis.register_script(redis_scripts.GIVE_UP)
        # How many answers to SUBSCRIBE are due, by room.
        self._asked: Counter[str] = Counter()

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
        answer = await self._ask(self._append_script(keys=self._keys(room), args=args))
        return int(answer[1])

    async def next_index(self, room: str) -> int:
        """See RoomStore."""
        answer = await self._ask(self._index_script(keys=self._keys(room), args=self._opening(room)))
        return int(answer[1])

    async def _view(self, name: str) -> View:
        """See SharedStore."""
        answer = await self._ask(self._view_script(keys=self._keys(name), args=self._opening(name)))
        return View(answer[1].decode("ascii"), int(answer[2]), int(answer[3]))

    async def _give_up(self, name: str, incarnation: str) -> None:
        """See SharedStore."""
        await self._ask(self._give_up_script(keys=self._keys(name), args=[incarnation, name]))

    async def _fetch(self, name: str, incarnation: str, start: int, max_bytes: int) -> Sequence[Event]:
        """See SharedStore."""
        args: list[str | int] = [incarnation, start, max_bytes]
        said, *found = await self._ask(self._read_script(keys=self._keys(name)[:2], args=args))
        if said == b"lost":
            return ()
        if said == b"overtaken":
            raise HistoryLost(int(found[0]))
        return [Event.encode(start + number, body) for number, body in enumerate(found)]

    async def expire(self) -> int:
        """See RoomStore. Redis drops what idles by itself; here watched rooms are kept alive, and rooms are counted."""
        await self._keep_watched_alive()
        # The gauge alone rests on this process's clock: what ends when is up to Redis'.
        now = int(time.time() * 1000)
        self.rooms = await self._ask(self._redis.zcount(f"{self._prefix}rooms", now, "+inf"))
        self.total_bytes = int((await self._ask(self._redis.info("memory")))["used_memory"])
        return 0

    async def check(self) -> str | None:
        """See RoomStore."""
        try:
            await self._ask(self._redis.ping())
        except StoreUnavailable as error:
            return str(error)
        return None

    async def close(self) -> None:
        """See RoomStore."""
        await super().close()
        await self._listening.aclose()
        await self._redis.aclose()

    # -- the connection that listens -----------------------------------------------------------------------------

    async def _listen(self) -> None:
        """See SharedStore."""
        pubsub = self._listening.pubsub()
        looks: set[asyncio.Task[None]] = set()
        try:
            await pubsub.subscribe(self._prefix)
            await until_one_ends(self._subscribe(pubsub), self._hear(pubsub, looks))
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreUnavailable(f"Redis: {error!r}") from None
        finally:
            for look in looks:
                look.cancel()
            self._asked.clear()
            with contextlib.suppress(RedisError, OSError):
                await pubsub.aclose()  # type: ignore[no-untyped-call]

    async def _subscribe(self, pubsub: PubSub) -> None:
        """Listen to the channels of the watched rooms and no others, and have Redis say that it is there."""
        listening: dict[str, WatchedRoom] = {}
        while True:
            new, gone = self._changes(listening)
            # Redis knows channels, not places: one that was left and entered again is asked for again, that is all.
            gone = [name for name in gone if name not in listening]
            if new:
                self._asked.update(new)
                await pubsub.subscribe(*map(self._channel, new))
            if gone:
                await pubsub.unsubscribe(*map(self._channel, gone))
            try:
                async with asyncio.timeout(self._seconds):
                    await self._changed.wait()
            except TimeoutError:
                await pubsub.ping()

    async def _hear(self, pubsub: PubSub, looks: set[asyncio.Task[None]]) -> None:
        start = len(self._channel(""))
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
                        look = asyncio.create_task(self._catch_up(name, place))
                        looks.add(look)
                        look.add_done_callback(looks.discard)
            elif message["type"] == "message" and place is not None:
                incarnation, number, *body = message["data"].split(b" ", 2)
                number = int(number)
                event = Event.encode(number, body[0]) if body else None
                place.heard(incarnation.decode("ascii"), number + 1, event)
