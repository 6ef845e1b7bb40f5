"""aff-g* (protocol.md 5.10): one malicious proof a check, and each is the only check that it fails."""

from __future__ import annotations

from typing import Any

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
)

G = TINY.group.G
KEY0, KEY1, _, _ = keys(TINY)
N0, N1 = int(KEY0.public.N), int(KEY1.public.N)
Z_BOUND = 2 ** (TESTING_TINY.l + TESTING_TINY.eps)
Z_PRIME_BOUND = 2 ** (TESTING_TINY.l_prime + TESTING_TINY.eps)
RECIPIENT, SENDER = "C^z*enc0(z'; w) = A*D^e", "enc1(z'; v) = B*Y^e"
PLACES = [0, 17, 31]


@pytest.fixture
def one() -> Case:
    return case("aff-g*")


@pytest.mark.attack("A3")
@pytest.mark.attack("A7")
@pytest.mark.parametrize("count", [0, 1, 31, 33])
def test_a_list_of_another_length(one: Case, count: int) -> None:
    com, responses = forge(one)
    assert_only(one, [com, (responses * 2)[:count]], "responses length")
    assert_only(one, [(com * 2)[:count], responses], "commitment length")
    assert_rejected(one, [(com * 2)[:count], (responses * 2)[:count]], "commitment length")


@pytest.mark.attack("B8")
class TestDomains:
    @pytest.mark.parametrize(("field", "N"), [("C", N0), ("D", N0), ("Y", N1)])
    def test_a_ciphertext_of_the_statement(self, one: Case, field: str, N: int) -> None:
        for shift in (N * N, -N * N):
            odd = one.changed(**{field: getattr(one.statement, field) + shift})
            assert_only(odd, forge(odd), f"{field} ciphertext")
        value = forge(one)
        p = int((KEY0 if N == N0 else KEY1).p)
        for other in (0, N, N * N, p, 7 * p):
            assert_rejected(one.changed(**{field: other}), value, f"{field} ciphertext")

    @pytest.mark.parametrize(("commitment", "N"), [("A", N0), ("B", N1)])
    @pytest.mark.parametrize("at", PLACES)
    def test_a_ciphertext_of_the_commitment(self, one: Case, commitment: str, N: int, at: int) -> None:
        p = int((KEY0 if N == N0 else KEY1).p)
        for shift in (N * N, -N * N):
            shifted = forge(one, at=at, com={commitment: lambda C, by=shift: C + by})
            assert_only(one, shifted, f"{commitment} ciphertext")
        for other in (0, N, N * N, p):
            replaced = forge(one, at=at, com={commitment: lambda _, new=other: new})
            assert_rejected(one, replaced, f"{commitment} ciphertext")

    @pytest.mark.parametrize(("response", "N"), [("w", N0), ("v", N1)])
    @pytest.mark.parametrize("at", PLACES)
    def test_a_nonce_response(self, one: Case, response: str, N: int, at: int) -> None:
        for shift in (N, -N):
            shifted = forge(one, at=at, response={response: lambda w, by=shift: w + by})
            assert_only(one, shifted, f"{response} unit")
        for other in (0, N, int((KEY0 if N == N0 else KEY1).q_)):
            replaced = forge(one, at=at, response={response: lambda _, new=other: new})
            assert_rejected(one, replaced, f"{response} unit")


class TestRanges:
    @pytest.mark.attack("B5")
    @pytest.mark.parametrize("x", [4 * Z_BOUND, -4 * Z_BOUND])
    def test_x_is_out_of_range(self, x: int) -> None:
        large = case("aff-g*", x=x)
        assert_only(large, forge(large), "z range")

    @pytest.mark.attack("B5")
    @pytest.mark.parametrize("y", [4 * Z_PRIME_BOUND, -4 * Z_PRIME_BOUND])
    def test_y_is_out_of_range(self, y: int) -> None:
        large = case("aff-g*", y=y)
        assert_only(large, forge(large), "z' range")

    @pytest.mark.parametrize("sign", [1, -1])
    @pytest.mark.parametrize("at", PLACES)
    @pytest.mark.parametrize(
        ("secret", "mask", "bound", "check"),
        [("x", "alpha", Z_BOUND, "z range"), ("y", "beta", Z_PRIME_BOUND, "z' range")],
    )
    def test_the_end_of_a_range(
        self, secret: str, mask: str, bound: int, check: str, at: int, sign: int
    ) -> None:
        zero = case("aff-g*", **{secret: 0})
        assert_accepted(zero, forge(zero, at=at, nonce={mask: sign * bound}))
        assert_only(zero, forge(zero, at=at, nonce={mask: sign * (bound + 1)}), check)


class TestEquations:
    @pytest.mark.parametrize(
        ("commitment", "check"), [("A", RECIPIENT), ("R", "z*G = R + e*X"), ("B", SENDER)]
    )
    @pytest.mark.parametrize("at", PLACES)
    def test_each_alone(self, one: Case, commitment: str, check: str, at: int) -> None:
        changes: dict[str, Any] = {
            "A": lambda A: A * (1 + N0) % (N0 * N0),
            "R": lambda R: R + G,
            "B": lambda B: B * (1 + N1) % (N1 * N1),
        }
        assert_only(one, forge(one, at=at, com={commitment: changes[commitment]}), check)

    @pytest.mark.parametrize(("response", "N", "check"), [("w", N0, RECIPIENT), ("v", N1, SENDER)])
    @pytest.mark.parametrize("at", PLACES)
    def test_a_nonce_of_another_value(self, one: Case, response: str, N: int, check: str, at: int) -> None:
        assert_only(one, forge(one, at=at, response={response: lambda w: 2 * w % N}), check)

    @pytest.mark.parametrize(
        ("field", "check"), [("C", RECIPIENT), ("D", RECIPIENT), ("Y", SENDER), ("X", "z*G = R + e*X")]
    )
    def test_a_false_statement(self, one: Case, field: str, check: str) -> None:
        """Two colluders who passed a bad D between them are found by this proof (protocol.md 4.2)."""
        value = getattr(one.statement, field)
        N = N1 if field == "Y" else N0
        other = value + G if field == "X" else value * (1 + N) % (N * N)
        false = one.changed(**{field: other})
        if field == "C":
            # C^alpha in A is made with the statement's C: what D was made with is another one.
            assert_rejected(false, forge(false), check)
        else:
            assert_only(false, forge(false), check)
