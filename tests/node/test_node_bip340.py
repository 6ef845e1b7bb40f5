"""BIP-340 by secp256k1 accounts on whole nodes: each pair, tweaks, policy, a cheater, beside ECDSA with the same key."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from coincurve import PublicKeyXOnly
from embit.transaction import Transaction
from gateway_testing import GatewayProcess
from node_network import (
    PATIENT,
    check_signature,
    digest_of,
    last,
    network,
    poll,
    request_id_of,
    sign_call,
)
from psbt_testing import Payment
from session_testing import CheatingSession, Tamper, says

from participant.node import driver as driver_module
from participant.node.api import SignCall, SignResult
from participant.node.errors import HardenedPathRequested, InvalidRequest, NodeFailure, PolicyRefused
from participant.node.frost import signing_tail
from participant.node.plan import Declined
from participant.payloads import Bip340, Digest, DigestToSign, Message, Payload, PsbtTx, to_value
from participant.policy import AccountRule, PolicySettings
from participant.services import values
from tss.encoding import encode
from tss.envelope import Body, Kind, holder
from tss.envelope import sign as sign_body
from tss.frost.bip340 import NO_SCRIPTS, Tweaks, signing_key
from tss.frost.ciphersuite import x_only
from tss.groups import SECP256K1
from tss.judge import judge
from tss.params import FROST_BIP340
from tss.proposal import Proposal

PAIRS = [(0, 1), (0, 2), (1, 2)]
ROOT = hashlib.sha256(b"scripts").digest()
WAYS = [Bip340(), Bip340(NO_SCRIPTS), Bip340(ROOT)]


def call(name: object, bip340: Bip340 = WAYS[0], **fields: Any) -> SignCall:
    return SignCall(request_id_of(name), "eth", Digest(digest_of(name), bip340), **fields)


def verified(result: SignResult, digest: bytes, public_key: bytes, taproot: bytes | None = None) -> bytes:
    """The 64 bytes, by libsecp256k1, under the key that `public_key` at the path gives."""
    assert (result.public_key, result.digest, result.v) == (public_key, digest, 0)
    key = signing_key(SECP256K1.decode_point(public_key), taproot)
    assert len(result.signature) == 64
    assert PublicKeyXOnly(x_only(key)).verify(result.signature, digest)
    return result.signature


async def test_every_pair_signs_under_every_tweak(tmp_path: Any, gateway: GatewayProcess) -> None:
    """Beside ECDSA with the same key; the same request gives the same bytes."""
    async with network(tmp_path, gateway.url) as net:
        net.deal("eth")
        await net.ready("eth")
        for pair, bip340 in zip(PAIRS, WAYS, strict=True):
            asked = net[pair[0]].node
            path = f"m/0/{pair[1]}"
            key = asked.public_key("eth", path).public_key
            asking = call(pair, bip340, signers=pair, path=path)
            result = await asked.sign(asking)
            verified(result, digest_of(pair), key, bip340.taproot)
            assert (result.signers, result.path, result.signed[0].from_stock) == (pair, path, False)
            assert (await asked.sign(asking)).signature == result.signature
        root = net[0].node.account("eth").public_key
        both = await asyncio.gather(
            net[0].node.sign(sign_call("eth", "both")), net[1].node.sign(call("by bip340"))
        )
        check_signature(both[0], digest_of("both"), root)
        verified(both[1], digest_of("by bip340"), root)
        message = SignCall(request_id_of("nostr"), "eth", Message(b"an event", "sha256", Bip340()))
        verified(await net[2].node.sign(message), hashlib.sha256(b"an event").digest(), root)


async def test_what_is_not_signed_by_bip340(tmp_path: Any, gateway: GatewayProcess) -> None:
    async with network(tmp_path, gateway.url) as net:
        net.deal("eth")
        await net.ready("eth")
        await last(net[0].node.create_account("ed", curve="ed25519"))
        node = net[0].node
        with pytest.raises(InvalidRequest, match="signs nothing by BIP-340"):
            await node.sign(SignCall(request_id_of(1), "ed", Digest(digest_of(1), Bip340())))
        with pytest.raises(HardenedPathRequested):
            await node.sign(call(2, path="m/0'"))


async def test_policy_decides_at_every_node(tmp_path: Any, gateway: GatewayProcess) -> None:
    """A digest is a raw digest by whatever scheme it is signed."""
    strict = PolicySettings(
        rules=[AccountRule(accounts=["*"], callers=["*"], proposers=["*"], payloads=["psbt"])],
    )
    async with network(tmp_path, gateway.url, policies={1: strict}) as net:
        net.deal("eth")
        await net.ready("eth")
        root = net[0].node.account("eth").public_key
        verified(await net[0].node.sign(call("others")), digest_of("others"), root)
        with pytest.raises(PolicyRefused, match="index 1"):
            await net[0].node.sign(call("named", signers=(0, 1)))
        with pytest.raises(PolicyRefused):
            await net[1].node.sign(call("itself"))


OTHERS: list[tuple[str, Payload, Tweaks]] = [
    ("a digest that is due by ECDSA", Digest(digest_of(1)), Tweaks()),
    ("another digest", Digest(digest_of(2), Bip340()), Tweaks()),
    ("another key", Digest(digest_of(1), Bip340()), Tweaks((), NO_SCRIPTS)),
    ("another script tree", Digest(digest_of(1), Bip340(NO_SCRIPTS)), Tweaks((), ROOT)),
    ("Ed25519's", Message(digest_of(1), "none"), Tweaks()),
]


async def test_a_proposal_signs_nothing_but_its_payload(tmp_path: Any, gateway: GatewayProcess) -> None:
    """Whatever its proposer puts into the tail beside it."""
    async with network(tmp_path, gateway.url) as net:
        net.deal("eth")
        await net.ready("eth")
        node, committee_id = net[0].node, net.committee.committee_id
        membership = net[1].node._memberships[committee_id]
        account = net[1].node._records.account("eth")
        planner = node._proposals._planner
        due = DigestToSign(digest_of(1), (), account.record.public_key, message=digest_of(1), tweaks=Tweaks())
        for what, payload, tweaks in [*OTHERS, ("itself", Digest(digest_of(1), Bip340()), Tweaks())]:
            asked = DigestToSign(due.digest, (), due.public_key, message=due.digest, tweaks=tweaks)
            kind, tail = signing_tail(account, (1, 2), asked, None)
            proposal = Proposal(
                holder(2),
                committee_id,
                "eth",
                kind,
                request_id_of(what),
                tail,
                encode(to_value(payload)),
                1 << 40,
            )
            signed = sign_body(proposal.body(FROST_BIP340), membership.sign_function)
            own = node._memberships[committee_id]
            if what == "itself":
                plan, request = planner.plan(own, FROST_BIP340, proposal, "somebody", signed)
                assert (plan.setup.suite, request.digest, request.path) == (FROST_BIP340, digest_of(1), "m")
                assert request.payload == "digest"
            else:
                with pytest.raises(Declined) as declined:
                    planner.plan(own, FROST_BIP340, proposal, "somebody", signed)
                assert declined.value.code == "BAD_PAYLOAD", what


class _Lies(CheatingSession):
    """The session of a node that signs something else with z."""

    rules: Sequence[Tamper] = (says(1, lambda value: [value[0] ^ 1, value[1]]),)

    def _sign(self, body: Body) -> Any:
        lies = self.setup.kind == "frost-full-sign" and self.setup.me.index == 2 and body.kind is Kind.MSG
        return super()._sign(body) if lies and body.round == 1 else super(CheatingSession, self)._sign(body)


@pytest.mark.attack("D6")
async def test_a_cheater_is_marked_and_left_out(
    tmp_path: Any, gateway: GatewayProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with network(tmp_path, gateway.url) as net:
        net.deal("eth")
        await net.ready("eth")
        monkeypatch.setattr(driver_module, "Session", _Lies)
        with pytest.raises(NodeFailure):
            await net[0].node.sign(call("cheated", signers=(0, 1)))
        (mark,) = net[0].node.quarantine()
        assert mark.index == 1
        (evidence_id,) = net[0].node.evidence_ids()
        evidence = net[0].node.evidence(evidence_id)
        assert evidence is not None
        verdict = judge(evidence, net[0].node._memberships[net.committee.committee_id].identities)
        assert (verdict.guilty, verdict.accused.index) == (True, 2)
        assert verdict.check == "frost-full-sign.partial.equation"
        root = net[0].node.account("eth").public_key
        verified(await net[0].node.sign(call("with the other")), digest_of("with the other"), root)


async def test_idle_nodes_exchange_pairs_for_accounts_that_sign_so(
    tmp_path: Any, gateway: GatewayProcess
) -> None:
    """One message each way from then on, under any tweak; ECDSA takes none of them."""
    stock = replace(PATIENT.stock, target=2, idle=0.0)
    async with network(tmp_path, gateway.url, config=replace(PATIENT, stock=stock)) as net:
        net.deal("eth")
        await net.ready("eth")
        node, record = net[0].node, net[0].store.accounts.account("eth")
        root = node.account("eth").public_key
        verified(await node.sign(call("first", signers=(0, 1))), digest_of("first"), root)
        await poll(lambda: node._stock.fresh(record, bip340=True)[1, 2] == 2)
        kinds = {entry.bip340 for entry in node.stock("eth")[0].entries}
        assert True in kinds
        result = await node.sign(call("second", WAYS[1], signers=(0, 1)))
        assert result.signed[0].from_stock
        verified(result, digest_of("second"), root, NO_SCRIPTS)


async def test_a_refreshed_account_signs_for_the_same_key(tmp_path: Any, gateway: GatewayProcess) -> None:
    """The shares are CGGMP24's, and so is what renews them."""
    async with network(tmp_path, gateway.url) as net:
        net.deal("eth")
        await net.ready("eth")
        root, epoch = net[0].node.account("eth").public_key, net[0].node.account("eth").share_epoch
        verified(await net[0].node.sign(call("before", WAYS[1])), digest_of("before"), root, NO_SCRIPTS)
        for member in net:
            member.add_primes()
        await last(net[1].node.refresh_accounts(account_ids=("eth",)))
        await poll(lambda: all(member.node.account("eth").share_epoch != epoch for member in net))
        await net.ready("eth")
        verified(await net[2].node.sign(call("after", WAYS[1])), digest_of("after"), root, NO_SCRIPTS)


async def test_a_psbt_with_inputs_of_both_schemes(tmp_path: Any, gateway: GatewayProcess) -> None:
    """Each is signed by the scheme that its output asks for, at every node's own reading of it."""
    async with network(tmp_path, gateway.url) as net:
        net.deal("eth")
        await net.ready("eth")
        keys = net[0].node._records.account("eth").keys
        inputs = [("p2tr", (0, 1), 50_000), ("p2wpkh", (0, 2), 40_000), ("p2tr", (0, 3), 30_000)]
        named: Any = SimpleNamespace(public_key=keys.public_key, fingerprint=bytes(4))
        payment = Payment(named, inputs, [(None, 100_000)])
        result = await net[1].node.sign(SignCall(request_id_of("psbt"), "eth", PsbtTx(payment.bytes())))
        assert [one.bip340 for one in result.signed] == [WAYS[1], None, WAYS[1]]
        assert result.raw_transaction is not None
        final = Transaction.parse(result.raw_transaction)
        for index in (0, 2):
            (signature,) = final.vin[index].witness.items
            script_pubkey = payment.psbt.inputs[index].witness_utxo.script_pubkey.data
            digest = payment.psbt.sighash(index, sighash=0)
            assert PublicKeyXOnly(script_pubkey[2:]).verify(signature, digest)
        assert len(final.vin[1].witness.items) == 2
        answer = values.signed(result, PsbtTx(payment.bytes()))
        assert [(len(one.signature), one.sighash_type) for one in answer.inputs[::2]] == [(64, 0)] * 2
        assert answer.inputs[1].sighash_type == answer.inputs[1].signature[-1] == 1
        assert answer.address == net[1].node.public_key("eth", "m/0/1").addresses["bitcoin_taproot"]


async def test_stock_of_one_scheme_is_not_the_others(tmp_path: Any, gateway: GatewayProcess) -> None:
    """A presignature for ECDSA stays where it is when BIP-340 is asked for."""
    async with network(tmp_path, gateway.url) as net:
        net.deal("eth")
        await net.ready("eth")
        await last(net[0].node.fill_stock("eth", (0, 1), 1))
        await poll(lambda: len(net[1].node._stock._held) == 1)
        root = net[0].node.account("eth").public_key
        result = await net[0].node.sign(call("without", signers=(0, 1)))
        assert not result.signed[0].from_stock
        verified(result, digest_of("without"), root)
        by_ecdsa = await net[0].node.sign(sign_call("eth", "with", signers=(0, 1)))
        assert by_ecdsa.signed[0].from_stock
        check_signature(by_ecdsa, digest_of("with"), root)
