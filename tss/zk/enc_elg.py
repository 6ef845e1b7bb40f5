"""enc-elg: the plaintext of C is small and is the one that (A, B, X) encrypt like ElGamal (protocol.md 5.2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Self

from gmpy2 import mpz

from tss.encoding import PointOf, Schema, Tuple, Value
from tss.groups import Point
from tss.params import Suite
from tss.rand import Rng, plus_minus, scalar
from tss.randomizers import PLAIN, Randomizers, encrypt
from tss.transcript import Challenger, Context
from tss.zk.common import (
    Checks,
    PaillierKey,
    PedersenKey,
    in_range,
    masked_unit,
    modulus,
    natural,
    pow2,
    ring_items,
    ring_modulus,
    signed,
    until_in_range,
)
from tss.zk.equations import AT_ONCE, Equations

NAME: Final = "enc-elg"


@dataclass(frozen=True)
class Statement:
    """C = enc_0(x; rho) with x in +-2^l, B = b*G, X = x*G + b*A. `ring` is the verifier's."""

    N0: PaillierKey
    C: mpz
    A: Point
    B: Point
    X: Point
    ring: PedersenKey

    def items(self) -> list[Value]:
        """STMT."""
        return [modulus(self.N0), self.C, self.A, self.B, self.X, *ring_items(self.ring)]


@dataclass(frozen=True)
class Witness:
    """x in +-2^l, rho in Z_N0*, b in Z_q."""

    x: int | mpz = field(repr=False)
    rho: mpz = field(repr=False)
    b: int = field(repr=False)


@dataclass(frozen=True)
class Nonce:
    """alpha, mu, r, beta, gam, for one proof only."""

    alpha: mpz = field(repr=False)
    mu: mpz = field(repr=False)
    r: mpz = field(repr=False)
    beta: int = field(repr=False)
    gam: mpz = field(repr=False)


@dataclass(frozen=True)
class Commitment:
    """S = s^x t^mu, D = enc_0(alpha; r), Y = beta*A + alpha*G, Z = beta*G, T = s^alpha t^gam."""

    S: mpz
    D: mpz
    Y: Point
    Z: Point
    T: mpz

    def items(self) -> list[Value]:
        """COM."""
        return [self.S, self.D, self.Y, self.Z, self.T]


@dataclass(frozen=True)
class Proof:
    """[S, D, Y, Z, T, z1, w, z2, z3] on the wire."""

    commitment: Commitment
    z1: mpz
    w: int
    z2: mpz
    z3: mpz

    def to_value(self) -> list[Value]:
        """The value that `schema` reads."""
        return [*self.commitment.items(), self.z1, self.w, self.z2, self.z3]

    @classmethod
    def from_value(cls, value: list[Value]) -> Self:
        """From what `schema` has read."""
        S, D, Y, Z, T, z1, w, z2, z3 = value
        return cls(Commitment(S, D, Y, Z, T), z1, int(w), z2, z3)


def schema(suite: Suite) -> Schema:
    """[S, D, Y, Z, T, z1, w, z2, z3]."""
    point, whole, integer = PointOf(suite.group), natural(suite), signed(suite)
    return Tuple(whole, whole, point, point, whole, integer, whole, whole, integer)


def commit(
    suite: Suite, statement: Statement, witness: Witness, rng: Rng, randomizers: Randomizers = PLAIN
) -> tuple[Nonce, Commitment]:
    """Draw the nonces. x is of one presignature: its power of s may be made by a table."""
    group, level, st = suite.group, suite.level, statement
    N_hat = ring_modulus(st.ring)
    alpha = plus_minus(rng, pow2(level.l + level.eps))
    mu = randomizers.mask(st.ring, pow2(level.l) * N_hat, rng)
    r = randomizers.nonce(st.N0, rng)
    beta = scalar(rng, group.q)
    gam = randomizers.mask(st.ring, pow2(level.l + level.eps) * N_hat, rng)
    return Nonce(alpha, mu.value, r.value, beta, gam.value), Commitment(
        S=randomizers.power_of_s(st.ring, witness.x) * mu.power % N_hat,
        D=encrypt(st.N0, alpha, r),
        Y=group.mul_secret(beta, st.A) + group.mul_base(alpha),
        Z=group.mul_base(beta),
        T=randomizers.power_of_s(st.ring, alpha) * gam.power % N_hat,
    )


def challenge(suite: Suite, ctx: Context, statement: Statement, commitment: Commitment) -> int:
    """The scalar challenge e."""
    return Challenger(suite, NAME, ctx, statement.items(), commitment.items()).scalar(suite.group)


def respond(
    suite: Suite, statement: Statement, witness: Witness, nonce: Nonce, commitment: Commitment, e: int
) -> Proof | None:
    """z1 = alpha + e*x, w = beta + e*b mod q, z2 = r*rho^e mod N0, z3 = gam + e*mu. None: draw again (P4)."""
    z1 = nonce.alpha + e * witness.x
    if not in_range(z1, z1_bound(suite)):
        return None
    return Proof(
        commitment,
        z1=z1,
        w=(nonce.beta + e * witness.b) % suite.group.q,
        z2=masked_unit(nonce.r, witness.rho, e, statement.N0),
        z3=nonce.gam + e * nonce.mu,
    )


def prove(
    suite: Suite,
    ctx: Context,
    statement: Statement,
    witness: Witness,
    rng: Rng,
    randomizers: Randomizers = PLAIN,
) -> Proof:
    """A proof with fresh nonces. Raises InternalError for a witness outside its range."""

    def attempt() -> Proof | None:
        nonce, commitment = commit(suite, statement, witness, rng, randomizers)
        e = challenge(suite, ctx, statement, commitment)
        return respond(suite, statement, witness, nonce, commitment, e)

    return until_in_range(NAME, attempt)


def verify(
    suite: Suite, ctx: Context, statement: Statement, proof: Proof, equations: Equations = AT_ONCE
) -> None:
    """Raises OutOfDomain or ProofInvalid. Who gathers `equations` has to test them before the proof is accepted."""
    check, group, level, st, com = Checks(NAME), suite.group, suite.level, statement, proof.commitment
    N0, N_hat = modulus(st.N0), ring_modulus(st.ring)
    z1, w, z2, z3 = proof.z1, proof.w, proof.z2, proof.z3
    check.unit("S", com.S, N_hat)
    check.unit("T", com.T, N_hat)
    check.ciphertext("D", com.D, N0)
    check.ciphertext("C", st.C, N0)
    check.unit("z2", z2, N0)
    check.below("w", w, group.q)
    check.within("z1", z1, z1_bound(suite))
    check.within("z3", z3, pow2(level.l + level.eps + 1) * N_hat)
    e = challenge(suite, ctx, st, com)
    equations.paillier(check, "enc(z1; z2) = D*C^e", st.N0, z1, z2, [(com.D, 1), (st.C, e)])
    check.holds("w*A + z1*G = Y + e*X", w * st.A + z1 * group.G == com.Y + e * st.X)
    check.holds("w*G = Z + e*B", w * group.G == com.Z + e * st.B)
    equations.ring(check, "s^z1 t^z3 = T*S^e", st.ring, z1, z3, [(com.T, 1), (com.S, e)])


def z1_bound(suite: Suite) -> mpz:
    """2^(l+eps)."""
    return pow2(suite.level.l + suite.level.eps)
