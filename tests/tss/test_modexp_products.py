"""Products of powers and powers of one base against gmpy2's power, one by one."""

from __future__ import annotations

from itertools import pairwise
from math import inf

import pytest
from gmpy2 import mpz
from plain_powers import SIZES, edges, modulus_of, plain, plain_product
from tss_testing import SeededRng

from tss.errors import OutOfDomain
from tss.modexp import power_product, powers_of
from tss.modexp.backend import available, current, using
from tss.modexp.chains import pays, yao
from tss.modexp.products import chain_cost, separate, straus
from tss.modexp.rings import PAIRS_FROM, SMALL, ring
from tss.modexp.windows import digits, products, width_for
from tss.rand import plus_minus, randbelow, unit


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


RINGS = pytest.mark.parametrize("pairs", [False, True], ids=["numbers", "pairs"])


def small_ring(rng, pairs):
    """A ring of 4 to 128 bits, and its modulus: a square where pairs are asked for."""
    root = modulus_of(rng, int(2 + randbelow(rng, 63)))
    integers = ring(root * root, 0) if pairs else ring(root * root)
    assert integers.is_pairs == pairs
    return integers, root * root


@RINGS
def test_ten_thousand_chains_and_products(pairs):
    rng = SeededRng(("ten thousand", pairs))
    for _ in range(2500):
        integers, modulus = small_ring(rng, pairs)
        terms = [
            (randbelow(rng, modulus), 1 + randbelow(rng, mpz(1) << int(randbelow(rng, 200))))
            for _ in range(4)
        ]
        bases, exponents = zip(*terms, strict=True)
        assert straus(terms, integers) == plain_product(bases, exponents, modulus), rng
        assert yao(bases[0], exponents, integers) == [plain(bases[0], e, modulus) for e in exponents], rng


@RINGS
def test_chains_and_products_at_the_edges(pairs):
    sizes = [e for e in edges(70) if e > 0]
    for root in (2, 3, 7, 64, 1 << 31, (1 << 31) - 1):
        modulus = mpz(root * root)
        integers = ring(modulus, 0 if pairs else PAIRS_FROM)
        assert straus([], integers) == 1
        assert yao(mpz(3) % modulus, [], integers) == []
        assert yao(mpz(0), [mpz(0)], integers) == [1]
        for base in (mpz(0), mpz(1), modulus - 1, modulus // 2):
            found = yao(base, [*sizes, mpz(0)], integers)
            assert found == [plain(base, e, modulus) for e in [*sizes, mpz(0)]]
            for e in sizes:
                other = modulus - 1 - base
                expected = plain_product([base, other], [e, sizes[-1]], modulus)
                assert straus([(base, e), (other, sizes[-1])], integers) == expected


@RINGS
def test_a_ring_multiplies(pairs):
    rng = SeededRng(("ring", pairs))
    for _ in range(500):
        integers, modulus = small_ring(rng, pairs)
        x, y = randbelow(rng, modulus), randbelow(rng, modulus)
        a, b = integers.enter(x), integers.enter(y)
        assert integers.leave(a) == x
        assert integers.leave(integers.multiply(a, b)) == x * y % modulus, rng
        assert integers.leave(integers.square(a)) == x * x % modulus, rng
        assert integers.one == 1


def test_pairs_are_for_long_squares_alone():
    root = (mpz(1) << (PAIRS_FROM // 2)) - 1
    assert ring(root * root).is_pairs
    assert (root * root).bit_length() == PAIRS_FROM
    assert not ring(root * root + 2).is_pairs
    assert not ring(((mpz(1) << (PAIRS_FROM // 2 - 1)) + 1) ** 2).is_pairs
    assert ring(mpz(1)).one == 0


def test_digits_are_odd_and_add_up():
    rng = SeededRng("digits")
    for width in range(1, 10):
        for exponent in [mpz(0), mpz(1), mpz(2), *(randbelow(rng, mpz(1) << 300) for _ in range(50))]:
            found = digits(exponent, width)
            assert sum(digit << position for position, digit in found) == exponent, rng
            assert all(digit % 2 == 1 and digit < 1 << width for _, digit in found)
            positions = [position for position, _ in found]
            assert all(b - a >= width for a, b in pairwise(positions))


def test_widths_grow_with_the_exponent():
    assert [width_for(bits) for bits in (1, 6, 24, 80, 240, 672, 1792, 4608, 1 << 16)] == [
        1,
        1,
        2,
        3,
        4,
        5,
        6,
        7,
        9,
    ]
    assert (products(120, 3), products(120, 4)) == (34, 32)
    assert width_for(120) == 4


@pytest.mark.parametrize("name", list(available()))
def test_long_ones_alone_and_short_ones_together(name):
    """Moduli for which the costs decide, with every mixture of lengths."""
    rng = SeededRng("mixed")
    for modulus in (modulus_of(rng, SMALL), modulus_of(rng, 2001) ** 2, modulus_of(rng, 2048) | 1):
        for lengths in (
            [1024],
            [1024, 900],
            [900, 60, 50, 40],
            [700, 600, 500, 30, 30, 30, 30, 20],
            [128] * 20,
        ):
            bases = [unit(rng, modulus) for _ in lengths]
            exponents = [plus_minus(rng, mpz(1) << bits) for bits in lengths]
            with using(name):
                assert power_product(bases, exponents, modulus) == plain_product(bases, exponents, modulus), (
                    rng
                )
                assert powers_of(bases[0], exponents, modulus) == [
                    plain(bases[0], e, modulus) for e in exponents
                ], rng


def test_what_is_cheaper_alone():
    assert separate([], 1.0, 0.1) == 0
    assert separate([128] * 20, 0.7, 0.15) == 0
    assert separate([1000], 0.7, 0.15) == 1
    assert separate([3000, 3000, *[128] * 20], 0.7, 0.15) == 2
    assert separate([3000, 3000, 3000], 0.6, 0.15) == 3
    assert separate([3000, 3000, 3000], 0.7, 0.15) == 0
    # Equal costs stay together: one bit costs a squaring and a product.
    assert separate([1], 2.5, 0.15) == 0
    assert separate([1], 2.4, 0.15) == 1


@pytest.mark.parametrize("name", list(available()))
def test_what_is_cheaper_together(name):
    """Nothing by gmpy2 and OpenSSL; by crypto_mb many of a length, where the modulus suits it."""
    cost, modulus = available()[name].cost_together, (mpz(1) << 3071) + 1
    many = [128] * 16
    assert (cost(many, modulus) < chain_cost(many)) == (name == "crypto_mb")
    assert cost([128] * 3, modulus) > chain_cost([128] * 3)
    assert cost([*many, 2000], modulus) < inf or name != "crypto_mb"
    for unfit in (modulus - 1, (mpz(1) << 1998) + 1, (mpz(1) << 4096) + 1):
        assert cost(many, unfit) == inf
    assert cost([*many, 2001], modulus) == inf
    assert cost(many, (mpz(1) << 1999) + 1) == cost(many, (mpz(1) << 4095) + 1) == cost(many, modulus)
    assert cost([*many, 1], modulus) == cost([*many, *[64] * 8], modulus)
    assert cost([65], modulus) == cost([128] * 8, modulus)


def test_what_a_chain_is_for():
    assert pays([256, 768, 768], 1.05)
    assert not pays([3000], 1.05)
    assert not pays([], 1.05)
    assert not pays([1], 2.5)
    assert pays([1], 2.6)
    assert current().costs.bit < current().costs.bit_of_pairs
