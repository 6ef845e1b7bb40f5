"""mod (protocol.md 5.6): one malicious proof a check, the forgery with w = 0, and moduli of every wrong shape."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from random import Random

import gmpy2
import pytest
from odd_moduli import prime, separating_unit
from tss_testing import TESTING_TINY, TINY
from zk_cases import (
    CTX,
    Case,
    assert_accepted,
    assert_only,
    assert_rejected,
    case,
    forge,
    keys,
    naive_failures,
    prove,
    verify,
)
from zk_naive import jacobi, unit

from tss.errors import ProofInvalid
from tss.params import CGGMP24_SECP256K1, Suite
from tss.zk import mod

KEY, _, _, _ = keys(TINY)
N, P, Q_ = int(KEY.public.N), int(KEY.p), int(KEY.q_)
PHI = (P - 1) * (Q_ - 1)

NTH_ROOT = "z^N = y"
FOURTH_ROOT = "x^4 = (-1)^a w^b y"

FEW = Suite(TINY.proto, TINY.group, replace(TESTING_TINY, m=8))
"""8 repetitions: a cheater who can answer half of the challenges gets through once in 256 tries."""


@pytest.fixture
def one() -> Case:
    return case("mod")


@pytest.mark.attack("A3")
@pytest.mark.attack("A7")
@pytest.mark.parametrize("count", [0, 1, 31, 33])
def test_a_list_of_another_length(one: Case, count: int) -> None:
    w, roots = forge(one)
    assert_only(one, [w, (roots * 2)[:count]], "roots length")


@pytest.mark.attack("B1")
class TestModulus:
    def test_even(self) -> None:
        """2*P': the Jacobi symbol is not even defined."""
        even = Case("mod", TINY, case("mod").statement.__class__(2 * prime(319, 3, 4)), {})
        value = [3, [[3, 0, 0, 3]] * 32]
        assert naive_failures(even, value)[0] == "N odd"
        assert_rejected(even, value, "N odd")

    def test_one_bit_short(self) -> None:
        short = case("mod", factors=[(prime(160, 11, 12), 1), (prime(159, 11, 12, 1), 1)])
        assert int(short.statement.N).bit_length() == 319
        assert_only(short, forge(short), "N size")

    def test_one_bit_long(self) -> None:
        long = case("mod", factors=[(prime(160, 11, 12), 1), (prime(161, 11, 12, 1), 1)])
        assert int(long.statement.N).bit_length() == 321
        assert_only(long, forge(long), "N size")

    @pytest.mark.attack("B3")
    def test_prime(self) -> None:
        """A prime = 3 mod 4 passes every equation."""
        single = case("mod", factors=[(prime(320, 3, 4), 1)])
        assert_only(single, forge(single), "N composite")

    @pytest.mark.attack("B3")
    def test_a_prime_of_full_size(self) -> None:
        """The 3072-bit prime of RFC 3526: refused before anything of the proof is looked at."""
        with gmpy2.context(precision=4000):
            pi = int(gmpy2.floor(gmpy2.const_pi() * 2**2942))
        N_prime = 2**3072 - 2**3008 - 1 + 2**64 * (pi + 1690314)
        assert N_prime.bit_length() == 3072
        single = Case("mod", CGGMP24_SECP256K1, mod.Statement(gmpy2.mpz(N_prime)), {})
        assert_rejected(single, [2, [[1, 0, 0, 1]] * 128], "N composite")

    def test_a_factor_1_mod_4(self) -> None:
        """Half of the squares modulo such a prime have no fourth root."""
        for first, second in ((5, 3), (3, 5)):
            blum_broken = case("mod", factors=[(prime(160, first, 8), 1), (prime(160, second, 8, 1), 1)])
            assert_only(blum_broken, forge(blum_broken), FOURTH_ROOT)

    def test_both_factors_1_mod_4(self) -> None:
        neither = case("mod", factors=[(prime(160, 5, 8), 1), (prime(160, 5, 8, 1), 1)])
        assert_only(neither, forge(neither), FOURTH_ROOT)

    def test_a_square_factor(self) -> None:
        """p^2 q: p divides gcd(N, phi), so most y have no N-th root; the fourth roots all exist."""
        square = case("mod", factors=[(prime(107, 11, 12), 2), (prime(106, 11, 12, 1), 1)])
        assert int(square.statement.N).bit_length() == 320
        value = forge(square, nonce={"w": separating_unit(square)})
        assert_only(square, value, NTH_ROOT)

    def test_three_factors(self) -> None:
        three = case(
            "mod", factors=[(prime(107, 11, 12), 1), (prime(107, 11, 12, 1), 1), (prime(106, 11, 12, 2), 1)]
        )
        assert int(three.statement.N).bit_length() == 320
        assert_only(three, forge(three), FOURTH_ROOT)

    def test_a_16_bit_factor(self) -> None:
        """BitForge: mod sees nothing wrong with two primes = 3 mod 4, fac does (test_fac.py)."""
        factors = [(65519, 1), (prime(304, 11, 12), 1)]
        assert 65519 % 4 == 3
        assert gmpy2.is_prime(65519)
        small = case("mod", factors=factors)
        if int(small.statement.N).bit_length() == 320:
            assert_accepted(small, forge(small))
        else:
            assert_only(small, forge(small), "N size")


@pytest.mark.attack("B2")
class TestW:
    def test_eight_primes_with_w_zero(self) -> None:
        """CVE-2025-66016 as a regression: x = 0, b = 1 satisfies every fourth-root equation for any N.

        With gcd(N, phi) = 1 the N-th roots are honest, so only checks on w and x stand between 8 primes and us.
        """
        primes = eight_primes()
        many = case("mod", factors=[(p, 1) for p in primes])
        forged = forge_with_w(many, 0)
        assert naive_failures(many, forged) == ["w unit", "w Jacobi", "x unit"]
        assert_rejected(many, forged, "w unit")

    def test_w_is_a_multiple_of_a_prime(self) -> None:
        many = case("mod", factors=[(p, 1) for p in eight_primes()])
        assert_rejected(many, forge_with_w(many, many.wit["factors"][0][0]), "w unit")

    @pytest.mark.parametrize("shift", [N, -N])
    def test_not_reduced(self, one: Case, shift: int) -> None:
        w = one.naive.draw(TINY, one.items, Random(1))["w"]
        assert jacobi(w, N) == -1
        assert_only(one, forge(one, nonce={"w": w + shift}), "w unit")

    @pytest.mark.parametrize("w", [0, N, P, 5 * Q_, -1])
    def test_no_unit(self, one: Case, w: int) -> None:
        assert_rejected(one, forge(one, nonce={"w": w}), "w unit")

    @pytest.mark.parametrize("w", [1, 4, N - 1])
    def test_jacobi_symbol_1(self, one: Case, w: int) -> None:
        assert jacobi(w, N) == 1
        assert_rejected(one, forge(one, nonce={"w": w}), "w Jacobi")

    def test_jacobi_symbol_1_is_the_only_thing_wrong(self) -> None:
        """Half of all y can be answered; with 8 repetitions a w is found for which all can."""
        one = case("mod", FEW)
        rnd = Random("grinding")
        for _ in range(20_000):
            w = unit(rnd, N)
            if jacobi(w, N) == 1:
                ys = one.naive.challenge(FEW, CTX, one.items, {"w": w})
                if all(jacobi(y, N) == 1 for y in ys):
                    break
        else:
            pytest.fail("no w found")
        assert_only(one, forge(one, nonce={"w": w}), "w Jacobi")


def eight_primes() -> list[int]:
    """Eight 40-bit primes = 3 mod 4, product of 320 bits, coprime to its phi."""
    for seed in range(100):
        primes = [prime(40, 3, 4, (seed, i)) for i in range(8)]
        product = prod(primes)
        # The top bits of the others make up for the product of eight 0.75s.
        if len(set(primes)) == 8 and gmpy2.gcd(product, prod(p - 1 for p in primes)) == 1:
            if product.bit_length() == 320:
                return primes
            lifted = primes[:-1]
            last = gmpy2.next_prime((1 << 319) // prod(lifted) + 1)
            while (
                last % 4 != 3 or gmpy2.gcd(last * prod(lifted), (last - 1) * prod(p - 1 for p in lifted)) != 1
            ):
                last = gmpy2.next_prime(last)
            return [*lifted, int(last)]
    raise AssertionError("no primes found")


def forge_with_w(one: Case, w: int) -> list[object]:
    """x = 0 and b = 1 everywhere, N-th roots honest."""
    modulus = int(one.statement.N)
    assert modulus.bit_length() == 320
    ys = one.naive.challenge(TINY, CTX, one.items, {"w": w})
    d = pow(modulus, -1, prod(p - 1 for p, _ in one.wit["factors"]))
    return [w, [[0, 0, 1, pow(y, d, modulus)] for y in ys]]


@pytest.mark.attack("B2")
class TestRoots:
    @pytest.mark.parametrize("root", ["x", "z"])
    @pytest.mark.parametrize("at", [0, 17, 31])
    def test_not_a_reduced_unit(self, one: Case, root: str, at: int) -> None:
        for shift in (N, -N):
            shifted = forge(one, at=at, response={root: lambda x, by=shift: x + by})
            assert_only(one, shifted, f"{root} unit")
        for value in (0, N, P, 3 * Q_):
            replaced = forge(one, at=at, response={root: lambda _, new=value: new})
            assert_rejected(one, replaced, f"{root} unit")

    def test_a_is_no_bit(self, one: Case) -> None:
        """3 in place of 1: (-1)^3 = -1."""
        _, roots = forge(one)
        at = next(i for i, root in enumerate(roots) if root[1] == 1)
        assert_only(one, forge(one, at=at, response={"a": lambda _: 3}), "a bit")
        assert_rejected(one, forge(one, at=at, response={"a": lambda _: 2}), "a bit")
        assert_rejected(one, forge(one, at=at, response={"a": lambda _: -1}), "a bit")

    def test_b_is_no_bit(self, one: Case) -> None:
        """1 + phi(N) in place of 1: w^(1 + phi) = w."""
        _, roots = forge(one)
        at = next(i for i, root in enumerate(roots) if root[2] == 1)
        assert_only(one, forge(one, at=at, response={"b": lambda _: 1 + PHI}), "b bit")
        assert_rejected(one, forge(one, at=at, response={"b": lambda _: 2}), "b bit")
        assert_rejected(one, forge(one, at=at, response={"b": lambda _: -1}), "b bit")

    @pytest.mark.parametrize("at", [0, 17, 31])
    def test_z_is_another_unit(self, one: Case, at: int) -> None:
        assert_only(one, forge(one, at=at, response={"z": lambda z: 2 * z % N}), NTH_ROOT)

    @pytest.mark.parametrize("at", [0, 17, 31])
    def test_x_is_another_unit(self, one: Case, at: int) -> None:
        assert_only(one, forge(one, at=at, response={"x": lambda x: 2 * x % N}), FOURTH_ROOT)

    @pytest.mark.parametrize("bit", ["a", "b"])
    def test_a_or_b_is_the_other_bit(self, one: Case, bit: str) -> None:
        for at in range(4):
            assert_only(one, forge(one, at=at, response={bit: lambda a: 1 - a}), FOURTH_ROOT)

    def test_any_fourth_root_will_do(self, one: Case) -> None:
        """-x has the same fourth power: the verifier does not ask for the one that is a square."""
        assert_accepted(one, forge(one, response={"x": lambda x: N - x}))


def test_all_four_pairs_of_bits_occur(one: Case) -> None:
    _, roots = prove(one)
    assert {(a, b) for _, a, b, _ in roots} == {(0, 0), (0, 1), (1, 0), (1, 1)}


def test_the_prover_sends_the_root_that_is_a_square(one: Case) -> None:
    _, roots = prove(one)
    for x, _, _, _ in roots:
        assert gmpy2.legendre(x, P) == gmpy2.legendre(x, Q_) == 1


def test_a_proof_with_an_old_rid(one: Case) -> None:
    value = prove(one)
    with pytest.raises(ProofInvalid):
        verify(one, value, ctx=replace(CTX, rid=b"n" * 32))
