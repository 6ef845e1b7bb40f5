"""Evidence that is not what an honest accuser wrote proves nothing (protocol.md 4.1)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from judging_testing import CASES, CHEATER, VERSIONS, Case, another_version, place_of
from session_testing import Identity, identity_of
from tss_testing import SMALL_SECP, TINY

from tss.envelope import Signed, holder
from tss.judge import PRODUCTION_SUITES, judge
from tss.judge.showing import relevant
from tss.params import CGGMP24_SECP256K1, FROST_BIP340, FROST_ED25519

each = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@each
def test_as_it_was_written_it_proves_guilt(case: Case) -> None:
    verdict = case.verdict(case.evidence)
    assert (verdict.guilty, verdict.accused, verdict.section) == (True, holder(CHEATER), case.section)
    assert verdict.check.startswith(case.check)
    assert not verdict.cleared
    assert verdict.reason


@each
def test_with_a_message_less_it_proves_nothing(case: Case) -> None:
    """But for messages that other checks of the same round need."""
    unneeded = set()
    for place, body in enumerate(case.bodies):
        verdict = case.verdict(case.without(place))
        if verdict.guilty:
            assert verdict.check == case.claim.check
            unneeded.add(place_of(body))
        else:
            assert not verdict.cleared
    assert unneeded == case.spare


@pytest.mark.parametrize("other", CASES.values(), ids=CASES)
def test_a_complaint_shows_what_its_check_needs_and_no_more(other: Case) -> None:
    """The same of any run: of the messages behind another claim those are shown that both claims need."""
    kind = other.check.split(".")[0]
    for case in CASES.values():
        if VERSIONS in (case.check, other.check) or case.check.split(".")[0] != kind:
            continue
        messages = [
            Signed(body, *message) for body, message in zip(case.bodies, case.claim.messages, strict=True)
        ]
        shown = relevant(kind, other.claim.check, holder(CHEATER), messages)
        needed = {place_of(body) for body in other.bodies}
        assert [place_of(one.body) for one in shown] == [
            place_of(body) for body in case.bodies if place_of(body) in needed
        ], case.check


@each
def test_another_version_of_a_message_of_others_proves_nothing(case: Case) -> None:
    """An accuser could show its own second version; only what the accused's signed echo lists counts."""
    for place, body in enumerate(case.bodies):
        if body.sender == holder(CHEATER) or place_of(body) in case.spare:
            continue
        claim = case.instead(place, another_version(body))
        verdict = case.verdict(claim)
        assert not verdict.guilty
        assert not verdict.cleared
        # With the true version beside it the true one counts, unless it counts without an echo, where two say nothing.
        both = replace(claim, messages=(*claim.messages, case.claim.messages[place]))
        assert case.verdict(both).guilty or body.round == 5


@each
def test_a_message_that_nobody_signed_proves_nothing(case: Case) -> None:
    for place, body in enumerate(case.bodies):
        stranger = Identity.of("a stranger")
        assert not case.verdict(case.instead(place, body, stranger)).guilty


@each
@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(lambda p: [*p[:5], bytes(32), *p[6:]], "another session", id="another ph"),
        pytest.param(lambda p: [*p[:2], "dance", *p[3:]], "unknown kind", id="another kind"),
        pytest.param(lambda p: ["other", *p[1:]], "suite is not one", id="another suite"),
        pytest.param(lambda p: [*p[:3], "secp256k1", *p[4:]], "suite is not one", id="another group"),
        pytest.param(
            lambda p: [*p[:4], [16, 32, 160, 64, 8], *p[5:]], "other security parameters", id="a weaker level"
        ),
        pytest.param(lambda p: [*p[:6], p[6][:-1] + p[6][:1], *p[7:]], "repeat", id="a party twice"),
        pytest.param(
            lambda p: [*p[:6], [[*p[6][0][:3], b"n" * 32, p[6][0][4]], *p[6][1:]], *p[7:]],
            "another session",
            id="a nonce",
        ),
        pytest.param(lambda p: p[:-1], "cannot be read", id="a tail too short"),
        pytest.param(lambda _p: [5], "cannot be read", id="no preimage"),
    ],
)
def test_under_another_preimage_it_proves_nothing(case: Case, change: Any, said: str) -> None:
    verdict = case.verdict(case.preimages(change))
    # Two signed versions of a message need no session to be two.
    assert verdict.guilty == (case.check == VERSIONS)
    assert verdict.guilty or said in verdict.reason


@each
def test_without_a_preimage_only_two_versions_prove_anything(case: Case) -> None:
    verdict = case.verdict(replace(case.claim, preimages=()))
    assert verdict.guilty == (case.check == VERSIONS)


@each
def test_another_committee_has_nothing_to_do_with_it(case: Case) -> None:
    strangers = {party: Identity.of(("other", party)).public for party in case.identities}
    assert not case.verdict(case.evidence, identities=strangers).guilty
    assert not case.verdict(case.evidence, identities={}).guilty
    first = next(iter(case.identities))
    one_replaced = {**case.identities, first: Identity.of("a successor").public}
    verdict = case.verdict(case.evidence, identities=one_replaced)
    assert not verdict.guilty or case.check == VERSIONS


@each
def test_nobody_else_is_guilty_by_it(case: Case) -> None:
    for party in case.identities:
        if party != holder(CHEATER):
            verdict = case.verdict(replace(case.claim, accused=party))
            assert not verdict.guilty, verdict


@each
def test_a_judge_that_accepts_other_suites_proves_nothing(case: Case) -> None:
    if case.check == VERSIONS:
        return
    for suites in ({}, {SMALL_SECP.proto: SMALL_SECP}, {TINY.proto: replace(SMALL_SECP, proto=TINY.proto)}):
        assert not case.verdict(case.evidence, suites=suites).guilty
    assert not judge(case.evidence, case.identities).guilty
    accepted = (CGGMP24_SECP256K1, FROST_ED25519, FROST_BIP340)
    assert dict(PRODUCTION_SUITES) == {suite.proto: suite for suite in accepted}


@each
def test_a_message_of_another_session_beside_it_proves_nothing(case: Case) -> None:
    """Were it let in, an accuser could mix two runs of one committee."""
    body = replace(case.bodies[0], sid=b"\x05" * 32, round=9)
    extra = body.encode(), identity_of(body.sender).sign(body.encode())
    verdict = case.verdict(replace(case.claim, messages=(*case.claim.messages, extra)))
    assert not verdict.guilty or case.check == VERSIONS
