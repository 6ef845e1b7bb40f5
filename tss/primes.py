"""Safe primes p = 2p'+1 (protocol.md 0.4): one sieve for p' and p together, then Fermat, then Miller-Rabin.

Only p' = 5 mod 6 can do: p' = 1 mod 3 makes p a multiple of 3. So a window is the progression start + 6k from a random
start; an odd prime r strikes out p' = 0 and p' = (r-1)/2 mod r. What survives is tested to base 2, p' first.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp, log
from typing import Final, NamedTuple

import gmpy2
from gmpy2 import mpz

from tss.errors import BadParameters, ShareCorrupt
from tss.modexp.fermat import TOGETHER, pass_fermat
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
    return _Sieve(1 << 24, 1 << 19)


def expected_tests(bits: int) -> float:
    """Mean number of candidates that a search of `bits` bits tests to base 2: what a progress bar counts towards."""
    survivor_is_prime = exp(0.5772156649) * log(_sieve_for(bits).bound) / (bits * log(2))
    return survivor_is_prime**-2


def safe_prime(bits: int, rng: Rng) -> mpz:
    """A random safe prime p of exactly `bits` bits, both top bits set, so p = 11 mod 12. About a second at 1536 bits."""
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
    # numpy, which only a search needs.
    from tss.sieve import STEP, survivors

    sieve = _sieve_for(bits)
    while True:
        start = _random_start(bits, rng)
        tested = 0
        ks = survivors(start, sieve.bound, sieve.window).tolist()
        for at in range(0, len(ks), TOGETHER):
            if tested == _TESTS_PER_CALLBACK:
                if progress is not None:
                    progress(tested)
                tested = 0
            if tested == 0 and stop is not None and stop():
                return None
            halves = [start + STEP * k for k in ks[at : at + TOGETHER]]
            tested += len(halves)
            for half, passes in zip(halves, pass_fermat(halves), strict=True):
                p = 2 * half + 1
                if passes and p.bit_length() == bits and is_safe_prime(p, OWN_PRIME_ROUNDS):
                    if progress is not None:
                        progress(tested)
                    return int(p)
        if progress is not None:
            progress(tested)


def is_safe_prime(p: int | mpz, rounds: int = RECHECK_ROUNDS) -> bool:
    """Whether p' = (p-1)/2 passes Baillie-PSW and then `rounds` Miller-Rabin rounds, and p is a prime if p' is one.

    For that one power is proof (Pocklington): p' is a prime factor of p-1 above sqrt(p), so p is prime when 2^(p-1) = 1 and
    2^2 - 1 = 3 is coprime to p.
    """
    return (
        p > 5
        and p % 4 == 3
        and p % 3 != 0
        and pass_fermat([p])[0]
        and gmpy2.is_prime(mpz(p) >> 1, _BPSW_REPETITIONS + rounds)
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


def _random_start(bits: int, rng: Rng) -> mpz:
    """A random number = 5 mod 6 of bits-1 bits, top two set: the first p' of a window."""
    size = bits - 1
    raw = int.from_bytes(rng((size + 7) // 8), "big") & ((1 << size) - 1)
    start = mpz(raw | (3 << (size - 2)))
    return start - start % 6 + 5
