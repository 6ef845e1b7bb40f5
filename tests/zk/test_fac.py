"""fac (protocol.md 5.8): one malicious proof a check, and each is the only check that it fails."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import isqrt

import gmpy2
import pytest
from tss_testing import TESTING_TINY, TINY, SeededRng
from zk_cases import (
    Case,
    assert_accepted,
    assert_only,
    assert_rejected,
    case,
    forge,
    keys,
    prove,
    verify,
)

from tss.errors import ProofInvalid
from tss.zk import fac

KEY, _, RING, OTHER_RING = keys(TINY)
N0, N_hat = int(KEY.public.N), int(RING.public.N_hat)
P, Q_ = int(KEY.p), int(KEY.q_)
S_BASE, T_BASE = int(RING.public.s), int(RING.public.t)
CURVE = TINY.group.q
SLACK = 2 ** (TESTING_TINY.l + TESTING_TINY.eps)
Z_BOUND = SLACK * isqrt(N0)
DOS_BOUND = 2 * SLACK * N_hat


@pytest.fixture
def one() -> Case:
    return case("fac")


@pytest.mark.attack("B8")
@pytest.mark.parametrize("commitment", ["P", "Q", "A", "B", "T"])
def test_a_commitment_is_no_reduced_unit(one: Case, commitment: str) -> None:
    for shift in (N_hat, -N_hat):
        value = forge(one, com={commitment: lambda E, by=shift: E + by})
        assert_only(one, value, f"{commitment} unit")
    for other in (0, N_hat, int(RING.p), 3 * int(RING.q_)):
        value = forge(one, com={commitment: lambda _, new=other: new})
        assert_rejected(one, value, f"{commitment} unit")


class TestRanges:
    def test_z1_past_either_end(self, one: Case) -> None:
        """e*p pushes z1 past the end that alpha stands at, by 2^-64 of the range at most."""
        assert_only(one, forge(one, nonce={"alpha": Z_BOUND}), "z1 range")
        mirrored = case("fac", p=-P, q_=-Q_)
        assert_only(mirrored, forge(mirrored, nonce={"alpha": -Z_BOUND}), "z1 range")

    def test_z2_past_either_end(self, one: Case) -> None:
        assert_only(one, forge(one, nonce={"beta": Z_BOUND}), "z2 range")
        mirrored = case("fac", p=-P, q_=-Q_)
        assert_only(mirrored, forge(mirrored, nonce={"beta": -Z_BOUND}), "z2 range")

    def test_z1_and_z2_just_inside(self, one: Case) -> None:
        assert_accepted(one, forge(one, nonce={"alpha": Z_BOUND - CURVE * P, "beta": Z_BOUND - CURVE * Q_}))
        assert_accepted(one, forge(one, nonce={"alpha": -Z_BOUND, "beta": -Z_BOUND}))

    @pytest.mark.parametrize("sign", [1, -1])
    @pytest.mark.parametrize(("response", "mask", "opening"), [("w1", "x", "mu"), ("w2", "y", "nu")])
    def test_w1_and_w2_at_the_end_of_their_range(
        self, one: Case, response: str, mask: str, opening: str, sign: int
    ) -> None:
        assert_accepted(one, forge(one, nonce={opening: 0, mask: sign * DOS_BOUND}))
        outside = forge(one, nonce={opening: 0, mask: sign * (DOS_BOUND + 1)})
        assert_only(one, outside, f"{response} range")

    @pytest.mark.parametrize("sign", [1, -1])
    def test_v_at_the_end_of_its_range(self, one: Case, sign: int) -> None:
        bound = DOS_BOUND * N0
        assert_accepted(one, forge(one, nonce={"nu": 0, "r": sign * bound}))
        assert_only(one, forge(one, nonce={"nu": 0, "r": sign * (bound + 1)}), "v range")


class TestEquations:
    @pytest.mark.parametrize(
        ("commitment", "check"),
        [("A", "s^z1 t^w1 = A*P^e"), ("B", "s^z2 t^w2 = B*Q^e"), ("T", "Q^z1 t^v = T*s^(N0*e)")],
    )
    @pytest.mark.parametrize("base", [S_BASE, T_BASE])
    def test_each_alone(self, one: Case, commitment: str, check: str, base: int) -> None:
        assert_only(one, forge(one, com={commitment: lambda E: E * base % N_hat}), check)

    @pytest.mark.parametrize(
        ("response", "check"),
        [("w1", "s^z1 t^w1 = A*P^e"), ("w2", "s^z2 t^w2 = B*Q^e"), ("v", "Q^z1 t^v = T*s^(N0*e)")],
    )
    def test_a_wrong_response(self, one: Case, response: str, check: str) -> None:
        assert_only(one, forge(one, response={response: lambda w: w + 1}), check)

    def test_P_commits_to_another_factor(self, one: Case) -> None:
        assert_only(one, forge(one, com={"P": lambda E: E * S_BASE % N_hat}), "s^z1 t^w1 = A*P^e")

    def test_v_has_the_wrong_sign(self, one: Case) -> None:
        """v = r + e*nu*p instead of r - e*nu*p; nu small, so that v stays in its range."""
        nonce = {"nu": 12345, "r": 0}
        assert_accepted(one, forge(one, nonce=nonce))
        assert_only(one, forge(one, nonce=nonce, response={"v": lambda v: -v}), "Q^z1 t^v = T*s^(N0*e)")

    def test_the_modulus_is_another_product(self, one: Case) -> None:
        other = one.changed(N0=N0 + 2)
        assert_only(other, forge(other), "Q^z1 t^v = T*s^(N0*e)")


@pytest.mark.attack("B1")
class TestSmallFactors:
    """Everything but the size of the other factor is true: the range is what refuses these moduli."""

    @pytest.mark.parametrize("small", [3, 65537, 4294967291, (1 << 48) - 59])
    def test_a_small_factor(self, small: int) -> None:
        large = int(gmpy2.next_prime((1 << TESTING_TINY.modulus_bits - 1) // small))
        first = case("fac", p=small, q_=large)
        assert_only(first, forge(first), "z2 range")
        second = case("fac", p=large, q_=small)
        assert_only(second, forge(second), "z1 range")

    def test_the_trivial_factorisation(self) -> None:
        assert_only(case("fac", p=1, q_=N0), forge(case("fac", p=1, q_=N0)), "z2 range")
        assert_only(case("fac", p=N0, q_=1), forge(case("fac", p=N0, q_=1)), "z1 range")


def test_a_proof_made_for_another_verifier(one: Case) -> None:
    elsewhere = one.changed(ring=OTHER_RING.public)
    value = prove(elsewhere)
    verify(elsewhere, value)
    with pytest.raises(ProofInvalid):
        verify(one, value)


def test_first_messages_are_their_formulas(one: Case) -> None:
    """P = s^p t^mu, Q = s^q_ t^nu, A = s^alpha t^x, B = s^beta t^y, T = Q^alpha t^r, with whoever's parameters."""
    for seed in range(200):
        statement = replace(one.statement, ring=RING) if seed % 2 else one.statement
        n, com = fac.commit(TINY, statement, one.witness, SeededRng(("first", seed)))
        power = partial(pow, mod=N_hat)
        assert power(S_BASE, P) * power(T_BASE, int(n.mu)) % N_hat == com.P, seed
        assert power(S_BASE, Q_) * power(T_BASE, int(n.nu)) % N_hat == com.Q, seed
        assert power(S_BASE, int(n.alpha)) * power(T_BASE, int(n.x)) % N_hat == com.A, seed
        assert power(S_BASE, int(n.beta)) * power(T_BASE, int(n.y)) % N_hat == com.B, seed
        assert power(int(com.Q), int(n.alpha)) * power(T_BASE, int(n.r)) % N_hat == com.T, seed
