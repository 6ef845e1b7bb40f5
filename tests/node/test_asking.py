"""wallet-mpc's way of asking, among whole nodes in the rooms of a real gateway."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from gateway_testing import running_gateway
from node_network import (
    PATIENT,
    WAIT,
    Member,
    Network,
    check_signature,
    digest_of,
    everything,
    last,
    network,
    poll,
    request_id_of,
    sign_call,
)
from node_testing import deal, node_keys
from tss_testing import SMALL_SECP

from participant.callers import Caller
from participant.channel import Received, RoomChannel, signing_topic, write_body
from participant.node.api import AskCall, Chain, SignedDigest, SignResult
from participant.node.ask_notes import (
    ASKED,
    FINISHED,
    AskNote,
    decode_finished,
    encode_finished,
)
from participant.node.config import AskSettings
from participant.node.errors import (
    Aborted,
    AccountIsFrozen,
    AccountUnknown,
    BadDigestGiven,
    InvalidRequest,
    NotAllowed,
    NotReady,
    PolicyRefused,
    RequestIdUsed,
    ThresholdNotMet,
    TimedOut,
)
from participant.payloads import Digest, to_value
from participant.policy import AccountRule, PolicySettings
from participant.rooms import RoomsClient
from tss import ecdsa
from tss.cggmp24 import presign
from tss.cggmp24.sign import SignRequest
from tss.encoding import Text, Tuple, decode, encode
from tss.envelope import Body, Kind, decode_body, holder, pack, routing, sign, unpack
from tss.errors import SchemaViolation
from tss.proposal import Proposal

ASK = AskSettings(gather=WAIT, turn=WAIT, total=2 * WAIT, linger=WAIT)
CONFIG = replace(PATIENT, ask=ASK)


# The HTTP library forgets dead connections that it was about to close when it is cancelled; the collector closes them.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


def tx_id_of(name: object) -> int:
    return int.from_bytes(hashlib.sha256(repr(name).encode()).digest()[:4], "big", signed=True)


def ask(name: object, account_id: str = "alice", **fields: Any) -> AskCall:
    call = AskCall(tx_id_of(name), request_id_of(name), Chain.ETHEREUM, digest_of(name), account_id)
    return replace(call, **fields)


async def all_of(net: Network, call: AskCall, *indices: int) -> list[SignResult]:
    """Ask these nodes at once."""
    return await asyncio.gather(*(net[index].node.sign_tx(call) for index in indices))


def asking(config: AskSettings = ASK, **changes: Any) -> Any:
    return replace(CONFIG, ask=replace(config, **changes))


# -- the notes ----------------------------------------------------------------------------------------------------------

NOTE = AskNote(-7, b"x" * 16, 0, b"d" * 32, "alice", b"e" * 32, b"a" * 32)


@pytest.mark.parametrize("tx_id", [0, 1, -1, 2**31 - 1, -(2**31)])
@pytest.mark.parametrize("aux_id", [None, b"a" * 32])
def test_a_note_is_read_as_it_was_written(tx_id, aux_id):
    note = replace(NOTE, tx_id=tx_id, aux_id=aux_id)
    assert AskNote.decode(note.encode()) == note


@pytest.mark.parametrize(
    "change",
    [
        {"tx_id": 2**32},
        {"execution_id": b"x" * 15},
        {"chain": -1},
        {"data": b"d" * 31},
        {"share_epoch": b"e" * 31},
        {"account_id": "a" * 600},
    ],
)
def test_a_note_out_of_bounds_is_refused(change):
    with pytest.raises(SchemaViolation):
        AskNote.decode(replace(NOTE, **change).encode())


def test_the_scope_is_the_hash_of_the_sign_message_and_of_nothing_else():
    enc = encode(["proto", "ask", -7, b"x" * 16, 0, b"d" * 32, "alice"])
    assert NOTE.scope("proto") == hashlib.sha256(enc).digest()
    assert replace(NOTE, share_epoch=bytes(32), aux_id=None).scope("proto") == NOTE.scope("proto")


def test_differences_are_named():
    assert NOTE.difference(NOTE) == ""
    assert "another data" in NOTE.difference(replace(NOTE, data=bytes(32)))
    assert "chain and account_id" in NOTE.difference(replace(NOTE, chain=1, account_id="bob"))
    assert "another epoch" in NOTE.difference(replace(NOTE, aux_id=None))
    assert "another epoch" in NOTE.difference(replace(NOTE, share_epoch=bytes(32)))


def made_signature() -> tuple[Any, bytes, SignedDigest]:
    """Made by a key in one hand: what the protocol makes is another test's business."""
    group, digest = SMALL_SECP.group, digest_of("one hand")
    x, k = 12345, 67890
    R = group.mul_base(k)
    r = group.x(R) % group.q
    s = pow(k, -1, group.q) * (int.from_bytes(digest, "big") + r * x) % group.q
    s, v = ecdsa.normalise(s, ecdsa.recovery_id(R), group.q)
    X = group.mul_base(x)
    return (
        X,
        digest,
        SignedDigest(digest, "m", X.to_bytes(), int(r), int(s), v, (0, 2), True, session_id=b"s" * 32),
    )


def test_a_finished_signature_is_read_as_it_was_written_and_verified():
    X, digest, signed = made_signature()
    assert decode_finished(encode_finished(signed), X, digest) == signed


@pytest.mark.parametrize(
    "spoil",
    [
        lambda s: replace(s, r=s.r + 1),
        lambda s: replace(s, s=s.s + 1),
        lambda s: replace(s, v=s.v ^ 1),
        lambda s: replace(s, v=s.v ^ 2),
        lambda s: replace(s, s=SMALL_SECP.group.q - s.s, v=s.v ^ 1),
        lambda s: replace(s, r=0),
        lambda s: replace(s, signers=()),
    ],
    ids=["r", "s", "v", "v2", "high-s", "zero", "nobody"],
)
def test_a_finished_signature_that_does_not_verify_is_refused(spoil):
    X, digest, signed = made_signature()
    with pytest.raises(SchemaViolation):
        decode_finished(encode_finished(spoil(signed)), X, digest)


def test_a_signature_of_something_else_is_refused():
    X, digest, signed = made_signature()
    with pytest.raises(SchemaViolation):
        decode_finished(encode_finished(signed), X, bytes(32))
    with pytest.raises(SchemaViolation):
        decode_finished(encode_finished(signed), 2 * X, digest)


# -- good ends ----------------------------------------------------------------------------------------------------------


async def test_all_who_are_asked_answer_with_one_signature(tmp_path, gateway):
    async with network(tmp_path, gateway.url, config=CONFIG) as net:
        net.deal("alice")
        key = net[0].node.account("alice").public_key
        results = await all_of(net, ask("all"), 0, 1, 2)
        for result in results:
            check_signature(result, digest_of("all"), key)
            assert result.path == "m"
            assert result.request_id == request_id_of("all")
            assert result.v == result.signed[0].v
            assert len(result.signers) == 2
        assert len({(result.r, result.s) for result in results}) == 1
        assert {result.signers for result in results} == {results[0].signers}


@pytest.mark.parametrize("indices", [(0, 1), (0, 2), (1, 2)])
async def test_every_pair_is_enough(tmp_path, gateway, indices):
    async with network(tmp_path, gateway.url, config=CONFIG) as net:
        net.deal("alice")
        results = await all_of(net, ask(("pair", indices)), *indices)
        check_signature(results[0], digest_of(("pair", indices)), net[0].node.account("alice").public_key)
        assert results[0].signers == indices
        assert results[0].r == results[1].r


async def test_v_is_0_for_bitcoin_and_only_there(tmp_path, gateway):
    async with network(tmp_path, gateway.url, config=CONFIG) as net:
        net.deal("alice")
        key, seen = net[0].node.account("alice").public_key, set()
        for number in range(32):
            call = ask(("bitcoin", number), chain=Chain.BITCOIN)
            for result in await all_of(net, call, 0, 1):
                assert result.v == 0
                check_signature(result, call.data, key)
                seen.add(result.signed[0].v)
            if seen >= {0, 1}:
                break
        assert seen >= {0, 1}


async def test_three_of_five(tmp_path, gateway):
    async with network(tmp_path, gateway.url, 5, 3, config=CONFIG) as net:
        net.deal("alice")
        results = await all_of(net, ask("five"), *range(5))
        assert len({(result.r, result.s) for result in results}) == 1
        check_signature(results[0], digest_of("five"), net[0].node.account("alice").public_key)
        assert len(results[0].signers) == 3


async def test_presignatures_are_used_where_there_are_some(tmp_path, gateway):
    async with network(tmp_path, gateway.url, config=CONFIG) as net:
        net.deal("alice")
        await net.ready("alice")
        await last(net[0].node.fill_stock("alice", (0, 1), 1))
        results = await all_of(net, ask("stock"), 0, 1)
        assert [result.signed[0].from_stock for result in results] == [True, True]
        again = await all_of(net, ask("no stock"), 0, 1)
        assert [result.signed[0].from_stock for result in again] == [False, False]


async def test_one_who_is_asked_late_answers_with_the_same(tmp_path, gateway):
    async with network(tmp_path, gateway.url, config=CONFIG) as net:
        net.deal("alice")
        first = await all_of(net, ask("late"), 0, 1)
        (late,) = await all_of(net, ask("late"), 2)
        assert (late.r, late.s) == (first[0].r, first[0].s)
        assert not list(net[2].node.sessions(ended=True)), "it verified what it found"


async def test_the_lowest_index_may_be_the_late_one(tmp_path, gateway):
    async with network(tmp_path, gateway.url, config=CONFIG) as net:
        net.deal("alice")
        first = await all_of(net, ask("late 0"), 1, 2)
        (late,) = await all_of(net, ask("late 0"), 0)
        assert (late.r, late.signers) == (first[0].r, (1, 2))


async def test_the_same_question_gets_the_same_answer_for_ever(tmp_path, gateway):
    async with network(tmp_path, gateway.url, config=CONFIG) as net:
        net.deal("alice")
        call = ask("again")
        twice = await asyncio.gather(*(net[index].node.sign_tx(call) for index in (0, 0, 1, 1)))
        later = await net[0].node.sign_tx(call)
        await net[1].restart()
        restarted = await net[1].node.sign_tx(call)
        assert {result.r for result in [*twice, later, restarted]} == {twice[0].r}
        assert len(list(net[0].node.sessions(ended=True))) == 1
        # The stored answer is shown to whoever is asked late.
        (late,) = await all_of(net, call, 2)
        assert late.r == twice[0].r


async def test_a_gateway_that_forgot_everything_is_told_again(tmp_path):
    with running_gateway(tmp_path) as first:
        port = first.port
        async with network(tmp_path, first.url, config=CONFIG) as net:
            net.deal("alice")
            call = ask("forgotten")
            done = await all_of(net, call, 0, 1)
            first.process.kill()
            with running_gateway(tmp_path, {"server": {"port": port}}):
                (late,) = await all_of(net, call, 2)
                assert late.r == done[0].r
                assert not list(net[2].node.sessions(ended=True))


async def test_a_gateway_that_restarts_between_two_questions(tmp_path):
    with running_gateway(tmp_path) as first:
        port = first.port
        async with network(tmp_path, first.url, config=CONFIG) as net:
            net.deal("alice")
            call = ask("between")
            waiting = asyncio.create_task(net[0].node.sign_tx(call))
            await _asked(net[0], call)
            first.process.kill()
            with running_gateway(tmp_path, {"server": {"port": port}}):
                other = await net[1].node.sign_tx(call)
                assert (await waiting).r == other.r


async def _asked(member: Member, call: AskCall) -> None:
    """Wait until the node's note stands in the room."""
    rooms = RoomsClient(member.gateway_url)
    try:
        async with (
            asyncio.timeout(WAIT),
            RoomChannel(rooms).open(signing_topic(call.tx_id)) as conversation,
            aclosing(conversation.events()) as events,
        ):
            async for item in events:
                if isinstance(item, Received):
                    _, kind, sender = routing(item.envelope)
                    if kind is Kind.ASK and sender == holder(member.index + 1):
                        return
    finally:
        await rooms.close()


async def test_one_tx_id_for_several_requests_at_once(tmp_path, gateway):
    async with network(tmp_path, gateway.url, config=CONFIG) as net:
        net.deal("alice", "bob")
        calls = [
            replace(ask(("collision", number), account), tx_id=4242)
            for number, account in enumerate(["alice", "bob", "alice"])
        ]
        results = await asyncio.gather(*(all_of(net, call, 0, 1, 2) for call in calls))
        for call, answers in zip(calls, results, strict=True):
            key = net[0].node.account(call.account_id).public_key
            assert len({answer.r for answer in answers}) == 1
            check_signature(answers[0], call.data, key)


async def test_what_strangers_and_former_sessions_left_in_the_room_disturbs_nobody(tmp_path, gateway):
    call = ask("crowded")
    room = signing_topic(call.tx_id).name
    stranger, member = node_keys(seed="strangers")[0], None
    async with network(tmp_path, gateway.url, config=CONFIG) as net:
        net.deal("alice")
        member, record = net[2].keys, net[0].store.accounts.account("alice")
        note = AskNote.of(call, record)
        proto = SMALL_SECP.proto
        scope = note.scope(proto)

        def by(keys: Any, point: int, sid: bytes, kind: Kind, payload: bytes, round_: int = 0) -> bytes:
            return pack(sign(Body(proto, sid, round_, kind, holder(point), None, payload), keys.sign))

        *_, other = made_signature()
        bodies = [
            "hello?",
            '{"sender": 1, "receiver": null, "body": {"Round1": [1, 2, 3]}}',
            "{" * 1000,
            write_body([b"not an envelope"], 0, None),
            # Strangers who claim to be members.
            write_body([by(stranger, 1, scope, Kind.ASK, note.encode())], 0, None),
            write_body([by(stranger, 2, scope, Kind.ASK, encode_finished(other), FINISHED)], 0, None),
            write_body([by(stranger, 2, bytes(32), Kind.PROPOSE, b"")], 0, None),
            # A member who lies, or is confused.
            write_body([by(member, 3, scope, Kind.ASK, encode_finished(other), FINISHED)], 2, None),
            write_body([by(member, 3, scope, Kind.ASK, b"", ASKED)], 2, None),
            write_body([by(member, 3, scope, Kind.ASK, b"", 7)], 2, None),
            write_body([by(member, 3, bytes(32), Kind.ASK, note.encode())], 2, None),
            write_body([by(member, 3, bytes(32), Kind.PROPOSE, b"")], 2, None),
            write_body([by(member, 3, bytes(32), Kind.MSG, b"")], 2, None),
            write_body([by(member, 3, bytes(32), Kind.HELLO, b"")], 2, None),
        ]
        for body in bodies:
            assert gateway.post(room, body).status_code == httpx2.codes.OK
        results = await all_of(net, call, 0, 1)
        check_signature(results[0], call.data, net[0].node.account("alice").public_key)
        assert results[0].signers == (0, 1)
        assert net[0].node._asking.dropped["foreign"] >= 3


# -- who does not take part ---------------------------------------------------------------------------------------------


async def test_a_silent_proposer_loses_its_turn(tmp_path, gateway):
    """Index 0 was asked too, and says so, but nothing else of it arrives."""
    async with network(tmp_path, gateway.url, config=asking(turn=1.0)) as net:
        net.deal("alice")
        net[0].channel.mute = lambda envelope: routing(envelope)[1] is not Kind.ASK
        call = ask("silent proposer")
        results = await all_of(net, call, 0, 1, 2)
        assert {result.r for result in results} == {results[0].r}
        assert results[0].signers == (1, 2)


async def test_a_silent_signer_is_replaced(tmp_path, gateway):
    config = asking()
    config = replace(config, deadlines=replace(config.deadlines, phases={"full-sign.r0": 1.0}))
    async with network(tmp_path, gateway.url, config=config) as net:
        net.deal("alice")
        net[1].channel.mute = lambda envelope: routing(envelope)[1] is not Kind.ASK
        results = await all_of(net, ask("silent signer"), 0, 1, 2)
        assert {result.signers for result in results} == {(0, 2)}


async def test_a_signer_whose_policy_refuses_is_replaced_and_still_answers(tmp_path, gateway):
    async with network(tmp_path, gateway.url, config=CONFIG, start=[]) as net:
        own = net.committee.identities[1].hex()
        rule = AccountRule(accounts=["*"], callers=["*"], proposers=["self", own], raw_digests=True)
        from participant.policy import RulePolicy

        net[1].policy = RulePolicy(PolicySettings(rules=[rule]))
        for member in net:
            await member.start()
        net.deal("alice")
        call, waiting = ask("policy"), []
        for member in net:
            # Index 0 is to be first, and index 1 the one that it turns to.
            waiting.append(asyncio.create_task(member.node.sign_tx(call)))
            await _asked(member, call)
        assert {result.signers for result in await asyncio.gather(*waiting)} == {(0, 2)}


async def test_a_refusal_of_the_own_policy_is_told_at_once(tmp_path, gateway):
    refuses = PolicySettings(rules=[AccountRule(accounts=["*"], callers=["*"], proposers=["*"])])
    async with network(tmp_path, gateway.url, config=CONFIG, policies={0: refuses}) as net:
        net.deal("alice")
        with pytest.raises(PolicyRefused, match="raw digests"):
            await net[0].node.sign_tx(ask("refused"))
        assert [entry.record.decision for entry in net[0].store.audit.export()][-1] == "refuse"
        results = await all_of(net, ask("refused"), 1, 2)
        assert results[0].signers == (1, 2)


async def test_the_only_other_one_refuses(tmp_path, gateway):
    own = PolicySettings(
        rules=[AccountRule(accounts=["*"], callers=["*"], proposers=["*"], payloads=["message"])]
    )
    async with network(tmp_path, gateway.url, config=asking(gather=1.0, total=WAIT)) as net:
        net.deal("alice")
        call = ask("only one")
        # Index 1 was asked, and then its operator changed the policy.
        from participant.policy import RulePolicy

        waiting = asyncio.create_task(net[1].node.sign_tx(call))
        await _asked(net[1], call)
        net[1].node._proposals._policy = RulePolicy(own)
        with pytest.raises(PolicyRefused, match="raw digests") as caught:
            await net[0].node.sign_tx(call)
        assert caught.value.metadata["by"] == "1"
        waiting.cancel()


async def test_a_quarantined_one_is_left_out(tmp_path, gateway):
    async with network(tmp_path, gateway.url, config=CONFIG) as net:
        net.deal("alice")
        net[0].store.quarantine.add(net.committee.identities[1], net.committee.committee_id, "a failed proof")
        results = await all_of(net, ask("marked"), 0, 1, 2)
        assert {result.signers for result in results} <= {(0, 2), (1, 2)}
        assert len({result.r for result in results}) == 1


async def test_an_operator_ends_a_request(tmp_path, gateway):
    async with network(tmp_path, gateway.url, config=CONFIG) as net:
        net.deal("alice")
        net[1].channel.mute = lambda envelope: routing(envelope)[1] is not Kind.ASK
        call = ask("enough")
        waiting = [asyncio.create_task(net[index].node.sign_tx(call)) for index in (0, 1)]
        for member in net.members[:2]:
            await poll(lambda member=member: bool(member.node.sessions()))  # type: ignore[misc]
        for member in net.members[:2]:
            await member.node.abort_session(request_id=call.execution_id, reason="enough")
        for answer in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(answer, Aborted)


async def test_too_few_are_asked(tmp_path, gateway):
    async with network(tmp_path, gateway.url, config=asking(gather=0.5)) as net:
        net.deal("alice")
        await net.ready("alice")
        with pytest.raises(ThresholdNotMet, match="Threshold not met") as caught:
            await net[1].node.sign_tx(ask("alone"))
        assert caught.value.missing == (0, 2)
        assert "index 0: was not asked" in str(caught.value)
        # Asked again together with another, the same request goes through.
        results = await all_of(net, ask("alone"), 1, 2)
        assert results[0].signers == (1, 2)


async def test_somebody_was_asked_for_something_else(tmp_path, gateway):
    async with network(tmp_path, gateway.url, config=asking(gather=1.0)) as net:
        net.deal("alice")
        call = ask("mixed")
        answers = await asyncio.gather(
            net[0].node.sign_tx(call),
            net[1].node.sign_tx(replace(call, data=bytes(32))),
            return_exceptions=True,
        )
        for index, answer in enumerate(answers):
            assert isinstance(answer, ThresholdNotMet)
            assert f"index {1 - index}: was asked for another data" in str(answer)


async def test_silence_of_all_others_is_a_timeout(tmp_path, gateway):
    config = asking(total=1.5)
    config = replace(config, deadlines=replace(config.deadlines, phases={"full-sign.r0": 0.5}))
    async with network(tmp_path, gateway.url, config=config) as net:
        net.deal("alice")
        net[1].channel.mute = lambda envelope: routing(envelope)[1] is not Kind.ASK
        net[1].channel.deaf = lambda envelope: routing(envelope)[1] is Kind.ASK
        answers = await asyncio.gather(
            *(net[index].node.sign_tx(ask("mute")) for index in (0, 1)), return_exceptions=True
        )
        assert isinstance(answers[0], TimedOut)
        assert answers[0].metadata["silent"] == "1"
        assert "did not answer the proposal in time" in str(answers[0])


async def test_a_room_that_gives_nothing_back_is_the_gateways_fault(tmp_path, gateway):
    from participant.node.errors import GatewayUnreachable

    async with network(tmp_path, gateway.url, config=asking(gather=0.5)) as net:
        net.deal("alice")
        net[0].channel.deaf = everything
        with pytest.raises(GatewayUnreachable, match="Connection refused"):
            await net[0].node.sign_tx(ask("deaf"))


async def test_nobody_is_made_to_sign_what_it_was_not_asked(tmp_path, gateway):
    """A member that was asked proposes something else in the room: it is told that nobody asked for that."""
    call = ask("asked")
    async with network(tmp_path, gateway.url, config=CONFIG) as net:
        net.deal("alice", "bob")
        waiting = asyncio.create_task(net[0].node.sign_tx(call))
        await _asked(net[0], call)
        aux = net[1].node._records.aux(net[1].store.accounts.account("alice").aux_id, SMALL_SECP)

        def proposal(account: str, digest: bytes, path: tuple[int, ...], request_id: bytes) -> Proposal:
            share = net[1].node._records.account(account).share
            tail = presign.full_tail(share, aux, (1, 2), 2, SignRequest(digest, path))
            return Proposal(
                holder(2), net.committee.committee_id, account, presign.FULL_KIND, request_id, tail,
                encode(to_value(Digest(digest))), 2_000_000_000,
            )  # fmt: skip

        bad = [
            proposal("alice", bytes(32), (), call.execution_id),
            proposal("alice", call.data, (1,), call.execution_id),
            proposal("bob", call.data, (), call.execution_id),
            proposal("alice", call.data, (), bytes(16)),
        ]
        expiry = net[1].node._proposals.expiry()
        bad = [replace(one, expiry=expiry) for one in bad]
        share = net[1].node._records.account("alice").share
        bad.append(
            replace(bad[0], kind=presign.KIND, tail=presign.tail(share, aux, (1, 2), 2, 1), message=None)
        )
        rooms = RoomsClient(gateway.url)
        topic = signing_topic(call.tx_id)
        channel = RoomChannel(rooms)
        refused: dict[bytes, str] = {}
        async with asyncio.timeout(WAIT), channel.open(topic) as conversation:
            for one in bad:
                await conversation.post(pack(sign(one.body(SMALL_SECP), net[1].keys.sign)), sender=1)
            async with aclosing(conversation.events()) as events:
                async for item in events:
                    if isinstance(item, Received) and routing(item.envelope)[1] is Kind.ABORT:
                        body = decode_body(unpack(item.envelope)[0])  # type: ignore[index]
                        refused[body.sid] = decode(body.payload, Tuple(Text(64), Text(512)))[0]
                    if len(refused) == len(bad):
                        break
        await rooms.close()
        assert refused == {one.hash(SMALL_SECP): "NOT_ASKED" for one in bad}
        assert not waiting.done()
        other = await net[1].node.sign_tx(call)
        assert (await waiting).r == other.r


# -- bad requests -------------------------------------------------------------------------------------------------------


async def test_bad_requests_get_clear_answers(tmp_path, gateway):
    async with network(tmp_path, gateway.url, config=CONFIG, start=[0]) as net:
        net.members = net.members[:1]
        node, share = net[0].node, deal(SMALL_SECP, 2, 3, "bad")[0]
        from node_testing import aux_sets

        from participant.store import NewAux, NewShare, Origin

        net[0].store.accounts.put_aux(net.committee.committee_id, NewAux.of(aux_sets(SMALL_SECP, 3)[0]))
        net[0].store.accounts.add(NewShare.of("alice", share), net.committee.committee_id, Origin.KEYGEN)
        good = ask("bad")
        for call, error in [
            (replace(good, execution_id=bytes(15)), InvalidRequest),
            (replace(good, tx_id=2**31), InvalidRequest),
            (replace(good, tx_id=-(2**31) - 1), InvalidRequest),
            (replace(good, data=bytes(31)), BadDigestGiven),
            (replace(good, account_id="nobody"), AccountUnknown),
            (replace(good, account_id=""), AccountUnknown),
            (replace(good, caller=Caller("eve", frozenset({"bob"}))), NotAllowed),
        ]:
            with pytest.raises(error):
                await node.sign_tx(call)
        node.freeze("alice")
        with pytest.raises(AccountIsFrozen):
            await node.sign_tx(good)


async def test_an_execution_id_serves_for_one_request(tmp_path, gateway):
    async with network(tmp_path, gateway.url, config=CONFIG) as net:
        net.deal("alice")
        call = ask("taken")
        await all_of(net, call, 0, 1)
        for other in (
            replace(call, data=bytes(32)),
            replace(call, chain=Chain.BITCOIN),
            replace(call, tx_id=1),
        ):
            with pytest.raises(RequestIdUsed):
                await net[0].node.sign_tx(other)
        with pytest.raises(RequestIdUsed):
            await net[0].node.sign(replace(sign_call("alice", "other"), request_id=call.execution_id))
        await net[0].restart()
        with pytest.raises(RequestIdUsed):
            await net[0].node.sign_tx(replace(call, data=bytes(32)))


async def test_a_node_that_stops_says_so_to_those_who_wait(tmp_path, gateway):
    async with network(tmp_path, gateway.url, config=CONFIG) as net:
        net.deal("alice")
        waiting = asyncio.create_task(net[0].node.sign_tx(ask("stopped")))
        await _asked(net[0], ask("stopped"))
        await net[0].stop()
        with pytest.raises(NotReady):
            await waiting


async def test_rooms_are_left_when_nobody_can_be_late_any_more(tmp_path, gateway):
    async with network(tmp_path, gateway.url, config=asking(linger=0.0)) as net:
        net.deal("alice")
        await all_of(net, ask("left"), 0, 1)
        for index in (0, 1):
            tasks = [task for task in net[index].node._asking._tasks._tasks if "request" in task.get_name()]
            await asyncio.gather(*tasks)
            assert not net[index].node._asking._watched
