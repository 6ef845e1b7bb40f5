"""What a node answers to the others' proposals: index 0 alone with its store, policy and rooms; index 1 speaks by its key."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from node_testing import deal, sid_of
from proposal_testing import DIGEST, SUITE

from participant.node.plan import Decline, Declined
from participant.policy import AccountRule, CeremonyRule, PolicySettings, RulePolicy
from participant.store import NewShare, NewState, StoreUnavailable
from tss.cggmp24 import aux_info, keygen, presign
from tss.cggmp24 import sign as stock_sign
from tss.cggmp24.sign import SignRequest
from tss.encoding import encode
from tss.envelope import Body, Kind, Signed, holder, pack, routing, sign
from tss.proposal import Proposal
from tss.session import session_id


async def test_a_good_one_becomes_a_session(stage):
    proposal = stage.propose()
    driver = await stage.take(proposal)
    assert driver is not None
    assert driver.plan.ph == proposal.hash(SUITE)
    assert driver.home is stage.membership.room
    assert await stage.answer(driver.plan.ph) is None
    assert stage.audit() == [], "a signature's record is written with the answer"


async def test_ceremonies_and_presigning_are_recorded_before_they_begin(stage):
    assert await stage.take(stage.propose(presign.KIND)) is not None
    assert await stage.take(stage.propose(keygen.KIND)) is not None
    assert stage.audit() == [("presign", "allow"), ("keygen", "allow")]


async def test_the_same_one_again_is_passed_over(stage):
    proposal = stage.propose()
    taken = await asyncio.gather(*(stage.take(proposal) for _ in range(4)))
    assert sum(driver is not None for driver in taken) == 1
    assert await stage.take(proposal) is None
    assert await stage.answer(proposal.hash(SUITE)) is None


@pytest.mark.fault(12)
async def test_one_that_a_former_process_accepted_is_never_spoken_in_again(stage):
    proposal = stage.propose()
    ph = proposal.hash(SUITE)
    stage.store.sessions.remember(ph, proposal.kind, stage.committee_id, ph)
    assert await stage.take(proposal) is None
    assert await stage.answer(ph) is None


async def test_one_for_others_is_none_of_our_business(stage):
    tail = list(stage.propose().tail)
    tail[4] = [2, 3]
    proposal = stage.propose(tail=tail)
    assert await stage.take(proposal) is None
    assert await stage.answer(proposal.hash(SUITE)) is None
    assert stage.audit() == []


async def test_what_others_sign_from_stock_is_not_kept_nor_looked_at(stage):
    tail = [bytes(32), DIGEST, [], 0, [2, 3], bytes(32)]
    proposal = stage.propose(stock_sign.KIND, tail=tail)
    ph = proposal.hash(SUITE)
    sid = session_id([SUITE.proto, "sid", stock_sign.KIND, SUITE.group.name, ph])
    sessions = stage.node._sessions
    assert not sessions.is_over(sid)
    assert await stage.take(proposal) is None
    assert sessions.is_over(sid)
    dropped = sessions.dropped["late"]
    body = Body(SUITE.proto, sid, 0, Kind.MSG, holder(2), None, b"")
    forged = pack(Signed(body, body.encode(), bytes(64)))
    stage.node._receive(stage.membership, forged)
    assert sessions.dropped["late"] == dropped + 1
    assert stage.membership.dropped["stranger"] == 0, "its signature was not even verified"


async def test_an_old_one_is_history(stage):
    proposal = stage.propose(expiry=1_600_000_000)
    assert await stage.take(proposal) is None
    assert await stage.answer(proposal.hash(SUITE)) is None
    assert stage.proposals.dropped["expired"] == 1


@pytest.mark.fault(9)
async def test_one_from_the_future_is_told_about_the_clocks(stage):
    proposal = stage.propose(expiry=stage.proposals.expiry() + 1000)
    assert await stage.declined(proposal) == Decline.EXPIRED
    answer = await stage.answer(proposal.hash(SUITE))
    assert answer is not None
    assert "clocks is wrong" in answer[1]
    assert stage.audit() == []


async def test_one_that_cannot_be_read_is_declined_as_such(stage):
    body = replace(stage.propose().body(SUITE), payload=b"")
    assert await stage.take(sign(body, stage.speaker.sign)) is None
    answer = await stage.answer(body.sid)
    assert answer is not None
    assert answer[0] == Decline.UNREADABLE


async def test_one_with_a_point_that_is_none_is_declined_as_unreadable(stage):
    G = SUITE.group.G
    tail = [bytes(32), G, bytes(32), bytes(32), [1, 2], [G, G], [[1, 1, 1, 1], [1, 1, 1, 1]], 1, 1]
    body = replace(stage.propose(), kind="presign", tail=tail).body(SUITE)
    off_curve = b"\x02" + b"\xff" * (SUITE.group.point_bytes - 1)
    body = replace(body, payload=body.payload.replace(G.to_bytes(), off_curve))
    assert await stage.take(sign(body, stage.speaker.sign)) is None
    answer = await stage.answer(body.sid)
    assert answer is not None
    assert answer[0] == Decline.UNREADABLE
    other = replace(stage.propose().body(SUITE), sid=bytes(32))
    assert await stage.take(sign(other, stage.speaker.sign)) is None
    assert await stage.answer(bytes(32)) is not None
    assert stage.proposals.dropped["proposal"] == 2


async def test_one_that_differs_from_our_records_is_declined_and_recorded(stage):
    tail = list(stage.propose().tail)
    tail[2] = bytes(32)
    assert await stage.declined(stage.propose(tail=tail)) == Decline.RECORDS_DIFFER
    assert stage.audit() == [("full-sign", "decline")]
    (entry,) = stage.store.audit.export()
    assert entry.record.reason is not None
    assert entry.record.reason.startswith("RECORDS_DIFFER: ")
    assert entry.record.caller == stage.speaker.identity.hex()


async def test_the_policy_is_asked_about_the_proposer_and_about_who_asked_us(stage):
    def rules(**fields: Any) -> RulePolicy:
        values = {"accounts": ["*"], "callers": ["carol"], "proposers": ["*"], "raw_digests": True}
        return RulePolicy(PolicySettings(rules=[AccountRule(**(values | fields))]))

    stage.proposals._policy = rules(proposers=["self"])
    assert await stage.declined(stage.propose()) == "PROPOSER_NOT_ALLOWED"
    stage.proposals._policy = rules(raw_digests=False)
    assert await stage.declined(stage.propose()) == "RAW_DIGEST_NOT_ALLOWED"
    stage.proposals._policy = rules()
    assert await stage.declined(stage.propose(), caller="eve") == "CALLER_NOT_ALLOWED"
    assert stage.audit() == [("sign", "refuse")] * 3
    assert await stage.take(stage.propose(), caller="carol") is not None
    assert await stage.take(stage.propose()) is not None
    stage.proposals._policy = RulePolicy(
        PolicySettings(ceremonies=[CeremonyRule(kinds=["aux"], callers=["*"], proposers=["*"])])
    )
    assert await stage.declined(stage.propose(keygen.KIND)) == "CEREMONY_NOT_ALLOWED"


async def test_a_further_condition_may_decline(stage):
    def gate(proposal: Proposal) -> None:
        raise Declined(Decline.NOT_ASKED, f"nobody asked for {proposal.kind}")

    assert await stage.declined(stage.propose(), gate=gate) == Decline.NOT_ASKED


async def test_one_ceremony_at_a_time(stage):
    assert await stage.take(stage.propose(keygen.KIND)) is not None
    assert await stage.declined(stage.propose(aux_info.KIND)) == Decline.BUSY
    assert await stage.take(stage.propose()) is not None, "signing goes on beside it"


async def test_sessions_are_bounded(stage):
    for _ in range(2):
        assert await stage.take(stage.propose()) is not None
    assert await stage.declined(stage.propose()) == Decline.BUSY


async def test_a_peer_fills_our_memory_with_so_many_presignatures_only(stage):
    stage.proposals._config = replace(
        stage.proposals._config, stock=replace(stage.proposals._config.stock, cap=0)
    )
    assert await stage.declined(stage.propose(presign.KIND)) == Decline.BUSY


async def test_a_node_that_stops_or_has_a_twin_takes_nothing_up(stage):
    stage.proposals.stopping = True
    assert await stage.declined(stage.propose()) == Decline.STOPPING
    stage.proposals.stopping = False
    stage.membership.presence.twin_at = stage.membership.presence._clock()
    assert await stage.declined(stage.propose()) == Decline.STOPPING


async def test_a_store_that_takes_no_record_means_no(stage, monkeypatch):
    def full(*_: object) -> int:
        raise StoreUnavailable("the disk is full")

    monkeypatch.setattr(stage.store.audit, "append", full)
    proposal = stage.propose(presign.KIND)
    assert await stage.declined(proposal) == Decline.STORE_FAILED
    answer = await stage.answer(proposal.hash(SUITE))
    assert answer is not None
    assert "disk" not in answer[1], "what is wrong here is not the others' business"


async def test_a_new_run_gives_up_what_a_former_one_left(stage):
    def waiting(number: int, account_id: str) -> None:
        state = NewState(shares=(NewShare.of(account_id, deal(SUITE, 2, 3, account_id)[0]),))
        ph = sid_of(number + 100)
        stage.store.sessions.remember(sid_of(number), keygen.KIND, stage.committee_id, ph)
        public = encode(["proto", bytes(32)])
        stage.store.sessions.put_pending(
            sid_of(number), keygen.KIND, stage.committee_id, state, public, b"done", party=1
        )

    waiting(1, "new")
    waiting(2, "another")
    assert await stage.take(stage.propose(keygen.KIND)) is not None
    voided = {p.state.account_ids[0]: p.voided for p in stage.store.sessions.pendings()}
    assert voided.get("another") is False
    assert voided.get("new", True), "its acceptance irrevocably voids it"


async def test_our_own_pass_the_same_checks(stage):
    own = {
        "initiator": holder(1),
        "tail": presign.full_tail(stage.share, stage.aux, (1, 2), 1, SignRequest(DIGEST, ())),
    }
    room = stage.membership.room
    proposal = stage.propose(**own)
    driver = await stage.proposals.make(stage.membership, SUITE, proposal, room, caller="carol")
    assert driver.plan.audit.caller == "carol"
    await room.flushed()
    assert next(routing(e)[1] for e in stage.posted if routing(e)[0] == driver.plan.ph) is Kind.PROPOSE
    stage.proposals._policy = RulePolicy(PolicySettings())
    with pytest.raises(Declined) as caught:
        await stage.proposals.make(stage.membership, SUITE, stage.propose(**own), room, caller="carol")
    assert caught.value.code == "NO_RULE"
    stage.proposals.stopping = True
    with pytest.raises(Declined) as caught:
        await stage.proposals.make(stage.membership, SUITE, stage.propose(**own), room, caller=None)
    assert caught.value.code == Decline.STOPPING


async def test_one_of_another_members_name_is_no_proposal(stage):
    """Through the room: the signature decides who proposes."""
    forged = Body(SUITE.proto, bytes(32), 0, Kind.PROPOSE, holder(3), None, stage.propose().encode())
    from tss.envelope import pack

    stage.node._receive(stage.membership, pack(sign(forged, stage.speaker.sign)))
    assert stage.membership.dropped["stranger"] == 1
    assert stage.node.sessions() == []


async def test_what_was_proposed_before_this_process_was_heard_is_past(stage):
    """A ceremony, for which everybody waits, is to begin again; unless a former process may still be in it."""
    signing, ceremony, known = stage.propose(), stage.propose(keygen.KIND), stage.propose(keygen.KIND)
    ph = known.hash(SUITE)
    stage.store.sessions.remember(ph, known.kind, stage.committee_id, ph)
    for proposal in (signing, ceremony, known):
        assert await stage.take(proposal, past=True) is None
        assert await stage.take(proposal) is None, "once past, it stays so"
    answer = await stage.answer(ceremony.hash(SUITE))
    assert answer is not None
    assert answer[0] == Decline.BUSY
    assert await stage.answer(signing.hash(SUITE)) is None
    assert await stage.answer(ph) is None
    assert stage.proposals.dropped["past"] == 3
