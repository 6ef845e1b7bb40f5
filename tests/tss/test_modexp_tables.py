"""Tables of powers against gmpy2's power."""

from __future__ import annotations

import pytest
from gmpy2 import mpz
from plain_powers import SIZES, edges, modulus_of, plain
from tss_testing import SeededRng

from tss.errors import OutOfDomain
from tss.modexp import FixedBase
from tss.modexp.tables import shape
from tss.rand import plus_minus, unit


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


def test_combs_are_as_cheap_as_the_room_allows():
    assert shape(3843, 1024) == (8, 4)
    assert shape(3843, 1019) == (7, 8)
    assert shape(1, 1) == (1, 1)
    assert shape(10, 1) == (1, 1)
    assert shape(10, 2) == (1, 2)
    assert shape(10, 3) == (2, 1)
    assert shape(10, 10**6) == (5, 2)
    for bits in (1, 2, 3, 9, 64, 1000):
        for entries in (1, 2, 3, 7, 50, 300):
            rows, blocks = shape(bits, entries)
            assert blocks * ((1 << rows) - 1) <= entries


def test_tables_of_every_shape_give_the_powers():
    rng = SeededRng("shapes")
    for entries in (1, 2, 3, 4, 7, 15, 40, 255, 600):
        for bits in (1, 2, 3, 5, 8, 17, 64, 200):
            for modulus in (mpz(1), mpz(2), modulus_of(rng, 90), modulus_of(rng, 2001) ** 2):
                base = mpz(1) if modulus < 3 else unit(rng, modulus)
                table = FixedBase(base + 5 * modulus, modulus, bits, entries)
                for exponent in (mpz(1), (mpz(1) << bits) - 1, plus_minus(rng, (mpz(1) << bits) - 1)):
                    assert table.power(exponent) == plain(base, exponent, modulus), rng


def test_ten_thousand_powers_from_tables():
    rng = SeededRng("table, often")
    for _ in range(20):
        modulus = modulus_of(rng, 160)
        base = unit(rng, modulus)
        table = FixedBase(base, modulus, 200, 100)
        for _ in range(500):
            exponent = plus_minus(rng, (1 << 200) - 1)
            assert table.power(exponent) == plain(base, exponent, modulus), rng


def test_the_memory_of_a_table_is_what_its_values_take():
    modulus = mpz(3) ** 1938
    small, large = (FixedBase(5, modulus, 300, entries).memory for entries in (64, 128))
    assert 40 * 384 < small < 100 * 500
    assert 1.7 < large / small < 2.3
    square = FixedBase(5, modulus**2, 300, 64)
    assert 1.8 < square.memory / small < 2.6
    with pytest.raises(OutOfDomain):
        FixedBase(5, modulus, 300, 0)
