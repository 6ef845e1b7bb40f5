"""The sieve of safe-prime candidates p' = start + 6k (protocol.md 0.4): which have no small factor, and whose p has none.

Apart from tss/primes.py, for numpy takes a tenth of a second of every start, and only a search needs it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import numpy as np
from gmpy2 import mpz

STEP: Final = 6
"""Between candidates: p' = 5 mod 6."""

_VECTOR_FROM: Final = 1 << 10
# Below this a prime strikes so often that a slice is faster than index arrays.


def survivors(start: mpz, bound: int, window: int) -> Any:
    """The k, ascending, for which neither p' = start + 6k nor 2p'+1 has a factor below `bound`, k < `window`."""
    primes, inverse_of_step = sieving_primes(bound)
    residues = residues_of(start, primes, bound)
    alive = np.ones(window, dtype=bool)
    # start + 6k = target mod r, that is k = (target - residue)/6 mod r, for target 0 and (r-1)/2.
    for target in (0, (primes - 1) // 2):
        first = (target + primes - residues) % primes * inverse_of_step % primes
        _strike(alive, first, primes)
    return np.flatnonzero(alive)


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
    """The residue of start mod r for every r, by Horner's rule on limbs that leave room for a residue in 64 bits."""
    limb_bits = 64 - bound.bit_length()
    mask = (1 << limb_bits) - 1
    limbs = [int(start >> shift) & mask for shift in range(0, start.bit_length(), limb_bits)]
    residues = np.zeros_like(primes)
    for limb in reversed(limbs):
        residues = ((residues << np.uint64(limb_bits)) | np.uint64(limb)) % primes
    return residues


@lru_cache(maxsize=3)
def sieving_primes(bound: int) -> tuple[Any, Any]:
    """The primes 5 <= r < bound, and 6^-1 mod each, as uint64 arrays."""
    odd = np.ones(bound // 2, dtype=bool)
    odd[0] = False
    for i in range(1, int(bound**0.5) // 2 + 1):
        if odd[i]:
            odd[2 * i * (i + 1) :: 2 * i + 1] = False
    primes = (2 * np.flatnonzero(odd) + 1).astype(np.uint64)[1:]
    # 6 * inverse = 1 + c*r with c = -r^-1 mod 6, and r^-1 = r mod 6 because r = 1 or 5 mod 6.
    inverse = (1 + (6 - primes % 6) * primes) // 6
    return primes, inverse
