"""Ring-Pedersen parameters: commitments, the owner's short cut, and parameters that hide nothing."""

from __future__ import annotations

from dataclasses import replace

import gmpy2
import pytest
from constant_time import constant_time_only
from gmpy2 import mpz
from tss_testing import TESTING_SECP, TESTING_TINY, SeededRng, paillier_key, pedersen_key, safe_primes

from tss.errors import BadModulusSize, BadPedersen, OutOfDomain, ShareCorrupt
from tss.params import LEVEL_128
from tss.rand import plus_minus, randbelow
from tss.ring_pedersen import RingPedersen, RingPedersenSecret

SECRET = pedersen_key(TESTING_TINY)
PUBLIC = SECRET.public
N, S, T = PUBLIC.N_hat, PUBLIC.s, PUBLIC.t


@pytest.mark.parametrize(("level", "rounds"), [(TESTING_TINY, 100), (TESTING_SECP, 2), (LEVEL_128, 1)])
def test_four_ways_to_commit_agree(level, rounds):
    key, rng = pedersen_key(level), SeededRng(("commit", level.name))
    public, bound = key.public, mpz(1) << (level.l + level.eps)
    edges = [(0, 0), (1, 0), (0, 1), (-1, -1), (int(key.order_bound), 0), (0, int(public.N_hat))]
    for x, r in edges[:rounds] + [
        (plus_minus(rng, bound), plus_minus(rng, bound * public.N_hat)) for _ in range(rounds)
    ]:
        expected = pow(public.s, x, public.N_hat) * pow(public.t, r, public.N_hat) % public.N_hat
        assert public.commit(x, r) == public.commit_public(x, r) == expected, rng
        assert key.commit(x, r) == key.commit_public(x, r) == expected, rng


def test_commitments_add():
    rng = SeededRng("add")
    for _ in range(20):
        x, y, r, u = (plus_minus(rng, 1 << 400) for _ in range(4))
        e = randbelow(rng, 1 << 32)
        left = PUBLIC.commit(x + e * y, r + e * u)
        assert left == PUBLIC.commit(x, r) * pow(PUBLIC.commit(y, u), e, N) % N, rng


def test_parameters_are_what_they_claim():
    for index in range(5):
        key = pedersen_key(TESTING_TINY, index)
        p, q_, public = key.p, key.q_, key.public
        assert public.N_hat == p * q_
        assert key.phi == (p - 1) * (q_ - 1)
        assert key.order_bound == key.phi // 4
        assert 1 < key.lam < key.order_bound
        assert public.s == pow(public.t, key.lam, public.N_hat)
        assert gmpy2.legendre(public.t, p) == gmpy2.legendre(public.t, q_) == 1
        assert pow(public.t, key.order_bound, public.N_hat) == 1
        # t generates all squares: its order is p'q', not a proper divisor.
        assert pow(public.t, p // 2, public.N_hat) != 1
        assert pow(public.t, q_ // 2, public.N_hat) != 1
        public.check(TESTING_TINY)
        key.check(TESTING_TINY)


def test_lambda_and_t_come_from_the_rng():
    primes = tuple(safe_primes(TESTING_TINY, 2, seed="lambda"))
    keys = [RingPedersenSecret.generate(TESTING_TINY, SeededRng(i), primes) for i in range(20)]
    assert len({int(key.lam) for key in keys}) == len({int(key.public.t) for key in keys}) == 20
    assert RingPedersenSecret.generate(TESTING_TINY, SeededRng(3), primes).public == keys[3].public
    assert max(key.lam for key in keys) > keys[0].order_bound * 3 // 4


def test_moduli_are_apart_from_paillier_moduli():
    assert gmpy2.gcd(N, paillier_key(TESTING_TINY).public.N) == 1


REFUSED = {
    "s = 1": {"s": mpz(1)},
    "t = 1": {"t": mpz(1)},
    "s = -1": {"s": N - 1},
    "t = -1": {"t": N - 1},
    "s = 0": {"s": mpz(0)},
    "t = 0": {"t": mpz(0)},
    "s = N^": {"s": N},
    "t + N^": {"t": T + N},
    "-s": {"s": -S},
    "s = p": {"s": SECRET.p},
    "t = a multiple of q": {"t": 5 * SECRET.q_},
    "s = t": {"s": T},
    "t huge": {"t": mpz(1) << (1 << 20)},
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_parameters(name):
    with pytest.raises(BadPedersen) as refusal:
        replace(PUBLIC, **REFUSED[name]).check(TESTING_TINY)
    assert refusal.value.peer is None


@pytest.mark.parametrize(
    "modulus", [N - 1, N >> 1, 2 * N + 1, mpz(0), -N], ids=["even", "short", "long", "0", "-N"]
)
def test_modulus_of_wrong_size_is_found_first(modulus):
    with pytest.raises(BadModulusSize, match=r"^a peer: N\^ (has|is) "):
        RingPedersen(modulus, mpz(1), mpz(1)).check(TESTING_TINY)


def test_the_prime_that_is_not_safe_is_told_apart():
    weak = gmpy2.next_prime(SECRET.q_ + (1 << 70))
    while weak % 4 != 3:
        weak = gmpy2.next_prime(weak)
    for primes, named in (((SECRET.p, weak), "second"), ((weak, SECRET.p), "first")):
        with pytest.raises(ShareCorrupt, match=f"the {named} prime is not a safe prime"):
            RingPedersenSecret.generate(TESTING_TINY, SeededRng(0), primes)
        with pytest.raises(ShareCorrupt, match=f"the {named} prime is not a safe prime"):
            RingPedersenSecret(*primes, 5, 4).check(TESTING_TINY)


@pytest.mark.parametrize("value", [0, N, N + 1, -1, SECRET.p], ids=["0", "N", "N+1", "-1", "p"])
def test_commitment_that_is_no_unit(value):
    with pytest.raises(OutOfDomain, match=r"^a peer: S (is outside|shares)"):
        PUBLIC.check_commitment(value, "S")
    PUBLIC.check_commitment(N - 1, "S")


def test_as_list():
    assert PUBLIC.as_list() == [N, S, T]
    assert RingPedersen(*PUBLIC.as_list()) == PUBLIC


def test_generate_searches_its_own_primes():
    key = RingPedersenSecret.generate(TESTING_TINY, SeededRng("generate"))
    key.check(TESTING_TINY)
    assert key.public.N_hat.bit_length() == TESTING_TINY.modulus_bits


def test_parameters_that_every_peer_refuses_are_drawn_again():
    """tau = 1 and lambda = 0 or 1 make s or t trivial, or s equal to t; lambda = 2 is the least that is kept."""
    primes = safe_primes(TESTING_TINY, 2)
    draws = iter([1, 7, int(primes[0] * primes[1]) - 1, 7, 2, 0, 2, 1, 3, 2])

    def rng(n):
        value = next(draws)
        size = primes[0] * primes[1] if rng.for_tau else (primes[0] - 1) * (primes[1] - 1) // 4
        rng.for_tau = not rng.for_tau
        return (value << (8 * n - int(size).bit_length())).to_bytes(n, "big")

    rng.for_tau = True
    key = RingPedersenSecret.generate(TESTING_TINY, rng, primes)
    assert (key.public.t, key.lam, key.public.s) == (9, 2, 81)
    assert next(draws, None) is None


def test_generate_refuses_unfit_primes():
    p, q_ = SECRET.p, SECRET.q_
    for primes in ((p, p), (p, gmpy2.next_prime(q_)), (p, mpz(7)), (mpz(3) << 158, q_)):
        with pytest.raises(ShareCorrupt):
            RingPedersenSecret.generate(TESTING_TINY, SeededRng(0), primes)


def non_square():
    return next(n for n in range(2, 1000) if gmpy2.legendre(n, SECRET.p) == -1)


def square_modulo(yes, no):
    """The least unit that is a square modulo the first prime and none modulo the second."""
    return next(t for t in range(2, 1000) if (gmpy2.legendre(t, yes), gmpy2.legendre(t, no)) == (1, -1))


def test_check_finds_damage():
    p, q_, lam = SECRET.p, SECRET.q_, SECRET.lam
    cases = {
        "not safe": (RingPedersenSecret(p, gmpy2.next_prime(q_), lam, T), "prime"),
        "t not a square": (RingPedersenSecret(p, q_, lam, non_square()), "square"),
        "t a square modulo one prime": (RingPedersenSecret(p, q_, lam, square_modulo(p, q_)), "square"),
        "t a square modulo the other": (RingPedersenSecret(p, q_, lam, square_modulo(q_, p)), "square"),
        "lambda the order of t": (RingPedersenSecret(p, q_, SECRET.order_bound, T), "lambda"),
        "lambda too large": (RingPedersenSecret(p, q_, lam + SECRET.order_bound, T), "lambda"),
        "lambda negative": (RingPedersenSecret(p, q_, -1, T), "lambda"),
        "lambda 0, s = 1": (RingPedersenSecret(p, q_, 0, T), "s is 1"),
        "lambda 1, s = t": (RingPedersenSecret(p, q_, 1, T), "s equals t"),
        "t = 1": (RingPedersenSecret(p, q_, lam, 1), "is 1 or"),
        "t too large": (RingPedersenSecret(p, q_, lam, T + N), "outside"),
    }
    for name, (key, reason) in cases.items():
        with pytest.raises(ShareCorrupt, match=reason) as refusal:
            key.check(TESTING_TINY)
        assert str(lam) not in str(refusal.value), name
    for t in (0, p, 5 * q_):
        with pytest.raises(ShareCorrupt, match="unit"):
            RingPedersenSecret(p, q_, lam, t)


def test_squares_are_what_both_primes_see_as_squares():
    rng = SeededRng("squares")
    blind = mpz(3)
    for _ in range(10_000):
        value = 1 + randbelow(rng, N - 1)
        expected = gmpy2.legendre(value, SECRET.p) == gmpy2.legendre(value, SECRET.q_) == 1
        assert SECRET.are_squares([value], blind) is expected, rng
        assert SECRET.are_squares([value * value % N], value), rng
    some = square_modulo(SECRET.p, SECRET.q_), square_modulo(SECRET.q_, SECRET.p), non_square()
    for odd in (*some, N - 1, 0, SECRET.p, SECRET.q_):
        for values in ([odd], [S, odd], [odd, T], [S, T, odd, 4]):
            assert not SECRET.are_squares(values, blind)
    assert SECRET.are_squares([S, T, 4, 1], blind)
    assert SECRET.are_squares([], blind)


@pytest.mark.attack("E2")
def test_legendre_symbols_are_of_blinded_values(monkeypatch):
    seen = []
    legendre = gmpy2.legendre
    monkeypatch.setattr(gmpy2, "legendre", lambda a, p: seen.append(a) or legendre(a, p))
    assert SECRET.are_squares([mpz(4), mpz(4)], S)
    assert SECRET.are_squares([mpz(4), mpz(4)], T)
    assert len(seen) == len(set(seen)) == 8
    assert 4 not in seen


def test_powers_of_t():
    exponents = (0, 1, -1, SECRET.order_bound, SECRET.phi - 1, mpz(1) << 700)
    assert SECRET.powers_of_t(exponents) == [pow(T, a, N) for a in exponents]
    assert SECRET.powers_of_t([]) == []


def test_repr_hides_the_secret():
    shown = f"{SECRET} {SECRET!r} {SECRET.own!r} {PUBLIC!r}"
    assert repr(SECRET) == "RingPedersenSecret(320 bits)"
    for secret in (SECRET.p, SECRET.q_, SECRET.lam, SECRET.phi):
        assert str(secret) not in shown


def test_secret_openings_meet_the_constant_time_power_alone(monkeypatch):
    constant_time_only(monkeypatch)
    PUBLIC.commit(-5, 7)
    SECRET.commit(-5, 7)
    SECRET.commit_public(-5, 7)
    with pytest.raises(AssertionError, match="variable-time"):
        PUBLIC.commit_public(-5, 7)


@pytest.mark.parametrize("name", ["s", "t"])
def test_a_trivial_base_is_named(name):
    with pytest.raises(BadPedersen, match=f"{name} is 1 or -1"):
        replace(PUBLIC, **{name: mpz(1)}).check(TESTING_TINY)


def test_primes_keep_their_places():
    p, q_ = safe_primes(TESTING_TINY, 2)
    made = RingPedersenSecret.generate(TESTING_TINY, SeededRng("places"), (p, q_))
    assert (made.p, made.q_) == (p, q_)
