"""kill -9 before each message that a node posts, and after its last one, in every ceremony; then it comes back.

Whatever the moment: nobody is blamed, no half key is left, and the same request made again succeeds.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
from committee_processes import CommitteeProcesses, NodeProcess, create_account
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
from participant.grpc_client import CallFailed

pytestmark = pytest.mark.fault(2)

LABELS = ("msg.0", "echo.0", "msg.1", "echo.1", "msg.2", "msg.3", "echo.3", "done")
KEYGEN = [("responder", at) for at in moments(LABELS)] + [
    ("initiator", at) for at in moments(("propose", *LABELS))
]
AUX = {"responder": moments(LABELS), "initiator": moments(("propose", *LABELS))}
# Primes cost many seconds: the usual run takes some moments of each role, the last among them.
STRIDES = {"responder": 4, "initiator": 5} if ROUNDS == 1 else {"responder": 1, "initiator": 1}
AUX_CASES = [(role, at) for role, all_of in AUX.items() for at in all_of[:: -STRIDES[role]]]


@pytest.fixture(scope="module")
def committee(tmp_path_factory) -> Iterator[CommitteeProcesses]:
    with committee_with_main(tmp_path_factory.mktemp("committee")) as committee:
        yield committee


@pytest.fixture
def trapped(committee) -> Iterator:
    """Chooses where the victim will kill itself; afterwards everybody is back and well."""
    yield partial(set_trap, committee)
    bring_back(committee)


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


@pytest.mark.attack("C8")
@pytest.mark.parametrize(("role", "at"), named(KEYGEN))
async def test_key_generation(committee, trapped, role, at):
    account_id = f"{role} {' '.join(at)}"
    victim = trapped(at)
    asked = initiator(committee, role)
    async with asked.client() as client:
        await killed_during(committee, victim, create_account(client, account_id), at=at)
    if at[1] == "done":
        # Its share was durable and everybody had said so or may still: no second run is needed.
        await eventually(lambda: all_have(committee, account_id), "everybody has the account")
    else:
        # The victim's own half may wait for a certificate that nobody will have; the next run replaces it.
        states = [one.state for one in await accounts_of(committee, account_id) if one is not None]
        assert set(states) <= {common.ACCOUNT_STATE_PENDING}, "there is no half key"
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


@pytest.mark.parametrize(("role", "at"), named(AUX_CASES))
async def test_auxiliary_information(committee, trapped, role, at):
    before = await aux_ids(committee)
    assert len(before) == 1
    victim = trapped(at)
    await killed_during(committee, victim, run_aux(initiator(committee, role)), at=at)
    if at[1] == "done":
        await eventually(lambda: has_moved(committee, before), "everybody has the new set")
    else:
        assert await aux_ids(committee) == before
        made = await run_aux(committee.nodes[0])
        await eventually(lambda: has_moved(committee, before), "everybody has the new set")
        assert await aux_ids(committee) == {made}
    await check_signs(committee.nodes[VICTIM], "main", ("aux", at), signers=(VICTIM, 2))
    await nobody_is_blamed(committee)
