"""Anything may come: from the relay, from a member who signs it. Only ProtocolErrors come out, and nobody honest is blamed."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from engine_testing import NUMBER, Solo, rounds
from hypothesis import given, settings
from hypothesis import strategies as st
from session_testing import (
    LEADING_ZERO,
    NEGATIVE_ZERO,
    Anything,
    Committee,
    Raw,
    Tamper,
    encode_any,
    identity_of,
)
from tss_testing import TINY

from tss.effects import Echo, Receive, Send
from tss.encoding import decode, encode
from tss.envelope import Body, Kind, Sealed, holder, pack, seal, sign, unpack
from tss.errors import AbortedByPeer, InternalError, PeerFault, ProtocolError, Refused, SessionClosed, Timeout
from tss.session import Round0

DETERMINISTIC = settings(derandomize=True, deadline=None, max_examples=150)
BOTH = [Round0.BLOCKING, Round0.WITH_ROUND_1]
PROGRAMS = dict.fromkeys((1, 2, 3), rounds)


# -- the relay ---------------------------------------------------------------------------------------------------


def damaged(envelope: bytes, rng: random.Random) -> bytes:
    """The envelope with a bit, a byte, a piece or its end changed."""
    at = rng.randrange(len(envelope))
    choice = rng.randrange(5)
    if choice == 0:
        return envelope[:at] + bytes([envelope[at] ^ (1 << rng.randrange(8))]) + envelope[at + 1 :]
    if choice == 1:
        return envelope[:at]
    if choice == 2:
        return envelope + rng.randbytes(3)
    if choice == 3:
        return envelope[:at] + rng.randbytes(4) + envelope[at + 4 :]
    return envelope[:at] + envelope[at + 1 :]


class HostileRelay(Committee):
    """Delivers damaged copies, copies to the wrong party, copies of another session, and loses some."""

    loses = 0.0
    foreign: Sequence[bytes] = ()

    def send(self, envelope: bytes, recipient: Any) -> None:
        rng = self.random
        for _ in range(rng.randrange(3)):
            self._take(recipient, damaged(envelope, rng))
        if self.foreign and rng.random() < 0.3:
            self._take(recipient, rng.choice(self.foreign))
        if rng.random() < 0.2:
            self._take(rng.choice(list(self.nodes)), envelope)
        if rng.random() >= self.loses:
            super().send(envelope, recipient)

    def _take(self, recipient: Any, envelope: bytes) -> None:
        node = self[recipient]
        if node.session.finished:
            with pytest.raises(SessionClosed):
                node.session.receive(envelope)
        else:
            self.post(node, node.session.receive(envelope))


def recorded(seed: object, round0: Round0) -> list[bytes]:
    """All envelopes of another session of the same parties."""
    other = Committee(PROGRAMS, ("other", seed), round0=round0, ph=b"\x71" * 32)
    other.run().results()
    return [posted.envelope for posted in other.sent]


@pytest.mark.parametrize("round0", BOTH, ids=str)
def test_a_relay_that_damages_repeats_and_misroutes_changes_nothing(round0):
    """Every damaged copy is dropped; the true one counts, and the result is there."""
    for seed in range(15):
        relay = HostileRelay(PROGRAMS, seed, round0=round0)
        relay.foreign = recorded(seed, round0)
        results = relay.run().results()
        assert results == Committee(PROGRAMS, seed, round0=round0).run().results()


@pytest.mark.parametrize("round0", BOTH, ids=str)
def test_a_relay_that_also_loses_messages_gets_nobody_blamed(round0):
    ends = set()
    for seed in range(25):
        relay = HostileRelay(PROGRAMS, seed, round0=round0)
        relay.loses = 0.05
        run = relay.run()
        for node in run.nodes.values():
            assert node.blamed is None, seed
            assert node.error is None or isinstance(node.error, (Timeout, AbortedByPeer, Refused)), seed
            ends.add(type(node.error))
    assert {type(None), Timeout} <= ends


# -- a member who signs anything ---------------------------------------------------------------------------------

ODD: list[Any] = [
    None, 0, 1, -1, 1 << 64, 1 << 7000, b"", b"x", bytes(31), bytes(32), bytes(64), "", "holder", "\x00", [], [[]], [None],
    [[[[[[]]]]]], NEGATIVE_ZERO, LEADING_ZERO, Raw(b""), Raw(b"\x06\x00\x00\x00\x04\xff\xff\xff\xff"),
    Raw(b"\x01\xff\xff\xff\xff"), Raw(b"\x02\x00\x00\x00\x01\xff"), Raw(b"\x09\x00\x00\x00\x00"), TINY.group.G,
    TINY.group.identity,
]  # fmt: skip


def twisted(value: Any, rng: random.Random) -> Any:
    """The value with one place in it replaced, removed, doubled or exchanged."""
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = rng.randrange(len(value))
        choice = rng.randrange(6)
        if choice == 0:
            return value[:at] + value[at + 1 :]
        if choice == 1:
            return [*value[: at + 1], *value[at:]]
        if choice == 2:
            return value[::-1]
        return [*value[:at], twisted(value[at], rng), *value[at + 1 :]]
    if isinstance(value, bytes) and value and rng.random() < 0.5:
        return damaged(value, rng)
    return rng.choice(ODD)


class Twists(Tamper):
    """Changes the payload of any message of its kind, in any round, by chance."""

    def concerns(self, body: Body) -> bool:
        return body.kind is self.kind and body.to is None

    def for_all(self, body: Body) -> bool:
        return self.recipients is None and body.kind is self.kind


def twists(kind: Kind, rng: random.Random, chance: float, only_to: int | None = None) -> Tamper:
    def change(data: bytes, group: Any) -> bytes:
        if rng.random() > chance:
            return data
        return encode_any(twisted(decode(data, Anything(group)), rng))

    recipients = None if only_to is None else frozenset({only_to})
    return Twists(kind, 0, False, recipients, change)


@pytest.mark.parametrize("round0", BOTH, ids=str)
@pytest.mark.parametrize("kind", ["msg", "echo", "show", "done"])
@pytest.mark.parametrize("only_to", [None, 1], ids=["to all", "to one"])
def test_a_member_who_signs_twisted_messages_blames_himself(kind, only_to, round0):
    """`Committee.check` asserts in every run that nobody honest is blamed and that everybody ends."""
    caught = 0
    for seed in range(10):
        rng = random.Random(repr(("twist", seed, kind)))
        rules = [twists(Kind(kind), rng, 0.5, only_to)]
        if kind == "show":
            rules.append(twists(Kind.ECHO, rng, 0.5, 2))
        run = Committee(PROGRAMS, seed, round0=round0, tamper={3: rules}).run()
        for node in run.honest:
            assert node.error is None or isinstance(node.error, ProtocolError), seed
            assert not isinstance(node.error, InternalError), seed
            caught += node.blamed == 3
    assert caught or kind in ("show", "done")


@pytest.mark.attack("E7")
@pytest.mark.parametrize("kind", [str(kind) for kind in Kind])
@pytest.mark.parametrize("round0", list(Round0), ids=str)
def test_a_member_who_signs_anything_at_any_time(kind, round0):
    """Straight into one session, in every phase: the engine raises nothing but SessionClosed."""
    for seed in range(20):
        rng = random.Random(repr((seed, kind, round0)))
        solo = Solo(rounds_without_private if round0 is Round0.NONE else rounds, round0=round0)
        if rng.random() < 0.8:
            solo.start()
        for _ in range(12):
            try:
                honest_step(solo, rng)
                solo.take(anything(solo, Kind(kind), rng))
            except SessionClosed:
                break
            if solo.session.finished:
                break
        error = solo.session.error
        assert error is None or isinstance(error, ProtocolError), seed
        if isinstance(error, PeerFault):
            assert error.peer in (2, 3), seed


def rounds_without_private(_ctx: Any) -> Any:
    for round_ in (1, 2, 3):
        yield Send(round_, round_)
        yield Receive(round_, broadcast=NUMBER, echo=Echo.NEXT if round_ < 2 else Echo.BLOCKING)


def honest_step(solo: Solo, rng: random.Random) -> None:
    """One of the peers' messages that the present phase waits for, or the session's jobs."""
    session = solo.session
    if session.jobs:
        solo.completed()
        return
    if not session.waiting_for or not solo.sent():
        return
    sender = rng.choice(session.waiting_for).index
    said: Sequence[Callable[[], Body]] = [lambda: solo.acceptance(sender), lambda: solo.echo0(sender)]
    if session.sid is not None:
        round_ = rng.choice((1, 2))
        said = [
            lambda: solo.echo0(sender),
            lambda: solo.said(sender, 1, bytes(32)),
            lambda: solo.told(sender, 1, [1]),
            lambda: solo.said(sender, 2, 2, echo=solo.record(1)),
            lambda: solo.echo(sender, round_),
        ]
    body = rng.choice(said)()
    if body.to is None or session._mail.key is not None:
        solo.hear(body)


def anything(solo: Solo, kind: Kind, rng: random.Random) -> bytes:
    """A validly signed message of any shape."""
    sid = rng.choice([solo.setup.ph, solo.scope, solo.scope, bytes(32)])
    sender = holder(rng.choice((2, 3, 3, 4, 1)))
    to = holder(rng.choice((1, 1, 2))) if rng.random() < 0.2 else None
    shown = [[body.encode(), identity_of(body.sender).sign(body.encode())] for body in solo.sent()[:3]]
    templates: list[Any] = [
        None, [None, 5], [bytes(32), bytes(32)], shown, [["holder", 3], "check", b""], ["Timeout", "text"],
        [["holder", 2], "check", encode(["evidence/v1", TINY.proto, [], ["holder", 3], "check", shown])],
        [bytes(32), [[["holder", 1], bytes(32)]]],
    ]  # fmt: skip
    value = rng.choice(templates)
    payload = encode_any(twisted(value, rng) if rng.random() < 0.7 else value)
    body = Body(solo.setup.suite.proto, sid, rng.randrange(4), kind, sender, to, payload)
    signed = sign(body, identity_of(sender).sign)
    if to is not None and rng.random() < 0.8 and solo.session._mail.key is not None:
        return seal(signed, solo.epk)
    return pack(signed)


# -- bytes -------------------------------------------------------------------------------------------------------


@DETERMINISTIC
@given(st.lists(st.binary(max_size=200), max_size=5), st.sampled_from(BOTH))
def test_a_session_takes_any_bytes(envelopes, round0):
    solo = Solo(round0=round0)
    solo.start()
    for envelope in envelopes:
        assert solo.take(envelope) == []
    assert solo.session.error is None
    assert solo.session.dropped.get("malformed", 0) == len(envelopes)


@DETERMINISTIC
@given(st.integers(0, 1 << 30), st.binary(min_size=1, max_size=4))
def test_no_damaged_envelope_gets_past_the_mailbox(at, piece):
    solo = Solo()
    solo.enter()
    for body in (solo.said(2, 1, bytes(32)), solo.told(2, 1, [1])):
        envelope = solo.envelope(body)
        place = at % len(envelope)
        changed = envelope[:place] + piece + envelope[place + len(piece) :]
        if changed != envelope:
            assert solo.take(changed) == []
    assert solo.session.waiting_for == (holder(2), holder(3))


@DETERMINISTIC
@given(st.data())
def test_a_sealed_header_can_be_rewritten_by_nobody(data):
    solo = Solo()
    solo.enter()
    parts = unpack(solo.envelope(solo.told(2, 1, [1])))
    assert isinstance(parts, Sealed)
    changes = data.draw(
        st.dictionaries(
            st.sampled_from(["sid", "round", "sender", "to", "kind"]), st.integers(0, 20), min_size=1
        )
    )
    header = replace(
        parts,
        sid=solo.setup.ph if "sid" in changes else parts.sid,
        round=changes.get("round", 1) % 16,
        sender=holder(changes.get("sender", 2)),
        to=holder(changes.get("to", 1)),
        kind=list(Kind)[changes["kind"] % len(Kind)] if "kind" in changes else parts.kind,
    )
    place = [header.proto, header.sid, header.round, str(header.kind)]
    envelope = encode([*place, header.sender.as_list(), header.to.as_list(), header.ciphertext])
    said = len(solo.log)
    solo.take(envelope)
    assert len(solo.log) == said
    kept = [slot for slot in solo.session._mail.slots if slot.to == holder(1)]
    assert bool(kept) == (header == parts)
