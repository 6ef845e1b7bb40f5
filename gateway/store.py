"""Where rooms live: the interface that every store keeps, and the event that they all hand out.

A room is a log of events with ids 0, 1, 2, ... of which the newest are kept, a counter of participant indices, and an
incarnation: a random text that changes whenever the room's history was lost. Any call makes the room. Every method
may raise StoreUnavailable.
"""

from __future__ import annotations

import abc
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

EVENT_NAME = b"new-message"


@dataclass(frozen=True, slots=True)
class Event:
    """One message of a room, encoded once for all its readers; `at`: when, in seconds of time.monotonic."""

    id: int
    frame: bytes
    at: float = field(default_factory=time.monotonic, compare=False)

    @classmethod
    def encode(cls, number: int, body: bytes) -> Event:
        """The event of a body (UTF-8 without CR; wallet-mpc's SSE form). LF becomes several data lines."""
        data = body.replace(b"\n", b"\ndata: ") if b"\n" in body else body
        return cls(number, b"event: %b\nid: %d\ndata: %b\n\n" % (EVENT_NAME, number, data))


def first_events(events: Iterable[Event], max_bytes: int) -> list[Event]:
    """The first of them: one at least if there is one, then as many as have `max_bytes` of frames in all."""
    taken: list[Event] = []
    size = 0
    for event in events:
        size += len(event.frame)
        if taken and size > max_bytes:
            break
        taken.append(event)
    return taken


@dataclass(frozen=True, slots=True)
class View:
    """A room at one moment: it keeps the events oldest <= id < next_id."""

    incarnation: str
    oldest: int
    next_id: int


class StoreUnavailable(Exception):
    """The store does not answer. Nobody's request is wrong: try again after `retry_seconds`."""

    def __init__(self, what: str, retry_seconds: int = 1) -> None:
        super().__init__(what)
        self.retry_seconds = retry_seconds


class StoreFull(Exception):
    """A bound on rooms or bytes was reached. `reason` is stable (logs, metrics, answers)."""

    def __init__(self, reason: str, what: str) -> None:
        super().__init__(what)
        self.reason = reason


class HistoryLost(Exception):
    """The event asked for is no longer kept; `oldest` is the first that is."""

    def __init__(self, oldest: int) -> None:
        super().__init__(f"the oldest event is {oldest}")
        self.oldest = oldest


class Watch(abc.ABC):
    """A reader's stake in a room: the room lives as long as it is open."""

    view: View

    @abc.abstractmethod
    async def read(self, start: int, max_bytes: int) -> Sequence[Event]:
        """The events from id `start` on, in order: at least one if there is one, then up to `max_bytes` of frames.

        None are there either when the store lost the room: what a new room of that name holds is no answer.
        Raises HistoryLost if `start` is older than the oldest that is kept.
        """

    def newest(self) -> Event | None:
        """The newest event of the room if it is in this process's memory: it may be written as soon as it is told."""
        return None

    @abc.abstractmethod
    def close(self) -> None:
        """Ends it. A second call does nothing."""


class RoomStore(abc.ABC):
    """Rooms, shared by every gateway that uses the same store."""

    @abc.abstractmethod
    async def append(self, room: str, body: bytes) -> int:
        """Appends a message; returns its id when it is as durable as this store makes it.

        Ids have no gaps, and every reader of the room sees the same events under the same ids. Raises StoreFull.
        """

    @abc.abstractmethod
    async def watch(self, room: str, grown: Callable[[int], None]) -> Watch:
        """Opens a watch: from then on `grown(next_id)` is called in the event loop after each append.

        An append after `watch.view` was taken is always told; several may be told by one call. Raises StoreFull.
        """

    @abc.abstractmethod
    async def next_index(self, room: str) -> int:
        """The room's next participant index: first_index, first_index + 1, ...; never one twice. Raises StoreFull."""

    @abc.abstractmethod
    async def expire(self) -> int:
        """Drops rooms that idled too long; returns how many. Called every few seconds."""

    @abc.abstractmethod
    async def check(self) -> str | None:
        """None if the store works, else what is wrong."""

    @abc.abstractmethod
    async def close(self) -> None:
        """Lets go of connections."""
