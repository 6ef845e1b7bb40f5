"""Sampling by rejection from an explicit source."""

from __future__ import annotations

import gmpy2
import pytest
from tss_testing import SeededRng

from tss.rand import multipliers, plus_minus, randbelow, scalar, unit


@pytest.mark.parametrize("n", [1, 2, 3, 5, 255, 256, 257, 1 << 16, (1 << 16) + 1])
def test_randbelow_stays_below_and_reaches_the_ends(n):
    rng = SeededRng(n)
    seen = {int(randbelow(rng, n)) for _ in range(max(64, min(20 * n, 4000)))}
    assert min(seen) >= 0
    assert max(seen) < n
    if n <= 257:
        assert seen == set(range(n))


@pytest.mark.parametrize("n", [0, -1, -(1 << 300)])
def test_randbelow_refuses_an_empty_range(n):
    with pytest.raises(ValueError, match="n >= 1"):
        randbelow(SeededRng(0), n)


@pytest.mark.attack("A9")
def test_randbelow_rejects_rather_than_reduces():
    """Of the bytes 255, 100, 7 a reduction mod 100 would take the first."""
    source = iter([b"\xff", b"\xc8", b"\x0e"])
    # 100 has 7 bits: the top 7 of each byte are 127, 100 and 7.
    assert randbelow(lambda _: next(source), 100) == 7


def test_randbelow_asks_for_no_more_than_it_needs():
    asked = []

    def rng(n):
        asked.append(n)
        return bytes(n)

    for n, size in ((1, 1), (256, 1), (257, 2), (1 << 3072, 384), ((1 << 3072) + 1, 385)):
        randbelow(rng, n)
        assert asked.pop() == size


@pytest.mark.attack("A9")
def test_uniformity():
    """Chi-square over 7 classes: 22.5 is exceeded with probability 0.001 by a fair source; a reduced byte gives 40."""
    rng, trials = SeededRng("chi"), 35_000
    counts = [0] * 7
    for _ in range(trials):
        counts[randbelow(rng, 7)] += 1
    assert sum((c - trials / 7) ** 2 / (trials / 7) for c in counts) < 22.5, rng


def test_plus_minus_has_both_ends_and_no_bias_of_sign():
    rng = SeededRng("ends")
    draws = [int(plus_minus(rng, 2)) for _ in range(1000)]
    assert set(draws) == {-2, -1, 0, 1, 2}
    assert abs(sum(draws)) < 200, rng
    assert plus_minus(rng, 0) == 0
    with pytest.raises(ValueError, match="n >= 1"):
        plus_minus(rng, -1)


def test_multipliers_are_16_bytes_each():
    assert multipliers(lambda n: bytes(range(n)), 2) == [
        int.from_bytes(bytes(range(at, at + 16)), "big") for at in (0, 16)
    ]
    assert multipliers(SeededRng("multipliers"), 0) == []


def test_scalar_is_an_int_below_q():
    rng = SeededRng("scalar")
    draws = {scalar(rng, 5) for _ in range(200)}
    assert draws == {0, 1, 2, 3, 4}
    assert all(type(d) is int for d in draws)


def test_unit():
    rng = SeededRng("unit")
    assert {int(unit(rng, 15)) for _ in range(500)} == {1, 2, 4, 7, 8, 11, 13, 14}
    assert unit(rng, 2) == 1
    assert all(gmpy2.gcd(unit(rng, 3 * 5 * 7 * 11), 1155) == 1 for _ in range(200))
    for n in (1, 0, -15):
        with pytest.raises(ValueError, match="n >= 2"):
            unit(rng, n)
