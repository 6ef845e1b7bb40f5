"""mod: N is a product of two primes = 3 mod 4 with gcd(N, phi(N)) = 1 (protocol.md 5.6).

w must be a unit: with w = 0, x = 0, b = 1 every fourth-root equation holds for any N (CVE-2025-66016). The Jacobi symbol
-1 implies it, and both are checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import gmpy2
from gmpy2 import mpz

from tss.encoding import ListOf, Schema, Tuple, Value
from tss.modexp import OwnModulus, inverse, power_product, powers_secret_list, powmod
from tss.params import Suite
from tss.rand import Rng, multipliers, unit
from tss.transcript import Challenger, Context, hash_commit, stream
from tss.zk.common import Checks, are_units, is_unit, natural

NAME: Final = "mod"

PRIME_ROUNDS: Final = 40
"""Rounds of the test that N is composite."""

_DOMAIN: Final = "wallet-mpc/v1"


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


def roots(witness: Witness, commitment: Commitment, ys: Sequence[mpz]) -> list[Root]:
    """The responses to some of the challenges, in their order: so that several threads can share one proof.

    Exponents and moduli are the primes': every power is constant-time and alone, the two of one y too, and none depends on
    what y is a square of.
    """
    nth_root = inverse(witness.N, witness.phi)
    sides = [_Side(prime, commitment.w, ys, nth_root) for prime in (witness.p, witness.q_)]
    return [_root(witness, sides, index) for index in range(len(ys))]


class _Side:
    """The roots of w and of the y modulo one of the primes."""

    def __init__(self, prime: mpz, w: mpz, ys: Sequence[mpz], nth_root: mpz) -> None:
        # The power (p+1)/4 takes the square root that is itself a square, twice that the fourth root. Of a number that is no
        # square it takes the fourth root of its negative, which is one, times (-1)^fourth.
        fourth = ((prime + 1) // 4) ** 2 % (prime - 1)
        self.odd = bool(gmpy2.is_odd(fourth))
        self.prime = prime
        nth = nth_root % (prime - 1)
        powers = powers_secret_list(
            [(y, fourth, prime) for y in (w, *ys)] + [(y, nth, prime) for y in ys],
        )
        self.w, self.x, self.z = powers[0], powers[1 : 1 + len(ys)], powers[1 + len(ys) :]
        self.w_is_square = self._is_square(w, self.w)
        self.y_is_square = [self._is_square(y, x) for y, x in zip(ys, self.x, strict=True)]

    def _is_square(self, y: mpz, x: mpz) -> bool:
        square = x * x % self.prime
        return bool(square * square % self.prime == y % self.prime)

    def fourth_root(self, index: int, a: int, b: int) -> mpz:
        """That of (-1)^a w^b y, which is a square."""
        x = self.x[index] * self.w % self.prime if b else self.x[index]
        return -x % self.prime if a and self.odd else x


def _root(witness: Witness, sides: Sequence[_Side], index: int) -> Root:
    """With the unique (a, b) for which (-1)^a w^b y is a square mod p and mod q_.

    -1 is a square modulo neither prime, w modulo exactly one of them.
    """
    first, second = sides
    b = int(first.y_is_square[index] != second.y_is_square[index])
    a = int((first.y_is_square[index] == first.w_is_square) if b else first.y_is_square[index]) ^ 1
    x = witness.combine(*(side.fourth_root(index, a, b) for side in sides))
    return Root(x, a, b, witness.combine(first.z[index], second.z[index]))


def prove(suite: Suite, ctx: Context, statement: Statement, witness: Witness, rng: Rng) -> Proof:
    """A proof with a fresh w. `witness` holds the primes of N."""
    commitment, ys = begin(suite, ctx, statement, rng)
    return Proof(commitment, tuple(roots(witness, commitment, ys)))


def begin(suite: Suite, ctx: Context, statement: Statement, rng: Rng) -> tuple[Commitment, list[mpz]]:
    """A fresh w and its challenges, to which `roots` responds."""
    commitment = commit(statement, rng)
    return commitment, challenge(suite, ctx, statement, commitment)


def verify(suite: Suite, ctx: Context, statement: Statement, proof: Proof, rng: Rng | None = None) -> None:
    """Raises WrongLength, and ProofInvalid for everything else: a bad domain here is how this proof is forged.

    With `rng` the equations z^N = y are looked at together, and one by one when they do not hold together: for a verifier
    that has accepted the prover's Π^fac about this N, and for nobody else (docs/batching.md says why).
    """
    check, level, N, w = Checks(NAME), suite.level, statement.N, proof.commitment.w
    check.length("roots", proof.roots, level.m)
    check.holds("N odd", gmpy2.is_odd(N))
    check.holds("N size", N >> (level.modulus_bits - 1) == 1)
    check.holds("N composite", not gmpy2.is_prime(N, PRIME_ROUNDS))
    check.holds("w unit", is_unit(w, N))
    check.holds("w Jacobi", gmpy2.jacobi(w, N) == -1)
    units = are_units((value for root in proof.roots for value in (root.x, root.z)), N)
    for root in proof.roots:
        check.holds("x unit", units or is_unit(root.x, N))
        check.holds("z unit", units or is_unit(root.z, N))
        check.holds("a bit", root.a in (0, 1))
        check.holds("b bit", root.b in (0, 1))
    ys = challenge(suite, ctx, statement, proof.commitment)
    together = rng is not None and _hold_together(N, [root.z for root in proof.roots], ys, rng)
    for root, y in zip(proof.roots, ys, strict=True):
        check.holds("z^N = y", together or powmod(root.z, N, N) == y)
        square = (w * y if root.b else y) * (-1 if root.a else 1)
        check.holds("x^4 = (-1)^a w^b y", (root.x * root.x % N) ** 2 % N == square % N)


def _hold_together(N: mpz, zs: Sequence[mpz], ys: Sequence[mpz], rng: Rng) -> bool:
    """Whether the product of z^rho is an N-th root of the product of y^rho, for random 128-bit rho drawn here and now.

    32 bytes are drawn, and give the rho together with all z and y: where `rng` is no good, they still depend on the proof.
    """
    seed = hash_commit(_DOMAIN, "mod-multipliers", rng(32), N, *zs, *ys)
    rhos = multipliers(stream(seed), len(zs))
    return bool(powmod(power_product(zs, rhos, N), N, N) == power_product(ys, rhos, N))
