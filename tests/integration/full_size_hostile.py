"""The lies of test_hostile_party at full parameters, one of three daemons lying: `make full-size`, a quarter of an hour.

The modulus primes are those of tss_testing's file, made once by the product's own search.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator

import pytest
from cheating_daemon import CHEATER, CHEATS
from committee_processes import UNHURRIED, CommitteeProcesses, merged, running_committee
from hostile import LONG, evidence_of, forgive, last, lie_in_a_ceremony, lie_in_signing
from killing import check_signs
from processes import command
from tss_testing import safe_primes

from kit.pb.wallet.v1 import wallet_pb2 as wallet
from tss.params import LEVEL_128

N, T = 3, 2
PATIENT = merged(
    UNHURRIED,
    {
        "node": {
            "phase_seconds": LONG,
            "sign_seconds": LONG,
            "deadlines": {"aux": LONG, "aux.r1": LONG, "*.r5": LONG},
        }
    },
)
WITH, WITHOUT = (0, CHEATER), (0, 2)
WITH_FOR = {"S + G": (CHEATER, 2)}
"""A set of its own: the cheater's node keeps the one blocked in which cheaters were looked for."""
pytestmark = pytest.mark.full_size


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> Iterator[CommitteeProcesses]:
    pool = safe_primes(LEVEL_128, 8 * N)
    directory = tmp_path_factory.mktemp("hostile")
    options = {"settings": PATIENT, "full_size": True, "pool": pool, "cheaters": (CHEATER,)}
    with running_committee(directory, N, T, **options) as committee:

        async def make() -> None:
            async with committee.nodes[0].client() as client:
                for account in ("main", "pair"):
                    request = wallet.CreateAccountRequest(account_id=account)
                    made = await last(client.stream(client.wallet.CreateAccount, request, timeout=LONG))
                    assert made.WhichOneof("result") == "account", made

        asyncio.run(make())
        yield committee


@pytest.fixture
async def committee(hostile) -> CommitteeProcesses:
    await forgive(hostile)
    hostile.wait_ready()
    return hostile


@pytest.mark.attack("D7")
@pytest.mark.parametrize("name", [name for name, cheat in CHEATS.items() if cheat.kind == "full-sign"])
async def test_a_lie_in_signing(committee, name):
    signers = WITH_FOR.get(name, WITH)
    await lie_in_signing(committee, name, signers)
    file = committee.directory / "evidence"
    file.write_bytes(await evidence_of(committee.nodes[next(index for index in signers if index != CHEATER)]))
    argv = command(
        "mpc-keygen", "verify-evidence", file, "--committee", committee.directory / "committee.yaml"
    )
    judged = subprocess.run(argv, capture_output=True, text=True, check=False)  # noqa: ASYNC221 - nothing else runs
    assert judged.returncode == 0, judged.stdout + judged.stderr
    await check_signs(committee.nodes[0], CHEATS[name].account, ("after", name), signers=WITHOUT)


@pytest.mark.parametrize("name", [name for name, cheat in CHEATS.items() if cheat.kind in ("keygen", "aux")])
async def test_a_lie_in_a_ceremony(committee, name):
    by = (0, 2) if name == "reveal that does not match" else (0,)
    await lie_in_a_ceremony(committee, name, by=by)
    await check_signs(committee.nodes[0], "main", ("after", name), signers=WITHOUT)
