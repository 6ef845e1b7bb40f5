"""The broker: subscriptions over a store, with bounds on each and a heartbeat for all.

A subscription holds no queue: it reads its room's log at its own pace, and the log is bounded. What is bounded here
is how far and how long it may stay behind before it is cut off; it resumes by Last-Event-ID.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Sequence

from gateway.limits import RoomRates
from gateway.meters import Meters
from gateway.settings import RoomsSettings
from gateway.store import Event, HistoryLost, RoomStore, StoreFull, StoreUnavailable, View, Watch
from kit.connection import Connection
from kit.logs import get_logger
from kit.together import until_one_ends

# Frames joined into one write.
BATCH_BYTES = 256 * 1024
# A reader that takes less than this in slow_reader_seconds is stalled; one with a slow line takes more.
LEAST_PROGRESS_BYTES = 16 * 1024
# Stalled readers do not keep a drain waiting longer than this.
DRAIN_STALLED_SECONDS = 1.0

CLOSING = "drain"
SLOW = "slow_reader"
OVERTAKEN = "overtaken"
STORE = "store_unavailable"
EXPIRED = "token_expired"
REVOKED = "key_removed"

LAST_WORDS = {
    CLOSING: b": the gateway is closing: subscribe again with Last-Event-ID\n\n",
    SLOW: b": cut off (slow_reader): you are too far behind; subscribe again with Last-Event-ID\n\n",
    STORE: b": cut off (store_unavailable): subscribe again with Last-Event-ID\n\n",
    EXPIRED: b": cut off (token_expired): subscribe again with another token and Last-Event-ID\n\n",
    REVOKED: b": cut off (key_removed): the key of your token is not in the gateway's key set any more\n\n",
    OVERTAKEN: b": cut off (overtaken): events you had not read are gone; subscribe again with Last-Event-ID\n\n",
}

OPERATIONS = ("append", "watch", "next_index", "read", "expire")

_log = get_logger(__name__)


def _pause(seconds: float) -> float:
    """How long to wait between two looks at what may take `seconds`."""
    return min(max(seconds / 4, 0.02), 1.0)


class Subscription:
    """One reader of one room."""

    __slots__ = (
        "_broker",
        "_live_from",
        "_waiter",
        "connection",
        "cursor",
        "end_reason",
        "gone",
        "next_id",
        "ping_due",
        "quiet",
        "room",
        "sending_since",
        "unsent_then",
        "watch",
    )

    watch: Watch

    def __init__(self, broker: Broker, room: str, connection: Connection) -> None:
        self._broker = broker
        self._waiter: asyncio.Future[None] | None = None
        self.room = room
        self.connection = connection
        self.cursor = 0
        self.next_id = 0
        self._live_from = 0
        self.end_reason: str | None = None
        self.gone = False
        self.ping_due = False
        self.quiet = True
        # When the write began, or the last look at its progress was taken, and what was left of it then.
        self.sending_since: float | None = None
        self.unsent_then: int | None = None

    @property
    def view(self) -> View:
        """The room as it was when the subscription began."""
        return self.watch.view

    def begin(self, cursor: int) -> None:
        """Reads from event `cursor` on. What is there already may be read slowly, what comes may not."""
        self.cursor = cursor
        self.next_id = max(self.next_id, self.view.next_id)
        self._live_from = self.view.next_id

    async def wait(self) -> None:
        """Returns when there is something to do: events, a ping, the end."""
        if self.cursor < self.next_id or self.ping_due or self.end_reason is not None or self.gone:
            return
        self._waiter = self._broker.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    async def read(self) -> Sequence[Event]:
        """The next events, some if there are any. An empty answer: the subscription ended (`end_reason`)."""
        try:
            events = await self.watch.read(self.cursor, BATCH_BYTES)
        except HistoryLost:
            self._broker.cut(self, OVERTAKEN)
            return ()
        except StoreUnavailable:
            self._broker.store_failed("read")
            self._broker.cut(self, STORE)
            return ()
        if not events:
            # The store told of an event that it does not give: it lost the room. Only a new subscription tells
            # the client so.
            self._broker.cut(self, OVERTAKEN)
        return events

    def sending(self) -> None:
        """A write begins."""
        self.sending_since = self._broker.now()
        self.unsent_then = None
        self.quiet = False

    def sent(self, events: Sequence[Event] = ()) -> None:
        """It is done; `events` were in it."""
        self.sending_since = None
        if events:
            self.cursor = events[-1].id + 1
            deliveries = self._broker.meters.deliveries
            size = len(events[0].frame) if len(events) == 1 else sum([len(event.frame) for event in events])
            deliveries.written(len(events), size)
            if events[0].id >= self._live_from:
                deliveries.took(time.monotonic() - events[0].at)

    def grown(self, next_id: int) -> None:
        """The room has events up to `next_id`."""
        self.next_id = next_id
        if self._write_at_once():
            return
        behind = next_id - max(self.cursor, self._live_from)
        if self.sending_since is not None and behind > self._broker.limits.max_backlog_messages:
            self._broker.cut(self, SLOW)
        self.wake()

    def _write_at_once(self) -> bool:
        """Writes the newest event if it is the next one and nothing else is on its way: most are, and no task has to wake."""
        waiter = self._waiter
        if waiter is None or waiter.done() or not self.connection.writable():
            return False
        event = self.watch.newest()
        if event is None or event.id != self.cursor:
            return False
        self.connection.write_part(event.frame)
        self.quiet = False
        self.sent((event,))
        return True

    def lost(self) -> None:
        """The connection is gone."""
        self.gone = True
        self.wake()

    def wake(self) -> None:
        """Lets `wait` return."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Broker:
    """All subscriptions of this gateway, and the way to its store."""

    def __init__(
        self,
        store: RoomStore,
        limits: RoomsSettings,
        meters: Meters,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`now`: seconds of a clock that never goes back."""
        self.store = store
        self._store_name = type(store).__name__.removesuffix("Store").lower()
        self.limits = limits
        self.rates = RoomRates(limits, now)
        self.meters = meters
        # A rate sees the first failure only of what was there before it.
        for reason in LAST_WORDS:
            meters.cuts.labels(reason)
        for operation in OPERATIONS:
            meters.store_errors.labels(self._store_name, operation)
        self.now = now
        self.loop = asyncio.get_running_loop()
        self.draining = False
        self._all_gone = asyncio.Event()
        self._all_gone.set()
        self._subscriptions: dict[Subscription, None] = {}
        self._per_room: Counter[str] = Counter()
        self._task: asyncio.Task[None] | None = None

    @property
    def subscribers(self) -> int:
        """How many subscriptions are open."""
        return len(self._subscriptions)

    def store_failed(self, operation: str) -> None:
        """Counts a failure of the store; `operation` is the method of `RoomStore` or `Watch`."""
        self.meters.store_errors.labels(self._store_name, operation).inc()

    def start(self) -> None:
        """Starts heartbeats and housekeeping, which is as slow as the store: heartbeats do not wait for it."""
        self._task = self.loop.create_task(
            until_one_ends(self._look_after_for_ever(), self._expire_for_ever()), name="rooms"
        )

    @property
    def ended(self) -> asyncio.Task[None]:
        """The task of both: done if it failed."""
        if self._task is None:
            raise RuntimeError("the broker was not started")
        return self._task

    async def subscribe(self, room: str, connection: Connection) -> Subscription:
        """Opens a subscription; call its `begin` next and `unsubscribe` in the end. Raises StoreFull."""
        if len(self._subscriptions) >= self.limits.max_subscribers:
            raise StoreFull("subscribers_full", "there are as many subscriptions as there may be")
        if self._per_room[room] >= self.limits.max_subscribers_per_room:
            raise StoreFull("room_subscribers_full", "the room has as many subscribers as it may have")
        subscription = Subscription(self, room, connection)
        self._subscriptions[subscription] = None
        self._all_gone.clear()
        self._per_room[room] += 1
        try:
            subscription.watch = await self.store.watch(room, subscription.grown)
        except BaseException:
            self._forget(subscription)
            raise
        connection.on_lost(subscription.lost)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Closes it."""
        subscription.connection.on_lost(None)
        subscription.watch.close()
        # It leads back to the subscription.
        del subscription.watch
        self._forget(subscription)

    def _forget(self, subscription: Subscription) -> None:
        del self._subscriptions[subscription]
        room = subscription.room
        self._per_room[room] -= 1
        if not self._per_room[room]:
            del self._per_room[room]
        if not self._subscriptions:
            self._all_gone.set()

    def cut(self, subscription: Subscription, reason: str) -> None:
        """Ends one subscription, as of a reader that does not keep up; the others do not notice."""
        if subscription.end_reason is not None:
            return
        subscription.end_reason = reason
        self.meters.cuts.labels(reason).inc()
        # Tokens expire all the time.
        log = _log.debug if reason == EXPIRED else _log.warning
        log(
            "subscriber cut off",
            reason=reason,
            room=subscription.room,
            at_event=subscription.cursor,
            next_event=subscription.next_id,
        )
        if subscription.sending_since is not None:
            # Its task waits for the reader.
            subscription.connection.finish(LAST_WORDS[reason])
        subscription.wake()

    async def drain(self) -> None:
        """Ends all subscriptions with a last comment; those that read get everything before it."""
        self.draining = True
        for subscription in self._subscriptions:
            if subscription.end_reason is None:
                subscription.end_reason = CLOSING
            subscription.wake()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_STALLED_SECONDS):
                await self._all_gone.wait()
        for subscription in list(self._subscriptions):
            subscription.connection.finish(LAST_WORDS[CLOSING])

    async def close(self) -> None:
        """Ends heartbeats and lets the store go."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self.store.close()

    async def _look_after_for_ever(self) -> None:
        next_ping = self.now() + self.limits.heartbeat_seconds
        while True:
            limits = self.limits
            await asyncio.sleep(_pause(min(limits.heartbeat_seconds, limits.slow_reader_seconds)))
            now = self.now()
            ping = now >= next_ping
            if ping:
                next_ping = now + limits.heartbeat_seconds
            self.look_after(ping=ping)

    async def _expire_for_ever(self) -> None:
        while True:
            await asyncio.sleep(_pause(self.limits.idle_seconds))
            try:
                expired = await self.store.expire()
            except StoreUnavailable as error:
                self.store_failed("expire")
                _log.warning("rooms could not be expired", error=str(error))
                continue
            if expired:
                self.meters.expired.inc(expired)
                _log.info("rooms expired", rooms=expired)

    def look_after(self, *, ping: bool) -> None:
        """Cuts off who stalls; with `ping`, has a heartbeat sent to who got nothing since the last one."""
        now = self.now()
        for subscription in list(self._subscriptions):
            if subscription.sending_since is not None:
                self._check_progress(subscription, subscription.sending_since, now)
            elif ping:
                if subscription.quiet:
                    subscription.ping_due = True
                    subscription.wake()
                subscription.quiet = True

    def _check_progress(self, subscription: Subscription, since: float, now: float) -> None:
        unsent = subscription.connection.unsent()
        if subscription.unsent_then is None:
            subscription.unsent_then = unsent
        elif now - since > self.limits.slow_reader_seconds:
            if subscription.unsent_then - unsent < LEAST_PROGRESS_BYTES:
                self.cut(subscription, SLOW)
            subscription.sending_since, subscription.unsent_then = now, unsent
