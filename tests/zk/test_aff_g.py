"""aff-g (protocol.md 5.3): one malicious proof a check, and each is the only check that it fails."""

from __future__ import annotations

import pytest
from tss_testing import TESTING_TINY, TINY
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
from zk_naive import enc_paillier

from tss.errors import ProofInvalid

G = TINY.group.G
KEY0, KEY1, RING, OTHER_RING = keys(TINY)
N0, N1, N_hat = int(KEY0.public.N), int(KEY1.public.N), int(RING.public.N_hat)
S_BASE = int(RING.public.s)
Z1_BOUND = 2 ** (TESTING_TINY.l + TESTING_TINY.eps)
Z2_BOUND = 2 ** (TESTING_TINY.l_prime + TESTING_TINY.eps)
DOS_BOUND = 2 * Z1_BOUND * N_hat

RECIPIENT = "C^z1*enc0(z2; w) = A*D^e"
SENDER = "enc1(z2; w_y) = By*Y^e"


@pytest.fixture
def one() -> Case:
    return case("aff-g")


@pytest.mark.attack("B8")
class TestDomains:
    @pytest.mark.parametrize(("commitment", "N"), [("A", N0), ("By", N1)])
    def test_a_ciphertext_of_the_commitment(self, one: Case, commitment: str, N: int) -> None:
        check = f"{commitment} ciphertext"
        for shift in (N * N, -N * N):
            assert_only(one, forge(one, com={commitment: lambda C, by=shift: C + by}), check)
        p = int((KEY0 if N == N0 else KEY1).p)
        for value in (0, N, N * N, p, 7 * p):
            assert_rejected(one, forge(one, com={commitment: lambda _, new=value: new}), check)

    @pytest.mark.parametrize(("field", "N"), [("C", N0), ("D", N0), ("Y", N1)])
    def test_a_ciphertext_of_the_statement(self, one: Case, field: str, N: int) -> None:
        check = f"{field} ciphertext"
        for shift in (N * N, -N * N):
            odd = one.changed(**{field: getattr(one.statement, field) + shift})
            assert_only(odd, forge(odd), check)
        p = int((KEY0 if N == N0 else KEY1).p)
        value = forge(one)
        for other in (0, N, N * N, p, 7 * p):
            assert_rejected(one.changed(**{field: other}), value, check)

    @pytest.mark.parametrize("commitment", ["E", "F", "S", "T"])
    def test_a_ring_pedersen_commitment(self, one: Case, commitment: str) -> None:
        check = f"{commitment} unit"
        for shift in (N_hat, -N_hat):
            assert_only(one, forge(one, com={commitment: lambda E, by=shift: E + by}), check)
        for value in (0, N_hat, int(RING.p), 3 * int(RING.q_)):
            assert_rejected(one, forge(one, com={commitment: lambda _, new=value: new}), check)

    @pytest.mark.parametrize(("response", "N"), [("w", N0), ("w_y", N1)])
    def test_a_nonce_response(self, one: Case, response: str, N: int) -> None:
        check = f"{response} unit"
        for shift in (N, -N):
            assert_only(one, forge(one, response={response: lambda w, by=shift: w + by}), check)
        for value in (0, N, int((KEY0 if N == N0 else KEY1).q_)):
            assert_rejected(one, forge(one, response={response: lambda _, new=value: new}), check)


class TestRanges:
    @pytest.mark.attack("B5")
    @pytest.mark.parametrize("x", [4 * Z1_BOUND, -4 * Z1_BOUND, 2 * Z1_BOUND + 1])
    def test_x_is_out_of_range(self, x: int) -> None:
        large = case("aff-g", x=x)
        assert_only(large, forge(large), "z1 range")

    @pytest.mark.attack("B5")
    @pytest.mark.parametrize("y", [4 * Z2_BOUND, -4 * Z2_BOUND, 2 * Z2_BOUND + 1])
    def test_y_is_out_of_range(self, y: int) -> None:
        large = case("aff-g", y=y)
        assert_only(large, forge(large), "z2 range")

    @pytest.mark.parametrize("sign", [1, -1])
    def test_z1_at_the_end_of_its_range(self, sign: int) -> None:
        zero = case("aff-g", x=0)
        assert_accepted(zero, forge(zero, nonce={"alpha": sign * Z1_BOUND}))
        assert_only(zero, forge(zero, nonce={"alpha": sign * (Z1_BOUND + 1)}), "z1 range")

    @pytest.mark.parametrize("sign", [1, -1])
    def test_z2_at_the_end_of_its_range(self, sign: int) -> None:
        zero = case("aff-g", y=0)
        assert_accepted(zero, forge(zero, nonce={"beta": sign * Z2_BOUND}))
        assert_only(zero, forge(zero, nonce={"beta": sign * (Z2_BOUND + 1)}), "z2 range")

    @pytest.mark.parametrize("sign", [1, -1])
    @pytest.mark.parametrize(("response", "mask", "opening"), [("z3", "gam", "m"), ("z4", "del", "mu")])
    def test_z3_and_z4_at_the_end_of_their_range(
        self, one: Case, response: str, mask: str, opening: str, sign: int
    ) -> None:
        assert_accepted(one, forge(one, nonce={opening: 0, mask: sign * DOS_BOUND}))
        outside = forge(one, nonce={opening: 0, mask: sign * (DOS_BOUND + 1)})
        assert_only(one, outside, f"{response} range")


class TestEquations:
    @pytest.mark.parametrize(
        ("commitment", "check"),
        [
            ("A", RECIPIENT),
            ("Bx", "z1*G = Bx + e*X"),
            ("By", SENDER),
            ("E", "s^z1 t^z3 = E*S^e"),
            ("S", "s^z1 t^z3 = E*S^e"),
            ("F", "s^z2 t^z4 = F*T^e"),
            ("T", "s^z2 t^z4 = F*T^e"),
        ],
    )
    def test_each_alone(self, one: Case, commitment: str, check: str) -> None:
        changes = {
            "A": lambda A: A * (1 + N0) % (N0 * N0),
            "Bx": lambda B: B + G,
            "By": lambda B: B * (1 + N1) % (N1 * N1),
        }
        change = changes.get(commitment, lambda E: E * S_BASE % N_hat)
        assert_only(one, forge(one, com={commitment: change}), check)

    @pytest.mark.parametrize(
        ("response", "check"), [("z3", "s^z1 t^z3 = E*S^e"), ("z4", "s^z2 t^z4 = F*T^e"), ("w_y", SENDER)]
    )
    def test_a_wrong_response(self, one: Case, response: str, check: str) -> None:
        assert_only(one, forge(one, response={response: lambda z: z + 1}), check)

    def test_D_is_made_with_gamma_plus_one(self, one: Case) -> None:
        false = one.changed(D=one.statement.D * one.statement.C % (N0 * N0))
        assert_only(false, forge(false), RECIPIENT)

    def test_D_and_F_hide_different_y(self, one: Case) -> None:
        D = one.changed(D=one.statement.D * (1 + N0) % (N0 * N0))
        assert_only(D, forge(D), RECIPIENT)
        F = one.changed(Y=one.statement.Y * (1 + N1) % (N1 * N1))
        assert_only(F, forge(F), SENDER)

    @pytest.mark.attack("D15")
    def test_X_is_the_share_without_its_lagrange_coefficient(self, one: Case) -> None:
        false = one.changed(X=7 * one.statement.X)
        assert_only(false, forge(false), "z1*G = Bx + e*X")

    def test_F_is_encrypted_under_the_recipients_modulus(self, one: Case) -> None:
        false = one.changed(Y=enc_paillier(N0, one.wit["y"], one.wit["rho_y"]))
        assert_only(false, forge(false), SENDER)


@pytest.mark.attack("B5")
def test_a_proof_made_for_another_verifier(one: Case) -> None:
    elsewhere = one.changed(ring=OTHER_RING.public)
    value = prove(elsewhere)
    verify(elsewhere, value)
    with pytest.raises(ProofInvalid):
        verify(one, value)
