"""Blinding of Paillier decryption: what its time depends on is another number each time (security.md E2).

A ciphertext is multiplied by a fresh encryption of a random a before it meets the primes, and a is subtracted from the
plaintext; the exponents p-1 and q_-1 are multiplied by random numbers. So whoever chooses ciphertexts and watches the
clock knows neither the base of a secret power, nor its exponent, nor the number that is divided, reduced and combined.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Final

from gmpy2 import mpz

from tss.modexp import OwnModulus
from tss.rand import Rng, randbelow, unit
from tss.transcript import hash_commit, stream

MULTIPLIER_BITS: Final = 64
"""Exactly: the blinded exponent's length must say nothing."""

USES: Final = 64
"""Of one encryption of a, squared from use to use, before the next is drawn."""

_DOMAIN: Final = "wallet-mpc/v1"


@dataclass(frozen=True)
class Mask:
    """For one ciphertext C: dec(C) = dec(C*factor) - a. k_p and k_q are prime to p and q_. All of it is secret."""

    a: mpz = field(repr=False)
    factor: mpz = field(repr=False)
    k_p: mpz = field(repr=False)
    k_q: mpz = field(repr=False)


class Blinding:
    """The masks of one key, for any thread. `repr` shows nothing.

    They come from a hash of the primes, a counter and the ciphertext: nobody without the primes knows them, and no
    source of randomness has to be there, or to be good.
    """

    def __init__(self, own: OwnModulus) -> None:
        self._own = own
        self._N2 = own.N * own.N
        self._seed = hash_commit(_DOMAIN, "decryption-masks", own.p, own.q_)
        self._lock = threading.Lock()
        self._count = 0
        self._a = self._factor = mpz(0)

    def draw(self, C: mpz) -> Mask:
        """The mask for a ciphertext, used for no other."""
        with self._lock:
            rng = self._stream(self._count, C)
            if self._count % USES == 0:
                self._renew(rng)
            else:
                self._a = 2 * self._a % self._own.N
                self._factor = self._factor * self._factor % self._N2
            self._count += 1
            a, factor = self._a, self._factor
        return Mask(a, factor, _multiplier(rng, self._own.p), _multiplier(rng, self._own.q_))

    def _renew(self, rng: Rng) -> None:
        N = self._own.N
        self._a = randbelow(rng, N)
        self._factor = (1 + self._a * N) * self._own.nth_power(unit(rng, N)) % self._N2

    def _stream(self, count: int, C: mpz) -> Rng:
        return stream(hash_commit(_DOMAIN, "decryption-mask", self._seed, count, C))

    def __repr__(self) -> str:
        return "Blinding()"


def _multiplier(rng: Rng, prime: mpz) -> mpz:
    while True:
        k = randbelow(rng, 1 << (MULTIPLIER_BITS - 1)) + (1 << (MULTIPLIER_BITS - 1))
        # Only a prime of a test can divide it.
        if k % prime:
            return k
