"""Complaints in whole runs (protocol.md 4): false ones turn on who makes them, and several cheaters are blamed at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cggmp24_cheating import reports
from cggmp24_testing import Signers, run_keygen
from false_accusers import FALSE, accuses
from judging_testing import CHEATER, SUITES, LiesInChi, LiesInDelta, says5, z_of_aff_g_star
from session_testing import Outcomes, Posted, Program, Tamper, assert_judged, says, silent, tells
from tss_testing import TINY

from tss.cggmp24 import presign
from tss.cggmp24.identify_checks import ROUND
from tss.cggmp24.presign import Presigning
from tss.effects import Compute, Effect, Receive
from tss.envelope import Kind
from tss.errors import AbortedByPeer, BadShare, FalseAccusation, PeerFault
from tss.evidence import read_claim
from tss.judge import judge


def withheld(round_: int) -> Callable[[Posted], bool]:
    """Party 2 keeps its echo of a round back, so that nobody is done before its complaint is heard."""
    return silent(CHEATER, kind=Kind.ECHO, round_=round_)


@pytest.mark.parametrize(("run", "program", "when", "check"), FALSE)
def test_who_accuses_falsely_is_blamed_by_all(run: Any, program: Program, when: Any, check: str) -> None:
    accuser = accuses(program, when, 1, check)
    outcomes: Outcomes = run(seed=check, programs={CHEATER: accuser}, confess=True, drop=withheld(3))
    assert assert_accuser_blamed(outcomes) == [1, 3]


def assert_accuser_blamed(outcomes: Outcomes) -> list[int]:
    """All blame party 2 for its complaint, with evidence that convinces; who they are."""
    for node in outcomes.honest:
        assert isinstance(node.error, FalseAccusation), node.error
        assert node.blamed == CHEATER
        assert node.error.check.endswith("complaint.false")
        assert assert_judged(outcomes, node).section == "4.1"
    return [node.party.index for node in outcomes.honest]


FOUR = Signers((1, 2, 3, 4), 4)


def identities_of(outcomes: Outcomes) -> dict[Any, bytes]:
    return {member.party: member.identity for member in outcomes.committee.members}


def four(kind: type[Presigning]) -> Program:
    return lambda ctx: presign._rounds(FOUR.presigning(ctx, kind), 1, None)


def wrong_opening(opened: list[Any]) -> list[Any]:
    return [[opened[0][0] + 1, *opened[0][1:]], *opened[1:]]


@pytest.mark.parametrize("about", ["open", "aff-g*:z range", "dec:z range"])
def test_a_false_claim_in_an_identification_is_false(about: str) -> None:
    """Party 3 lied in round 3; party 2 says of party 1 what is not so."""
    heard: list[bool] = []

    def when(effect: Effect) -> bool:
        heard.append(isinstance(effect, Receive) and effect.round == ROUND)
        return any(heard) and isinstance(effect, Compute)

    check = f"presign.abort-delta.item0.{about}"
    programs = {3: four(LiesInDelta), CHEATER: accuses(four(Presigning), when, 1, check)}
    outcomes = FOUR.presign(seed=about, programs=programs, confess=True, drop=withheld(ROUND))
    assert assert_accuser_blamed(outcomes) == [1, 4]


@pytest.mark.parametrize(
    ("kinds", "lies", "checks"),
    [
        pytest.param((LiesInChi, LiesInChi), ((), ()), ("chi.item0.dec", "chi.item0.dec"), id="two chis"),
        pytest.param(
            (LiesInDelta, LiesInDelta), ((says5(1, wrong_opening),), (says5(1, wrong_opening),)),
            ("delta.item0.open", "delta.item0.open"), id="two openings",
        ),
        pytest.param(
            (LiesInDelta, LiesInDelta), ((says5(2, z_of_aff_g_star),), (says5(1, wrong_opening),)),
            ("delta.item0.aff-g*", "delta.item0.open"), id="a proof and an opening",
        ),
    ],
)  # fmt: skip
def test_two_cheaters_at_once_are_both_blamed(
    kinds: tuple[type[Presigning], ...], lies: tuple[tuple[Tamper, ...], ...], checks: tuple[str, ...]
) -> None:
    """Each with evidence of its own, in a complaint of its own."""
    programs = {2: four(kinds[0]), 3: four(kinds[1])}
    tamper = {2: list(lies[0]), 3: list(lies[1])}
    outcomes = FOUR.presign(seed=checks, programs=programs, tamper=tamper, drop=reports)
    for node in outcomes.honest:
        error = node.error
        assert isinstance(error, PeerFault), error
        (also,) = error.also
        assert (error.peer, also.peer) == (2, 3)
        for fault, check in zip((error, also), checks, strict=True):
            assert fault.check.startswith(f"presign.abort-{check}")
            assert fault.evidence is not None
            verdict = judge(fault.evidence, identities_of(outcomes), SUITES)
            assert (verdict.guilty, verdict.accused.index, verdict.check) == (True, fault.peer, fault.check)
            assert verdict.section == "4.2"
        complaints = [body for body in node.bodies() if body.kind is Kind.COMPLAINT]
        assert len(complaints) == 2


def test_everybody_who_is_told_blames_too() -> None:
    """Only party 1 can see that its share is false; the others judge its complaint."""
    lie = tells(2, lambda v: [(v[0] + 1) % TINY.group.q, *v[1:]], to=1)
    outcomes = run_keygen(4, 2, "told", tamper={CHEATER: [lie]})
    for node in outcomes.honest:
        assert isinstance(node.error, BadShare)
        assert (node.blamed, node.error.check) == (CHEATER, "keygen.r2.share")
        assert_judged(outcomes, node)
    assert outcomes[3].error.evidence == outcomes[1].error.evidence  # type: ignore[union-attr]


def test_a_complaint_whose_evidence_no_envelope_holds_blames_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its maker keeps the evidence; who is only told has nothing to judge."""
    lie = tells(2, lambda v: [(v[0] + 1) % TINY.group.q, *v[1:]], to=1)
    monkeypatch.setattr("tss.speaker._COMPLAINT_OVERHEAD", (8 << 20) - 1000)
    outcomes = run_keygen(4, 2, "told", tamper={CHEATER: [lie]})
    assert isinstance(outcomes[1].error, BadShare)
    assert assert_judged(outcomes, outcomes[1]).guilty
    for index in (3, 4):
        assert isinstance(outcomes[index].error, AbortedByPeer)


def test_evidence_shows_what_the_check_needs_and_no_more() -> None:
    """Of eight parties' messages those of the accused, and in round 3 what its echo vouches for."""
    outcomes = run_keygen(8, 2, "small", tamper={CHEATER: [says(1, lambda _: b"V" * 32)]}, drop=reports)
    error = outcomes[1].error
    assert isinstance(error, PeerFault)
    assert error.evidence is not None
    assert len(read_claim(error.evidence).messages) == 3
    later = run_keygen(8, 2, "small", tamper={CHEATER: [says(3, lambda v: [v[0], v[1] ^ 1])]}, drop=reports)
    error = later[1].error
    assert isinstance(error, PeerFault)
    assert error.evidence is not None
    assert len(read_claim(error.evidence).messages) == 1 + 8
