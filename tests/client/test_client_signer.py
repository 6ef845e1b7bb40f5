"""The library against a real wallet.v1 service whose key the test holds; every result is judged by foreign libraries."""

from __future__ import annotations

import json
from pathlib import Path

import ecdsa
import grpc
import pytest
from embit.psbt import PSBT
from eth_account import Account
from eth_account.messages import encode_defunct, encode_typed_data
from keyed_wallet import KeyedWallet, payment, refusal, serving

from client.errors import RequestFailed
from client.settings import EthereumSettings, MpcConfig, MpcSettings, ServiceSettings
from participant.files import create_private
from wallet_mpc import MpcSigner, SignatureResult, new_mpc_client

DIGEST = bytes.fromhex("5f16f4c7f149ac4f9510d9cf8cf384038ad348b3bcdc01915f95de12df9d1b02")
EIP1559 = {
    "type": 2,
    "chainId": 1,
    "nonce": 7,
    "to": "0x6Eb893e3466931517a04a17D153a6330c3f2f1dD",
    "value": 10**18,
    "gas": 21000,
    "maxFeePerGas": 30_000_000_000,
    "maxPriorityFeePerGas": 1_000_000_000,
}
TYPED = {
    "types": {
        "EIP712Domain": [{"name": "name", "type": "string"}],
        "Mail": [{"name": "text", "type": "string"}],
    },
    "primaryType": "Mail",
    "domain": {"name": "test"},
    "message": {"text": "hello"},
}


def configured(*targets: str, **sections: object) -> MpcConfig:
    return MpcConfig(service=ServiceSettings(targets=list(targets)), **sections)


def verified(result: SignatureResult) -> SignatureResult:
    """By ecdsa and eth-account, which are not ours."""
    key = ecdsa.VerifyingKey.from_string(result.public_key, curve=ecdsa.SECP256k1)
    assert key.verify_digest(result.signature[:64], result.digest)
    recovered = Account._recover_hash(result.digest, vrs=(result.v, result.r, result.s))
    assert recovered == Account._recover_hash(result.digest, signature=result.signature)
    if not result.psbt:
        assert recovered == result.address
    return result


@pytest.fixture
async def wallet():
    service = KeyedWallet()
    async with serving(service) as service.url:
        yield service


@pytest.fixture
async def signer(wallet):
    async with await new_mpc_client(configured(wallet.url)) as signer:
        yield signer


@pytest.mark.parametrize("form", ["bytes", "0x", "plain"])
async def test_a_digest(wallet: KeyedWallet, signer: MpcSigner, form: str):
    given = {"bytes": DIGEST, "0x": "0x" + DIGEST.hex().upper().lower(), "plain": DIGEST.hex()}[form]
    result = verified(await signer.sign_tx(given, "main"))
    assert result.as_dict() == {
        "account_id": "main",
        "path": None,
        "digest": "0x" + DIGEST.hex(),
        "r": f"0x{result.r:064x}",
        "s": f"0x{result.s:064x}",
        "v": result.v,
        "public_key": signer.get_public_key("main"),
        "address": Account.from_key(wallet.key.private_key()).address,
        "signers": [0, 2],
    }
    request = wallet.requests[-1]
    assert (request.account_id, request.path, list(request.signers)) == ("main", "m", [])
    assert len(request.request_id) == 16


async def test_request_ids_differ_unless_given(wallet: KeyedWallet, signer: MpcSigner):
    for identifier in (None, None, b"\7" * 16):
        await signer.sign_tx(DIGEST, "main", request_id=identifier)
    sent = [request.request_id for request in wallet.requests]
    assert len(set(sent)) == 3
    assert sent[-1] == b"\7" * 16


async def test_an_account_id_is_never_a_path(wallet: KeyedWallet, signer: MpcSigner):
    result = verified(await signer.sign_tx(DIGEST, "m/44'/60'/0'/0/0", path="m/3", signers=[2, 1]))
    assert (result.account_id, result.path, result.signers) == ("m/44'/60'/0'/0/0", "m/3", (1, 2))
    assert result.public_key == wallet.key.public_key((3,))
    assert result.as_dict()["path"] == "m/3"


async def test_a_message_as_ethereum_wallets_sign_it(signer: MpcSigner):
    result = verified(await signer.sign("main", message="hello"))
    signed = encode_defunct(text="hello")
    assert Account.recover_message(signed, vrs=(result.v + 27, result.r, result.s)) == result.address


async def test_typed_data(signer: MpcSigner):
    result = verified(await signer.sign("main", typed_data=TYPED))
    signed = encode_typed_data(full_message=TYPED)
    assert Account.recover_message(signed, vrs=(result.v + 27, result.r, result.s)) == result.address


@pytest.mark.parametrize("kind", ["legacy", "eip-2930", "eip-1559"])
async def test_transactions_come_back_signed(signer: MpcSigner, kind: str):
    transaction = dict(EIP1559)
    if kind != "eip-1559":
        del transaction["maxFeePerGas"], transaction["maxPriorityFeePerGas"]
        transaction |= {"type": 0 if kind == "legacy" else 1, "gasPrice": 10**9}
    if kind == "eip-2930":
        transaction["accessList"] = [{"address": transaction["to"], "storageKeys": ["0x" + "00" * 32]}]
    result = verified(await signer.sign("main", transaction=json.dumps(transaction), path="m/0/5"))
    assert result.raw_transaction is not None
    assert Account.recover_transaction(result.raw_transaction) == result.address
    content = result.as_dict()
    assert content["raw_transaction"] == "0x" + result.raw_transaction.hex()
    assert content["path"] == "m/0/5"


async def test_a_psbt_comes_back_signed_input_by_input(wallet: KeyedWallet, signer: MpcSigner):
    unsigned = payment(wallet.key)
    result = verified(await signer.sign("main", psbt=unsigned.to_string()))
    assert [one.path for one in result.inputs] == ["m/0/1", "m/0/2"]
    assert [one.digest for one in result.inputs] == [unsigned.sighash(0), unsigned.sighash(1)]
    assert result.raw_transaction is not None
    content = result.as_dict()
    assert PSBT.parse(result.psbt).to_string() == content["psbt"]
    assert [one["input"] for one in content["inputs"]] == [0, 1]
    assert (content["digest"], content["path"]) == (content["inputs"][0]["digest"], "m/0/1")


def alter(answer, what: str) -> None:
    if what == "digest":
        answer.digest = bytes(32)
    elif what == "r":
        answer.r = (int.from_bytes(answer.r, "big") ^ 1).to_bytes(32, "big")
    elif what == "high s":
        order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
        answer.s = (order - int.from_bytes(answer.s, "big")).to_bytes(32, "big")
        answer.v ^= 1
    elif what == "v":
        answer.v ^= 1
    elif what == "path":
        answer.path = "m/1"
    elif what == "no path":
        answer.path = "what?"
    elif what == "other key":
        other = ecdsa.SigningKey.from_secret_exponent(7, curve=ecdsa.SECP256k1)
        answer.public_key = other.verifying_key.to_string("compressed")
        answer.r = answer.s = b""
    elif what == "raw":
        answer.raw_transaction += b"\0"
    elif what == "no raw":
        answer.raw_transaction = b""
    elif what == "signers":
        answer.signers[:] = [0, 2]


LIES = ["digest", "r", "high s", "v", "path", "no path", "other key", "raw", "no raw", "signers"]


@pytest.mark.parametrize("what", LIES)
async def test_an_answer_that_is_not_one_to_the_request_is_not_believed(
    wallet: KeyedWallet, signer: MpcSigner, what: str
):
    wallet.falsify = lambda answer: alter(answer, what)
    with pytest.raises(RequestFailed) as caught:
        await signer.sign("main", transaction=EIP1559, signers=[0, 1])
    assert caught.value.reason == "BAD_ANSWER"
    wallet.falsify = lambda _: None
    verified(await signer.sign("main", transaction=EIP1559, signers=[0, 1]))


async def test_a_key_that_is_not_the_accounts_is_not_believed_though_its_signature_holds(
    wallet: KeyedWallet, signer: MpcSigner
):
    wallet.key = type(wallet.key)(b"\5" * 32)
    with pytest.raises(RequestFailed) as caught:
        await signer.sign_tx(DIGEST, "main")
    assert caught.value.reason == "BAD_ANSWER"
    with pytest.raises(RequestFailed) as caught:
        await signer.public_key("main")
    assert caught.value.reason == "BAD_ANSWER"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"digest": b"\1" * 31}, "BAD_DIGEST"),
        ({"digest": "0x" + "0" * 66}, "BAD_DIGEST"),
        ({"digest": "xyz"}, "BAD_DIGEST"),
        ({"digest": ""}, "BAD_DIGEST"),
        ({}, "INVALID_REQUEST"),
        ({"digest": DIGEST, "message": "x"}, "INVALID_REQUEST"),
        ({"message": "x", "hash": "md5"}, "INVALID_REQUEST"),
        ({"transaction": "{"}, "INVALID_REQUEST"),
        ({"transaction": {**EIP1559, "nonce": -1}}, "INVALID_REQUEST"),
        ({"transaction": {**EIP1559, "from": "0x" + "11" * 20}}, "INVALID_REQUEST"),
        ({"psbt": "cHNidP8="}, "INVALID_REQUEST"),
        ({"typed_data": {}}, "INVALID_REQUEST"),
        ({"digest": DIGEST, "path": "m/0'"}, "HARDENED_PATH"),
        ({"digest": DIGEST, "path": "x"}, "INVALID_REQUEST"),
        ({"digest": DIGEST, "signers": [1, 1]}, "INVALID_REQUEST"),
        ({"digest": DIGEST, "signers": []}, "INVALID_REQUEST"),
        ({"digest": DIGEST, "signers": [-1, 0]}, "INVALID_REQUEST"),
        ({"digest": DIGEST, "request_id": b"short"}, "INVALID_REQUEST"),
    ],
)
async def test_what_cannot_be_meant_is_refused_before_anything_is_sent(
    wallet: KeyedWallet, signer: MpcSigner, arguments: dict[str, object], reason: str
):
    with pytest.raises(RequestFailed) as caught:
        await signer.sign("main", **arguments)
    assert caught.value.reason == reason
    assert wallet.requests == []


async def test_an_unknown_account(wallet: KeyedWallet, signer: MpcSigner):
    with pytest.raises(RequestFailed, match="Key share not found") as caught:
        await signer.sign_tx(DIGEST, "other")
    assert caught.value.reason == "KEY_SHARE_NOT_FOUND"
    with pytest.raises(RequestFailed, match="Key share not found"):
        signer.get_public_key("other")
    # It is looked for again each time: it may have been made meanwhile.
    wallet.account_ids.append("other")
    assert (await signer.sign_tx(DIGEST, "other")).account_id == "other"


async def test_a_sender_that_is_ours(wallet: KeyedWallet, signer: MpcSigner):
    ours = (await signer.public_key("main", "m/4")).addresses["ethereum"]
    result = await signer.sign("main", transaction={**EIP1559, "from": ours}, path="m/4")
    assert result.address == ours


async def test_accounts_keys_and_stock(wallet: KeyedWallet, signer: MpcSigner):
    assert [account.account_id for account in await signer.accounts()] == ["main", "m/44'/60'/0'/0/0"]
    key = await signer.public_key("main", "m/0/1")
    assert (key.path, key.public_key) == ("m/0/1", wallet.key.public_key((0, 1)))
    (entry,) = await signer.stock("main")
    assert entry.as_dict() == {
        "account_id": "main",
        "signers": [0, 1],
        "owner": 0,
        "fresh": 3,
        "promised": 1,
        "target": 4,
        "oldest_seconds": 7,
        "bip340": False,
    }


async def test_a_services_own_reason_reaches_the_caller(wallet: KeyedWallet, signer: MpcSigner):
    wallet.refuse = refusal(
        grpc.StatusCode.FAILED_PRECONDITION,
        "THRESHOLD_NOT_MET",
        "Threshold not met: index 1 does not answer",
        missing="1",
    )
    with pytest.raises(RequestFailed, match=r"Threshold not met: index 1 .*start the participants") as caught:
        await signer.sign_tx(DIGEST, "main")
    assert (caught.value.reason, caught.value.metadata["missing"]) == ("THRESHOLD_NOT_MET", "1")


async def test_the_next_service_is_asked_when_the_first_is_not_there(wallet: KeyedWallet):
    gone = "http://127.0.0.1:1"
    async with await new_mpc_client(configured(gone, wallet.url)) as signer:
        verified(await signer.sign_tx(DIGEST, "main"))
        # Who answered comes first from now on.
        assert signer.targets == (wallet.url, gone)


async def test_the_next_service_is_asked_when_the_first_is_not_among_the_signers(wallet: KeyedWallet):
    other = KeyedWallet()
    other.key = wallet.key
    no_signer = refusal(grpc.StatusCode.INVALID_ARGUMENT, "NOT_A_SIGNER", "index 1 is not among the signers")
    async with (
        serving(other) as url,
        await new_mpc_client(configured(url, wallet.url)) as both,
        await new_mpc_client(configured(url)) as alone,
    ):
        other.refuse = no_signer
        verified(await both.sign_tx(DIGEST, "main", signers=[0, 2]))
        with pytest.raises(RequestFailed, match=r"not among the signers.*add one of the signers") as caught:
            await alone.sign_tx(DIGEST, "main", signers=[0, 2])
    assert caught.value.reason == "NOT_A_SIGNER"
    assert [list(request.signers) for request in wallet.requests] == [[0, 2]]


async def test_nobody_there():
    with pytest.raises(
        RequestFailed, match=r"Connection refused: nobody listens at http://127\.0\.0\.1:1"
    ) as caught:
        await new_mpc_client(configured("http://127.0.0.1:1", "http://127.0.0.1:2"))
    assert caught.value.reason == "CONNECTION_REFUSED"


async def test_closed_is_closed_and_closing_twice_is_nothing(wallet: KeyedWallet):
    signer = await new_mpc_client(configured(wallet.url))
    await signer.close()
    await signer.close()
    with pytest.raises(RequestFailed, match="closed"):
        await signer.sign_tx(DIGEST, "main")


async def test_our_token_is_sent_and_never_shown(wallet: KeyedWallet, tmp_path: Path):
    create_private(tmp_path / "token", b"wmpc_secret-token\n")
    service = ServiceSettings(targets=[wallet.url], token_file=tmp_path / "token")
    async with await new_mpc_client(MpcConfig(service=service)) as signer:
        await signer.sign_tx(DIGEST, "main")
        assert wallet.metadata[-1]["authorization"] == "Bearer wmpc_secret-token"
        assert "secret-token" not in repr(vars(signer))


async def test_accounts_of_another_committee_than_expected(wallet: KeyedWallet):
    config = configured(wallet.url, mpc=MpcSettings(threshold=2, total_participants=5))
    async with await new_mpc_client(config) as signer:
        with pytest.raises(RequestFailed, match=r"2 of 3, but mpc\.total_participants in the settings is 5"):
            await signer.sign_tx(DIGEST, "main")
        assert wallet.requests == []


async def test_the_settings_chain(wallet: KeyedWallet):
    config = configured(wallet.url, ethereum=EthereumSettings(chain_id=5))
    async with await new_mpc_client(config) as signer:
        with pytest.raises(RequestFailed, match="for chain 1, the settings say 5") as caught:
            await signer.sign("main", transaction=json.dumps(EIP1559))
        assert caught.value.reason == "WRONG_CHAIN"
        open_ = {name: value for name, value in EIP1559.items() if name != "chainId"}
        result = await signer.sign("main", transaction=open_)
        assert result.raw_transaction is not None
        # 0x02, list, then chain 5.
        assert result.raw_transaction[0] == 2
        assert result.raw_transaction[3] == 5
