"""Powers: every spelling against Python's pow, and that secrets meet the constant-time one alone."""

from __future__ import annotations

import gmpy2
import pytest
from gmpy2 import mpz
from tss_testing import TESTING_SECP, TESTING_TINY, SeededRng, safe_primes

from tss import modexp
from tss.errors import OutOfDomain, ShareCorrupt
from tss.modexp import OwnModulus, check_unit, inverse, powmod, powmod_secret
from tss.params import LEVEL_128
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

    monkeypatch.setattr(modexp, "gmpy2", Watched())
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


@pytest.mark.parametrize(
    ("level", "rounds"), [(TESTING_TINY, 300), (TESTING_SECP, 2), (LEVEL_128, 1)], ids=["t", "s", "f"]
)
def test_own_modulus_agrees_with_plain_powers(level, rounds):
    p, q_ = safe_primes(level, 2)
    own = OwnModulus(p, q_)
    N, N2 = p * q_, (p * q_) ** 2
    assert own.N == N
    assert own.phi == (p - 1) * (q_ - 1)
    rng = SeededRng(("own", level.name))
    for _ in range(rounds):
        base, base2, exponent = unit(rng, N), unit(rng, N2), plus_minus(rng, N2)
        assert own.pow_mod_n(base, exponent) == powmod(base, exponent, N), rng
        assert own.pow_mod_n2(base2, exponent) == powmod(base2, exponent, N2), rng
        assert own.nth_power(base) == powmod(base, N, N2), rng
        assert own.nth_power(base2) == powmod(base2, N, N2), rng
        p_part, q_part = own.pow_mod_squares(base2)
        assert p_part == powmod(base2, p - 1, p * p)
        assert q_part == powmod(base2, q_ - 1, q_ * q_)


def test_own_modulus_on_tiny_primes_exhaustively():
    """Primes of different size, and with p = 1 mod 4: the arithmetic needs distinct odd primes and no more."""
    for p, q_ in ((5, 7), (7, 5), (3, 11), (11, 23)):
        own = OwnModulus(p, q_)
        N = p * q_
        for base in (b for b in range(1, N) if gmpy2.gcd(b, N) == 1):
            for exponent in range(-2 * N, 2 * N, 3):
                assert own.pow_mod_n(base, exponent) == pow(base, exponent, N)
                assert own.pow_mod_n2(base, exponent) == pow(base, exponent, N * N)
            assert own.nth_power(base) == pow(base, N, N * N)
            assert own.combine(mpz(base % p), mpz(base % q_)) == base


def test_own_modulus_edge_bases_and_exponents():
    p, q_ = safe_primes(TESTING_TINY, 2)
    own = OwnModulus(p, q_)
    N, phi = own.N, own.phi
    for base in (1, 2, N - 1, N + 1, N * N - 1, -1):
        for exponent in (0, 1, -1, p - 1, q_ - 1, phi, -phi, N, N * phi, phi + 1):
            assert own.pow_mod_n(base, exponent) == pow(int(base), int(exponent), int(N))
            assert own.pow_mod_n2(base, exponent) == pow(int(base), int(exponent), int(N * N))
        assert own.nth_power(base) == pow(int(base), int(N), int(N * N))


def test_own_modulus_refuses_bases_that_are_no_units():
    p, q_ = safe_primes(TESTING_TINY, 2)
    own = OwnModulus(p, q_)
    for base in (0, p, q_, own.N, 5 * p, own.N**2, own.N + p):
        for power in (
            lambda b: own.pow_mod_n(b, 0),
            lambda b: own.pow_mod_n(b, 5),
            lambda b: own.pow_mod_n2(b, 5),
            own.nth_power,
            own.pow_mod_squares,
        ):
            with pytest.raises(OutOfDomain):
                power(base)


@pytest.mark.parametrize(
    "primes", [(7, 7), (0, 7), (7, 1), (-7, 11), (2, 7), (7, 2), (9, 15), (8, 7), (7, 8)]
)
def test_own_modulus_refuses(primes):
    with pytest.raises(ShareCorrupt):
        OwnModulus(*primes)


def test_repr_hides_the_primes():
    p, q_ = safe_primes(TESTING_TINY, 2)
    assert repr(OwnModulus(p, q_)) == "OwnModulus(320 bits)"


class OnlyConstantTime:
    """gmpy2 without its variable-time power."""

    def __getattr__(self, name):
        assert name != "powmod", "a secret met the variable-time power"
        return getattr(gmpy2, name)


@pytest.mark.attack("E2")
def test_secrets_meet_the_constant_time_power_alone(monkeypatch):
    p, q_ = safe_primes(TESTING_TINY, 2)
    monkeypatch.setattr(modexp, "gmpy2", OnlyConstantTime())
    own = OwnModulus(p, q_)
    own.pow_mod_n(5, -77)
    own.pow_mod_n2(5, -77)
    own.nth_power(5)
    own.pow_mod_squares(5)
    powmod_secret(5, 77, own.N)
    powmod_secret(5, -77, own.N)
    with pytest.raises(AssertionError, match="variable-time"):
        powmod(5, 77, own.N)
