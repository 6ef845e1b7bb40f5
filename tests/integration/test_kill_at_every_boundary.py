"""kill -9 before each message that a node posts, and after its last one, in every protocol; then it comes back.

Whatever the moment: nobody is blamed, no half key is left, and the same request made again succeeds.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator

import pytest
from coincurve import PublicKey
from committee_processes import (
    PATIENCE,
    UNHURRIED,
    CommitteeProcesses,
    NodeProcess,
    create_account,
    running_committee,
    sign_digest,
)
from testing_daemon import ARMED, KILL_AT

from kit.pb.wallet.v1 import common_pb2 as common
from kit.pb.wallet.v1 import operator_pb2 as operator
from kit.pb.wallet.v1 import wallet_pb2 as wallet
from participant.grpc_client import CallFailed

VICTIM = 1
KEY_LABELS = ("msg.0", "echo.0", "msg.1", "echo.1", "msg.2", "msg.3", "echo.3", "done")
FULL_LABELS = ("msg.0", "echo.0", "msg.1", "msg.2", "msg.3", "echo.3", "msg.4")

Moment = tuple[str, str]


def moments(labels: tuple[str, ...]) -> list[Moment]:
    """Before each message, and after the last."""
    return [*(("before", label) for label in labels), ("after", labels[-1])]


def named(cases: list[tuple[str, Moment]]) -> list:
    return [pytest.param(role, at, id=f"{role}-{at[0]}-{at[1]}") for role, at in cases]


KEYGEN = [("responder", at) for at in moments(KEY_LABELS)] + [
    ("initiator", at) for at in moments(("propose", *KEY_LABELS))
]
AUX = [("responder", at) for at in moments(KEY_LABELS)]
FULL = [("responder", at) for at in moments(FULL_LABELS)] + [
    ("initiator", at) for at in moments(("propose", *FULL_LABELS))
]
STOCK = [("responder", at) for at in moments(("msg.0",))] + [
    ("initiator", at) for at in moments(("propose", "msg.1"))
]


@pytest.fixture(scope="module")
def committee(tmp_path_factory) -> Iterator[CommitteeProcesses]:
    with running_committee(tmp_path_factory.mktemp("committee"), settings=UNHURRIED) as committee:

        async def make() -> None:
            async with committee.nodes[0].client() as client:
                await create_account(client, "main")

        asyncio.run(make())
        yield committee


@pytest.fixture
def trapped(committee) -> Iterator:
    """Makes the victim one that will kill itself once armed; afterwards everybody is back and well."""

    def set_trap(at: Moment) -> NodeProcess:
        victim = committee.nodes[VICTIM]
        victim.restart({KILL_AT: " ".join((*at, ARMED))})
        committee.wait_ready()
        return victim

    yield set_trap
    for node in committee.nodes:
        if node.process is None:
            node.start()
    committee.wait_ready()


async def abandon(node: NodeProcess) -> None:
    """Its operator ends what is under way, so that nothing has to wait for a deadline."""
    async with node.operator() as client:
        listed = await client.call(client.operator.ListSessions, operator.ListSessionsRequest())
        for session in listed.sessions:
            with contextlib.suppress(CallFailed):
                request = wallet.AbortSessionRequest(request_id=session.request_id)
                await client.call(client.operator.AbortSession, request)


async def killed_during(committee: CommitteeProcesses, victim: NodeProcess, call) -> None:
    """Arm the victim, await a call in which it dies; the others give up what it left."""
    os.kill(victim.running.pid, signal.SIGUSR1)
    await asyncio.to_thread(victim.running.wait_for, f"^{ARMED}$")
    running = asyncio.ensure_future(call)
    await asyncio.to_thread(victim.wait_killed)
    for node in committee.nodes:
        if node is not victim:
            await abandon(node)
    with contextlib.suppress(CallFailed):
        await running
    victim.start()
    committee.wait_ready()


async def eventually(check: Callable[[], Awaitable[bool]], what: str) -> None:
    """Ask until it holds; every turn is a question to all processes."""
    deadline = time.monotonic() + PATIENCE
    while not await check():
        assert time.monotonic() < deadline, what


def initiator(committee: CommitteeProcesses, role: str) -> NodeProcess:
    return committee.nodes[VICTIM if role == "initiator" else 0]


async def accounts_of(committee: CommitteeProcesses, account_id: str) -> list[common.Account | None]:
    found: list[common.Account | None] = []
    for node in committee.nodes:
        async with node.client() as client:
            try:
                request = wallet.GetAccountRequest(account_id=account_id)
                answer = await client.call(client.wallet.GetAccount, request)
            except CallFailed as error:
                assert error.reason == "KEY_SHARE_NOT_FOUND"  # noqa: PT017 - each node is asked
                found.append(None)
            else:
                found.append(answer)
    return found


async def all_have(committee: CommitteeProcesses, account_id: str) -> bool:
    accounts = await accounts_of(committee, account_id)
    active = [
        one.public_key for one in accounts if one is not None and one.state == common.ACCOUNT_STATE_ACTIVE
    ]
    return len(active) == len(committee.nodes) and len(set(active)) == 1


async def check_signs(node: NodeProcess, account_id: str, name: object, **fields) -> wallet.SignResponse:
    digest = hashlib.sha256(repr(name).encode()).digest()
    request_id = digest[:16]
    async with node.client() as client:
        answer = await sign_digest(client, account_id, digest, request_id=request_id, **fields)
    recovered = PublicKey.from_signature_and_message(answer.signature, digest, hasher=None)
    assert recovered.format() == answer.public_key
    return answer


async def nobody_is_blamed(committee: CommitteeProcesses) -> None:
    for node in committee.nodes:
        async with node.operator() as client:
            marks = await client.call(client.operator.ListQuarantine, operator.ListQuarantineRequest())
            assert not marks.peers


@pytest.mark.parametrize(("role", "at"), named(KEYGEN))
async def test_key_generation(committee, trapped, role, at):
    account_id = f"{role} {' '.join(at)}"
    victim = trapped(at)
    asked = initiator(committee, role)
    async with asked.client() as client:
        await killed_during(committee, victim, create_account(client, account_id))
    if at[1] == "done":
        # Its share was durable and everybody had said so or may still: no second run is needed.
        await eventually(lambda: all_have(committee, account_id), "everybody has the account")
    else:
        assert not any(await accounts_of(committee, account_id)), "there is no half key"
        async with committee.nodes[0].client() as client:
            await create_account(client, account_id)
        await eventually(lambda: all_have(committee, account_id), "everybody has the account")
    await check_signs(committee.nodes[0], account_id, (account_id, 1), signers=(0, VICTIM))
    await nobody_is_blamed(committee)


async def run_aux(node: NodeProcess) -> bytes:
    async with node.operator() as client:
        last = common.Progress()
        async for progress in client.stream(client.operator.RunAux, operator.RunAuxRequest(), timeout=180):
            last = progress
    assert last.WhichOneof("result") == "aux", last
    return last.aux.aux_id


async def aux_ids(committee: CommitteeProcesses) -> set[bytes]:
    found = set()
    for node in committee.nodes:
        async with node.operator() as client:
            listed = await client.call(client.operator.ListCommittees, operator.ListCommitteesRequest())
            found.update(one.aux_id for one in listed.committees)
    return found


async def has_moved(committee: CommitteeProcesses, before: set[bytes]) -> bool:
    now = await aux_ids(committee)
    return len(now) == 1 and now != before


@pytest.mark.parametrize(("role", "at"), named(AUX))
async def test_auxiliary_information(committee, trapped, role, at):
    before = await aux_ids(committee)
    assert len(before) == 1
    victim = trapped(at)
    await killed_during(committee, victim, run_aux(initiator(committee, role)))
    if at[1] == "done":
        await eventually(lambda: has_moved(committee, before), "everybody has the new set")
    else:
        assert await aux_ids(committee) == before
        made = await run_aux(committee.nodes[0])
        await eventually(lambda: has_moved(committee, before), "everybody has the new set")
        assert await aux_ids(committee) == {made}
    await check_signs(committee.nodes[VICTIM], "main", ("aux", at), signers=(VICTIM, 2))
    await nobody_is_blamed(committee)


@pytest.mark.parametrize(("role", "at"), named(FULL))
async def test_full_signing(committee, trapped, role, at):
    victim = trapped(at)
    name, asked = ("full", role, at), initiator(committee, role)
    await killed_during(committee, victim, check_signs(asked, "main", name, signers=(0, VICTIM)))
    first = await check_signs(asked, "main", name, signers=(0, VICTIM))
    assert await check_signs(asked, "main", name, signers=(0, VICTIM)) == first
    await nobody_is_blamed(committee)


@pytest.mark.parametrize(("role", "at"), named(STOCK))
async def test_signing_from_stock(committee, trapped, role, at):
    victim = trapped(at)
    name, asked = ("stock", role, at), initiator(committee, role)
    async with asked.operator() as client:
        request = operator.FillStockRequest(account_id="main", signers=[0, VICTIM], count=1)
        async for _ in client.stream(client.operator.FillStock, request, timeout=120):
            pass
    await killed_during(committee, victim, check_signs(asked, "main", name, signers=(0, VICTIM)))
    answer = await check_signs(asked, "main", name, signers=(0, VICTIM))
    finished = (role, *at) == ("responder", "after", "msg.0")
    assert answer.from_stock is finished, "what a killed node held is used for nothing new"
    await nobody_is_blamed(committee)
