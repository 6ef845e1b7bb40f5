"""Complaints in whole runs (protocol.md 4): false ones turn on who makes them, and several cheaters are blamed at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from cggmp24_cheating import reports
from cggmp24_testing import Signers, aux_program, primes_of, run_aux, run_keygen
from judging_testing import CHEATER, SIGNERS, SUITES, LiesInChi, LiesInDelta, says5, z_of_aff_g_star
from session_testing import Outcomes, Posted, Program, Tamper, assert_judged, says, silent, tells
from tss_testing import TINY

from tss.cggmp24 import keygen, presign
from tss.cggmp24.identify_checks import ROUND
from tss.cggmp24.presign import Presigning
from tss.effects import Compute, Effect, Protocol, Receive, Send, SendDurably, SessionContext
from tss.envelope import Kind
from tss.errors import AbortedByPeer, BadShare, FalseAccusation, PeerFault
from tss.evidence import read_claim
from tss.judge import judge


def accuses(program: Program, when: Callable[[Effect], bool], accused: int, check: str) -> Program:
    """`program`, which says at some point that a peer failed a check, and shows what there is."""

    def start(ctx: SessionContext) -> Protocol[Any]:
        generator = program(ctx)
        result: Any = None
        while True:
            effect = generator.send(result)
            if when(effect):
                raise BadShare("so it says").blame(accused, check)
            result = yield effect

    return start


def sends(round_: int) -> Callable[[Effect], bool]:
    return lambda effect: isinstance(effect, Send) and effect.round == round_


def ends(effect: Effect) -> bool:
    return isinstance(effect, SendDurably)


def honest_keygen(ctx: SessionContext) -> Protocol[Any]:
    return keygen.keygen(ctx, 2)


def honest_presign(ctx: SessionContext) -> Protocol[Any]:
    return presign._rounds(SIGNERS.presigning(ctx), 1, None)


def checks_round_3(effect: Effect) -> bool:
    """The last thing that is computed for a presignature."""
    return isinstance(effect, Compute) and "check_round3" in repr(effect.jobs[0])


def withheld(round_: int) -> Callable[[Posted], bool]:
    """Party 2 keeps its echo of a round back, so that nobody is done before its complaint is heard."""
    return silent(CHEATER, kind=Kind.ECHO, round_=round_)


KEYGEN = partial(run_keygen, 3, 2)
AUX = partial(run_aux, 3)
PRESIGN = SIGNERS.presign
HONEST_AUX = aux_program(primes_of(TINY, 3)[CHEATER])

FALSE = [
    pytest.param(KEYGEN, honest_keygen, sends(3), "keygen.r2.share", id="keygen round 2"),
    pytest.param(KEYGEN, honest_keygen, sends(3), "keygen.r2.schema", id="keygen schema"),
    pytest.param(KEYGEN, honest_keygen, ends, "keygen.r3.sch:z*G = A + e*X", id="keygen round 3"),
    pytest.param(AUX, HONEST_AUX, sends(3), "aux.r2.prm:A unit", id="aux round 2"),
    pytest.param(AUX, HONEST_AUX, ends, "aux.r3.fac:P unit", id="aux round 3"),
    pytest.param(PRESIGN, honest_presign, sends(2), "presign.r1.item0.K", id="presign round 1"),
    pytest.param(PRESIGN, honest_presign, sends(3), "presign.r2.item0.h", id="presign round 2"),
    pytest.param(PRESIGN, honest_presign, checks_round_3, "presign.r3.item0.delta", id="presign round 3"),
]


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
    monkeypatch.setattr("tss.session._COMPLAINT_OVERHEAD", (8 << 20) - 1000)
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
