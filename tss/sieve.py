"""The sieve of safe-prime candidates p' = start + 6k (protocol.md 0.4): which have no small factor, and whose p has none.

Apart from tss/primes.py, for numpy takes a tenth of a second of every start, and only a search needs it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
from gmpy2 import mpz

STEP: Final = 6
"""Between candidates: p' = 5 mod 6."""

_VECTOR_FROM: Final = 1 << 10
# Below this a prime strikes so often that a slice is faster than index arrays.

_CHUNK: Final = 1 << 14
# Primes at a time: what belongs to them stays in a core's second cache.


class SievingPrimes(NamedTuple):
    """The primes 5 <= r < bound in ascending order, and for each what its strikes begin with, as uint32 arrays."""

    r: Any
    inverse: Any
    """6^-1 mod r."""
    between: Any
    """(r-1)/2 * 6^-1 mod r: from a k for which r divides p' to one for which it divides p."""


def survivors(start: mpz, bound: int, window: int) -> Any:
    """The k, ascending, for which neither p' = start + 6k nor 2p'+1 has a factor below `bound`, k < `window`."""
    alive = np.ones(window, dtype=bool)
    for r, firsts in _strikes(start, bound):
        for first in firsts:
            _strike(alive, first, r)
    return np.flatnonzero(alive)


def _strikes(start: mpz, bound: int) -> Iterator[tuple[Any, tuple[Any, Any]]]:
    """(primes r, (least k >= 0 with r | p', least with r | p)), some primes at a time."""
    primes = sieving_primes(bound)
    for begin in range(0, len(primes.r), _CHUNK):
        r, inverse, between = (column[begin : begin + _CHUNK].astype(np.float64) for column in primes)
        # start + 6k = 0 mod r, that is k = (r - start)/6 mod r.
        halves = _reduced((r - residues_of(start, r, bound)) * inverse, r)
        wholes = halves + between
        wholes -= r * (wholes >= r)
        yield r.astype(np.int64), (halves.astype(np.int64), wholes.astype(np.int64))


def _strike(alive: Any, first: Any, primes: Any) -> None:
    """Strike out first, first + r, first + 2r, ... for every prime r."""
    split = int(np.searchsorted(primes, _VECTOR_FROM))
    for index, prime in zip(first[:split].tolist(), primes[:split].tolist(), strict=True):
        alive[index::prime] = False
    index, step = first[split:], primes[split:]
    while True:
        inside = index < len(alive)
        index, step = index[inside], step[inside]
        if not len(index):
            return
        alive[index] = False
        index = index + step


def residues_of(start: mpz, primes: Any, bound: int) -> Any:
    """The residue of start mod r for every r (all as float64), by Horner's rule.

    Limbs are so short that a residue, shifted, stays below 2^52: a float64 holds it, and every product here, without error.
    """
    limb_bits = 51 - bound.bit_length()
    mask, shift = (1 << limb_bits) - 1, float(1 << limb_bits)
    limbs = [int(start >> at) & mask for at in range(0, start.bit_length(), limb_bits)]
    reciprocals = 1 / primes
    residues, quotients = np.zeros_like(primes), np.empty_like(primes)
    for limb in reversed(limbs):
        residues *= shift
        residues += limb
        np.multiply(residues, reciprocals, out=quotients)
        np.floor(quotients, out=quotients)
        quotients *= primes
        # A quotient may be one off: the residue is then in [-r, 0) or [r, 2r), and the next step takes it so.
        residues -= quotients
    return _reduced(residues, primes)


def _reduced(numbers: Any, primes: Any) -> Any:
    """In [0, r), of integers whose amount is below 2^52."""
    residues = numbers - np.floor(numbers / primes) * primes
    residues += primes * (residues < 0)
    residues -= primes * (residues >= primes)
    return residues


@lru_cache(maxsize=3)
def sieving_primes(bound: int) -> SievingPrimes:
    """For `survivors`; bound <= 2^25."""
    odd = np.ones(bound // 2, dtype=bool)
    odd[0] = False
    for i in range(1, int(bound**0.5) // 2 + 1):
        if odd[i]:
            odd[2 * i * (i + 1) :: 2 * i + 1] = False
    r = (2 * np.flatnonzero(odd) + 1).astype(np.uint64)[1:]
    # 6 * inverse = 1 + c*r with c = -r^-1 mod 6, and r^-1 = r mod 6 because r = 1 or 5 mod 6.
    inverse = (1 + (6 - r % 6) * r) // 6
    between = (r - 1) // 2 * inverse % r
    return SievingPrimes(*(column.astype(np.uint32) for column in (r, inverse, between)))
