"""Aborts, complaints, and what a fault tells the others (protocol.md 0.8, 4.1)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from engine_testing import (
    NUMBER,
    PH,
    PRIVATE,
    Solo,
    assert_blames,
    entered,
    holds,
    outgoing_body,
    read_evidence,
    signed,
    waits,
)
from session_testing import Anything
from tss_testing import TINY

import tss.speaker
from tss.effects import Echo, Persist, Receive, Send
from tss.encoding import decode, encode
from tss.envelope import Body, Kind, holder
from tss.errors import (
    AbortedByPeer,
    BadShare,
    Equivocation,
    InternalError,
    Refused,
    SchemaViolation,
)
from tss.session import Round0

# -- aborts ------------------------------------------------------------------------------------------------------


def test_a_peers_abort_ends_the_session_without_an_answer():
    solo = entered()
    said = len(solo.log)
    solo.hear(solo.abort(2))
    assert isinstance(solo.session.error, AbortedByPeer)
    assert (solo.session.error.by, solo.session.error.reason) == (2, "Timeout: said the test")
    assert len(solo.log) == said


@pytest.mark.parametrize("started", [False, True])
def test_an_abort_of_a_party_that_took_no_part_is_a_refusal(started):
    solo = Solo()
    if started:
        solo.start()
    solo.hear(solo.acceptance(3), solo.abort(2))
    assert type(solo.session.error) is Refused
    assert (solo.session.error.by, solo.session.error.reason) == (2, "Timeout: said the test")


def test_an_abort_of_a_party_that_accepted_is_none():
    solo = Solo()
    solo.start()
    solo.hear(solo.acceptance(2), solo.abort(2))
    assert type(solo.session.error) is AbortedByPeer


def test_an_abort_in_the_session_is_no_refusal():
    solo = entered(waits(Receive(1, broadcast=NUMBER, echo=Echo.NONE)), round0=Round0.NONE)
    solo.hear(solo.abort(2))
    assert type(solo.session.error) is AbortedByPeer


WRONG_CONTROL = {
    Kind.ABORT: [None, ["Timeout"], ["Timeout", "x" * 501], ["T" * 65, "x"], ["Timeout", b"x"], ["Timeout", "x", 1]],
    Kind.COMPLAINT: [
        None, [["holder", 3], "check"], ["holder", "check", b""], [["holder"], "check", b""], [["holder", 3], "c" * 129, b""],
        [["holder", 3], "check", None], [["holder", 3], b"check", b""],
    ],
    Kind.SHOW: [None, [], [b"x"], [[b"x"]], [[b"no body", bytes(64)]]],
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "value"),
    [(kind, value) for kind, values in WRONG_CONTROL.items() for value in values],
    ids=lambda v: repr(v)[:30],
)
def test_a_wrong_abort_complaint_or_show_is_blamed(kind, value):
    solo = entered()
    wrong = solo.body(3, 0, value, kind=kind)
    solo.hear(wrong)
    assert_blames(solo, 3, SchemaViolation, f"test.{kind}.schema")
    assert read_evidence(solo.session.error, solo.identities).messages == (wrong,)


# -- complaints --------------------------------------------------------------------------------------------------


def test_a_complaint_ends_the_session_and_blames_nobody():
    solo = entered()
    said = len(solo.log)
    solo.hear(solo.complaint(2, 3, b"", check="test.r1.share"))
    assert isinstance(solo.session.error, AbortedByPeer)
    assert (solo.session.error.by, solo.session.error.reason) == (2, "complains about party 3: test.r1.share")
    assert len(solo.log) == said


def evidence_of(*bodies: Body) -> bytes:
    shown = [signed(body).as_value() for body in bodies]
    return encode(["evidence/v1", TINY.proto, [], ["holder", 3], "check", shown])


def test_two_versions_in_a_complaint_prove_themselves():
    solo = entered()
    first, second = solo.said(3, 1, bytes(32)), solo.said(3, 1, b"\x01" * 32)
    solo.hear(solo.complaint(2, 3, evidence_of(first, second)))
    assert_blames(solo, 3, Equivocation, "test.r1.msg")
    assert holds(solo, first, second)


def test_a_version_in_a_complaint_and_another_at_hand_prove_themselves():
    """Whoever complains: the versions speak, and the accuser may be the one who signed both."""
    solo = entered()
    first, second = solo.said(3, 1, bytes(32)), solo.said(3, 1, b"\x01" * 32)
    solo.hear(first)
    solo.hear(solo.complaint(3, 2, evidence_of(second)))
    assert_blames(solo, 3, Equivocation, "test.r1.msg")


@pytest.mark.parametrize(
    "evidence",
    [
        lambda solo: evidence_of(solo.said(3, 1, bytes(32)), solo.said(3, 2, b"\x01" * 32)),
        lambda solo: evidence_of(*(replace(solo.said(3, 1, v), sid=b"\x01" * 32) for v in (1, 2))),
        lambda solo: evidence_of(*(replace(solo.said(3, 1, v), proto="other") for v in (1, 2))),
        lambda solo: evidence_of(*(solo.body(3, 1, v, kind=Kind.ABORT) for v in (1, 2))),
        lambda solo: evidence_of(solo.said(3, 1, 1))[:-1],
        lambda _solo: encode(["evidence/v1", TINY.proto, [], ["holder", 3], "check", [[b"no body", bytes(64)]]]),
        lambda solo: encode(
            ["evidence/v1", TINY.proto, [], ["holder", 3], "check",
             [[solo.said(3, 1, v).encode(), bytes(64)] for v in (1, 2)]]
        ),
    ],
    ids=["two slots", "another session", "another suite", "two aborts", "cut", "no body", "not signed"],
)  # fmt: skip
def test_other_evidence_in_a_complaint_blames_nobody(evidence):
    solo = entered()
    solo.hear(solo.complaint(2, 3, evidence(solo)))
    assert isinstance(solo.session.error, AbortedByPeer)


def test_a_second_message_under_the_own_identity_is_a_fault_of_this_node():
    """A second node with this identity, or a restored copy: nobody else is to blame."""
    solo = entered()
    (own,) = solo.sent(Kind.MSG, 1)
    copy = replace(own, payload=encode([None, bytes(32)]))
    solo.hear(solo.complaint(2, 1, evidence_of(copy)))
    assert isinstance(solo.session.error, InternalError)
    assert "a second node runs with it" in str(solo.session.error)
    assert solo.sent()[-1].kind is Kind.ABORT


# -- what a fault tells ------------------------------------------------------------------------------------------


def found(error: Exception, **options: Any) -> Solo:
    """A session whose protocol finds `error` after round 1."""

    def program(_ctx):
        yield Send(1, 1, p2p={party: [party.index] for party in _ctx.others})
        yield Receive(1, broadcast=NUMBER, p2p=PRIVATE, echo=Echo.BLOCKING)
        raise error

    solo = entered(program, **options)
    for j in (2, 3):
        solo.hear(solo.said(j, 1, j), solo.told(j, 1, [j]))
    solo.hear(solo.echo(2, 1), solo.echo(3, 1))
    return solo


def test_the_evidence_of_a_fault_holds_what_a_third_party_needs():
    """All broadcasts and echoes, the accused's message to the accuser opened, and the preimage of the sid."""
    solo = found(BadShare("wrong").blame(3, "test.r1.share"))
    assert_blames(solo, 3, BadShare, "test.r1.share")
    case = read_evidence(solo.session.error, solo.identities)
    assert case.sid == solo.session.sid
    assert case.accused == holder(3)
    broadcasts = [(body.sender.index, body.kind, body.round) for body in case.messages if body.to is None]
    expected = [
        (j, kind, r)
        for j in (1, 2, 3)
        for kind, r in ((Kind.MSG, 0), (Kind.ECHO, 0), (Kind.MSG, 1), (Kind.ECHO, 1))
    ]
    assert sorted(broadcasts) == sorted(expected)
    assert [body for body in case.messages if body.to is not None] == [solo_told(solo)]


def solo_told(solo: Solo) -> Body:
    return Body(TINY.proto, solo.scope, 1, Kind.MSG, holder(3), holder(1), encode([3]))


def test_the_evidence_of_a_fault_holds_messages_of_slots_only():
    """What this party showed, or said to one peer, proves nothing about another."""

    def program(ctx):
        yield Send(1, 1, p2p={party: [party.index] for party in ctx.others})
        yield Receive(1, broadcast=NUMBER, echo=Echo.BLOCKING)
        raise BadShare("wrong").blame(3, "test.r1.share")

    solo = entered(program)
    solo.hear(solo.show(2, 0, solo.sent(Kind.MSG, 0), sid=PH))
    assert len(solo.sent(Kind.SHOW)) == 1
    for j in (2, 3):
        solo.hear(solo.said(j, 1, j))
    solo.hear(solo.echo(2, 1), solo.echo(3, 1))
    case = read_evidence(solo.session.error, solo.identities)
    assert {(body.kind, body.to) for body in case.messages} == {(Kind.MSG, None), (Kind.ECHO, None)}


def test_evidence_that_a_fault_brings_is_told_as_it_is():
    fault = BadShare("wrong").blame(3, "test.r1.share")
    fault.evidence = evidence_of()
    solo = found(fault)
    assert fault.evidence == evidence_of()
    assert decode(solo.sent()[-1].payload, Anything(TINY.group))[2] == evidence_of()


@pytest.mark.parametrize("peer", [None, 1, 9])
def test_a_fault_that_names_no_peer_is_told_as_an_abort(peer):
    fault = BadShare("wrong")
    fault.peer, fault.check = peer, "check"
    solo = found(fault)
    assert solo.session.error is fault
    assert solo.sent()[-1].kind is Kind.ABORT
    assert fault.evidence is None


def test_a_long_check_is_cut():
    solo = found(BadShare("wrong").blame(3, "c" * 200))
    assert decode(solo.sent()[-1].payload, Anything(TINY.group))[1] == "c" * 128


def test_evidence_that_no_envelope_holds_stays_here(monkeypatch):
    for spare in (0, -1):
        fault = BadShare("wrong").blame(3, "test.r1.share")
        fault.evidence = evidence_of()
        with monkeypatch.context() as patch:
            patch.setattr(tss.speaker, "MAX_ENVELOPE_BYTES", len(fault.evidence) + 1024 + spare)
            solo = found(fault)
        told = decode(solo.sent()[-1].payload, Anything(TINY.group))[2]
        assert told == (evidence_of() if spare == 0 else b"")
        assert solo.session.error is fault


def test_the_largest_complaint_fits_into_an_envelope():
    """1024 bytes are room for the longest names of everything that stands beside the evidence."""
    fault = BadShare("wrong").blame(3, "c" * 128)
    fault.evidence = bytes(8 * 1024 * 1024 - 1024)
    solo = found(fault)
    assert isinstance(solo.session.error, BadShare)
    assert solo.sent()[-1].kind is Kind.COMPLAINT
    out = [item for what, item in solo.log if what == "post"][-1]
    assert outgoing_body(out) == solo.sent()[-1]


def test_a_fault_before_anything_is_stored_can_be_told():
    def program(_ctx):
        yield Persist("record")
        raise BadShare("wrong").blame(2, "check")

    solo = Solo(program, round0=Round0.NONE)
    solo.start()
    assert_blames(solo, 2, BadShare, "check")
    assert read_evidence(solo.session.error, solo.identities).messages == ()


def test_evidence_names_its_receiver_and_the_sender_only():
    """A message of a third party to the accuser proves nothing about the accused, and is nobody else's business."""
    solo = found(BadShare("wrong").blame(2, "test.r1.share"))
    case = read_evidence(solo.session.error, solo.identities)
    assert [body.sender for body in case.messages if body.to is not None] == [holder(2)]
