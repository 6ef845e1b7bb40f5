"""This node in one committee: who the others are, and what is quickly said about an envelope."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from participant.committee import Committee
from participant.node.presence import Presence
from participant.node.room import Room
from tss.cggmp24.reshare import NEW
from tss.envelope import (
    Body,
    Kind,
    PartyId,
    Sealed,
    Signed,
    SignFunction,
    decode_body,
    holder,
    pack,
    sign,
    unpack,
    verify_signature,
)
from tss.errors import SchemaViolation
from tss.setting import Member


@dataclass
class Membership:
    """A committee as its member sees it. Evaluation points inside, indices (point - 1) outside."""

    committee: Committee
    me: PartyId
    sign_function: SignFunction = field(repr=False)
    protos: frozenset[str]
    """The suites that this node speaks."""
    dropped: Counter[str] = field(default_factory=Counter)
    on_foreign: Callable[[PartyId, str], None] = field(default=lambda _, __: None, repr=False)
    """Called when a member speaks a protocol that this node does not."""
    room: Room = field(init=False, repr=False)
    presence: Presence = field(init=False, repr=False)
    identities: Mapping[PartyId, bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.committee_id = self.committee.committee_id
        self.identities = {
            holder(index + 1): identity for index, identity in enumerate(self.committee.identities)
        }
        self.parties = tuple(sorted(self.identities))

    @property
    def record_id(self) -> bytes:
        """The committee that the store writes what happens here to."""
        return self.committee_id

    def committee_of(self, identity: bytes) -> Committee:  # noqa: ARG002 - of a gathering it matters
        """The committee that a mark on this party belongs to."""
        return self.committee

    @property
    def touches(self) -> frozenset[bytes]:
        """The committees whose ceremonies wait for those here."""
        return frozenset({self.committee_id})

    @property
    def index(self) -> int:
        """This node's own, from 0."""
        return self.me.index - 1

    @property
    def others(self) -> tuple[PartyId, ...]:
        """All members but this node."""
        return tuple(party for party in self.parties if party != self.me)

    @property
    def absent(self) -> list[PartyId]:
        """The others that are not present now."""
        return [party for party in self.others if not self.presence.is_present(party)]

    def members(self, points: tuple[int, ...] | None = None) -> tuple[Member, ...]:
        """The members at `points`, or all, as a session wants them."""
        return tuple(
            Member(party, self.identities[party])
            for party in self.parties
            if points is None or party.index in points
        )

    def open(self, envelope: bytes) -> Signed | None:
        """A broadcast that a member signed; None, and counted, for anything else."""
        try:
            parts = unpack(envelope)
            if isinstance(parts, Sealed):
                self.dropped["sealed"] += 1
                return None
            body = decode_body(parts[0])
        except SchemaViolation:
            self.dropped["malformed"] += 1
            return None
        identity = self._identity_of(body)
        if identity is None or body.to is not None or not verify_signature(identity, *parts):
            self.dropped["stranger"] += 1
            return None
        if body.proto not in self.protos:
            self.dropped["version"] += 1
            self.on_foreign(body.sender, body.proto)
            return None
        return Signed(body, *parts)

    def _identity_of(self, body: Body) -> bytes | None:
        party = body.sender
        if body.kind is Kind.DONE and party.role == NEW and party not in self.identities:
            # What completes a resharing to this committee.
            party = holder(party.index)
        return self.identities.get(party)

    def note(self, proto: str, scope: bytes, kind: Kind, payload: bytes, round_: int = 0) -> bytes:
        """A broadcast of this node's own, signed and packed."""
        return pack(sign(Body(proto, scope, round_, kind, self.me, None, payload), self.sign_function))
