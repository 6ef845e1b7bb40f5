"""Fermat's test to base 2 by every backend that this machine has, against Python's pow."""

from __future__ import annotations

from random import Random

import gmpy2
import pytest
from gmpy2 import mpz
from tss_testing import TESTING_SECP, TESTING_TINY, safe_primes

from tss.errors import OutOfDomain
from tss.modexp import pass_fermat
from tss.modexp.backend import available, using
from tss.modexp.openssl import OpenSSL
from tss.params import LEVEL_128

PSEUDOPRIMES = (341, 561, 645, 1105, 1387, 2047, 3277, 4033, 1194649, 12327121)
"""Composite, and pass to base 2; the last two are squares."""


@pytest.fixture(params=sorted(available()))
def backend(request):
    with using(request.param) as chosen:
        yield chosen


def expected(numbers):
    return [pow(2, n - 1, n) == 1 for n in numbers]


def test_small_numbers(backend):
    odd = list(range(3, 20_000, 2))
    assert pass_fermat(odd) == expected(odd)
    assert all(pass_fermat(PSEUDOPRIMES))
    assert [n for n in odd[:999] if pass_fermat([n])[0] and not gmpy2.is_prime(n)] == [
        341,
        561,
        645,
        1105,
        1387,
        1729,
        1905,
    ]


@pytest.mark.parametrize("bits", [64, 512, 1023, 1024, 1025, 1535])
def test_large_numbers(backend, bits):
    """Where every number of a group passes, one, none; groups of all sizes around eight; numbers of mixed size."""
    rnd = Random(bits)
    odd = [rnd.getrandbits(bits) | 1 | 1 << bits - 1 for _ in range(17)]
    prime = int(gmpy2.next_prime(odd[0]))
    for size in (0, 1, 7, 8, 9, 17):
        assert pass_fermat(odd[:size]) == [False] * size == expected(odd[:size])
        assert pass_fermat([prime] * size) == [True] * size
    for at in (0, 3, 7):
        group = [*odd[:at], prime, *odd[at:7]]
        assert pass_fermat(group) == [i == at for i in range(8)]
    mixed = [prime, 341, odd[1], 343, (1 << 607) - 1, 3, odd[2], (1 << 1279) - 1]
    assert pass_fermat(mixed) == [True, True, False, False, True, True, False, True]


def test_safe_primes_pass(backend):
    for level in (TESTING_TINY, TESTING_SECP, LEVEL_128):
        ps = safe_primes(level, 4)
        assert pass_fermat([half for p in ps for half in (p, p // 2)]) == [True] * 8


@pytest.mark.parametrize("number", [0, 1, 2, 4, -1, -3, -341, 1 << 1536])
def test_not_odd_and_above_2(number):
    with pytest.raises(OutOfDomain):
        pass_fermat([3, number])


def test_a_candidate_leaves_no_context_behind():
    """One of them may become a secret: what belongs to a modulus is made for it alone and freed."""
    for library in available().values():
        if isinstance(library, OpenSSL):
            before = library._montgomery.cache_info().currsize
            assert library.pass_fermat([mpz(1 << 2203) - 1]) == [True]
            assert library._montgomery.cache_info().currsize == before
