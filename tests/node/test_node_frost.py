"""Ed25519 accounts on whole nodes: made, used by every pair, from pairs exchanged ahead and without, beside secp256k1 ones."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import nacl.signing
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from gateway_testing import GatewayProcess
from node_network import (
    PATIENT,
    Member,
    Network,
    check_signature,
    digest_of,
    last,
    network,
    poll,
    request_id_of,
    sign_call,
)
from session_testing import CheatingSession, Tamper, says

from participant.node import driver as driver_module
from participant.node.api import AccountStatus, SignCall, SignResult
from participant.node.errors import (
    HardenedPathRequested,
    InvalidRequest,
    NodeFailure,
    PolicyRefused,
    RequestIdUsed,
)
from participant.payloads import Digest, Message
from participant.policy import AccountRule, PolicySettings
from tss.envelope import Body, Kind, routing
from tss.judge import judge

MESSAGE = b"what is signed is the message itself"
PAIRS = [(0, 1), (0, 2), (1, 2)]


async def make(net: Network, account_id: str = "ed", asked: int = 0) -> bytes:
    """Have the committee make an Ed25519 account; its public key."""
    made = await last(net[asked].node.create_account(account_id, curve="ed25519"))
    await net.ready(account_id)
    return bytes(made.public_key)


def call(name: object, account_id: str = "ed", message: bytes = MESSAGE, **fields: Any) -> SignCall:
    return SignCall(request_id_of(name), account_id, Message(message, "none"), **fields)


def verified(result: SignResult, message: bytes, public_key: bytes) -> bytes:
    """The 64 bytes, checked by two libraries."""
    assert result.public_key == public_key
    assert len(result.signature) == 64
    nacl.signing.VerifyKey(public_key).verify(message, result.signature)
    Ed25519PublicKey.from_public_bytes(public_key).verify(result.signature, message)
    return result.signature


async def test_an_account_is_made_and_every_pair_signs(tmp_path: Any, gateway: GatewayProcess) -> None:
    """No auxiliary information is needed; every node proposes; the same request gives the same bytes."""
    async with network(tmp_path, gateway.url) as net:
        await net.ready()
        public_key = await make(net)
        for member in net:
            view = member.node.account("ed")
            assert (view.curve, view.status, view.aux_id) == ("ed25519", AccountStatus.ACTIVE, None)
            assert (view.public_key, set(view.addresses)) == (public_key, {"solana"})
            assert member.node.public_key("ed").public_key == public_key
            assert member.store.accounts.current_aux_id(net.committee.committee_id) is None
        for asked, signers in [(pair[0], pair) for pair in PAIRS] + [(2, (1, 2))]:
            asking = call((asked, signers), signers=signers)
            result = await net[asked].node.sign(asking)
            verified(result, MESSAGE, public_key)
            assert (result.signers, result.signed[0].from_stock) == (signers, False)
            assert (await net[asked].node.sign(asking)).signature == result.signature


async def test_pairs_exchanged_ahead_sign_with_one_message_each_way(
    tmp_path: Any, gateway: GatewayProcess
) -> None:
    async with network(tmp_path, gateway.url) as net:
        await net.ready()
        public_key = await make(net)
        posted: dict[bytes, tuple[bytes, int, Kind]] = {}
        for member in net:
            member.channel.on_post = _noting(posted, member)
        await last(net[0].node.fill_stock("ed", (0, 1), 3))
        await poll(lambda: len(net[1].node._stock._held) == 3)
        (stock,) = [entry for entry in net[0].node.stock("ed")[0].entries if entry.fresh]
        assert (stock.signers, stock.owner, stock.fresh) == ((0, 1), 0, 3)
        signatures = set()
        for number in range(3):
            result = await net[0].node.sign(call(number, signers=(0, 1)))
            assert result.signed[0].from_stock
            signatures.add(verified(result, MESSAGE, public_key))
            sid, each = result.signed[0].session_id, [(0, Kind.MSG), (1, Kind.MSG)]
            await poll(lambda sid=sid: len(_of(posted, sid)) >= 2)
            assert _of(posted, sid) == each
        assert len(signatures) == 3
        # One for the pairs, one for each signature.
        proposed = [index for _, index, kind in posted.values() if kind is Kind.PROPOSE]
        assert proposed == [0] * 4
        assert not (await net[0].node.sign(call("without", signers=(0, 1)))).signed[0].from_stock


def _noting(posted: dict[bytes, tuple[bytes, int, Kind]], member: Member) -> Any:
    """Notes what a member posts, repetitions once."""

    async def note(envelope: bytes) -> None:
        scope, kind, _ = routing(envelope)
        posted[envelope] = scope, member.index, kind

    return note


def _of(posted: dict[bytes, tuple[bytes, int, Kind]], scope: bytes) -> list[tuple[int, Kind]]:
    """Who said what in one session."""
    return sorted((index, kind) for found, index, kind in posted.values() if found == scope)


async def test_stock_is_gone_after_a_restart(tmp_path: Any, gateway: GatewayProcess) -> None:
    """A signer that started anew holds no pair: the request goes on without."""
    async with network(tmp_path, gateway.url) as net:
        await net.ready()
        public_key = await make(net)
        await last(net[0].node.fill_stock("ed", (0, 1), 2))
        await poll(lambda: len(net[1].node._stock._held) == 2)
        assert not list(net[1].store.path.parent.glob("*nonce*"))
        await net[1].restart()
        await net.ready("ed")
        result = await net[0].node.sign(call("after", signers=(0, 1)))
        verified(result, MESSAGE, public_key)


async def test_both_curves_on_one_committee(tmp_path: Any, gateway: GatewayProcess) -> None:
    async with network(tmp_path, gateway.url) as net:
        net.deal("eth")
        await net.ready("eth")
        public_key = await make(net)
        aux_id = net[0].node.account("eth").aux_id
        assert aux_id is not None
        assert net[0].node.account("ed").aux_id is None
        one, other = await asyncio.gather(
            net[0].node.sign(call("both")), net[1].node.sign(sign_call("eth", "both eth"))
        )
        verified(one, MESSAGE, public_key)
        check_signature(other, digest_of("both eth"), net[0].node.account("eth").public_key)


async def test_what_is_not_signed_with_ed25519(tmp_path: Any, gateway: GatewayProcess) -> None:
    async with network(tmp_path, gateway.url) as net:
        net.deal("eth")
        await net.ready("eth")
        await make(net)
        node = net[0].node
        refused = [
            (SignCall(request_id_of(1), "ed", Digest(digest_of(1))), "no payload of kind digest"),
            (SignCall(request_id_of(2), "ed", Message(b"m", "sha256")), "not its sha256"),
            (call(3, path="m/0"), "no public derivation"),
            (SignCall(request_id_of(4), "eth", Message(b"m", "none")), "for keys of Ed25519"),
        ]
        for asking, text in refused:
            with pytest.raises(InvalidRequest, match=text):
                await node.sign(asking)
        with pytest.raises(HardenedPathRequested):
            await node.sign(call(5, path="m/0'"))
        with pytest.raises(InvalidRequest, match="no public derivation"):
            node.public_key("ed", "m/1")
        with pytest.raises(InvalidRequest, match="needs no auxiliary information"):
            await last(node.run_aux(account_ids=["ed"]))
        verified(await node.sign(call(6)), MESSAGE, node.account("ed").public_key)
        with pytest.raises(RequestIdUsed):
            await node.sign(call(6, message=b"another message"))


async def test_policy_decides_at_every_node(tmp_path: Any, gateway: GatewayProcess) -> None:
    """Each signer decodes what it signs, and asks its own policy."""
    strict = PolicySettings(
        rules=[AccountRule(accounts=["*"], callers=["*"], proposers=["*"], payloads=["solana_tx"])],
        ceremonies=[
            {"kinds": ["keygen", "presign", "aux"], "callers": ["*"], "proposers": ["*"]}  # type: ignore[list-item]
        ],
    )
    async with network(tmp_path, gateway.url, policies={1: strict}) as net:
        await net.ready()
        public_key = await make(net)
        verified(await net[0].node.sign(call("others")), MESSAGE, public_key)
        with pytest.raises(PolicyRefused, match="index 1"):
            await net[0].node.sign(call("named", signers=(0, 1)))
        with pytest.raises(PolicyRefused):
            await net[1].node.sign(call("itself"))


class _Lies(CheatingSession):
    """The session of a node that signs something else in the rounds of z."""

    rules: Sequence[Tamper] = (
        says(1, lambda value: _false(value)),  # noqa: PLW0108 - it stands below
        says(0, lambda value: _false(value) if isinstance(value, list) and len(value) == 2 else value),
    )

    def _sign(self, body: Body) -> Any:
        if not self.setup.kind.startswith("frost-") or self.setup.me.index != 2 or body.kind is not Kind.MSG:
            return super(CheatingSession, self)._sign(body)
        if self.setup.kind == "frost-full-sign" and body.round == 0:
            return super(CheatingSession, self)._sign(body)
        return super()._sign(body)


def _false(value: Any) -> Any:
    z, pkg = value
    return [z + 1, pkg] if isinstance(z, int) and isinstance(pkg, bytes) else value


@pytest.mark.attack("D6")
@pytest.mark.parametrize("ahead", [False, True], ids=["two rounds", "pairs exchanged ahead"])
async def test_a_cheater_is_marked_and_left_out(
    tmp_path: Any, gateway: GatewayProcess, monkeypatch: pytest.MonkeyPatch, *, ahead: bool
) -> None:
    """Its false share is evidence, which others' operators can judge; the request goes on with the other signer."""
    async with network(tmp_path, gateway.url) as net:
        await net.ready()
        public_key = await make(net)
        if ahead:
            await last(net[0].node.fill_stock("ed", (0, 1), 1))
        monkeypatch.setattr(driver_module, "Session", _Lies)
        with pytest.raises(NodeFailure):
            await net[0].node.sign(call("cheated", signers=(0, 1)))
        (mark,) = net[0].node.quarantine()
        assert mark.index == 1
        (evidence_id,) = net[0].node.evidence_ids()
        evidence = net[0].node.evidence(evidence_id)
        assert evidence is not None
        identities = net[0].node._memberships[net.committee.committee_id].identities
        verdict = judge(evidence, identities)
        assert (verdict.guilty, verdict.accused.index) == (True, 2)
        kind = "frost-sign" if ahead else "frost-full-sign"
        assert verdict.check == f"{kind}.partial.equation"
        verified(await net[0].node.sign(call("with the other")), MESSAGE, public_key)


async def test_idle_nodes_exchange_pairs_for_accounts_that_sign(
    tmp_path: Any, gateway: GatewayProcess
) -> None:
    stock = replace(PATIENT.stock, target=2, idle=0.0)
    async with network(tmp_path, gateway.url, config=replace(PATIENT, stock=stock)) as net:
        await net.ready()
        public_key = await make(net)
        verified(await net[0].node.sign(call("first", signers=(0, 1))), MESSAGE, public_key)
        await poll(lambda: net[0].node._stock.fresh(net[0].store.accounts.account("ed"))[(1, 2)] == 2)
        result = await net[0].node.sign(call("second", signers=(0, 1)))
        assert result.signed[0].from_stock
        verified(result, MESSAGE, public_key)


async def test_shares_go_out_and_come_in(tmp_path: Any, gateway: GatewayProcess) -> None:
    """A committee whose nodes lost their stores goes on with the exported shares."""
    async with network(tmp_path, gateway.url) as net:
        await net.ready()
        public_key = await make(net)
        exported = [await member.node.export_shares(["ed"]) for member in net]
        (entry,) = exported[0]
        assert (entry.share.suite.group.name, entry.aux) == ("ed25519", None)
        for member in net:
            (again,) = await member.node.import_share(exported[member.index])
            assert not again.imported
            member.store.accounts._db.execute("DELETE FROM share WHERE account_id = 'ed'")
            member.store.accounts._db.execute("DELETE FROM account WHERE account_id = 'ed'")
            member.node._records.forget()
            (fresh,) = await member.node.import_share(exported[member.index])
            assert (fresh.imported, fresh.text) == (True, "imported")
        await net.ready("ed")
        verified(await net[2].node.sign(call("imported")), MESSAGE, public_key)
