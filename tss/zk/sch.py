"""sch: knowledge of x with X = x*G (protocol.md 5.1).

Key generation commits to the nonce a round before the proof: `commit` needs neither statement nor witness, and
`respond` later takes what it returned.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Self

from tss.encoding import PointOf, Schema, Tuple, Value
from tss.groups import Point
from tss.params import Suite
from tss.rand import Rng, scalar
from tss.transcript import Challenger, Context
from tss.zk.common import Checks, natural

NAME: Final = "sch"


@dataclass(frozen=True)
class Statement:
    """X is the point whose logarithm is claimed."""

    X: Point

    def items(self) -> list[Value]:
        """STMT."""
        return [self.X]


@dataclass(frozen=True)
class Witness:
    """x in Z_q."""

    x: int = field(repr=False)


@dataclass(frozen=True)
class Nonce:
    """alpha in Z_q, for one proof only."""

    alpha: int = field(repr=False)


@dataclass(frozen=True)
class Commitment:
    """A = alpha*G."""

    A: Point

    def items(self) -> list[Value]:
        """COM."""
        return [self.A]


@dataclass(frozen=True)
class Proof:
    """[A, z] on the wire."""

    commitment: Commitment
    z: int

    def to_value(self) -> list[Value]:
        """The value that `schema` reads."""
        return [*self.commitment.items(), self.z]

    @classmethod
    def from_value(cls, value: list[Value]) -> Self:
        """From what `schema` has read."""
        A, z = value
        return cls(Commitment(A), int(z))


def schema(suite: Suite) -> Schema:
    """[A, z]."""
    return Tuple(PointOf(suite.group), natural(suite))


def commit(suite: Suite, rng: Rng) -> tuple[Nonce, Commitment]:
    """Draw alpha."""
    nonce = Nonce(alpha=scalar(rng, suite.group.q))
    return nonce, Commitment(A=suite.group.mul_base(nonce.alpha))


def challenge(suite: Suite, ctx: Context, statement: Statement, commitment: Commitment) -> int:
    """The scalar challenge e."""
    return Challenger(suite, NAME, ctx, statement.items(), commitment.items()).scalar(suite.group)


def respond(suite: Suite, witness: Witness, nonce: Nonce, commitment: Commitment, e: int) -> Proof:
    """Response z = alpha + e*x mod q."""
    return Proof(commitment, z=(nonce.alpha + e * witness.x) % suite.group.q)


def prove(suite: Suite, ctx: Context, statement: Statement, witness: Witness, rng: Rng) -> Proof:
    """A proof with a fresh nonce."""
    nonce, commitment = commit(suite, rng)
    return respond(suite, witness, nonce, commitment, challenge(suite, ctx, statement, commitment))


def verify(suite: Suite, ctx: Context, statement: Statement, proof: Proof) -> None:
    """Raises BadPoint, OutOfDomain or ProofInvalid."""
    check, group, com = Checks(NAME), suite.group, proof.commitment
    check.point("X", statement.X)
    check.below("z", proof.z, group.q)
    e = challenge(suite, ctx, statement, com)
    check.holds("z*G = A + e*X", proof.z * group.G == com.A + e * statement.X)
