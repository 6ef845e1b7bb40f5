"""The parties of an operation that one operator after the other approves: of two committees, or of one with a newcomer.

They meet in a room of their own, named by the request that was approved (32 bytes, a hash of all that is asked for), which
stands where others have a committee's id. Everybody there is a holder, by the rank of its identity: hellos and proposals go
so. In the session itself each has its seats: a role and an evaluation point, two of them for a node that is dealer and new
holder at once. Who is in the room is what operators pinned, and nothing that a peer says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from participant.committee import Committee
from participant.node.membership import Membership
from tss.envelope import Body, Kind, PartyId, holder, pack, sign
from tss.setting import Member


@dataclass
class Gathering(Membership):
    """An approved request's parties, as one of them sees it. `committee` is one that this node's store knows."""

    request_id: bytes = b""
    beside: Committee | None = None
    """Another committee of this node that takes part."""
    concerned: frozenset[bytes] = frozenset()
    """The ids of all committees that take part."""
    seats: Mapping[PartyId, bytes] = field(default_factory=dict)
    """The identity behind every party of the session."""

    def __post_init__(self) -> None:
        self.committee_id = self.request_id
        people = sorted(set(self.seats.values()))
        by_rank = {holder(rank + 1): identity for rank, identity in enumerate(people)}
        self.parties = tuple(by_rank)
        self.identities = {**by_rank, **self.seats}
        mine = by_rank[self.me]
        self.own_seats = tuple(sorted(party for party, identity in self.seats.items() if identity == mine))

    @property
    def record_id(self) -> bytes:
        """See Membership."""
        return self.committee.committee_id

    def committee_of(self, identity: bytes) -> Committee:
        """See Membership."""
        own = [known for known in (self.committee, self.beside) if known is not None]
        return next((known for known in reversed(own) if identity in known.identities), self.committee)

    @property
    def touches(self) -> frozenset[bytes]:
        """See Membership."""
        return self.concerned | {self.request_id}

    @property
    def session_members(self) -> tuple[Member, ...]:
        """All seats, as a session wants them."""
        return tuple(Member(party, self.seats[party]) for party in sorted(self.seats))

    def note(self, proto: str, scope: bytes, kind: Kind, payload: bytes, round_: int = 0) -> bytes:
        """See Membership. A refusal goes to sessions, so it comes from a seat."""
        sender = self.own_seats[-1] if kind is Kind.ABORT else self.me
        return pack(sign(Body(proto, scope, round_, kind, sender, None, payload), self.sign_function))

    def names(self, parties: Iterable[PartyId]) -> str:
        """Parties of the room, for people: their places in the two committees, counted from 0."""
        return ", ".join(self._name(party) for party in parties)

    def _name(self, party: PartyId) -> str:
        identity = self.identities[party]
        seats = [seat for seat, known in self.seats.items() if known == identity]
        return " and ".join(f"{seat.role} {seat.index - 1}" for seat in sorted(seats))

    def rank_of(self, identity: bytes) -> PartyId:
        """The party of the room with this identity. Raises StopIteration for a stranger."""
        return next(party for party in self.parties if self.identities[party] == identity)


def me_among(seats: Mapping[PartyId, bytes], identity: bytes) -> PartyId | None:
    """This node's place in the room; None when it has no seat."""
    people = sorted(set(seats.values()))
    return holder(people.index(identity) + 1) if identity in people else None
