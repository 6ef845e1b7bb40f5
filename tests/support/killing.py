"""kill -9 at a message boundary: a node that kills itself there, what the others do meanwhile, and what has to hold after.

The `committee` fixture of a test module is one made by `committee_with_main`; `killed_during` awaits a call in which the
trapped node dies, and brings it back.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from coincurve import PublicKey
from committee_processes import (
    PATIENCE,
    POLL,
    UNHURRIED,
    CommitteeProcesses,
    NodeProcess,
    create_account,
    make_committee,
    running,
    sign_digest,
)
from testing_daemon import ARMED, TRAP

from kit.pb.wallet.v1 import operator_pb2 as operator
from kit.pb.wallet.v1 import wallet_pb2 as wallet
from participant.grpc_client import CallFailed

VICTIM = 1

Moment = tuple[str, str]


def moments(labels: tuple[str, ...]) -> list[Moment]:
    """Before each message, and after the last."""
    return [*(("before", label) for label in labels), ("after", labels[-1])]


def named(cases: list[tuple[str, Moment]]) -> list[Any]:
    """(role, moment) with ids that say both."""
    return [pytest.param(role, at, id=f"{role}-{at[0]}-{at[1]}") for role, at in cases]


@contextlib.contextmanager
def committee_with_main(directory: Path) -> Iterator[CommitteeProcesses]:
    """A running committee with the account "main", which no clock hurries, and a victim that can be trapped."""
    committee = make_committee(directory, settings=UNHURRIED)
    committee.nodes[VICTIM].env[TRAP] = str(directory / "trap")
    with running(committee):

        async def make() -> None:
            async with committee.nodes[0].client() as client:
                await create_account(client, "main")

        asyncio.run(make())
        yield committee


def set_trap(committee: CommitteeProcesses, at: Moment) -> NodeProcess:
    """Choose where the victim will kill itself once it is armed."""
    victim = committee.nodes[VICTIM]
    Path(victim.env[TRAP]).write_text(" ".join(at))
    return victim


def bring_back(committee: CommitteeProcesses) -> None:
    """Everybody is there and well again."""
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


async def rests(node: NodeProcess) -> bool:
    """Whether nothing is left to do in a node's sessions without the victim."""
    async with node.operator() as client:
        listed = await client.call(client.operator.ListSessions, operator.ListSessionsRequest())
    running = [one for one in listed.sessions if one.state == operator.SESSION_STATE_RUNNING]
    return all(list(one.waiting_for) == [VICTIM] for one in running)


async def killed_during(
    committee: CommitteeProcesses, victim: NodeProcess, call, *, at: Moment | None = None
) -> None:
    """Arm the victim, await a call in which it dies; the others give up what it left.

    `at` its last word: not before they have said theirs, so that a run of which all have heard everything completes.
    """
    os.kill(victim.running.pid, signal.SIGUSR1)
    await asyncio.to_thread(victim.running.wait_for, f"^{ARMED}$")
    running = asyncio.ensure_future(call)
    await asyncio.to_thread(victim.wait_killed)
    others = [node for node in committee.nodes if node is not victim]
    for node in others if at is not None and at[1] == "done" else ():
        await eventually(partial(rests, node), "the others wait for the victim alone")
    for node in others:
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
        await asyncio.sleep(POLL)


def initiator(committee: CommitteeProcesses, role: str) -> NodeProcess:
    return committee.nodes[VICTIM if role == "initiator" else 0]


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
