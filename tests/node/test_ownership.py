"""Proposals with what is another's, or with one presignature for two requests: refused, kept as evidence, the proposer marked."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from typing import Any

import pytest
from cggmp24_testing import dealt_presignature
from node_network import WAIT, last, network, sign_call
from node_testing import deal
from proposal_testing import DIGEST, SUITE, Stage

from participant.node.ownership import FirstUses, Use
from participant.node.plan import Decline
from participant.payloads import Digest, to_value
from participant.policy import PolicySettings, RulePolicy
from participant.store import StoreUnavailable
from tss.cggmp24 import presign, sign
from tss.cggmp24.presignature import Presignature, State, presignature_id
from tss.cggmp24.sign import SignRequest
from tss.effects import Transcript
from tss.encoding import encode
from tss.envelope import Body, Kind, Signed, holder, routing, unpack_broadcast
from tss.envelope import sign as sign_body
from tss.hd import derive
from tss.judge import judge
from tss.judge.record import Bystander
from tss.proposal import Proposal, decode_proposal

OTHER_DIGEST = b"o" * 32
SHARES = {share.me: share for share in deal(SUITE, 2, 3, "alice")}


# The HTTP library forgets dead connections that it was about to close when it is cancelled; the collector closes them.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


def held(stage: Stage, owner: int = 2, signers: tuple[int, int] = (1, 2), *, members: Any = None, seed: int = 0) -> Presignature:  # fmt: skip
    """Index 0's part of a presignature in its stock, out of a session with `members` (identities by party)."""
    identities = members or stage.membership.identities
    accepted = [["holder", j, identities[holder(j)], b"n" * 32, b"e" * 32] for j in signers]
    tail = presign.tail(stage.share, stage.aux, signers, owner, 1)
    suite = [SUITE.proto, "sid", "presign", SUITE.group.name, SUITE.level.as_list()]
    preimage = [*suite, hashlib.sha256(repr((owner, signers, seed)).encode()).digest(), accepted, *tail]
    sid = hashlib.sha256(encode(preimage)).digest()
    made = dealt_presignature(SHARES, signers, owner)[1]
    named = presignature_id(Bystander(SUITE, sid, {}), 0)
    public = replace(made.public, id=named, sid=sid, aux_id=stage.aux.aux_id)
    k, chi = made._secrets or (0, 0)
    presignature = Presignature(SUITE, 1, public, k, chi, Transcript(preimage, ()))
    stage.node._stock.add("alice", stage.committee_id, [presignature])
    return presignature


def signing(stage: Stage, presignature: Presignature, digest: bytes = DIGEST, e: bytes = b"e" * 32, **fields: Any) -> Proposal:  # fmt: skip
    request = SignRequest(digest)
    tau = derive(stage.share.X, stage.share.chain_code, ()).tau
    tail = sign.tail(presignature.id, request, tau, presignature.public.signers, e)
    return stage.propose(sign.KIND, tail=tail, message=encode(to_value(Digest(digest))), **fields)


def assert_marked(stage: Stage, check: str) -> None:
    """Index 1 is in quarantine once, with evidence that convinces whoever knows the committee."""
    (entry,) = stage.store.quarantine.entries(stage.committee_id)
    assert entry.peer == stage.speaker.identity
    assert entry.reason.endswith(f"[{check}]")
    assert entry.evidence_id is not None
    verdict = judge(
        stage.store.quarantine.evidence(entry.evidence_id) or b"",
        stage.membership.identities,
        {SUITE.proto: SUITE},
    )
    assert (verdict.guilty, verdict.accused, verdict.check) == (True, holder(2), check), verdict
    assert ("quarantine", "quarantined") in stage.audit()


def assert_unmarked(stage: Stage) -> None:
    assert stage.store.quarantine.entries() == []
    assert stage.store.quarantine.evidence_ids() == []


@pytest.mark.attack("D2")
@pytest.mark.parametrize("kind", [presign.KIND, presign.FULL_KIND])
async def test_a_run_that_names_another_owner(stage, kind):
    request = SignRequest(DIGEST, ())
    tail = {
        presign.KIND: presign.tail(stage.share, stage.aux, (1, 2), 1, 1),
        presign.FULL_KIND: presign.full_tail(stage.share, stage.aux, (1, 2), 1, request),
    }[kind]
    untouched = held(stage, owner=1, signers=(1, 3))
    assert await stage.declined(stage.propose(kind, tail=tail)) == Decline.NOT_THE_OWNER
    assert_marked(stage, f"{kind}.proposal.owner")
    assert stage.audit() == [("quarantine", "quarantined"), (kind, "decline")]
    assert await stage.declined(stage.propose(kind, tail=tail)) == Decline.QUARANTINED
    assert len(stage.store.quarantine.entries()) == 1, "nobody is marked twice for what is refused anyway"
    assert untouched.state is State.FRESH
    assert stage.node.sessions() == []


@pytest.mark.attack("D2")
async def test_with_a_presignature_of_another(stage):
    ours, of_others = held(stage, owner=1), held(stage, owner=1, signers=(1, 3))
    assert await stage.declined(signing(stage, ours)) == Decline.NOT_THE_OWNER
    answer = await stage.answer(signing(stage, ours).hash(SUITE))
    assert answer is None, "that was another proposal"
    assert_marked(stage, "sign.proposal.owner")
    assert stage.store.answers.get(ours.id) is None
    assert ours.state is State.DESTROYED, "what was made with a peer goes with its mark"
    assert of_others.state is State.FRESH


@pytest.mark.attack("D2")
@pytest.mark.parametrize("changed", [{"digest": OTHER_DIGEST}, {"e": b"f" * 32}], ids=["digest", "entropy"])
async def test_a_second_request_for_a_presignature(stage, changed):
    """Its first session goes on, and nothing else is answered."""
    theirs = held(stage)
    driver = await stage.take(signing(stage, theirs))
    assert driver is not None
    await driver.changes.wait_for(lambda: stage.store.answers.get(theirs.id) is not None, WAIT)
    answered = stage.store.answers.get(theirs.id)
    assert answered is not None
    assert await stage.declined(signing(stage, theirs, **changed)) == Decline.SECOND_REQUEST
    assert_marked(stage, "sign.proposal.request")
    assert stage.store.answers.get(theirs.id) == answered
    assert theirs.state is State.ANSWERED
    assert not driver.outcome.done()


@pytest.mark.attack("D2")
async def test_a_second_request_when_the_presignature_is_gone(stage):
    theirs = held(stage)
    assert await stage.take(signing(stage, theirs)) is not None
    stage.node._stock.discard(theirs)
    assert await stage.declined(signing(stage, theirs, OTHER_DIGEST)) == Decline.SECOND_REQUEST
    assert_marked(stage, "sign.proposal.request")


async def test_a_second_request_after_one_that_our_policy_refused(stage):
    theirs = held(stage)
    stage.proposals._policy = RulePolicy(PolicySettings())
    assert await stage.declined(signing(stage, theirs)) == "NO_RULE"
    assert_unmarked(stage)
    assert await stage.declined(signing(stage, theirs, OTHER_DIGEST)) == Decline.SECOND_REQUEST
    assert_marked(stage, "sign.proposal.request")
    assert theirs.state is State.DESTROYED


async def test_of_two_requests_at_the_same_moment_one_is_taken(stage):
    theirs = held(stage)
    both = [signing(stage, theirs), signing(stage, theirs, OTHER_DIGEST)]
    taken = await asyncio.gather(*map(stage.take, both))
    assert sum(driver is not None for driver in taken) <= 1
    codes = [answer[0] for one in both if (answer := await stage.answer(one.hash(SUITE))) is not None]
    assert Decline.SECOND_REQUEST in codes
    assert_marked(stage, "sign.proposal.request")


async def test_the_same_request_again_is_no_fault(stage):
    """With another request id and expiry, while the presignature is here and when it is gone."""
    theirs = held(stage)
    assert await stage.take(signing(stage, theirs)) is not None
    assert await stage.take(signing(stage, theirs, expiry=stage.proposals.expiry() + 1)) is not None
    stage.node._stock.discard(theirs)
    assert await stage.declined(signing(stage, theirs)) == Decline.PRESIGNATURE_UNKNOWN
    assert_unmarked(stage)


async def test_two_presignatures_serve_two_requests(stage):
    first, second = held(stage), held(stage, seed=1)
    assert first.id != second.id
    assert await stage.take(signing(stage, first)) is not None
    assert await stage.take(signing(stage, second, OTHER_DIGEST)) is not None
    assert_unmarked(stage)


async def test_what_another_committee_made_proves_nothing_here(stage):
    """Its members may stand at other points there: an honest one is not to be marked by it."""
    strangers = {party: bytes([party.index]) * 32 for party in stage.membership.identities}
    foreign = held(stage, owner=1, members=strangers)
    assert await stage.declined(signing(stage, foreign)) == Decline.NOT_THE_OWNER
    assert_unmarked(stage)
    elsewhere = signing(stage, foreign, committee_id=bytes(32))
    assert await stage.declined(elsewhere) == Decline.OTHER_COMMITTEE
    assert_unmarked(stage)


async def test_a_mark_that_cannot_be_kept_is_no_reason_to_take_part(stage, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise StoreUnavailable("the disk is full")

    monkeypatch.setattr(stage.store.quarantine, "add", full)
    assert await stage.declined(signing(stage, held(stage, owner=1))) == Decline.STORE_FAILED
    assert stage.node.sessions() == []


@pytest.mark.attack("D2")
async def test_who_proposes_again_with_what_has_answered(tmp_path, gateway):
    """Real nodes, a presignature of theirs, its signature: then its owner turns to another request, and so does the other signer."""
    async with network(tmp_path, gateway.url) as net:
        net.deal("alice")
        await net.ready("alice")
        await last(net[0].node.fill_stock("alice", (0, 1), 1))
        posted: list[Signed] = []

        async def watch(envelope: bytes) -> None:
            if routing(envelope)[1] is Kind.PROPOSE:
                posted.append(Signed(*unpack_broadcast(envelope)))

        net[0].channel.on_post = watch
        result = await net[0].node.sign(sign_call("alice", 1, signers=(0, 1)))
        assert result.signed[0].from_stock
        first = decode_proposal(SUITE, posted[0].body)
        tail = [first.tail[0], OTHER_DIGEST, *first.tail[2:]]
        second = replace(first, tail=tail, message=encode(to_value(Digest(OTHER_DIGEST))))
        for speaker, hearer, check in ((0, 1, "sign.proposal.request"), (1, 0, "sign.proposal.owner")):
            member, membership = net[hearer], net[hearer].node._memberships[net.committee.committee_id]
            said = replace(second, initiator=holder(speaker + 1))
            signed = sign_body(said.body(SUITE), net[speaker].keys.sign)
            assert await member.node._proposals.take(membership, signed, membership.room) is None
            (mark,) = member.store.quarantine.entries()
            assert mark.peer == net[speaker].keys.identity
            evidence = member.store.quarantine.evidence(mark.evidence_id or b"")
            verdict = judge(evidence or b"", membership.identities, {SUITE.proto: SUITE})
            assert (verdict.guilty, verdict.accused, verdict.check) == (True, said.initiator, check), verdict
        assert (await net[1].node.sign(sign_call("alice", 3))).signers == (1, 2), "the others go on"


class TestFirstUses:
    """Bounded for each owner by itself: nobody pushes out what is known of others."""

    @staticmethod
    def use(owner: int, size: int, number: int = 0) -> Use:
        body = Body("p", bytes(32), 0, Kind.PROPOSE, holder(owner), None, b"")
        return Use(owner, [], Signed(body, bytes([number]) * (size - len(encode([]))), b""), bytes([number]))

    def test_the_first_one_stays(self) -> None:
        uses, first = FirstUses(), self.use(1, 100)
        assert uses.put(b"c", b"p", first) is first
        assert uses.put(b"c", b"p", self.use(1, 100, 1)) is first
        assert uses.find(b"c", b"p") is first
        assert uses.find(b"another committee", b"p") is None
        assert uses.find(b"c", b"another") is None

    def test_the_oldest_of_an_owner_go(self) -> None:
        uses = FirstUses(max_bytes=300)
        others = uses.put(b"c", b"others", self.use(2, 300))
        for name in (b"1", b"2", b"3"):
            uses.put(b"c", name, self.use(1, 100))
        assert uses.find(b"c", b"1") is not None, "exactly full"
        uses.put(b"c", b"4", self.use(1, 100))
        assert [uses.find(b"c", name) is None for name in (b"1", b"2", b"3", b"4")] == [True, False, False, False]  # fmt: skip
        uses.put(b"c", b"5", self.use(1, 1000))
        assert [name for name in (b"2", b"3", b"4", b"5") if uses.find(b"c", name)] == [b"5"], "one stays"
        assert uses.find(b"c", b"others") is others
