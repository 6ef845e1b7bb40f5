"""enc-elg (protocol.md 5.2): one malicious proof a check, and each is the only check that it fails."""

from __future__ import annotations

from dataclasses import replace

import pytest
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
    prove,
    verify,
)

from tss.errors import ProofInvalid

Q, G = TINY.group.q, TINY.group.G
KEY, _, RING, OTHER_RING = keys(TINY)
N0, N_hat = int(KEY.public.N), int(RING.public.N_hat)
Z1_BOUND = 2 ** (TESTING_TINY.l + TESTING_TINY.eps)
DOS_BOUND = 2 * Z1_BOUND * N_hat


@pytest.fixture
def one() -> Case:
    return case("enc-elg")


@pytest.mark.attack("B8")
class TestDomains:
    @pytest.mark.parametrize("commitment", ["S", "T"])
    @pytest.mark.parametrize("shift", [N_hat, -N_hat])
    def test_a_commitment_is_not_reduced(self, one: Case, commitment: str, shift: int) -> None:
        assert_only(one, forge(one, com={commitment: lambda S: S + shift}), f"{commitment} unit")

    @pytest.mark.parametrize("commitment", ["S", "T"])
    @pytest.mark.parametrize("value", [0, N_hat, int(RING.p), 5 * int(RING.q_)])
    def test_a_commitment_is_no_unit(self, one: Case, commitment: str, value: int) -> None:
        assert_rejected(one, forge(one, com={commitment: lambda _: value}), f"{commitment} unit")

    @pytest.mark.parametrize("shift", [N0 * N0, -N0 * N0])
    def test_D_is_not_reduced(self, one: Case, shift: int) -> None:
        assert_only(one, forge(one, com={"D": lambda D: D + shift}), "D ciphertext")

    @pytest.mark.parametrize("value", [0, N0, N0 * N0, int(KEY.p)])
    def test_D_is_no_ciphertext(self, one: Case, value: int) -> None:
        assert_rejected(one, forge(one, com={"D": lambda _: value}), "D ciphertext")

    @pytest.mark.parametrize("shift", [N0 * N0, -N0 * N0])
    def test_C_is_not_reduced(self, one: Case, shift: int) -> None:
        odd = one.changed(C=one.statement.C + shift)
        assert_only(odd, forge(odd), "C ciphertext")

    @pytest.mark.parametrize("value", [0, N0, N0 * N0, int(KEY.p)])
    def test_C_is_no_ciphertext(self, one: Case, value: int) -> None:
        odd = one.changed(C=value)
        assert_rejected(odd, forge(odd), "C ciphertext")

    @pytest.mark.parametrize("shift", [N0, -N0])
    def test_z2_is_not_reduced(self, one: Case, shift: int) -> None:
        assert_only(one, forge(one, response={"z2": lambda z: z + shift}), "z2 unit")

    @pytest.mark.parametrize("value", [0, N0, int(KEY.p)])
    def test_z2_is_no_unit(self, one: Case, value: int) -> None:
        assert_rejected(one, forge(one, response={"z2": lambda _: value}), "z2 unit")

    @pytest.mark.parametrize("shift", [Q, -Q])
    def test_w_is_not_reduced(self, one: Case, shift: int) -> None:
        assert_only(one, forge(one, response={"w": lambda w: w + shift}), "w range")

    def test_w_at_both_ends_of_its_range(self) -> None:
        """w = 0 is taken, its other form q is not."""
        zero = case("enc-elg", b=0)
        assert_accepted(zero, forge(zero, nonce={"beta": 0}))
        assert_only(zero, forge(zero, nonce={"beta": 0}, response={"w": lambda _: Q}), "w range")


class TestRanges:
    @pytest.mark.attack("B5")
    @pytest.mark.parametrize("x", [4 * Z1_BOUND, -4 * Z1_BOUND, 2 * Z1_BOUND + 1])
    def test_the_secret_is_out_of_range(self, x: int) -> None:
        large = case("enc-elg", x=x)
        assert_only(large, forge(large), "z1 range")

    @pytest.mark.parametrize("sign", [1, -1])
    def test_z1_at_the_end_of_its_range(self, sign: int) -> None:
        """For x = 0, z1 is alpha."""
        zero = case("enc-elg", x=0)
        assert_accepted(zero, forge(zero, nonce={"alpha": sign * Z1_BOUND}))
        assert_only(zero, forge(zero, nonce={"alpha": sign * (Z1_BOUND + 1)}), "z1 range")

    @pytest.mark.parametrize("sign", [1, -1])
    def test_z3_at_the_end_of_its_range(self, one: Case, sign: int) -> None:
        """For mu = 0, z3 is gam."""
        assert_accepted(one, forge(one, nonce={"mu": 0, "gam": sign * DOS_BOUND}))
        assert_only(one, forge(one, nonce={"mu": 0, "gam": sign * (DOS_BOUND + 1)}), "z3 range")


class TestEquations:
    @pytest.mark.parametrize(
        ("commitment", "check"),
        [
            ("D", "enc(z1; z2) = D*C^e"),
            ("Y", "w*A + z1*G = Y + e*X"),
            ("Z", "w*G = Z + e*B"),
            ("T", "s^z1 t^z3 = T*S^e"),
        ],
    )
    def test_each_alone(self, one: Case, commitment: str, check: str) -> None:
        changes = {
            "D": lambda D: D * (1 + N0) % (N0 * N0),
            "Y": lambda Y: Y + G,
            "Z": lambda Z: Z + G,
            "T": lambda T: T * RING.public.s % N_hat,
        }
        assert_only(one, forge(one, com={commitment: changes[commitment]}), check)

    def test_K_encrypts_k_and_A2_commits_to_another(self, one: Case) -> None:
        false = one.changed(X=one.statement.X + G)
        assert_only(false, forge(false), "w*A + z1*G = Y + e*X")

    def test_K_encrypts_another_plaintext(self, one: Case) -> None:
        false = one.changed(C=one.statement.C * (1 + N0) % (N0 * N0))
        assert_only(false, forge(false), "enc(z1; z2) = D*C^e")

    def test_A1_is_another_point(self, one: Case) -> None:
        false = one.changed(B=one.statement.B + G)
        assert_only(false, forge(false), "w*G = Z + e*B")

    def test_S_commits_to_another_secret(self, one: Case) -> None:
        assert_only(one, forge(one, com={"S": lambda S: S * RING.public.s % N_hat}), "s^z1 t^z3 = T*S^e")

    def test_z3_is_off_by_one(self, one: Case) -> None:
        assert_only(one, forge(one, response={"z3": lambda z: z + 1}), "s^z1 t^z3 = T*S^e")


class TestPlace:
    def test_the_two_proofs_of_round_1_cannot_be_exchanged(self, one: Case) -> None:
        gamma = replace(one, ctx=replace(CTX, label="gamma"))
        k = replace(one, ctx=replace(CTX, label="k"))
        verify(k, prove(k))
        with pytest.raises(ProofInvalid):
            verify(k, prove(gamma))
        with pytest.raises(ProofInvalid):
            verify(gamma, prove(k))

    @pytest.mark.attack("B5")
    def test_a_proof_made_for_another_verifier(self, one: Case) -> None:
        """The verifier's own parameters are used, never the prover's choice of them."""
        elsewhere = one.changed(ring=OTHER_RING.public)
        value = prove(elsewhere)
        verify(elsewhere, value)
        with pytest.raises(ProofInvalid) as caught:
            verify(one, value)
        assert caught.value.proof == "enc-elg"
