"""One session's echo rounds: what this party said and heard about who saw which broadcasts (protocol.md 0.8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tss.echo import ECHO_SCHEMA, EchoRecord, contradicts_shown, echo_from_value, echo_of, two_versions
from tss.encoding import Value, decode
from tss.envelope import Kind, PartyId, Signed, Slot
from tss.errors import EchoMismatch, blaming
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
        with blaming(party.index, f"{self._kind}.r{place[1]}.echo"):
            return echo_from_value(self._proto, *place, value, self._own[place].parties)

    def envelopes_equal(self, place: Place) -> bool | None:
        """Whether all echo envelopes of a round are in and equal to ours; None while one is missing."""
        if place in self._equal:
            return True
        echoes = {}
        for party in self._others:
            signed = self._mail.get(*place, Kind.ECHO, party)
            if signed is None:
                return None
            with blaming(party.index, f"{self._kind}.r{place[1]}.echo"):
                value = decode(signed.body.payload, ECHO_SCHEMA)
            echoes[party] = self.read(place, party, value)
        return self.equal(place, echoes)

    def equal(self, place: Place, echoes: Mapping[PartyId, EchoRecord]) -> bool:
        """Compare a round's echoes with ours; when they differ, `showing` is that round from now on."""
        own = self._own[place]
        if all(echo.digest == own.digest for echo in echoes.values()):
            self._equal.add(place)
            return True
        self._heard = dict(echoes)
        self.showing = place
        return False

    def to_show(self, place: Place) -> list[Signed]:
        """The broadcasts of a round, to be shown to all once; empty when that is done, or before all were in."""
        own = self._own.get(place)
        if own is None or place in self._shown:
            return []
        self._shown.add(place)
        return [self._mail.slots[_broadcast(place, party)] for party in own.parties]

    def lacking(self) -> tuple[PartyId, ...]:
        """Parties whose echo of the round in `showing` differs from ours and that have not shown it."""
        if self.showing is None:
            return ()
        own = self._own[self.showing].digest
        differing = sorted(party for party, echo in self._heard.items() if echo.digest != own)
        return tuple(party for party in differing if self._show(party) is None)

    def equivocation(self) -> tuple[Signed, Signed] | None:
        """Two versions of one broadcast among all shows and our own messages."""
        shown = [signed for show in self._mail.shows.values() for signed in show.messages]
        return two_versions(self._mail.slots, shown)

    def contradiction(self) -> tuple[EchoMismatch, PartyId, Show] | None:
        """Whose echo is of other messages than those it shows.

        When those with another echo than ours have shown and nobody equivocated there is one: an echo covers all
        senders of its round, and two that differ differ in somebody's message, of which only one version was shown.
        """
        for party, echo in sorted(self._heard.items()):
            show = self._show(party)
            if show is not None and contradicts_shown(echo, show.messages):
                fault = EchoMismatch("its echo contradicts the messages that it shows")
                return fault.blame(party.index, f"{self._kind}.r{show.signed.body.round}.echo"), party, show
        return None

    def _show(self, party: PartyId) -> Show | None:
        return None if self.showing is None else self._mail.shows.get((*self.showing, party))


def _broadcast(place: Place, party: PartyId) -> Slot:
    return Slot(*place, Kind.MSG, party, None)
