"""Parties that tell different things to different peers, or lie about what they heard (protocol.md 0.8).

Every blame here is exact, rests on evidence that a third party judges by itself, and is the same in every order of
delivery; where the specification blames nobody, nobody is blamed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from engine_testing import NUMBER, PH, Solo, assert_blames, holds, read_evidence, rounds, waits
from session_testing import (
    Anything,
    Committee,
    Outcomes,
    Tamper,
    identity_of,
    run_committee,
    says,
    silent,
    tells,
)
from tss_testing import TINY

import tss.echo
import tss.speaker
from tss.echo import echo_from_value, echo_of
from tss.effects import Echo, Receive, Send
from tss.encoding import Bytes, decode, encode
from tss.envelope import Body, Kind, PartyId, holder
from tss.errors import AbortedByPeer, EchoMismatch, Equivocation, PeerFault, SchemaViolation, Timeout
from tss.groups import Group
from tss.session import Round0

BOTH = [Round0.BLOCKING, Round0.WITH_ROUND_1]
SEEDS = range(4)
PROGRAMS = dict.fromkeys((1, 2, 3), rounds)
IDENTITIES = {holder(i): identity_of(holder(i)).public for i in range(1, 6)}

OTHER_VALUE = {
    0: lambda value: [b"\x0e" * 32, value[1]],
    1: lambda _value: b"x" * 32,
    2: lambda _value: 7,
}


def assert_proven(run: Outcomes, cheater: int, *, check: str) -> None:
    """Every honest party blames the cheater for two versions, and holds evidence that convinces a third party."""
    run.assert_blamed(cheater, Equivocation, check=check, by=[node.party.index for node in run.honest])
    for node in run.honest:
        case = read_evidence(node.error, IDENTITIES)
        assert case.accused == holder(cheater)
        assert case.equivocates()


# -- two versions ------------------------------------------------------------------------------------------------


@pytest.mark.attack("C11")
@pytest.mark.parametrize("round0", BOTH, ids=str)
@pytest.mark.parametrize("round_", [0, 1, 2])
def test_two_versions_of_a_broadcast(round_, round0):
    for seed in SEEDS:
        tamper = {3: [says(round_, OTHER_VALUE[round_], only_to=1)]}
        run = run_committee(PROGRAMS, (round_, seed), round0=round0, tamper=tamper)
        assert_proven(run, 3, check=f"test.r{round_}.msg")


@pytest.mark.attack("C11")
@pytest.mark.parametrize("round0", BOTH, ids=str)
def test_two_session_keys(round0):
    """What is sealed to another key than the peers saw would be lost, or read by somebody else."""
    for seed in SEEDS:
        tamper = {2: [says(0, lambda value: [value[0], b"\x09" + bytes(31)], only_to=3)]}
        run = run_committee(PROGRAMS, seed, round0=round0, tamper=tamper)
        assert_proven(run, 2, check="test.r0.msg")


@pytest.mark.parametrize("round0", BOTH, ids=str)
def test_a_wrong_acceptance_for_one_party_only(round0):
    """One party sees the violation, another two versions, or only that the first one complains: all of it is true."""
    for seed in SEEDS:
        tamper = {3: [says(0, lambda value: [value[0], bytes(32)], only_to=1)]}
        run = run_committee(PROGRAMS, seed, round0=round0, tamper=tamper)
        assert any(node.blamed == 3 for node in run.honest)
        for node in run.honest:
            assert isinstance(node.error, (SchemaViolation, Equivocation, AbortedByPeer))


def test_a_version_for_each_of_five_parties():
    for seed in range(4):
        tamper = {5: [says(1, lambda _value, i=i: bytes([i]) * 32, only_to=i) for i in (1, 2, 3)]}
        run = run_committee(dict.fromkeys(range(1, 6), rounds), seed, tamper=tamper)
        assert_proven(run, 5, check="test.r1.msg")


def test_two_who_tell_one_party_another_version():
    """Either is blamed, nobody else."""
    for seed in SEEDS:
        tamper = {i: [says(1, OTHER_VALUE[1], only_to=1)] for i in (4, 5)}
        run = run_committee(dict.fromkeys(range(1, 6), rounds), seed, tamper=tamper)
        for node in run.honest:
            assert isinstance(node.error, Equivocation)
            assert node.blamed in (4, 5)


def test_a_private_message_that_differs_between_parties_is_no_equivocation():
    run = run_committee(PROGRAMS, 1, tamper={3: [tells(1, lambda value: [value[0] + 1], to=1)]})
    assert run[1].error is None
    assert run[1].result == run_committee(PROGRAMS, 1).results()[1] + 1


def test_two_versions_where_the_relay_brings_both_need_no_echo():
    """In rounds without echo (sigma, done) as well."""
    program = waits(Receive(1, broadcast=NUMBER, echo=Echo.NONE), sends=[Send(1, 1)])
    committee = Committee(
        dict.fromkeys((1, 2, 3), program), 1, round0=Round0.NONE, cheaters=[3], drop=silent(2, to=1)
    )
    committee.start()
    (posted,) = [p for p in committee.queue if p.sender == holder(3) and p.recipient == holder(1)]
    (body,) = committee[3].bodies()
    committee.deliver(posted)
    committee.send(committee.forge(replace(body, payload=encode([None, 2]))), 1)
    committee.settle()
    committee.expire()
    error = committee[1].error
    assert isinstance(error, Equivocation)
    assert error.peer == 3
    assert read_evidence(error, IDENTITIES).equivocates()


def test_without_echo_nobody_notices_two_versions():
    """What `Echo.NONE` means; such rounds bind what they say otherwise."""
    program = waits(Receive(1, broadcast=NUMBER, echo=Echo.NONE), sends=[Send(1, 1)])
    run = run_committee(
        dict.fromkeys((1, 2, 3), program), 1, tamper={3: [says(1, lambda _value: 2, only_to=1)]}
    )
    assert [run[i].result[0][holder(3)].broadcast for i in (1, 2)] == [2, 1]


# -- lies about what was heard -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Misheard(Tamper):
    """Echoes another message of party `of` than the one that came, with a digest that fits the list."""

    of: int = 1
    inside: bool = False

    def apply(self, body: Body, group: Group) -> Body:
        value = decode(body.payload, Anything(group))
        echo = value[0] if self.inside else value
        if echo is None:
            return body
        place = body.round - self.inside
        hashes = {PartyId(*party): digest for party, digest in echo[1]}
        hashes[holder(self.of)] = b"\x5a" * 32
        listed = [[party.as_list(), hashes[party]] for party in sorted(hashes)]
        digest = _digest(body.proto, body.sid, place, listed)
        return replace(
            body, payload=encode([[digest, listed], value[1]] if self.inside else [digest, listed])
        )


def _digest(proto: str, sid: bytes, round_: int, listed: Sequence[Any]) -> bytes:
    return hashlib.sha256(encode([proto, "echo", sid, round_, list(listed)])).digest()


def mishears(
    round_: int, *, of: int = 1, only_to: frozenset[int] | None = None, inside: bool = False
) -> Tamper:
    kind, at = (Kind.MSG, round_ + 1) if inside else (Kind.ECHO, round_)
    return Misheard(kind, at, False, only_to, lambda data, _group: data, of, inside)


ECHOES = [
    (0, False, Round0.BLOCKING),
    (0, False, Round0.WITH_ROUND_1),
    (1, True, Round0.BLOCKING),
    (2, False, Round0.BLOCKING),
]


def test_a_lie_is_well_formed():
    """The helper's lies pass every check of form: only what is shown afterwards convicts them."""
    solo = Solo()
    solo.enter()
    body = solo.echo0(2)
    lie = mishears(0).apply(body, TINY.group)
    parties = (holder(1), holder(2), holder(3))
    assert lie != body
    echo_from_value(TINY.proto, PH, 0, decode(lie.payload, Anything(TINY.group)), parties)


@pytest.mark.attack("C11")
@pytest.mark.parametrize(("round_", "inside", "round0"), ECHOES, ids=str)
@pytest.mark.parametrize("of", [1, 2, 3])
def test_a_lying_echo_is_convicted_by_what_its_sender_shows(round_, inside, round0, of):
    for seed in SEEDS:
        run = run_committee(
            PROGRAMS, (seed, of), round0=round0, tamper={3: [mishears(round_, of=of, inside=inside)]}
        )
        run.assert_blamed(3, EchoMismatch, check=f"test.r{round_}.echo")
        for node in run.honest:
            if isinstance(node.error, EchoMismatch):
                case = read_evidence(node.error, IDENTITIES)
                assert case.accused == holder(3)
                assert case.contradicts_itself()
                assert not case.equivocates()
                assert {body.sender for body in case.messages} == {holder(3)}


@pytest.mark.parametrize(("round_", "inside", "round0"), ECHOES, ids=str)
def test_a_lying_echo_without_a_show_is_silence(round_, inside, round0):
    """Nobody can prove who is wrong: the party whose echo differs is waited for, then named as silent."""
    for seed in SEEDS:
        run = run_committee(
            PROGRAMS,
            seed,
            round0=round0,
            tamper={3: [mishears(round_, inside=inside)]},
            drop=silent(3, kind=Kind.SHOW),
        )
        run.assert_no_blame(Timeout)
        for node in run.honest:
            assert isinstance(node.error, Timeout)
            assert node.error.silent == (3,)
            assert node.error.phase.endswith(".show")


def test_an_echo_that_lies_to_one_party_stops_only_that_one():
    """The others heard equal echoes: they go on, show what they have, and blame nobody."""
    lie = mishears(2, only_to=frozenset({1}))
    for seed in SEEDS:
        run = run_committee(PROGRAMS, seed, tamper={3: [lie]}, drop=silent(3, kind=Kind.SHOW))
        assert isinstance(run[1].error, Timeout)
        assert run[1].error.silent == (3,)
        assert run[2].blamed is None


def test_two_liars_at_once():
    """Either is blamed, nobody else."""
    for seed in SEEDS:
        tamper = {2: [mishears(1, of=4, inside=True)], 3: [mishears(1, inside=True)]}
        run = run_committee(dict.fromkeys((1, 2, 3, 4), rounds), seed, tamper=tamper)
        for node in run.honest:
            assert isinstance(node.error, (EchoMismatch, AbortedByPeer))
            assert node.blamed in (None, 2, 3)
        assert any(node.blamed for node in run.honest)


# -- by hand: what a show proves when, and what it does not -----------------------------------------------------------


def differing(*, n: int = 3) -> tuple[Solo, Body]:
    """A session whose blocking echo of round 1 differs: party 2 heard another version of party 3's message."""
    solo = Solo(waits(Receive(1, broadcast=NUMBER, echo=Echo.BLOCKING), sends=[Send(1, 1)]), n=n)
    solo.enter()
    solo.hear(*(solo.said(j, 1, j) for j in range(2, n + 1)))
    other = solo.said(3, 1, 33)
    solo.hear(solo.echo(2, 1, solo.record(1, other={3: other.encode()})))
    for j in range(3, n + 1):
        solo.hear(solo.echo(j, 1))
    return solo, other


def heard(solo: Solo, other: Mapping[int, Body] | None = None) -> list[Body]:
    """The broadcasts of round 1, some of them in another version."""
    said = [*solo.sent(Kind.MSG, 1), *(solo.said(party.index, 1, party.index) for party in solo.peers)]
    return [(other or {}).get(body.sender.index, body) for body in said]


def test_when_echoes_differ_all_is_shown_and_the_different_one_is_waited_for():
    solo, _ = differing()
    (show,) = solo.sent(Kind.SHOW)
    assert (show.sid, show.round) == (solo.session.sid, 1)
    shown = [body for body, _ in decode(show.payload, Anything(TINY.group))]
    assert shown == [body.encode() for body in heard(solo)]
    assert solo.session.phase == "test.r1.show"
    assert solo.session.waiting_for == (holder(2),)


def test_two_versions_in_the_show_that_was_waited_for():
    solo, other = differing()
    solo.hear(solo.show(2, 1, heard(solo, {3: other})))
    assert isinstance(solo.session.error, Equivocation)
    assert (solo.session.error.peer, solo.session.error.check) == (3, "test.r1.msg")
    case = read_evidence(solo.session.error, IDENTITIES)
    assert {body for body in case.messages if body.sender == holder(3) and body.kind is Kind.MSG} >= {
        other, solo.said(3, 1, 3),
    }  # fmt: skip


def test_a_show_that_repeats_ours_convicts_the_one_who_echoed_otherwise():
    solo, _ = differing()
    solo.hear(solo.show(2, 1, heard(solo)))
    assert isinstance(solo.session.error, EchoMismatch)
    assert (solo.session.error.peer, solo.session.error.check) == (2, "test.r1.echo")
    assert read_evidence(solo.session.error, IDENTITIES).contradicts_itself()


def test_a_version_that_nobody_signed_convicts_the_one_who_shows_it():
    """A show cannot frame a third party: only what it signed counts."""
    solo, _ = differing()
    forged = solo.body(2, 1, [], kind=Kind.SHOW)
    items = [[body.encode(), identity_of(body.sender).sign(body.encode())] for body in heard(solo)[:2]]
    frame = solo.said(3, 1, 33).encode()
    items.append([frame, identity_of(holder(2)).sign(frame)])
    forged = replace(forged, payload=encode(items))
    solo.hear(forged)
    assert isinstance(solo.session.error, SchemaViolation)
    assert (solo.session.error.peer, solo.session.error.check) == (2, "test.show.schema")
    assert read_evidence(solo.session.error, IDENTITIES).messages == (forged,)


def test_a_show_of_one_who_heard_the_same_proves_nothing_yet():
    solo, _ = differing(n=4)
    solo.hear(solo.show(4, 1, heard(solo)))
    assert solo.session.error is None
    assert solo.session.waiting_for == (holder(2),)
    solo.expire()
    assert isinstance(solo.session.error, Timeout)
    assert (solo.session.error.silent, solo.session.error.phase) == ((2,), "test.r1.show")


def test_while_showing_the_protocol_stands_still():
    solo, _ = differing()
    said = len(solo.log)
    solo.hear(solo.said(2, 2, 2), solo.said(3, 2, 3))
    assert len(solo.log) == said
    assert not solo.session.finished


@pytest.mark.parametrize("round0", BOTH, ids=str)
def test_acceptances_that_differ_stop_the_session_in_round_0(round0):
    solo = Solo(round0=round0)
    solo.start()
    solo.hear(solo.acceptance(2), solo.acceptance(3))
    other = solo.acceptance(3, nonce=bytes(32))
    solo.hear(solo.echo0(3), solo.echo0(2, solo.record(0, sid=PH, other={3: other.encode()})))
    (show,) = solo.sent(Kind.SHOW)
    assert (show.sid, show.round) == (PH, 0)
    assert solo.session.phase == ("test.r0.show" if round0 is Round0.BLOCKING else "test.r1.show")
    assert solo.session.waiting_for == (holder(2),)
    assert (solo.session.sid is None) == (round0 is Round0.BLOCKING)
    shown = [*solo.sent(Kind.MSG, 0), solo.acceptance(2), other]
    solo.hear(solo.show(2, 0, shown, sid=PH))
    assert isinstance(solo.session.error, Equivocation)
    assert solo.session.error.peer == 3


def test_with_round_1_differing_acceptances_stop_round_2():
    """The echo of round 0 is checked before round 2 is sent, also when round 1 is complete."""
    solo = Solo(round0=Round0.WITH_ROUND_1)
    solo.start()
    solo.hear(solo.acceptance(2), solo.acceptance(3))
    for j in (2, 3):
        solo.hear(solo.said(j, 1, bytes(32)), solo.told(j, 1, [1]))
    other = solo.acceptance(3, nonce=bytes(32))
    solo.hear(solo.echo0(3), solo.echo0(2, solo.record(0, sid=PH, other={3: other.encode()})))
    assert solo.session.phase == "test.r1.show"
    assert solo.session.jobs == ()
    solo.hear(solo.said(2, 1, bytes(32)))
    assert solo.session.jobs == ()


def test_a_peers_show_is_answered_once_with_ours():
    solo = Solo(waits(Receive(1, broadcast=NUMBER, echo=Echo.BLOCKING), sends=[Send(1, 1)]))
    solo.enter()
    solo.hear(solo.said(2, 1, 2))
    solo.hear(solo.show(2, 1, heard(solo)[:2]))
    assert solo.sent(Kind.SHOW) == [], "not before all broadcasts of the round are in"
    solo.hear(solo.said(3, 1, 3))
    solo.hear(solo.show(3, 1, heard(solo)))
    assert len(solo.sent(Kind.SHOW)) == 1
    assert not solo.session.finished
    solo.hear(solo.show(3, 0, [*solo.sent(Kind.MSG, 0)], sid=PH))
    assert [(body.sid == PH, body.round) for body in solo.sent(Kind.SHOW)] == [(False, 1), (True, 0)]
    solo.hear(solo.show(2, 0, [*solo.sent(Kind.MSG, 0)], sid=PH))
    assert len(solo.sent(Kind.SHOW)) == 2
    solo.hear(solo.echo(2, 1), solo.echo(3, 1))
    assert solo.session.result is not None


def test_a_show_may_prove_an_equivocation_before_any_echo():
    solo = Solo()
    solo.enter()
    solo.hear(solo.said(3, 1, bytes(32)))
    solo.hear(solo.show(2, 1, [solo.said(3, 1, b"\x01" * 32)]))
    assert isinstance(solo.session.error, Equivocation)
    assert solo.session.error.peer == 3


def test_a_version_that_was_shown_before_the_other_one_came():
    """Without echoes: whoever said it to us knows nothing of the show."""
    solo = Solo(waits(Receive(1, broadcast=NUMBER, echo=Echo.NONE)), round0=Round0.NONE)
    solo.enter()
    shown, told = solo.said(3, 1, 7), solo.said(3, 1, 8)
    assert solo.hear(solo.show(2, 1, [shown])) == []
    assert solo.session.error is None
    solo.hear(told)
    assert_blames(solo, 3, Equivocation, "test.r1.msg")
    assert holds(solo, shown, told)


def test_the_rest_of_a_round_may_come_in_another_show():
    solo, other = differing(n=4)
    solo.hear(solo.show(2, 1, heard(solo)[:2]))
    assert solo.session.error is None
    assert solo.session.waiting_for == (holder(2),)
    solo.hear(solo.show(2, 1, [other]))
    assert isinstance(solo.session.error, Equivocation)


@pytest.mark.attack("C11")
@pytest.mark.parametrize("round_", [1, 2])
@pytest.mark.parametrize("round0", BOTH, ids=str)
def test_who_tells_different_things_and_falls_silent_is_found_out(round_, round0):
    """The echoes of the others differ already: nobody waits for the one that does not come."""

    def silence(posted):
        after = posted.round > round_ or (posted.round == round_ and posted.kind is not Kind.MSG)
        return posted.sender == holder(3) and after

    for seed in SEEDS:
        tamper = {3: [says(round_, OTHER_VALUE[round_], only_to=1)]}
        run = run_committee(PROGRAMS, (round_, seed), round0=round0, tamper=tamper, drop=silence)
        assert_proven(run, 3, check=f"test.r{round_}.msg")


@pytest.mark.parametrize("round0", BOTH, ids=str)
def test_who_accepts_twice_and_falls_silent_is_found_out(round0):
    for seed in SEEDS:
        tamper = {3: [says(0, OTHER_VALUE[0], only_to=1)]}
        drop = lambda posted: posted.sender == holder(3) and (posted.kind, posted.round) != (Kind.MSG, 0)  # noqa: E731
        run = run_committee(PROGRAMS, seed, round0=round0, tamper=tamper, drop=drop)
        assert_proven(run, 3, check="test.r0.msg")


def test_versions_too_large_for_one_show_are_shown_and_proven(monkeypatch):
    """The size of its messages hides nobody."""
    monkeypatch.setattr(tss.speaker, "MAX_ENVELOPE_BYTES", 16_000)
    monkeypatch.setattr(tss.echo, "MAX_SHOW_BYTES", 16_000 - 1024)
    program = waits(Receive(1, broadcast=Bytes(0, 16_000), echo=Echo.BLOCKING), sends=[Send(1, b"x")])
    huge = 16_000 - 2048 - 200
    tamper = {
        3: [says(1, lambda _value: bytes(huge)), says(1, lambda _value: b"y" * huge, only_to=1)],
        4: [says(1, lambda _value: bytes(huge))],
    }
    run = run_committee(dict.fromkeys((1, 2, 3, 4), program), 1, tamper=tamper, duplicate=0)
    run.assert_blamed(3, Equivocation, check="test.r1.msg")
    for node in run.honest:
        if isinstance(node.error, Equivocation):
            assert read_evidence(node.error, IDENTITIES).equivocates()
        assert len([body for body in node.bodies() if body.kind is Kind.SHOW]) in (0, 2)
    assert any(body.kind is Kind.SHOW for node in run.honest for body in node.bodies())


def test_a_travelling_echo_that_differs_is_judged_before_the_next_message():
    """Echo of round 1 inside round 2, checked before round 3 is sent."""
    program = waits(
        Receive(1, broadcast=NUMBER, echo=Echo.NEXT),
        Receive(2, broadcast=NUMBER, echo=Echo.NONE),
        sends=[Send(1, 1)],
    )
    solo = Solo(program)
    solo.enter()
    solo.hear(solo.said(2, 1, 2), solo.said(3, 1, 3))
    other = solo.said(3, 1, 33)
    lie = solo.record(1, other={3: other.encode()})
    solo.hear(solo.said(2, 2, 2, echo=lie), solo.said(3, 2, 3, echo=solo.record(1)))
    assert solo.session.phase == "test.r2.show"
    assert solo.session.result is None
    assert (solo.sent()[-1].kind, solo.sent()[-1].round) == (Kind.SHOW, 1)
    solo.hear(solo.show(2, 1, heard(solo, {3: other})))
    assert isinstance(solo.session.error, Equivocation)


def test_peers_find_it_out_and_tell_a_party_that_heard_nothing_strange():
    """Party 1 ends with the same blame as soon as it sees the two versions in a complaint."""
    solo = Solo()
    solo.enter()
    one, two = solo.said(3, 1, bytes(32)), solo.said(3, 1, b"\x01" * 32)
    other = Solo()
    other.enter()
    other.hear(one)
    other.hear(two)
    evidence = other.session.error
    assert isinstance(evidence, PeerFault)
    assert evidence.evidence is not None
    solo.hear(solo.complaint(2, 3, evidence.evidence))
    assert isinstance(solo.session.error, Equivocation)
    assert solo.session.error.peer == 3


def test_an_echo_is_of_the_first_version():
    """The first valid message of a slot is the one that is hashed and used."""
    solo = Solo(waits(Receive(1, broadcast=NUMBER, echo=Echo.BLOCKING), sends=[Send(1, 1)]), n=2)
    solo.enter()
    solo.hear(solo.said(2, 1, 2))
    (echo,) = solo.sent(Kind.ECHO, 1)
    first = {holder(1): solo.sent(Kind.MSG, 1)[0].encode(), holder(2): solo.said(2, 1, 2).encode()}
    assert echo.payload == encode(echo_of(TINY.proto, solo.scope, 1, first).as_value())
