"""verify-evidence in a process of its own that has seen no session; evidence list and export."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import session_testing
from cggmp24_cheating import reports
from cggmp24_testing import run_keygen
from keygen_testing import Ran, fails, invoke, keygen_argv, succeeds
from node_testing import committee_of, node_keys
from processes import Process, clean_environment
from scripted_node import ScriptedNode, operated
from session_testing import Identity, tells
from tss_testing import SMALL_SECP

from keygen import evidence_commands
from keygen.development import make_node
from keygen.node_files import NodeFiles
from participant.committee import Committee, write_committee
from participant.node import api
from tss.encoding import encode
from tss.envelope import PartyId, holder, sign
from tss.errors import PeerFault
from tss.evidence import read_claim
from tss.judge.proposals import REQUEST, proposal_evidence
from tss.params import CGGMP24_SECP256K1
from tss.proposal import Proposal

COMMITTEE = committee_of()


def identity_at(party: PartyId) -> Identity:
    """The identity of the committee's member at an evaluation point."""
    keys = node_keys()[party.index - 1]
    return Identity(keys.identity, keys._identity_secret)


@pytest.fixture(scope="module")
def proven(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with committee.yaml, and evidence in `file` that index 1 gave index 0 a false share."""
    directory = tmp_path_factory.mktemp("evidence")
    write_committee(directory / "committee.yaml", COMMITTEE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session_testing, "identity_of", identity_at)
        lie = tells(2, lambda v: [(v[0] + 1) % SMALL_SECP.group.q, *v[1:]], to=1)
        outcomes = run_keygen(3, 2, "file", suite=SMALL_SECP, tamper={2: [lie]}, drop=reports)
    error = outcomes[1].error
    assert isinstance(error, PeerFault)
    (directory / "file").write_bytes(error.evidence or b"")
    return directory


def fresh(*arguments: Any, cwd: Path) -> Ran:
    with Process(keygen_argv(*arguments), env=clean_environment(), cwd=cwd) as process:
        code = process.wait(120)
        err = [line for line in process.lines if line not in process.stdout]
        return Ran(code, "\n".join(process.stdout), "\n".join(err))


FOUND = {
    "guilty": True,
    "cleared": False,
    "index": 1,
    "role": "holder",
    "identity": COMMITTEE.identities[1].hex(),
    "check": "keygen.r2.share",
    "section": "1",
    "reason": "share does not match its commitments",
    "committee_id": COMMITTEE.committee_id.hex(),
}


def test_a_fresh_process_finds_who_is_guilty(proven: Path) -> None:
    """It has the two files and nothing else: no store, no session, no network."""
    ran = fresh("verify-evidence", "file", "--json", cwd=proven)
    assert (ran.code, ran.err) == (0, ""), ran
    assert ran.json == FOUND


def test_for_people(proven: Path) -> None:
    ran = succeeds("verify-evidence", proven / "file", "--committee", proven / "committee.yaml")
    assert ran.out.splitlines() == [
        f"GUILTY: index 1 of committee {COMMITTEE.committee_id.hex()}",
        f"  identity {COMMITTEE.identities[1].hex()}",
        "  check keygen.r2.share (protocol.md 1)",
        "  share does not match its commitments",
    ]


def test_a_message_less_is_not_proven(proven: Path, tmp_path: Path) -> None:
    claim = read_claim((proven / "file").read_bytes())
    for place in range(len(claim.messages)):
        less = replace(claim, messages=claim.messages[:place] + claim.messages[place + 1 :])
        (tmp_path / "less").write_bytes(less.encode())
        ran = invoke("verify-evidence", tmp_path / "less", "--committee", proven / "committee.yaml")
        assert ran.code == 7
        assert ran.out.startswith("not proven against index 1 of committee")
        assert "is missing" in ran.out


def test_another_committee_is_not_concerned(proven: Path, tmp_path: Path) -> None:
    others = Committee.of([keys.card() for keys in node_keys()[1:3]], 2)
    write_committee(tmp_path / "committee.yaml", others)
    ran = invoke("verify-evidence", proven / "file", "--committee", tmp_path / "committee.yaml", "--json")
    assert (ran.code, ran.json["guilty"], ran.json["section"]) == (7, False, "")


def test_the_installed_command_accepts_the_full_level_alone(proven: Path) -> None:
    ran = invoke("verify-evidence", proven / "file", "--committee", proven / "committee.yaml", full_size=True)
    assert ran.code == 7
    assert "suite is not one that is accepted" in ran.out


@pytest.mark.parametrize(
    ("digests", "code", "said"), [((b"1", b"2"), 0, "GUILTY"), ((b"1", b"1"), 7, "passes")]
)
def test_two_requests_for_one_presignature(tmp_path: Path, digests: Any, code: int, said: str) -> None:
    """Two signed proposals that no session came of: the installed command needs no more."""
    suite, keys = CGGMP24_SECP256K1, node_keys()[1]
    proposals = []
    for number, digest in enumerate(digests):
        tail = [b"p" * 32, digest * 32, [], 0, [1, 2], b"e" * 32]
        proposal = Proposal(holder(2), COMMITTEE.committee_id, "a", "sign", b"r" * 16, tail, None, number)
        proposals.append(sign(proposal.body(suite), keys.sign))
    (tmp_path / "file").write_bytes(proposal_evidence("sign", REQUEST, proposals))
    write_committee(tmp_path / "committee.yaml", COMMITTEE)
    paths = (tmp_path / "file", "--committee", tmp_path / "committee.yaml")
    ran = invoke("verify-evidence", *paths, full_size=True)
    assert (ran.code, said in ran.out) == (code, True), ran
    assert ("check sign.proposal.request (protocol.md 3.5)" in ran.out) == (code == 0)


def test_a_check_that_passes_clears_the_accused(proven: Path, tmp_path: Path) -> None:
    """And a party that the committee does not have is named by its role."""
    claim = read_claim((proven / "file").read_bytes())
    body_1 = next(m for m in claim.messages if len(m[0]) < 250)
    schema = replace(claim, check="keygen.r1.schema", messages=(body_1,))
    (tmp_path / "schema").write_bytes(schema.encode())
    ran = invoke("verify-evidence", tmp_path / "schema", "--committee", proven / "committee.yaml")
    assert ran.code == 7
    assert "accuses falsely" in ran.out
    dealer = replace(claim, accused=PartyId("dealer", 2))
    (tmp_path / "dealer").write_bytes(dealer.encode())
    ran = invoke("verify-evidence", tmp_path / "dealer", "--committee", proven / "committee.yaml")
    assert ran.code == 7
    assert "index 1 (dealer)" in ran.out


def test_what_is_no_evidence(proven: Path, tmp_path: Path) -> None:
    committee = ("--committee", proven / "committee.yaml")
    (tmp_path / "garbage").write_bytes(b"garbage")
    assert "holds no evidence" in fails(3, "verify-evidence", tmp_path / "garbage", *committee).err
    (tmp_path / "old").write_bytes(encode(["evidence/v0", "p", [], ["holder", 1], "c", []]))
    assert "evidence/v0" in fails(3, "verify-evidence", tmp_path / "old", *committee).err
    fails(3, "verify-evidence", tmp_path / "missing", *committee)
    fails(3, "verify-evidence", proven / "file", "--committee", tmp_path / "missing")


def test_a_file_longer_than_any_evidence_is_not_read(proven: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    committee = ("--committee", proven / "committee.yaml")
    size = (proven / "file").stat().st_size
    monkeypatch.setattr(evidence_commands, "MAX_EVIDENCE_BYTES", size)
    succeeds("verify-evidence", proven / "file", *committee)
    monkeypatch.setattr(evidence_commands, "MAX_EVIDENCE_BYTES", size - 1)
    ran = fails(3, "verify-evidence", proven / "file", *committee)
    assert "longer than any evidence" in ran.err


# -- what a node keeps -------------------------------------------------------------------------------------------


def node(directory: Path) -> Path:
    make_node(directory, node_keys()[0], COMMITTEE)
    return directory


def test_evidence_of_a_store_is_listed_exported_and_verified(proven: Path, tmp_path: Path) -> None:
    directory = node(tmp_path / "node")
    assert "there is no evidence" in succeeds("evidence", "list", directory).out
    blob = (proven / "file").read_bytes()
    with NodeFiles.of(directory).open() as store:
        store.quarantine.put_evidence(b"damaged")
        store.quarantine.add(COMMITTEE.identities[1], COMMITTEE.committee_id, "a false share", evidence=blob)
    evidence_id = hashlib.sha256(blob).hexdigest()
    first, second = succeeds("evidence", "list", directory, "--json").json["evidence"]
    assert (first["evidence_id"], first["identity"]) == (evidence_id, COMMITTEE.identities[1].hex())
    assert (first["check"], first["text"]) == ("keygen.r2.share", "against party index 1 (holder)")
    assert first["recorded_at"] > 1_600_000_000
    assert second["text"].startswith("the file cannot be read")
    assert evidence_id in succeeds("evidence", "list", directory).out
    target = tmp_path / "exported"
    ran = succeeds("evidence", "export", evidence_id, directory, "-o", target, "--json")
    assert ran.json == {"evidence_id": evidence_id, "file": str(target), "bytes": len(blob)}
    assert target.read_bytes() == blob
    ran = succeeds("verify-evidence", target, "--committee", directory / "committee.yaml", "--json")
    assert ran.json == FOUND
    fails(3, "evidence", "export", evidence_id, directory, "-o", target)
    assert (
        "keeps no evidence" in fails(3, "evidence", "export", "ab" * 32, directory, "-o", tmp_path / "x").err
    )
    assert not (tmp_path / "x").exists()
    fails(2, "evidence", "export", "ab", directory, "-o", tmp_path / "x")


async def test_evidence_of_a_running_daemon(proven: Path, tmp_path: Path) -> None:
    directory = node(tmp_path / "node")
    blob = (proven / "file").read_bytes()
    files = {bytes([number]) * 32: blob for number in range(1, 61)}
    mark = api.QuarantineView(
        1, COMMITTEE.identities[1], COMMITTEE.committee_id, 1, None, "a false share", bytes([1]) * 32, 1_700_000_000
    )  # fmt: skip
    scripted = ScriptedNode(quarantine=[mark], evidence_ids=list(files), evidence=files.get)
    target = tmp_path / "exported"
    with NodeFiles.of(directory).open():
        async with operated(scripted, directory / "operator.sock"):
            # A process of its own: the service's log goes to this one's standard output.
            listed = await asyncio.to_thread(fresh, "evidence", "list", directory, "--json", cwd=tmp_path)
            export = ("evidence", "export", "01" * 32, directory, "-o", target)
            exported = await asyncio.to_thread(invoke, *export)
            unknown = await asyncio.to_thread(
                invoke, "evidence", "export", "ab" * 32, directory, "-o", tmp_path / "x"
            )
    assert listed.code == exported.code == 0, (listed, exported)
    found = listed.json["evidence"]
    assert [one["evidence_id"] for one in found] == [bytes([n]).hex() * 32 for n in range(60, 0, -1)]
    assert found[-1]["recorded_at"] == 1_700_000_000
    assert found[-1]["identity"] == COMMITTEE.identities[1].hex()
    assert target.read_bytes() == blob
    assert (unknown.code, (tmp_path / "x").exists()) == (3, False)
