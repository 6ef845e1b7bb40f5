"""What a session is given before it begins, and what it hands out."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tss.encoding import Schema, Value
from tss.envelope import PartyId, Signed, SignFunction
from tss.params import Suite
from tss.rand import Rng


class Round0(enum.Enum):
    """How a session begins (protocol.md 0.7, 0.8)."""

    BLOCKING = "blocking"
    """Acceptances, then an echo that must be equal before round 1."""
    WITH_ROUND_1 = "with round 1"
    """Acceptances; their echo goes out together with round 1 and is checked before round 2."""
    NONE = "none"
    """The sid is known from the proposal on (signing from stock)."""


@dataclass(frozen=True)
class Member:
    """A party and the Ed25519 identity key (32 bytes) that its messages are verified with."""

    party: PartyId
    identity: bytes


@dataclass(frozen=True)
class Enclosed:
    """What this party's acceptance carries beside nonce and key, and the schema of what everybody's does."""

    value: Value
    schema: Schema


@dataclass(frozen=True)
class Setup:
    """What all parties of a session agree on before it begins.

    `ph` is the proposal's hash; `tail` is the list that protocol.md 0.7 gives for `kind`.
    """

    suite: Suite
    kind: str
    me: PartyId
    members: tuple[Member, ...]
    ph: bytes
    tail: Sequence[Value]
    round0: Round0 = Round0.BLOCKING
    preimages: Sequence[Sequence[Value]] = ()
    """The sid preimages of earlier sessions that this one rests on (signing from stock: of the presigning)."""
    background: Sequence[Signed] = ()
    """Signed messages of before the session that evidence from it needs (signing from stock: the proposal, and the
    presigning's transcript)."""
    enclosed: Enclosed | None = None
    """Of FROST: nonce commitments (protocol.md 6.2). The echo of round 0 covers them."""


@dataclass(frozen=True)
class SessionStarted:
    """Persisted before the first message under `sid`: a party never speaks again in a sid whose state it lost.

    The acceptance is such a message too: it goes out under the proposal's hash, so with round 0 there are two of these,
    first one with `sid` = `ph`. A party that accepted twice under one `ph` would have equivocated.
    """

    sid: bytes
    kind: str
    ph: bytes


@dataclass(frozen=True)
class AllAccepted:
    """Persisted before this party's echo of a round 0 that blocks: all parties' acceptances are here.

    From then on the others may go on to the end of the run, so what this party gave up for it stays so (protocol.md 0.8,
    completion). Before, nobody can be further than this.
    """

    ph: bytes


@dataclass(frozen=True)
class Outgoing:
    """An envelope to post. `scope` is what its sid field holds: the proposal's hash or the session's id."""

    envelope: bytes
    scope: bytes
    sender: PartyId
    to: PartyId | None


@dataclass
class Runtime:
    """What the surroundings provide: randomness, the identity's signature, durable storage, a place for progress.

    What `persist` raises ends the session before anything that depends on the record has left.
    """

    rng: Rng
    sign: SignFunction
    persist: Callable[[object], Any]
    progress: Callable[[str], None] = field(default=lambda _: None)
