"""Rooms in this process's memory: the default store. A restart loses them, which the incarnation tells clients."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from itertools import islice

from gateway.settings import RoomsSettings
from gateway.store import Event, HistoryLost, RoomStore, StoreFull, View, Watch, first_events


class _Room:
    __slots__ = ("active_at", "events", "incarnation", "index", "next_id", "size", "watchers")

    def __init__(self, first_index: int, now: float) -> None:
        self.incarnation = secrets.token_hex(16)
        self.events: deque[Event] = deque()
        self.next_id = 0
        self.size = 0
        self.index = first_index
        # A dict for its order: readers are woken in the order they came.
        self.watchers: dict[_MemoryWatch, None] = {}
        self.active_at = now

    @property
    def oldest(self) -> int:
        return self.next_id - len(self.events)

    def drop_oldest(self) -> int:
        size = len(self.events.popleft().frame)
        self.size -= size
        return size


class _MemoryWatch(Watch):
    __slots__ = ("_store", "grown", "room", "view")

    def __init__(self, store: MemoryStore, room: str, view: View, grown: Callable[[int], None]) -> None:
        self._store = store
        self.room = room
        self.view = view
        self.grown = grown

    async def read(self, start: int, max_bytes: int) -> Sequence[Event]:
        return self._store.read(self.room, start, max_bytes)

    def newest(self) -> Event | None:
        return self._store.newest(self.room)

    def close(self) -> None:
        self._store.unwatch(self)


class MemoryStore(RoomStore):
    """See the module. Not thread-safe: it belongs to one event loop."""

    def __init__(self, limits: RoomsSettings, now: Callable[[], float] = time.monotonic) -> None:
        """`now`: seconds of a clock that never goes back."""
        self._limits = limits
        self._now = now
        self._rooms: dict[str, _Room] = {}
        # Rooms without watchers, the longest idle first.
        self._idle: OrderedDict[str, _Room] = OrderedDict()
        self.total_bytes = 0
        self.dropped_rooms = 0

    @property
    def rooms(self) -> int:
        """How many there are."""
        return len(self._rooms)

    async def append(self, room: str, body: bytes) -> int:
        """See RoomStore."""
        place = self._open(room)
        event = Event.encode(place.next_id, body)
        size = len(event.frame)
        while place.events and (
            len(place.events) >= self._limits.max_messages or place.size + size > self._limits.max_bytes
        ):
            self.total_bytes -= place.drop_oldest()
        while self.total_bytes + size > self._limits.max_total_bytes and self._drop_idle_room(keep=room):
            pass
        while self.total_bytes + size > self._limits.max_total_bytes and place.events:
            self.total_bytes -= place.drop_oldest()
        if self.total_bytes + size > self._limits.max_total_bytes:
            raise StoreFull("memory_full", "the gateway's memory for messages is full")
        place.events.append(event)
        place.size += size
        place.next_id += 1
        self.total_bytes += size
        for watch in list(place.watchers):
            watch.grown(place.next_id)
        return event.id

    def read(self, room: str, start: int, max_bytes: int) -> Sequence[Event]:
        """See Watch."""
        place = self._rooms.get(room)
        if place is None or start >= place.next_id:
            return ()
        oldest = place.oldest
        if start < oldest:
            raise HistoryLost(oldest)
        if start == place.next_id - 1:
            return (place.events[-1],)
        return first_events(islice(place.events, start - oldest, None), max_bytes)

    def newest(self, room: str) -> Event | None:
        """See Watch."""
        place = self._rooms.get(room)
        return place.events[-1] if place is not None and place.events else None

    async def watch(self, room: str, grown: Callable[[int], None]) -> Watch:
        """See RoomStore."""
        place = self._open(room)
        watch = _MemoryWatch(self, room, View(place.incarnation, place.oldest, place.next_id), grown)
        place.watchers[watch] = None
        self._idle.pop(room, None)
        return watch

    def unwatch(self, watch: _MemoryWatch) -> None:
        """Ends a watch; the room's idle life begins with its last one."""
        # A watched room is never dropped, so this is the room that was watched.
        place = self._rooms.get(watch.room)
        if place is None or watch not in place.watchers:
            return
        del place.watchers[watch]
        if not place.watchers:
            place.active_at = self._now()
            self._idle[watch.room] = place

    async def next_index(self, room: str) -> int:
        """See RoomStore."""
        place = self._open(room)
        index = place.index
        place.index += 1
        return index

    async def expire(self) -> int:
        """See RoomStore."""
        before = self._now() - self._limits.idle_seconds
        dropped = 0
        while self._idle:
            name, place = next(iter(self._idle.items()))
            if place.active_at > before:
                break
            self._drop(name, place)
            dropped += 1
        return dropped

    async def check(self) -> str | None:
        """See RoomStore: memory always works."""
        return None

    async def close(self) -> None:
        """See RoomStore: there is nothing to let go of."""

    def _open(self, room: str) -> _Room:
        """The room, made if need be; counts as activity."""
        place = self._rooms.get(room)
        if place is None:
            if len(self._rooms) >= self._limits.max_rooms and not self._drop_idle_room(keep=room):
                raise StoreFull(
                    "rooms_full", f"there are {len(self._rooms)} rooms in use, as many as there may be"
                )
            place = self._rooms[room] = _Room(self._limits.first_index, self._now())
        if not place.watchers:
            place.active_at = self._now()
            self._idle[room] = place
            self._idle.move_to_end(room)
        return place

    def _drop_idle_room(self, *, keep: str) -> bool:
        """Drops the room that idled longest, if it idled long enough."""
        before = self._now() - self._limits.min_idle_seconds
        for name, place in self._idle.items():
            if place.active_at > before:
                return False
            if name != keep:
                self._drop(name, place)
                return True
        return False

    def _drop(self, name: str, place: _Room) -> None:
        del self._idle[name]
        del self._rooms[name]
        self.total_bytes -= place.size
        self.dropped_rooms += 1
