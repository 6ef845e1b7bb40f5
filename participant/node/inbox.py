"""Envelopes that wait for a session's engine: bounded, and no flood displaces what somebody else sent."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from functools import partial
from typing import Final

from participant.node.tasks import tell
from tss.envelope import MAX_ENVELOPE_BYTES, PartyId

MAX_WAITING: Final = 1024
MAX_WAITING_BYTES: Final = 4 * MAX_ENVELOPE_BYTES
"""Rounds of 16 parties with room to spare. While there are so many, the session's room is not read on."""

MAX_EACH: Final = 64
MAX_BYTES_EACH: Final = 2 * MAX_ENVELOPE_BYTES
"""Of one sender, where it is known who that is."""


class Inbox:
    """Filled in the event loop and emptied in any thread.

    Two ways in. Where signatures were checked, a sender's flood drops its own envelopes (`put_from`). Where anybody may
    write in anybody's name, and only the engine can tell, nothing is dropped: the reader waits (`has_space`, `put`), and
    the room keeps what it has not read.
    """

    def __init__(self) -> None:
        self._waiting: list[bytes] = []
        self._known: set[bytes] = set()
        self._size = 0
        self._count_from: Counter[PartyId] = Counter()
        self._bytes_from: Counter[PartyId] = Counter()
        self._lock = threading.Lock()
        self._readers: list[asyncio.Future[None]] = []
        """Those that wait for space."""
        self._closed = False

    def put_from(self, sender: PartyId, envelope: bytes) -> bool:
        """Take what `sender` has signed; False when too much of it waits already.

        A copy of what waits is taken for it: whoever relays could fill the sender's part with copies of one message.
        """
        with self._lock:
            if envelope in self._known:
                return True
            count, size = self._count_from[sender] + 1, self._bytes_from[sender] + len(envelope)
            if count > MAX_EACH or size > MAX_BYTES_EACH:
                return False
            self._count_from[sender], self._bytes_from[sender] = count, size
            self._known.add(envelope)
            self._put(envelope)
            return True

    def put(self, envelope: bytes) -> None:
        """Take what nobody has checked; whoever calls has awaited `has_space`."""
        with self._lock:
            self._put(envelope)

    def _put(self, envelope: bytes) -> None:
        self._waiting.append(envelope)
        self._size += len(envelope)

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self._waiting

    async def has_space(self) -> None:
        """Return when `put` may be called."""
        while (reader := self._reader()) is not None:
            await reader

    def _reader(self) -> asyncio.Future[None] | None:
        """What wakes a reader that has to wait; None when there is space."""
        with self._lock:
            if self._closed or (len(self._waiting) < MAX_WAITING and self._size < MAX_WAITING_BYTES):
                return None
            reader = asyncio.get_running_loop().create_future()
            self._readers.append(reader)
            return reader

    def take(self) -> list[bytes]:
        """Everything that waits, once."""
        with self._lock:
            waiting, self._waiting, self._size = self._waiting, [], 0
            readers, self._readers = self._readers, []
            self._count_from.clear()
            self._bytes_from.clear()
            self._known.clear()
        for reader in readers:
            tell(reader, partial(_wake, reader))
        return waiting

    def close(self) -> None:
        """Nobody takes any more: nobody has to wait."""
        self._closed = True
        self.take()


def _wake(reader: asyncio.Future[None]) -> None:
    if not reader.done():
        reader.set_result(None)
