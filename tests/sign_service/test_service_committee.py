"""Three daemons and a gateway as processes: the services over real nodes."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest
from bip_utils import Bip32KeyData, Bip32Slip10Secp256k1
from coincurve import PublicKey
from committee_processes import CommitteeProcesses, create_account, running_committee, sign_digest
from ecdsa import SECP256k1, VerifyingKey
from eth_account import Account as EthAccount
from eth_account.messages import encode_defunct
from gateway_testing import running_gateway

from kit.pb import mpc_pb2 as mpc
from kit.pb.wallet.v1 import common_pb2 as common
from kit.pb.wallet.v1 import operator_pb2 as operator
from kit.pb.wallet.v1 import wallet_pb2 as wallet
from participant.grpc_client import CallFailed, ServiceClient

DIGEST = hashlib.sha256(b"to be signed").digest()
TRANSACTION = (
    '{"type": "0x2", "chainId": 1, "nonce": 0, "to": "0x000000000000000000000000000000000000dEaD", "value": "0x1",'
    ' "gas": "0x5208", "maxFeePerGas": "0x3b9aca00", "maxPriorityFeePerGas": "0x1", "data": "0x"}'
)


@pytest.fixture(scope="module")
def committee(tmp_path_factory) -> Iterator[CommitteeProcesses]:
    with running_committee(tmp_path_factory.mktemp("committee")) as committee:

        async def make() -> None:
            async with committee.nodes[0].client() as client:
                await create_account(client, "main")

        asyncio.run(make())
        yield committee


def check(answer: wallet.SignResponse, digest: bytes = DIGEST) -> None:
    """With two libraries that are not ours."""
    key = VerifyingKey.from_string(answer.public_key, curve=SECP256k1)
    assert key.verify_digest(answer.r + answer.s, digest)
    recovered = PublicKey.from_signature_and_message(answer.signature, digest, hasher=None)
    assert recovered.format() == answer.public_key
    assert int.from_bytes(answer.s, "big") <= SECP256k1.order // 2
    assert answer.digest == digest


async def failed(call) -> CallFailed:
    with pytest.raises(CallFailed) as caught:
        await call
    return caught.value


async def test_every_node_has_the_account(committee) -> None:
    accounts = []
    for node in committee.nodes:
        async with node.client() as client:
            answer = await client.call(client.wallet.ListAccounts, wallet.ListAccountsRequest())
        (account,) = answer.accounts
        assert account.index == node.index
        assert account.state == common.ACCOUNT_STATE_ACTIVE
        account.ClearField("index")
        account.ClearField("created_at")
        accounts.append(account)
    assert accounts[0] == accounts[1] == accounts[2]
    assert (accounts[0].threshold, accounts[0].parties) == (2, 3)
    assert accounts[0].committee_id == committee.committee_id
    address = {one.kind: one.text for one in accounts[0].addresses}["ethereum"]
    point = PublicKey(accounts[0].public_key).format(compressed=False)
    assert address == EthAccount._keys.PublicKey(point[1:]).to_checksum_address()


@pytest.mark.parametrize("signers", [(0, 1), (0, 2), (1, 2)])
async def test_every_pair_signs_whoever_of_it_is_asked(committee, signers) -> None:
    for index in signers:
        async with committee.nodes[index].client() as client:
            answer = await sign_digest(client, "main", DIGEST, signers=signers)
        assert tuple(answer.signers) == signers
        check(answer)


async def test_a_path_signs_with_the_key_that_bip_32_gives(committee) -> None:
    async with committee.nodes[2].operator() as client:
        request = operator.ExportSharesRequest(account_ids=["main"], plaintext=True)
        exported = await client.call(client.operator.ExportShares, request)
    core = json.loads(exported.file)["main"]["key_share"]
    root = Bip32Slip10Secp256k1.FromPublicKey(
        bytes.fromhex(core["shared_public_key"]), Bip32KeyData(chain_code=bytes.fromhex(core["chain_code"]))
    )
    expected = root.DerivePath("44/0/7").PublicKey().RawCompressed().ToBytes()
    async with committee.nodes[2].client() as client:
        request = wallet.GetPublicKeyRequest(account_id="main", path="m/44/0/7")
        key = await client.call(client.wallet.GetPublicKey, request)
        answer = await sign_digest(client, "main", DIGEST, path="m/44/0/7")
        error = await failed(sign_digest(client, "main", DIGEST, path="m/44'/0"))
    assert key.public_key == answer.public_key == expected
    assert answer.path == "m/44/0/7"
    check(answer)
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "HARDENED_PATH")


async def test_a_transaction_and_a_message(committee) -> None:
    async with committee.nodes[1].client() as client:
        request = wallet.SignRequest(
            request_id=os.urandom(16),
            account_id="main",
            ethereum_tx=wallet.EthereumTransaction(json=TRANSACTION),
        )
        answer = await client.call(client.wallet.Sign, request)
        assert EthAccount.recover_transaction(answer.raw_transaction) == answer.address
        request = wallet.SignRequest(
            request_id=os.urandom(16),
            account_id="main",
            message=wallet.MessageToSign(data=b"hello", hash=wallet.MESSAGE_HASH_EIP191),
        )
        answer = await client.call(client.wallet.Sign, request)
    signature = answer.r + answer.s + bytes([27 + answer.v])
    assert EthAccount.recover_message(encode_defunct(b"hello"), signature=signature) == answer.address


async def test_one_request_gives_one_signature(committee) -> None:
    request_id = os.urandom(16)
    async with committee.nodes[0].client() as client:
        first = await sign_digest(client, "main", DIGEST, request_id=request_id)
        again = await sign_digest(client, "main", DIGEST, request_id=request_id)
        other = await failed(sign_digest(client, "main", bytes(32), request_id=request_id))
        fresh = await sign_digest(client, "main", DIGEST)
    assert first == again
    assert (other.code, other.reason) == ("ALREADY_EXISTS", "REQUEST_CONFLICT")
    # Re-randomised: another request for the same digest gives another signature.
    assert fresh.signature != first.signature


async def test_what_is_refused(committee) -> None:
    async with committee.nodes[0].client() as client:
        unknown = await failed(sign_digest(client, "nobody", DIGEST))
        assert (unknown.code, unknown.reason) == ("NOT_FOUND", "KEY_SHARE_NOT_FOUND")
        assert str(unknown).startswith("Key share not found")
        short = await failed(sign_digest(client, "main", DIGEST[:31]))
        assert (short.code, short.reason) == ("INVALID_ARGUMENT", "BAD_DIGEST")
        signers = await failed(sign_digest(client, "main", DIGEST, signers=[1, 2]))
        assert (signers.code, signers.reason) == ("INVALID_ARGUMENT", "NOT_A_SIGNER")
        taken = await failed(create_account(client, "main"))
        assert (taken.code, taken.reason) == ("ALREADY_EXISTS", "ACCOUNT_EXISTS")
        abort = wallet.AbortSessionRequest(session_id=bytes(32))
        nothing = await failed(client.call(client.wallet.AbortSession, abort))
        assert (nothing.code, nothing.reason) == ("NOT_FOUND", "SESSION_NOT_FOUND")
        request = wallet.CreateAccountRequest(account_id="new", committee_id=bytes(32))
        steps = client.stream(client.wallet.CreateAccount, request)
        assert (await failed(anext(steps))).reason == "COMMITTEE_UNKNOWN"


def ask(**fields: object) -> mpc.SignMessage:
    values = {
        "tx_id": -1234,
        "execution_id": os.urandom(16),
        "chain": mpc.Ethereum,
        "data": DIGEST,
        "account_id": "main",
    }
    return mpc.SignMessage(**(values | fields))  # type: ignore[arg-type]


async def test_the_old_way_of_asking_every_participant(committee) -> None:
    request = ask()
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(node.client()) for node in committee.nodes]
        gateway = await stack.enter_async_context(ServiceClient(committee.gateway.grpc))
        answers = await asyncio.gather(
            *(client.call(client.participant.SignTx, request, timeout=60) for client in clients)
        )
        assert answers[0] == answers[1] == answers[2]
        found = await clients[0].call(
            clients[0].wallet.GetAccount, wallet.GetAccountRequest(account_id="main")
        )
        key = VerifyingKey.from_string(found.public_key, curve=SECP256k1)
        assert key.verify_digest(answers[0].r + answers[0].s, DIGEST)
        signature = answers[0].r + answers[0].s + bytes([answers[0].v])
        recovered = PublicKey.from_signature_and_message(signature, DIGEST, hasher=None)
        assert recovered.format() == found.public_key
        unknown = await failed(clients[0].call(clients[0].participant.SignTx, ask(account_id="nobody")))
        assert (unknown.code, unknown.reason) == ("NOT_FOUND", "KEY_SHARE_NOT_FOUND")
        # The gateway has no sign-service to pass on to here; that it is not there is its own word.
        nobody = await failed(gateway.call(gateway.sign_gateway.SignTx, ask(), timeout=30))
        assert nobody.code == "UNAVAILABLE"


async def test_an_unchanged_caller_comes_through_the_gateways_proxy(committee, tmp_path) -> None:
    first, second, _ = committee.nodes
    request = ask()
    with running_gateway(tmp_path, {"sign_service": {"url": f"http://{first.target}"}}) as gateway:
        async with ServiceClient(gateway.grpc) as through, second.client() as local:
            answers = await asyncio.gather(
                through.call(through.sign_gateway.SignTx, request, timeout=60),
                local.call(local.participant.SignTx, request, timeout=60),
            )
            assert answers[0] == answers[1]
            # The sign-service's own code, reason and words arrive.
            unknown = await failed(through.call(through.sign_gateway.SignTx, ask(account_id="nobody")))
            assert (unknown.code, unknown.reason) == ("NOT_FOUND", "KEY_SHARE_NOT_FOUND")
            empty = await failed(through.call(through.sign_gateway.SignTx, ask(account_id="")))
            assert (empty.code, empty.reason) == ("INVALID_ARGUMENT", "INVALID_REQUEST")


async def test_the_operators_view(committee) -> None:
    node = committee.nodes[0]
    async with node.operator() as client:
        service = client.operator
        status = await client.call(service.GetStatus, operator.GetStatusRequest())
        assert status.identity_key == node.identity
        assert (status.accounts, status.gateway_connected) == (1, True)
        assert status.gateway_url == committee.gateway.url
        (found,) = status.committees
        assert [member.identity_key for member in found.members] == committee.committee.identities
        assert [member.online for member in found.members] == [True, True, True]
        card = await client.call(service.GetIdentity, operator.GetIdentityRequest())
        assert card.identity_key == node.identity
        deep = await client.call(service.CheckStore, operator.CheckStoreRequest(deep=True))
        assert (deep.sound, deep.accounts) == (True, 1)
        assert deep.audit_records > 0
        frozen = await client.call(service.FreezeAccount, operator.FreezeAccountRequest(account_id="main"))
        assert frozen.state == common.ACCOUNT_STATE_FROZEN
        async with node.client() as caller:
            error = await failed(sign_digest(caller, "main", DIGEST))
            assert (error.code, error.reason) == ("FAILED_PRECONDITION", "ACCOUNT_FROZEN")
        await client.call(service.UnfreezeAccount, operator.UnfreezeAccountRequest(account_id="main"))
        async with node.client() as caller:
            check(await sign_digest(caller, "main", DIGEST))
        plain = await client.call(service.ExportShares, operator.ExportSharesRequest(plaintext=True))
        assert list(plain.account_ids) == ["main"]
        again = await client.call(service.ImportShares, operator.ImportSharesRequest(file=plain.file))
        assert [(one.account_id, one.imported) for one in again.shares] == [("main", False)]
        ended = await client.call(service.ListSessions, operator.ListSessionsRequest(ended=True))
        assert "full-sign" in {session.kind for session in ended.sessions}
        nobody = await client.call(service.ListQuarantine, operator.ListQuarantineRequest())
        assert not nobody.peers


async def test_stock_is_filled_used_and_dropped(committee) -> None:
    async with committee.nodes[0].operator() as client, committee.nodes[0].client() as caller:
        request = operator.FillStockRequest(account_id="main", signers=[0, 1], count=2)
        steps = [step async for step in client.stream(client.operator.FillStock, request)]
        (entry,) = [one for one in steps[-1].stock.entries if one.fresh]
        assert (list(entry.signers), entry.owner, entry.fresh) == ([0, 1], 0, 2)
        answer = await sign_digest(caller, "main", DIGEST, signers=[0, 1])
        assert answer.from_stock
        check(answer)
        stock = await caller.call(caller.wallet.GetStock, wallet.GetStockRequest(account_id="main"))
        assert sum(one.fresh for one in stock.stocks[0].entries) == 1
        dropped = await client.call(client.operator.DropStock, operator.DropStockRequest())
        assert dropped.dropped == 1
        answer = await sign_digest(caller, "main", DIGEST, signers=[0, 1])
        assert not answer.from_stock


async def test_metrics_count_the_calls(committee) -> None:
    node = committee.nodes[1]
    name = 'sign_service_calls_total{code="NOT_FOUND",method="wallet.v1.Wallet/GetAccount"}'
    before = node.metric(name)
    async with node.client() as client:
        await failed(client.call(client.wallet.GetAccount, wallet.GetAccountRequest(account_id="nobody")))
    assert node.metric(name) == before + 1
    assert node.online() == {0, 2}
    assert node.metric("sign_service_accounts") == 1


async def test_a_killed_node_is_said_to_be_missing_and_signs_again_when_it_is_back(committee) -> None:
    first, second, third = committee.nodes
    second.kill()
    async with first.client() as client:
        answer = await sign_digest(client, "main", DIGEST)
        assert list(answer.signers) == [0, 2]
        third.kill()
        error = await failed(sign_digest(client, "main", DIGEST))
        assert (error.code, error.reason) == ("UNAVAILABLE", "THRESHOLD_NOT_MET")
        assert str(error).startswith("Threshold not met")
        assert error.metadata["needed"] == "2"
        second.start()
        third.start()
        committee.wait_ready()
        for signers in ((0, 1), (0, 2)):
            check(await sign_digest(client, "main", DIGEST, signers=signers))


async def test_the_gateway_may_be_killed_and_come_back(committee) -> None:
    committee.kill_gateway()
    committee.start_gateway()
    committee.wait_ready()
    async with committee.nodes[2].client() as client:
        check(await sign_digest(client, "main", DIGEST))


async def test_a_running_call_is_finished_before_the_daemon_ends(committee) -> None:
    node = committee.nodes[0]
    async with node.client() as client:
        call = asyncio.ensure_future(sign_digest(client, "main", DIGEST, signers=[0, 1]))
        while node.metric("sign_service_sessions") == 0:
            assert not call.done()
            await asyncio.sleep(0)
        code = await asyncio.to_thread(node.stop)
        check(await call)
    assert code == 0
    node.start()
    committee.wait_ready()
