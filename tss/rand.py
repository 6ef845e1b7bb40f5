"""Sampling from an explicit source of randomness.

Every function takes `rng`, a callable that returns n fresh bytes. Production passes `os.urandom` in from outside;
tests pass a seeded stream. Nothing in `tss` reaches for randomness by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import gmpy2
from gmpy2 import mpz

Rng = Callable[[int], bytes]


def randbelow(rng: Rng, n: int | mpz) -> mpz:
    """Uniform in [0, n), by rejection (never by reduction: security.md A9). n >= 1."""
    if n < 1:
        raise ValueError("randbelow needs n >= 1")
    bits = int(gmpy2.bit_length(mpz(n - 1))) if n > 1 else 1
    size = (bits + 7) // 8
    excess = 8 * size - bits
    while True:
        value = gmpy2.mpz(int.from_bytes(rng(size), "big") >> excess)
        if value < n:
            return value


def plus_minus(rng: Rng, bound: int | mpz) -> mpz:
    """Uniform in {-bound, ..., bound}, both ends included (protocol.md 0.1)."""
    return randbelow(rng, 2 * bound + 1) - bound


MULTIPLIER_BYTES: Final = 16
"""128 bits: the error of a test of equations together is the inverse of the number of multipliers."""


def multipliers(rng: Rng, count: int) -> list[mpz]:
    """`count` uniform numbers of 128 bits, by which equations are multiplied to be tested together."""
    drawn = rng(MULTIPLIER_BYTES * count)
    return [
        mpz(int.from_bytes(drawn[at : at + MULTIPLIER_BYTES], "big"))
        for at in range(0, len(drawn), MULTIPLIER_BYTES)
    ]


def scalar(rng: Rng, q: int) -> int:
    """Uniform in Z_q."""
    return int(randbelow(rng, q))


def unit(rng: Rng, n: int | mpz) -> mpz:
    """Uniform in Z_n*, for n >= 2."""
    if n < 2:
        raise ValueError("unit needs n >= 2")
    while True:
        value = randbelow(rng, n)
        if value > 0 and gmpy2.gcd(value, n) == 1:
            return value
