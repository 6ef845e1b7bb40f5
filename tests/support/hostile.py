"""A committee of real daemons with one that lies: what each lie comes to, asked of the honest nodes' operators and stores.

Node CHEATER is a cheating_daemon. `tells` makes it lie while a test calls something; `caught` asks what has to hold then.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import sqlite3
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import pytest
from cheating_daemon import CHEATER, CHEATS, VICTIM, Cheat
from committee_processes import POLL, CommitteeProcesses, NodeProcess
from killing import abandon, eventually
from tss_testing import SMALL_SECP

from kit.pb.wallet.v1 import operator_pb2 as operator
from kit.pb.wallet.v1 import wallet_pb2 as wallet
from participant.grpc_client import CallFailed
from tss.envelope import holder
from tss.judge import judge
from tss.params import CGGMP24_SECP256K1

LONG = 1800.0
"""Seconds for a call: finding out who cheated takes minutes at full size."""

BOOKS = {
    "audit", "audit_head", "quarantine", "evidence", "blocked_set", "opening", "session", "kept_envelope", "request",
    "prime", "sqlite_sequence",
}  # fmt: skip
"""Tables of what happened, and of primes, which are gone once they were taken: these may change when a run fails."""


def honest(committee: CommitteeProcesses) -> list[NodeProcess]:
    return [node for node in committee.nodes if node.index != CHEATER]


@contextlib.contextmanager
def lying(committee: CommitteeProcesses, name: str) -> Iterator[None]:
    """Meanwhile the cheater does what CHEATS says under this name."""
    chosen = committee.nodes[CHEATER].directory / "cheat"
    assert name in CHEATS
    chosen.write_text(name)
    try:
        yield
    finally:
        chosen.unlink()


def state_of(node: NodeProcess) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table that is no book, as it stands on the disk.

    But for when an account signed last, and what is written so that what was written before is on the disk.
    """
    with contextlib.closing(sqlite3.connect(f"file:{node.directory / 'store.db'}?mode=ro", uri=True)) as db:
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        state = {}
        for table in tables - BOOKS:
            columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
            kept = ", ".join(column for column in columns if column not in ("last_signed_at", "probe"))
            state[table] = sorted(db.execute(f"SELECT {kept} FROM {table}").fetchall(), key=repr)  # noqa: S608 - names from the schema
        return state


def assert_same(before: Mapping[str, Any], now: Mapping[str, Any], node: NodeProcess) -> None:
    changed = {table: (before[table], now[table]) for table in now if before[table] != now[table]}
    assert not changed, f"index {node.index} stores something else: {changed}"


async def marks_of(node: NodeProcess) -> dict[bytes, str]:
    """{identity: the check that it failed} of this node's quarantine."""
    async with node.operator() as client:
        listed = await client.call(client.operator.ListQuarantine, operator.ListQuarantineRequest())
    return {peer.identity_key: peer.check for peer in listed.peers}


async def forgive(committee: CommitteeProcesses) -> None:
    """The honest nodes' operators lift all marks."""
    for node in honest(committee):
        async with node.operator() as client:
            for identity in await marks_of(node):
                request = operator.ClearQuarantineRequest(identity_key=identity, reason="the next test")
                assert (await client.call(client.operator.ClearQuarantine, request)).cleared


async def how_it_ended(node: NodeProcess) -> str:
    """What this node says of the last session that it took part in, once that is over."""
    async with node.operator() as client:
        while True:
            request = operator.ListSessionsRequest(ended=True)
            listed = await client.call(client.operator.ListSessions, request)
            if all(session.state != operator.SESSION_STATE_RUNNING for session in listed.sessions):
                return str(listed.sessions[0].text)
            await asyncio.sleep(POLL)


async def caught(
    committee: CommitteeProcesses, name: str, parties: tuple[int, ...], *, by: tuple[int, ...]
) -> None:
    """Exactly the cheater is in quarantine, for exactly this check, on each node of `by`; nobody marks anybody else.

    The evidence of each convinces whoever knows the committee's identities and nothing else.
    """
    identity, cheat = committee.nodes[CHEATER].identity, CHEATS[name]
    for node in honest(committee):
        if node.index in parties:
            text = await how_it_ended(node)
            if node.index in by:
                await eventually(partial(is_marked, node), f"index {node.index} blames the cheater: {text}")
                await convinces(committee, await evidence_of(node), cheat)
        marks = await marks_of(node)
        assert set(marks) <= {identity}, (node.index, marks)
        assert all(cheat.check in check for check in marks.values()), (node.index, marks)


async def evidence_of(node: NodeProcess) -> bytes:
    """The newest evidence that this node has kept, as its operator gets it."""
    async with node.operator() as client:
        listed = await client.call(client.operator.ListEvidence, operator.ListEvidenceRequest(page_size=1))
        request = operator.GetEvidenceRequest(evidence_id=listed.evidence[0].evidence_id)
        return bytes((await client.call(client.operator.GetEvidence, request)).file)


async def convinces(committee: CommitteeProcesses, evidence: bytes, cheat: Cheat) -> None:
    suite = CGGMP24_SECP256K1 if committee.nodes[0].full_size else SMALL_SECP
    identities = {holder(node.index + 1): node.identity for node in committee.nodes}
    verdict = await asyncio.to_thread(judge, evidence, identities, {suite.proto: suite})
    assert verdict.guilty, verdict
    assert verdict.accused == holder(CHEATER + 1), verdict
    assert cheat.check in verdict.check, verdict


async def is_marked(node: NodeProcess) -> bool:
    return bool(await marks_of(node))


async def refused(call: Any) -> CallFailed:
    """The call fails as it has to."""
    with pytest.raises(CallFailed) as failed:
        await call
    return failed.value


async def lie_in_signing(committee: CommitteeProcesses, name: str, signers: tuple[int, ...]) -> None:
    """The first honest one asks for a signature with the cheater, and gets none; a partial signature that was made stays."""
    cheat, digest = CHEATS[name], hashlib.sha256(name.encode()).digest()
    request = wallet.SignRequest(
        request_id=os.urandom(16), account_id=cheat.account, digest=digest, signers=signers
    )
    before = {node.index: state_of(node) for node in honest(committee)}
    asked = next(index for index in signers if index != CHEATER)
    async with committee.nodes[asked].client() as client:
        with lying(committee, name):
            error = await refused(client.call(client.wallet.Sign, request, timeout=LONG))
        assert error.reason in {"PEER_FAULT", "PEER_QUARANTINED"}, error
        await caught(committee, name, signers, by=signers)
        request.request_id = os.urandom(16)
        again = await refused(client.call(client.wallet.Sign, request, timeout=LONG))
        assert again.reason == "PEER_QUARANTINED", again
    for node in honest(committee):
        now = state_of(node)
        if cheat.check.startswith("sign.partial"):
            assert set(before[node.index].pop("answer")) <= set(now.pop("answer"))
        assert_same(before[node.index], now, node)


async def lie_in_a_ceremony(committee: CommitteeProcesses, name: str, *, by: tuple[int, ...]) -> None:
    """The victim asks for a new account, or a new aux set. Whoever was told no lie may have begun to complete."""
    before = {node.index: state_of(node) for node in honest(committee)}
    with lying(committee, name):
        if CHEATS[name].kind == "keygen":
            async with committee.nodes[VICTIM].client() as client:
                request = wallet.CreateAccountRequest(account_id=name)
                error = await refused(last(client.stream(client.wallet.CreateAccount, request, timeout=LONG)))
        else:
            async with committee.nodes[VICTIM].operator() as client:
                run = client.stream(client.operator.RunAux, operator.RunAuxRequest(), timeout=LONG)
                error = await refused(last(run))
    assert error.reason == "PEER_FAULT", error
    for node in honest(committee):
        if node.index not in by:
            # What has said `done` waits for the others' until its deadline.
            await abandon(node)
    await caught(committee, name, tuple(node.index for node in committee.nodes), by=by)
    for node in honest(committee):
        now = state_of(node)
        if node.index not in by:
            for table in ("pending", "pending_account", "done"):
                now.pop(table), before[node.index].pop(table)
        assert_same(before[node.index], now, node)


async def last(stream: Any) -> Any:
    """What a stream ends with."""
    return [item async for item in stream][-1]
