"""Judging a peer's complaint inside a session: a job, one complaint a peer, and whom it turns on (protocol.md 4.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from engine_testing import NUMBER, PH, Solo, assert_blames, holds, outgoing_body, rounds, signed, waits
from session_testing import encode_any, identity_of
from tss_testing import TINY

from tss.complaints import Complaints
from tss.effects import Compute, Echo, Receive, Send
from tss.encoding import encode
from tss.envelope import Body, Kind, holder
from tss.errors import AbortedByPeer, Equivocation, FalseAccusation, InternalError, SchemaViolation
from tss.judge import judge

TAIL = [3, 2]


def keygen_solo(program: Any = None, **options: Any) -> Solo:
    """A session that says it makes a key: what its messages have to be is known to the judge."""
    program = program or waits(Receive(1, broadcast=NUMBER, echo=Echo.NONE), sends=[Send(1, bytes(32))])
    solo = Solo(program, kind="keygen", tail=TAIL, **options)
    solo.enter()
    return solo


def evidence(solo: Solo, accused: int, check: str, bodies: Sequence[Body], *, preimage: bool = True) -> bytes:
    shown = [signed(body).as_value() for body in bodies]
    preimages = [encode(list(solo.session.sid_preimage or []))] if preimage else []
    return encode_any(["evidence/v1", TINY.proto, preimages, ["holder", accused], check, shown])


def complaint(solo: Solo, by: int, accused: int, check: str, bodies: Sequence[Body], **options: Any) -> Body:
    return solo.complaint(by, accused, evidence(solo, accused, check, bodies, **options), check=check)


def bad_V(solo: Solo, sender: int = 3) -> Body:
    """A commitment of 31 bytes."""
    return solo.said(sender, 1, bytes(31))


def good_V(solo: Solo, sender: int = 3) -> Body:
    return solo.said(sender, 1, bytes(32))


def test_who_is_guilty_is_blamed_with_the_same_evidence():
    solo = keygen_solo()
    bodies = [bad_V(solo)]
    assert solo.hear(complaint(solo, 2, 3, "keygen.r1.schema", bodies)) == []
    assert len(solo.session.jobs) == 1
    assert (solo.session.phase, solo.session.waiting_for) == ("keygen.complaint", ())
    solo.completed()
    assert_blames(solo, 3, SchemaViolation, "keygen.r1.schema")
    assert solo.session.error.evidence == evidence(solo, 3, "keygen.r1.schema", bodies)


def test_who_accuses_falsely_is_blamed():
    solo = keygen_solo()
    told = complaint(solo, 2, 3, "keygen.r1.schema", [good_V(solo)])
    solo.hear(told)
    solo.completed()
    assert_blames(solo, 2, FalseAccusation, "keygen.complaint.false")
    assert holds(solo, told)
    verdict = judge(solo.session.error.evidence, solo.identities, {TINY.proto: TINY})
    assert (verdict.guilty, verdict.accused, verdict.section) == (True, holder(2), "4.1")


def test_a_complaint_about_us_is_judged_as_any_other():
    solo = keygen_solo()
    (own,) = solo.sent(Kind.MSG, 1)
    solo.hear(complaint(solo, 2, 1, "keygen.r1.schema", [own]))
    solo.completed()
    assert_blames(solo, 2, FalseAccusation, "keygen.complaint.false")


def test_a_fault_of_ours_is_no_peers():
    solo = keygen_solo(waits(Receive(1, broadcast=NUMBER, echo=Echo.NONE), sends=[Send(1, bytes(31))]))
    (own,) = solo.sent(Kind.MSG, 1)
    solo.hear(complaint(solo, 2, 1, "keygen.r1.schema", [own]))
    solo.completed()
    assert isinstance(solo.session.error, InternalError)
    assert "what this party sent fails a check" in str(solo.session.error)
    assert solo.sent()[-1].kind is Kind.ABORT


UNPROVEN = {
    "nothing": lambda solo: complaint(solo, 2, 3, "keygen.r1.schema", []),
    "another round": lambda solo: complaint(solo, 2, 3, "keygen.r2.share", [good_V(solo)]),
    "no such check": lambda solo: complaint(solo, 2, 3, "keygen.r9.share", [good_V(solo)]),
    "no such step": lambda solo: complaint(solo, 2, 3, "keygen.dance", [good_V(solo)]),
    "a stranger": lambda solo: complaint(solo, 2, 9, "keygen.r1.schema", []),
}
NOT_OURS = {
    "no evidence": lambda solo: solo.complaint(2, 3, b""),
    "of something else": lambda solo: solo.complaint(2, 3, evidence(solo, 3, "keygen.r1.schema", [bad_V(solo)])),
    "of somebody else": lambda solo: solo.complaint(
        2, 1, evidence(solo, 3, "keygen.r1.schema", [bad_V(solo)]), check="keygen.r1.schema"
    ),
    "of another session": lambda solo: solo.complaint(
        2, 3, evidence(solo, 3, "keygen.r1.schema", [solo.body(3, 1, [None, bytes(31)], sid=b"\x01" * 32)]),
        check="keygen.r1.schema",
    ),
}  # fmt: skip


@pytest.mark.parametrize("told", UNPROVEN.values(), ids=UNPROVEN)
def test_a_complaint_that_proves_nothing_blames_nobody(told):
    solo = keygen_solo()
    said = len(solo.log)
    solo.hear(told(solo))
    solo.completed()
    assert isinstance(solo.session.error, AbortedByPeer)
    assert solo.session.error.by == 2
    assert len(solo.log) == said


@pytest.mark.parametrize("told", NOT_OURS.values(), ids=NOT_OURS)
def test_a_complaint_about_something_else_is_not_even_judged(told):
    solo = keygen_solo()
    solo.hear(told(solo))
    assert isinstance(solo.session.error, AbortedByPeer)
    assert solo.session.jobs == ()


def test_evidence_of_a_session_that_has_no_id_yet():
    """Round 0: what proves itself there needs no preimage, and what needs one is not proven."""
    solo = Solo(rounds, kind="keygen", tail=TAIL)
    solo.start()
    bad = solo.body(3, 0, [bytes(31), bytes(32)], sid=PH)
    solo.hear(complaint(solo, 2, 3, "keygen.r0.schema", [bad], preimage=False))
    solo.completed()
    assert_blames(solo, 3, SchemaViolation, "keygen.r0.schema")


def test_a_false_complaint_of_round_0_turns_on_its_maker():
    solo = keygen_solo()
    told = complaint(solo, 2, 3, "keygen.r0.schema", [solo.acceptance(3)], preimage=False)
    solo.hear(told)
    solo.completed()
    assert_blames(solo, 2, FalseAccusation, "keygen.complaint.false")
    verdict = judge(solo.session.error.evidence, solo.identities, {TINY.proto: TINY})
    assert (verdict.guilty, verdict.accused) == (True, holder(2))


def test_a_complaint_before_the_start_ends_the_session():
    solo = Solo(rounds, kind="keygen", tail=TAIL)
    solo.hear(complaint(solo, 2, 3, "keygen.r0.schema", [solo.body(3, 0, [b""], sid=PH)], preimage=False))
    assert isinstance(solo.session.error, AbortedByPeer)


# -- while something else goes on --------------------------------------------------------------------------------


def computing() -> Solo:
    """A session with jobs under way."""

    def program(_ctx: Any) -> Any:
        yield Send(1, bytes(32))
        yield Compute([lambda: 1, lambda: 2])
        raise AssertionError("the protocol goes on after a complaint")

    return keygen_solo(program)


def test_a_complaint_that_comes_while_jobs_run():
    """The driver cannot take its jobs back: what they give is dropped, then the complaint is judged."""
    solo = computing()
    jobs = solo.session.jobs
    solo.hear(complaint(solo, 2, 3, "keygen.r1.schema", [bad_V(solo)]))
    assert solo.session.jobs is jobs
    assert solo.completed() == []
    assert len(solo.session.jobs) == 1
    solo.completed()
    assert_blames(solo, 3, SchemaViolation, "keygen.r1.schema")


def test_a_complaint_that_proves_nothing_while_jobs_run():
    solo = computing()
    solo.hear(solo.complaint(2, 3, b""))
    assert not solo.session.finished
    solo.completed()
    assert isinstance(solo.session.error, AbortedByPeer)


@pytest.mark.parametrize("under_way", [False, True])
def test_the_deadline_passes_while_a_complaint_is_judged(under_way):
    solo = computing() if under_way else keygen_solo()
    solo.hear(complaint(solo, 2, 3, "keygen.r1.schema", [bad_V(solo)]))
    solo.expire()
    assert isinstance(solo.session.error, AbortedByPeer)
    assert solo.session.error.by == 2


def test_what_comes_while_a_complaint_is_judged_changes_nothing():
    solo = keygen_solo()
    solo.hear(complaint(solo, 2, 3, "keygen.r1.schema", [bad_V(solo)]))
    said = len(solo.log)
    solo.hear(solo.abort(3), solo.show(3, 1, [good_V(solo, 2)]), good_V(solo, 2), solo.echo0(2))
    assert len(solo.log) == said
    assert len(solo.session.jobs) == 1
    solo.completed()
    assert_blames(solo, 3, SchemaViolation, "keygen.r1.schema")


def test_a_second_version_that_comes_while_a_complaint_is_judged_proves_itself():
    solo = keygen_solo()
    solo.hear(good_V(solo), complaint(solo, 2, 3, "keygen.r2.share", []))
    solo.hear(bad_V(solo))
    assert_blames(solo, 3, Equivocation, "keygen.r1.msg")


# -- storms ------------------------------------------------------------------------------------------------------


def test_a_peer_is_listened_to_once():
    """However many complaints come, no peer makes us verify more than one; each is judged after the other."""
    solo = Solo(waits(Receive(1, broadcast=NUMBER, echo=Echo.NONE)), n=6, kind="keygen", tail=[6, 2])
    solo.enter()
    storm = [
        complaint(solo, by, accused, f"keygen.r2.share{number}", [])
        for number in range(20)
        for by in range(2, 7)
        for accused in range(1, 7)
    ]
    solo.hear(*storm)
    judged = 0
    while not solo.session.finished:
        assert len(solo.session.jobs) == 1
        solo.completed()
        judged += 1
    assert judged == 5
    assert isinstance(solo.session.error, AbortedByPeer)
    assert solo.session.error.by == 2


def test_a_complaint_of_who_has_filled_its_part_is_not_kept(monkeypatch):
    """What is kept of a peer is bounded, its complaint included; the run ends all the same."""
    for spare, judged in ((0, True), (-1, False)):
        solo = keygen_solo()
        told = complaint(solo, 2, 3, "keygen.r1.schema", [bad_V(solo)])
        kept = sum(len(body.encode()) for body in (solo.acceptance(2), solo.echo0(2)))
        with monkeypatch.context() as patch:
            patch.setattr("tss.mailbox.MAX_KEPT_BYTES_PER_PARTY", kept + len(told.encode()) + spare)
            solo.hear(told)
        assert bool(solo.session.jobs) is judged
        assert isinstance(solo.session.error, AbortedByPeer) is not judged


def test_the_true_complaint_behind_a_false_start_is_heard():
    """Who is guilty cannot hide behind a complaint of its own that proves nothing."""
    solo = keygen_solo()
    solo.hear(complaint(solo, 3, 2, "keygen.r2.share", []))
    solo.hear(complaint(solo, 2, 3, "keygen.r1.schema", [bad_V(solo)]))
    solo.completed()
    assert not solo.session.finished
    solo.completed()
    assert_blames(solo, 3, SchemaViolation, "keygen.r1.schema")


def test_one_complaint_is_told_by_whoever_judges():
    """Who is told tells it once more, and ends: a storm dies out."""
    solo = keygen_solo()
    solo.hear(complaint(solo, 2, 3, "keygen.r1.schema", [bad_V(solo)]))
    out = solo.completed()
    assert [outgoing_body(item).kind for item in out] == [Kind.COMPLAINT]


# -- bugs of ours ------------------------------------------------------------------------------------------------


def test_a_judge_that_breaks_is_our_own_fault():
    solo = keygen_solo()
    solo.hear(complaint(solo, 2, 3, "keygen.r1.schema", [bad_V(solo)]))
    solo.session.completed([ZeroDivisionError()])
    assert isinstance(solo.session.error, InternalError)
    assert isinstance(solo.session.error.__cause__, ZeroDivisionError)


def test_nobody_accuses_falsely_where_nothing_was_judged():
    with pytest.raises(InternalError):
        Complaints(TINY, {}).false_accusation("keygen", ())


def test_the_judge_knows_the_sessions_parties_alone():
    """A committee's member that takes no part is a stranger here."""
    solo = keygen_solo()
    stranger = solo.said(4, 1, bytes(31))
    assert identity_of(holder(4)).public not in solo.identities.values()
    solo.hear(complaint(solo, 2, 4, "keygen.r1.schema", [stranger]))
    solo.completed()
    assert isinstance(solo.session.error, AbortedByPeer)
