"""kill -9 before each message that a node posts, and after its last one, in a refresh; then it comes back.

Whatever the moment (security.md 5.1): in the end all nodes hold shares of one epoch (S3) of the same key (S4), at every
moment t of them can sign, and nobody is blamed.
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
    initiator,
    killed_during,
    moments,
    named,
    nobody_is_blamed,
    set_trap,
)

from kit.pb.wallet.v1 import common_pb2 as common
from kit.pb.wallet.v1 import operator_pb2 as operator
from kit.pb.wallet.v1 import wallet_pb2 as wallet

pytestmark = [pytest.mark.fault(2), pytest.mark.fault(20)]

LABELS = ("msg.0", "echo.0", "msg.1", "echo.1", "msg.2", "msg.3", "echo.3", "done")
EVERY = [("responder", at) for at in moments(LABELS)] + [
    ("initiator", at) for at in moments(("propose", *LABELS))
]
# Primes cost seconds: the usual run takes the moment before new shares are durable, and the one right after.
USUAL = [("responder", ("before", "msg.3")), ("initiator", ("before", "done"))]
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


async def refresh(node: NodeProcess) -> list[common.Account]:
    async with node.operator() as client:
        last = common.Progress()
        request = operator.RefreshAccountsRequest(account_ids=["main"])
        async for progress in client.stream(client.operator.RefreshAccounts, request, timeout=180):
            last = progress
    assert last.WhichOneof("result") == "refresh", last
    return list(last.refresh.accounts)


async def accounts(committee: CommitteeProcesses) -> list[common.Account]:
    found = []
    for node in committee.nodes:
        async with node.client() as client:
            request = wallet.GetAccountRequest(account_id="main")
            found.append(await client.call(client.wallet.GetAccount, request))
    return found


def pairs(found: list[common.Account]) -> set[tuple[bytes, bytes]]:
    return {(account.share_epoch, account.aux_id) for account in found}


@pytest.mark.attack("C8")
@pytest.mark.parametrize(("role", "at"), named(CASES))
async def test_refresh(committee, trapped, role, at):
    before = await accounts(committee)
    (old,) = pairs(before)
    victim = trapped(at)
    await killed_during(committee, victim, refresh(initiator(committee, role)), at=at)

    async def moved() -> bool:
        now = pairs(await accounts(committee))
        return len(now) == 1 and old not in now

    if at[1] != "done":
        # Nobody can have it complete without the victim's word: all are where they were, and sign there.
        assert pairs(await accounts(committee)) == {old}
        await check_signs(committee.nodes[0], "main", ("old epoch", role, at), signers=(0, VICTIM))
        made = await refresh(committee.nodes[0])
        assert pairs(made) != {old}
    await eventually(moved, "everybody has one new epoch")
    after = await accounts(committee)
    assert {account.public_key for account in after} == {account.public_key for account in before}
    assert {account.key_id for account in after} == {account.key_id for account in before}
    await check_signs(committee.nodes[VICTIM], "main", ("new epoch", role, at), signers=(VICTIM, 2))
    await nobody_is_blamed(committee)
