"""What a session does with each kind of wrong message (protocol.md 0.8, 4.1): whom it blames, and whom it does not."""

from __future__ import annotations

from collections.abc import Callable
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
    read_evidence,
    signed,
    waits,
)
from session_testing import LEADING_ZERO, NEGATIVE_ZERO, Anything, encode_any, identity_of
from tss_testing import TINY

from tss.effects import Echo, Receive, Send
from tss.encoding import PointOf, decode, encode
from tss.envelope import Body, Kind, holder, pack, seal, sign
from tss.errors import (
    AbortedByPeer,
    BadPoint,
    Equivocation,
    SchemaViolation,
)
from tss.session import Round0

BOTH = [Round0.BLOCKING, Round0.WITH_ROUND_1]


# -- acceptances -------------------------------------------------------------------------------------------------

EPK = Solo().keys[holder(2)].public_key().public_bytes_raw()
WRONG_ACCEPTANCES = [
    [bytes(31), EPK], [bytes(33), EPK], [bytes(32), EPK[:31]], [bytes(32), EPK + b"x"], [bytes(32)],
    [bytes(32), EPK, EPK], [bytes(32), "x" * 32], None, [bytes(32), bytes(32)], [bytes(32), b"\x01" + bytes(31)],
]  # fmt: skip


@pytest.mark.parametrize("round0", BOTH, ids=str)
@pytest.mark.parametrize("value", WRONG_ACCEPTANCES, ids=lambda v: repr(v)[:40])
def test_a_wrong_acceptance_is_blamed(value, round0):
    solo = Solo(round0=round0)
    solo.start()
    wrong = solo.body(3, 0, value)
    solo.hear(solo.acceptance(2), wrong)
    if round0 is Round0.BLOCKING:
        assert solo.session.error is None, "acceptances are read when all have seen the same"
        solo.hear(solo.echo0(2), solo.echo0(3))
    assert_blames(solo, 3, SchemaViolation, "test.r0.schema")
    assert holds(solo, wrong)
    assert solo.session.sid is None
    assert read_evidence(solo.session.error, solo.identities).sid is None


def test_of_two_wrong_acceptances_the_first_party_is_blamed():
    solo = Solo(round0=Round0.WITH_ROUND_1)
    solo.start()
    solo.hear(solo.body(3, 0, None), solo.body(2, 0, None))
    assert_blames(solo, 2, SchemaViolation, "test.r0.schema")


# -- a round's messages ------------------------------------------------------------------------------------------

ROUND_1: dict[str, Callable[[Solo, Any], Body]] = {
    "broadcast": lambda solo, value: replace(solo.said(3, 1, None), payload=encode_any([None, value])),
    "private": lambda solo, value: replace(solo.told(3, 1, None), payload=encode_any(value)),
}


@pytest.mark.parametrize(
    ("form", "value"),
    [
        ("broadcast", bytes(31)), ("broadcast", bytes(33)), ("broadcast", "text"), ("broadcast", None), ("broadcast", []),
        ("private", 1), ("private", [1, 1]), ("private", []), ("private", [-1]), ("private", [1 << 16]),
        ("private", [NEGATIVE_ZERO]), ("private", [LEADING_ZERO]), ("private", [b"1"]), ("private", None),
    ],
    ids=repr,
)  # fmt: skip
def test_a_signed_message_with_a_wrong_schema_is_blamed(form, value):
    solo = entered()
    wrong = ROUND_1[form](solo, value)
    solo.hear(solo.said(2, 1, bytes(32)), solo.told(2, 1, [1]))
    solo.hear(
        *(
            ROUND_1[other](solo, [1] if other == "private" else bytes(32))
            for other in ROUND_1
            if other != form
        )
    )
    assert solo.session.error is None
    solo.hear(wrong)
    assert_blames(solo, 3, SchemaViolation, "test.r1.schema")
    assert holds(solo, wrong)


def test_bytes_behind_a_message_are_blamed():
    solo = entered(waits(Receive(1, broadcast=NUMBER)), n=2)
    good = solo.said(2, 1, 5)
    solo.hear(replace(good, payload=good.payload + b"\x00"))
    assert_blames(solo, 2, SchemaViolation, "test.r1.schema")


def test_a_point_off_the_curve_is_blamed():
    solo = entered(waits(Receive(1, broadcast=PointOf(TINY.group))), n=2)
    size = TINY.group.point_bytes
    point = bytes([TINY.group.point_tag]) + size.to_bytes(4, "big") + b"\xff" * size
    listed = b"\x00\x00\x00\x02" + encode(None) + point
    solo.hear(replace(solo.said(2, 1, 0), payload=b"\x06" + len(listed).to_bytes(4, "big") + listed))
    assert_blames(solo, 2, BadPoint, "test.r1.schema")


def test_of_two_wrong_messages_the_first_party_is_blamed():
    solo = entered(waits(Receive(1, broadcast=NUMBER)))
    solo.hear(solo.said(3, 1, b"wrong"), solo.said(2, 1, b"wrong"))
    assert_blames(solo, 2, SchemaViolation, "test.r1.schema")


def test_messages_that_no_round_asks_for_are_not_read():
    solo = entered(
        waits(
            Receive(1, broadcast=NUMBER, echo=Echo.NONE),
            Receive(2, p2p=PRIVATE),
            Receive(3, broadcast=NUMBER),
        ),
        n=2,
    )
    solo.hear(solo.told(2, 1, "unasked"), solo.said(2, 2, "unasked"), solo.body(2, 9, "unasked"))
    solo.hear(solo.said(2, 1, 5, kind=Kind.DONE))
    solo.hear(solo.said(2, 1, 1), solo.told(2, 2, [2]))
    assert (solo.session.phase, solo.session.error) == ("test.r3", None)


def test_what_a_protocol_gets_of_a_message():
    solo = entered(waits(Receive(1, broadcast=NUMBER, p2p=PRIVATE, echo=Echo.NONE)), n=2)
    broadcast, private = solo.said(2, 1, 5), solo.told(2, 1, [6])
    solo.hear(private, broadcast)
    received = solo.session.result[0][holder(2)]
    assert (received.broadcast, received.p2p) == (5, [6])
    assert (received.signed_broadcast, received.signed_p2p) == (signed(broadcast), signed(private))
    assert "[6]" not in repr(received)


def test_a_round_without_private_messages_gives_none():
    solo = entered(waits(Receive(1, broadcast=NUMBER, echo=Echo.NONE), Receive(2, p2p=PRIVATE)), n=2)
    solo.hear(solo.said(2, 1, 5), solo.told(2, 2, [6]))
    first, second = (got[holder(2)] for got in solo.session.result)
    assert (first.broadcast, first.p2p, second.broadcast, second.p2p) == (5, None, None, [6])


# -- echoes ------------------------------------------------------------------------------------------------------


def wrong_echoes(solo: Solo, round_: int, sid: bytes) -> dict[str, Any]:
    """Values that are no echo of a round."""
    digest, listed = solo.record(round_, sid=sid).as_value()
    fewer = solo.record(round_, sid=sid)
    return {
        "digest": [bytes(32), listed],
        "order": [digest, listed[::-1]],
        "fewer": [digest, listed[1:]],
        "empty": [digest, []],
        "another round": replace(fewer, digest=solo.record(9).digest).as_value(),
        "text": "echo",
        "short": [digest[:31], listed],
    }


WRONG_ECHOES = ["digest", "order", "fewer", "empty", "another round", "text", "short"]


@pytest.mark.parametrize("what", WRONG_ECHOES)
@pytest.mark.parametrize("round0", BOTH, ids=str)
def test_a_wrong_echo_of_round_0_is_blamed(what, round0):
    solo = Solo(round0=round0)
    solo.start()
    solo.hear(solo.acceptance(2), solo.acceptance(3))
    solo.hear(solo.echo0(2))
    wrong = solo.body(3, 0, wrong_echoes(solo, 0, PH)[what], kind=Kind.ECHO, sid=PH)
    solo.hear(wrong)
    assert_blames(solo, 3, SchemaViolation, "test.r0.echo")
    assert holds(solo, wrong)


def with_round_2(solo: Solo) -> None:
    """Round 1 is said, and the jobs are done."""
    for j in (2, 3):
        solo.hear(solo.said(j, 1, bytes([j]) * 32), solo.told(j, 1, [1]))
    solo.completed()
    assert solo.session.phase == "test.r2"


@pytest.mark.parametrize("what", WRONG_ECHOES)
def test_a_wrong_blocking_echo_is_blamed(what):
    solo = entered()
    with_round_2(solo)
    echo = solo.record(1)
    solo.hear(solo.said(2, 2, 2, echo=echo), solo.said(3, 2, 3, echo=echo))
    solo.hear(solo.echo(2, 2))
    wrong = solo.body(3, 2, wrong_echoes(solo, 2, solo.scope)[what], kind=Kind.ECHO)
    solo.hear(wrong)
    assert_blames(solo, 3, SchemaViolation, "test.r2.echo")
    assert holds(solo, wrong)


@pytest.mark.parametrize("what", ["digest", "order", "fewer", "another round"])
def test_a_wrong_travelling_echo_is_blamed(what):
    solo = entered()
    with_round_2(solo)
    value = [wrong_echoes(solo, 1, solo.scope)[what], 3]
    wrong = solo.body(3, 2, value)
    solo.hear(solo.said(2, 2, 2, echo=solo.record(1)), wrong)
    solo.hear(solo.echo(2, 2), solo.echo(3, 2))
    assert_blames(solo, 3, SchemaViolation, "test.r1.echo")
    assert holds(solo, wrong)


@pytest.mark.parametrize("what", ["text", "short", "empty"])
def test_what_is_not_even_like_an_echo_is_blamed(what):
    solo = entered()
    with_round_2(solo)
    solo.hear(solo.said(2, 2, 2, echo=solo.record(1)))
    solo.hear(solo.body(3, 2, [wrong_echoes(solo, 1, solo.scope)[what], 3]))
    solo.hear(solo.echo(2, 2), solo.echo(3, 2))
    assert_blames(solo, 3, SchemaViolation, "test.r2.schema")


def test_a_missing_echo_is_blamed():
    solo = entered()
    with_round_2(solo)
    solo.hear(solo.said(2, 2, 2, echo=solo.record(1)), solo.said(3, 2, 3))
    solo.hear(solo.echo(2, 2), solo.echo(3, 2))
    assert_blames(solo, 3, SchemaViolation, "test.r2.schema")
    assert "no echo where one is due" in str(solo.session.error)


def test_an_echo_that_nobody_asked_for_is_blamed():
    solo = entered()
    solo.hear(solo.said(2, 1, bytes(32)), solo.told(2, 1, [1]), solo.told(3, 1, [1]))
    solo.hear(solo.said(3, 1, bytes(32), echo=solo.record(0, sid=PH)))
    assert_blames(solo, 3, SchemaViolation, "test.r1.schema")
    assert "an echo where none is due" in str(solo.session.error)


def test_an_echo_stays_due_until_the_next_broadcast():
    solo = entered(
        waits(
            Receive(1, broadcast=NUMBER), Receive(2, p2p=PRIVATE), Receive(3, broadcast=NUMBER, echo=Echo.NONE),
            sends=[Send(1, 1)],
        ),
        n=2,
    )  # fmt: skip
    solo.hear(solo.said(2, 1, 1), solo.told(2, 2, [2]))
    assert solo.session.phase == "test.r3"
    solo.hear(solo.said(2, 3, 3))
    assert_blames(solo, 2, SchemaViolation, "test.r3.schema")


def test_the_own_echo_travels_in_the_next_broadcast_and_only_there():
    def program(ctx):
        yield Send(1, 1)
        yield Receive(1, broadcast=NUMBER, echo=Echo.NEXT)
        yield Send(2, p2p={j: [2] for j in ctx.others})
        yield Send(3, 3)
        yield Send(4, 4)
        yield Receive(3, broadcast=NUMBER, echo=Echo.NONE)

    solo = entered(program, n=2)
    solo.hear(solo.said(2, 1, 1))
    values = [decode(body.payload, Anything(TINY.group)) for body in solo.sent(Kind.MSG) if body.round]
    assert values == [[None, 1], [solo.record(1).as_value(), 3], [None, 4]]
    solo.hear(solo.said(2, 3, 3, echo=solo.record(1)))
    assert solo.session.finished
    assert solo.session.error is None


def test_an_echo_covers_this_party_only_when_it_spoke():
    receive = Receive(1, broadcast=NUMBER, senders=[holder(3)], echo=Echo.BLOCKING)
    for sends, covered in (([], [3]), ([Send(1, 1)], [1, 3])):
        solo = entered(waits(receive, sends=sends))
        solo.hear(solo.said(3, 1, 5))
        (echo,) = solo.sent(Kind.ECHO, 1)
        listed = decode(echo.payload, Anything(TINY.group))[1]
        assert [party[1] for party, _ in listed] == covered


# -- duplicates and second versions ------------------------------------------------------------------------------


@pytest.mark.fault(3)
def test_exact_duplicates_are_ignored():
    solo = Solo()
    solo.start()
    for body in (solo.acceptance(2), solo.acceptance(3)):
        solo.hear(body, body)
    solo.hear(solo.echo0(2), solo.echo0(2))
    solo.hear(solo.echo0(3))
    for body in (solo.said(2, 1, bytes(32)), solo.told(2, 1, [1])):
        solo.hear(body, body)
    assert solo.session.error is None
    assert len(solo.sent(Kind.MSG, 1)) == 1


SECONDS: dict[str, Callable[[Solo], tuple[Body, Body, str]]] = {
    "broadcast": lambda solo: (solo.said(3, 1, bytes(32)), solo.said(3, 1, b"\x01" * 32), "test.r1.msg"),
    "private": lambda solo: (solo.told(3, 1, [1]), solo.told(3, 1, [2]), "test.r1.msg"),
    "ahead": lambda solo: (solo.said(3, 2, 1), solo.said(3, 2, 2), "test.r2.msg"),
    "echo": lambda solo: (
        solo.echo(3, 1), solo.echo(3, 1, solo.record(1, other={3: b"x"})), "test.r1.echo",
    ),
    "done": lambda solo: (
        solo.said(3, 15, bytes(32), kind=Kind.DONE), solo.said(3, 15, b"\x01" * 32, kind=Kind.DONE), "test.r15.done",
    ),
    "acceptance": lambda solo: (
        solo.acceptance(3), solo.acceptance(3, nonce=bytes(32)), "test.r0.msg",
    ),
    "session key": lambda solo: (
        solo.acceptance(3), solo.acceptance(3, epk=b"\x09" + bytes(31)), "test.r0.msg",
    ),
    "echo of round 0": lambda solo: (
        solo.echo0(3), solo.echo0(3, solo.record(0, sid=PH, other={2: b"x"})), "test.r0.echo",
    ),
}  # fmt: skip


@pytest.mark.fault(3)
@pytest.mark.parametrize("what", SECONDS)
def test_a_second_version_is_an_equivocation(what):
    solo = entered()
    solo.hear(solo.said(2, 1, bytes(32)))
    first, second, check = SECONDS[what](solo)
    solo.hear(first)
    assert solo.session.error is None
    solo.hear(second)
    assert_blames(solo, 3, Equivocation, check)
    assert set(read_evidence(solo.session.error, solo.identities).messages) == {first, second}
    assert read_evidence(solo.session.error, solo.identities).equivocates()


def test_a_second_acceptance_before_the_start_is_an_equivocation():
    solo = Solo()
    solo.hear(solo.acceptance(3), solo.acceptance(3, nonce=bytes(32)))
    assert_blames(solo, 3, Equivocation, "test.r0.msg")


def test_versions_that_came_early_are_an_equivocation():
    known = entered(seed="early")
    solo = Solo(seed="early")
    solo.start()
    for value in (bytes(32), b"\x01" * 32):
        solo.take(known.envelope(known.said(3, 1, value)))
    solo.enter(start=False)
    assert_blames(solo, 3, Equivocation, "test.r1.msg")


@pytest.mark.fault(4)
def test_what_comes_early_is_used():
    known = entered(waits(Receive(1, broadcast=NUMBER, echo=Echo.NONE)), seed="early")
    solo = Solo(waits(Receive(1, broadcast=NUMBER, echo=Echo.NONE)), seed="early")
    solo.take(known.envelope(known.said(3, 1, 3)))
    solo.start()
    solo.take(known.envelope(known.said(2, 1, 2)))
    solo.enter(start=False)
    assert {party.index: got.broadcast for party, got in solo.session.result[0].items()} == {2: 2, 3: 3}


def test_nothing_that_came_early_is_taken_after_the_end():
    known = entered(seed="early")
    solo = Solo(seed="early")
    solo.start()
    solo.take(known.envelope(known.abort(2)))
    solo.take(known.envelope(known.abort(3)))
    solo.enter(start=False)
    assert isinstance(solo.session.error, AbortedByPeer)
    assert solo.session.error.by == 2


# -- anybody's garbage -------------------------------------------------------------------------------------------


def test_what_is_not_validly_signed_here_blames_nobody():
    solo = entered()
    good, private = solo.said(3, 1, bytes(32)), solo.told(3, 1, [1])
    mallory = identity_of(holder(99))
    dropped = {
        "malformed": b"garbage",
        "signature": pack(sign(good, mallory.sign)),
        "sid": pack(signed(replace(good, sid=b"\x01" * 32))),
        "stranger": pack(sign(replace(good, sender=holder(99)), mallory.sign)),
        "own": pack(signed(replace(good, sender=holder(1)))),
        "round": pack(signed(replace(good, sid=PH))),
        "kind": pack(signed(replace(good, kind=Kind.HELLO))),
        "unsealed": pack(signed(private)),
        "recipient": seal(signed(replace(private, to=holder(2))), solo.epk),
    }
    for envelope in dropped.values():
        assert solo.take(envelope) == []
    assert solo.session.dropped == dict.fromkeys(dropped, 1)
    solo.hear(good, private, solo.said(2, 1, bytes(32)), solo.told(2, 1, [1]))
    assert solo.session.phase == "test.computing"
