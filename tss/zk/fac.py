"""fac: N0 = p*q_ with neither factor small (protocol.md 5.8)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Self

import gmpy2
from gmpy2 import mpz

from tss.encoding import Schema, Tuple, Value
from tss.modexp import powers_of, powmod_secret
from tss.params import Suite
from tss.rand import Rng, plus_minus
from tss.transcript import Challenger, Context
from tss.zk.common import (
    Checks,
    PedersenKey,
    in_range,
    natural,
    pow2,
    ring_items,
    ring_modulus,
    ring_power,
    signed,
    until_in_range,
)

NAME: Final = "fac"


@dataclass(frozen=True)
class Statement:
    """N0 is the prover's Paillier modulus, `ring` the verifier's."""

    N0: mpz
    ring: PedersenKey

    def items(self) -> list[Value]:
        """STMT."""
        return [self.N0, *ring_items(self.ring)]


@dataclass(frozen=True)
class Witness:
    """The factors of N0."""

    p: mpz = field(repr=False)
    q_: mpz = field(repr=False)


@dataclass(frozen=True)
class Nonce:
    """alpha, beta, mu, nu, r, x, y, for one proof only."""

    alpha: mpz = field(repr=False)
    beta: mpz = field(repr=False)
    mu: mpz = field(repr=False)
    nu: mpz = field(repr=False)
    r: mpz = field(repr=False)
    x: mpz = field(repr=False)
    y: mpz = field(repr=False)


@dataclass(frozen=True)
class Commitment:
    """P = s^p t^mu, Q = s^q_ t^nu, A = s^alpha t^x, B = s^beta t^y, T = Q^alpha t^r."""

    P: mpz
    Q: mpz
    A: mpz
    B: mpz
    T: mpz

    def items(self) -> list[Value]:
        """COM."""
        return [self.P, self.Q, self.A, self.B, self.T]


@dataclass(frozen=True)
class Proof:
    """[P, Q, A, B, T, z1, z2, w1, w2, v] on the wire."""

    commitment: Commitment
    z1: mpz
    z2: mpz
    w1: mpz
    w2: mpz
    v: mpz

    def to_value(self) -> list[Value]:
        """The value that `schema` reads."""
        return [*self.commitment.items(), self.z1, self.z2, self.w1, self.w2, self.v]

    @classmethod
    def from_value(cls, value: list[Value]) -> Self:
        """From what `schema` has read."""
        P, Q, A, B, T, z1, z2, w1, w2, v = value
        return cls(Commitment(P, Q, A, B, T), z1, z2, w1, w2, v)


def schema(suite: Suite) -> Schema:
    """[P, Q, A, B, T, z1, z2, w1, w2, v]."""
    whole, integer = natural(suite), signed(suite)
    return Tuple(whole, whole, whole, whole, whole, integer, integer, integer, integer, integer)


def commit(suite: Suite, statement: Statement, witness: Witness, rng: Rng) -> tuple[Nonce, Commitment]:
    """Draw the nonces."""
    level, ring = suite.level, statement.ring
    N_hat, s, t = ring_items(ring)
    slack = pow2(level.l + level.eps)
    W = gmpy2.isqrt(statement.N0)
    nonce = Nonce(
        alpha=plus_minus(rng, slack * W),
        beta=plus_minus(rng, slack * W),
        mu=plus_minus(rng, pow2(level.l) * N_hat),
        nu=plus_minus(rng, pow2(level.l) * N_hat),
        r=plus_minus(rng, slack * statement.N0 * N_hat),
        x=plus_minus(rng, slack * N_hat),
        y=plus_minus(rng, slack * N_hat),
    )
    # The factors live as long as the key: constant time, alone. The nonces share a squaring chain a base.
    s_p, s_q = (powmod_secret(s, factor, N_hat) for factor in (witness.p, witness.q_))
    s_alpha, s_beta = powers_of(s, [nonce.alpha, nonce.beta], N_hat)
    t_mu, t_nu, t_x, t_y, t_r = powers_of(t, [nonce.mu, nonce.nu, nonce.x, nonce.y, nonce.r], N_hat)
    Q = s_q * t_nu % N_hat
    (Q_alpha,) = powers_of(Q, [nonce.alpha], N_hat)
    return nonce, Commitment(
        P=s_p * t_mu % N_hat,
        Q=Q,
        A=s_alpha * t_x % N_hat,
        B=s_beta * t_y % N_hat,
        T=Q_alpha * t_r % N_hat,
    )


def challenge(suite: Suite, ctx: Context, statement: Statement, commitment: Commitment) -> int:
    """The scalar challenge e."""
    return Challenger(suite, NAME, ctx, statement.items(), commitment.items()).scalar(suite.group)


def respond(
    suite: Suite, statement: Statement, witness: Witness, nonce: Nonce, commitment: Commitment, e: int
) -> Proof | None:
    """z1 = alpha + e*p, z2 = beta + e*q_, w1 = x + e*mu, w2 = y + e*nu, v = r - e*nu*p. None: draw again (P4)."""
    z1 = nonce.alpha + e * witness.p
    z2 = nonce.beta + e * witness.q_
    bound = z_bound(suite, statement.N0)
    if not in_range(z1, bound) or not in_range(z2, bound):
        return None
    return Proof(
        commitment,
        z1=z1,
        z2=z2,
        w1=nonce.x + e * nonce.mu,
        w2=nonce.y + e * nonce.nu,
        v=nonce.r - e * nonce.nu * witness.p,
    )


def prove(suite: Suite, ctx: Context, statement: Statement, witness: Witness, rng: Rng) -> Proof:
    """A proof with fresh nonces. Raises InternalError for a factor outside its range."""

    def attempt() -> Proof | None:
        nonce, commitment = commit(suite, statement, witness, rng)
        e = challenge(suite, ctx, statement, commitment)
        return respond(suite, statement, witness, nonce, commitment, e)

    return until_in_range(NAME, attempt)


def verify(suite: Suite, ctx: Context, statement: Statement, proof: Proof) -> None:
    """Raises OutOfDomain or ProofInvalid. That N0 has its exact size is the caller's check (protocol.md 2.1)."""
    check, level, st, com = Checks(NAME), suite.level, statement, proof.commitment
    ring, N0, N_hat = st.ring, st.N0, ring_modulus(st.ring)
    z1, z2, w1, w2, v = proof.z1, proof.z2, proof.w1, proof.w2, proof.v
    check.unit("P", com.P, N_hat)
    check.unit("Q", com.Q, N_hat)
    check.unit("A", com.A, N_hat)
    check.unit("B", com.B, N_hat)
    check.unit("T", com.T, N_hat)
    check.within("z1", z1, z_bound(suite, N0))
    check.within("z2", z2, z_bound(suite, N0))
    dos_bound = pow2(level.l + level.eps + 1) * N_hat
    check.within("w1", w1, dos_bound)
    check.within("w2", w2, dos_bound)
    check.within("v", v, dos_bound * N0)
    e = challenge(suite, ctx, st, com)
    check.holds("s^z1 t^w1 = A*P^e", ring.commit_public(z1, w1) == com.A * ring_power(ring, com.P, e) % N_hat)
    check.holds("s^z2 t^w2 = B*Q^e", ring.commit_public(z2, w2) == com.B * ring_power(ring, com.Q, e) % N_hat)
    check.holds(
        "Q^z1 t^v = T*s^(N0*e)",
        # s^(N0*e) on the other side: whoever owns the parameters makes one power of t of both.
        ring_power(ring, com.Q, z1) * ring.commit_public(-N0 * e, v) % N_hat == com.T,
    )


def z_bound(suite: Suite, N0: mpz) -> mpz:
    """2^(l+eps) * W with W = isqrt(N0)."""
    return pow2(suite.level.l + suite.level.eps) * gmpy2.isqrt(N0)
