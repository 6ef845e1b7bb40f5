"""What a life leaves behind, and all that the checker sees: signed bodies, persisted records, results."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tss.envelope import PartyId
from tss.errors import PeerFault, ProtocolError
from tss.params import Suite
from tss.proposal import Proposal
from tss.records import AuxSet, KeyShare

Request = tuple[bytes, tuple[int, ...]]
"""Digest and path."""


@dataclass(frozen=True)
class Said:
    """A body that a party signed, whether or not it left. `session` is None for what a node says outside of one."""

    number: int
    party: int
    session: int | None
    encoded: bytes = field(repr=False)


@dataclass(frozen=True)
class Stored:
    """A record that a party made durable."""

    number: int
    party: int
    session: int | None
    record: Any = field(repr=False)


@dataclass(frozen=True)
class Ended:
    """How one party's part in a session ended: a result, an error, or neither when the party crashed."""

    number: int
    party: int
    session: int
    kind: str
    ph: bytes
    sid: bytes | None
    result: Any = field(repr=False)
    error: ProtocolError | None

    @property
    def blamed(self) -> int | None:
        """Evaluation point of the party that this one blames."""
        return self.error.peer if isinstance(self.error, PeerFault) else None

    @property
    def all_blamed(self) -> frozenset[int | None]:
        """All whom it blames: the checks of protocol.md 4.2 may find several."""
        faults = (self.error, *self.error.also) if isinstance(self.error, PeerFault) else ()
        return frozenset(fault.peer for fault in faults)


@dataclass(frozen=True)
class Activated:
    """A key that came into force on a party."""

    number: int
    party: int
    account_id: str
    share: KeyShare = field(repr=False)


@dataclass(frozen=True)
class Holding:
    """What a party's disk holds in the end."""

    active: Mapping[str, KeyShare] = field(repr=False)
    """By account: the share in force."""
    waiting: tuple[tuple[str | None, KeyShare], ...] = field(repr=False)
    """Pending shares with their accounts, those that were given up included."""
    aux: AuxSet | None = field(repr=False)


@dataclass
class Artefacts:
    """One life."""

    seed: int
    n: int
    t: int
    suite: Suite
    identities: Mapping[PartyId, bytes]
    malicious: frozenset[int]
    quiet: bool
    """Nothing is lost, nobody crashes, cheats or refuses: everything has to succeed."""
    approved: dict[Request, frozenset[int]] = field(default_factory=dict)
    """By request: whose policy lets it pass."""
    dealt: dict[str, KeyShare] = field(default_factory=dict)
    """Accounts that were there from the beginning: some party's share."""
    proposals: dict[bytes, Proposal] = field(default_factory=dict)
    said: list[Said] = field(default_factory=list)
    stored: list[Stored] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    activated: list[Activated] = field(default_factory=list)
    escaped: list[tuple[int, str]] = field(default_factory=list)
    """(party, what) for every exception outside the error tree that left a session."""
    holdings: dict[int, Holding] = field(default_factory=dict)
    started: dict[bytes, set[int]] = field(default_factory=dict)
    """By proposal: the parties that began to take part."""
    faults: Counter[str] = field(default_factory=Counter)
    identifications: int = 0
    """Honest parties that went into the round of protocol.md 4.2."""
    numbers: int = 0
    trace: Callable[[str], None] | None = None

    @property
    def honest(self) -> tuple[int, ...]:
        """Evaluation points of the parties that keep to the protocol."""
        return tuple(j for j in range(1, self.n + 1) if j not in self.malicious)

    def number(self) -> int:
        """The place of what is recorded next in the order of all."""
        self.numbers += 1
        return self.numbers

    def kinds(self) -> Counter[str]:
        """Sessions by protocol: proposals that an honest party took part in."""
        honest = set(self.honest)
        counts = Counter(self.proposals[ph].kind for ph, parties in self.started.items() if parties & honest)
        counts["identification"] = self.identifications
        return counts

    def digest(self) -> str:
        """The same for the same life."""
        total = hashlib.sha256()
        for said in self.said:
            total.update(said.encoded)
        for ended in self.ended:
            total.update(f"{ended.party} {ended.kind} {ended.error!r}".encode())
        return total.hexdigest()
