"""dec (protocol.md 5.9): one malicious proof a check, and the forgery that (C5) is there to stop."""

from __future__ import annotations

from dataclasses import replace
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

from tss.errors import BadParameters
from tss.params import SecurityLevel, Suite

Q, G = TINY.group.q, TINY.group.G
KEY, _, _, _ = keys(TINY)
N0, P = int(KEY.public.N), int(KEY.p)
N2 = N0 * N0
LEVEL = TESTING_TINY
Z_BOUND = 2 ** (LEVEL.l + LEVEL.eps)
PAPER = "enc(w; v)*K^-z = A*D^e"


def w_bound(ceil_log2: int) -> int:
    return 2 ** (LEVEL.l_prime + LEVEL.eps + 1 + ceil_log2 + LEVEL.eps)


@pytest.fixture
def one() -> Case:
    return case("dec")


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
    @pytest.mark.parametrize("field", ["K", "D"])
    def test_a_ciphertext_of_the_statement(self, one: Case, field: str) -> None:
        value = getattr(one.statement, field)
        for shift in (N2, -N2):
            odd = one.changed(**{field: value + shift})
            assert_only(odd, forge(odd), f"{field} ciphertext")
        proof = forge(one)
        for other in (0, N0, N2, P, 7 * P):
            assert_rejected(one.changed(**{field: other}), proof, f"{field} ciphertext")

    @pytest.mark.parametrize("at", [0, 17, 31])
    def test_A(self, one: Case, at: int) -> None:
        for change in (N2, -N2):
            assert_only(one, forge(one, at=at, com={"A": lambda A, by=change: A + by}), "A ciphertext")
        for other in (0, N0, N2, P, 7 * P):
            assert_rejected(one, forge(one, at=at, com={"A": lambda _, new=other: new}), "A ciphertext")

    @pytest.mark.parametrize("at", [0, 17, 31])
    def test_v(self, one: Case, at: int) -> None:
        for shift in (N0, -N0):
            assert_only(one, forge(one, at=at, response={"v": lambda v, by=shift: v + by}), "v unit")
        for other in (0, N0, P):
            assert_rejected(one, forge(one, at=at, response={"v": lambda _, new=other: new}), "v unit")


class TestRanges:
    @pytest.mark.parametrize("x", [4 * Z_BOUND, -4 * Z_BOUND])
    def test_x_is_out_of_range(self, x: int) -> None:
        large = case("dec", x=x)
        assert_only(large, forge(large), "z range")

    @pytest.mark.parametrize("y", [4 * w_bound(1), -4 * w_bound(1)])
    def test_y_is_out_of_range(self, y: int) -> None:
        large = case("dec", y=y)
        assert_only(large, forge(large), "w range")

    @pytest.mark.parametrize("sign", [1, -1])
    @pytest.mark.parametrize("at", [0, 17, 31])
    def test_z_at_the_end_of_its_range(self, sign: int, at: int) -> None:
        zero = case("dec", x=0)
        assert_accepted(zero, forge(zero, at=at, nonce={"alpha": sign * Z_BOUND}))
        assert_only(zero, forge(zero, at=at, nonce={"alpha": sign * (Z_BOUND + 1)}), "z range")

    @pytest.mark.parametrize("sign", [1, -1])
    @pytest.mark.parametrize(
        ("n", "ceil_log2"), [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (16, 4), (17, 5), (32, 5)]
    )
    def test_w_at_the_end_of_its_range(self, n: int, ceil_log2: int, sign: int) -> None:
        """Ly = l' + eps + 1 + ceil(log2 n)."""
        zero = case("dec", y=0).changed(n=n)
        bound = w_bound(ceil_log2)
        assert_accepted(zero, forge(zero, nonce={"beta": sign * bound}))
        assert_only(zero, forge(zero, nonce={"beta": sign * (bound + 1)}), "w range")


class TestEquations:
    @pytest.mark.parametrize(
        ("commitment", "check"), [("A", PAPER), ("C", "z*G = C + e*X"), ("B", "w*base = B + e*S")]
    )
    @pytest.mark.parametrize("at", [0, 17, 31])
    def test_each_alone(self, one: Case, commitment: str, check: str, at: int) -> None:
        change: Any = (lambda A: A * (1 + N0) % N2) if commitment == "A" else (lambda point: point + G)
        assert_only(one, forge(one, at=at, com={commitment: change}), check)

    @pytest.mark.parametrize("at", [0, 17, 31])
    def test_v_is_another_unit(self, one: Case, at: int) -> None:
        assert_only(one, forge(one, at=at, response={"v": lambda v: 2 * v % N0}), PAPER)

    def test_delta_plus_one_was_sent(self, one: Case) -> None:
        false = one.changed(S=one.statement.S + one.statement.base)
        assert_only(false, forge(false), "w*base = B + e*S")

    def test_X_is_another_point(self, one: Case) -> None:
        false = one.changed(X=one.statement.X + G)
        assert_only(false, forge(false), "z*G = C + e*X")

    @pytest.mark.parametrize("field", ["K", "D"])
    def test_another_ciphertext(self, one: Case, field: str) -> None:
        false = one.changed(**{field: getattr(one.statement, field) * (1 + N0) % N2})
        assert_only(false, forge(false), PAPER)

    def test_another_base(self, one: Case) -> None:
        false = one.changed(base=one.statement.base + G)
        assert_only(false, forge(false), "w*base = B + e*S")


@pytest.mark.attack("B6")
class TestForgeryThatC5Stops:
    """protocol.md 0.2: y' = y + c*N is the same plaintext mod N and, for c = (false - y)/N mod q, a false delta."""

    def forged(self, suite: Suite) -> Case:
        true = case("dec", suite)
        y, base = true.wit["y"], true.statement.base
        false = (y + 1) % Q
        y_forged = y + (false - y) * pow(N0, -1, Q) % Q * N0
        assert y_forged % Q == false
        assert y_forged % N0 == y % N0
        cheater = true.changed(S=false * base)
        assert cheater.statement.S != true.statement.S
        return replace(cheater, wit={**true.wit, "y": y_forged})

    def test_rejected(self) -> None:
        cheater = self.forged(TINY)
        assert_only(cheater, forge(cheater), "w range")

    def test_with_parameters_that_break_C5_it_would_pass(self) -> None:
        """So the forgery is real, and the constructor of levels is what keeps such parameters out."""
        numbers = {"name": "broken", "kappa": 32, "l": 32, "eps": 64, "l_prime": 300, "m": 32, "pb": 160}
        with pytest.raises(BadParameters, match="C5"):
            SecurityLevel(**numbers)
        broken = object.__new__(SecurityLevel)
        for name, number in numbers.items():
            object.__setattr__(broken, name, number)
        suite = Suite(TINY.proto, TINY.group, broken)
        keys_of_tiny = case("dec", TINY).statement.N0
        cheater = self.forged(suite)
        assert keys_of_tiny == cheater.statement.N0
        assert_accepted(cheater, forge(cheater))
