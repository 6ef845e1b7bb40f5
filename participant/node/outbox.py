"""What a session has said: kept, byte for byte, to be said again when whatever relays may have lost it.

A relay that says that it lost its rooms is told everything at once. One that loses messages and does not say so is told
everything again while this party lacks somebody's message, ever more seldom; and after its end, when somebody still
speaks, who may lack its last message. Receivers ignore exact copies (protocol.md 0.8).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from participant.channel import MAX_TOGETHER
from participant.node.room import Room
from participant.node.tasks import Changes
from tss.setting import Outgoing

FIRST_PAUSE: Final = 2.0
"""Seconds of a phase before it is all said again; then twice as long, and so on."""

BYTES_PER_SECOND: Final = 250_000
"""The first pause is as long as saying everything at this pace takes: large rounds are repeated the more seldom."""


MAX_ANSWERS: Final = 3
"""How often an ended session says everything again, with the same pauses in between."""


TOGETHER_BYTES: Final = 64 * 1024
"""Up to this size all that is said at once is one message: each costs everybody in the room the same."""


def messages(out: Sequence[Outgoing]) -> Iterator[list[Outgoing]]:
    """What is posted as one message each, in its order."""
    together: list[Outgoing] = []
    size = 0
    for outgoing in out:
        size += len(outgoing.envelope)
        fits = size <= TOGETHER_BYTES and len(together) < MAX_TOGETHER
        if together and (outgoing.scope != together[0].scope or not fits):
            yield together
            together, size = [], len(outgoing.envelope)
        together.append(outgoing)
    if together:
        yield together


class Outbox:
    """One session's envelopes, in the order in which they were posted."""

    def __init__(self) -> None:
        self._posted: list[tuple[Room, tuple[bytes, ...], int | None]] = []
        self._bytes = 0
        self._answers = MAX_ANSWERS
        self._answer_at = 0.0

    def post(self, room: Room, *envelopes: bytes, to: int | None = None) -> None:
        """Post into `room`, as one message. `to`: index of the recipient, a hint; None = everybody."""
        self._posted.append((room, envelopes, to))
        self._bytes += sum(map(len, envelopes))
        room.send(*envelopes, to=to)

    def post_again(self, which: Callable[[Room], bool]) -> None:
        """Post everything again that went into these rooms."""
        for room, envelopes, to in self._posted:
            if which(room):
                room.send(*envelopes, to=to)

    async def repeat(self, phase: Callable[[], str], lacks: Callable[[], bool], changes: Changes) -> None:
        """For ever: post everything again while `phase()` stays what it is and `lacks()` something.

        `changes` tells when to look at them. Rooms in which something still waits to be posted are left alone: the
        gateway does not answer.
        """
        while True:
            current, pause = phase(), self._pause()
            while not await changes.wait_for(lambda: phase() != current, pause):  # noqa: B023 - called in this turn only
                if lacks():
                    self._repeat()
                    pause *= 2

    def answer(self, now: float) -> None:
        """The session has ended and somebody still speaks in it. `now`: seconds of a clock that never goes back."""
        if self._answers and now >= self._answer_at:
            self._answers -= 1
            self._answer_at = now + self._pause()
            self._repeat()

    def _pause(self) -> float:
        return max(FIRST_PAUSE, self._bytes / BYTES_PER_SECOND)

    def _repeat(self) -> None:
        idle = {room for room, _, _ in self._posted if room.idle}
        self.post_again(idle.__contains__)
