"""A session as its driver sees it: legal calls, effects, durability, phases, deadlines, ends (protocol.md 0.7, 0.8)."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from engine_testing import PH, PRIVATE, Solo, outgoing_body, rounds, waits
from session_testing import Anything, identity_of, run_committee
from tss_testing import SMALL_SECP, TINY, SeededRng

import tss.speaker
from tss.effects import Compute, Durable, Echo, Persist, Progress, Receive, Send, SendDurably
from tss.encoding import Bytes, Tuple, decode, encode
from tss.envelope import Kind, PartyId, holder
from tss.errors import (
    BadShare,
    BadSignerSet,
    Degenerate,
    InternalError,
    NotStored,
    SessionClosed,
    ShareCorrupt,
)
from tss.session import AllAccepted, Member, Round0, Runtime, Session, SessionStarted, Setup, session_id

BOTH = [Round0.BLOCKING, Round0.WITH_ROUND_1]
ALL = list(Round0)


def sha(value: object) -> bytes:
    return hashlib.sha256(encode(value)).digest()


# -- honest runs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("round0", BOTH, ids=str)
@pytest.mark.parametrize("n", [2, 3, 5])
def test_honest_parties_end_with_their_results(n, round0):
    for seed in range(4):
        run = run_committee(dict.fromkeys(range(1, n + 1), rounds), seed, round0=round0)
        numbers = range(1, n + 1)
        expected = {i: sum(numbers) + sum(10 * i + j for j in numbers if j != i) for i in numbers}
        assert run.results() == expected
        assert len({node.session.sid for node in run.nodes.values()}) == 1
        for node in run.nodes.values():
            assert [(str(body.kind), body.round) for body in node.bodies()] == [
                ("msg", 0), ("echo", 0), ("msg", 1), ("msg", 2), ("echo", 2), ("done", 15),
            ]  # fmt: skip


def test_sixteen_parties():
    results = run_committee(dict.fromkeys(range(1, 17), rounds), 1).results()
    assert results[16] == 136 + 15 * 160 + 120


def test_a_session_known_from_the_proposal_has_no_round_0():
    program = waits(Receive(1, broadcast=Bytes(1), echo=Echo.NONE), sends=[Send(1, b"x")])
    run = run_committee(dict.fromkeys((1, 2, 3), program), 1, round0=Round0.NONE)
    assert {len(result[0]) for result in run.results().values()} == {2}
    for node in run.nodes.values():
        assert [body.sid for body in node.bodies()] == [node.session.sid]
        assert node.records == [SessionStarted(node.session.sid, "test", PH)]


def test_roles_and_indices_may_repeat_as_long_as_parties_do_not():
    parties = [PartyId("dealer", 1), PartyId("new", 1), PartyId("new", 2)]

    def program(ctx):
        yield Send(1, broadcast=b"x", p2p={j: [j.index] for j in ctx.others})
        got = yield Receive(1, broadcast=Bytes(1), p2p=PRIVATE, echo=Echo.BLOCKING)
        return list(got)

    run = run_committee(dict.fromkeys(parties, program), 1)
    for node in run.nodes.values():
        assert node.result == [party for party in parties if party != node.party]


def test_a_party_alone_in_a_round_waits_for_nobody():
    program = waits(Receive(1, broadcast=Bytes(1), senders=[], echo=Echo.BLOCKING), sends=[Send(1, b"x")])
    solo = Solo(program)
    solo.enter()
    assert len(solo.sent(Kind.ECHO, 1)) == 1
    assert decode(solo.sent(Kind.ECHO, 1)[0].payload, Anything(TINY.group))[1][0][0] == ["holder", 1]


# -- the session's id --------------------------------------------------------------------------------------------


def test_sid_of_the_specification():
    """sid = Hc("sid", kind, group, [pb,l,l',eps,m], ph, [[role, I_j, idkey_j, nonce_j, epk_j] sorted], ...)."""
    solo = Solo(kind="keygen", tail=[3, b"t"])
    solo.enter()
    level = TINY.level
    own = decode(solo.sent(Kind.MSG, 0)[0].payload, Tuple(Bytes(32), Bytes(32)))
    accepted = [["holder", 1, identity_of(holder(1)).public, *own]]
    for party, key in solo.keys.items():
        epk = key.public_key().public_bytes_raw()
        accepted.append(["holder", party.index, solo.identities[party], b"\x0e" * 32, epk])
    preimage = [
        TINY.proto, "sid", "keygen", TINY.group.name, [level.pb, level.l, level.l_prime, level.eps, level.m], PH,
        accepted, 3, b"t",
    ]  # fmt: skip
    assert solo.session.sid == sha(preimage) == session_id(preimage)
    assert encode(solo.session.sid_preimage) == encode(preimage)


def test_sid_of_signing_from_stock():
    """sid = Hc("sid", "sign", group, ph)."""
    solo = Solo(
        waits(Receive(1, broadcast=Bytes(1), echo=Echo.NONE)), kind="sign", tail=[b"t"], round0=Round0.NONE
    )
    solo.start()
    assert solo.session.sid == sha([TINY.proto, "sid", "sign", TINY.group.name, PH])


@pytest.mark.attack("A5")
@pytest.mark.parametrize(
    "options",
    [
        {"kind": "other"}, {"ph": b"\x71" * 32}, {"tail": [1]}, {"tail": [[1]]}, {"seed": "other nonce"}, {"n": 2},
        {"suite": SMALL_SECP},
    ],
    ids=repr,
)  # fmt: skip
def test_all_that_a_session_is_about_is_in_its_id(options):
    usual, other = Solo(), Solo(**options)
    usual.enter()
    other.enter()
    assert usual.session.sid != other.session.sid


@pytest.mark.parametrize("change", [{"nonce": b"\x0f" * 32}, {"epk": b"\x09" + bytes(31)}], ids=repr)
def test_all_that_peers_accept_with_is_in_it(change):
    usual, other = Solo(), Solo()
    usual.enter()
    other.start()
    other.hear(other.acceptance(2), other.acceptance(3, **change))
    other.hear(other.echo0(2), other.echo0(3))
    assert other.session.sid not in (None, usual.session.sid)


def test_an_acceptance_is_fresh():
    first, second = Solo(seed=1), Solo(seed=2)
    for solo in (first, second):
        solo.start()
    values = [decode(s.sent(Kind.MSG, 0)[0].payload, Tuple(Bytes(32), Bytes(32))) for s in (first, second)]
    assert len({*values[0], *values[1]}) == 4


# -- what comes first --------------------------------------------------------------------------------------------


def test_nothing_is_said_under_an_id_that_is_not_stored():
    solo = Solo()
    solo.enter()
    kinds = [(what, _scope(item)) for what, item in solo.log]
    sid = solo.session.sid
    # the acceptance; the echo of round 0; then round 1: a broadcast and two sealed messages
    accepted, echoed = [("persist", PH), ("post", PH)], [("persist", PH), ("post", PH)]
    assert kinds == [*accepted, *echoed, ("persist", sid), *[("post", sid)] * 3]
    assert solo.records == [
        SessionStarted(PH, "test", PH),
        AllAccepted(PH),
        SessionStarted(sid, "test", PH),
    ]


def _scope(item):
    return next(getattr(item, name) for name in ("sid", "scope", "ph") if hasattr(item, name))


@pytest.mark.attack("A5")
@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("error", [ShareCorrupt("spoken in before"), OSError("disk full")], ids=repr)
def test_an_id_that_the_store_refuses_is_never_spoken_in(at, error):
    """A restarted party, whose store knows the id already, does not speak in it again."""
    seen = []

    def persist(record):
        seen.append(record)
        if len(seen) == at + 1:
            raise error

    solo = Solo(persist=persist)
    solo.start()
    if at:
        solo.hear(solo.acceptance(2), solo.acceptance(3))
    if at == 2:
        solo.hear(solo.echo0(2), solo.echo0(3))
    assert solo.session.finished
    assert {body.sid for body in solo.sent()} == {PH}
    assert [body.kind for body in solo.sent()][-1] is Kind.ABORT
    assert (len(solo.sent(Kind.MSG)), len(solo.sent(Kind.ECHO))) == (min(at, 1), int(at == 2))
    if isinstance(error, OSError):
        assert isinstance(solo.session.error, NotStored)
        assert solo.session.error.__cause__ is error
        assert "disk full" not in str(solo.session.error)
    else:
        assert solo.session.error is error


def test_a_stock_session_whose_id_was_used_says_nothing_in_it():
    def refuse(_record):
        raise ShareCorrupt("spoken in before")

    solo = Solo(waits(sends=[Send(1, b"secret")]), round0=Round0.NONE, persist=refuse)
    solo.start()
    assert [(body.sid, body.kind) for body in solo.sent()] == [(PH, Kind.ABORT)]


def test_a_durable_message_is_stored_byte_for_byte_before_it_leaves():
    solo = Solo(
        waits(Receive(2, broadcast=Bytes(1)), sends=[SendDurably(1, b"x", record="state")]),
        round0=Round0.NONE,
    )
    (sent,) = solo.start()
    assert [what for what, _ in solo.log] == ["persist", "persist", "post"]
    assert solo.records[1] == Durable("state", sent.envelope)
    assert "state" not in repr(solo.records[1])


def test_a_protocol_gets_the_durable_envelope():
    def program(_ctx):
        envelope = yield SendDurably(1, b"x", record="state")
        return envelope

    solo = Solo(program, round0=Round0.NONE)
    (sent,) = solo.start()
    assert solo.session.result == sent.envelope


@pytest.mark.parametrize("kind", [Kind.MSG, Kind.DONE], ids=str)
def test_a_message_that_could_not_be_stored_does_not_leave(kind):
    def persist(record):
        if isinstance(record, Durable):
            raise OSError

    program = waits(Receive(2, broadcast=Bytes(1)), sends=[SendDurably(1, b"secret", "state", kind)])
    solo = Solo(program, round0=Round0.NONE, persist=persist)
    solo.start()
    assert isinstance(solo.session.error, NotStored)
    assert "Durable" in str(solo.session.error)
    assert [body.kind for body in solo.sent()] == [Kind.ABORT]


# -- legal sequences ---------------------------------------------------------------------------------------------


def test_a_session_starts_once():
    solo = Solo()
    solo.start()
    with pytest.raises(InternalError, match="starts once"):
        solo.session.start()
    assert not solo.session.finished
    assert len(solo.sent()) == 1


@pytest.mark.attack("D14")
@pytest.mark.parametrize("members", [[1, 2, 2], [2, 3], [1, 1]], ids=repr)
def test_members_are_different_parties_this_one_among_them(members):
    listed = tuple(Member(holder(i), identity_of(holder(i)).public) for i in members)
    setup = Setup(TINY, "test", holder(1), listed, PH, ())
    runtime = Runtime(SeededRng(1), identity_of(holder(1)).sign, lambda _record: None)
    with pytest.raises(BadSignerSet):
        Session(setup, rounds, runtime)


def computing(*jobs, effects=()):
    """A session that computes `jobs` and ends with their results, or with the name of what was thrown."""

    def program(_ctx):
        yield from effects
        try:
            results = yield Compute(list(jobs))
        except ShareCorrupt as error:
            return f"caught {error}"
        return results

    return Solo(program, round0=Round0.NONE)


def fail(error):
    raise error


def test_jobs_are_handed_out_and_their_results_come_back_in_order():
    solo = computing(lambda: "a", lambda: "b")
    assert solo.start() == []
    assert [job() for job in solo.session.jobs] == ["a", "b"]
    assert (solo.session.phase, solo.session.waiting_for) == ("test.computing", ())
    assert solo.session.completed(["a", "b"]) == []
    assert solo.session.result == ["a", "b"]
    assert solo.session.jobs == ()


def test_jobs_say_whether_they_are_brief():
    def program(_ctx):
        yield Compute([lambda: 1], brief=True)
        yield Compute([lambda: 2])

    solo = Solo(program, round0=Round0.NONE)
    solo.start()
    assert solo.session.brief
    solo.session.completed([1])
    assert not solo.session.brief


def test_no_jobs_are_done_at_once():
    solo = computing()
    solo.start()
    assert solo.session.result == []


@pytest.mark.parametrize("results", [[], ["a"], ["a", "b", "c"]], ids=len)
def test_results_are_as_many_as_jobs(results):
    solo = computing(lambda: "a", lambda: "b")
    solo.start()
    with pytest.raises(InternalError, match=f"{len(results)} results for 2 jobs"):
        solo.session.completed(results)
    assert not solo.session.finished
    assert len(solo.session.jobs) == 2


@pytest.mark.parametrize("results", [[], ["a"]], ids=len)
def test_results_come_only_when_there_are_jobs(results):
    solo = Solo()
    solo.start()
    with pytest.raises(InternalError):
        solo.session.completed(results)


def test_the_first_exception_in_list_order_is_thrown_into_the_protocol():
    solo = computing(lambda: 1, lambda: 2, lambda: 3)
    solo.start()
    solo.session.completed([1, ShareCorrupt("first"), Degenerate("second")])
    assert solo.session.result == "caught first"


def test_a_peers_fault_that_a_job_finds_ends_the_session():
    solo = computing(lambda: 1)
    solo.start()
    fault = BadShare("wrong").blame(2, "test.r2")
    solo.session.completed([fault])
    assert solo.session.error is fault


def test_a_job_that_fails_otherwise_is_a_bug_of_ours():
    solo = computing(lambda: 1)
    solo.start()
    bug = ZeroDivisionError("x = 42")
    solo.session.completed([bug])
    assert isinstance(solo.session.error, InternalError)
    assert str(solo.session.error) == "a computation failed: ZeroDivisionError"
    assert solo.session.error.__cause__ is bug


def test_persist_and_progress():
    stages = []

    def program(_ctx):
        told = yield Progress("on its way")
        stored = yield Persist("record")
        return told, stored

    setup = Solo().setup
    runtime = Runtime(
        SeededRng(1), identity_of(holder(1)).sign, lambda record: f"row of {record}", stages.append
    )
    session = Session(replace(setup, round0=Round0.NONE), program, runtime)
    session.start()
    assert session.result == (None, "row of record")
    assert stages == ["on its way"]


def test_a_protocol_that_runs_waits_for_nobody():
    """Progress is reported from within a call; whoever looks then sees a session that computes."""
    seen = []

    def program(_ctx):
        yield Progress("on its way")

    setup = replace(Solo().setup, round0=Round0.NONE)

    def look(_stage):
        seen.append((session.phase, session.waiting_for))

    runtime = Runtime(SeededRng(1), identity_of(holder(1)).sign, lambda _record: None, look)
    session = Session(setup, program, runtime)
    session.start()
    assert seen == [("test.computing", ())]


def test_calls_that_make_no_sense_yet_are_bugs_of_ours():
    session = Solo().session
    with pytest.raises(InternalError, match="not known yet"):
        session.sid_or_fail()
    with pytest.raises(InternalError, match="has not begun"):
        session._run(next)


def test_progress_is_optional():
    solo = computing(effects=[Progress("unheard")])
    solo.start()
    assert solo.session.result == []


def test_an_effect_that_does_not_exist_is_a_bug_of_ours():
    solo = computing(effects=["shout"])
    solo.start()
    assert isinstance(solo.session.error, InternalError)
    assert "unknown effect str" in str(solo.session.error)


def test_a_message_that_no_peer_takes_is_a_bug_of_ours(monkeypatch):
    solo = Solo(waits(sends=[Send(1, bytes(700))]), round0=Round0.NONE)
    monkeypatch.setattr(tss.speaker, "MAX_ENVELOPE_BYTES", 700)
    solo.start()
    assert isinstance(solo.session.error, InternalError)
    assert "no peer takes" in str(solo.session.error)
    assert [body.kind for body in solo.sent()] == [Kind.ABORT]


def test_a_broadcast_that_no_show_would_hold_is_a_bug_of_ours(monkeypatch):
    size = len(outgoing_body(Solo(waits(sends=[Send(1, b"x")]), round0=Round0.NONE).start()[0]).encode())
    for spare, error in ((0, type(None)), (-1, InternalError)):
        monkeypatch.setattr(tss.speaker, "MAX_BROADCAST_BYTES", size + spare)
        solo = Solo(waits(sends=[Send(1, b"x")]), round0=Round0.NONE)
        solo.start()
        assert type(solo.session.error) is error


def test_a_private_message_is_shown_to_nobody_and_may_be_larger(monkeypatch):
    def program(ctx):
        yield Send(1, p2p={j: bytes(1000) for j in ctx.others})
        yield Receive(1, p2p=Bytes(1))

    monkeypatch.setattr(tss.speaker, "MAX_BROADCAST_BYTES", 900)
    solo = Solo(program)
    solo.enter()
    assert solo.session.error is None


def test_the_largest_message_leaves(monkeypatch):
    size = len(Solo(waits(sends=[Send(1, b"x")]), round0=Round0.NONE).start()[0].envelope)
    monkeypatch.setattr(tss.speaker, "MAX_ENVELOPE_BYTES", size)
    solo = Solo(waits(sends=[Send(1, b"x")]), round0=Round0.NONE)
    assert len(solo.start()[0].envelope) == size
    assert solo.session.error is None


def test_a_protocol_does_not_end_before_its_echoes_are_compared():
    solo = Solo(waits(Receive(1, broadcast=Bytes(1), echo=Echo.NEXT), sends=[Send(1, b"x")]), n=2)
    solo.enter()
    solo.hear(solo.said(2, 1, b"y"))
    assert isinstance(solo.session.error, InternalError)
    assert "before all its echoes" in str(solo.session.error)


def test_an_exception_outside_the_tree_closes_the_session_and_is_not_hidden():
    def program(_ctx):
        yield Send(1, b"x")
        fail(ZeroDivisionError("bug"))

    solo = Solo(program, round0=Round0.NONE)
    with pytest.raises(ZeroDivisionError):
        solo.start()
    assert isinstance(solo.session.error, InternalError)
    assert solo.expire() == []
    with pytest.raises(SessionClosed):
        solo.session.receive(b"")


# -- what it says where ------------------------------------------------------------------------------------------


def test_outgoing_messages_say_where_they_belong():
    solo = Solo()
    solo.enter()
    posts = [item for what, item in solo.log if what == "post"]
    assert [(out.scope == PH, out.sender, out.to) for out in posts] == [
        (True, holder(1), None), (True, holder(1), None), (False, holder(1), None), (False, holder(1), holder(2)),
        (False, holder(1), holder(3)),
    ]  # fmt: skip


def test_a_private_message_is_signed_and_sealed_to_one_peer():
    solo = Solo(n=2)
    solo.enter()
    body = solo.sent_to(2, 1)
    assert (body.sender, body.to, body.round, body.kind, body.sid) == (
        holder(1), holder(2), 1, Kind.MSG, solo.session.sid,
    )  # fmt: skip
    assert body.payload == encode([21])
