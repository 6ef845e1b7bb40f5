"""dec: K^x * D decrypts to y, X = x*G and S = y*base (protocol.md 5.9).

Without ring-Pedersen parameters, so that third parties can judge it: m binary challenges. The bound on y is wider than
l' because delta and chi really are; (C5) keeps it below N/2, else y + c*N would prove a false S.
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

NAME: Final = "dec"


@dataclass(frozen=True)
class Statement:
    """K^x * D = enc_0(y; rho), X = x*G, S = y*base, x in +-2^l, y in +-2^Ly; n = |S| signers."""

    N0: PaillierKey
    K: mpz
    X: Point
    D: mpz
    S: Point
    base: Point
    n: int

    def items(self) -> list[Value]:
        """STMT."""
        return [modulus(self.N0), self.K, self.X, self.D, self.S, self.base, self.n]


@dataclass(frozen=True)
class Witness:
    """x in +-2^l, y in +-2^Ly, rho in Z_N0*."""

    x: int | mpz = field(repr=False)
    y: mpz = field(repr=False)
    rho: mpz = field(repr=False)


@dataclass(frozen=True)
class Nonce:
    """alpha, beta, r of one repetition, for one proof only."""

    alpha: mpz = field(repr=False)
    beta: mpz = field(repr=False)
    r: mpz = field(repr=False)


@dataclass(frozen=True)
class First:
    """A = K^(-alpha) * enc_0(beta; r), B = beta*base, C = alpha*G of one repetition."""

    A: mpz
    B: Point
    C: Point


@dataclass(frozen=True)
class Commitment:
    """The first messages of m repetitions."""

    firsts: tuple[First, ...]

    def items(self) -> list[Value]:
        """COM, a list of [A, B, C]."""
        return [[first.A, first.B, first.C] for first in self.firsts]


@dataclass(frozen=True)
class Response:
    """z, w, v of one repetition."""

    z: mpz
    w: mpz
    v: mpz


@dataclass(frozen=True)
class Proof:
    """[[[A, B, C], ... m], [[z, w, v], ... m]] on the wire."""

    commitment: Commitment
    responses: tuple[Response, ...]

    def to_value(self) -> list[Value]:
        """The value that `schema` reads."""
        return [self.commitment.items(), [[one.z, one.w, one.v] for one in self.responses]]

    @classmethod
    def from_value(cls, value: list[Value]) -> Self:
        """From what `schema` has read."""
        firsts, responses = value
        return cls(
            Commitment(tuple(First(*first) for first in firsts)), tuple(Response(*one) for one in responses)
        )


def schema(suite: Suite) -> Schema:
    """[[[A, B, C], ... m], [[z, w, v], ... m]]."""
    m, point, whole, integer = suite.level.m, PointOf(suite.group), natural(suite), signed(suite)
    return Tuple(ListOf(Tuple(whole, point, point), m), ListOf(Tuple(integer, integer, whole), m))


def commit(suite: Suite, statement: Statement, rng: Rng) -> tuple[tuple[Nonce, ...], Commitment]:
    """Draw the nonces of m repetitions."""
    group, level, st = suite.group, suite.level, statement
    nonces, firsts = [], []
    for _ in range(level.m):
        nonce = Nonce(
            alpha=plus_minus(rng, z_bound(suite)),
            beta=plus_minus(rng, w_bound(suite, st.n)),
            r=unit(rng, modulus(st.N0)),
        )
        K_power = cipher_power_secret(st.N0, st.K, -nonce.alpha)
        first = First(
            A=cipher_product(st.N0, K_power, st.N0.enc(nonce.beta, nonce.r)),
            B=group.mul_secret(nonce.beta, st.base),
            C=group.mul_base(nonce.alpha),
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
    """Responses z = alpha + e*x, w = beta + e*y, v = r*rho^e mod N0, m times. None: draw again (P4)."""
    responses = []
    for nonce, e in zip(nonces, bits, strict=True):
        z = nonce.alpha + e * witness.x
        w = nonce.beta + e * witness.y
        if not in_range(z, z_bound(suite)) or not in_range(w, w_bound(suite, statement.n)):
            return None
        responses.append(Response(z, w, masked_unit(nonce.r, witness.rho, e, statement.N0)))
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
    N0, firsts, responses = modulus(st.N0), proof.commitment.firsts, proof.responses
    check.length("commitment", firsts, m)
    check.length("responses", responses, m)
    check.ciphertext("K", st.K, N0)
    check.ciphertext("D", st.D, N0)
    for first in firsts:
        check.ciphertext("A", first.A, N0)
    for one in responses:
        check.unit("v", one.v, N0)
        check.within("z", one.z, z_bound(suite))
        check.within("w", one.w, w_bound(suite, st.n))
    bits = challenge(suite, ctx, st, proof.commitment)
    for first, one, e in zip(firsts, responses, bits, strict=True):
        check.holds(
            "enc(w; v)*K^-z = A*D^e",
            cipher_product(st.N0, st.N0.enc(one.w, one.v), cipher_power(st.N0, st.K, -one.z))
            == (cipher_product(st.N0, first.A, st.D) if e else first.A),
        )
        check.holds("z*G = C + e*X", one.z * group.G == first.C + e * st.X)
        check.holds("w*base = B + e*S", one.w * st.base == first.B + e * st.S)


def z_bound(suite: Suite) -> mpz:
    """2^(l+eps)."""
    return pow2(suite.level.l + suite.level.eps)


def w_bound(suite: Suite, n: int) -> mpz:
    """2^(Ly+eps) with Ly = l' + eps + 1 + ceil(log2 n)."""
    level = suite.level
    return pow2(level.l_prime + level.eps + 1 + (n - 1).bit_length() + level.eps)
