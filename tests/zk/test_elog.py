"""elog (protocol.md 5.4): one malicious proof a check, and each is the only check that it fails."""

from __future__ import annotations

import pytest
from tss_testing import TINY
from zk_cases import assert_accepted, assert_only, assert_rejected, case, forge

Q, G = TINY.group.q, TINY.group.G


@pytest.mark.parametrize("response", ["z", "u"])
@pytest.mark.parametrize("shift", [Q, -Q])
def test_a_response_is_not_reduced(response: str, shift: int) -> None:
    one = case("elog")
    assert_only(one, forge(one, response={response: lambda z: z + shift}), f"{response} range")


@pytest.mark.parametrize(
    ("commitment", "check"),
    [("A", "z*G = A + e*L"), ("N", "u*G + z*X = N + e*M"), ("B", "u*h = B + e*Y")],
)
def test_each_equation_alone(commitment: str, check: str) -> None:
    one = case("elog")
    assert_only(one, forge(one, com={commitment: lambda P: P + G}), check)


@pytest.mark.parametrize(
    ("field", "check"), [("L", "z*G = A + e*L"), ("M", "u*G + z*X = N + e*M"), ("Y", "u*h = B + e*Y")]
)
def test_a_false_statement(field: str, check: str) -> None:
    """protocol.md 7, presigning round 2: Gamma_i is not the one in B2; round 3: Delta_i is made with another k."""
    one = case("elog")
    false = one.changed(**{field: getattr(one.statement, field) + G})
    assert_only(false, forge(false), check)


def test_z_is_off_by_one() -> None:
    one = case("elog")
    assert_rejected(one, forge(one, response={"z": lambda z: (z + 1) % Q}), "z*G = A + e*L")


def test_u_is_off_by_one() -> None:
    one = case("elog")
    assert_rejected(one, forge(one, response={"u": lambda u: (u + 1) % Q}), "u*G + z*X = N + e*M")


@pytest.mark.parametrize(
    ("response", "wit", "nonce"), [("z", {"lam": 0}, {"alpha": 0}), ("u", {"y": 0}, {"m": 0})]
)
def test_a_response_at_both_ends_of_its_range(
    response: str, wit: dict[str, int], nonce: dict[str, int]
) -> None:
    """A response of 0 is taken, its other form q is not."""
    one = case("elog", **wit)
    assert_accepted(one, forge(one, nonce=nonce))
    assert_only(one, forge(one, nonce=nonce, response={response: lambda _: Q}), f"{response} range")
