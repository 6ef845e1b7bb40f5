"""Paillier nonces under one's own key, from tables modulo the primes."""

from __future__ import annotations

import itertools
from typing import Final

import gmpy2
from gmpy2 import mpz

from tss.errors import ShareCorrupt
from tss.modexp.own import OwnModulus
from tss.modexp.plain import powmod
from tss.modexp.tables import FixedBase
from tss.rand import Rng, randbelow

_ENTRIES: Final = 512
"""Of each of the four tables: 0.7 MB together for a modulus of 3,072 bits."""


class OwnNonces:
    """Pairs (r, r^N mod N^2) with r exactly uniform in Z_N*, for the owner of N = p*q_ with safe primes p, q_.

    With a primitive root g mod p and a uniform e below p-1 the residue g^e is uniform in Z_p*, and r^N mod p^2 depends on r
    mod p alone: it is (g^N)^e. Two tables a prime, indexed by e, which is EPHEMERAL: drawn for this nonce. Only for
    one's own modulus; under another's a nonce from a table may lie in a subgroup that its owner knows. Raises
    ShareCorrupt when (p-1)/2 or (q_-1)/2 is not prime. `repr` shows nothing; immutable, for any thread.
    """

    def __init__(self, own: OwnModulus) -> None:
        self._own = own
        self._sides = [_Side(prime, own.N) for prime in (own.p, own.q_)]

    def draw(self, rng: Rng) -> tuple[mpz, mpz]:
        """A fresh (r, r^N mod N^2)."""
        (r_p, power_p), (r_q, power_q) = (side.draw(rng) for side in self._sides)
        return self._own.combine(r_p, r_q), self._own.combine_squares(power_p, power_q)

    @property
    def memory(self) -> int:
        """Bytes that the tables take."""
        return sum(side.memory for side in self._sides)

    def __repr__(self) -> str:
        return f"OwnNonces({self._own.N.bit_length()} bits)"


class _Side:
    """The tables of one prime."""

    def __init__(self, prime: mpz, N: mpz) -> None:
        self._order = prime - 1
        bits = int(prime.bit_length())
        g = primitive_root(prime)
        square = prime * prime
        self._residues = FixedBase(g, prime, bits, _ENTRIES)
        self._powers = FixedBase(powmod(g, N, square), square, bits, _ENTRIES)
        self.memory = self._residues.memory + self._powers.memory

    def draw(self, rng: Rng) -> tuple[mpz, mpz]:
        e = randbelow(rng, self._order)
        return self._residues.power(e), self._powers.power(e)


def primitive_root(prime: mpz) -> mpz:
    """A generator of Z_p* for a safe prime p >= 7: neither a square nor -1, for 1, 2, p' and 2p' alone divide p-1 = 2p'.

    Raises ShareCorrupt when (p-1)/2 is not an odd prime.
    """
    if prime < 7 or not gmpy2.is_prime(prime >> 1):
        raise ShareCorrupt("a prime of one's own modulus is not a safe prime")
    # -1 is no square modulo a safe prime above 5, and the last to be tried.
    return next(mpz(g) for g in itertools.count(2) if gmpy2.legendre(g, prime) == -1)
