"""Reading a room's log in a NATS stream: where a message stands, and those that follow it."""

from __future__ import annotations

import json

from gateway.nats_link import API, ApiError, NatsLink
from gateway.nats_log import Record
from gateway.store import StoreUnavailable

# What one request to a consumer may bring.
MOST_AT_ONCE = 512
# Of a record with what the server adds, at most.
HEADER_BYTES = 512
# A consumer that was not deleted, because its gateway ended, goes by itself.
IDLE_CONSUMER_NANOSECONDS = 5_000_000_000


class LogReader:
    """Of one room. Any method raises StoreUnavailable."""

    def __init__(self, link: NatsLink, stream: str, subject: str) -> None:
        """`subject`: of the room's records in `stream`."""
        self._link = link
        self._stream = stream
        self._subject = subject

    async def last(self) -> Record | None:
        """The newest record."""
        stored = await self._link.last(self._stream, self._subject)
        return None if stored is None else Record.read(stored)

    async def at(self, seq: int) -> Record | None:
        """The first record from `seq` on."""
        stored = await self._link.first(self._stream, self._subject, seq)
        return None if stored is None else Record.read(stored)

    async def find(self, number: int, first: Record, last: Record) -> Record | None:
        """The message with that id, between two records of a room; None if it is not there (any longer)."""
        low, high = first.seq, last.seq
        while low <= high:
            middle = (low + high) // 2
            record = await self.at(middle)
            if record is None or record.first_id > number:
                # Between the middle and that record there is none of this room.
                high = middle - 1
            elif record.is_message and record.first_id == number:
                return record
            else:
                low = record.seq + 1
        return None

    async def after(self, record: Record, count: int, max_bytes: int) -> list[Record]:
        """Up to `count` records of the room after that one, up to about `max_bytes` in all; maybe none."""
        config = {
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": record.seq + 1,
            "filter_subject": self._subject,
            "ack_policy": "none",
            "replay_policy": "instant",
            "inactive_threshold": IDLE_CONSUMER_NANOSECONDS,
            "mem_storage": True,
            "num_replicas": 1,
        }
        try:
            made = await self._link.api(
                f"CONSUMER.CREATE.{self._stream}", stream_name=self._stream, config=config
            )
        except ApiError as error:
            raise StoreUnavailable(f"NATS: {error}") from None
        consumer = f"{self._stream}.{made['name']}"
        count = min(count, MOST_AT_ONCE)
        # The server counts subjects and headers, too.
        max_bytes += count * (len(self._subject) + HEADER_BYTES)
        wanted = json.dumps({"batch": count, "max_bytes": max_bytes, "no_wait": True}).encode()
        found = await self._link.many(f"{API}.CONSUMER.MSG.NEXT.{consumer}", wanted, count)
        await self._link.say(f"{API}.CONSUMER.DELETE.{consumer}")
        return [Record.read(stored) for stored in found]
