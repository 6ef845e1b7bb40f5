"""aff-g*: the relation of aff-g, proven to everybody (protocol.md 5.10).

Without ring-Pedersen parameters, so that third parties can judge it: m binary challenges.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Self

from gmpy2 import mpz

from tss.encoding import ListOf, PointOf, Schema, Tuple, Value
from tss.groups import Point
from tss.params import Suite
from tss.rand import Rng, plus_minus, unit
from tss.transcript import Challenger, Context
from tss.zk.common import (
    Checks,
    PaillierKey,
    cipher_power,
    cipher_power_secret,
    cipher_product,
    in_range,
    masked_unit,
    modulus,
    natural,
    pow2,
    signed,
    until_in_range,
)

NAME: Final = "aff-g*"


@dataclass(frozen=True)
class Statement:
    """D = C^x * enc_0(y; rho), Y = enc_1(y; rho_y), X = x*G, x in +-2^l, y in +-2^l'."""

    N0: PaillierKey
    N1: PaillierKey
    C: mpz
    D: mpz
    Y: mpz
    X: Point

    def items(self) -> list[Value]:
        """STMT."""
        return [modulus(self.N0), modulus(self.N1), self.C, self.D, self.Y, self.X]


@dataclass(frozen=True)
class Witness:
    """x in +-2^l, y in +-2^l', rho in Z_N0*, rho_y in Z_N1*."""

    x: int | mpz = field(repr=False)
    y: mpz = field(repr=False)
    rho: mpz = field(repr=False)
    rho_y: mpz = field(repr=False)


@dataclass(frozen=True)
class Nonce:
    """alpha, beta, r, s of one repetition, for one proof only."""

    alpha: mpz = field(repr=False)
    beta: mpz = field(repr=False)
    r: mpz = field(repr=False)
    s: mpz = field(repr=False)


@dataclass(frozen=True)
class First:
    """A = C^alpha * enc_0(beta; r), R = alpha*G, B = enc_1(beta; s) of one repetition."""

    A: mpz
    R: Point
    B: mpz


@dataclass(frozen=True)
class Commitment:
    """The first messages of m repetitions."""

    firsts: tuple[First, ...]

    def items(self) -> list[Value]:
        """COM, a list of [A, R, B]."""
        return [[first.A, first.R, first.B] for first in self.firsts]


@dataclass(frozen=True)
class Response:
    """z, z', w, v of one repetition."""

    z: mpz
    z_prime: mpz
    w: mpz
    v: mpz


@dataclass(frozen=True)
class Proof:
    """[[[A, R, B], ... m], [[z, z', w, v], ... m]] on the wire."""

    commitment: Commitment
    responses: tuple[Response, ...]

    def to_value(self) -> list[Value]:
        """The value that `schema` reads."""
        return [self.commitment.items(), [[one.z, one.z_prime, one.w, one.v] for one in self.responses]]

    @classmethod
    def from_value(cls, value: list[Value]) -> Self:
        """From what `schema` has read."""
        firsts, responses = value
        return cls(
            Commitment(tuple(First(*first) for first in firsts)), tuple(Response(*one) for one in responses)
        )


def schema(suite: Suite) -> Schema:
    """[[[A, R, B], ... m], [[z, z', w, v], ... m]]."""
    m, point, whole, integer = suite.level.m, PointOf(suite.group), natural(suite), signed(suite)
    return Tuple(ListOf(Tuple(whole, point, whole), m), ListOf(Tuple(integer, integer, whole, whole), m))


def commit(suite: Suite, statement: Statement, rng: Rng) -> tuple[tuple[Nonce, ...], Commitment]:
    """Draw the nonces of m repetitions."""
    st = statement
    nonces, firsts = [], []
    for _ in range(suite.level.m):
        nonce = Nonce(
            alpha=plus_minus(rng, z_bound(suite)),
            beta=plus_minus(rng, z_prime_bound(suite)),
            r=unit(rng, modulus(st.N0)),
            s=unit(rng, modulus(st.N1)),
        )
        C_power = cipher_power_secret(st.N0, st.C, nonce.alpha)
        first = First(
            A=cipher_product(st.N0, C_power, st.N0.enc(nonce.beta, nonce.r)),
            R=suite.group.mul_base(nonce.alpha),
            B=st.N1.enc(nonce.beta, nonce.s),
        )
        nonces.append(nonce)
        firsts.append(first)
    return tuple(nonces), Commitment(tuple(firsts))


def challenge(suite: Suite, ctx: Context, statement: Statement, commitment: Commitment) -> list[int]:
    """The m challenge bits."""
    return Challenger(suite, NAME, ctx, statement.items(), commitment.items()).bits(suite.level.m)


def respond(
    suite: Suite,
    statement: Statement,
    witness: Witness,
    nonces: tuple[Nonce, ...],
    commitment: Commitment,
    bits: list[int],
) -> Proof | None:
    """The responses to the bits; None when one leaves its range: draw again (P4).

    z = alpha + e*x, z' = beta + e*y, w = r*rho^e mod N0, v = s*rho_y^e mod N1, m times.
    """
    responses = []
    for nonce, e in zip(nonces, bits, strict=True):
        z = nonce.alpha + e * witness.x
        z_prime = nonce.beta + e * witness.y
        if not in_range(z, z_bound(suite)) or not in_range(z_prime, z_prime_bound(suite)):
            return None
        responses.append(
            Response(
                z,
                z_prime,
                w=masked_unit(nonce.r, witness.rho, e, statement.N0),
                v=masked_unit(nonce.s, witness.rho_y, e, statement.N1),
            )
        )
    return Proof(commitment, tuple(responses))


def prove(suite: Suite, ctx: Context, statement: Statement, witness: Witness, rng: Rng) -> Proof:
    """A proof with fresh nonces. Raises InternalError for a witness outside its range."""

    def attempt() -> Proof | None:
        nonces, commitment = commit(suite, statement, rng)
        bits = challenge(suite, ctx, statement, commitment)
        return respond(suite, statement, witness, nonces, commitment, bits)

    return until_in_range(NAME, attempt)


def verify(suite: Suite, ctx: Context, statement: Statement, proof: Proof) -> None:
    """Raises WrongLength, OutOfDomain or ProofInvalid."""
    check, group, m, st = Checks(NAME), suite.group, suite.level.m, statement
    N0, N1 = modulus(st.N0), modulus(st.N1)
    firsts, responses = proof.commitment.firsts, proof.responses
    check.length("commitment", firsts, m)
    check.length("responses", responses, m)
    check.ciphertext("C", st.C, N0)
    check.ciphertext("D", st.D, N0)
    check.ciphertext("Y", st.Y, N1)
    for first in firsts:
        check.ciphertext("A", first.A, N0)
        check.ciphertext("B", first.B, N1)
    for one in responses:
        check.unit("w", one.w, N0)
        check.unit("v", one.v, N1)
        check.within("z", one.z, z_bound(suite))
        check.within("z'", one.z_prime, z_prime_bound(suite))
    bits = challenge(suite, ctx, st, proof.commitment)
    for first, one, e in zip(firsts, responses, bits, strict=True):
        check.holds(
            "C^z*enc0(z'; w) = A*D^e",
            cipher_product(st.N0, cipher_power(st.N0, st.C, one.z), st.N0.enc(one.z_prime, one.w))
            == (cipher_product(st.N0, first.A, st.D) if e else first.A),
        )
        check.holds("z*G = R + e*X", one.z * group.G == first.R + e * st.X)
        check.holds(
            "enc1(z'; v) = B*Y^e",
            st.N1.enc(one.z_prime, one.v) == (cipher_product(st.N1, first.B, st.Y) if e else first.B),
        )


def z_bound(suite: Suite) -> mpz:
    """2^(l+eps)."""
    return pow2(suite.level.l + suite.level.eps)


def z_prime_bound(suite: Suite) -> mpz:
    """2^(l'+eps)."""
    return pow2(suite.level.l_prime + suite.level.eps)
