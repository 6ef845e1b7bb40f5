"""Writing to rooms in NATS: one record after the other, each on the condition that nobody was faster."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

from gateway.nats_link import EXPECTED_LAST, Conflict, Exhausted, NatsLink
from gateway.nats_lives import RoomLives
from gateway.nats_log import HEADER, Names, Record, token_of
from gateway.nats_reader import LogReader
from gateway.settings import NatsSettings, RoomsSettings
from gateway.store import StoreFull, StoreUnavailable

# Whose last record is remembered; that of any other room is asked for.
MAX_KNOWN_ROOMS = 10_000
# Of a room, for readers that are at different places.
MAX_POSITIONS = 16


class KnownRoom:
    """What this gateway knows of a room's log."""

    __slots__ = ("last", "lock", "positions", "touched_at")

    def __init__(self) -> None:
        # Of those who write here; the condition on the last record is for other gateways.
        self.lock = asyncio.Lock()
        self.last: Record | None = None
        self.touched_at = float("-inf")
        # Where messages stand, by id.
        self.positions: OrderedDict[int, int] = OrderedDict()

    def stands(self, number: int, seq: int) -> None:
        """The message with that id is the first one from `seq` on, or not there yet."""
        self.positions[number] = seq
        self.positions.move_to_end(number)
        if len(self.positions) > MAX_POSITIONS:
            self.positions.popitem(last=False)


class RoomWriter:
    """Of all rooms. Any method with a connection raises StoreUnavailable, and StoreFull where it writes."""

    def __init__(
        self, settings: NatsSettings, limits: RoomsSettings, lives: RoomLives, now: Callable[[], float]
    ) -> None:
        """`now`: seconds of a clock that never goes back."""
        self._names = Names(settings.prefix)
        self._limits = limits
        self._max_age_seconds = settings.max_age_seconds
        self._seconds = settings.timeout_seconds
        self._lives = lives
        self._now = now
        self._known: OrderedDict[str, KnownRoom] = OrderedDict()
        # How long a room counts as alive without being asked about.
        self.fresh_seconds = min(limits.idle_seconds, limits.min_idle_seconds) / 4

    def forget(self) -> None:
        """What was known may be of a server that has lost it since."""
        self._known.clear()

    def room(self, name: str) -> KnownRoom:
        """What is known of it."""
        room = self._known.get(name)
        if room is None:
            room = self._known[name] = KnownRoom()
            if len(self._known) > MAX_KNOWN_ROOMS:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(name)
        return room

    def reader(self, link: NatsLink, name: str) -> LogReader:
        """For reading a room's log."""
        return LogReader(link, self._names.log_stream, self._names.log(token_of(name)))

    async def current(self, link: NatsLink, name: str) -> Record:
        """The last record of the room, made if need be, and kept alive by that."""
        room = self.room(name)
        async with self._turn(room):
            # Others may have gone on since.
            room.last = None
            last = await self._open(link, name, room)
            if time.time() - last.time > self._max_age_seconds / 2:
                # All of the room is in its last record, which must not grow too old.
                with contextlib.suppress(Conflict):
                    last = room.last = await self._write(link, name, last.then_note(last.index), last.seq)
        return last

    async def begin_anew(self, link: NatsLink, name: str, incarnation: str) -> None:
        """Ends a room of that incarnation."""
        room = self.room(name)
        async with self._turn(room):
            last = await self.reader(link, name).last()
            # Who was faster has done it.
            with contextlib.suppress(Conflict):
                if last is not None and last.incarnation == incarnation:
                    await self._begin(link, name, room, last)

    async def add(
        self, link: NatsLink, name: str, change: Callable[[Record], Record], size: int = 0
    ) -> Record:
        """Adds what `change` makes of the room's last record, with `size` bytes more."""
        room = self.room(name)
        async with self._turn(room):
            while True:
                last = await self._open(link, name, room)
                if last.total - last.dropped + size > self._limits.max_bytes:
                    last = await self._make_place(link, name, last, size)
                try:
                    room.last = await self._write(link, name, change(last), last.seq)
                except Conflict:
                    room.last = None
                else:
                    return room.last

    @contextlib.asynccontextmanager
    async def _turn(self, room: KnownRoom) -> AsyncIterator[None]:
        """The right to write to a room, for as long as an answer may take. What goes wrong is an error of stores."""
        try:
            async with asyncio.timeout(self._seconds), room.lock:
                yield
        except TimeoutError:
            room.last = None
            raise StoreUnavailable("NATS: no answer in time") from None
        except StoreUnavailable:
            # Whether it was done is not known.
            room.last = None
            raise
        except Exhausted as error:
            raise StoreFull("memory_full", f"the store keeps as much as it may: {error}") from None

    async def _open(self, link: NatsLink, name: str, room: KnownRoom) -> Record:
        """The last record of a room that is alive, made if need be; see the module for the order."""
        while True:
            fresh = self._now() - room.touched_at < self.fresh_seconds
            if fresh and room.last is not None:
                return room.last
            last = await self.reader(link, name).last()
            alive = last is not None
            if not fresh:
                alive = alive and await self._lives.is_alive(link, token_of(name))
                began = self._now()
                await self._lives.touch(link, token_of(name))
                room.touched_at = began
            if last is not None and alive:
                room.last = last.without_body()
                return room.last
            with contextlib.suppress(Conflict):
                return await self._begin(link, name, room, last)

    async def _begin(self, link: NatsLink, name: str, room: KnownRoom, last: Record | None) -> Record:
        """Begins a room anew after that record of its log, and drops what was before. Raises Conflict."""
        opening = Record.opening(secrets.token_hex(16), self._limits.first_index)
        room.last = opening = await self._write(link, name, opening, 0 if last is None else last.seq)
        if last is not None:
            await self._lives.drop_log(link, token_of(name), opening.seq - 1)
        return opening

    async def _write(self, link: NatsLink, name: str, record: Record, after: int) -> Record:
        """Adds a record if the last one is still that of seq `after`. Raises Conflict, Exhausted."""
        headers = {HEADER: record.header(), EXPECTED_LAST: str(after)}
        seq = await link.publish(self._names.log(token_of(name)), record.body, headers)
        return replace(record, seq=seq, time=time.time(), body=b"")

    async def _make_place(self, link: NatsLink, name: str, last: Record, size: int) -> Record:
        """Drops the room's oldest messages until `size` bytes more are within its bound."""
        reader = self.reader(link, name)
        oldest = await reader.at(last.begin)
        start = 0 if oldest is None else oldest.seq
        while oldest is not None:
            last = replace(last, dropped=oldest.total - len(oldest.body))
            # The last one is all that is known of the room.
            if last.total - last.dropped + size <= self._limits.max_bytes or oldest.seq >= last.seq:
                break
            oldest = await reader.at(oldest.seq + 1)
        if oldest is not None and oldest.seq > start:
            await self._lives.drop_log(link, token_of(name), oldest.seq - 1)
        return last
