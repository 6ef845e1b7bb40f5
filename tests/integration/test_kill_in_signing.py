"""kill -9 before each message that a node posts, and after its last one, in signing; then it comes back.

Whatever the moment: nobody is blamed, nothing is signed twice, and the same request made again succeeds.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
from committee_processes import CommitteeProcesses
from killing import (
    VICTIM,
    bring_back,
    check_signs,
    committee_with_main,
    initiator,
    killed_during,
    moments,
    named,
    nobody_is_blamed,
    set_trap,
)

from kit.pb.wallet.v1 import operator_pb2 as operator

pytestmark = pytest.mark.fault(2)

LABELS = ("msg.0", "echo.0", "msg.1", "msg.2", "msg.3", "echo.3", "msg.4")
FULL = [("responder", at) for at in moments(LABELS)] + [
    ("initiator", at) for at in moments(("propose", *LABELS))
]
STOCK = [("responder", at) for at in moments(("msg.0",))] + [
    ("initiator", at) for at in moments(("propose", "msg.1"))
]


@pytest.fixture(scope="module")
def committee(tmp_path_factory) -> Iterator[CommitteeProcesses]:
    with committee_with_main(tmp_path_factory.mktemp("committee")) as committee:
        yield committee


@pytest.fixture
def trapped(committee) -> Iterator:
    """Chooses where the victim will kill itself; afterwards everybody is back and well."""
    yield partial(set_trap, committee)
    bring_back(committee)


@pytest.mark.parametrize(("role", "at"), named(FULL))
async def test_full_signing(committee, trapped, role, at):
    victim = trapped(at)
    name, asked = ("full", role, at), initiator(committee, role)
    await killed_during(committee, victim, check_signs(asked, "main", name, signers=(0, VICTIM)))
    first = await check_signs(asked, "main", name, signers=(0, VICTIM))
    assert await check_signs(asked, "main", name, signers=(0, VICTIM)) == first
    await nobody_is_blamed(committee)


@pytest.mark.attack("D3")
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
    # The owner stores its result beside posting the last message: either may be first.
    if (role, at[1]) != ("initiator", "msg.1"):
        finished = at == ("after", "msg.0")
        assert answer.from_stock is finished, "what a killed node held is used for nothing new"
    assert await check_signs(asked, "main", name, signers=(0, VICTIM)) == answer
    await nobody_is_blamed(committee)
