"""Rooms in NATS JetStream: any number of gateways that use one server, or cluster, serve the same rooms.

A room is a log of records (`gateway.nats_log`). An append is one publish on the condition that the log's last record is
the one that this gateway knows; another gateway that was faster makes it read that one and try again. A room lives as
long as its activity is in the other stream, which the server drops by itself; who finds a log without it begins the
room anew at its end. Three orders make that safe whatever happens in between:

  * whoever opens a room reads the log first and the activity second: what others write to a room that they found alive
    is in the log, so that the condition of the new beginning fails;
  * activity is written before the log, so that nobody finds a room dead that has just been written to;
  * what is dropped of a log ends before a record that was its last when the room was found dead.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from functools import partial

from nats.aio.subscription import Subscription

from gateway.nats_link import ApiError, NatsLink, Stored, finished
from gateway.nats_lives import RoomLives
from gateway.nats_log import Names, Record, streams, token_of
from gateway.nats_writer import RoomWriter
from gateway.settings import NatsSettings, RoomsSettings
from gateway.shared import SharedStore, WatchedRoom
from gateway.store import Event, HistoryLost, StoreUnavailable, View, first_events
from kit.settings import SettingsError

# A record's header, its subject and what the protocol adds.
OVERHEAD_BYTES = 2048
# JetStream's error code of STREAM.CREATE for a stream that there is, otherwise configured.
OTHER_CONFIGURATION = 10058


class NatsStore(SharedStore):
    """See the module, and SharedStore."""

    def __init__(
        self,
        settings: NatsSettings,
        limits: RoomsSettings,
        max_body_bytes: int,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`max_body_bytes`: of a message. Connects when it is used first. Raises SettingsError."""
        if not settings.servers:
            raise ValueError("nats.servers is not set")
        super().__init__(limits, settings.timeout_seconds, now)
        self._settings = settings
        self._least_payload = max_body_bytes + OVERHEAD_BYTES
        self._names = Names(settings.prefix)
        # Files that cannot be read are known at once.
        NatsLink(settings, self._changed.set)
        self._link: NatsLink | None = None
        self._trouble = "closed"
        # Whether there was a first try to connect.
        self._tried = asyncio.Event()
        self._looked_at = now()
        self._lives = RoomLives(self._names, limits, now)
        self._writer = RoomWriter(settings, limits, self._lives, now)

    # -- the connection ------------------------------------------------------------------------------------------

    async def _reach(self) -> NatsLink:
        """The connection. Raises StoreUnavailable."""
        if self._link is None:
            self._follow()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._seconds):
                    await self._tried.wait()
        if self._link is None:
            raise StoreUnavailable(self._trouble)
        return self._link

    async def _listen(self) -> None:
        """See SharedStore."""
        link = None
        try:
            link = NatsLink(self._settings, self._changed.set)
            await link.connect()
            await self._provide(link)
            self._writer.forget()
            self._link = link
            self._tried.set()
            await self._hear(link)
        except SettingsError as error:
            self._trouble = f"NATS: {error}"
            raise StoreUnavailable(self._trouble) from None
        except StoreUnavailable as error:
            self._trouble = str(error)
            raise
        finally:
            self._link = None
            self._tried.set()
            if link is not None:
                await finished(link.close())

    async def _provide(self, link: NatsLink) -> None:
        """Makes the streams, or gives those that are there these bounds. Raises StoreUnavailable."""
        for config in streams(self._settings, self._limits):
            name = config["name"]
            try:
                try:
                    await link.api(f"STREAM.CREATE.{name}", **config)
                except ApiError as error:
                    if error.code != OTHER_CONFIGURATION:
                        raise
                    there = (await link.api(f"STREAM.INFO.{name}"))["config"]
                    await link.api(f"STREAM.UPDATE.{name}", **{**there, **config})
            except ApiError as error:
                raise StoreUnavailable(f"NATS: stream {name}: {error}") from None

    async def _hear(self, link: NatsLink) -> None:
        """Listens to watched rooms until the connection is lost."""
        listening: dict[str, WatchedRoom] = {}
        subscriptions: dict[str, Subscription] = {}
        looks: set[asyncio.Task[None]] = set()
        try:
            while not link.lost:
                new, gone = self._changes(listening)
                for name in gone:
                    await link.unsubscribe(subscriptions.pop(name))
                for name in new:
                    place = listening[name]
                    told = self._names.told(token_of(name))
                    subscriptions[name] = await link.subscribe(told, partial(self._told, name, place))
                    # What is asked from now on is asked after it on the same connection.
                    place.listening.set()
                    if place.incarnation is not None:
                        look = asyncio.create_task(self._catch_up(name, place))
                        looks.add(look)
                        look.add_done_callback(looks.discard)
                await self._changed.wait()
        finally:
            for look in looks:
                look.cancel()
        raise StoreUnavailable("NATS: the connection is lost")

    async def _told(self, name: str, place: WatchedRoom, stored: Stored) -> None:
        record = Record.read(stored)
        if self._watched.get(name) is not place:
            return
        room = self._writer.room(name)
        if room.last is None or room.last.seq < record.seq:
            room.last = record.without_body()
        room.stands(record.next_id, record.seq + 1)
        event = Event.encode(record.first_id, record.body) if record.is_message else None
        place.heard(record.incarnation, record.next_id, event)

    # -- the interface -------------------------------------------------------------------------------------------

    async def append(self, room: str, body: bytes) -> int:
        """See RoomStore."""
        link = await self._reach()
        record = await self._writer.add(link, room, lambda last: last.then_message(body), len(body))
        return record.first_id

    async def next_index(self, room: str) -> int:
        """See RoomStore."""
        link = await self._reach()
        record = await self._writer.add(link, room, lambda last: last.then_note(last.index + 1))
        if record.note:
            # It says nothing any longer, and has the place of a message.
            await self._lives.forget(link, self._names.log_stream, record.note)
        return record.index - 1

    async def _view(self, name: str) -> View:
        """See SharedStore."""
        link = await self._reach()
        last = await self._writer.current(link, name)
        oldest = self._oldest(await self._writer.reader(link, name).at(last.begin), last)
        return View(last.incarnation, oldest, last.next_id)

    async def _give_up(self, name: str, incarnation: str) -> None:
        """See SharedStore."""
        await self._writer.begin_anew(await self._reach(), name, incarnation)

    async def _fetch(self, name: str, incarnation: str, start: int, max_bytes: int) -> Sequence[Event]:
        """See SharedStore."""
        link = await self._reach()
        room = self._writer.room(name)
        reader = self._writer.reader(link, name)
        record = None
        position = room.positions.get(start)
        if position is not None and start >= self._next_id(name) - self._limits.max_messages:
            record = await reader.at(position)
        if record is None or not record.is_message_of(incarnation, start):
            last = await reader.last()
            if last is None or last.incarnation != incarnation or start >= last.next_id:
                return ()
            first = await reader.at(last.begin)
            oldest = self._oldest(first, last)
            record = None if first is None or start < oldest else await reader.find(start, first, last)
            if record is None:
                raise HistoryLost(max(oldest, start + 1))
        records = [record]
        left = max_bytes - len(record.body)
        if left > 0 and (more := self._next_id(name) - record.next_id) > 0:
            for after in await reader.after(record, more, left):
                if after.incarnation != incarnation or after.first_id != records[-1].next_id:
                    break
                if after.is_message:
                    records.append(after)
        events = first_events([Event.encode(record.first_id, record.body) for record in records], max_bytes)
        newest = records[len(events) - 1]
        room.stands(newest.next_id, newest.seq + 1)
        return events

    async def expire(self) -> int:
        """See RoomStore. NATS ends what idles by itself; its messages are dropped here, or when they are too old."""
        link = await self._reach()
        await self._keep_watched_alive()
        try:
            rooms = await link.api(f"STREAM.INFO.{self._names.rooms_stream}")
            log = await link.api(f"STREAM.INFO.{self._names.log_stream}")
        except ApiError as error:
            # A new connection makes the streams again.
            link.end()
            raise StoreUnavailable(f"NATS: {error}") from None
        self.rooms = rooms["state"]["messages"]
        self.total_bytes = log["state"]["bytes"]
        return await self._lives.drop_dead(link)

    async def check(self) -> str | None:
        """See RoomStore."""
        try:
            link = await self._reach()
            await link.api(f"STREAM.INFO.{self._names.log_stream}")
        except (StoreUnavailable, ApiError) as error:
            return str(error)
        if link.max_payload < self._least_payload:
            return (
                f"NATS: the server's max_payload is {link.max_payload}, but messages of server.max_body_bytes need "
                f"{self._least_payload}: raise the one or lower the other"
            )
        return None

    def _next_id(self, name: str) -> int:
        place = self._watched.get(name)
        return 0 if place is None else place.next_id

    def _oldest(self, first: Record | None, last: Record) -> int:
        """The oldest message of a room, by the first of its records that is there."""
        there = (
            first.first_id if first is not None and first.incarnation == last.incarnation else last.next_id
        )
        return max(there, last.next_id - self._limits.max_messages)

    async def _keep_watched_alive(self) -> None:
        """Says that they are in use; looks at them less often, in case that something was not told."""
        limits = self._limits
        now = self._now()
        if now - self._touched_at >= self._writer.fresh_seconds:
            self._touched_at = now
            link = await self._reach()
            for name in list(self._watched):
                await link.say(self._names.alive(token_of(name)))
        if now - self._looked_at >= limits.idle_seconds / 4:
            self._looked_at = now
            await self._look_at_watched()
