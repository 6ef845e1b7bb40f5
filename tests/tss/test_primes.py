"""The safe-prime search: its sieve against trial division, its results, its hooks, and what a modulus of ours demands."""

from __future__ import annotations

import multiprocessing
import pickle
from dataclasses import FrozenInstanceError

import gmpy2
import numpy as np
import pytest
from gmpy2 import mpz
from tss_testing import TESTING_SECP, TESTING_TINY, SeededRng, safe_primes

from tss import primes, sieve
from tss.errors import BadParameters, ShareCorrupt
from tss.params import LEVEL_128
from tss.primes import check_own_primes, expected_tests, is_safe_prime, safe_prime, search_safe_prime


def test_sieving_primes():
    for bound in (8, 100, 1 << 12):
        found = sieve.sieving_primes(bound)
        assert found.r.tolist() == [r for r in range(5, bound) if gmpy2.is_prime(r)]
        for r, inverse, between in zip(*(column.tolist() for column in found), strict=True):
            assert 6 * inverse % r == 1
            assert 6 * between % r == (r - 1) // 2 % r
            assert max(inverse, between) < r


@pytest.mark.parametrize("bits", [64, 80, 160, 1536])
def test_residues(bits):
    rng = SeededRng(bits)
    for bound in (1 << 12, 1 << 17, 1 << 24):
        found = sieve.sieving_primes(bound).r
        some = found[:: max(1, len(found) // 500)]
        for start in (
            primes._random_start(bits, rng),
            mpz(1) << (bits - 1),
            (mpz(1) << bits) - 1,
            mpz(int(some[-1])) ** (bits // 25),
        ):
            residues = sieve.residues_of(start, some.astype(np.float64), bound)
            assert residues.tolist() == [int(start % r) for r in some.tolist()], rng


@pytest.mark.parametrize("bound", [1 << 8, 1 << 12])
def test_sieve_strikes_out_what_has_a_small_factor_and_nothing_else(bound):
    rng, window = SeededRng(bound), 3000
    start = primes._random_start(120, rng)
    alive = set(sieve.survivors(start, bound, window).tolist())
    small = [r for r in range(2, bound) if gmpy2.is_prime(r)]
    for k in range(window):
        half = start + 6 * k
        divisible = any(half % r == 0 or (2 * half + 1) % r == 0 for r in small)
        assert (k in alive) == (not divisible), (k, rng)
    assert 0 < len(alive) < window


def test_sieve_of_the_full_size_loses_no_safe_prime():
    """Through the vectorised strikes: a window that begins a known distance before a known safe prime keeps it."""
    size = primes._sieve_for(1536)
    p = safe_primes(LEVEL_128, 1)[0]
    for distance in (0, 1, 4097, size.window - 1):
        start = mpz(p - 1) // 2 - 6 * distance
        assert start % 6 == 5
        assert distance in sieve.survivors(start, *size)
    # And one candidate beside it that the largest sieving prime divides is struck.
    r = int(sieve.sieving_primes(size.bound).r[-1])
    start = (mpz(1) << 1400) * 6 + 5
    k = int(-start * gmpy2.invert(6, r) % r)
    assert (start + 6 * k) % r == 0
    shifted = start + 6 * (k - 100)
    assert 100 not in sieve.survivors(shifted, *size)


def test_starts_come_from_the_rng_and_have_their_top_bits():
    for raw, low in ((bytes(20), 0), (b"\xff" * 20, (1 << 159) - 1)):
        start = primes._random_start(160, lambda n, raw=raw: raw[:n])
        assert start % 6 == 5
        assert abs(start - (low | 3 << 157)) < 6
        assert start >> 157 >= 3
    starts = {int(primes._random_start(160, SeededRng(i))) for i in range(50)}
    assert len(starts) == 50


@pytest.mark.attack("B10")
@pytest.mark.parametrize(
    ("bits", "count"), [(64, 20), (80, 20), (160, 20), (255, 3), (256, 3), (512, 2), (768, 1)]
)
def test_found_primes(bits, count):
    rng = SeededRng(("found", bits))
    for _ in range(count):
        p = safe_prime(bits, rng)
        assert p.bit_length() == bits, rng
        assert p >> (bits - 2) == 3
        assert p % 12 == 11
        assert gmpy2.is_prime(p, 50)
        assert gmpy2.is_prime(p // 2, 50)
        assert is_safe_prime(p)


def test_found_primes_depend_on_the_rng_alone():
    assert safe_prime(160, SeededRng("a")) == safe_prime(160, SeededRng("a"))
    assert len({int(safe_prime(160, SeededRng(i))) for i in range(40)}) == 40


def test_one_window_serves_one_prime():
    """Two calls draw two starts, so two primes of one modulus are not neighbours."""
    starts = []

    def rng(n):
        starts.append(n)
        return SeededRng(len(starts))(n)

    p, q_ = safe_prime(160, rng), safe_prime(160, rng)
    assert len(starts) >= 2
    assert abs(p - q_) > 1 << 60


def test_overlong_candidates_are_skipped():
    """A start of all ones runs over into 81 bits; the safe primes that lie there are never returned."""
    top = primes._random_start(80, lambda n: b"\xff" * n)
    window = (2 * (top + 6 * int(k)) + 1 for k in sieve.survivors(top, *primes._sieve_for(80)))
    assert any(p.bit_length() == 81 and is_safe_prime(p) for p in window)
    calls = []

    def rng(n):
        calls.append(n)
        return b"\xff" * n if len(calls) == 1 else SeededRng("after")(n)

    assert safe_prime(80, rng).bit_length() == 80
    assert len(calls) > 1


def test_full_size_prime():
    p = safe_primes(LEVEL_128, 1)[0]
    assert p.bit_length() == 1536
    assert p >> 1534 == 3
    assert is_safe_prime(p, 64)
    # It lies in the first window of its seed: the file of kept primes was made by this generator.
    start = primes._random_start(1536, SeededRng((0, 1536, 0)))
    assert 0 <= (p - 1) // 2 - start < 6 * primes._sieve_for(1536).window


def test_too_small():
    for bits in (63, 8, 0, -1):
        with pytest.raises(BadParameters):
            search_safe_prime(bits, SeededRng(0))


def test_progress_counts_every_test(monkeypatch):
    tested, reported = [], []
    fermat = primes.pass_fermat
    monkeypatch.setattr(primes, "pass_fermat", lambda ns: tested.extend(ns) or fermat(ns))
    for seed in range(5):
        search_safe_prime(256, SeededRng(("progress", seed)), progress=reported.append)
    halves = [n for n in tested if n.bit_length() == 255]
    assert sum(reported) == len(halves)
    assert max(reported) <= 32
    assert len(reported) > 5


def test_progress_reports_windows_without_a_prime(monkeypatch):
    monkeypatch.setattr(primes, "pass_fermat", lambda ns: [False] * len(ns))
    reported = []
    windows = []

    def stop():
        return len(windows) >= 3

    def rng(n):
        windows.append(n)
        return SeededRng(len(windows))(n)

    assert search_safe_prime(160, rng, progress=reported.append, stop=stop) is None
    assert len(windows) == 3
    assert len(reported) > 3


def test_stop_is_asked_before_the_first_test_and_again_later():
    asked = []

    def stop():
        asked.append(1)
        return len(asked) == 3

    assert search_safe_prime(1024, SeededRng("stop"), stop=lambda: True) is None
    reported = []
    assert search_safe_prime(1024, SeededRng("stop"), progress=reported.append, stop=stop) is None
    assert len(asked) == 3
    assert reported == [32, 32]


def test_expected_tests_is_what_searches_take():
    counts = []
    for seed in range(60):
        search_safe_prime(160, SeededRng(("count", seed)), progress=counts.append)
    mean = sum(counts) / 60
    assert 0.6 < mean / expected_tests(160) < 1.6
    assert expected_tests(1536) > expected_tests(1160) > expected_tests(160)


def search_in_process(seed, results):
    results.put(search_safe_prime(160, SeededRng(seed)))


def test_search_runs_in_a_spawned_process():
    assert pickle.loads(pickle.dumps(search_safe_prime)) is search_safe_prime  # noqa: S301 - our own bytes
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        found = pool.apply(search_safe_prime, (160, SeededRng("spawn")))
    assert found == search_safe_prime(160, SeededRng("spawn"))
    assert type(found) is int


@pytest.mark.attack("B10")
def test_rounds_of_miller_rabin(monkeypatch):
    """GMP's is_prime(n, k) makes Baillie-PSW and k - 24 Miller-Rabin rounds: own primes get 64, loading a few.

    They are made on (p-1)/2: with it p is proven prime, by one power."""
    asked = []

    class Recorded:
        def __getattr__(self, name):
            return getattr(gmpy2, name)

        def is_prime(self, n, repetitions=25):
            asked.append(repetitions)
            return gmpy2.is_prime(n, repetitions)

    monkeypatch.setattr(primes, "gmpy2", Recorded())
    p = safe_prime(160, SeededRng("rounds"))
    assert asked == [88]
    asked.clear()
    is_safe_prime(p)
    assert asked == [28]


@pytest.mark.parametrize(
    "n", [-23, -1, 0, 1, 2, 3, 4, 5, 9, 13, 15, 17, 19, 31, 561, 2047, 3215031751, 25326001]
)
def test_not_safe_primes(n):
    assert not is_safe_prime(n)


def test_small_safe_primes():
    slow = [n for n in range(4000) if gmpy2.is_prime(n) and gmpy2.is_prime(n // 2) and n > 5]
    assert [n for n in range(4000) if is_safe_prime(n)] == slow
    assert [n for n in range(200) if is_safe_prime(n)] == [7, 11, 23, 47, 59, 83, 107, 167, 179]


BITS = 160


def ordinary_prime(residue):
    """A prime of 160 bits = residue mod 4 that is not safe, top two bits set."""
    n = mpz(3) << 158
    while True:
        n = gmpy2.next_prime(n)
        if n % 4 == residue and not is_safe_prime(n):
            return n


def neighbour(p):
    """The next safe prime above p."""
    n = p + 12
    while not is_safe_prime(n):
        n += 12
    return n


def test_own_primes_pass():
    for level in (TESTING_TINY, TESTING_SECP, LEVEL_128):
        p, q_ = safe_primes(level, 2)
        check_own_primes(p, q_, level.pb)
        check_own_primes(mpz(q_), mpz(p), level.pb, rounds=1)


@pytest.mark.attack("B10")
def test_own_primes_refused():
    p, q_ = safe_primes(TESTING_TINY, 2)
    low_top_bits = next(
        n for n in (search_safe_prime(BITS - 1, SeededRng(i)) for i in range(9)) if n is not None
    )
    refused = {
        "equal": (p, p, "equal"),
        "neighbours": (p, neighbour(p), "apart"),
        "not safe": (ordinary_prime(3), q_, "first prime is not a safe"),
        "not safe, second": (p, ordinary_prime(3), "second prime is not a safe"),
        "1 mod 4": (p, ordinary_prime(1), "second prime is not 3 mod 4"),
        "composite": (p, (p + q_) // 8 * 4 + 3, "second prime is not a safe"),
        "too short": (p, low_top_bits, "second prime does not have 160 bits"),
        "too long": (2 * p + 1, q_, "first prime does not have 160 bits"),
        "second top bit clear": ((1 << 159) + 3, q_, "first prime does not have 160 bits"),
        "zero": (p, 0, "second prime does not have"),
        "negative": (-p, q_, "first prime does not have"),
    }
    for name, (first, second, reason) in refused.items():
        with pytest.raises(ShareCorrupt, match=reason) as refusal:
            check_own_primes(first, second, BITS)
        for secret in (first, second):
            if abs(secret) > 1:
                assert str(secret) not in str(refusal.value), name


def test_short_primes_have_no_distance_to_keep():
    check_own_primes(839, 863, 10)
    with pytest.raises(ShareCorrupt, match="not a safe prime"):
        check_own_primes(839, 859, 10)


@pytest.mark.attack("B10")
def test_distance_is_exact():
    """|p - q_| = 2^(pb-100) is refused, one more is not refused for that."""
    p = mpz(7 << 157) | 3
    with pytest.raises(ShareCorrupt, match="apart"):
        check_own_primes(p, p + (1 << 60), BITS)
    with pytest.raises(ShareCorrupt, match="not a safe prime"):
        check_own_primes(p, p + (1 << 60) + 4, BITS)


def test_sieve_parameters_are_constants():
    with pytest.raises((AttributeError, FrozenInstanceError)):
        primes._sieve_for(160).bound = 1
    # A sieving prime never exceeds the smallest candidate, which it would strike out.
    for bits in (64, 255, 256, 767, 768, 1536):
        assert primes._sieve_for(bits).bound < 1 << (bits - 2)
        assert primes._sieve_for(bits).bound.bit_length() <= 32
    # Sieving primes fit their columns, and products of two a float64.
    for bits in (64, 256, 768):
        bound = primes._sieve_for(bits).bound
        assert bound <= np.iinfo(np.uint32).max
        assert bound**2 <= 1 << np.finfo(np.float64).nmant
