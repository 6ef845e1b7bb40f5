"""recover, recoveries, approve of such requests, an identity for a lost place; and the guide to it by real daemons."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from dataclasses import replace

from committee_processes import create_account, running_committee, sign_digest
from keygen_testing import fails, succeeds
from node_testing import committee_of
from scripted_node import ScriptedNode, operated

from participant.committee import read_committee, write_committee
from participant.node import api

REQUEST = b"\x4e" * 32
TEXT = f"version: 1\noperation: recover\nrequest: {REQUEST.hex()}\n"
APPROVED = api.RecoveryView(
    request_id=REQUEST,
    old_committee_id=b"o" * 32,
    new_committee_id=b"n" * 32,
    lost=1,
    identity=b"i" * 32,
    helpers=(0, 2),
    account_ids=("main",),
    back=(),
    settled=(),
    withdrawn=False,
    complete=False,
    absent="recipient 1",
)
DONE = replace(APPROVED, settled=("main",), complete=True, absent="")


async def beside(*arguments):
    """A command, while the loop of this test serves it."""
    return await asyncio.to_thread(succeeds, *arguments)


async def test_recover_makes_the_request_approves_it_and_runs_it(tmp_path):
    new, file = tmp_path / "new.yaml", tmp_path / "request.yaml"
    write_committee(new, committee_of())
    node = ScriptedNode(
        recover_request=(TEXT, REQUEST),
        approve_recovery=APPROVED,
        recover=[
            api.Progress("waiting", 0, 2, text="waiting for recipient 1 to approve the request"),
            api.Progress("refresh secp256k1", 2, 2, result=DONE),
        ],
        recoveries=[DONE],
    )
    wanted = ("recover", "main", "--request", file, "--node", tmp_path, "--to", new)
    async with operated(node, tmp_path / "operator.sock"):
        unnamed = await asyncio.to_thread(fails, 2, *wanted)
        assert "--lost" in unnamed.err
        written = await beside(*wanted, "--lost", "1", "--helpers", "0,2", "--request-only")
        assert str(file) in written.out
        assert node.calls == [("recover_request", (1, committee_of(), (0, 2), ("main",)), {})]
        ran = await beside(*wanted, "--json")
        assert node.calls[1:] == [("approve_recovery", (TEXT, {}), {}), ("recover", (REQUEST,), {})]
        told = json.loads(ran.out.splitlines()[-1])
        assert (told["complete"], told["settled"], told["lost"]) == (True, ["main"], 1)
        looked = await beside("recoveries", "--node", tmp_path)
        assert "complete: all members have new shares" in looked.out


async def test_approve_compares_the_keys_that_the_operator_knows(tmp_path):
    file = tmp_path / "request.yaml"
    file.write_text(TEXT)
    node = ScriptedNode(approve_recovery=APPROVED)
    async with operated(node, tmp_path / "operator.sock"):
        approved = await beside("approve", file, "--public-key", "a=b=02aa", "--node", tmp_path)
        assert node.asked == ("approve_recovery", (TEXT, {"a=b": b"\x02\xaa"}), {})
        assert "approved here; not heard: recipient 1" in approved.out
        assert REQUEST.hex() in approved.out
    for wrong in ("02aa", "main=xy", "=02"):
        assert "ACCOUNT=HEX" in fails(2, "approve", file, "--public-key", wrong, "--node", tmp_path).err


def test_an_identity_for_the_place_of_a_lost_one(tmp_path):
    former = committee_of()
    write_committee(tmp_path / "committee.yaml", former)
    wanted = ("identity", tmp_path / "node", "--in-place-of", tmp_path / "committee.yaml", "1", "--json")
    card = succeeds(*wanted).json
    made = read_committee(tmp_path / "node" / "committee.yaml")
    assert made.identities[1].hex() == card["identity"] != former.identities[1].hex()
    assert (made.identities[0], made.identities[2]) == (former.identities[0], former.identities[2])
    assert (made.n, made.threshold) == (former.n, former.threshold)
    assert succeeds(*wanted).json == card, "given again it shows the same"
    fails(3, "identity", tmp_path / "other", "--in-place-of", tmp_path / "committee.yaml", "7")


def test_disaster_recovery_one_node_is_lost_and_another_takes_its_place(tmp_path):
    (tmp_path / "committee").mkdir()
    with running_committee(tmp_path / "committee", 3, 2) as committee:

        async def make() -> bytes:
            async with committee.nodes[0].client() as client:
                return bytes((await create_account(client, "main")).public_key)

        async def sign(index: int, signers: tuple[int, ...]) -> bytes:
            digest = hashlib.sha256(repr(signers).encode()).digest()
            async with committee.nodes[index].client() as client:
                return bytes((await sign_digest(client, "main", digest, signers=signers)).public_key)

        public_key = asyncio.run(make())
        former, lost = committee.directory / "committee.yaml", committee.nodes[2]
        lost.kill()
        shutil.rmtree(lost.directory)
        succeeds("identity", lost.directory, "--in-place-of", former, "2")
        lost.write_settings({"mpc": {"committee": "committee.yaml"}})
        lost.start()
        file, operators = tmp_path / "lost-2.yaml", [node.operator_target for node in committee.nodes]
        about = ("--lost", "2", "--to", lost.directory / "committee.yaml", "--request", file)
        succeeds("recover", *about, "--request-only", "--operator", operators[0])
        for operator in operators:
            known = ("--public-key", f"main={public_key.hex()}")
            succeeds("approve", file, *known, "--operator", operator)
        ran = succeeds("recover", "--request", file, "--operator", operators[0], "--json")
        assert json.loads(ran.out.splitlines()[-1])["complete"]
        shown = succeeds("recoveries", "--operator", operators[2])
        assert "complete: all members have new shares" in shown.out
        for node in committee.nodes[:2]:
            node.stop()
            shutil.copy(lost.directory / "committee.yaml", node.directory)
            node.write_settings({"mpc": {"committee": "committee.yaml"}})
            node.start()
        for node in committee.nodes:
            node.wait_ready(peers=[other.index for other in committee.nodes if other is not node])
        assert asyncio.run(sign(2, (1, 2))) == public_key
        assert asyncio.run(sign(0, (0, 1))) == public_key
