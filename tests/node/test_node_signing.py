"""Whole nodes sign: every pair, full and from stock, with members that are silent, away, unwilling or cheating."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import ecdsa as foreign_ecdsa
import pytest
from bip_utils import Bip32ChainCode, Bip32KeyData, Bip32Slip10Secp256k1
from eth_account import Account as EthereumAccount
from gateway_testing import running_gateway
from node_network import (
    PATIENT,
    WAIT,
    Member,
    Network,
    all_but_hellos,
    check_signature,
    digest_of,
    last,
    network,
    poll,
    request_id_of,
    sign_call,
)
from node_testing import node_keys
from session_testing import CheatingSession, Tamper, says
from tss_testing import SMALL_SECP

from participant.callers import Caller
from participant.channel import committee_topic, write_body
from participant.node import driver as driver_module
from participant.node.api import SignCall, SignResult, StockView
from participant.node.errors import (
    Aborted,
    AccountIsFrozen,
    AccountUnknown,
    GatewayUnreachable,
    HardenedPathRequested,
    InvalidRequest,
    NotAllowed,
    NotASigner,
    NotReady,
    PeerQuarantined,
    PolicyRefused,
    RequestIdUsed,
    SessionUnknown,
    ThresholdNotMet,
)
from participant.payloads import Digest, EthereumTx, Message
from participant.policy import AccountRule, PolicySettings
from tss.envelope import Body, Kind, holder, pack, routing, sign
from tss.session import Session

PAIRS = [(0, 1), (0, 2), (1, 2)]
NO_DIGESTS = PolicySettings(
    rules=[AccountRule(accounts=["*"], callers=["*"], proposers=["*"], payloads=["message"])]
)
IMPATIENT = replace(
    PATIENT,
    gather=1.0,
    deadlines=replace(PATIENT.deadlines, phases={"full-sign.r0": 1.0, "sign": 1.0, "presign.r0": 1.0}),
)


# The HTTP library forgets dead connections that it was about to close when it is cancelled; the collector closes them.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


async def signed(member: Member, name: object, account_id: str = "alice", **fields: Any) -> SignResult:
    """Ask one node for a signature, and check it."""
    result = await member.node.sign(sign_call(account_id, name, **fields))
    path = fields.get("path", "m")
    key = member.node.public_key(account_id, path).public_key
    check_signature(result, digest_of(name), key)
    verifying = foreign_ecdsa.VerifyingKey.from_string(key, curve=foreign_ecdsa.SECP256k1)
    assert verifying.verify_digest(
        result.signature[:64], digest_of(name), sigdecode=foreign_ecdsa.util.sigdecode_string
    )
    return result


async def dealt(net: Network, *account_ids: str) -> None:
    net.deal(*account_ids)
    for account_id in account_ids:
        await net.ready(account_id)


# -- good ends ----------------------------------------------------------------------------------------------------------


async def test_every_pair_signs_by_either_of_its_members(tmp_path, gateway):
    async with network(tmp_path, gateway.url) as net:
        await dealt(net, "alice")
        for pair in PAIRS:
            for index in pair:
                result = await signed(net[index], (pair, index), signers=pair)
                assert result.signers == pair
                assert not result.signed[0].from_stock


async def test_stock_is_used_before_anything_is_made_anew(tmp_path, gateway):
    async with network(tmp_path, gateway.url) as net:
        await dealt(net, "alice")
        view = await last(net[0].node.fill_stock("alice", (0, 2), 2))
        assert isinstance(view, StockView)
        assert [(entry.signers, entry.owner, entry.fresh) for entry in view.entries] == [((0, 2), 0, 2)]
        first = await signed(net[0], 1)
        assert first.signers == (0, 2), "the set that there is stock for"
        assert first.signed[0].from_stock
        assert (await signed(net[0], 2, signers=(0, 1))).signed[0].from_stock is False
        assert (await signed(net[2], 3, signers=(0, 2))).signed[0].from_stock is False, (
            "only the owner proposes"
        )
        assert (await signed(net[0], 4, signers=(0, 2))).signed[0].from_stock
        assert (await signed(net[0], 5, signers=(0, 2))).signed[0].from_stock is False
        assert sum(entry.fresh for entry in net[0].node.stock("alice")[0].entries) == 0


async def test_stock_is_made_for_accounts_that_sign(tmp_path, gateway):
    stock = replace(PATIENT.stock, target=1, idle=0.01)
    async with network(tmp_path, gateway.url, config=replace(PATIENT, stock=stock)) as net:
        await dealt(net, "alice", "idle")
        await signed(net[0], 1)

        def filled() -> bool:
            entries = net[0].node.stock("alice")[0].entries
            return {entry.signers for entry in entries if entry.owner == 0 and entry.fresh} == {
                (0, 1),
                (0, 2),
            }

        await net[0].until(filled)
        assert net[0].node.stock("idle")[0].entries == ()
        assert (await signed(net[0], 2)).signed[0].from_stock


async def test_stock_of_a_member_that_started_anew_is_dropped(tmp_path, gateway):
    async with network(tmp_path, gateway.url) as net:
        await dealt(net, "alice")
        await last(net[0].node.fill_stock("alice", (0, 1), 1))
        await last(net[0].node.fill_stock("alice", (0, 2), 1))
        await net[1].restart()
        await net[0].until(lambda: {e.signers for e in net[0].node.stock("alice")[0].entries} == {(0, 2)})
        assert (await signed(net[0], 1)).signers == (0, 2)
        assert net[0].node.drop_stock("alice") == 0


async def test_paths_derive_as_bip_32_says(tmp_path, gateway):
    async with network(tmp_path, gateway.url) as net:
        await dealt(net, "alice")
        chain_code = net[0].store.accounts.chain_code("alice")
        root = net[0].node.account("alice").public_key
        foreign = Bip32Slip10Secp256k1.FromPublicKey(
            root, Bip32KeyData(chain_code=Bip32ChainCode(chain_code))
        )
        for path in ("m/0", "m/44/60/0/0/7", "m/2147483647"):
            key = foreign.DerivePath(path.removeprefix("m/")).PublicKey().RawCompressed().ToBytes()
            assert net[1].node.public_key("alice", path).public_key == key
            assert (await signed(net[1], path, path=path)).path == path
        with pytest.raises(HardenedPathRequested):
            await net[0].node.sign(sign_call("alice", "hard", path="m/44'/0"))


async def test_a_transaction_comes_back_signed(tmp_path, gateway):
    async with network(tmp_path, gateway.url) as net:
        await dealt(net, "alice")
        transaction = {
            "type": "0x2", "chainId": 1, "nonce": 3, "to": "0x" + "11" * 20, "value": 10**18, "gas": 21000,
            "maxFeePerGas": 2 * 10**9, "maxPriorityFeePerGas": 10**9, "data": "0x", "accessList": [],
        }  # fmt: skip
        payload = EthereumTx.parse(transaction)
        result = await net[2].node.sign(SignCall(request_id_of("tx"), "alice", payload, "m/0/1"))
        assert result.raw_transaction is not None
        sender = EthereumAccount.recover_transaction(result.raw_transaction)
        assert (
            sender
            == result.addresses["ethereum"]
            == net[0].node.public_key("alice", "m/0/1").addresses["ethereum"]
        )


@pytest.mark.parametrize("count", [1, 20], ids=["one account", "many accounts"])
async def test_20_signatures_at_once(tmp_path, gateway, count):
    """Asked of all nodes at the same time; a part comes from stock."""
    config = replace(PATIENT, sign_total=5 * WAIT)
    async with network(tmp_path, gateway.url, config=config) as net:
        names = [f"account {number}" for number in range(count)]
        await dealt(net, *names)
        await last(net[0].node.fill_stock(names[0], (0, 1), 4))
        calls = [signed(net[number % 3], number, names[number % count]) for number in range(20)]
        results = await asyncio.gather(*calls)
        assert len({(result.r, result.s) for result in results}) == 20
        assert [result.account_id for result in results] == [names[number % count] for number in range(20)]


async def test_two_who_propose_the_same_at_once(tmp_path, gateway):
    async with network(tmp_path, gateway.url) as net:
        await dealt(net, "alice")
        results = await asyncio.gather(*(signed(net[index], "same", signers=(0, 1)) for index in (0, 1)))
        assert [result.signers for result in results] == [(0, 1), (0, 1)]


async def test_three_of_five(tmp_path, gateway):
    async with network(tmp_path, gateway.url, 5, 3) as net:
        await dealt(net, "alice")
        result = await signed(net[4], 1)
        assert len(result.signers) == 3
        assert 4 in result.signers
        await last(net[1].node.fill_stock("alice", (1, 2, 3), 1))
        assert (await signed(net[1], 2, signers=(1, 2, 3))).signed[0].from_stock


# -- once and only once -------------------------------------------------------------------------------------------------


async def test_a_request_is_answered_once(tmp_path, gateway):
    async with network(tmp_path, gateway.url) as net:
        await dealt(net, "alice")
        call = sign_call("alice", "once")
        results = await asyncio.gather(*(net[0].node.sign(call) for _ in range(3)))
        again = await net[0].node.sign(call)
        assert {(result.r, result.s) for result in [*results, again]} == {(again.r, again.s)}
        assert len(list(net[0].node.sessions(ended=True))) == 1
        for other in (
            replace(call, payload=Digest(bytes(32))),
            replace(call, path="m/1"),
            replace(call, payload=Message(b"x", "sha256")),
        ):
            with pytest.raises(RequestIdUsed):
                await net[0].node.sign(other)
        await net[0].restart()
        assert (await net[0].node.sign(call)).r == again.r
        with pytest.raises(RequestIdUsed):
            await net[0].node.sign(replace(call, payload=Digest(bytes(32))))


async def test_a_request_goes_on_when_its_caller_is_gone(tmp_path, gateway):
    async with network(tmp_path, gateway.url) as net:
        await dealt(net, "alice")
        asking = asyncio.create_task(net[0].node.sign(sign_call("alice", "gone")))
        await poll(lambda: bool(net[0].node.sessions()))
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        result = await signed(net[0], "gone")
        assert len(list(net[0].node.sessions(ended=True))) == 1
        assert result.request_id == request_id_of("gone")


async def test_a_request_that_failed_may_be_made_again(tmp_path, gateway):
    async with network(tmp_path, gateway.url, config=IMPATIENT, start=[0]) as net:
        with pytest.raises(AccountUnknown):
            await net[0].node.sign(sign_call("alice", "again"))
        for member in net.members[1:]:
            await member.start()
        await dealt(net, "alice")
        for member in net.members[1:]:
            await member.stop()
        await net[0].sees(1, 2, online=True)
        with pytest.raises(ThresholdNotMet):
            await net[0].node.sign(sign_call("alice", "again"))
        await net[2].start()
        await net[0].until(lambda: _fit(net[0], 2))
        assert (await signed(net[0], "again")).signers == (0, 2)


# -- who does not take part ---------------------------------------------------------------------------------------------


async def test_a_silent_signer_is_replaced(tmp_path, gateway):
    async with network(tmp_path, gateway.url, config=replace(IMPATIENT, gather=WAIT)) as net:
        await dealt(net, "alice")
        net[1].channel.mute = all_but_hellos
        assert (await signed(net[0], 1)).signers == (0, 2)
        net[1].channel.mute = lambda _: False
        await net[0].until(lambda: _fit(net[0], 1))
        assert (await signed(net[0], 2, signers=(0, 1))).signers == (0, 1)


def _fit(member: Member, index: int) -> bool:
    (membership,) = member.node._memberships.values()
    return not membership.presence.is_quiet(membership.parties[index])


async def test_a_signer_that_stops_answering_a_stock_signature_is_replaced(tmp_path, gateway):
    async with network(tmp_path, gateway.url, config=replace(IMPATIENT, gather=WAIT)) as net:
        await dealt(net, "alice")
        await last(net[0].node.fill_stock("alice", (0, 1), 1))
        net[1].channel.mute = all_but_hellos
        result = await signed(net[0], 1)
        assert result.signers == (0, 2)
        assert not any(entry.fresh for entry in net[0].node.stock("alice")[0].entries), "it is spent"


@pytest.mark.attack("D3")
async def test_an_answer_that_a_restart_cut_short_is_sent_by_the_next_process(tmp_path, gateway):
    """The responder's sigma is durable, and lost on its way; the owner still waits for it when the responder is back."""
    async with network(tmp_path, gateway.url) as net:
        await dealt(net, "alice")
        presigning, answered = set(), asyncio.Event()

        async def watch(envelope: bytes) -> None:
            sid, kind, _ = routing(envelope)
            if not stocked:
                presigning.add(sid)
            elif kind is Kind.MSG and sid not in presigning:
                net[1].channel.mute = all_but_hellos
                answered.set()

        stocked = False
        net[1].channel.on_post = watch
        await last(net[0].node.fill_stock("alice", (0, 1), 1))
        stocked = True
        waiting = asyncio.create_task(signed(net[0], 1, signers=(0, 1)))
        await asyncio.wait_for(answered.wait(), WAIT)
        await net[1].stop()
        await net[1].start()
        result = await waiting
        assert (result.signers, result.signed[0].from_stock) == ((0, 1), True)
        records = [e.record for e in net[1].store.audit.export() if e.record.decision == "signed"]
        assert len(records) == 1, "signed once"


async def test_too_few_are_there_and_the_error_says_who_is_missing(tmp_path, gateway):
    async with network(tmp_path, gateway.url, config=IMPATIENT, start=[0]) as net:
        for member in net.members[1:]:
            await member.start()
        await dealt(net, "alice")
        for member in net.members:
            await member.stop()
        await net[0].start()
        with pytest.raises(ThresholdNotMet, match="Threshold not met") as caught:
            await net[0].node.sign(sign_call("alice", "alone"))
        assert caught.value.missing == (1, 2)
        assert caught.value.metadata["needed"] == "2"
        assert "index 1: no hello of it was ever heard" in str(caught.value)


async def test_a_peer_that_refuses_by_its_policy_is_replaced(tmp_path, gateway):
    async with network(tmp_path, gateway.url, policies={1: NO_DIGESTS}) as net:
        await dealt(net, "alice")
        assert (await signed(net[0], 1)).signers == (0, 2)
        decisions = [(e.record.decision, e.record.kind) for e in net[1].store.audit.export()]
        assert ("refuse", "sign") in decisions
        message = SignCall(request_id_of("text"), "alice", Message(b"text", "eip191"), signers=(0, 1))
        assert (await net[0].node.sign(message)).signers == (0, 1)


async def test_peers_that_all_refuse_are_named_with_their_rule(tmp_path, gateway):
    async with network(tmp_path, gateway.url, policies={1: NO_DIGESTS, 2: NO_DIGESTS}) as net:
        await dealt(net, "alice")
        with pytest.raises(PolicyRefused, match="raw digests") as caught:
            await net[0].node.sign(sign_call("alice", 1))
        assert caught.value.metadata["by"] == "1"
        assert caught.value.metadata["rule"] == "RAW_DIGEST_NOT_ALLOWED"


async def test_the_own_policy_is_asked_first(tmp_path, gateway):
    async with network(tmp_path, gateway.url, policies={0: NO_DIGESTS}) as net:
        await dealt(net, "alice")
        with pytest.raises(PolicyRefused):
            await net[0].node.sign(sign_call("alice", 1))
        assert [e.record.decision for e in net[0].store.audit.export()][-1] == "refuse"
        assert list(net[1].node.sessions(ended=True)) == []


async def test_a_frozen_account_signs_here_no_more_and_elsewhere_without_us(tmp_path, gateway):
    async with network(tmp_path, gateway.url) as net:
        await dealt(net, "alice", "bob")
        assert net[1].node.freeze("alice", "lost laptop").status == "frozen"
        with pytest.raises(AccountIsFrozen):
            await net[1].node.sign(sign_call("alice", 1))
        assert (await signed(net[0], 2)).signers == (0, 2)
        assert (await signed(net[1], 3, "bob")).signers[0] in (0, 1)
        assert net[1].node.unfreeze("alice").status == "active"
        await net.ready("alice")
        assert (await signed(net[1], 4, signers=(0, 1))).signers == (0, 1)
        kinds = [(e.record.kind, e.record.decision) for e in net[1].store.audit.export()]
        assert ("operator", "frozen") in kinds


@pytest.mark.fault(8)
async def test_a_damaged_share_is_not_used_and_the_others_sign_without_it(tmp_path, gateway):
    from node_testing import raw

    from participant.node.errors import ShareDamaged

    async with network(tmp_path, gateway.url) as net:
        await dealt(net, "alice", "bob")
        await net[1].stop()
        raw(net[1].path, "UPDATE share SET sealed_share = zeroblob(60) WHERE account_id = 'alice'")
        await net[1].start()
        await net[0].sees(1, 2)
        assert (await signed(net[0], 1)).signers == (0, 2)
        with pytest.raises(ShareDamaged):
            await net[1].node.sign(sign_call("alice", 2))
        assert net[1].node.account("alice").status == "damaged"
        assert "alice" in " ".join(net[1].node.status().warnings)
        assert (await signed(net[1], 3, "bob")).signers
        report = await net[1].node.check_store(deep=True)
        assert not report.sound


# -- cheaters -----------------------------------------------------------------------------------------------------------


def cheat(monkeypatch: pytest.MonkeyPatch, point: int, rules: Sequence[Tamper], kinds: set[str]) -> None:
    """Make the node at an evaluation point run sessions of these kinds with a hand in what it signs."""

    def session(setup: Any, program: Any, runtime: Any) -> Session:
        if setup.me.index != point or setup.kind not in kinds:
            return Session(setup, program, runtime)
        cheating = CheatingSession(setup, program, runtime)
        cheating.rules = rules
        return cheating

    monkeypatch.setattr(driver_module, "Session", session)


async def test_a_cheater_is_left_out_and_quarantined_until_an_operator_clears_it(
    tmp_path, gateway, monkeypatch
):
    async with network(tmp_path, gateway.url, config=replace(PATIENT, gather=3.0)) as net:
        await dealt(net, "alice")
        spoil = says(2, lambda value: [*value[:1], value[0], *value[2:]] if len(value) > 1 else [])
        cheat(monkeypatch, 2, [spoil], {"full-sign"})
        result = await signed(net[0], 1)
        assert result.signers == (0, 2)
        await net[0].until(lambda: bool(net[0].node.quarantine()))
        (mark,) = net[0].node.quarantine()
        assert (mark.index, mark.identity) == (1, net.committee.identities[1])
        assert mark.evidence_id in net[0].node.evidence_ids()
        assert net[0].node.evidence(mark.evidence_id)
        assert net[0].node.peers()[1].quarantined
        monkeypatch.undo()
        with pytest.raises(PeerQuarantined) as refused:
            await net[0].node.sign(sign_call("alice", 2, signers=(0, 1)))
        assert refused.value.peers == (1,)
        assert (await signed(net[0], "second")).signers == (0, 2)
        with pytest.raises(ThresholdNotMet, match="quarantine"):
            await net[1].node.sign(sign_call("alice", 3, signers=(0, 1)))
        await net[0].restart()
        await net[0].sees(1, 2)
        assert net[0].node.peers()[1].quarantined, "a mark outlives the process"
        assert (
            net[0].node.clear_quarantine(net.committee.identities[1], "operator", "the disk was broken") == 1
        )
        assert net[0].node.quarantine() == []
        await net.ready("alice")
        assert (await signed(net[0], 4, signers=(0, 1))).signers == (0, 1)


@pytest.mark.fault(10)
async def test_a_room_full_of_strangers_disturbs_nobody(tmp_path, gateway):
    stranger = node_keys(seed="strangers")[0]
    async with network(tmp_path, gateway.url) as net:
        await dealt(net, "alice")
        room = committee_topic(net.committee.committee_id).name
        kinds = [
            Kind.MSG,
            Kind.ECHO,
            Kind.ABORT,
            Kind.DONE,
            Kind.PROPOSE,
            Kind.HELLO,
            Kind.COMPLAINT,
            Kind.ASK,
        ]

        def forged(number: int) -> str:
            kind, point = kinds[number % len(kinds)], 1 + number % 4
            body = Body(SMALL_SECP.proto, digest_of(number), 0, kind, holder(point), None, b"")
            return write_body([pack(sign(body, stranger.sign))], point - 1, None)

        for number in range(128):
            gateway.post(room, forged(number))
        for body in ("hello", "{}", '{"sender": 1, "receiver": null, "body": {"Round1": []}}', "{" * 10_000):
            gateway.post(room, body)
        results = await asyncio.gather(*(signed(net[index], ("crowd", index)) for index in range(3)))
        assert len(results) == 3
        for member in net:
            await poll(lambda member=member: member.node.status().dropped.get("stranger", 0) >= 90)  # type: ignore[misc]
            assert not member.node._sessions._early._by_scope, "nothing of it is kept"
            assert member.node.quarantine() == []


# -- the gateway, operators, callers ------------------------------------------------------------------------------------


async def test_a_gateway_that_restarts_in_the_middle_costs_time_only(tmp_path):
    with running_gateway(tmp_path) as first:
        port = first.port
        async with network(tmp_path, first.url) as net:
            await dealt(net, "alice")
            in_round_1 = asyncio.Event()

            async def watch(envelope: bytes) -> None:
                if routing(envelope)[1] is Kind.MSG:
                    in_round_1.set()

            net[1].channel.on_post = watch
            waiting = asyncio.create_task(signed(net[0], 1, signers=(0, 1)))
            await asyncio.wait_for(in_round_1.wait(), WAIT)
            first.process.kill()
            with running_gateway(tmp_path, {"server": {"port": port}}):
                assert (await waiting).signers == (0, 1)
                assert (await signed(net[2], 2)).signers


async def test_without_a_gateway_the_error_says_so(tmp_path):
    with running_gateway(tmp_path) as first:
        async with network(tmp_path, first.url, config=replace(IMPATIENT, away_after=1.0)) as net:
            await dealt(net, "alice")
            first.process.kill()
            await poll(lambda: not net[0].node.status().gateway_connected)
            await poll(lambda: not any(peer.online for peer in net[0].node.peers()[1:]))
            with pytest.raises(GatewayUnreachable, match="Connection refused"):
                await net[0].node.sign(sign_call("alice", 1))
            assert not net[0].node.status().ready


async def test_an_operator_ends_a_session(tmp_path, gateway):
    async with network(tmp_path, gateway.url) as net:
        await dealt(net, "alice")
        net[1].channel.mute = all_but_hellos
        waiting = asyncio.create_task(net[0].node.sign(sign_call("alice", 1, signers=(0, 1))))
        await poll(lambda: bool(net[0].node.sessions()))
        (view,) = net[0].node.sessions()
        assert (view.initiator, view.parties, view.account_id) == (0, (0, 1), "alice")
        ended = await net[0].node.abort_session(request_id=request_id_of(1), reason="enough")
        assert ended is not None
        assert "enough" in ended.outcome
        with pytest.raises(Aborted):
            await waiting
        with pytest.raises(SessionUnknown):
            await net[0].node.abort_session(session_id=bytes(32))
        assert net[0].node.sessions() == []
        assert net[0].node.sessions(ended=True)[0].outcome != ""


async def test_callers_use_their_accounts_only(tmp_path, gateway):
    async with network(tmp_path, gateway.url) as net:
        await dealt(net, "alice", "bob")
        bob = Caller("bob", frozenset({"bob"}))
        with pytest.raises(NotAllowed):
            await net[0].node.sign(sign_call("alice", 1, caller=bob))
        with pytest.raises(NotAllowed):
            net[0].node.public_key("alice", caller=bob)
        assert [view.account_id for view in net[0].node.accounts(caller=bob)] == ["bob"]
        assert (await signed(net[0], 2, "bob", caller=bob)).account_id == "bob"
        callers = {e.record.caller for e in net[0].store.audit.export() if e.record.account == "bob"}
        assert "bob" in callers


async def test_bad_requests_get_clear_answers(tmp_path, gateway):
    async with network(tmp_path, gateway.url) as net:
        await dealt(net, "alice")
        good = sign_call("alice", 1)
        for call, error in [
            (replace(good, request_id=bytes(15)), InvalidRequest),
            (replace(good, account_id="nobody"), AccountUnknown),
            (replace(good, signers=(1, 2)), NotASigner),
            (replace(good, signers=(0,)), InvalidRequest),
            (replace(good, signers=(0, 3)), InvalidRequest),
            (replace(good, signers=(0, 0)), InvalidRequest),
            (replace(good, path="m/x"), InvalidRequest),
        ]:
            with pytest.raises(error):
                await net[0].node.sign(call)
        await net[0].stop()
        with pytest.raises(NotReady):
            await net[0].node.sign(good)


async def test_every_signature_is_on_record_at_every_signer(tmp_path, gateway):
    async with network(tmp_path, gateway.url) as net:
        await dealt(net, "alice")
        result = await signed(net[0], 1, signers=(0, 1), caller=Caller("carol"))
        for index, caller in ((0, "carol"), (1, net.committee.identities[0].hex())):
            records = [e.record for e in net[index].store.audit.export() if e.record.decision == "signed"]
            assert [(r.caller, r.account, r.digest, r.path) for r in records] == [
                (caller, "alice", digest_of(1), "m")
            ]
            assert records[0].session == result.signed[0].session_id
            assert net[index].store.audit.verify_chain() > 0
        assert [e for e in net[2].store.audit.export() if e.record.decision == "signed"] == []
