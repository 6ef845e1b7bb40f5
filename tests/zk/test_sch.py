"""sch (protocol.md 5.1): one malicious proof a check, and each is the only check that it fails."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tss_testing import TINY, SeededRng
from zk_cases import CTX, assert_only, case, forge, prove, verify

from tss.errors import ProofInvalid
from tss.zk import sch

Q = TINY.group.q


def test_X_is_the_identity() -> None:
    one = case("sch", x=0)
    assert_only(one, forge(one), "X identity")


@pytest.mark.parametrize("shift", [Q, -Q, 2 * Q])
def test_z_is_not_reduced(shift: int) -> None:
    one = case("sch")
    assert_only(one, forge(one, response={"z": lambda z: z + shift}), "z range")


def test_z_is_off_by_one() -> None:
    one = case("sch")
    assert_only(one, forge(one, response={"z": lambda z: (z + 1) % Q}), "z*G = A + e*X")


def test_A_is_another_point() -> None:
    one = case("sch")
    assert_only(one, forge(one, com={"A": lambda A: A + TINY.group.G}), "z*G = A + e*X")


@pytest.mark.attack("C7")
def test_a_copied_proof_and_point_of_another_party() -> None:
    one = case("sch")
    value = prove(one)
    with pytest.raises(ProofInvalid):
        verify(one, value, ctx=replace(CTX, prover=["holder", 2]))


def test_a_proof_for_another_secret() -> None:
    one = case("sch")
    other = case("sch", seed="other")
    value = prove(other)
    with pytest.raises(ProofInvalid) as caught:
        verify(one, value)
    assert caught.value.check == "sch:z*G = A + e*X"


def test_a_nonce_committed_a_round_earlier() -> None:
    """Key generation sends A in round 2 and proves in round 3, when rid is known."""
    one = case("sch")
    nonce, commitment = sch.commit(TINY, SeededRng("round 2"))
    assert nonce.alpha * TINY.group.G == commitment.A
    e = sch.challenge(TINY, CTX, one.statement, commitment)
    proof = sch.respond(TINY, one.witness, nonce, commitment, e)
    assert proof.commitment == commitment
    sch.verify(TINY, CTX, one.statement, proof)
