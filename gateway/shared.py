"""What stores that several gateways share have in common: the rooms that this gateway's own subscribers read.

A shared store tells each gateway of appends to the rooms that it listens to; the gateway keeps their newest events,
encoded once for all its readers, and wakes these. What is not told (a broken connection, an overfull one) is read from
the store: after every pause a watched room is looked up again.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from gateway.settings import RoomsSettings
from gateway.store import Event, RoomStore, StoreFull, StoreUnavailable, View, Watch, first_events
from kit.logs import get_logger

# What a gateway keeps of a watched room for the readers that are nearly up to date.
MAX_CACHED_BYTES = 4 * 1024 * 1024
MAX_CACHED_EVENTS = 256
# Of watched rooms, when they are kept alive: few enough that others' requests come through.
LOOKS_AT_A_TIME = 16
RECONNECT_SECONDS = (0.05, 2.0)

_log = get_logger(__name__)


class WatchedRoom:
    """A room that this gateway's subscribers read."""

    __slots__ = ("cache", "cached_bytes", "fetching", "incarnation", "listening", "next_id", "watches")

    def __init__(self) -> None:
        self.incarnation: str | None = None
        self.next_id = 0
        # The events before next_id, without gaps; empty when the newest are not here.
        self.cache: deque[Event] = deque()
        self.cached_bytes = 0
        self.fetching = asyncio.Lock()
        self.watches: dict[SharedWatch, None] = {}
        # Set while the store tells this gateway of the room's appends.
        self.listening = asyncio.Event()

    def heard(self, incarnation: str, next_id: int, event: Event | None = None) -> None:
        """The room has events up to `next_id`; `event` is the last of them, where it is known.

        Watches that began in another incarnation are told of an event that cannot be read, which ends them.
        """
        if incarnation != self.incarnation:
            for watch in list(self.watches):
                if watch.begun:
                    watch.lost = True
                    watch.grown(self.next_id + 1)
            self.incarnation, self.next_id = incarnation, 0
            self.forget()
        if next_id <= self.next_id:
            return
        if event is not None and event.id == self.next_id:
            self.keep(event)
        else:
            self.forget()
        self.next_id = next_id
        for watch in list(self.watches):
            if watch.begun and not watch.lost:
                watch.grown(next_id)

    def keep(self, event: Event) -> None:
        """The event after those that are here."""
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


class SharedWatch(Watch):
    """See Watch."""

    __slots__ = ("_store", "begun", "grown", "lost", "name", "room", "view")

    def __init__(
        self, store: SharedStore, name: str, room: WatchedRoom, grown: Callable[[int], None]
    ) -> None:
        self._store = store
        self.name = name
        self.room = room
        self.grown = grown
        self.begun = False
        # Whether the room is another one now: the store lost it.
        self.lost = False

    async def read(self, start: int, max_bytes: int) -> Sequence[Event]:
        """See Watch."""
        return await self._store.read(self, start, max_bytes)

    def newest(self) -> Event | None:
        """See Watch."""
        return self.room.cache[-1] if self.room.cache and not self.lost else None

    def close(self) -> None:
        """See Watch."""
        self._store.unwatch(self)


class SharedStore(RoomStore):
    """A store with watches; what its server is asked is left to the store. Belongs to one event loop.

    A request that is not answered in time raises StoreUnavailable. A message may have been stored all the same: its
    sender posts it again.
    """

    def __init__(
        self, limits: RoomsSettings, timeout_seconds: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        """`now`: seconds of a clock that never goes back."""
        self._limits = limits
        self._seconds = timeout_seconds
        self._now = now
        self._watched: dict[str, WatchedRoom] = {}
        self._changed = asyncio.Event()
        # The rooms of which it is.
        self._moved: set[str] = set()
        self._listener: asyncio.Task[None] | None = None
        self._touched_at = now()
        self.rooms = 0
        self.total_bytes = 0

    # -- what a store adds ---------------------------------------------------------------------------------------

    @abc.abstractmethod
    async def _view(self, name: str) -> View:
        """The room as it is now, made if need be, and kept alive by that. Raises StoreFull."""

    @abc.abstractmethod
    async def _give_up(self, name: str, incarnation: str) -> None:
        """Has the room begin anew if it is still of that incarnation."""

    @abc.abstractmethod
    async def _fetch(self, name: str, incarnation: str, start: int, max_bytes: int) -> Sequence[Event]:
        """The events from `start` on, bounded as in Watch; none if the room is not of that incarnation.

        Raises HistoryLost.
        """

    @abc.abstractmethod
    async def _listen(self) -> None:
        """Hears of what is appended to watched rooms, until the connection is lost. Raises StoreUnavailable.

        Sets `listening` of each as soon as it is told of; has those that were watched before looked at then. Whenever
        `_changed` is set, `_changes` tells what others than before are watched.
        """

    # -- the connection that listens -----------------------------------------------------------------------------

    def _follow(self, *rooms: str) -> None:
        """These are watched, or are not any longer."""
        if self._listener is None:
            loop = asyncio.get_running_loop()
            self._listener = loop.create_task(self._listen_for_ever(), name="appends of other gateways")
        self._moved.update(rooms)
        self._changed.set()

    def _changes(self, listening: dict[str, WatchedRoom]) -> tuple[list[str], list[str]]:
        """The rooms to listen to from now on, and those no longer, with `listening` brought up to date.

        A room that was left and entered again since is in both: it is another place, and waits for an answer.
        """
        self._changed.clear()
        moved, self._moved = self._moved, set()
        gone = [
            name for name in moved if name in listening and listening[name] is not self._watched.get(name)
        ]
        for name in gone:
            del listening[name]
        new = [name for name in moved if name in self._watched and name not in listening]
        listening.update((name, self._watched[name]) for name in new)
        return new, gone

    async def _listen_for_ever(self) -> None:
        shortest, longest = RECONNECT_SECONDS
        delay = shortest
        while True:
            began = self._now()
            self._moved = set(self._watched)
            try:
                await self._listen()
            except StoreUnavailable as error:
                _log.warning("the connection to the store is lost", error=str(error))
            finally:
                for place in self._watched.values():
                    place.listening.clear()
            delay = shortest if self._now() - began > longest else min(2 * delay, longest)
            await asyncio.sleep(delay)

    async def close(self) -> None:
        """See RoomStore."""
        if self._listener is not None:
            self._listener.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._listener

    # -- watches -------------------------------------------------------------------------------------------------

    async def watch(self, room: str, grown: Callable[[int], None]) -> Watch:
        """See RoomStore."""
        place = self._watched.get(room)
        if place is None:
            place = self._watched[room] = WatchedRoom()
            self._follow(room)
        watch = SharedWatch(self, room, place, grown)
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
                raise StoreUnavailable("the store does not answer to a subscription") from None
            raise
        return watch

    def unwatch(self, watch: SharedWatch) -> None:
        """Ends a watch; with a room's last one nobody here listens to it any longer."""
        watch.room.watches.pop(watch, None)
        if not watch.room.watches and self._watched.get(watch.name) is watch.room:
            del self._watched[watch.name]
            self._follow(watch.name)

    async def read(self, watch: SharedWatch, start: int, max_bytes: int) -> Sequence[Event]:
        """See Watch."""
        place = watch.room
        found = self._cached(watch, start, max_bytes)
        if found is None:
            # Readers of one event wait for one answer.
            async with place.fetching:
                found = self._cached(watch, start, max_bytes)
                if found is None:
                    found = await self._fetch(watch.name, watch.view.incarnation, start, max_bytes)
                    if found and found[-1].id == place.next_id - 1 and not place.cache:
                        for event in found:
                            place.keep(event)
        return found

    @staticmethod
    def _cached(watch: SharedWatch, start: int, max_bytes: int) -> Sequence[Event] | None:
        if watch.lost:
            return ()
        cached = watch.room.cached(start)
        return None if cached is None else first_events(cached, max_bytes)

    async def _look(self, name: str, place: WatchedRoom) -> View:
        """The room as it is now; watches that began in another incarnation are told."""
        incarnation, known = place.incarnation, place.next_id
        view = await self._view(name)
        if view.incarnation == incarnation and view.next_id < known:
            # The store went back to an older state: it would give ids that readers know to other messages.
            _log.warning("the store has lost the end of a room, which begins anew", room=name)
            await self._give_up(name, incarnation)
            view = await self._view(name)
        place.heard(view.incarnation, view.next_id)
        return view

    async def _catch_up(self, name: str, place: WatchedRoom) -> None:
        """After a connection was lost: what was appended meanwhile was told to nobody here."""
        with contextlib.suppress(StoreUnavailable, StoreFull):
            await self._look(name, place)

    async def _keep_watched_alive(self) -> None:
        """Looks at them well before the store would drop them; nothing when that was done lately."""
        limits = self._limits
        if self._now() - self._touched_at >= min(limits.idle_seconds, limits.min_idle_seconds) / 4:
            self._touched_at = self._now()
            await self._look_at_watched()

    async def _look_at_watched(self) -> None:
        rooms = iter([(name, place) for name, place in self._watched.items() if place.listening.is_set()])

        async def look_at_some() -> None:
            for name, place in rooms:
                # Of a room that the store lost and has no place for: its readers learn of it where they read.
                with contextlib.suppress(StoreFull):
                    await self._look(name, place)

        looks = (look_at_some() for _ in range(LOOKS_AT_A_TIME))
        for failure in await asyncio.gather(*looks, return_exceptions=True):
            if failure is not None:
                raise failure
