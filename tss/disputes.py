"""Rounds without an echo whose messages do not fit together: everybody shows what it has (protocol.md 3.5 step 3)."""

from __future__ import annotations

from collections.abc import Sequence

from tss.effects import Dispute
from tss.envelope import Kind, PartyId, Signed
from tss.mailbox import Mailbox

Place = tuple[bytes, int]
"""(sid, round)."""


class Disputes:
    """One session's shows of such rounds. Sends nothing itself."""

    def __init__(self, others: Sequence[PartyId], mail: Mailbox) -> None:
        self._others = others
        self._mail = mail
        self._shown: set[Place] = set()
        self._places: tuple[Place, ...] = ()

    @property
    def round(self) -> int | None:
        """The last of those that this party disputes; None while it disputes nothing."""
        return max((round_ for _, round_ in self._places), default=None)

    def begin(self, sid: bytes, dispute: Dispute) -> tuple[Place, ...]:
        """The rounds to be shown, also those that were shown before: there may be more of them now."""
        self._places = tuple((sid, round_) for round_ in dispute.rounds)
        self._shown -= set(self._places)
        return self._places

    def end(self) -> None:
        """Nothing was proven."""
        self._places = ()

    def to_show(self, place: Place) -> list[Signed]:
        """The broadcasts of a round that are here, to be shown to all once."""
        found = [
            signed
            for slot, signed in sorted(self._mail.slots.items(), key=lambda item: item[0].sender)
            if (slot.sid, slot.round, slot.kind, slot.to) == (*place, Kind.MSG, None)
        ]
        if not found or place in self._shown:
            return []
        self._shown.add(place)
        return found

    def lacking(self) -> tuple[PartyId, ...]:
        """Who has not shown all rounds that this party disputes."""
        return tuple(
            party
            for party in self._others
            if any((*place, party) not in self._mail.shows for place in self._places)
        )
