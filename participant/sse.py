"""A decoder for text/event-stream that holds no more than one event of bounded size.

Own code, since the library's gives up at an oversized event: the next connection would replay it, and a stranger could
block a room for ever. This one skips it and still tells its id.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MAX_ID_BYTES: Final = 64


@dataclass(frozen=True)
class RawEvent:
    """One event. `id` is its own (None without), `data` its lines joined by LF; None if it was too large or not UTF-8."""

    event: str
    id: str | None
    data: str | None


class SseDecoder:
    """Bytes in, events out. An event that the stream's end cuts off is never given (the standard's rule)."""

    def __init__(self, max_event: int) -> None:
        """`max_event`: bytes of one event's lines."""
        self._max_event = max_event
        self._line = bytearray()
        self._skip_line = False
        self._after_cr = False
        self._reset()

    def _reset(self) -> None:
        self._size = 0
        self._broken = False
        self._event = "message"
        self._id: str | None = None
        self._data: list[bytes] = []
        self._any = False

    def feed(self, chunk: bytes) -> list[RawEvent]:
        """The events that `chunk` completes."""
        if not chunk:
            return []
        if self._after_cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]
            self._after_cr = False
        if not chunk:
            return []
        self._after_cr = chunk.endswith(b"\r")
        if b"\r" in chunk:
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *ended, rest = chunk.split(b"\n")
        found = []
        for part in ended:
            self._collect(part)
            event = self._end_line()
            if event is not None:
                found.append(event)
        self._collect(rest)
        return found

    def _collect(self, part: bytes) -> None:
        if self._skip_line:
            return
        if self._size + len(self._line) + len(part) > self._max_event:
            self._broken = self._any = self._skip_line = True
            self._line.clear()
            self._data.clear()
            return
        self._line += part

    def _end_line(self) -> RawEvent | None:
        line, self._line = self._line, bytearray()
        if self._skip_line:
            self._skip_line = False
            return None
        if not line:
            return self._end_event()
        # Lines may have megabytes: the value is copied once.
        end = line.find(b":")
        name = bytes(line if end < 0 else line[:end])
        start = len(line) if end < 0 else end + 1
        if line[start : start + 1] == b" ":
            start += 1
        with memoryview(line) as view:
            value = bytes(view[start:])
        if name == b"data":
            self._any = True
            self._size += len(line)
            if not self._broken:
                self._data.append(value)
        elif name == b"id" and len(value) <= MAX_ID_BYTES:
            self._any = True
            self._id = value.decode("ascii", "replace")
        elif name == b"event" and len(value) <= MAX_ID_BYTES:
            self._any = True
            self._event = value.decode("ascii", "replace")
        return None

    def _end_event(self) -> RawEvent | None:
        if not self._any:
            self._reset()
            return None
        data: str | None = None
        if not self._broken:
            try:
                data = b"\n".join(self._data).decode()
            except UnicodeDecodeError:
                data = None
        event = RawEvent(self._event, self._id, data)
        self._reset()
        return event
