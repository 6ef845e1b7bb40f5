"""`mpc-keygen reshare`, `approve`, `resharings`, through the operator's socket of a daemon."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

from keygen_testing import fails, succeeds
from node_testing import committee_of
from scripted_node import ScriptedNode, operated

from participant.committee import write_committee
from participant.node import api

REQUEST = b"\x4e" * 32
TEXT = f"version: 1\nrequest: {REQUEST.hex()}\n"
APPROVED = api.ReshareView(
    request_id=REQUEST,
    account_id="main",
    old_committee_id=b"o" * 32,
    new_committee_id=b"n" * 32,
    threshold=2,
    new_threshold=2,
    dealers=(0, 2),
    withdrawn=False,
    certified=False,
    deletions_due=2,
    deleted=(),
    not_deleted=(0, 1, 2),
    absent="new 1",
)
DONE = replace(APPROVED, certified=True, deleted=(0, 2), not_deleted=(1,), absent="")


async def beside(*arguments):
    """A command, while the loop of this test serves it."""
    return await asyncio.to_thread(succeeds, *arguments)


async def test_reshare_makes_the_request_approves_it_and_runs_it(tmp_path):
    new, file = tmp_path / "new.yaml", tmp_path / "request.yaml"
    write_committee(new, committee_of())
    node = ScriptedNode(
        reshare_request=(TEXT, REQUEST),
        approve=APPROVED,
        reshare=[
            api.Progress("waiting", 0, 2, text="waiting for new 1 to approve the request"),
            api.Progress("revocation", 2, 2, result=DONE),
        ],
    )
    wanted = ("reshare", "main", "--to", new, "--request", file, "--node", tmp_path)
    async with operated(node, tmp_path / "operator.sock"):
        written = await beside(*wanted, "--dealers", "0,2", "--request-only")
        assert str(file) in written.out
        assert node.calls == [("reshare_request", ("main", committee_of(), None, (0, 2)), {})]
        ran = await beside(*wanted, "--json")
        # What is written is not asked for again.
        assert [name for name, _, _ in node.calls] == ["reshare_request", "approve", "reshare"]
        assert node.calls[1:] == [("approve", (TEXT,), {}), ("reshare", (REQUEST,), {})]
        told = json.loads(ran.out.splitlines()[-1])
        assert (told["certified"], told["complete"], told["deleted"]) == (True, True, [0, 2])
        assert told["text"] == "complete: the old committee cannot sign any more"


async def test_approve_and_withdraw_and_look(tmp_path):
    file = tmp_path / "request.yaml"
    file.write_text(TEXT)
    node = ScriptedNode(approve=APPROVED, withdraw_approval=None, resharings=[APPROVED])
    async with operated(node, tmp_path / "operator.sock"):
        approved = await beside("approve", file, "--node", tmp_path)
        assert REQUEST.hex() in approved.out
        assert "approved here; not heard: new 1" in approved.out
        looked = await beside("resharings", "--node", tmp_path)
        assert "dealers 0, 2" in looked.out
        await beside("approve", file, "--withdraw", "--node", tmp_path)
        assert node.asked == ("withdraw_approval", (REQUEST,), {})


def test_what_cannot_be_read(tmp_path):
    assert "cannot read" in fails(1, "approve", tmp_path / "nothing.yaml", "--node", tmp_path).err
    file = tmp_path / "request.yaml"
    file.write_text("nothing of it")
    assert "no request's id" in fails(2, "approve", file, "--withdraw", "--node", tmp_path).err
    arguments = ("reshare", "main", "--to", file, "--request", tmp_path / "r.yaml", "--node", tmp_path)
    assert "it is not a mapping" in fails(2, *arguments).err
