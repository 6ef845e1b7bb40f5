"""Three daemons and a gateway as processes under what a day brings: many at once, two proposers, other policies, late ones."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest
from bip_utils import Bip32KeyData, Bip32Slip10Secp256k1
from coincurve import PublicKey
from committee_processes import (
    UNHURRIED,
    CommitteeProcesses,
    create_account,
    merged,
    running_committee,
    sign_digest,
)
from ecdsa import SECP256k1, VerifyingKey

from kit.pb import mpc_pb2 as mpc
from kit.pb.wallet.v1 import wallet_pb2 as wallet
from participant.grpc_client import CallFailed, ServiceClient
from participant.sealing import KeyFileWrapper
from participant.store import Store

STRICT = "strict"
MANY = ("main", "second", "third")


@pytest.fixture(scope="module")
def committee(tmp_path_factory) -> Iterator[CommitteeProcesses]:
    directory = tmp_path_factory.mktemp("committee")
    with running_committee(directory, settings=UNHURRIED) as committee:

        async def make() -> None:
            async with committee.nodes[0].client() as client:
                for account_id in (*MANY, STRICT):
                    await create_account(client, account_id)

        asyncio.run(make())
        # From now on the last node's own policy differs.
        strict = committee.nodes[2]
        policy = strict.settings["policy"]
        rule = merged(policy["rules"][0], {"accounts": [STRICT], "raw_digests": False})
        strict.write_settings({"policy": merged(policy, {"rules": [*policy["rules"], rule]})})
        strict.restart()
        committee.wait_ready()
        yield committee


def digest_of(name: object) -> bytes:
    return hashlib.sha256(repr(name).encode()).digest()


def check(r: bytes, s: bytes, v: int, digest: bytes, public_key: bytes) -> None:
    """By two libraries that are not ours."""
    assert VerifyingKey.from_string(public_key, curve=SECP256k1).verify_digest(r + s, digest)
    recovered = PublicKey.from_signature_and_message(r + s + bytes([v]), digest, hasher=None)
    assert recovered.format() == public_key
    assert int.from_bytes(s, "big") <= SECP256k1.order // 2


async def sign(client: ServiceClient, account_id: str, name: object, **fields) -> wallet.SignResponse:
    answer = await sign_digest(client, account_id, digest_of(name), **fields)
    check(answer.r, answer.s, answer.v, digest_of(name), answer.public_key)
    return answer


async def clients_of(committee: CommitteeProcesses, stack: AsyncExitStack) -> list[ServiceClient]:
    return [await stack.enter_async_context(node.client()) for node in committee.nodes]


@pytest.mark.fault(11)
async def test_twenty_at_once_on_one_account(committee):
    async with AsyncExitStack() as stack:
        clients = await clients_of(committee, stack)
        answers = await asyncio.gather(*(sign(clients[i % 3], "main", ("one", i)) for i in range(20)))
    assert len({answer.signature for answer in answers}) == 20
    assert len({answer.public_key for answer in answers}) == 1


@pytest.mark.fault(11)
async def test_twenty_at_once_on_many_accounts(committee):
    async with AsyncExitStack() as stack:
        clients = await clients_of(committee, stack)
        answers = await asyncio.gather(
            *(sign(clients[i % 3], MANY[i % len(MANY)], ("many", i)) for i in range(20))
        )
    assert len({answer.public_key for answer in answers}) == len(MANY)


@pytest.mark.fault(11)
async def test_two_nodes_propose_the_same_at_once(committee):
    async with AsyncExitStack() as stack:
        clients = await clients_of(committee, stack)
        first, second = await asyncio.gather(
            sign(clients[0], "main", "both", signers=(0, 1)), sign(clients[1], "main", "both", signers=(0, 1))
        )
    assert first.public_key == second.public_key


async def test_two_nodes_make_accounts_at_once(committee):
    async with AsyncExitStack() as stack:
        clients = await clients_of(committee, stack)
        made = await asyncio.gather(create_account(clients[0], "left"), create_account(clients[2], "right"))
        assert made[0].public_key != made[1].public_key
        for account_id in ("left", "right"):
            await sign(clients[1], account_id, account_id)


async def test_a_peer_refuses_by_its_own_policy(committee):
    async with AsyncExitStack() as stack:
        clients = await clients_of(committee, stack)
        with pytest.raises(CallFailed) as caught:
            await sign(clients[0], STRICT, "refused", signers=(0, 2))
        assert caught.value.reason == "POLICY_REFUSED"
        assert caught.value.metadata["by"] == "2"
        assert caught.value.metadata["rule"] == "RAW_DIGEST_NOT_ALLOWED"
        # Where it is one of several who could sign, another one takes its place.
        answer = await sign(clients[1], STRICT, "replaced")
        assert list(answer.signers) == [0, 1]
        with pytest.raises(CallFailed) as caught:
            await sign(clients[2], STRICT, "own")
        assert caught.value.reason == "POLICY_REFUSED"


async def test_every_path_is_what_bip_32_derives(committee):
    async with committee.nodes[0].client() as client:
        request = wallet.GetPublicKeyRequest(account_id="main", path="m")
        root = await client.call(client.wallet.GetPublicKey, request)
        answer = await sign(client, "main", "path", path="m/44/60/0/7")
    chain_code = await asyncio.to_thread(chain_code_of, committee)
    node = Bip32Slip10Secp256k1.FromPublicKey(root.public_key, Bip32KeyData(chain_code=chain_code))
    assert node.DerivePath("44/60/0/7").PublicKey().RawCompressed().ToBytes() == answer.public_key


def chain_code_of(committee: CommitteeProcesses) -> bytes:
    """The chain code is no business of callers: it comes from a copy of a store."""
    copy = committee.directory / "copy"
    shutil.copytree(committee.nodes[0].directory, copy)
    with Store.open(copy / "store.db", KeyFileWrapper.from_file(copy / "seal.key")) as store:
        return store.accounts.chain_code("main")


def ask(name: object, tx_id: int, execution_id: bytes) -> mpc.SignMessage:
    return mpc.SignMessage(
        tx_id=tx_id,
        execution_id=execution_id,
        chain=mpc.Ethereum,
        data=digest_of(name),
        account_id="main",
    )


@pytest.mark.parametrize("late", [0, 1, 2], ids=lambda index: f"index-{index}-late")
async def test_wallet_mpcs_way_with_one_who_is_asked_late(committee, late):
    tx_id, execution_id = -(1 << 30) + late, uuid.uuid4().bytes
    request = ask(("late", late), tx_id, execution_id)
    async with AsyncExitStack() as stack:
        clients = await clients_of(committee, stack)
        early = [client for index, client in enumerate(clients) if index != late]
        answers = await asyncio.gather(
            *(client.call(client.participant.SignTx, request, timeout=100) for client in early)
        )
        answers.append(await clients[late].call(clients[late].participant.SignTx, request, timeout=100))
        account = await clients[0].call(
            clients[0].wallet.GetAccount, wallet.GetAccountRequest(account_id="main")
        )
    assert answers[0] == answers[1] == answers[2]
    check(answers[0].r, answers[0].s, answers[0].v, digest_of(("late", late)), account.public_key)


async def test_wallet_mpcs_way_in_one_room_for_two_requests(committee):
    requests = [ask(("shared", i), 7, os.urandom(16)) for i in range(2)]
    async with AsyncExitStack() as stack:
        clients = await clients_of(committee, stack)
        calls = [
            [client.call(client.participant.SignTx, request, timeout=100) for client in clients]
            for request in requests
        ]
        answers = await asyncio.gather(*(asyncio.gather(*row) for row in calls))
    for row in answers:
        assert row[0] == row[1] == row[2]
    assert answers[0][0] != answers[1][0]
