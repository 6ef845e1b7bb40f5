"""The owner's powers against plain ones, and that secrets meet the constant-time power alone."""

from __future__ import annotations

import gmpy2
import pytest
from constant_time import constant_time_only
from gmpy2 import mpz
from tss_testing import TESTING_SECP, TESTING_TINY, SeededRng, safe_primes

from tss.errors import OutOfDomain, ShareCorrupt
from tss.modexp import OwnModulus, powmod, powmod_secret
from tss.params import LEVEL_128
from tss.rand import plus_minus, unit


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
        assert own.pow_mod_squares_list([(base2, 3, 5), (base, 1, 1)]) == [
            (powmod(p_part, 3, p * p), powmod(q_part, 5, q_ * q_)),
            own.pow_mod_squares(base),
        ]
        assert own.pow_mod_squares_half([(base2, 1), (base2, 3)], [(base, 1, 1)]) == (
            [p_part, powmod(p_part, 3, p * p)],
            [own.pow_mod_squares(base)],
        )
        assert own.nth_powers([base, base2]) == [own.nth_power(base), own.nth_power(base2)]
        assert own.pow_mod_n_list([(base, exponent), (base2, -5)]) == [
            powmod(base, exponent, N),
            powmod(base2, -5, N),
        ]


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
    assert own.nth_powers([]) == own.pow_mod_n_list([]) == []


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
            lambda b: own.pow_mod_squares_half([(1, 1), (b, 1)]),
            lambda b: own.pow_mod_squares_half([], [(1, 1, 1), (b, 1, 1)]),
            lambda b: own.nth_powers([1, b]),
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


@pytest.mark.attack("E2")
def test_secrets_meet_the_constant_time_power_alone(monkeypatch):
    p, q_ = safe_primes(TESTING_TINY, 2)
    constant_time_only(monkeypatch)
    own = OwnModulus(p, q_)
    own.pow_mod_n(5, -77)
    own.pow_mod_n2(5, -77)
    own.nth_power(5)
    own.pow_mod_squares(5)
    powmod_secret(5, 77, own.N)
    powmod_secret(5, -77, own.N)
    with pytest.raises(AssertionError, match="variable-time"):
        powmod(5, 77, own.N)
