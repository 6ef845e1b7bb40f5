"""Powers: every spelling against Python's pow, and units and inverses."""

from __future__ import annotations

import gmpy2
import pytest
from constant_time import replace_gmpy2
from gmpy2 import mpz
from tss_testing import SeededRng

from tss.errors import OutOfDomain
from tss.modexp import check_unit, inverse, powmod, powmod_secret
from tss.rand import plus_minus, randbelow, unit

BOTH = pytest.mark.parametrize("power", [powmod, powmod_secret])


@BOTH
def test_against_pow(power):
    rng = SeededRng("pow")
    for bits in (3, 8, 64, 320, 1000):
        for _ in range(40):
            modulus = randbelow(rng, 1 << bits) | 1
            if modulus < 3:
                continue
            base = unit(rng, modulus)
            for exponent in (0, 1, -1, 2, -2, plus_minus(rng, 1 << bits), plus_minus(rng, 1 << (2 * bits))):
                assert power(base, exponent, modulus) == pow(int(base), int(exponent), int(modulus)), rng


@BOTH
def test_edges(power):
    assert power(0, 0, 7) == 1
    assert power(0, 5, 7) == 0
    assert power(5, 0, 1) == 0
    assert power(5, 3, 1) == 0
    assert power(-2, 3, 7) == 6
    assert power(9, 2, 7) == 4
    assert type(power(2, 5, 7)) is type(mpz(1))
    assert type(power(2, 0, 7)) is type(mpz(1))


@BOTH
@pytest.mark.parametrize(
    ("base", "exponent", "modulus"), [(0, -1, 7), (3, -1, 15), (5, -(1 << 90), 25), (2, 3, 0)]
)
def test_without_a_result(power, base, exponent, modulus):
    with pytest.raises(OutOfDomain):
        power(base, exponent, modulus)


@pytest.mark.attack("E2")
def test_either_sign_costs_the_same_operations(monkeypatch):
    """One inversion and one power of the same length, so that the sign of a secret does not show."""

    class Watched:
        def __getattr__(self, name):
            done = getattr(gmpy2, name)
            if name not in ("invert", "powmod_sec"):
                return done
            seen.append(name)
            return lambda *arguments: lengths.append(arguments[1].bit_length()) or done(*arguments)

    replace_gmpy2(monkeypatch, Watched())
    found = []
    for exponent in (mpz(1) << 99, -(mpz(1) << 99)):
        seen, lengths = [], []
        powmod_secret(mpz(5), exponent, mpz((1 << 127) - 1))
        found.append((seen, lengths))
    assert found[0] == found[1] == (["invert", "powmod_sec"], [127, 100])


def test_a_base_without_inverse_is_raised_to_what_is_not_negative():
    for exponent in (0, 1, 5):
        assert powmod_secret(3, exponent, 15) == pow(3, exponent, 15)
        assert powmod_secret(0, exponent, 7) == pow(0, exponent, 7)


def test_even_moduli():
    assert powmod(3, 5, 16) == 3
    with pytest.raises(OutOfDomain):
        powmod_secret(3, 5, 16)
    for power in (powmod, powmod_secret):
        with pytest.raises(OutOfDomain):
            power(3, 5, -7)


def test_inverse():
    assert inverse(3, 7) == 5
    assert inverse(-3, 7) == 2
    for value, modulus in ((0, 7), (6, 9), (7, 7)):
        with pytest.raises(OutOfDomain):
            inverse(value, modulus)


@pytest.mark.parametrize("value", [0, 15, 16, -1, -2, 3, 5, 10, 1 << 5000])
def test_check_unit_refuses(value):
    with pytest.raises(OutOfDomain, match=r"^a peer: S (is outside|shares)"):
        check_unit(value, 15, "S")


def test_check_unit_takes_the_units():
    for value in (1, 2, 4, 7, 8, 11, 13, mpz(14)):
        check_unit(value, 15, "S")
