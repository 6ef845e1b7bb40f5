"""Nonces from tables: r^N is right, and r is uniform."""

from __future__ import annotations

from collections import Counter

import gmpy2
import pytest
from gmpy2 import mpz
from tss_testing import TESTING_SECP, TESTING_TINY, SeededRng, safe_primes

from tss.errors import ShareCorrupt
from tss.modexp import OwnModulus, OwnNonces
from tss.modexp.nonces import primitive_root


@pytest.mark.parametrize(("level", "rounds"), [(TESTING_TINY, 300), (TESTING_SECP, 5)], ids=["t", "s"])
def test_the_power_is_that_of_the_nonce(level, rounds):
    p, q_ = safe_primes(level, 2)
    N = p * q_
    nonces, rng = OwnNonces(OwnModulus(p, q_)), SeededRng(("nonces", level.name))
    drawn = [nonces.draw(rng) for _ in range(rounds)]
    for r, power in drawn:
        assert 0 < r < N
        assert gmpy2.gcd(r, N) == 1
        assert power == gmpy2.powmod(r, N, N * N), rng
    assert len(set(drawn)) == rounds


@pytest.mark.parametrize(("p", "q_"), [(7, 11), (23, 7)])
def test_every_unit_comes_equally_often(p, q_):
    """All that randbelow can return, once each: e mod p-1 and mod q_-1 in every combination."""
    nonces = OwnNonces(OwnModulus(p, q_))
    N = p * q_
    sides = [
        [side._residues.power(e) for e in range(prime - 1)]
        for side, prime in zip(nonces._sides, (p, q_), strict=True)
    ]
    assert [sorted(side) for side in sides] == [list(range(1, p)), list(range(1, q_))]
    rng = SeededRng(("uniform", p, q_))
    rounds = 200 * (p - 1) * (q_ - 1)
    counts = Counter(nonces.draw(rng)[0] for _ in range(rounds))
    units = [r for r in range(1, N) if gmpy2.gcd(r, N) == 1]
    assert sorted(counts) == units
    # Six standard deviations of a binomial with mean 200.
    assert all(abs(count - 200) < 85 for count in counts.values()), rng


def test_the_root_generates_everything():
    for p in (7, 11, 23, 47, 59, 83, 107, 167, 179, 227, 263):
        g = primitive_root(mpz(p))
        assert len({pow(int(g), e, p) for e in range(p - 1)}) == p - 1


@pytest.mark.parametrize("p", [3, 5, 13, 17, 19, 31, 43])
def test_other_primes_are_refused(p):
    with pytest.raises(ShareCorrupt, match="not a safe prime"):
        primitive_root(mpz(p))
    with pytest.raises(ShareCorrupt):
        OwnNonces(OwnModulus(p, 263))
    with pytest.raises(ShareCorrupt):
        OwnNonces(OwnModulus(263, p))


def test_nothing_is_shown():
    p, q_ = safe_primes(TESTING_TINY, 2)
    nonces = OwnNonces(OwnModulus(p, q_))
    assert repr(nonces) == "OwnNonces(320 bits)"
    assert nonces.memory > 4 * 100 * 40
