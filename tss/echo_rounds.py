"""One session's echo rounds: what this party said and heard about who saw which broadcasts (protocol.md 0.8)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from tss.echo import (
    ECHO_SCHEMA,
    EchoRecord,
    contradicts_shown,
    echo_from_value,
    echo_of,
    peek_echo,
    two_versions,
)
from tss.encoding import Value, decode
from tss.envelope import Kind, PartyId, Signed, Slot
from tss.errors import EchoMismatch, SchemaViolation, blaming
from tss.mailbox import Mailbox, Show

Place = tuple[bytes, int]
"""(sid or ph, round)."""


class EchoRounds:
    """Own echoes, the others', and the show that follows when they differ. Sends nothing itself."""

    def __init__(self, proto: str, kind: str, me: PartyId, others: Sequence[PartyId], mail: Mailbox) -> None:
        self._proto = proto
        self._kind = kind
        self._me = me
        self._others = others
        self._mail = mail
        self._own: dict[Place, EchoRecord] = {}
        self._equal: set[Place] = set()
        self._shown: set[Place] = set()
        self._heard: dict[PartyId, EchoRecord] = {}
        self.showing: Place | None = None
        """The round whose echoes differ: the session waits for everybody's show and ends with what they prove."""

    def own(self, place: Place, senders: Sequence[PartyId]) -> EchoRecord:
        """This party's echo of a round whose broadcasts, by `senders`, are all in."""
        if place not in self._own:
            bodies = {party: self._mail.slots[_broadcast(place, party)].encoded for party in senders}
            self._own[place] = echo_of(self._proto, *place, bodies)
        return self._own[place]

    def sent(self, place: Place) -> bool:
        """Whether our own echo envelope of a round went out."""
        return self._mail.get(*place, Kind.ECHO, self._me) is not None

    def read(self, place: Place, party: PartyId, value: list[Value]) -> EchoRecord:
        """A peer's echo of a round of which we have our own. Raises SchemaViolation, blamed on it."""
        with blaming(party, f"{self._kind}.r{place[1]}.echo"):
            return echo_from_value(self._proto, *place, value, self._own[place].parties)

    def envelopes_equal(self, place: Place) -> bool | None:
        """Whether all echo envelopes of a round are in and equal to ours: False as soon as one differs, None before."""
        if place in self._equal:
            return True
        echoes = {}
        for party in self._others:
            signed = self._mail.get(*place, Kind.ECHO, party)
            if signed is not None:
                with blaming(party, f"{self._kind}.r{place[1]}.echo"):
                    value = decode(signed.body.payload, ECHO_SCHEMA)
                echoes[party] = self.read(place, party, value)
        if self.differ(place, echoes):
            return False
        if len(echoes) < len(self._others):
            return None
        self._equal.add(place)
        return True

    def travelling_differ(self, place: Place, broadcasts: Iterable[Signed]) -> bool:
        """Whether an echo of a round differs that travels inside one of the next round's broadcasts at hand.

        One that cannot be read is left to whoever reads the broadcast.
        """
        echoes = {}
        for signed in broadcasts:
            value = peek_echo(signed.body.payload)
            if value is not None:
                with suppress(SchemaViolation):
                    echoes[signed.body.sender] = self.read(place, signed.body.sender, value)
        return self.differ(place, echoes)

    def differ(self, place: Place, echoes: Mapping[PartyId, EchoRecord]) -> bool:
        """Whether one of a round's echoes differs from ours; then `showing` is that round from now on.

        A party that told different things and fell silent after it is found out without its own echo.
        """
        own = self._own[place]
        if all(echo.digest == own.digest for echo in echoes.values()):
            return False
        self._heard = dict(echoes)
        self.showing = place
        return True

    def to_show(self, place: Place) -> list[Signed]:
        """The broadcasts of a round, to be shown to all once; empty when that is done, or before all were in."""
        own = self._own.get(place)
        if own is None or place in self._shown:
            return []
        self._shown.add(place)
        return [self._mail.slots[_broadcast(place, party)] for party in own.parties]

    def lacking(self) -> tuple[PartyId, ...]:
        """Parties whose echo of the round in `showing` differs from ours.

        None of them has shown a message yet that we do not have: that would have ended the session.
        """
        if self.showing is None:
            return ()
        own = self._own[self.showing].digest
        return tuple(sorted(party for party, echo in self._heard.items() if echo.digest != own))

    def equivocation(self) -> tuple[Signed, Signed] | None:
        """Two versions of one broadcast among all shows and our own messages."""
        shown = [signed for shows in self._mail.shows.values() for show in shows for signed in show.messages]
        return two_versions(self._mail.slots, shown)

    def contradiction(self) -> tuple[EchoMismatch, PartyId, Show] | None:
        """Who shows another message than it echoed.

        An echo covers all senders of its round, and two that differ differ in somebody's message: to show what one
        echoed proves that somebody equivocated, to show what we have contradicts the own echo.
        """
        if self.showing is None:
            return None
        for party, echo in sorted(self._heard.items()):
            for show in self._mail.shows.get((*self.showing, party), ()):
                if contradicts_shown(echo, show.messages):
                    fault = EchoMismatch("its echo contradicts the messages that it shows")
                    return fault.blame(party, f"{self._kind}.r{self.showing[1]}.echo"), party, show
        return None


def _broadcast(place: Place, party: PartyId) -> Slot:
    return Slot(*place, Kind.MSG, party, None)
