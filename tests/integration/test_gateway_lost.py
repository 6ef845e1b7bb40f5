"""The gateway is killed, with everything that it holds, and started again: in the middle of each protocol."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Iterator

import pytest
from coincurve import PublicKey
from committee_processes import (
    PATIENCE,
    UNHURRIED,
    CommitteeProcesses,
    create_account,
    running_committee,
    sign_digest,
)

from kit.pb.wallet.v1 import common_pb2 as common
from kit.pb.wallet.v1 import operator_pb2 as operator
from kit.pb.wallet.v1 import wallet_pb2 as wallet

pytestmark = pytest.mark.fault(1)

PHASES = ["r0", "r1", "r2", "r3", "done"]
DIGEST = hashlib.sha256(b"lost and found").digest()


@pytest.fixture(scope="module")
def committee(tmp_path_factory) -> Iterator[CommitteeProcesses]:
    with running_committee(tmp_path_factory.mktemp("committee"), settings=UNHURRIED) as committee:

        async def make() -> None:
            async with committee.nodes[0].client() as client:
                await create_account(client, "main")

        asyncio.run(make())
        yield committee


def lose_gateway(committee: CommitteeProcesses) -> None:
    """Not in another thread: processes die with the thread that started them."""
    committee.kill_gateway()
    committee.start_gateway()


def check(answer: wallet.SignResponse) -> None:
    recovered = PublicKey.from_signature_and_message(answer.signature, DIGEST, hasher=None)
    assert recovered.format() == answer.public_key


@pytest.mark.parametrize("phase", PHASES)
async def test_during_key_generation(committee, phase):
    account_id, lost = f"lost in {phase}", False
    request = wallet.CreateAccountRequest(account_id=account_id)
    last = common.Progress()
    async with committee.nodes[1].client() as client:
        async for progress in client.stream(client.wallet.CreateAccount, request, timeout=PATIENCE * 3):
            last = progress
            # A phase may be over before anybody looks: then it is lost in the next one that is seen.
            if (
                not lost
                and progress.operation == "keygen"
                and progress.phase in PHASES[PHASES.index(phase) :]
            ):
                lost = True
                lose_gateway(committee)
        assert last.WhichOneof("result") == "account", last
        check(await sign_digest(client, account_id, DIGEST))
    assert lost


async def sign_while_it_is_lost(committee: CommitteeProcesses, index: int) -> wallet.SignResponse:
    """Kill the gateway as soon as the signing session is seen; the same call ends well."""
    node = committee.nodes[index]
    async with node.client() as client:
        call = asyncio.ensure_future(sign_digest(client, "main", DIGEST, request_id=os.urandom(16)))
        # Every turn is a question to the process.
        while node.metric("sign_service_sessions") == 0 and not call.done():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0)
        lose_gateway(committee)
        return await call


async def test_during_signing(committee):
    check(await sign_while_it_is_lost(committee, 0))


async def test_stock_outlives_the_gateway(committee):
    node = committee.nodes[2]
    async with node.operator() as client, node.client() as caller:
        request = operator.FillStockRequest(account_id="main", signers=[0, 2], count=1)
        async for _ in client.stream(client.operator.FillStock, request, timeout=PATIENCE * 2):
            pass
        lose_gateway(committee)
        committee.wait_ready()
        answer = await sign_digest(caller, "main", DIGEST, signers=[0, 2])
    assert answer.from_stock
    check(answer)
