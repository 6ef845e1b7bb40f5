"""prm: s lies in the group that t generates, so s^x t^mu hides x (protocol.md 5.7).

m binary challenges, never one large one: in a group of composite order a single challenge can be split over small-order
components (security.md A2).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Self

from gmpy2 import mpz

from tss.encoding import ListOf, Schema, Tuple, Value
from tss.errors import BadPedersen
from tss.modexp import FixedBase
from tss.params import Suite
from tss.rand import Rng, randbelow
from tss.ring_pedersen import RingPedersen, RingPedersenSecret
from tss.transcript import Challenger, Context
from tss.zk.common import Checks, natural

NAME: Final = "prm"

TABLE: Final = 4096
"""Values in the verifier's table of powers of t: for 128 powers, making it included, the best size (found by measurement)."""


@dataclass(frozen=True)
class Statement:
    """The prover's parameters."""

    ring: RingPedersen

    def items(self) -> list[Value]:
        """STMT."""
        return list(self.ring.as_list())


Witness = RingPedersenSecret
"""lambda and phi(N^)."""


@dataclass(frozen=True)
class Nonce:
    """a_1..a_m in [0, phi), for one proof only."""

    a: tuple[mpz, ...] = field(repr=False)


@dataclass(frozen=True)
class Commitment:
    """A_i = t^a_i."""

    A: tuple[mpz, ...]

    def items(self) -> list[Value]:
        """COM, a flat list."""
        return list(self.A)


@dataclass(frozen=True)
class Proof:
    """[[A_1..A_m], [z_1..z_m]] on the wire."""

    commitment: Commitment
    z: tuple[mpz, ...]

    def to_value(self) -> list[Value]:
        """The value that `schema` reads."""
        return [self.commitment.items(), list(self.z)]

    @classmethod
    def from_value(cls, value: list[Value]) -> Self:
        """From what `schema` has read."""
        A, z = value
        return cls(Commitment(tuple(A)), tuple(z))


def schema(suite: Suite) -> Schema:
    """[[A_1..A_m], [z_1..z_m]]."""
    items = ListOf(natural(suite), suite.level.m)
    return Tuple(items, items)


def commit(suite: Suite, witness: Witness, rng: Rng) -> tuple[Nonce, Commitment]:
    """Draw a_1..a_m."""
    nonce = Nonce(a=tuple(randbelow(rng, witness.phi) for _ in range(suite.level.m)))
    return nonce, Commitment(A=tuple(witness.powers_of_t(nonce.a)))


def challenge(suite: Suite, ctx: Context, statement: Statement, commitment: Commitment) -> list[int]:
    """The m challenge bits."""
    return Challenger(suite, NAME, ctx, statement.items(), commitment.items()).bits(suite.level.m)


def respond(witness: Witness, nonce: Nonce, commitment: Commitment, bits: list[int]) -> Proof:
    """z_i = a_i + e_i*lambda mod phi."""
    return Proof(
        commitment,
        z=tuple((a + e * witness.lam) % witness.phi for a, e in zip(nonce.a, bits, strict=True)),
    )


def prove(suite: Suite, ctx: Context, statement: Statement, witness: Witness, rng: Rng) -> Proof:
    """A proof with fresh nonces."""
    nonce, commitment = commit(suite, witness, rng)
    return respond(witness, nonce, commitment, challenge(suite, ctx, statement, commitment))


def verify(suite: Suite, ctx: Context, statement: Statement, proof: Proof) -> None:
    """Raises WrongLength, OutOfDomain, BadPedersen (s or t is 1 or -1) or ProofInvalid."""
    check, m, ring = Checks(NAME), suite.level.m, statement.ring
    N_hat, s, t = ring.N_hat, ring.s, ring.t
    A, z = proof.commitment.A, proof.z
    check.length("A", A, m)
    check.length("z", z, m)
    for name, value in (("s", s), ("t", t)):
        check.unit(name, value, N_hat)
        if value in (1, N_hat - 1):
            raise BadPedersen(f"proof prm: {name} is 1 or -1", check=f"{NAME}:{name} trivial")
    check.units("A", A, N_hat)
    for z_i in z:
        check.below("z", z_i, N_hat)
    bits = challenge(suite, ctx, statement, proof.commitment)
    powers = FixedBase(t, N_hat, int(N_hat.bit_length()), TABLE)
    for A_i, z_i, e in zip(A, z, bits, strict=True):
        check.holds("t^z = A*s^e", powers.power(z_i) == (A_i * s % N_hat if e else A_i))
