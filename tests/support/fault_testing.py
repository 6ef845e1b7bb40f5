"""Committees to which faults happen: behind a hostile gateway, with something wrong around a node, out of resources."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import resource
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coincurve import PublicKey
from committee_processes import (
    CommitteeProcesses,
    NodeProcess,
    create_account,
    make_committee,
    sign_digest,
)
from faulty_daemon import ARMED, FAULTS
from hostile_gateway import HostileGateway, Mischief
from killing import nobody_is_blamed
from tss_testing import SMALL_SECP
from wire_record import check_record

from kit.pb.wallet.v1 import operator_pb2 as operator
from kit.pb.wallet.v1 import wallet_pb2 as wallet
from participant.channel import read_body

ROUNDS = int(os.environ.get("WALLET_MPC_CHAOS", "1"))
"""How much of each fault: 1 in the usual run, more in `make chaos`."""
FAULTY_DAEMON = Path(__file__).with_name("faulty_daemon.py")


@dataclass
class FaultyNode(NodeProcess):
    """A sign-service that is started through faulty_daemon."""

    @property
    def argv(self) -> list[str]:
        return [sys.executable, str(FAULTY_DAEMON), str(self.config)]

    def arm(self) -> None:
        """Let the faults begin that were to come later."""
        os.kill(self.running.pid, signal.SIGUSR1)
        self.running.wait_for(f"^{ARMED}$")


def make_faulty(committee: CommitteeProcesses, index: int, **faults: Any) -> FaultyNode:
    """Put a node with these faults in the place of one; it runs if that one did."""
    node = committee.nodes[index]
    faulty = FaultyNode(node.directory, index, node.identity, node.settings)
    faulty.former = node.former
    faulty.env = {FAULTS: json.dumps(faults)}
    if node.process is not None:
        node.kill()
        faulty.start()
    committee.nodes[index] = faulty
    return faulty


def make_sound(committee: CommitteeProcesses, index: int) -> NodeProcess:
    """The node again without faults, running and heard by all."""
    faulty = committee.nodes[index]
    if faulty.process is not None:
        faulty.kill()
    node = NodeProcess(faulty.directory, index, faulty.identity, faulty.settings)
    node.former = faulty.former
    committee.nodes[index] = node
    node.start()
    committee.wait_ready()
    return node


@contextlib.contextmanager
def committee_through(
    gateway: HostileGateway, directory: Path, *, faults: dict[str, Any] | None = None, **options: Any
) -> Iterator[CommitteeProcesses]:
    """`running_committee`, each node at its own port of a hostile gateway; with `faults` all are faulty nodes."""
    committee = make_committee(directory, gateway.sides, **options)
    for node in list(committee.nodes):
        node.write_settings({"gateway": {"url": gateway.url(node.index)}})
        if faults is not None:
            named = {name: str(value).format(index=node.index) for name, value in faults.items()}
            make_faulty(committee, node.index, **named)
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

    async def check(self) -> None:
        """What holds whatever was done."""
        await nobody_is_blamed(self.committee)
        assert check_said(self.gateway, self.committee)["slots"] > 0

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


async def fill_stock(
    node: NodeProcess, signers: Sequence[int], count: int = 1, account_id: str = "main"
) -> None:
    """Presignatures that this node owns."""
    async with node.operator() as client:
        request = operator.FillStockRequest(account_id=account_id, signers=signers, count=count)
        async for _ in client.stream(client.operator.FillStock, request, timeout=120):
            pass


def check_said(gateway: HostileGateway, committee: CommitteeProcesses) -> dict[str, int]:
    """See wire_record.check_record, of all that the committee has said."""
    envelopes = (read_body(post.body.decode()) for post in gateway.posts)
    identities = [node.identity for node in committee.nodes]
    return check_record((one for one in envelopes if one), identities, SMALL_SECP)


def said_in(gateway: HostileGateway) -> set[bytes]:
    """Every envelope that a node posted."""
    return {post.envelope for post in gateway.posts}


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


@contextlib.contextmanager
def stopped(node: NodeProcess) -> Iterator[None]:
    """SIGSTOP, and SIGCONT in the end."""
    os.kill(node.running.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(node.running.pid, signal.SIGCONT)


async def in_vain(call: Any) -> None:
    """Give a call up that cannot succeed."""
    call.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await call
