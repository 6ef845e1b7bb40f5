"""wallet.v1.Wallet and mpc.Participant: what goes to the node, what comes back, what is refused before it gets there."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from ecdsa import SECP256k1, VerifyingKey
from ecdsa.util import sigdecode_der
from eth_account import Account as EthAccount
from keyed_wallet import payment
from payload_testing import TestAccount
from scripted_node import ACCOUNT, ScriptedNode, caller, served

from kit.pb import mpc_pb2 as mpc
from kit.pb.wallet.v1 import common_pb2 as common
from kit.pb.wallet.v1 import wallet_pb2 as wallet
from participant.callers import ANONYMOUS, Caller, CallerAuth, Tokens, hash_token
from participant.grpc_client import CallFailed, Credentials, ServiceClient
from participant.node import api
from participant.node.errors import PartiesMissing, SessionUnknown
from participant.payloads import (
    Bip340,
    Digest,
    EthereumTx,
    Message,
    PsbtTx,
    TypedData,
    address_of,
    all_addresses,
    decode,
    finish,
)
from tss.hd import format_path, parse_path

WHO = Caller(ANONYMOUS)
KEY = TestAccount(b"\7" * 32)
ID = bytes(range(16))
DIGEST = bytes(range(32))
TRANSACTION = {
    "type": "0x2",
    "chainId": 1,
    "nonce": 3,
    "to": "0x" + "12" * 20,
    "value": 10**18,
    "gas": 21000,
    "maxFeePerGas": 10**10,
    "maxPriorityFeePerGas": 10**9,
    "data": "0x",
}
TYPED = {
    "types": {
        "EIP712Domain": [{"name": "name", "type": "string"}],
        "Note": [{"name": "text", "type": "string"}],
    },
    "primaryType": "Note",
    "domain": {"name": "test"},
    "message": {"text": "hello"},
}


def signed_by_key(call: api.SignCall) -> api.SignResult:
    """What a node would answer, with the signatures of one whole key."""
    path = parse_path(call.path)
    decoded = decode(call.payload, KEY, path)
    signatures = KEY.sign_all(decoded)
    finished = finish(call.payload, decoded, signatures)
    signed = tuple(
        api.SignedDigest(
            due.digest,
            format_path(due.path),
            due.public_key,
            *(one.r, one.s, one.v),
            signers=(0, 2),
            from_stock=True,
            input_index=due.input_index,
            session_id=bytes([place]) * 32,
            bip340=None if due.tweaks is None else Bip340(due.tweaks.taproot),
        )
        for place, (due, one) in enumerate(zip(decoded.digests, signatures, strict=True))
    )
    first = signed[0]
    return api.SignResult(
        call.request_id,
        call.account_id,
        format_path(path),
        *(first.r, first.s, first.v),
        digest=first.digest,
        public_key=first.public_key,
        addresses=all_addresses(first.public_key),
        signers=(0, 2),
        signed=signed,
        raw_transaction=finished.raw_transaction,
        psbt=finished.psbt,
    )


def sign_request(**fields: Any) -> wallet.SignRequest:
    return wallet.SignRequest(**{"request_id": ID, "account_id": "main", **fields})


async def sign(request: wallet.SignRequest) -> tuple[wallet.SignResponse, api.SignCall]:
    node = ScriptedNode(sign=signed_by_key)
    async with served(node) as listener, caller(listener) as client:
        answer = await client.call(client.wallet.Sign, request)
    return answer, node.asked[1][0]


@pytest.mark.parametrize(
    ("fields", "payload"),
    [
        ({"digest": DIGEST}, Digest(DIGEST)),
        *(
            ({"message": wallet.MessageToSign(data=b"hello", hash=number)}, Message(b"hello", name))
            for number, name in enumerate(("eip191", "sha256", "sha256d", "keccak256"), 1)
        ),
        (
            {"ethereum_tx": wallet.EthereumTransaction(json=json.dumps(TRANSACTION))},
            EthereumTx.parse(TRANSACTION),
        ),
        (
            {"ethereum_tx": wallet.EthereumTransaction(raw=EthereumTx.parse(TRANSACTION).unsigned)},
            EthereumTx.parse(TRANSACTION),
        ),
        ({"typed_data": json.dumps(TYPED)}, TypedData.parse(TYPED)),
    ],
    ids=["digest", "eip191", "sha256", "sha256d", "keccak256", "ethereum json", "ethereum raw", "typed data"],
)
async def test_sign(fields, payload) -> None:
    answer, call = await sign(sign_request(path="m/0/5", signers=[2, 0], **fields))
    assert call == api.SignCall(ID, "main", payload, "m/0/5", (2, 0), WHO)
    expected = signed_by_key(call)
    assert int.from_bytes(answer.r, "big") == expected.r
    assert int.from_bytes(answer.s, "big") == expected.s
    assert (len(answer.r), len(answer.s), answer.v) == (32, 32, expected.v)
    assert answer.signature == answer.r + answer.s + bytes([answer.v])
    assert answer.digest == expected.digest
    assert answer.public_key == KEY.public_key((0, 5))
    assert answer.address == all_addresses(answer.public_key)["ethereum"]
    assert answer.raw_transaction == (expected.raw_transaction or b"")
    assert (list(answer.signers), answer.path, answer.request_id) == ([0, 2], "m/0/5", ID)
    assert answer.from_stock
    assert not answer.inputs
    if answer.raw_transaction:
        assert EthAccount.recover_transaction(answer.raw_transaction) == answer.address


ROOT = bytes(range(32, 64))


@pytest.mark.parametrize(
    ("fields", "payload", "address"),
    [
        ({"digest": DIGEST, "bip340": wallet.Bip340()}, Digest(DIGEST, Bip340()), False),
        ({"digest": DIGEST, "bip340": wallet.Bip340(taproot=True)}, Digest(DIGEST, Bip340(b"")), True),
        (
            {"digest": DIGEST, "bip340": wallet.Bip340(taproot=True, merkle_root=ROOT)},
            Digest(DIGEST, Bip340(ROOT)),
            True,
        ),
        (
            {"message": wallet.MessageToSign(data=b"m", hash=2), "bip340": wallet.Bip340()},  # type: ignore[arg-type]
            Message(b"m", "sha256", Bip340()),
            False,
        ),
    ],
    ids=["key", "taproot", "scripts", "message"],
)
async def test_sign_by_bip340(fields, payload, address) -> None:
    answer, call = await sign(sign_request(path="m/3", **fields))
    assert call.payload == payload
    expected = signed_by_key(call)
    assert answer.signature == answer.r + answer.s == expected.signature
    assert (len(answer.signature), answer.v) == (64, 0)
    assert (answer.public_key, answer.digest) == (KEY.public_key((3,)), expected.digest)
    assert answer.address == address_of(answer.public_key, payload.bip340)
    assert answer.address.startswith("bc1p") == address


async def test_path_and_signers_may_be_left_out() -> None:
    answer, call = await sign(sign_request(digest=DIGEST))
    assert (call.path, call.signers) == ("m", None)
    assert answer.path == "m"


async def test_sign_a_psbt() -> None:
    psbt = payment(KEY).serialize()
    answer, call = await sign(sign_request(psbt=psbt))
    assert call.payload == PsbtTx(psbt)
    expected = signed_by_key(call)
    assert (answer.r, answer.s, answer.signature, answer.digest) == (b"", b"", b"", b"")
    assert (answer.psbt, answer.raw_transaction) == (expected.psbt, expected.raw_transaction)
    assert answer.raw_transaction
    assert [(one.input, one.path) for one in answer.inputs] == [(0, "m/0/1"), (1, "m/0/2")]
    for one in answer.inputs:
        assert one.signature[-1] == one.sighash_type == 1
        key = VerifyingKey.from_string(one.public_key, curve=SECP256k1)
        assert key.verify_digest(one.signature[:-1], one.digest, sigdecode=sigdecode_der)
        r, s = sigdecode_der(one.signature[:-1], SECP256k1.order)
        assert (r.to_bytes(32, "big"), s.to_bytes(32, "big")) == (one.r, one.s)
    assert answer.session_id == bytes([1]) * 32


@pytest.mark.parametrize(
    ("request_", "reason", "text"),
    [
        (sign_request(digest=DIGEST, request_id=b""), "INVALID_REQUEST", "request_id has 0 bytes"),
        (sign_request(digest=DIGEST, request_id=b"x" * 17), "INVALID_REQUEST", "request_id has 17 bytes"),
        (sign_request(digest=DIGEST, account_id=""), "INVALID_REQUEST", "account_id is empty"),
        (sign_request(), "INVALID_REQUEST", "nothing to sign"),
        (sign_request(digest=DIGEST[:31]), "BAD_DIGEST", "31 bytes"),
        (sign_request(digest=DIGEST + b"0"), "BAD_DIGEST", "33 bytes"),
        (sign_request(digest=b""), "BAD_DIGEST", "0 bytes"),
        (sign_request(message=wallet.MessageToSign(data=b"x")), "INVALID_REQUEST", "message.hash"),
        (sign_request(message=wallet.MessageToSign(data=b"x", hash=9)), "INVALID_REQUEST", "message.hash"),  # type: ignore[arg-type]
        (sign_request(ethereum_tx=wallet.EthereumTransaction()), "INVALID_REQUEST", "ethereum_tx is empty"),
        (sign_request(ethereum_tx=wallet.EthereumTransaction(json="{")), "INVALID_REQUEST", "JSON"),
        (sign_request(ethereum_tx=wallet.EthereumTransaction(raw=b"\x02\xc0")), "INVALID_REQUEST", "."),
        (sign_request(typed_data="[]"), "INVALID_REQUEST", "."),
        (sign_request(psbt=b"psbt\xff\x00"), "INVALID_REQUEST", "."),
        (sign_request(typed_data="{}", bip340=wallet.Bip340()), "INVALID_REQUEST", "for digest and message"),
        (sign_request(bip340=wallet.Bip340()), "INVALID_REQUEST", "for digest and message"),
        (
            sign_request(digest=DIGEST, bip340=wallet.Bip340(merkle_root=ROOT)),
            "INVALID_REQUEST",
            "without bip340.taproot",
        ),
        (
            sign_request(digest=DIGEST, bip340=wallet.Bip340(taproot=True, merkle_root=ROOT[1:])),
            "INVALID_REQUEST",
            "merkle root of 31 bytes",
        ),
    ],
)
async def test_what_cannot_be_meant_does_not_reach_the_node(request_, reason, text) -> None:
    node = ScriptedNode()
    async with served(node) as listener, caller(listener) as client:
        with pytest.raises(CallFailed, match=text) as caught:
            await client.call(client.wallet.Sign, request_)
    assert (caught.value.code, caught.value.reason) == ("INVALID_ARGUMENT", reason)
    assert not node.calls


async def test_signing_goes_on_when_the_caller_hangs_up() -> None:
    started, leave, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow(call: api.SignCall) -> api.SignResult:
        started.set()
        await leave.wait()
        ended.set()
        return signed_by_key(call)

    async with served(ScriptedNode(sign=slow)) as listener:
        async with caller(listener) as client:
            call = asyncio.ensure_future(client.call(client.wallet.Sign, sign_request(digest=DIGEST)))
            await started.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        leave.set()
        async with asyncio.timeout(20):
            await ended.wait()


def ask(**fields: Any) -> mpc.SignMessage:
    values = {"tx_id": -7, "execution_id": ID, "chain": mpc.Ethereum, "data": DIGEST, "account_id": "main"}
    return mpc.SignMessage(**{**values, **fields})


@pytest.mark.parametrize(("chain", "name"), [(mpc.Ethereum, "ethereum"), (mpc.Bitcoin, "bitcoin")])
async def test_the_old_wire(chain, name) -> None:
    result = signed_by_key(api.SignCall(ID, "main", Digest(DIGEST)))
    node = ScriptedNode(sign_tx=replace(result, v=0))
    async with served(node) as listener, caller(listener) as client:
        answer = await client.call(client.participant.SignTx, ask(chain=chain))
    assert node.asked[1][0] == api.AskCall(-7, ID, api.Chain(name), DIGEST, "main", WHO)
    assert (answer.r, answer.s, answer.v) == (result.r.to_bytes(32, "big"), result.s.to_bytes(32, "big"), 0)


async def test_accounts_come_in_pages() -> None:
    names = ["", "é", "main", "a", "m/44'/60'/0'/0/0"][1:]
    views = sorted(
        (replace(ACCOUNT, account_id=name) for name in names), key=lambda view: view.account_id.encode()
    )
    node = ScriptedNode(accounts=views)
    async with served(node) as listener, caller(listener) as client:
        found, token = [], ""
        for _ in range(10):
            request = wallet.ListAccountsRequest(page_size=1, page_token=token, committee_id=b"c" * 32)
            answer = await client.call(client.wallet.ListAccounts, request)
            assert len(answer.accounts) == 1
            found.append(answer.accounts[0].account_id)
            token = answer.next_page_token
            # An account that goes away meanwhile costs no other one.
            node.answers["accounts"] = [view for view in views if view.account_id not in found]
            if not token:
                break
        node.answers["accounts"] = views
        everything = await client.call(client.wallet.ListAccounts, wallet.ListAccountsRequest())
        with pytest.raises(CallFailed, match="page_token"):
            await client.call(client.wallet.ListAccounts, wallet.ListAccountsRequest(page_token="xyz"))
        with pytest.raises(CallFailed, match="committee_id has 3 bytes"):
            await client.call(client.wallet.ListAccounts, wallet.ListAccountsRequest(committee_id=b"abc"))
    assert found == [view.account_id for view in views] == [one.account_id for one in everything.accounts]
    assert everything.next_page_token == ""
    assert node.calls[0][1] == (b"c" * 32, WHO)
    assert node.calls[-1][1] == (None, WHO)


async def test_account_and_public_key() -> None:
    view = api.PublicKeyView("main", "m/0/5", "secp256k1", b"\x03" + b"q" * 32, {"ethereum": "0xF"})
    node = ScriptedNode(account=ACCOUNT, public_key=view)
    async with served(node) as listener, caller(listener) as client:
        account = await client.call(client.wallet.GetAccount, wallet.GetAccountRequest(account_id="main"))
        request = wallet.GetPublicKeyRequest(account_id="main", path="m/0/5")
        key = await client.call(client.wallet.GetPublicKey, request)
        await client.call(client.wallet.GetPublicKey, wallet.GetPublicKeyRequest(account_id="main"))
    assert account == common.Account(
        account_id="main",
        curve=common.CURVE_SECP256K1,
        threshold=2,
        parties=3,
        committee_id=ACCOUNT.committee_id,
        key_id=ACCOUNT.key_id,
        public_key=ACCOUNT.public_key,
        addresses=[common.Address(kind="ethereum", text="0xE"), common.Address(kind="bitcoin", text="bc1b")],
        share_epoch=ACCOUNT.share_epoch,
        aux_id=b"a" * 32,
        index=1,
        state=common.ACCOUNT_STATE_ACTIVE,
        created_at=1_700_000_000,
    )
    assert (key.path, key.public_key, key.curve) == ("m/0/5", view.public_key, common.CURVE_SECP256K1)
    assert [(one.kind, one.text) for one in key.addresses] == [("ethereum", "0xF")]
    assert [call[1] for call in node.calls[1:]] == [("main", "m/0/5", WHO), ("main", "m", WHO)]


@pytest.mark.parametrize("status", list(api.AccountStatus))
async def test_every_state_of_an_account_is_shown(status) -> None:
    node = ScriptedNode(account=replace(ACCOUNT, status=status, aux_id=None))
    async with served(node) as listener, caller(listener) as client:
        account = await client.call(client.wallet.GetAccount, wallet.GetAccountRequest(account_id="main"))
    assert common.AccountState.Name(account.state) == f"ACCOUNT_STATE_{status.name}"
    assert account.aux_id == b""


STEPS = [
    api.Progress("waiting", 0, 4, text="waiting for index 2", waiting_for=(2,)),
    api.Progress("keygen", 3, 4, "round 2", "round 2 of 3", b"s" * 32, (1, 2), 1.5),
    api.Progress("keygen", 4, 4, result=ACCOUNT, elapsed=2.0),
]


async def test_progress_streams_and_ends_with_the_account() -> None:
    node = ScriptedNode(create_account=STEPS)
    request = wallet.CreateAccountRequest(account_id="new", threshold=3, committee_id=b"c" * 32)
    async with served(node) as listener, caller(listener) as client:
        steps = [step async for step in client.stream(client.wallet.CreateAccount, request)]
    assert node.asked == (
        "create_account",
        ("new",),
        {"curve": "secp256k1", "threshold": 3, "committee_id": b"c" * 32, "caller": WHO},
    )
    assert steps[0] == common.Progress(
        operation="waiting", total=4, text="waiting for index 2", waiting_for=[2]
    )
    assert steps[1] == common.Progress(
        operation="keygen",
        phase="round 2",
        done=3,
        total=4,
        text="round 2 of 3",
        session_id=b"s" * 32,
        waiting_for=[1, 2],
        elapsed_ms=1500,
    )
    assert steps[2].account.account_id == "main"
    assert [step.WhichOneof("result") for step in steps] == [None, None, "account"]


async def test_a_ceremony_that_fails_ends_the_stream_with_its_reason() -> None:
    node = ScriptedNode(create_account=[STEPS[0], PartiesMissing("index 2 cannot be heard", [2])])
    request = wallet.CreateAccountRequest(account_id="new", curve=common.CURVE_ED25519)
    async with served(node) as listener, caller(listener) as client:
        steps = client.stream(client.wallet.CreateAccount, request)
        assert (await anext(steps)).operation == "waiting"
        with pytest.raises(CallFailed) as caught:
            await anext(steps)
    assert (caught.value.reason, caught.value.metadata["missing"]) == ("PARTIES_MISSING", "2")
    assert node.asked[2] == {"curve": "ed25519", "threshold": None, "committee_id": None, "caller": WHO}


async def test_a_caller_who_leaves_ends_the_ceremony() -> None:
    ended = asyncio.Event()

    async def endless(*_: Any, **__: Any):
        try:
            while True:
                yield STEPS[0]
                await asyncio.sleep(0)
        finally:
            ended.set()

    async with served(ScriptedNode(create_account=endless)) as listener, caller(listener) as client:
        steps = client.stream(client.wallet.CreateAccount, wallet.CreateAccountRequest(account_id="new"))
        await anext(steps)
        await steps.aclose()
        async with asyncio.timeout(20):
            await ended.wait()


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (wallet.CreateAccountRequest(), "account_id is empty"),
        (wallet.CreateAccountRequest(account_id="x", curve=9), "curve 9"),  # type: ignore[arg-type]
        (wallet.CreateAccountRequest(account_id="x", committee_id=b"short"), "committee_id has 5 bytes"),
    ],
)
async def test_ceremonies_that_cannot_be_meant(request_, text) -> None:
    node = ScriptedNode()
    async with served(node) as listener, caller(listener) as client:
        with pytest.raises(CallFailed, match=text):
            [step async for step in client.stream(client.wallet.CreateAccount, request_)]
    assert not node.calls


async def test_stock() -> None:
    view = api.StockView("main", (api.StockEntry((0, 2), 0, 3, 1, 4, 7.9),))
    node = ScriptedNode(stock=[view])
    async with served(node) as listener, caller(listener) as client:
        answer = await client.call(client.wallet.GetStock, wallet.GetStockRequest(account_id="main"))
        await client.call(client.wallet.GetStock, wallet.GetStockRequest())
    entry = common.StockEntry(signers=[0, 2], owner=0, fresh=3, promised=1, target=4, oldest_seconds=7)
    assert answer == wallet.GetStockResponse(stocks=[common.Stock(account_id="main", entries=[entry])])
    assert [call[1] for call in node.calls] == [("main", WHO), (None, WHO)]


def session(account_id: str | None, number: int = 1) -> api.SessionView:
    return api.SessionView(
        session_id=bytes([number]) * 32,
        proposal=bytes([100 + number]) * 32,
        kind="presign",
        committee_id=b"c" * 32,
        account_id=account_id,
        request_id=bytes([number]) * 16,
        initiator=0,
        parties=(0, 1),
        phase="presign.r1",
        waiting_for=(1,),
        started_at=1_700_000_000.0,
    )


async def test_abort_names_a_session_or_a_request() -> None:
    node = ScriptedNode(abort_session=session("main"))
    async with served(node) as listener, caller(listener) as client:
        abort = client.wallet.AbortSession
        answer = await client.call(abort, wallet.AbortSessionRequest(session_id=b"\1" * 32, reason="why"))
        assert answer == wallet.AbortSessionResponse(session_id=b"\1" * 32, aborted=True)
        assert node.asked == ("abort_session", (b"\1" * 32, None, "why"), {})
        await client.call(abort, wallet.AbortSessionRequest(request_id=ID))
        assert node.asked == ("abort_session", (None, ID, ""), {})
        node.answers["abort_session"] = None
        answer = await client.call(abort, wallet.AbortSessionRequest(session_id=b"\1" * 32))
        assert answer == wallet.AbortSessionResponse(session_id=b"\1" * 32, aborted=False)
        node.answers["abort_session"] = SessionUnknown("no such session")
        for request, reason in (
            (wallet.AbortSessionRequest(session_id=b"\1" * 32), "SESSION_NOT_FOUND"),
            (wallet.AbortSessionRequest(), "INVALID_REQUEST"),
            (wallet.AbortSessionRequest(session_id=b"\1"), "INVALID_REQUEST"),
            (wallet.AbortSessionRequest(session_id=b""), "INVALID_REQUEST"),
            (wallet.AbortSessionRequest(request_id=b"\1" * 15), "INVALID_REQUEST"),
        ):
            with pytest.raises(CallFailed) as caught:
                await client.call(abort, request)
            assert caught.value.reason == reason


async def test_a_caller_aborts_sessions_of_his_own_accounts_only() -> None:
    tokens = Tokens.of([(hash_token("wmpc_app"), Caller("app", frozenset({"main"})))])
    views = [session("main", 1), session("other", 2), session(None, 3)]
    node = ScriptedNode(sessions=views, abort_session=session("main"))
    credentials = Credentials(token="wmpc_app")
    async with (
        served(node, auth=CallerAuth(tokens)) as listener,
        ServiceClient(f"127.0.0.1:{listener.port}", credentials) as client,
    ):
        for view in views:
            for which in (
                {"session_id": view.session_id},
                {"session_id": view.proposal},
                {"request_id": view.request_id},
            ):
                request = wallet.AbortSessionRequest(**which)
                if view.account_id == "main":
                    await client.call(client.wallet.AbortSession, request)
                    continue
                with pytest.raises(CallFailed) as caught:
                    await client.call(client.wallet.AbortSession, request)
                assert caught.value.reason == "SESSION_NOT_FOUND"
    assert len([call for call in node.calls if call[0] == "abort_session"]) == 3
