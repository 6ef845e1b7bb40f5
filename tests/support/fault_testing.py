"""Committees to which faults happen: behind a hostile gateway, with something wrong around a node, out of resources."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from coincurve import PublicKey
from committee_processes import (
    PATIENCE,
    CommitteeProcesses,
    NodeProcess,
    create_account,
    make_committee,
    sign_digest,
)
from faulty_daemon import FAULTS, SAID
from hostile_gateway import HostileGateway, Mischief
from killing import nobody_is_blamed
from tss_testing import SMALL_SECP
from wire_record import check_record

from kit.pb.wallet.v1 import operator_pb2 as operator
from kit.pb.wallet.v1 import wallet_pb2 as wallet
from participant.grpc_client import CallFailed

ROUNDS = int(os.environ.get("WALLET_MPC_CHAOS", "1"))
"""How much of each fault: 1 in the usual run, more in `make chaos`."""
FAULTY_DAEMON = Path(__file__).with_name("faulty_daemon.py")
SHORT = {
    "node": {
        "hello_seconds": 5,
        "sign_seconds": 40,
        "phase_seconds": 60,
        "deadlines": dict.fromkeys(("full-sign", "full-sign.r0", "sign", "sign.r0"), 8),
    }
}
"""Silence in signing is soon noticed."""


@dataclass
class FaultyNode(NodeProcess):
    """A sign-service that is started through faulty_daemon."""

    @property
    def argv(self) -> list[str]:
        return [sys.executable, str(FAULTY_DAEMON), str(self.config)]

    @property
    def faults(self) -> Path:
        return self.directory / "faults.json"

    def suffer(self, **faults: Any) -> None:
        """From now on exactly these faults; those of the start only need one."""
        self.faults.write_text(json.dumps(faults))
        self.env[FAULTS] = str(self.faults)
        if self.process is not None:
            known = sum(line.startswith(SAID) for line in list(self.process.lines))
            os.kill(self.process.pid, signal.SIGUSR1)
            self.process.wait_for(f"^{SAID} {known + 1}$")


def make_faulty(committee: CommitteeProcesses, index: int, **faults: Any) -> FaultyNode:
    """Put a node that can have faults, and has these, in the place of one that does not run yet."""
    node = committee.nodes[index]
    faulty = FaultyNode(node.directory, index, node.identity, node.settings)
    faulty.suffer(**faults)
    committee.nodes[index] = faulty
    return faulty


@contextlib.contextmanager
def committee_through(
    gateway: HostileGateway,
    directory: Path,
    *,
    faults: dict[str, Any] | None = None,
    env: Mapping[str, str] | None = None,
    own_settings: Mapping[int, Mapping[str, Any]] | None = None,
    **options: Any,
) -> Iterator[CommitteeProcesses]:
    """`running_committee`, each node at its own port of a hostile gateway; with `faults` all are faulty nodes.

    {index} in a fault's value, or one in `env` (the nodes' environment), is the node's. `own_settings` are by index.
    """
    committee = make_committee(directory, gateway.sides, **options)
    for node in list(committee.nodes):
        node.write_settings(
            {"gateway": {"url": gateway.url(node.index)}, **(own_settings or {}).get(node.index, {})}
        )
        if faults is not None:
            named = {name: str(value).format(index=node.index) for name, value in faults.items()}
            make_faulty(committee, node.index, **named)
        own = {name: value.format(index=node.index) for name, value in (env or {}).items()}
        committee.nodes[node.index].env.update(own)
    try:
        committee.start()
        yield committee
    finally:
        committee.close()


@dataclass
class Besieged:
    """A committee with the account "main", and what stands between its members."""

    gateway: HostileGateway
    committee: CommitteeProcesses
    rolled_back: set[int] = field(default_factory=set)
    """Indices of nodes whose store went back to a former state."""

    async def check(self) -> None:
        """What holds whatever was done."""
        await nobody_is_blamed(self.committee)
        found = check_said(self.gateway, self.committee, rolled_back=sorted(self.rolled_back))
        assert found["slots"] > 0

    def behave(self) -> None:
        """From now on the gateway is honest."""
        self.gateway.mischief = Mischief()


@contextlib.contextmanager
def besieged_committee(
    directory: Path, *, mischief: Mischief | None = None, **options: Any
) -> Iterator[Besieged]:
    """See Besieged; `mischief` is what the gateway does while the key is generated."""
    with HostileGateway(3) as gateway, committee_through(gateway, directory, **options) as committee:

        async def make() -> None:
            async with committee.nodes[0].client() as client:
                await create_account(client, "main")
            # Whoever was asked for the key has it first; the others may still wait for the last messages.
            for node in committee.nodes:
                await in_force(node, 1)

        if mischief is not None:
            gateway.mischief = mischief
        asyncio.run(make())
        besieged = Besieged(gateway, committee)
        besieged.behave()
        yield besieged


async def signs(
    node: NodeProcess, name: object, account_id: str = "main", *, signers: Sequence[int] = ()
) -> wallet.SignResponse:
    """A signature of the digest and under the request id that `name` stands for, verified by another library."""
    digest = hashlib.sha256(repr(name).encode()).digest()
    async with node.client() as client:
        answer = await sign_digest(client, account_id, digest, request_id=digest[:16], signers=signers)
    recovered = PublicKey.from_signature_and_message(answer.signature, digest, hasher=None)
    assert recovered.format() == answer.public_key
    return answer


async def signs_in_the_end(node: NodeProcess, name: object, **fields: Any) -> wallet.SignResponse:
    """The fault is over: a request succeeds, though the machine may be too slow for short deadlines once or twice."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return await signs(node, name, **fields)
        except CallFailed:
            assert time.monotonic() < deadline


async def in_force(node: NodeProcess, accounts: int) -> None:
    """Return when the node has shares of so many accounts. Its operator asks: callers may need credentials."""
    deadline = time.monotonic() + PATIENCE
    async with node.operator() as client:
        while True:
            status = await client.call(client.operator.GetStatus, operator.GetStatusRequest())
            if status.accounts == accounts:
                return
            assert time.monotonic() < deadline


async def fails(call: Any) -> CallFailed:
    """How a call fails."""
    with pytest.raises(CallFailed) as caught:
        await call
    return caught.value


async def fill_stock(
    node: NodeProcess, signers: Sequence[int], count: int = 1, account_id: str = "main"
) -> None:
    """Presignatures that this node owns."""
    async with node.operator() as client:
        request = operator.FillStockRequest(account_id=account_id, signers=signers, count=count)
        async for _ in client.stream(client.operator.FillStock, request, timeout=120):
            pass


def check_said(
    gateway: HostileGateway, committee: CommitteeProcesses, *, rolled_back: Sequence[int] = ()
) -> dict[str, int]:
    """See wire_record.check_record, of all that the committee has said. `rolled_back`: indices of nodes."""
    envelopes = (envelope for post in gateway.posts for envelope in post.envelopes)
    identities = [node.identity for node in committee.nodes]
    return check_record(envelopes, identities, SMALL_SECP, rolled_back)


def said_in(gateway: HostileGateway) -> set[bytes]:
    """Every envelope that a node posted."""
    return {envelope for post in gateway.posts for envelope in post.envelopes}


@contextlib.contextmanager
def limited(node: NodeProcess, what: int, soft: int) -> Iterator[None]:
    """A process that is running gets less of a resource (RLIMIT_...) for a while."""
    pid = node.running.pid
    before, hard = resource.prlimit(pid, what)
    resource.prlimit(pid, what, (soft, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, what, (before, hard))


def disk_errors(directory: Path) -> dict[str, str]:
    """An environment in which `failing_disk` works: needs a C compiler."""
    library = directory / "disk_errors.so"
    source = Path(__file__).with_name("disk_errors.c")
    command = [
        os.environ.get("CC", "cc"),
        "-std=gnu11",
        "-shared",
        "-fPIC",
        "-O1",
        "-o",
        str(library),
        str(source),
    ]
    subprocess.run(command, check=True)
    return {"LD_PRELOAD": str(library), "DISK_ERRORS": str(directory / "fails-{index}")}


@contextlib.contextmanager
def failing_disk(node: NodeProcess) -> Iterator[None]:
    """Writing and syncing end with EIO for a while."""
    flag = Path(node.env["DISK_ERRORS"])
    flag.touch()
    try:
        yield
    finally:
        flag.unlink()


def full_disk(node: NodeProcess) -> contextlib.AbstractContextManager[None]:
    """No file may grow for a while."""
    return limited(node, resource.RLIMIT_FSIZE, 0)


def open_files(node: NodeProcess) -> int:
    """How many files a running process has open."""
    return sum(1 for _ in Path(f"/proc/{node.running.pid}/fd").iterdir())


@contextlib.contextmanager
def peak_above(*pids: int) -> Iterator[list[int]]:
    """By how many bytes these processes grew at most, above what they had in memory before; filled in at the end."""
    before = []
    for pid in pids:
        # Resets the peak (proc_pid_clear_refs(5)).
        Path(f"/proc/{pid}/clear_refs").write_text("5")
        before.append(_status(pid, "VmRSS"))
    grown: list[int] = []
    yield grown
    grown += [_status(pid, "VmHWM") - base for pid, base in zip(pids, before, strict=True)]
    print("grown by", *(f"{one >> 20} MiB" for one in grown))  # noqa: T201 - the figures of docs/reliability.md


def resources(node: NodeProcess) -> dict[str, int]:
    """What a running process has: resident bytes, open files, threads."""
    pid = node.running.pid
    threads = sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())
    return {"bytes": _status(pid, "VmRSS"), "files": open_files(node), "threads": threads}


def _status(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":"))


@contextlib.contextmanager
def stopped(node: NodeProcess) -> Iterator[None]:
    """SIGSTOP, and SIGCONT in the end."""
    os.kill(node.running.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(node.running.pid, signal.SIGCONT)
