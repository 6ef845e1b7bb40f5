"""Completion (protocol.md 0.8): done is said when the new state is durable, and only a full certificate activates it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from engine_testing import Solo
from node_testing import aux_sets, deal
from session_testing import Outcomes, identity_of, run_committee, says, silent
from tss_testing import TINY
from zk_naive import enc

from tss.cggmp24.completion import STEPS, Certificate, NewState, check_certificate, complete, new_state
from tss.effects import Durable, Protocol, SessionContext
from tss.encoding import encode
from tss.envelope import Body, Kind, PartyId, decode_body, holder, pack, seal, sign, unpack
from tss.errors import AbortedByPeer, Equivocation, NotStored, SchemaViolation, SessionMismatch, Timeout

PARTIES = [holder(i) for i in (1, 2, 3)]
IDENTITIES = {party: identity_of(party).public for party in PARTIES}
SHARES = {share.me: share for share in deal(TINY, 2, 3)}
AUX = {aux.me: aux for aux in aux_sets(TINY, 3)}
AUX_ID = b"\x0a" * 32


def hc(tag: str, *values: Any) -> bytes:
    return hashlib.sha256(enc([TINY.proto, tag, *values])).digest()


def completes(index: int, aux_id: bytes | None = AUX_ID) -> Any:
    def program(ctx: SessionContext) -> Protocol[NewState]:
        state = new_state(ctx, "test", shares=[SHARES[index]], aux=AUX[index], aux_id=aux_id)
        yield from complete(ctx, state)
        return state

    return program


def run(seed: object = 0, *, aux_ids: Mapping[int, bytes] | None = None, **options: Any) -> Outcomes:
    programs = {i: completes(i, (aux_ids or {}).get(i, AUX_ID)) for i in (1, 2, 3)}
    return run_committee(programs, seed, **options)


def pending(outcomes: Outcomes, index: int) -> NewState | None:
    """What a party has durable."""
    records = [record.record for record in outcomes[index].records if isinstance(record, Durable)]
    return records[0] if records else None


def certificate(outcomes: Outcomes, index: int) -> Certificate | None:
    found = [record for record in outcomes[index].records if isinstance(record, Certificate)]
    return found[0] if found else None


# -- what done says ----------------------------------------------------------------------------------------------


def context() -> SessionContext:
    return SessionContext(TINY, b"\x51" * 32, holder(1), IDENTITIES, bytes)


def account(aux_id: bytes | None) -> list[Any]:
    share = SHARES[1]
    public = [share.public_shares[i] for i in (1, 2, 3)]
    return [[share.key_id, share.share_epoch, aux_id], share.X, share.chain_code, public]


def aux_data() -> list[Any]:
    aux = AUX[1]
    parties = [aux.parties[i] for i in (1, 2, 3)]
    return [aux.aux_id, [[party.N, party.N_hat, party.s, party.t] for party in parties]]


@pytest.mark.parametrize("aux_id", [AUX_ID, None], ids=["aux", "no aux"])
@pytest.mark.parametrize("share", [True, False], ids=["share", "no share"])
@pytest.mark.parametrize("aux", [True, False], ids=["parameters", "no parameters"])
def test_done_of_the_specification(share, aux, aux_id):
    """done = Hc("done", sid, [[new ids, X, c, [X'_j]] for each account], aux data), none for what does not exist."""
    state = new_state(
        context(), "test", shares=[SHARES[1]] if share else [], aux=AUX[1] if aux else None, aux_id=aux_id
    )
    accounts, parameters = [account(aux_id)] if share else [], aux_data() if aux else None
    assert state.done == hc("done", b"\x51" * 32, accounts, parameters)
    assert (state.sid, state.kind, state.aux_id) == (b"\x51" * 32, "test", aux_id)
    assert (state.share, state.aux) == (SHARES[1] if share else None, AUX[1] if aux else None)


def test_done_is_the_same_for_all_parties():
    said = {
        new_state(
            replace(context(), me=holder(i)), "test", shares=[SHARES[i]], aux=AUX[i], aux_id=AUX_ID
        ).done
        for i in (1, 2, 3)
    }
    assert len(said) == 1


@pytest.mark.parametrize("order", [(3, 1, 2), (2, 3, 1)], ids=str)
def test_done_does_not_depend_on_the_order_of_records(order):
    share = replace(SHARES[1], public_shares={i: SHARES[1].public_shares[i] for i in order})
    aux = replace(AUX[1], parties={i: AUX[1].parties[i] for i in order})
    state = new_state(context(), "test", shares=[share], aux=aux, aux_id=None)
    assert state.done == new_state(context(), "test", shares=[SHARES[1]], aux=AUX[1], aux_id=None).done


def test_what_is_durable_shows_no_secret():
    state = new_state(context(), "test", shares=[SHARES[1]], aux=AUX[1], aux_id=None)
    assert str(SHARES[1].x) not in repr(state)
    assert "KeyShare" not in repr(state)
    assert "AuxSet" not in repr(state)


# -- honest runs -------------------------------------------------------------------------------------------------


def test_all_end_with_the_same_certificate():
    for seed in range(5):
        outcomes = run(seed)
        assert outcomes.results().keys() == {1, 2, 3}
        dones = {outcomes[i].result.done for i in (1, 2, 3)}
        assert len(dones) == 1
        found = [certificate(outcomes, i) for i in (1, 2, 3)]
        for one in found:
            assert one is not None
            assert one.sid == outcomes[1].session.sid
            assert sorted(one.envelopes) == sorted(found[0].envelopes)
            check_certificate(TINY.proto, one.sid, *dones, IDENTITIES, one.envelopes)


def test_the_state_is_durable_before_done_and_the_certificate_before_the_result():
    outcomes = run()
    for node in outcomes.nodes.values():
        done = next(out for out in node.posted if decode_body(unpack(out.envelope)[0]).kind is Kind.DONE)
        kept, held = node.records[-2:]
        assert kept == Durable(node.result, done.envelope)
        assert done.envelope in held.envelopes
        order = [item for item in node.log if item[1] in (kept, done)]
        assert [what for what, _ in order] == ["persist", "post"]


def test_done_is_said_in_round_15_without_an_echo():
    outcomes = run()
    (body,) = [body for body in outcomes[1].bodies() if body.kind is Kind.DONE]
    assert (body.round, body.to) == (15, None)
    assert body.payload == encode([None, outcomes[1].result.done])


# -- what can go wrong -------------------------------------------------------------------------------------------


def test_parties_with_other_aux_sets_do_not_complete():
    outcomes = run(aux_ids={3: b"\x0b" * 32})
    outcomes.assert_no_blame(SessionMismatch)
    for i in (1, 2, 3):
        assert pending(outcomes, i) is not None, "no abort undoes what done covers"
        assert certificate(outcomes, i) is None


@pytest.mark.attack("C8")
def test_who_says_another_done_to_one_party_is_not_blamed_and_that_party_does_not_activate():
    """It may be a fault of ours: the state stays pending, and the certificate of the others brings it up."""
    outcomes = run(tamper={3: [says(15, lambda _done: bytes(32), kind=Kind.DONE, only_to=1)]})
    assert isinstance(outcomes[1].error, SessionMismatch)
    assert "party 3" in str(outcomes[1].error)
    assert certificate(outcomes, 1) is None
    held = certificate(outcomes, 2)
    state = pending(outcomes, 1)
    assert held is not None
    assert state is not None
    check_certificate(TINY.proto, state.sid, state.done, IDENTITIES, held.envelopes)


@pytest.mark.parametrize("value", [bytes(31), bytes(33), "done", None], ids=repr)
def test_what_is_no_done_is_blamed(value):
    outcomes = run(tamper={3: [says(15, lambda _done: value, kind=Kind.DONE)]})
    outcomes.assert_blamed(3, SchemaViolation, check="test.r15.schema", by=[1, 2])
    assert pending(outcomes, 1) is not None
    assert certificate(outcomes, 1) is None


def test_a_party_that_withholds_its_done_is_named_and_the_state_stays():
    outcomes = run(drop=silent(3, kind=Kind.DONE))
    for i in (1, 2):
        error = outcomes[i].error
        assert isinstance(error, Timeout)
        assert (error.silent, error.phase) == ((3,), "test.done")
        assert pending(outcomes, i) is not None
        assert certificate(outcomes, i) is None


@pytest.mark.attack("C8")
def test_an_abort_after_done_undoes_nothing():
    """Party 3 cannot store its state and says so; whoever has said done keeps what it has."""

    def full(record: object) -> None:
        if isinstance(record, Durable):
            raise OSError("disk full")

    for seed in range(10):
        outcomes = run(seed, persist={3: full})
        assert isinstance(outcomes[3].error, NotStored)
        assert not [body for body in outcomes[3].bodies() if body.kind is Kind.DONE]
        for i in (1, 2):
            said = [body for body in outcomes[i].bodies() if body.kind is Kind.DONE]
            assert (pending(outcomes, i) is not None) == bool(said)
            assert isinstance(outcomes[i].error, Timeout if said else AbortedByPeer)


def test_a_certificate_that_cannot_be_stored_is_no_result():
    def full(record: object) -> None:
        if isinstance(record, Certificate):
            raise OSError("disk full")

    outcomes = run(persist={1: full})
    assert isinstance(outcomes[1].error, NotStored)
    assert outcomes[1].result is None
    assert pending(outcomes, 1) is not None
    assert outcomes[2].error is None
    assert outcomes[3].error is None


# -- a certificate that somebody forwards ------------------------------------------------------------------------

SID, DONE = b"\x51" * 32, b"\xd0" * 32


def done(sender: PartyId, value: Any = None, **change: Any) -> Body:
    payload = encode([None, DONE] if value is None else value)
    return replace(Body(TINY.proto, SID, 15, Kind.DONE, sender, None, payload), **change)


def signed(body: Body, by: PartyId | None = None) -> bytes:
    return pack(sign(body, identity_of(by or body.sender).sign))


FULL = [signed(done(party)) for party in PARTIES]


def check(envelopes: Sequence[bytes]) -> None:
    check_certificate(TINY.proto, SID, DONE, IDENTITIES, envelopes)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)], ids=str)
def test_a_full_certificate_holds_in_any_order(order):
    check([FULL[place] for place in order])


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_every_party_has_to_say_done(missing):
    with pytest.raises(SchemaViolation, match=f"lacks {missing + 1}"):
        check([envelope for place, envelope in enumerate(FULL) if place != missing])


def test_an_empty_certificate_lacks_everybody():
    with pytest.raises(SchemaViolation, match="lacks 1, 2, 3"):
        check([])


@pytest.mark.parametrize(
    ("third", "match"),
    [
        (b"garbage", "envelope|tag|record|list|truncated"),
        (signed(done(holder(3), proto="suite/v2")), "only this run's done"),
        (signed(done(holder(3), sid=b"\x52" * 32)), "only this run's done"),
        (signed(done(holder(3), round=14)), "only this run's done"),
        (signed(done(holder(3), kind=Kind.MSG)), "only this run's done"),
        (signed(done(holder(3), to=holder(1))), "only this run's done"),
        (signed(done(holder(4))), "one done message of each party"),
        (signed(done(PartyId("new", 3))), "one done message of each party"),
        (FULL[0], "one done message of each party"),
        (signed(done(holder(3)), by=holder(1)), "party 3 is not signed by it"),
        (signed(done(holder(3), [None, bytes(32)])), "party 3 said done to another result"),
        (signed(done(holder(3), [DONE, DONE])), "none"),
        (signed(done(holder(3), [None, DONE, DONE])), "record of 3 items"),
        (signed(done(holder(3), [None, DONE[:31]])), "byte string of 31 bytes"),
    ],
    ids=[
        "garbage", "suite", "session", "round", "kind", "recipient", "stranger", "role", "twice", "signature", "result", "echo",
        "longer", "shorter",
    ],
)  # fmt: skip
def test_what_is_not_the_third_partys_done(third, match):
    with pytest.raises(SchemaViolation, match=match):
        check([*FULL[:2], third])


def test_one_too_many_is_not_a_certificate():
    with pytest.raises(SchemaViolation, match="one done message of each party"):
        check([*FULL, FULL[2]])


def test_a_sealed_message_is_not_in_a_certificate():
    key = b"\x09" + bytes(31)
    sealed = seal(sign(done(holder(3), to=holder(1)), identity_of(holder(3)).sign), key)
    with pytest.raises(SchemaViolation, match="no sealed message"):
        check([*FULL[:2], sealed])


def test_a_certificate_is_of_one_session_and_result():
    for proto, sid, value in (
        ("suite/v2", SID, DONE),
        (TINY.proto, b"\x52" * 32, DONE),
        (TINY.proto, SID, bytes(32)),
    ):
        with pytest.raises(SchemaViolation):
            check_certificate(proto, sid, value, IDENTITIES, FULL)


def test_a_certificate_is_of_exactly_the_pinned_identities():
    others = IDENTITIES | {holder(3): identity_of(holder(9)).public}
    with pytest.raises(SchemaViolation, match="party 3 is not signed by it"):
        check_certificate(TINY.proto, SID, DONE, others, FULL)
    with pytest.raises(SchemaViolation, match="lacks 4"):
        check_certificate(
            TINY.proto, SID, DONE, IDENTITIES | {holder(4): identity_of(holder(4)).public}, FULL
        )


def test_two_versions_of_done_prove_an_equivocation():
    """A done message is a slot like any other."""
    solo = Solo(completes(1))
    solo.enter()
    solo.hear(solo.said(2, 15, DONE, kind=Kind.DONE))
    solo.hear(solo.said(2, 15, bytes(32), kind=Kind.DONE))
    assert isinstance(solo.session.error, Equivocation)
    assert solo.session.error.peer == 2


def test_the_phases_of_a_run_are_what_progress_counts():
    assert STEPS == ("r0", "r1", "r2", "r3", "done", "ended")
