"""`mpc-keygen recover`, `recoveries`, `approve` of such requests, and an identity for a lost place."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

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
