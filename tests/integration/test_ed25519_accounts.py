"""Ed25519 accounts on three daemons: made by the command, used by every pair and through the client, beside secp256k1 ones."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import ecdsa
import nacl.signing
import pytest
from committee_processes import UNHURRIED, CommitteeProcesses, create_account, running_committee, sign_digest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from keygen_testing import keygen_argv
from processes import run_process

from kit.pb.wallet.v1 import common_pb2 as common
from kit.pb.wallet.v1 import wallet_pb2 as wallet
from participant.grpc_client import CallFailed
from participant.payloads import solana, ssh

PAIRS = [(0, 1), (0, 2), (1, 2)]
MESSAGE = b"signed as it is"


@pytest.fixture(scope="module")
def committee(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommitteeProcesses]:
    policy = {"payloads": ["message", "solana_tx", "sshsig"]}
    with running_committee(tmp_path_factory.mktemp("committee"), settings=UNHURRIED) as committee:
        for node in committee.nodes:
            settings = node.settings["policy"]
            rules = [{**rule, **policy} for rule in settings["rules"]]
            node.write_settings({"policy": {**settings, "rules": rules}})
            node.restart()
        committee.wait_ready()
        yield committee


def verified(signature: bytes, message: bytes, public_key: bytes) -> bytes:
    """By two libraries that are not ours."""
    nacl.signing.VerifyKey(public_key).verify(message, signature)
    Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    return signature


def made(committee: CommitteeProcesses, account_id: str) -> bytes:
    """`mpc-keygen create --curve ed25519`; the public key."""
    target = committee.nodes[0].operator_target
    code, process = run_process(
        keygen_argv("create", account_id, "--curve", "ed25519", "--target", target, "--json"), timeout=300
    )
    assert code == 0, process.output
    (line,) = [line for line in process.stdout if '"public_key"' in line]
    return bytes.fromhex(line.split('"public_key": "')[1][:64])


def request(account_id: str, **payload: object) -> wallet.SignRequest:
    return wallet.SignRequest(request_id=secrets.token_bytes(16), account_id=account_id, **payload)


def as_it_is(account_id: str, signers: tuple[int, ...] = ()) -> wallet.SignRequest:
    message = wallet.MessageToSign(data=MESSAGE, hash=wallet.MESSAGE_HASH_NONE)
    return request(account_id, message=message, signers=signers)


async def test_a_key_is_made_and_every_pair_signs_beside_a_secp256k1_account(
    committee: CommitteeProcesses, tmp_path: Path
) -> None:
    public_key = await asyncio.to_thread(made, committee, "ed")
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(node.client()) for node in committee.nodes]
        first = clients[0]
        await create_account(first, "eth")
        for client in clients:
            key = await client.call(client.wallet.GetPublicKey, wallet.GetPublicKeyRequest(account_id="ed"))
            assert (key.curve, key.public_key) == (common.CURVE_ED25519, public_key)
            assert {one.kind: one.text for one in key.addresses} == {"solana": solana.address(public_key)}
        for pair in PAIRS:
            client = clients[pair[0]]
            asked = as_it_is("ed", pair)
            answer = await client.call(client.wallet.Sign, asked, timeout=100)
            verified(answer.signature, MESSAGE, public_key)
            assert (tuple(answer.signers), answer.r + answer.s, answer.v) == (pair, answer.signature, 0)
            again = await client.call(client.wallet.Sign, asked, timeout=100)
            assert again.signature == answer.signature
        digest = hashlib.sha256(b"both").digest()
        one, other = await asyncio.gather(
            clients[1].call(clients[1].wallet.Sign, as_it_is("ed"), timeout=100),
            sign_digest(clients[2], "eth", digest),
        )
        verified(one.signature, MESSAGE, public_key)
        key = ecdsa.VerifyingKey.from_string(other.public_key, curve=ecdsa.SECP256k1)
        assert key.verify_digest(bytes(other.r) + bytes(other.s), digest)
        with pytest.raises(CallFailed, match="no payload of kind digest"):
            await sign_digest(first, "ed", digest)

        transaction = b"\x01\x00\x01\x02" + public_key + bytes(32) + b"\x0b" * 32 + b"\x01\x01\x01\x00\x00"
        answer = await first.call(first.wallet.Sign, request("ed", solana_message=transaction), timeout=100)
        verified(answer.signature, transaction, public_key)
        assert answer.raw_transaction == b"\x01" + answer.signature + transaction
        assert answer.address == solana.address(public_key)

        file = wallet.SshMessage(data=b"a release", namespace="file")
        answer = await first.call(first.wallet.Sign, request("ed", ssh=file), timeout=100)
        verified(answer.signature, ssh.signed_data("file", b"a release"), public_key)
