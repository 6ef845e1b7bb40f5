"""What one client may do, and what may come into one room: token buckets, kept for a bounded number of addresses and rooms.

They stand beside the bounds of what a room and the whole gateway keep (`gateway.memory`, `gateway.rooms`), so that one
client or one room cannot take what is there for all.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator

from gateway.client import client_key
from gateway.settings import ClientsSettings, RoomsSettings

MESSAGES = "client_message_rate"
BYTES = "client_byte_rate"
ROOMS = "client_room_rate"
SUBSCRIPTIONS = "client_subscriptions"
ROOM_MESSAGES = "room_message_rate"
ROOM_BYTES = "room_byte_rate"

# Room names that count as known; a room that is forgotten here counts as new once more.
KNOWN_ROOMS = 65_536
# A client that may not subscribe once more has to end a subscription first: nobody knows when it will.
SUBSCRIPTION_RETRY_SECONDS = 5


class TooMuch(Exception):
    """A client did more than it may, or a room got more. `reason` is stable (logs, metrics, answers)."""

    def __init__(self, reason: str, what: str, retry_seconds: int) -> None:
        super().__init__(what)
        self.reason = reason
        self.retry_seconds = retry_seconds


class Bucket:
    """A token bucket as one number: the time at which it is full again."""

    __slots__ = ("full_at",)

    def __init__(self) -> None:
        self.full_at = 0.0

    def take(self, count: float, rate: float, burst_seconds: float, now: float) -> float:
        """Takes `count` tokens and returns 0, or takes none and returns the seconds until they are there.

        `rate`: tokens that come a second, 0 = no bound; the bucket holds those of `burst_seconds`. More than a whole
        bucket is given to whoever comes with a full one, and is owed.
        """
        if rate == 0:
            return 0.0
        full_at = max(self.full_at, now) + count / rate
        wait = full_at - now - max(burst_seconds, count / rate)
        # A time that big is no better known than this: what is due now must not come a billionth too early.
        if wait > 1e-9:
            return wait
        self.full_at = full_at
        return 0.0


class _Client:
    __slots__ = ("bytes", "messages", "rooms")

    def __init__(self) -> None:
        self.messages = Bucket()
        self.bytes = Bucket()
        self.rooms = Bucket()


class ClientLimits:
    """The limits of all clients of one gateway. Belongs to one event loop."""

    def __init__(self, settings: ClientsSettings, now: Callable[[], float] = time.monotonic) -> None:
        """`now`: seconds of a clock that never goes back."""
        self.settings = settings
        self._now = now
        self._clients: OrderedDict[str, _Client] = OrderedDict()
        self._known_rooms: OrderedDict[str, None] = OrderedDict()
        self._subscriptions: Counter[str] = Counter()

    @property
    def tracked(self) -> int:
        """How many addresses are remembered."""
        return len(self._clients)

    def reload(self, settings: ClientsSettings) -> None:
        """Takes other bounds from now on, with full buckets where rates are others; subscriptions count on."""
        former, self.settings = self.settings, settings
        if _rates(former) != _rates(settings):
            # What is owed is kept as a time, which means something at the former rate alone.
            self._clients.clear()
        self._forget()

    def message(self, address: str) -> None:
        """One more request. Raises TooMuch."""
        settings = self.settings
        bucket = self._client(address).messages
        self._take(bucket, 1, settings.messages_per_second, MESSAGES, "messages")

    def received(self, address: str, size: int) -> None:
        """`size` more bytes of a message. Raises TooMuch."""
        bucket = self._client(address).bytes
        self._take(bucket, size, self.settings.bytes_per_second, BYTES, "bytes")

    def room(self, address: str, room: str) -> None:
        """The client names a room, which may be new. Raises TooMuch."""
        if room not in self._known_rooms:
            bucket = self._client(address).rooms
            self._take(bucket, 1, self.settings.rooms_per_second, ROOMS, "new rooms")
        self._known_rooms[room] = None
        self._known_rooms.move_to_end(room)
        if len(self._known_rooms) > KNOWN_ROOMS:
            self._known_rooms.popitem(last=False)

    @contextlib.contextmanager
    def subscription(self, address: str) -> Iterator[None]:
        """One more open subscription, while it lasts. Raises TooMuch."""
        key = client_key(address)
        if 0 < self.settings.max_subscriptions <= self._subscriptions[key]:
            text = f"this client has {self._subscriptions[key]} open subscriptions, as many as it may"
            raise TooMuch(SUBSCRIPTIONS, text, SUBSCRIPTION_RETRY_SECONDS)
        self._subscriptions[key] += 1
        try:
            yield
        finally:
            self._subscriptions[key] -= 1
            if not self._subscriptions[key]:
                del self._subscriptions[key]

    def _client(self, address: str) -> _Client:
        key = client_key(address)
        client = self._clients.get(key)
        if client is None:
            client = self._clients[key] = _Client()
            self._forget()
        else:
            self._clients.move_to_end(key)
        return client

    def _forget(self) -> None:
        while len(self._clients) > self.settings.max_tracked:
            self._clients.popitem(last=False)

    def _take(self, bucket: Bucket, count: float, rate: float, reason: str, what: str) -> None:
        wait = bucket.take(count, rate, self.settings.burst_seconds, self._now())
        _refuse_early(wait, reason, f"this client sends more than {rate:g} {what} a second; wait")


class _Room:
    __slots__ = ("bytes", "messages")

    def __init__(self) -> None:
        self.messages = Bucket()
        self.bytes = Bucket()


class RoomRates:
    """What may be posted into each room by way of one gateway, by whomever. Belongs to one event loop."""

    def __init__(self, settings: RoomsSettings, now: Callable[[], float] = time.monotonic) -> None:
        """`now`: seconds of a clock that never goes back."""
        self.settings = settings
        self._now = now
        self._rooms: OrderedDict[str, _Room] = OrderedDict()

    def reload(self, settings: RoomsSettings) -> None:
        """Takes other bounds from now on, with full buckets where they are others."""
        former, self.settings = self.settings, settings
        if _room_rates(former) != _room_rates(settings):
            self._rooms.clear()

    def message(self, room: str) -> None:
        """One more message, before it is read. Raises TooMuch."""
        self._take(self._room(room).messages, 1, self.settings.messages_per_second, ROOM_MESSAGES, "messages")

    def received(self, room: str, size: int) -> None:
        """It has `size` bytes. Raises TooMuch."""
        self._take(self._room(room).bytes, size, self.settings.bytes_per_second, ROOM_BYTES, "bytes")

    def _room(self, name: str) -> _Room:
        room = self._rooms.get(name)
        if room is None:
            room = self._rooms[name] = _Room()
            if len(self._rooms) > KNOWN_ROOMS:
                self._rooms.popitem(last=False)
        else:
            self._rooms.move_to_end(name)
        return room

    def _take(self, bucket: Bucket, count: float, rate: float, reason: str, what: str) -> None:
        wait = bucket.take(count, rate, self.settings.burst_seconds, self._now())
        _refuse_early(wait, reason, f"this room gets more than {rate:g} {what} a second; wait")


def _refuse_early(wait: float, reason: str, text: str) -> None:
    if wait:
        raise TooMuch(reason, text, max(1, math.ceil(wait)))


def _rates(settings: ClientsSettings) -> tuple[float, ...]:
    return (
        settings.messages_per_second,
        settings.bytes_per_second,
        settings.rooms_per_second,
        settings.burst_seconds,
    )


def _room_rates(settings: RoomsSettings) -> tuple[float, ...]:
    return settings.messages_per_second, settings.bytes_per_second, settings.burst_seconds
