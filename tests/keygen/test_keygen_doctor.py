"""doctor: what it finds in a damaged store, and that it changes nothing."""

from __future__ import annotations

import asyncio
import hashlib
import time
from pathlib import Path

import pytest
from keygen_testing import Ran, fails, invoke, keygen_argv, succeeds
from node_testing import aux_sets, committee_of, deal, next_epoch, node_keys, raw, share_state, sid_of
from processes import Process, clean_environment
from scripted_node import ScriptedNode, operated
from tss_testing import SMALL_SECP

from keygen.development import make_node
from keygen.node_files import NodeFiles
from participant.node import api
from participant.store import AccountState, Finding, NewAux, NewShare, Origin

COMMITTEE = committee_of()
CID = COMMITTEE.committee_id
SHARES = deal(SMALL_SECP)
AUX = aux_sets(SMALL_SECP)


@pytest.fixture
def node(tmp_path):
    directory = tmp_path / "node"
    make_node(directory, node_keys()[0], COMMITTEE)
    with NodeFiles.of(directory).open() as store:
        store.accounts.add(NewShare.of("main", SHARES[0]), CID, Origin.KEYGEN)
        store.accounts.put_aux(CID, NewAux.of(AUX[0], ("main",)))
    return directory


def changed(directory: Path, change) -> None:
    with NodeFiles.of(directory).open() as store:
        change(store)


def examined(directory: Path, *, sound: bool = True) -> list[tuple[str, str]]:
    ran: Ran = invoke("doctor", directory, "--json")
    assert ran.code == (0 if sound else 3), ran
    assert ran.json["sound"] is sound
    assert all(finding["advice"] for finding in ran.json["findings"])
    return [(finding["what"], finding["text"]) for finding in ran.json["findings"]]


def digests(directory: Path) -> dict[str, str]:
    """Of every file but the lock, whose pid changes."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in directory.iterdir()
        if path.is_file() and not path.name.endswith(".lock")
    }


def test_nothing_is_wrong_with_a_sound_node_and_nothing_is_changed(node):
    def leave_open(store):
        store.sessions.remember(sid_of(5), "sign", CID, bytes(32))

    changed(node, leave_open)
    before = digests(node)
    assert examined(node) == []
    assert "nothing is wrong" in succeeds("doctor", node).out
    assert digests(node) == before


def test_what_is_damaged_is_named_with_what_to_do(node):
    store = node / "store.db"
    raw(store, "UPDATE share SET sealed_share = zeroblob(100)")
    ran = fails_with_findings(node)
    assert "WRONG  share: the key share of account 'main' is damaged" in ran.out
    assert "mpc-keygen restore" in ran.out
    assert "1 things are wrong" in ran.out


def fails_with_findings(directory: Path) -> Ran:
    ran = invoke("doctor", directory)
    assert ran.code == 3, ran
    return ran


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        ("UPDATE account SET party = 2", "share"),
        ("UPDATE account SET key_id = zeroblob(32)", "share"),
        ("UPDATE share SET share_epoch = zeroblob(32)", "share"),
        ("UPDATE aux_set SET sealed_set = zeroblob(64)", "aux"),
        ("UPDATE identity SET sealed_keys = zeroblob(64)", "identity"),
        ("UPDATE committee SET description = 'x'", "committees"),
        ("UPDATE audit_head SET sealed_head = zeroblob(64)", "audit"),
    ],
)
def test_every_kind_of_damage_is_found(node, sql, what):
    raw(node / "store.db", sql)
    assert what in [found for found, _ in examined(node, sound=False)]


def test_a_store_of_another_member_and_shares_of_other_parties_are_found(node, tmp_path):
    strangers = tmp_path / "strangers"
    make_node(strangers, node_keys(3, "others")[0], committee_of(3, 2, "others"))

    def foreign(store):
        store.accounts.put_committee(COMMITTEE)
        store.accounts.add(NewShare.of("other", SHARES[1]), CID, Origin.IMPORT)

    changed(strangers, foreign)
    found = examined(strangers, sound=False)
    assert found[0][0] == "committee"
    assert "is no member of committee" in found[0][1]

    def of_another_index(store):
        store.accounts.add(NewShare.of("second", SHARES[1]), CID, Origin.IMPORT)
        store.accounts.put_aux(CID, NewAux.of(aux_sets(SMALL_SECP, seed=1)[0], ("second",)))

    changed(node, of_another_index)
    texts = [text for _, text in examined(node, sound=False)]
    assert any("is of index 1, this node has 0" in text for text in texts)
    assert any("auxiliary data of account 'second' is of other parties" in text for text in texts)


def test_what_waits_is_remarked(node, monkeypatch):
    def unsettled(store):
        store.sessions.remember(sid_of(1), "refresh", CID, bytes(32))
        state = share_state("main", next_epoch(SHARES[0]))
        store.sessions.put_pending(sid_of(1), "refresh", CID, state, b"public", b"done", party=1)
        store.quarantine.add(COMMITTEE.identities[1], CID, "presign.r2")
        store.accounts.add(NewShare.of("cold", deal(SMALL_SECP, seed="c")[0]), CID, Origin.IMPORT)
        store.accounts.set_state("cold", AccountState.FROZEN)
        store.accounts.add(NewShare.of("old", deal(SMALL_SECP, seed="o")[0]), CID, Origin.IMPORT)
        store.accounts.mark_restored("old")
        store.deletions.decide("main", (), 1 << 40)
        store.sessions.remember(sid_of(2), "presign", CID, sid_of(2))
        store.blocked.block(sid_of(2), CID, (1, 3), b"", "somebody cheated")

    changed(node, unsettled)
    assert [what for what, _ in examined(node)] == [
        "frozen",
        "refresh",
        "deletion",
        "quarantine",
        "signer set",
    ]
    real = time.time
    monkeypatch.setattr("participant.doctor.time.time", lambda: real() + 4000)
    found = dict(examined(node))
    assert "waits for its certificate; no word of index 1, 2" in found["pending"]
    assert "held up by pending state" in found["deletion"]


def test_modes_and_an_unfinished_renewal_are_found(node):
    (node / "seal.key").chmod(0o640)
    (node / "store.db-wal").write_bytes(b"")
    (node / "store.db-wal").chmod(0o604)
    node.chmod(0o770)
    fails(3, "doctor", node)
    (node / "seal.key").chmod(0o600)
    found = examined(node, sound=False)
    assert [what for what, _ in found] == ["mode", "mode"]
    node.chmod(0o700)
    (node / "store.db-wal").unlink()

    def interrupted(store):
        store.seals._begin()

    changed(node, interrupted)
    assert [what for what, _ in examined(node)] == ["seal"]
    (node / "identity").write_text("no card")
    assert [what for what, _ in examined(node)] == ["card", "seal"]


def test_a_running_daemon_looks_at_its_store_itself(node):
    report = api.StoreReport((Finding("share", "the key share of account 'main' is damaged"),), 1, 5)

    async def scenario() -> Process:
        async with operated(ScriptedNode(check_store=report), node / "operator.sock"):
            with NodeFiles.of(node).open():
                process = Process(keygen_argv("doctor", node), env=clean_environment())
                await asyncio.to_thread(process.wait, 60)
                return process

    process = asyncio.run(scenario())
    assert "WRONG  share: the key share of account 'main' is damaged" in process.output
    assert process.wait(1) == 3


def test_a_directory_without_a_store_is_said(tmp_path):
    fails(3, "doctor", tmp_path)
