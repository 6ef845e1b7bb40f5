"""recovery-key, backup, verify-backup, restore; and docs/disaster-recovery.md, each step of it by real daemons."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import stat
from pathlib import Path

import pytest
from committee_processes import create_account, running_committee, sign_digest
from keygen_testing import Ran, assert_absent, fails, secret_file, succeeds
from node_testing import committee_of, deal, node_keys
from tss_testing import SMALL_SECP

from keygen.development import make_node
from keygen.node_files import NodeFiles
from participant.committee import Committee, write_committee
from participant.grpc_client import CallFailed
from participant.store import AccountState, NewShare, Origin

COMMITTEE = committee_of()
SHARE = deal(SMALL_SECP)[0]


@pytest.fixture
def directory(tmp_path):
    node = tmp_path / "node"
    make_node(node, node_keys()[0], COMMITTEE)
    with NodeFiles.of(node).open() as store:
        store.accounts.add(NewShare.of("main", SHARE), COMMITTEE.committee_id, Origin.KEYGEN)
    return node


def recovery_keys(directory, *kinds: str) -> list:
    keys = [directory / f"recovery-{number}" for number in range(len(kinds))]
    for key, kind in zip(keys, kinds, strict=True):
        succeeds("recovery-key", "-o", key, "--kind", kind)
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
    return keys


def named(option: str, paths, suffix: str = "") -> list:
    return [word for path in paths for word in (option, str(path) + suffix)]


def test_a_node_comes_back_from_its_backup_and_a_quorum(directory, tmp_path):
    keys = recovery_keys(tmp_path, "mlkem768-x25519", "x25519", "p256")
    file = tmp_path / "node.backup"
    ran = [succeeds("backup", directory, "-o", file, "--quorum", "2", *named("-r", keys, ".pub"))]
    write_committee(tmp_path / "committee.yaml", COMMITTEE)
    public = SHARE.X.to_bytes().hex()
    options = ("--committee", tmp_path / "committee.yaml", "--public-key", f"main={public}")
    verified = succeeds("verify-backup", file, *options, "--json").json
    assert verified["verified"] is True
    assert (verified["quorum"], verified["index"], verified["identity"]) == (
        2,
        0,
        node_keys()[0].identity.hex(),
    )
    assert [account["public_key"] for account in verified["accounts"]] == [public]
    new = tmp_path / "machine" / "node"
    new.parent.mkdir()
    fails(3, "restore", file, new, *named("-k", keys[:1]))
    assert not new.exists()
    ran.append(succeeds("restore", file, new, *named("-k", keys[1:])))
    assert sorted(path.name for path in new.parent.iterdir()) == ["node"]
    with NodeFiles.of(new).open() as store:
        assert store.identity().to_bytes() == node_keys()[0].to_bytes()
        assert store.accounts.share("main") == SHARE.to_bytes()
        assert store.accounts.chain_code("main") == SHARE.chain_code
        assert store.accounts.account("main").state is AccountState.RESTORED
        assert store.accounts.committees() == [COMMITTEE]
        assert store.check() == []
    assert (new / "committee.yaml").exists()
    texts = [text for one in ran for text in (one.out, one.err)]
    assert_absent([SHARE.x, SHARE.chain_code], *texts, file.read_text())
    # Not over something that is there, and never in part.
    fails(3, "restore", file, new, *named("-k", keys[1:]))
    fails(3, "backup", directory, "-o", file, *named("-r", keys[:1], ".pub"))


def test_a_changed_file_and_wrong_keys_are_refused_and_nothing_is_written(directory, tmp_path):
    (key, other) = recovery_keys(tmp_path, "x25519", "x25519")
    file = tmp_path / "node.backup"
    succeeds("backup", directory, "-o", file, "-r", f"{key}.pub")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    bad = tmp_path / "bad"
    bad.write_bytes(content)
    new = tmp_path / "new"
    for words in (
        ("verify-backup", bad), ("restore", bad, new, "-k", key), ("restore", file, new, "-k", other),
        ("restore", file, new, "-k", f"{key}.pub"), ("verify-backup", tmp_path / "none"),
        ("verify-backup", file, "--public-key", "main=00"), ("verify-backup", file, "--public-key", "other=00"),
        ("backup", directory, "-o", tmp_path / "x", "-r", key),
        ("backup", directory, "-o", tmp_path / "x", "-r", f"{key}.pub", "--quorum", "2"),
    ):  # fmt: skip
        fails(3, *words)
    fails(2, "backup", directory, "-o", tmp_path / "x", "-r", f"{key}.pub", "--committee", "xy")
    fails(3, "backup", directory, "-o", tmp_path / "x", "-r", f"{key}.pub", "--committee", "00" * 32)
    strangers = committee_of(3, 2, "strangers")
    write_committee(tmp_path / "committee.yaml", strangers)
    fails(3, "verify-backup", file, "--committee", tmp_path / "committee.yaml")
    assert not new.exists()
    assert not (tmp_path / "x").exists()
    assert not (tmp_path / "new.partial").exists()
    exposed = secret_file(tmp_path / "exposed", key.read_text())
    exposed.chmod(0o644)
    fails(3, "restore", file, new, "-k", exposed)


def test_a_backup_is_of_the_one_committee_that_the_accounts_are_in(directory, tmp_path):
    (key,) = recovery_keys(tmp_path, "x25519")
    former = Committee.of([node_keys()[0].card(), committee_of(3, 2, "others").members[1]], 2)
    with NodeFiles.of(directory).open() as store:
        store.accounts.put_committee(former)
    made = ("backup", directory, "-r", f"{key}.pub", "-o")
    succeeds(*made, tmp_path / "one")
    found = succeeds("verify-backup", tmp_path / "one", "--json").json
    assert found["committee_id"] == COMMITTEE.committee_id.hex()
    with NodeFiles.of(directory).open() as store:
        other = deal(SMALL_SECP, 2, 2, "other")[former.index_of(node_keys()[0].identity)]
        store.accounts.add(NewShare.of("other", other), former.committee_id, Origin.KEYGEN)
    assert "accounts in 2 of its 2 committees: name one" in fails(3, *made, tmp_path / "two").err
    succeeds(*made, tmp_path / "two", "--committee", former.committee_id.hex())
    found = succeeds("verify-backup", tmp_path / "two", "--json").json
    assert [account["account_id"] for account in found["accounts"]] == ["other"]


def _sign(committee, name: str) -> bytes:
    async def signed() -> bytes:
        async with committee.nodes[0].client() as client:
            answer = await sign_digest(client, name, hashlib.sha256(b"recovered").digest())
            return bytes(answer.public_key)

    return asyncio.run(signed())


GUIDE = Path(__file__).parents[2] / "docs" / "disaster-recovery.md"


def test_the_guide_shows_the_steps_that_are_tried_below():
    lines = [
        line.strip() for line in GUIDE.read_text().splitlines() if line.strip().startswith("mpc-keygen ")
    ]
    steps = [line.split()[1] for line in lines]
    one_lost = ["identity", "recover", "approve", "approve", "recover", "recoveries"]
    assert steps[: len(one_lost)] == one_lost, "tried in test_keygen_recover.py"
    assert steps[len(one_lost) :] == [
        "recovery-key",
        "backup",
        "verify-backup",
        "restore",
        "refresh",
        "status",
    ]


def test_disaster_recovery_all_machines_are_lost_and_the_key_signs_again(tmp_path):
    keys = recovery_keys(tmp_path, "mlkem768-x25519", "p256", "x25519")
    (tmp_path / "committee").mkdir()
    with running_committee(tmp_path / "committee", 2, 2) as committee:

        async def make() -> bytes:
            async with committee.nodes[0].client() as client:
                return bytes((await create_account(client, "main")).public_key)

        public_key = asyncio.run(make())
        files = []
        for node in committee.nodes:
            files.append(tmp_path / f"index-{node.index}.backup")
            operator = ("--operator", node.operator_target)
            options = ("--quorum", "2", *named("-r", keys, ".pub"))
            succeeds("backup", node.directory, "-o", files[-1], *options, *operator)
            succeeds("verify-backup", files[-1], "--public-key", f"main={public_key.hex()}")
        for node in committee.nodes:
            node.kill()
            shutil.rmtree(node.directory)
        # The gateway goes too: what the lost nodes said last is not to be answered a second time.
        committee.kill_gateway()
        committee.start_gateway()
        for node, file in zip(committee.nodes, files, strict=True):
            ran: Ran = succeeds("restore", file, node.directory, *named("-k", keys[1:]))
            assert "signs again" in ran.err or "sign again" in ran.err
            node.write_settings()
            node.start()
        for node in committee.nodes:
            node.wait_ready(peers=[other.index for other in committee.nodes if other is not node])
        with pytest.raises(CallFailed) as caught:
            _sign(committee, "main")
        assert caught.value.reason == "REFRESH_NEEDED"
        node = committee.nodes[0]
        succeeds("refresh", "main", "--operator", node.operator_target)
        assert _sign(committee, "main") == public_key
        again = ("-o", tmp_path / "again.backup", "-r", f"{keys[0]}.pub", "--operator", node.operator_target)
        succeeds("backup", node.directory, *again)
        assert (
            succeeds("status", node.directory, "--operator", node.operator_target, "--json").json["accounts"]
            == 1
        )
