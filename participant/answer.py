"""What a server said, or that it said nothing: the same for every client of HTTP that the node has."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final

from participant.errors import NodeError

MAX_ANSWER: Final = 4096
"""Bytes of an error's body that are read and shown."""

SLOWEST: Final = 100_000
"""Bytes a second at which a body may still be sent."""


class ConnectionFailed(NodeError):
    """The network's or the server's fault: nothing was answered, or the answer broke off. Worth another try.

    `refused`: nobody listens at the address. `busy`: the server did answer, but not now; `retry_after` is the number of
    seconds that it asks for.
    """

    def __init__(
        self, what: str, *, refused: bool = False, busy: bool = False, retry_after: float = 0.0
    ) -> None:
        super().__init__(what)
        self.refused = refused
        self.busy = busy
        self.retry_after = retry_after


@dataclass(frozen=True)
class Answer:
    """A response. `chunks` gives the body as it arrives; it raises ConnectionFailed when the stream dies."""

    status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]

    async def text(self) -> str:
        """The first bytes of the body as text, for an error message."""
        found = bytearray()
        async for chunk in self.chunks:
            found += chunk
            if len(found) >= MAX_ANSWER:
                break
        return bytes(found[:MAX_ANSWER]).decode("utf-8", "replace").strip()
