"""Honest parties are cleared: of every step, by the evidence that a session shows of it (protocol.md 4.1)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from cggmp24_cheating import reports
from false_accusers import FALSE, accuses
from judging_testing import CHEATER, SUITES, write

from tss.envelope import holder
from tss.errors import BadShare
from tss.evidence import Claim, read_claim
from tss.judge import judge

KEPT: dict[str, Any] = {}


def shown(run: Any, program: Any, when: Any, check: str) -> tuple[Claim, Any]:
    """What party 2 shows against party 1, and everybody's identities."""
    if check not in KEPT:
        programs = {CHEATER: accuses(program, when, 1, check)}
        outcomes = run(seed=("honest", check), programs=programs, drop=reports)
        error = outcomes[CHEATER].error
        assert isinstance(error, BadShare)
        assert error.evidence is not None
        identities = {member.party: member.identity for member in outcomes.committee.members}
        KEPT[check] = read_claim(error.evidence), identities
    found: tuple[Claim, Any] = KEPT[check]
    return found


each = pytest.mark.parametrize(("run", "program", "when", "check"), FALSE)


@each
def test_an_honest_party_is_cleared(run: Any, program: Any, when: Any, check: str) -> None:
    claim, identities = shown(run, program, when, check)
    verdict = judge(write(claim), identities, SUITES)
    assert (verdict.accused, verdict.guilty, verdict.cleared) == (holder(1), False, True), verdict
    assert (verdict.check, verdict.section, verdict.fault) == (check, "", None)


@each
def test_nobody_is_guilty_by_a_part_of_it(run: Any, program: Any, when: Any, check: str) -> None:
    claim, identities = shown(run, program, when, check)
    for place in range(len(claim.messages)):
        messages = claim.messages[:place] + claim.messages[place + 1 :]
        assert not judge(write(replace(claim, messages=messages)), identities, SUITES).guilty
