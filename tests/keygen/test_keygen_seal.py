"""seal, agent, xpub, freeze, delete: in a store that is not in use, and through running daemons, one of them killed."""

from __future__ import annotations

import asyncio
import hashlib

import pytest
from bip_utils import Bip32PublicKey, Bip32Slip10Secp256k1, EthAddrEncoder
from committee_processes import create_account, running_committee, sign_digest, wait_until
from keygen_testing import Ran, fails, keygen_argv, secret_file, succeeds
from node_testing import committee_of, deal, node_keys
from processes import Process, clean_environment
from seal_testing import MODULE, PIN, tokens_here
from tss_testing import SMALL_SECP

from keygen.development import make_node
from keygen.node_files import NodeFiles
from participant.grpc_client import CallFailed
from participant.sealing import KeyFileWrapper
from participant.store import NewShare, Origin

COMMITTEE = committee_of()


@pytest.fixture
def directory(tmp_path):
    node = tmp_path / "node"
    make_node(node, node_keys()[0], COMMITTEE)
    with NodeFiles.of(node).open() as store:
        share = NewShare.of("main", deal(SMALL_SECP)[0])
        store.accounts.add(share, COMMITTEE.committee_id, Origin.KEYGEN)
    return node


def slots(directory) -> list[tuple[int, str, bool]]:
    found = succeeds("seal", "list", directory, "--json").json["slots"]
    return [(slot["number"], slot["form"], slot["in_use"]) for slot in found]


def test_a_store_moves_to_another_key_and_then_opens_by_its_seal_file(directory):
    KeyFileWrapper.create_file(directory / "other.key")
    new = secret_file(directory / "new.yaml", "key_file: other.key\n")
    ran = succeeds("seal", "add", new, directory)
    assert "slot 1  key-file" in ran.out
    assert "opened the store" in ran.out.splitlines()[0]
    assert slots(directory) == [(1, "key-file", True), (2, "key-file", False)]
    fails(5, "seal", "renew", directory)
    new.rename(directory / "seal.yaml")
    assert slots(directory) == [(1, "key-file", False), (2, "key-file", True)]
    succeeds("seal", "remove", "1", directory)
    (directory / "seal.key").unlink()
    assert succeeds("seal", "renew", directory, "--json").json["values"] == 4
    assert slots(directory) == [(2, "key-file", True)]
    fails(5, "seal", "remove", "2", directory)
    fails(5, "seal", "remove", "7", directory)
    with NodeFiles.of(directory).open() as store:
        decisions = [entry.record.decision for entry in store.audit.export()]
        assert store.check() == []
    assert decisions == ["sealing key added", "sealing key removed", "data key renewed"]


def test_a_key_is_made_on_a_token_and_its_pin_comes_from_an_agent(directory, tmp_path):
    with tokens_here(tmp_path / "hsm", "wallet"):
        socket = directory / "agent.sock"
        new = secret_file(
            directory / "new.yaml", f"pkcs11: {{module: {MODULE}, token: wallet, pin_agent: agent.sock}}\n"
        )
        fails(3, "seal", "add", new, directory)
        # The real command, which reads the PIN from a pipe.
        pin = secret_file(directory / "pin", PIN.decode() + "\n")
        argv = ["sh", "-c", f'exec "$@" < "{pin}"', "sh", *keygen_argv("agent", socket)]
        agent = Process(argv, env=clean_environment())
        agent.wait_for("Agent at")
        fails(3, "seal", "add", new, directory)
        succeeds("seal", "add", new, directory, "--make-token-key")
        fails(3, "seal", "add", new, directory, "--make-token-key")
        new.rename(directory / "seal.yaml")
        assert slots(directory) == [(1, "key-file", False), (2, "pkcs11", True)]
        agent.terminate()
        assert PIN.decode() not in agent.output
        assert not socket.exists()
        ran = fails(3, "seal", "list", directory)
        assert "no passphrase agent" in ran.err
        # The other slot opens it still.
        succeeds("seal", "list", directory, "--seal-key", directory / "seal.key")


def test_what_cannot_be_meant_is_said(directory):
    key_file = secret_file(directory / "new.yaml", "key_file: seal.key\n")
    fails(3, "seal", "add", key_file, directory, "--make-token-key")
    fails(2, "seal", "add", secret_file(directory / "bad.yaml", "nonsense: 1\n"), directory)
    fails(2, "seal", "list", directory, "--seal-key", "a", "--seal-file", "b")
    fails(2, "agent", directory / "agent.sock", stdin=b"\n")
    for command in (("freeze", "main", directory, "--reason", "x"), ("delete", "list", directory)):
        assert "no daemon is running" in fails(4, *command).err


def test_an_extended_key_and_the_addresses_below_it(directory):
    share = deal(SMALL_SECP)[0]
    ran = succeeds("xpub", "main", directory, "--path", "m/44/60", "--count", "3", "--hrp", "osmo", "--json")
    root = Bip32Slip10Secp256k1.FromPublicKey(share.X.to_bytes())
    key = Bip32Slip10Secp256k1.FromExtendedKey(ran.json["extended_key"])
    assert (key.Depth().ToInt(), key.Index().ToInt()) == (2, 60)
    assert root.PublicKey().RawCompressed().ToBytes() == share.X.to_bytes()
    for entry in ran.json["below"]:
        child: Bip32PublicKey = key.ChildKey(entry["index"]).PublicKey()
        assert entry["ethereum"] == EthAddrEncoder.EncodeKey(child.RawCompressed().ToBytes())
        assert entry["cosmos"].startswith("osmo1")
    assert [entry["index"] for entry in ran.json["below"]] == [0, 1, 2]
    assert "all private keys" in ran.json["warnings"][0]
    assert succeeds("xpub", "main", directory, "--testnet").out.startswith("tpub")
    with NodeFiles.of(directory).open() as store:
        noted = [(entry.record.decision, entry.record.path) for entry in store.audit.export()]
    assert noted == [("extended key given out", "m/44/60"), ("extended key given out", "m")]
    fails(2, "xpub", "main", directory, "--hrp", "No!")
    fails(2, "xpub", "main", directory, "--path", "m/0h")
    fails(3, "xpub", "other", directory)


@pytest.fixture(scope="module")
def committee(tmp_path_factory):
    settings = {"accounts": {"deletion_grace_seconds": 3600}}
    with running_committee(tmp_path_factory.mktemp("committee"), settings=settings) as running:
        yield running


def run(*arguments, code=0) -> Ran:
    return succeeds(*arguments) if code == 0 else fails(code, *arguments)


async def _made(committee, name: str) -> None:
    async with committee.nodes[0].client() as client:
        await create_account(client, name)


async def _sign(committee, name: str, index: int = 0) -> object:
    async with committee.nodes[index].client() as client:
        return await sign_digest(client, name, hashlib.sha256(name.encode()).digest())


def refused(committee, name: str, index: int = 0) -> str:
    with pytest.raises(CallFailed) as caught:
        asyncio.run(_sign(committee, name, index))
    return str(caught.value.reason)


def test_a_running_daemon_changes_its_sealing_key_and_starts_with_the_new_one(committee):
    asyncio.run(_made(committee, "sealed"))
    node = committee.nodes[0]
    KeyFileWrapper.create_file(node.directory / "other.key")
    new = secret_file(node.directory / "new.yaml", "key_file: other.key\n")
    at = ("--operator", node.operator_target)
    run("seal", "add", new, node.directory, *at)
    run("seal", "remove", "1", node.directory, *at)
    assert run("seal", "renew", node.directory, *at, "--json").json["values"] > 4
    listed = run("seal", "list", node.directory, *at, "--json").json
    assert [slot["number"] for slot in listed["slots"]] == [2]
    assert listed["data_keys"] == [2]
    asyncio.run(_sign(committee, "sealed"))
    shown = run("xpub", "sealed", node.directory, "--path", "m/7", *at, "--json").json
    assert Bip32Slip10Secp256k1.FromExtendedKey(shown["extended_key"]).Index().ToInt() == 7
    # Killed while it seals anew: whatever it had done, the new key opens it and the rest is done afterwards.
    renewing = Process(keygen_argv("seal", "renew", node.directory, *at), env=clean_environment())
    node.kill()
    renewing.wait(60)
    node.settings.get("store", {}).pop("key_file", None)
    node.write_settings({"store": {"seal_file": "new.yaml"}})
    node.start()
    at = ("--operator", node.operator_target)
    run("seal", "renew", node.directory, *at)
    assert len(run("seal", "list", node.directory, *at, "--json").json["data_keys"]) == 1
    asyncio.run(_sign(committee, "sealed"))


def test_freezing_and_deleting_with_the_words_of_enough_nodes(committee, tmp_path):
    asyncio.run(_made(committee, "gone"))
    first, second, third = committee.nodes
    at = ("--operator", first.operator_target)
    run("freeze", "gone", first.directory, "--reason", "a doubt", *at)
    assert refused(committee, "gone") == "ACCOUNT_FROZEN"
    run("unfreeze", "gone", first.directory, *at)
    asyncio.run(_sign(committee, "gone"))
    words = []
    for node in (second, third):
        words.append(tmp_path / f"word-{node.index}")
        operator = ("--operator", node.operator_target)
        run("delete", "approve", "gone", node.directory, "--reason", "closed", "-o", words[-1], *operator)
    few = run("delete", "decide", "gone", words[0], "--node", first.directory, *at, "--json", code=2)
    assert "approval of 2 members" in few.error["text"]
    run("delete", "decide", "gone", *words, "--node", first.directory, *at)
    assert refused(committee, "gone") == "ACCOUNT_DELETED"
    (listed,) = run("delete", "list", first.directory, *at, "--json").json["deletions"]
    assert (listed["account_id"], listed["erased"]) == ("gone", False)
    assert listed["approved_by"] == sorted([second.index, third.index])
    run("delete", "cancel", "gone", first.directory, *at)
    wait_until(lambda: _signs(committee, "gone"), "the account signs again")
    run("delete", "decide", "gone", *words, "--node", first.directory, *at)
    # The same decision where the time of grace is over at once, after a restart.
    first.stop()
    with NodeFiles.of(first.directory, seal_key=_key(first)).open() as store:
        store.deletions.cancel("gone")
    first.write_settings({"accounts": {"deletion_grace_seconds": 0.001}})
    first.start()
    at = ("--operator", first.operator_target)
    run("delete", "decide", "gone", *words, "--node", first.directory, *at)
    first.restart()
    at = ("--operator", first.operator_target)
    wait_until(
        lambda: run("delete", "list", first.directory, *at, "--json").json["deletions"][0]["erased"],
        "it is erased",
    )
    assert refused(committee, "gone") == "KEY_SHARE_NOT_FOUND"
    # The others, who were not asked to erase anything, are enough to sign.
    asyncio.run(_sign(committee, "gone", 1))


def _key(node):
    other = node.directory / "other.key"
    return other if other.exists() else node.directory / "seal.key"


def _signs(committee, name: str) -> bool:
    try:
        asyncio.run(_sign(committee, name))
    except CallFailed:
        return False
    return True
