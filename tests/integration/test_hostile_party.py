"""One of four daemons is malicious: for each lie exactly it is blamed, nothing of the others changes, and they go on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from cheating_daemon import CHEATER, CHEATS
from committee_processes import UNHURRIED, CommitteeProcesses, create_account, running_committee
from hostile import LONG, forgive, last, lie_in_a_ceremony, lie_in_signing
from killing import check_signs
from tss_testing import SMALL_SECP, safe_primes

from kit.pb.wallet.v1 import operator_pb2 as operator

N, T = 4, 3
WITH = {"main": (0, CHEATER, 3), "pair": (0, CHEATER)}
WITH_FOR = {"S + G": (CHEATER, 2)}
"""A set of its own: one in which cheaters were looked for is blocked until they are found."""
WITHOUT = {"main": (0, 2, 3), "pair": (0, 2)}
CEREMONIES = [name for name, cheat in CHEATS.items() if cheat.kind in ("keygen", "aux")]
SIGNING = [name for name, cheat in CHEATS.items() if cheat.kind == "full-sign"]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> Iterator[CommitteeProcesses]:
    """With an account for three signers and one for two, made while everybody was honest."""
    pool = safe_primes(SMALL_SECP.level, 8 * N)
    directory = tmp_path_factory.mktemp("hostile")
    with running_committee(directory, N, T, settings=UNHURRIED, pool=pool, cheaters=(CHEATER,)) as committee:

        async def make() -> None:
            async with committee.nodes[0].client() as client:
                await create_account(client, "main")
                await create_account(client, "pair", threshold=2)

        asyncio.run(make())
        yield committee


@pytest.fixture
async def committee(hostile) -> CommitteeProcesses:
    """With no marks."""
    await forgive(hostile)
    hostile.wait_ready()
    return hostile


@pytest.mark.parametrize("account", WITH)
async def test_while_all_are_honest_they_sign(committee, account):
    await check_signs(committee.nodes[0], account, ("honest", account), signers=WITH[account])


@pytest.mark.attack("B5")
@pytest.mark.attack("C11")
@pytest.mark.attack("D7")
@pytest.mark.attack("D8")
@pytest.mark.parametrize("name", SIGNING)
async def test_a_lie_in_signing(committee, name):
    account = CHEATS[name].account
    await lie_in_signing(committee, name, WITH_FOR.get(name, WITH[account]))
    await check_signs(committee.nodes[0], account, ("after", name), signers=WITHOUT[account])


@pytest.mark.attack("D7")
async def test_a_lie_in_signing_from_stock(committee):
    name = "sigma + 1 from stock"
    async with committee.nodes[0].operator() as client:
        request = operator.FillStockRequest(account_id="main", signers=WITH["main"], count=1)
        await last(client.stream(client.operator.FillStock, request, timeout=LONG))
    await lie_in_signing(committee, name, WITH["main"])
    await check_signs(committee.nodes[0], "main", ("after", name), signers=WITHOUT["main"])


@pytest.mark.attack("B1")
@pytest.mark.attack("C4")
@pytest.mark.attack("C7")
@pytest.mark.parametrize("name", CEREMONIES)
async def test_a_lie_in_a_ceremony(committee, name):
    by = (0, 2, 3) if name == "reveal that does not match" else (0,)
    await lie_in_a_ceremony(committee, name, by=by)
    await check_signs(committee.nodes[0], "main", ("after", name), signers=WITHOUT["main"])
