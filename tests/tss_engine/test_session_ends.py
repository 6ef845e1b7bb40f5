"""Phases, deadlines and ends of a session (protocol.md 0.7, 0.8): who is waited for, what is told, what is erased."""

from __future__ import annotations

from dataclasses import replace

import pytest
from engine_testing import PH, Solo, outgoing_body, rounds, waits
from session_testing import Anything, run_committee, silent
from tss_testing import TINY

from tss.effects import Compute, Durable, Echo, Receive, Send, SendDurably
from tss.encoding import Bytes, decode
from tss.envelope import Kind, holder
from tss.errors import AbortedByPeer, Degenerate, Refused, SessionClosed, Timeout
from tss.session import Round0

BOTH = [Round0.BLOCKING, Round0.WITH_ROUND_1]


# -- phases and deadlines ----------------------------------------------------------------------------------------


def state(solo: Solo) -> tuple[str, list[int]]:
    return solo.session.phase, [party.index for party in solo.session.waiting_for]


def test_phases_and_who_is_waited_for():
    solo = Solo()
    assert state(solo) == ("test.r0", [2, 3])
    solo.start()
    assert state(solo) == ("test.r0", [2, 3])
    solo.hear(solo.acceptance(2))
    assert state(solo) == ("test.r0", [3])
    solo.hear(solo.acceptance(3))
    assert state(solo) == ("test.r0", [2, 3])
    solo.hear(solo.echo0(3))
    assert state(solo) == ("test.r0", [2])
    solo.hear(solo.echo0(2))
    assert state(solo) == ("test.r1", [2, 3])
    solo.hear(solo.said(2, 1, b"2" * 32))
    assert state(solo) == ("test.r1", [2, 3])
    solo.hear(solo.told(2, 1, [1]), solo.told(3, 1, [1]))
    assert state(solo) == ("test.r1", [3])
    solo.hear(solo.said(3, 1, b"3" * 32))
    assert state(solo) == ("test.computing", [])
    solo.completed()
    assert state(solo) == ("test.r2", [2, 3])
    echo = solo.record(1)
    solo.hear(solo.said(3, 2, 3, echo=echo), solo.said(2, 2, 2, echo=echo))
    assert state(solo) == ("test.r2", [2, 3])
    solo.hear(solo.echo(3, 2))
    assert state(solo) == ("test.r2", [2])
    solo.hear(solo.echo(2, 2))
    assert state(solo) == ("test.done", [2, 3])
    solo.hear(solo.said(2, 15, b"d" * 32, kind=Kind.DONE))
    assert state(solo) == ("test.done", [3])
    solo.hear(solo.said(3, 15, b"d" * 32, kind=Kind.DONE))
    assert state(solo) == ("ended", [])
    assert solo.session.result == 6 + 2


def test_with_round_1_the_echo_of_round_0_is_waited_for_as_well():
    solo = Solo(round0=Round0.WITH_ROUND_1)
    solo.start()
    assert state(solo) == ("test.r0", [2, 3])
    solo.hear(solo.acceptance(2), solo.acceptance(3))
    assert state(solo) == ("test.r1", [2, 3])
    assert len(solo.sent(Kind.ECHO, 0)) == len(solo.sent(Kind.MSG, 1)) == 1
    for j in (2, 3):
        solo.hear(solo.said(j, 1, bytes(32)), solo.told(j, 1, [1]))
    assert state(solo) == ("test.r1", [2, 3])
    solo.hear(solo.echo0(2))
    assert state(solo) == ("test.r1", [3])
    assert solo.session.jobs == ()
    solo.hear(solo.echo0(3))
    assert state(solo) == ("test.computing", [])


def test_acceptances_that_came_before_the_start_count():
    solo = Solo()
    solo.hear(solo.acceptance(2), solo.acceptance(3))
    assert solo.sent() == []
    assert state(solo) == ("test.r0", [])
    solo.start()
    assert [body.kind for body in solo.sent()] == [Kind.MSG, Kind.ECHO]
    solo.hear(solo.echo0(2), solo.echo0(3))
    assert state(solo) == ("test.r1", [2, 3])


def test_the_echo_that_goes_with_round_1_does_not_wait_for_it():
    """And while this party computes it waits for nobody."""

    def program(_ctx):
        yield Compute([lambda: 1])

    solo = Solo(program, round0=Round0.WITH_ROUND_1)
    solo.start()
    solo.hear(solo.acceptance(2), solo.acceptance(3))
    assert state(solo) == ("test.computing", [])
    solo.completed()
    assert solo.session.finished
    assert [body.kind for body in solo.sent()] == [Kind.MSG, Kind.ECHO]


def test_only_the_senders_of_a_round_are_waited_for():
    solo = Solo(waits(Receive(1, broadcast=Bytes(1), senders=[holder(3)], echo=Echo.NONE)), n=4)
    solo.enter()
    assert state(solo) == ("test.r1", [3])
    solo.hear(solo.said(2, 1, b"x"), solo.said(4, 1, b"y"))
    assert state(solo) == ("test.r1", [3])
    solo.hear(solo.said(3, 1, b"z"))
    assert list(solo.session.result[0]) == [holder(3)]


@pytest.mark.parametrize(
    ("kind", "round_", "phase"),
    [
        (Kind.MSG, 0, "test.r0"), (Kind.ECHO, 0, "test.r0"), (Kind.MSG, 1, "test.r1"), (Kind.MSG, 2, "test.r2"),
        (Kind.ECHO, 2, "test.r2"), (Kind.DONE, 15, "test.done"),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("round0", BOTH, ids=str)
def test_a_deadline_names_the_silent_and_blames_nobody(kind, round_, phase, round0):
    if (kind, round_, round0) == (Kind.ECHO, 0, Round0.WITH_ROUND_1):
        phase = "test.r1"
    run = run_committee(
        dict.fromkeys((1, 2, 3), rounds), 5, round0=round0, drop=silent(3, kind=kind, round_=round_)
    )
    for party in (1, 2):
        error = run[party].error
        assert isinstance(error, Timeout)
        assert (error.silent, error.phase) == ((3,), phase)


def test_a_deadline_names_who_kept_a_private_message_back():
    run = run_committee(dict.fromkeys((1, 2, 3), rounds), 5, drop=silent(3, kind=Kind.MSG, round_=1, to=2))
    error = run[2].error
    assert isinstance(error, Timeout)
    assert error.silent == (3,)
    run.assert_no_blame(Timeout)


def test_a_deadline_while_computing_names_nobody():
    def program(_ctx):
        yield Compute([lambda: 1])

    solo = Solo(program, round0=Round0.NONE)
    solo.start()
    solo.expire()
    assert isinstance(solo.session.error, Timeout)
    assert (solo.session.error.silent, solo.session.error.phase) == ((), "test.computing")


def test_a_session_that_ended_in_round_0_waits_for_nobody():
    solo = Solo()
    solo.start()
    solo.expire()
    assert state(solo) == ("ended", [])


def test_a_deadline_may_pass_before_the_start():
    solo = Solo()
    solo.hear(solo.acceptance(3))
    solo.expire()
    assert isinstance(solo.session.error, Timeout)
    assert solo.session.error.silent == (2,)
    with pytest.raises(SessionClosed):
        solo.start()


@pytest.mark.attack("A5")
@pytest.mark.parametrize("round0", BOTH, ids=str)
@pytest.mark.parametrize(
    ("options", "phase"),
    [({"tails": {3: [b"other path"]}}, "test.r1"), ({"phs": {3: b"\x71" * 32}}, "test.r0")],
    ids=["tail", "proposal"],
)
def test_parties_that_mean_different_things_never_meet(options, phase, round0):
    """Their ids differ: what one says the other drops, and nobody is at fault."""
    run = run_committee(dict.fromkeys((1, 2, 3), rounds), 1, round0=round0, **options)
    run.assert_no_blame(Timeout)
    for node in run.nodes.values():
        assert isinstance(node.error, Timeout)
        assert node.error.phase == phase
        assert not [record for record in node.records if isinstance(record, Durable)]


# -- ends --------------------------------------------------------------------------------------------------------


def ended_by(how: str) -> tuple[Solo, list[str]]:
    """A session that ended, and what its protocol did last."""
    last: list[str] = []

    def program(ctx):
        try:
            yield from rounds(ctx)
        finally:
            last.append("erased")

    solo = Solo(program)
    solo.enter()
    if how == "result":
        for j in (2, 3):
            solo.hear(solo.said(j, 1, bytes(32)), solo.told(j, 1, [1]))
        solo.completed()
        echo = solo.record(1)
        solo.hear(solo.said(2, 2, 2, echo=echo), solo.said(3, 2, 3, echo=echo))
        solo.hear(solo.echo(2, 2), solo.echo(3, 2))
        solo.hear(*(solo.said(j, 15, b"d" * 32, kind=Kind.DONE) for j in (2, 3)))
        assert solo.session.error is None
    elif how == "fault":
        solo.hear(solo.said(2, 1, bytes(31)))
        solo.hear(solo.told(2, 1, [1]), solo.said(3, 1, bytes(32)), solo.told(3, 1, [1]))
    elif how == "deadline":
        solo.expire()
    elif how == "abort":
        solo.hear(solo.abort(2))
    return solo, last


@pytest.mark.attack("D9")
@pytest.mark.parametrize("how", ["result", "fault", "deadline", "abort"])
def test_after_the_end_nothing_is_taken_said_or_kept(how):
    solo, last = ended_by(how)
    session, said = solo.session, len(solo.log)
    assert session.finished
    assert (session.error is None) == (how == "result")
    for call in (
        session.start, lambda: session.receive(b""), lambda: session.completed([]),
        lambda: solo.hear(solo.said(2, 1, b"x")),
    ):  # fmt: skip
        with pytest.raises(SessionClosed):
            call()
    assert session.expire() == session.abort(Degenerate("late")) == []
    assert (session.phase, session.waiting_for, session.jobs) == ("ended", (), ())
    assert len(solo.log) == said
    assert last == ["erased"]
    assert session._mail.key is None
    assert session._mail.slots == {}


def test_the_reason_of_an_own_end_is_told_to_all():
    solo = Solo()
    solo.enter()
    (out,) = solo.session.abort(Degenerate("r = 0"))
    body = outgoing_body(out)
    assert (body.sid, body.round, body.kind, body.to) == (solo.session.sid, 0, Kind.ABORT, None)
    assert decode(body.payload, Anything(TINY.group)) == ["Degenerate", "r = 0"]


def test_a_long_reason_is_cut_between_characters():
    solo = Solo()
    solo.start()
    (out,) = solo.session.abort(Degenerate("x" + "λ" * 400 + "\ud800"))
    text = decode(outgoing_body(out).payload, Anything(TINY.group))[1]
    assert text == "x" + "λ" * 249


def test_a_reason_is_cut_at_500_bytes():
    solo = Solo()
    solo.start()
    (out,) = solo.session.abort(Degenerate("x" * 501))
    assert decode(outgoing_body(out).payload, Anything(TINY.group))[1] == "x" * 500


def test_the_longest_reason_is_taken():
    solo = Solo()
    solo.enter()
    solo.hear(solo.body(2, 0, ["D" * 64, "r" * 500], kind=Kind.ABORT))
    assert isinstance(solo.session.error, AbortedByPeer)
    assert solo.session.error.reason == "D" * 64 + ": " + "r" * 500


def test_a_long_name_of_an_error_is_cut():
    solo = Solo()
    solo.start()
    (out,) = solo.session.abort(type("D" * 70, (Degenerate,), {})("r = 0"))
    assert decode(outgoing_body(out).payload, Anything(TINY.group))[0] == "D" * 64


def test_declining_before_the_start_is_a_refusal():
    solo, other = Solo(), Solo()
    (out,) = solo.session.abort(Degenerate("policy"))
    body = outgoing_body(out)
    assert (body.sid, body.kind) == (PH, Kind.ABORT)
    other.start()
    other.hear(replace(body, sender=holder(2)))
    assert isinstance(other.session.error, Refused)
    assert (other.session.error.by, other.session.error.reason) == (2, "Degenerate: policy")


def test_after_done_neither_abort_nor_complaint_nor_deadline_says_anything_or_ends_it():
    solo = Solo(waits(Receive(1, broadcast=Bytes(1), echo=Echo.NONE, kind=Kind.DONE),
                      sends=[SendDurably(1, b"x", record="state", kind=Kind.DONE)]))  # fmt: skip
    solo.enter()
    said = len(solo.log)
    solo.hear(solo.abort(2), solo.abort(3, sid=PH), solo.complaint(2, 3, b""))
    assert not solo.session.finished
    solo.hear(solo.said(2, 1, b"y", kind=Kind.DONE))
    assert state(solo) == ("test.done", [3])
    solo.expire()
    assert isinstance(solo.session.error, Timeout)
    assert len(solo.log) == said


def test_after_a_durable_message_that_is_not_done_an_abort_ends_it():
    solo = Solo(
        waits(Receive(1, broadcast=Bytes(1), echo=Echo.NONE), sends=[SendDurably(1, b"x", record="state")])
    )
    solo.enter()
    solo.hear(solo.abort(2))
    assert isinstance(solo.session.error, AbortedByPeer)


def test_done_that_was_not_made_durable_promises_nothing():
    solo = Solo(
        waits(
            Receive(1, broadcast=Bytes(1), echo=Echo.NONE, kind=Kind.DONE),
            sends=[Send(1, b"x", kind=Kind.DONE)],
        )
    )
    solo.enter()
    solo.hear(solo.abort(2))
    assert isinstance(solo.session.error, AbortedByPeer)


def test_after_done_a_fault_is_still_told():
    """A complaint stops nobody who said done, and tells the others who is at fault."""
    solo = Solo(waits(Receive(1, broadcast=Bytes(1), echo=Echo.NONE, kind=Kind.DONE),
                      sends=[SendDurably(1, b"x", record="state", kind=Kind.DONE)]))  # fmt: skip
    solo.enter()
    solo.hear(solo.said(2, 1, b"y", kind=Kind.DONE))
    (out,) = solo.hear(solo.said(2, 1, b"z", kind=Kind.DONE))
    assert outgoing_body(out).kind is Kind.COMPLAINT


def test_a_done_that_came_is_kept_while_another_withholds_its_own():
    run = run_committee(dict.fromkeys((1, 2, 3), rounds), 3, drop=silent(3, kind=Kind.DONE, to=1))
    assert isinstance(run[1].error, Timeout)
    assert run[2].result is not None
    assert run[3].result is not None
    assert [type(record) for record in run[1].records][-1] is Durable


def test_what_a_protocol_raises_while_it_is_closed_changes_nothing():
    def program(ctx):
        try:
            yield from rounds(ctx)
        finally:
            raise Degenerate("while closing")

    solo = Solo(program)
    solo.enter()
    said = len(solo.log)
    solo.hear(solo.abort(2))
    assert isinstance(solo.session.error, AbortedByPeer)
    assert len(solo.log) == said
