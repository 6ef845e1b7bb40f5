"""Safe primes p = 2p'+1 (protocol.md 0.4): one sieve for p' and p together, then Fermat, then Miller-Rabin.

Only p' = 5 mod 6 can do: p' = 1 mod 3 makes p a multiple of 3. So a window is the progression start + 6k from a random
start; an odd prime r strikes out p' = 0 and p' = (r-1)/2 mod r. What survives is tested to base 2, p' first.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import exp, log
from typing import Any, Final, NamedTuple

import gmpy2
import numpy as np
from gmpy2 import mpz

from tss.errors import BadParameters, ShareCorrupt
from tss.rand import Rng

OWN_PRIME_ROUNDS: Final = 64
"""Miller-Rabin rounds on p and on p' before a prime becomes ours (security.md B10)."""

RECHECK_ROUNDS: Final = 4
"""Miller-Rabin rounds on loading: the search has made its own, this is against damage."""

MIN_BITS: Final = 64
"""Below this a sieving prime could strike out the candidate itself."""

_BPSW_REPETITIONS: Final = 24
# GMP's is_prime(n, k) makes a Baillie-PSW test and then k - 24 Miller-Rabin rounds.

_TESTS_PER_CALLBACK: Final = 32
_STEP: Final = 6
_VECTOR_FROM: Final = 1 << 10
# Below this a prime strikes so often that a slice is faster than index arrays.

ProgressHook = Callable[[int], None]
"""Called with the number of candidates tested since the last call, at least once a window."""


class _Sieve(NamedTuple):
    bound: int
    """Sieve with the primes below it."""
    window: int
    """Candidates p' in one window."""


def _sieve_for(bits: int) -> _Sieve:
    # Found by measurement: as the power grows, a deeper sieve pays. A window holds a few hits on average.
    if bits < 256:
        return _Sieve(1 << 12, 1 << 12)
    if bits < 768:
        return _Sieve(1 << 17, 1 << 16)
    return _Sieve(1 << 22, 1 << 19)


def expected_tests(bits: int) -> float:
    """Mean number of candidates that a search of `bits` bits tests to base 2: what a progress bar counts towards."""
    survivor_is_prime = exp(0.5772156649) * log(_sieve_for(bits).bound) / (bits * log(2))
    return survivor_is_prime**-2


def safe_prime(bits: int, rng: Rng) -> mpz:
    """A random safe prime p of exactly `bits` bits, both top bits set, so p = 11 mod 12. About 2 s at 1536 bits."""
    prime = search_safe_prime(bits, rng)
    assert prime is not None  # noqa: S101 - nothing stops this search
    return mpz(prime)


def search_safe_prime(
    bits: int, rng: Rng, progress: ProgressHook | None = None, stop: Callable[[], bool] | None = None
) -> int | None:
    """A random safe prime p as `safe_prime` returns it; a plain function of plain values, fit for a process of its own.

    `progress` is called about every 32 tests. `stop` is asked equally often; when it says True the result is None. A
    window serves for one prime only, for two of one window would be close together. Raises BadParameters below 64 bits.
    """
    if bits < MIN_BITS:
        raise BadParameters(f"safe primes of {bits} bits: at least {MIN_BITS}")
    sieve = _sieve_for(bits)
    while True:
        start = _random_start(bits, rng)
        tested = 0
        for k in _survivors(start, sieve):
            if tested == _TESTS_PER_CALLBACK:
                if progress is not None:
                    progress(tested)
                tested = 0
            if tested == 0 and stop is not None and stop():
                return None
            tested += 1
            half = start + _STEP * int(k)
            p = 2 * half + 1
            if _fermat(half) and _fermat(p) and p.bit_length() == bits and is_safe_prime(p, OWN_PRIME_ROUNDS):
                if progress is not None:
                    progress(tested)
                return int(p)
        if progress is not None:
            progress(tested)


def is_safe_prime(p: int | mpz, rounds: int = RECHECK_ROUNDS) -> bool:
    """Whether p and (p-1)/2 pass Baillie-PSW and then `rounds` Miller-Rabin rounds."""
    return (
        p > 5
        and p % 4 == 3
        and gmpy2.is_prime(mpz(p) >> 1, _BPSW_REPETITIONS + rounds)
        and gmpy2.is_prime(mpz(p), _BPSW_REPETITIONS + rounds)
    )


def check_own_primes(p: int | mpz, q_: int | mpz, bits: int, rounds: int = RECHECK_ROUNDS) -> None:
    """Whether two primes are fit to make a modulus of ours (protocol.md 0.3, security.md B10).

    Raises ShareCorrupt unless both have exactly `bits` bits with the top two set, are = 3 mod 4, differ by more than
    2^(bits-100) and are safe primes. gcd(N, phi) = 1 follows: p | q_ - 1 would make q_ more than twice p. Names no value.
    """
    for name, prime in (("first", p), ("second", q_)):
        if prime < 0 or int(prime) >> (bits - 2) != 3:
            raise ShareCorrupt(f"the {name} prime does not have {bits} bits with the top two set")
        if prime % 4 != 3:
            raise ShareCorrupt(f"the {name} prime is not 3 mod 4")
    if p == q_:
        raise ShareCorrupt("the two primes are equal")
    if abs(p - q_) <= 1 << max(bits - 100, 0):
        raise ShareCorrupt(f"the two primes are not more than 2^{bits - 100} apart")
    for name, prime in (("first", p), ("second", q_)):
        if not is_safe_prime(prime, rounds):
            raise ShareCorrupt(f"the {name} prime is not a safe prime")


def _fermat(n: mpz) -> bool:
    return bool(gmpy2.powmod(2, n - 1, n) == 1)


def _random_start(bits: int, rng: Rng) -> mpz:
    """A random number = 5 mod 6 of bits-1 bits, top two set: the first p' of a window."""
    size = bits - 1
    raw = int.from_bytes(rng((size + 7) // 8), "big") & ((1 << size) - 1)
    start = mpz(raw | (3 << (size - 2)))
    return start - start % _STEP + (_STEP - 1)


def _survivors(start: mpz, sieve: _Sieve) -> Any:
    """The k, ascending, for which neither p' = start + 6k nor 2p'+1 has a factor below the sieve's bound."""
    primes, inverse_of_step = _sieving_primes(sieve.bound)
    residues = _residues(start, primes, sieve.bound)
    alive = np.ones(sieve.window, dtype=bool)
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


def _residues(start: mpz, primes: Any, bound: int) -> Any:
    """The residue of start mod r for every r, by Horner's rule on limbs that leave room for a residue in 64 bits."""
    limb_bits = 64 - bound.bit_length()
    mask = (1 << limb_bits) - 1
    limbs = [int(start >> shift) & mask for shift in range(0, start.bit_length(), limb_bits)]
    residues = np.zeros_like(primes)
    for limb in reversed(limbs):
        residues = ((residues << np.uint64(limb_bits)) | np.uint64(limb)) % primes
    return residues


@lru_cache(maxsize=3)
def _sieving_primes(bound: int) -> tuple[Any, Any]:
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
