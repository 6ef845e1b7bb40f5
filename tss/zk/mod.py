"""mod: N is a product of two primes = 3 mod 4 with gcd(N, phi(N)) = 1 (protocol.md 5.6).

w must be a unit: with w = 0, x = 0, b = 1 every fourth-root equation holds for any N (CVE-2025-66016). The Jacobi symbol
-1 implies it, and both are checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import gmpy2
from gmpy2 import mpz

from tss.encoding import ListOf, Schema, Tuple, Value
from tss.modexp import OwnModulus, inverse, powmod, powmod_secret
from tss.params import Suite
from tss.rand import Rng, unit
from tss.transcript import Challenger, Context
from tss.zk.common import Checks, is_unit, natural

NAME: Final = "mod"

PRIME_ROUNDS: Final = 40
"""Rounds of the test that N is composite."""


@dataclass(frozen=True)
class Statement:
    """N, the prover's Paillier modulus."""

    N: mpz

    def items(self) -> list[Value]:
        """STMT."""
        return [self.N]


Witness = OwnModulus
"""The primes p and q_."""


@dataclass(frozen=True)
class Commitment:
    """w in Z_N* with (w|N) = -1. It is public: this proof has no secret nonce."""

    w: mpz

    def items(self) -> list[Value]:
        """COM."""
        return [self.w]


@dataclass(frozen=True)
class Root:
    """The response to one y: x^4 = (-1)^a w^b y and z^N = y mod N."""

    x: mpz
    a: int
    b: int
    z: mpz


@dataclass(frozen=True)
class Proof:
    """[w, [[x, a, b, z], ... m of them]] on the wire."""

    commitment: Commitment
    roots: tuple[Root, ...]

    def to_value(self) -> list[Value]:
        """The value that `schema` reads."""
        return [self.commitment.w, [[root.x, root.a, root.b, root.z] for root in self.roots]]

    @classmethod
    def from_value(cls, value: list[Value]) -> Self:
        """From what `schema` has read."""
        w, roots = value
        return cls(Commitment(w), tuple(Root(x, int(a), int(b), z) for x, a, b, z in roots))


def schema(suite: Suite) -> Schema:
    """[w, [[x, a, b, z], ... m of them]]."""
    whole = natural(suite)
    return Tuple(whole, ListOf(Tuple(whole, whole, whole, whole), suite.level.m))


def commit(statement: Statement, rng: Rng) -> Commitment:
    """Draw w."""
    while True:
        w = unit(rng, statement.N)
        if gmpy2.jacobi(w, statement.N) == -1:
            return Commitment(w)


def challenge(suite: Suite, ctx: Context, statement: Statement, commitment: Commitment) -> list[mpz]:
    """y_1..y_m in Z_N*."""
    seed = Challenger(suite, NAME, ctx, statement.items(), commitment.items())
    return seed.units(statement.N, suite.level.m)


def respond(witness: Witness, commitment: Commitment, ys: list[mpz]) -> Proof:
    """A fourth root and an N-th root for every y."""
    p, q_ = witness.p, witness.q_
    nth_root = inverse(witness.N, witness.phi)
    roots = []
    for y in ys:
        a, b, square = _square_of(y, commitment.w, p, q_)
        x = witness.combine(_fourth_root(square, p), _fourth_root(square, q_))
        roots.append(Root(x, a, b, witness.pow_mod_n(y, nth_root)))
    return Proof(commitment, tuple(roots))


def _square_of(y: mpz, w: mpz, p: mpz, q_: mpz) -> tuple[int, int, mpz]:
    """The unique (a, b) for which y' = (-1)^a w^b y is a square mod p and mod q_, and y'.

    -1 is a square modulo neither prime, w modulo exactly one of them.
    """
    b = int(gmpy2.legendre(y, p) != gmpy2.legendre(y, q_))
    square = w * y if b else y
    a = int(gmpy2.legendre(square, p) != 1)
    return a, b, -square if a else square


def _fourth_root(square: mpz, p: mpz) -> mpz:
    """The fourth root mod p = 3 mod 4 that is itself a square.

    The power (p+1)/4 takes the square root that is itself a square; twice that is the fourth root.
    """
    return powmod_secret(square % p, ((p + 1) // 4) ** 2 % (p - 1), p)


def prove(suite: Suite, ctx: Context, statement: Statement, witness: Witness, rng: Rng) -> Proof:
    """A proof with a fresh w. `witness` holds the primes of N."""
    commitment = commit(statement, rng)
    return respond(witness, commitment, challenge(suite, ctx, statement, commitment))


def verify(suite: Suite, ctx: Context, statement: Statement, proof: Proof) -> None:
    """Raises WrongLength, and ProofInvalid for everything else: a bad domain here is how this proof is forged."""
    check, level, N, w = Checks(NAME), suite.level, statement.N, proof.commitment.w
    check.length("roots", proof.roots, level.m)
    check.holds("N odd", gmpy2.is_odd(N))
    check.holds("N size", N >> (level.modulus_bits - 1) == 1)
    check.holds("N composite", not gmpy2.is_prime(N, PRIME_ROUNDS))
    check.holds("w unit", is_unit(w, N))
    check.holds("w Jacobi", gmpy2.jacobi(w, N) == -1)
    for root in proof.roots:
        check.holds("x unit", is_unit(root.x, N))
        check.holds("z unit", is_unit(root.z, N))
        check.holds("a bit", root.a in (0, 1))
        check.holds("b bit", root.b in (0, 1))
    ys = challenge(suite, ctx, statement, proof.commitment)
    for root, y in zip(proof.roots, ys, strict=True):
        check.holds("z^N = y", powmod(root.z, N, N) == y)
        square = (w * y if root.b else y) * (-1 if root.a else 1)
        check.holds("x^4 = (-1)^a w^b y", powmod(root.x, 4, N) == square % N)
