"""What the NATS store writes: two streams, and the records of a room's log.

    PREFIX-log     PREFIX.log.ROOM     every change of a room is a record at the end of its log
    PREFIX-rooms   PREFIX.alive.ROOM   the time of a room's last activity: one empty message, gone when the room idled

Each record says what the room is after it, so the last one is all there is to know. A record is added only if the last
one is still the one that its writer knows (Nats-Expected-Last-Subject-Sequence), so all writers agree on one order,
whatever gateways they are. What is stored is told in PREFIX.told.ROOM by the server.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from gateway.nats_link import Stored
from gateway.settings import NatsSettings, RoomsSettings
from gateway.store import StoreUnavailable

HEADER: Final = "Wallet-Mpc-Room"
# Records of a log that are no messages and may be there beside as many messages as a room may have.
SPARE_RECORDS: Final = 16
_HEADER_FORM: Final = re.compile("(message|note) ([0-9a-f]{1,64})" + 6 * " (0|[1-9][0-9]{0,17})")
_PLAIN: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


@dataclass(frozen=True, slots=True)
class Record:
    """What a room is after one change.

    seq: the record's number in the stream; 0 while it is not there.
    start: that of the room's first record; 0 in that one itself.
    next_id, index: what the next message, the next participant gets.
    note: seq of the newest record before this one that is no message; 0 = none.
    total, dropped: bytes of all messages so far, and of those that are known to be gone.
    time: the server's wall clock, seconds; 0 if not known.
    is_message: whether the change is message next_id - 1, whose body is `body`.
    """

    seq: int
    incarnation: str
    start: int
    next_id: int
    index: int
    note: int
    total: int
    dropped: int
    is_message: bool
    time: float = 0
    body: bytes = b""

    @classmethod
    def opening(cls, incarnation: str, first_index: int) -> Self:
        """The first record of a room."""
        return cls(0, incarnation, 0, 0, first_index, 0, 0, 0, is_message=False)

    @classmethod
    def read(cls, stored: Stored) -> Self:
        """A record of the stream. Raises StoreUnavailable if something else wrote there."""
        found = _HEADER_FORM.fullmatch(stored.headers.get(HEADER, ""))
        kind, incarnation, *numbers = found.groups() if found is not None else ("", "")
        if found is None or (kind == "message" and numbers[1] == "0"):
            what = f"message {stored.seq} of {stored.subject} was not written by a gateway"
            raise StoreUnavailable(f"NATS: {what}: nothing else may write there")
        start, next_id, index, note, total, dropped = map(int, numbers)
        return cls(
            stored.seq, incarnation, start, next_id, index, note, total, dropped, kind == "message", stored.time,
            stored.data,
        )  # fmt: skip

    def header(self) -> str:
        """What `read` reads."""
        kind = "message" if self.is_message else "note"
        numbers = (self.start, self.next_id, self.index, self.note, self.total, self.dropped)
        return f"{kind} {self.incarnation} {' '.join(map(str, numbers))}"

    @property
    def begin(self) -> int:
        """The seq of the room's first record."""
        return self.start or self.seq

    @property
    def first_id(self) -> int:
        """The first message at or after this record."""
        return self.next_id - 1 if self.is_message else self.next_id

    def is_message_of(self, incarnation: str, number: int) -> bool:
        """Whether it is that message of that room."""
        return self.is_message and (self.incarnation, self.first_id) == (incarnation, number)

    @property
    def newest_note(self) -> int:
        """The seq of the newest record so far that is no message; 0 = none."""
        return self.note if self.is_message else self.seq

    def without_body(self) -> Self:
        """The same, for keeping."""
        return replace(self, body=b"")

    def then_message(self, body: bytes) -> Self:
        """The record of the next message."""
        return replace(
            self._next(), next_id=self.next_id + 1, total=self.total + len(body), is_message=True, body=body
        )

    def then_note(self, index: int) -> Self:
        """A record that is no message, with the room's next index."""
        return replace(self._next(), index=index, is_message=False, body=b"")

    def _next(self) -> Self:
        return replace(self, seq=0, time=0, start=self.begin, note=self.newest_note)


def token_of(room: str) -> str:
    """A room's id as one token of a subject: bytes that mean something there are written =XX."""
    return "".join(chr(byte) if byte in _PLAIN else f"={byte:02X}" for byte in room.encode())


class Names:
    """Of streams and subjects."""

    def __init__(self, prefix: str) -> None:
        """`prefix` is nats.prefix."""
        self._prefix = prefix
        self.log_stream = f"{prefix}-log"
        self.rooms_stream = f"{prefix}-rooms"
        self.logs = self.log("*")
        self.alives = self.alive("*")

    def log(self, token: str) -> str:
        """The subject of a room's records."""
        return f"{self._prefix}.log.{token}"

    def told(self, token: str) -> str:
        """Where the server tells them."""
        return f"{self._prefix}.told.{token}"

    def alive(self, token: str) -> str:
        """The subject of a room's activity."""
        return f"{self._prefix}.alive.{token}"


def streams(settings: NatsSettings, limits: RoomsSettings) -> list[dict[str, Any]]:
    """Both as JetStream is asked to make them. New messages are refused where there is no place: no room loses its own."""
    names = Names(settings.prefix)
    common = {
        "storage": settings.storage,
        "num_replicas": settings.replicas,
        "retention": "limits",
        "discard": "new",
        "allow_direct": settings.replicas == 1,
    }
    return [
        {
            "name": names.log_stream,
            "subjects": [names.logs],
            "max_msgs_per_subject": limits.max_messages + SPARE_RECORDS,
            "max_bytes": limits.max_total_bytes,
            **_age(settings.max_age_seconds),
            "republish": {"src": names.logs, "dest": names.told("{{wildcard(1)}}")},
            **common,
        },
        {
            "name": names.rooms_stream,
            "subjects": [names.alives],
            "max_msgs_per_subject": 1,
            "max_msgs": limits.max_rooms,
            **_age(limits.idle_seconds),
            **common,
        },
    ]


def _age(seconds: float) -> dict[str, int]:
    # JetStream takes no less than a tenth of a second, and remembers ids of messages no longer than messages.
    nanoseconds = max(int(seconds * 1e9), 100_000_000)
    return {"max_age": nanoseconds, "duplicate_window": min(nanoseconds, 120_000_000_000)}
