"""quarantine list|clear: in a store that is not in use, and through a daemon's operator socket."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from keygen_testing import Ran, fails, keygen_argv, succeeds
from node_testing import committee_of, node_keys, sid_of
from processes import Process, clean_environment
from scripted_node import ScriptedNode, operated

from keygen.development import make_node
from keygen.node_files import NodeFiles
from participant.node import api

COMMITTEE = committee_of()
CID = COMMITTEE.committee_id
PEER, SET = COMMITTEE.identities[1], sid_of(7)
CLEAR = ("--reason", "disk replaced")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A node with two marks on one peer, and a blocked signer set."""
    make_node(tmp_path / "node", node_keys()[0], COMMITTEE)
    with NodeFiles.of(tmp_path / "node").open() as store:
        store.quarantine.add(PEER, CID, "presign.r1.enc-elg", evidence=b"proof")
        store.quarantine.add(PEER, CID, "presign.r2")
        store.sessions.remember(SET, "presign", CID, SET)
        store.blocked.block(SET, CID, (1, 3), b"", "somebody cheated")
    return tmp_path / "node"


def decisions(directory: Path) -> list[tuple[str, str]]:
    with NodeFiles.of(directory).open() as store:
        return [(entry.record.decision, entry.record.reason) for entry in store.audit.export()]


def test_nobody_is_in_quarantine(tmp_path: Path) -> None:
    make_node(tmp_path / "node", node_keys()[0], COMMITTEE)
    assert "nobody is in quarantine" in succeeds("quarantine", "list", tmp_path / "node").out
    assert succeeds("quarantine", "list", tmp_path / "node", "--json").json == {
        "peers": [],
        "signer_sets": [],
    }


def test_list_says_who_since_when_why_and_with_which_evidence(directory: Path) -> None:
    listed = succeeds("quarantine", "list", directory, "--json").json
    first, second = listed["peers"]
    assert (first["identity"], first["check"]) == (PEER.hex(), "presign.r1.enc-elg")
    assert first["places"] == [{"committee_id": CID.hex(), "index": 1}]
    assert len(first["evidence_id"]) == 64
    assert (second["check"], second["evidence_id"]) == ("presign.r2", "")
    (blocked,) = listed["signer_sets"]
    assert (blocked["session_id"], blocked["signers"], blocked["lacking"]) == (SET.hex(), [0, 2], [0, 2])
    text = succeeds("quarantine", "list", directory).out
    for part in (
        PEER.hex(),
        "index 1",
        first["evidence_id"],
        "no evidence is kept",
        SET.hex(),
        "signers 0, 2",
    ):
        assert part in text
    assert text.count("since 20") == 3


@pytest.mark.parametrize("answer", [b"n\n", b""], ids=["no", "nobody to ask"])
def test_clear_asks_first(directory: Path, answer: bytes) -> None:
    ran = fails(2, "quarantine", "clear", PEER.hex(), directory, *CLEAR, stdin=answer)
    assert "nothing was cleared" in ran.err
    assert "presign.r1.enc-elg" in ran.err, "what is to be decided about"
    assert SET.hex() not in ran.err
    fails(2, "quarantine", "clear", PEER.hex(), directory, *CLEAR, "--json")
    assert len(succeeds("quarantine", "list", directory, "--json").json["peers"]) == 2
    assert decisions(directory) == []


def test_a_peer_is_cleared_with_a_record(directory: Path) -> None:
    ran = succeeds("quarantine", "clear", PEER.hex(), directory, *CLEAR, stdin=b"y\n")
    assert "works with it again" in ran.out
    again = succeeds("quarantine", "clear", PEER.hex(), directory, *CLEAR, "--json")
    assert again.json == {"id": PEER.hex(), "cleared": False}
    ((decision, reason),) = decisions(directory)
    assert (decision, "disk replaced" in reason, PEER.hex() in reason) == ("cleared", True, True)
    listed = succeeds("quarantine", "list", directory, "--json").json
    assert (listed["peers"], len(listed["signer_sets"])) == ([], 1)


def test_a_signer_set_is_cleared_with_a_record(directory: Path) -> None:
    ran = succeeds("quarantine", "clear", SET.hex(), directory, *CLEAR, "--yes", "--json")
    assert ran.json == {"id": SET.hex(), "cleared": True}
    assert (
        "was not in quarantine" in succeeds("quarantine", "clear", SET.hex(), directory, *CLEAR, "--yes").out
    )
    assert decisions(directory) == [("cleared", "disk replaced")]
    listed = succeeds("quarantine", "list", directory, "--json").json
    assert (len(listed["peers"]), listed["signer_sets"]) == (2, [])


@pytest.mark.parametrize("id_", ["", "ab", "z" * 64, "AB" * 32])
def test_clear_wants_an_id(tmp_path: Path, id_: str) -> None:
    fails(2, "quarantine", "clear", id_, tmp_path, "--reason", "x", "--yes")


def test_clear_wants_a_reason(tmp_path: Path) -> None:
    assert "--reason" in fails(2, "quarantine", "clear", "ab" * 32, tmp_path).err
    ran = fails(2, "quarantine", "clear", "ab" * 32, tmp_path, "--json")
    assert (ran.error["reason"], ran.error["exit_code"]) == ("USAGE", 2)
    assert "--reason" in ran.error["text"]


# A running daemon


async def beside(*arguments: Any) -> Ran:
    """A command as a process of its own, while the loop of this test serves it."""

    def run() -> Ran:
        with Process(keygen_argv(*arguments), env=clean_environment()) as process:
            code = process.wait(120.0)
            err = [line for line in process.lines if line not in process.stdout]
            return Ran(code, "\n".join(process.stdout), "\n".join(err))

    return await asyncio.to_thread(run)


async def test_through_a_daemon(directory: Path) -> None:
    mark = api.QuarantineView(1, PEER, CID, 1, None, "presign.r1", None, 1_700_000_000)
    blocked = api.BlockedSetView(SET, CID, (0, 2), (2,), "proofs are lacking", 1_700_000_000)
    node = ScriptedNode(quarantine=[mark], blocked_sets=[blocked], clear_quarantine=1, clear_blocked_set=True)
    with NodeFiles.of(directory).open():
        async with operated(node, directory / "operator.sock"):
            listed = await beside("quarantine", "list", directory)
            await beside("quarantine", "clear", PEER.hex(), directory, "--reason", "repaired", "--yes")
            asked = node.asked
            cleared = await beside("quarantine", "clear", SET.hex(), directory, "--reason", "seen", "--yes")
    for part in (PEER.hex(), "index 1", "presign.r1", "2023-11-14", SET.hex(), "proofs are lacking"):
        assert part in listed.out
    assert asked == ("clear_quarantine", (PEER, "operator", "repaired"), {})
    assert node.asked == ("clear_blocked_set", (SET, "operator", "seen"), {})
    assert "works in it again" in cleared.out
