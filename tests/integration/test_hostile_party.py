"""One of four daemons is malicious: for each lie exactly it is blamed, nothing of the others changes, and they go on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial

import pytest
from cheating_daemon import CHEATER, CHEATS
from committee_processes import UNHURRIED, CommitteeProcesses, create_account, running_committee
from hostile import (
    LONG,
    forgive,
    is_marked,
    last,
    lie_in_a_ceremony,
    lie_in_signing,
    lying,
    refused,
)
from keygen_testing import keygen_argv
from killing import check_signs, eventually
from processes import Process, clean_environment
from tss_testing import SMALL_SECP, safe_primes

from kit.pb.wallet.v1 import operator_pb2 as operator
from kit.pb.wallet.v1 import wallet_pb2 as wallet

N, T = 4, 3
WITH = {"main": (0, CHEATER, 3), "pair": (0, CHEATER)}
WITH_FOR = {"S + G": (CHEATER, 2)}
"""A set of its own: the cheater's node keeps the one blocked in which cheaters were looked for."""
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


def keygen(*arguments: object) -> str:
    """mpc-keygen as a process; its output."""
    with Process(keygen_argv(*map(str, arguments)), env=clean_environment()) as process:
        assert process.wait(LONG) == 0, process.output
        return "\n".join(process.stdout)


@pytest.mark.attack("D8")
async def test_a_cheater_is_out_until_an_operator_clears_it(committee):
    """The request is served by others, and so is the next one; a restart changes nothing; an operator does."""
    node, name, without = committee.nodes[0], "sigma + 1", WITHOUT["main"]
    cheater = committee.nodes[CHEATER].identity.hex()
    with lying(committee, name):
        # Nobody names the signers: the cheater is asked, and then somebody else, within the same request.
        assert tuple((await check_signs(node, "main", "first")).signers) == without
    await eventually(partial(is_marked, node), "index 0 blames the cheater")
    assert tuple((await check_signs(node, "main", "second")).signers) == without
    named = partial(check_signs, node, "main", "third", signers=WITH["main"])
    assert (await refused(named())).reason == "PEER_QUARANTINED"
    async with node.client() as client:
        request = wallet.CreateAccountRequest(account_id="other")
        error = await refused(last(client.stream(client.wallet.CreateAccount, request)))
        assert error.reason == "PEER_QUARANTINED", "a ceremony needs everybody"
    node.restart()
    committee.wait_ready()
    assert (await refused(named())).reason == "PEER_QUARANTINED", "a mark outlives the process"
    assert tuple((await check_signs(node, "main", "fourth")).signers) == without
    operator_of = ("--operator", node.operator_target)
    listed = await asyncio.to_thread(keygen, "quarantine", "list", node.directory, *operator_of)
    for part in (cheater, f"index {CHEATER}", CHEATS[name].check, "evidence "):
        assert part in listed
    clear = ("quarantine", "clear", cheater, node.directory, "--reason", "repaired", "--yes", *operator_of)
    assert "works with it again" in await asyncio.to_thread(keygen, *clear)
    await forgive(committee)
    assert tuple((await named()).signers) == WITH["main"]
