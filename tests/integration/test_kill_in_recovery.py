"""kill -9 before each message that a node posts, and after its last one, while a lost node gets its share back; then it comes back.

Whatever the moment (security.md 5.1): t members always hold shares of one epoch and can sign (S3), in the end all do, of the
same key (S4), and nobody is blamed.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
from committee_processes import CommitteeProcesses, NodeProcess
from fault_testing import ROUNDS
from killing import (
    VICTIM,
    bring_back,
    check_signs,
    committee_with_main,
    eventually,
    killed_during,
    moments,
    named,
    nobody_is_blamed,
    set_trap,
)

from keygen.node_files import NodeFiles
from kit.pb.wallet.v1 import common_pb2 as common
from kit.pb.wallet.v1 import operator_pb2 as operator
from kit.pb.wallet.v1 import wallet_pb2 as wallet
from participant.grpc_client import CallFailed

pytestmark = [pytest.mark.fault(2), pytest.mark.fault(19), pytest.mark.fault(20)]

# Of the recovery up to msg.2, and of the refresh behind it.
LABELS = ("msg.0", "echo.0", "msg.1", "echo.1", "msg.2", "msg.3", "echo.3", "done")
EVERY = [("helper", at) for at in moments(LABELS)] + [
    (role, at)
    for role, labels in (
        ("initiator", ("propose", *LABELS)),
        ("recipient", tuple(x for x in LABELS if x != "msg.2")),
    )
    for at in moments(labels)
]
# Primes cost seconds: the usual run takes the moment before a share is given back, and the one before new ones are durable at
# the place that lost its own.
USUAL = [("helper", ("before", "msg.2")), ("recipient", ("before", "done"))]
CASES = USUAL if ROUNDS == 1 else EVERY


@pytest.fixture(scope="module")
def committee(tmp_path_factory) -> Iterator[CommitteeProcesses]:
    with committee_with_main(tmp_path_factory.mktemp("committee")) as committee:
        yield committee


@pytest.fixture
def trapped(committee) -> Iterator:
    """Chooses where the victim will kill itself; afterwards everybody is back and well."""
    yield partial(set_trap, committee)
    bring_back(committee)


def lose(node: NodeProcess) -> None:
    """The machine is gone; the node starts again on an empty one, with its former identity."""
    files = NodeFiles.of(node.directory)
    node.kill()
    with files.open() as store:
        keys = store.identity()
    for path in node.directory.glob("store.db*"):
        path.unlink()
    files.make(keys)
    node.start()


async def approved(committee: CommitteeProcesses, lost: int, helpers: list[int]) -> bytes:
    """A request that all operators approved; its id."""
    text = committee.committee.to_yaml()
    asked = operator.MakeRecoveryRequestRequest(lost=lost, committee=text, helpers=helpers)
    async with committee.nodes[0].operator() as client:
        made = await client.call(client.operator.MakeRecoveryRequest, asked)
    for node in committee.nodes:
        async with node.operator() as client:
            request = operator.ApproveRequestRequest(request=made.request)
            await client.call(client.operator.ApproveRequest, request)
    return bytes(made.request_id)


async def recover(node: NodeProcess, request_id: bytes) -> common.Recovery:
    async with node.operator() as client:
        last = common.Progress()
        request = operator.RecoverRequest(request_id=request_id)
        async for progress in client.stream(client.operator.Recover, request, timeout=180):
            last = progress
    assert last.WhichOneof("result") == "recovery", last
    return last.recovery


async def account(node: NodeProcess) -> common.Account | None:
    async with node.client() as client:
        try:
            return await client.call(client.wallet.GetAccount, wallet.GetAccountRequest(account_id="main"))
        except CallFailed:
            return None


@pytest.mark.parametrize(("role", "at"), named(CASES))
async def test_recovery(committee, trapped, role, at):
    before = await account(committee.nodes[0])
    assert before is not None
    lost, other = (VICTIM, 2) if role == "recipient" else (2, VICTIM)
    lose(committee.nodes[lost])
    committee.wait_ready()
    request_id = await approved(committee, lost, [0, other])
    victim = trapped(at)
    starter = committee.nodes[VICTIM if role == "initiator" else 0]
    await killed_during(committee, victim, recover(starter, request_id))

    async def moved() -> bool:
        found = [await account(node) for node in committee.nodes]
        epochs = {entry.share_epoch if entry is not None else b"" for entry in found}
        return len(epochs) == 1 and not epochs & {b"", before.share_epoch}

    if at[1] != "done":
        # What came back signs nothing, and what the others have is good.
        assert {(await account(committee.nodes[i])).share_epoch for i in (0, other)} == {before.share_epoch}
        await check_signs(committee.nodes[0], "main", ("before", role, at), signers=tuple(sorted((0, other))))
    made = await recover(committee.nodes[0], request_id)
    assert made.complete, made.text
    await eventually(moved, "everybody has one new epoch")
    after = await account(committee.nodes[lost])
    assert (after.public_key, after.key_id) == (before.public_key, before.key_id)
    await check_signs(
        committee.nodes[lost], "main", ("after", role, at), signers=tuple(sorted((lost, other)))
    )
    await nobody_is_blamed(committee)
