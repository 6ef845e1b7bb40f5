"""elog: L, M encrypt y*G like ElGamal under X, and Y = y*h (protocol.md 5.4)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Self

from tss.encoding import PointOf, Schema, Tuple, Value
from tss.groups import Point
from tss.params import Suite
from tss.rand import Rng, scalar
from tss.transcript import Challenger, Context
from tss.zk.common import Checks, natural

NAME: Final = "elog"


@dataclass(frozen=True)
class Statement:
    """L = lambda*G, M = y*G + lambda*X, Y = y*h."""

    L: Point
    M: Point
    X: Point
    Y: Point
    h: Point

    def items(self) -> list[Value]:
        """STMT."""
        return [self.L, self.M, self.X, self.Y, self.h]


@dataclass(frozen=True)
class Witness:
    """y and lambda in Z_q."""

    y: int = field(repr=False)
    lam: int = field(repr=False)


@dataclass(frozen=True)
class Nonce:
    """alpha and m in Z_q, for one proof only."""

    alpha: int = field(repr=False)
    m: int = field(repr=False)


@dataclass(frozen=True)
class Commitment:
    """A = alpha*G, N = m*G + alpha*X, B = m*h."""

    A: Point
    N: Point
    B: Point

    def items(self) -> list[Value]:
        """COM."""
        return [self.A, self.N, self.B]


@dataclass(frozen=True)
class Proof:
    """[A, N, B, z, u] on the wire."""

    commitment: Commitment
    z: int
    u: int

    def to_value(self) -> list[Value]:
        """The value that `schema` reads."""
        return [*self.commitment.items(), self.z, self.u]

    @classmethod
    def from_value(cls, value: list[Value]) -> Self:
        """From what `schema` has read."""
        A, N, B, z, u = value
        return cls(Commitment(A, N, B), int(z), int(u))


def schema(suite: Suite) -> Schema:
    """[A, N, B, z, u]."""
    point, integer = PointOf(suite.group), natural(suite)
    return Tuple(point, point, point, integer, integer)


def commit(suite: Suite, statement: Statement, rng: Rng) -> tuple[Nonce, Commitment]:
    """Draw alpha and m."""
    group = suite.group
    nonce = Nonce(alpha=scalar(rng, group.q), m=scalar(rng, group.q))
    return nonce, Commitment(
        A=group.mul_base(nonce.alpha),
        N=group.mul_base(nonce.m) + group.mul_secret(nonce.alpha, statement.X),
        B=group.mul_secret(nonce.m, statement.h),
    )


def challenge(suite: Suite, ctx: Context, statement: Statement, commitment: Commitment) -> int:
    """The scalar challenge e."""
    return Challenger(suite, NAME, ctx, statement.items(), commitment.items()).scalar(suite.group)


def respond(suite: Suite, witness: Witness, nonce: Nonce, commitment: Commitment, e: int) -> Proof:
    """Responses z = alpha + e*lambda, u = m + e*y mod q."""
    q = suite.group.q
    return Proof(
        commitment,
        z=(nonce.alpha + e * witness.lam) % q,
        u=(nonce.m + e * witness.y) % q,
    )


def prove(suite: Suite, ctx: Context, statement: Statement, witness: Witness, rng: Rng) -> Proof:
    """A proof with fresh nonces."""
    nonce, commitment = commit(suite, statement, rng)
    return respond(suite, witness, nonce, commitment, challenge(suite, ctx, statement, commitment))


def verify(suite: Suite, ctx: Context, statement: Statement, proof: Proof) -> None:
    """Raises OutOfDomain or ProofInvalid."""
    check, group, com = Checks(NAME), suite.group, proof.commitment
    z, u, st = proof.z, proof.u, statement
    check.below("z", z, group.q)
    check.below("u", u, group.q)
    e = challenge(suite, ctx, st, com)
    check.holds("z*G = A + e*L", z * group.G == com.A + e * st.L)
    check.holds("u*G + z*X = N + e*M", u * group.G + z * st.X == com.N + e * st.M)
    check.holds("u*h = B + e*Y", u * st.h == com.B + e * st.Y)
