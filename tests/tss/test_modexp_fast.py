"""Products of powers, powers of one base and tables against gmpy2's power, one by one."""

from __future__ import annotations

import gmpy2
import pytest
from gmpy2 import mpz
from tss_testing import SeededRng

from tss.errors import OutOfDomain
from tss.modexp import FixedBase, power_product, powers_of
from tss.rand import plus_minus, randbelow, unit

SIZES = (2, 3, 8, 31, 64, 127, 320, 1000)


def plain(base, exponent, modulus):
    """gmpy2 alone: a negative exponent raises the inverse."""
    return gmpy2.powmod(base, exponent, modulus)


def modulus_of(rng, bits):
    return (randbelow(rng, 1 << (bits - 1)) | 1 << (bits - 1)) + 1


def plain_product(bases, exponents, modulus):
    product = mpz(1) % modulus
    for base, exponent in zip(bases, exponents, strict=True):
        product = product * plain(base, exponent, modulus) % modulus
    return product


def edges(bits):
    return [mpz(e) for e in (0, 1, -1, 2, -2, 3, (1 << bits) - 1, -(1 << bits) + 1, 1 << (bits - 1))]


def test_a_product_is_that_of_the_powers():
    for bits in SIZES:
        rng = SeededRng(("product", bits))
        for count in (0, 1, 2, 3, 7, 20):
            for _ in range(8):
                modulus = modulus_of(rng, bits)
                bases = [unit(rng, modulus) for _ in range(count)]
                exponents = [plus_minus(rng, 1 << int(randbelow(rng, 2 * bits))) for _ in range(count)]
                found = power_product(bases, exponents, modulus)
                assert found == plain_product(bases, exponents, modulus), rng
                assert type(found) is type(mpz(1))


def test_a_product_of_edge_exponents():
    for first in edges(70):
        for second in edges(9):
            for modulus in (1, 2, 7, 15, (1 << 61) - 1):
                assert power_product([2 % modulus or 1, 4], [first, second], 11) == plain_product(
                    [2 % modulus or 1, 4], [first, second], 11
                )
                if modulus % 2:
                    assert power_product([2, 4], [first, second], modulus) == plain_product(
                        [2, 4], [first, second], modulus
                    )
    assert power_product([], [], 7) == 1
    assert power_product([], [], 1) == 0
    assert power_product([0, 3], [0, 1], 7) == 3
    assert power_product([0, 3], [1, 1], 7) == 0
    assert power_product([-2, 30], [3, 2], 7) == plain_product([-2, 30], [3, 2], 7)


@pytest.mark.parametrize(
    ("bases", "exponents", "modulus"),
    [
        ([2], [], 7),
        ([], [2], 7),
        ([2, 3], [1], 7),
        ([2, 3], [1, 2, 3], 7),
        ([2, 3], [1, -1], 15),
        ([], [], 0),
        ([2], [3], -7),
    ],
)
def test_a_product_without_a_value(bases, exponents, modulus):
    with pytest.raises(OutOfDomain):
        power_product(bases, exponents, modulus)


def test_powers_of_one_base_are_the_powers():
    for bits in SIZES:
        rng = SeededRng(("powers", bits))
        for count in (0, 1, 2, 3, 5):
            for _ in range(10):
                modulus = modulus_of(rng, bits)
                base = unit(rng, modulus)
                exponents = [plus_minus(rng, 1 << int(randbelow(rng, 3 * bits))) for _ in range(count)]
                found = powers_of(base, exponents, modulus)
                assert found == [plain(base, e, modulus) for e in exponents], rng
                assert all(type(one) is type(mpz(1)) for one in found)


def test_powers_of_one_base_at_the_edges():
    for modulus in (3, 7, 25, (1 << 61) - 1, 1 << 40):
        for base in (1, 11, modulus - 1, modulus + 1, -1):
            assert powers_of(base, edges(70), modulus) == [plain(base, e, modulus) for e in edges(70)]
    assert powers_of(5, [0, 1, 2, -1], 1) == [0, 0, 0, 0]
    assert powers_of(0, [0, 1, 200], 7) == [1, 0, 0]
    assert powers_of(3, [2, 0, 1 << 70], 15) == [9, 1, pow(3, 1 << 70, 15)]


@pytest.mark.parametrize(
    ("base", "exponents", "modulus"), [(3, [5, -1], 15), (2, [1], 0), (2, [1, 2], -7), (0, [-1], 7)]
)
def test_powers_of_one_base_without_a_value(base, exponents, modulus):
    with pytest.raises(OutOfDomain):
        powers_of(base, exponents, modulus)


def test_a_table_gives_the_powers():
    for bits in SIZES:
        rng = SeededRng(("table", bits))
        for length in (1, 2, 9, bits, 3 * bits + 1):
            modulus = modulus_of(rng, bits)
            base = unit(rng, modulus)
            table = FixedBase(base, modulus, length)
            for exponent in [*edges(length), *(plus_minus(rng, (1 << length) - 1) for _ in range(20))]:
                if abs(exponent) < 1 << length:
                    found = table.power(exponent)
                    assert found == plain(base, exponent, modulus), rng
                    assert type(found) is type(mpz(1))


def test_a_table_takes_exponents_of_its_length_alone():
    table = FixedBase(3, 1009, 10)
    for exponent in (1023, -1023):
        assert table.power(exponent) == plain(3, exponent, 1009)
    for exponent in (1024, -1024, 1 << 70):
        with pytest.raises(OutOfDomain):
            table.power(exponent)


@pytest.mark.parametrize(
    ("base", "modulus", "bits"), [(3, 15, 8), (0, 7, 8), (2, 0, 8), (2, -7, 8), (2, 7, 0), (2, 7, -1)]
)
def test_a_table_without_a_value(base, modulus, bits):
    with pytest.raises(OutOfDomain):
        FixedBase(base, modulus, bits)


def test_a_table_shows_its_sizes():
    table = FixedBase(3, 1009, 10)
    assert repr(table) == "FixedBase(10 bits, exponents of 10)"
    assert table.memory > 0
    assert (table.bits, table.modulus) == (10, 1009)
