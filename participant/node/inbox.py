"""Envelopes that wait for a session's engine: bounded, and no flood displaces what somebody else sent."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final

from tss.envelope import MAX_ENVELOPE_BYTES, PartyId

MAX_WAITING: Final = 1024
MAX_WAITING_BYTES: Final = 4 * MAX_ENVELOPE_BYTES
"""Rounds of 16 parties with room to spare. While there are so many, the session's room is not read on."""

MAX_EACH: Final = 64
MAX_BYTES_EACH: Final = 2 * MAX_ENVELOPE_BYTES
"""Of one sender, where it is known who that is."""


class Inbox:
    """For the event loop only.

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
        self._space = asyncio.Event()
        self._closed = False

    def put_from(self, sender: PartyId, envelope: bytes) -> bool:
        """Take what `sender` has signed; False when too much of it waits already.

        A copy of what waits is taken for it: whoever relays could fill the sender's part with copies of one message.
        """
        if envelope in self._known:
            return True
        if self._count_from[sender] >= MAX_EACH or self._bytes_from[sender] + len(envelope) > MAX_BYTES_EACH:
            return False
        self._count_from[sender] += 1
        self._bytes_from[sender] += len(envelope)
        self._known.add(envelope)
        self.put(envelope)
        return True

    def put(self, envelope: bytes) -> None:
        """Take what nobody has checked; whoever calls has awaited `has_space`."""
        self._waiting.append(envelope)
        self._size += len(envelope)

    async def has_space(self) -> None:
        """Return when `put` may be called."""
        while not self._closed and (len(self._waiting) >= MAX_WAITING or self._size >= MAX_WAITING_BYTES):
            self._space.clear()
            await self._space.wait()

    def take(self) -> list[bytes]:
        """Everything that waits, once."""
        waiting, self._waiting, self._size = self._waiting, [], 0
        self._count_from.clear()
        self._bytes_from.clear()
        self._known.clear()
        self._space.set()
        return waiting

    def close(self) -> None:
        """Nobody takes any more: nobody has to wait."""
        self._closed = True
        self.take()
