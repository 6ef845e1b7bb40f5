"""primes, status, create, aux; and every command that finds its store held by a daemon."""

import asyncio
import json
import os
import signal
from dataclasses import replace

import pytest
from keygen_testing import Ran, assert_absent, fails, keygen_argv, succeeds
from node_testing import committee_of, deal, node_keys
from processes import Process, clean_environment, command
from scripted_node import ACCOUNT, ScriptedNode, caller, operated, served
from tss_testing import SMALL_SECP, safe_primes

from keygen.development import make_node
from keygen.node_files import NodeFiles
from participant.node import api
from participant.node.errors import PartiesMissing, PeerAtFault, PolicyRefused
from participant.sharefile import ShareEntry, encode_share_file
from participant.store import NewShare, Origin
from tss.params import CGGMP24_SECP256K1

COMMITTEE = committee_of()
BITS = SMALL_SECP.level.pb


def node(directory, index=0):
    make_node(directory, node_keys()[index], COMMITTEE)
    return directory


def in_process(argv, timeout=120.0):
    """A command as a process of its own."""
    with Process(argv, env=clean_environment()) as process:
        code = process.wait(timeout)
        err = [line for line in process.lines if line not in process.stdout]
        return Ran(code, "\n".join(process.stdout), "\n".join(err))


async def beside(*arguments, full_size=False):
    """The same, while the loop of this test serves it."""
    argv = command("mpc-keygen", *arguments) if full_size else keygen_argv(*arguments)
    return await asyncio.to_thread(in_process, argv)


# primes


def test_primes_fills_the_pool_and_shows_progress(tmp_path):
    """Each process may find one more than was asked for before it is stopped."""
    directory = node(tmp_path / "node")
    ran = succeeds("primes", directory, "--count", "2", "--processes", "1", "--json")
    available = ran.json["available"]
    assert 2 <= available <= 3
    again = succeeds("primes", directory, "--count", "4", "--processes", "1")
    assert "safe primes: 4 of 4" in again.err
    with NodeFiles.of(directory).open() as store:
        found = store.primes.take(64, BITS)
    assert 4 <= len(set(found)) == len(found) <= 5
    assert_absent(found, ran.out, ran.err, again.out, again.err)


def test_primes_that_are_there_already_are_enough(tmp_path):
    directory = node(tmp_path / "node")
    with NodeFiles.of(directory).open() as store:
        for prime in safe_primes(SMALL_SECP.level, 4):
            store.primes.add(prime)
    assert succeeds("primes", directory, "--json").json == {"available": 4}


def test_primes_keeps_what_it_found_when_it_is_interrupted(tmp_path):
    directory = node(tmp_path / "node")
    with Process(keygen_argv("primes", directory, "--count", "64"), env=clean_environment()) as process:
        process.wait_for("safe primes: 1 of 64", timeout=120)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130, process.output
        assert "Traceback" not in process.output
    with NodeFiles.of(directory).open() as store:
        assert 1 <= store.primes.count(BITS) < 64


# status of a store


def test_status_of_a_node_that_does_not_run(tmp_path):
    directory = node(tmp_path / "node", 1)
    with NodeFiles.of(directory).open() as store:
        share = NewShare.of("main", deal(SMALL_SECP)[1])
        store.accounts.add(share, COMMITTEE.committee_id, Origin.KEYGEN)
    ran = succeeds("status", directory, "--json")
    assert ran.json["running"] is False
    assert ran.json["identity"] == COMMITTEE.identities[1].hex()
    assert ran.json["accounts"] == ["main"]
    assert ran.json["warnings"] == []
    (committee,) = ran.json["committees"]
    assert (committee["index"], committee["threshold"], len(committee["members"])) == (1, 2, 3)
    assert "no daemon is running" in succeeds("status", directory).out


def test_status_says_what_is_wrong_with_a_store(tmp_path):
    from node_testing import raw

    directory = node(tmp_path / "node")
    with NodeFiles.of(directory).open() as store:
        store.accounts.add(NewShare.of("main", deal(SMALL_SECP)[0]), COMMITTEE.committee_id, Origin.KEYGEN)
    raw(directory / "store.db", "UPDATE account SET threshold = 3")
    (warning,) = succeeds("status", directory, "--json").json["warnings"]
    assert "main" in warning


# A store that is held


@pytest.mark.parametrize(
    "arguments",
    [["primes"], ["status"], ["quarantine", "list"], ["export", "-o", "nowhere", "--plaintext"]],
    ids=lambda arguments: arguments[0],
)
def test_a_store_that_another_process_holds(tmp_path, arguments):
    directory = node(tmp_path / "node")
    with NodeFiles.of(directory).open():
        ran = fails(3, *arguments, directory, "--json")
    assert ran.error["reason"] == "STORE_LOCKED"
    assert str(os.getpid()) in ran.error["text"]


@pytest.fixture
def held(tmp_path):
    """A node's directory whose store this process holds, as its daemon would."""
    directory = node(tmp_path / "n")
    with NodeFiles.of(directory).open():
        yield directory


async def test_primes_of_a_running_daemon(held):
    pool = api.PrimePool(7, 7, searching=False)
    steps = [api.Progress("primes", 3, 7, text="3 of 7"), api.Progress("primes", 7, 7, result=pool)]
    scripted = ScriptedNode(fill_primes=steps)
    async with operated(scripted, held / "operator.sock"):
        ran = await beside("primes", held, "--count", "7")
    assert (ran.code, ran.out) == (0, "7 safe primes in the pool"), ran
    assert scripted.asked == ("fill_primes", (7,), {})
    assert "operator socket" in ran.err, "it says which way it went"


async def test_status_of_a_running_daemon(held):
    members = tuple(
        api.PeerView(index, identity, index == 0, index < 2, 1.0, "1", index == 2, "")
        for index, identity in enumerate(COMMITTEE.identities)
    )
    view = api.StatusView(
        ready=True, version="1.2", identity=COMMITTEE.identities[0], uptime=12.0, gateway_url="http://gateway:1",
        gateway_connected=False, accounts=2, sessions=1, primes=api.PrimePool(3, 4, searching=False),
        committees=(
            api.CommitteeView(COMMITTEE, 0, None, members), api.CommitteeView(COMMITTEE, 0, None, members, is_left=True),
        ),
        warnings=("look here",),
    )  # fmt: skip
    async with operated(ScriptedNode(status=view), held / "operator.sock"):
        ran = await beside("status", held)
        object_ = await beside("status", held, "--json")
    assert "NOT CONNECTED to http://gateway:1" in ran.out
    assert "look at this: look here" in ran.out
    assert "IN QUARANTINE" in ran.out
    assert ran.out.count("2 of 3, which all its accounts have left\n") == 1
    found = json.loads(object_.out)
    assert [committee["is_left"] for committee in found["committees"]] == [False, True]
    assert (found["running"], found["primes"], found["accounts"]) == (True, 3, 2)
    assert [member["online"] for member in found["committees"][0]["members"]] == [True, True, False]


def full_entries():
    share = deal(CGGMP24_SECP256K1)[0]
    return [ShareEntry(name, share, None, foreign=False) for name in ("main", "other")]


async def test_export_by_a_running_daemon(held, tmp_path):
    scripted = ScriptedNode(export_shares=tuple(full_entries()))
    password = tmp_path / "pw"
    password.write_text("correct horse")
    password.chmod(0o600)
    async with operated(scripted, held / "operator.sock"):
        arguments = ["export", held, "--account", "main", "-o"]
        plain = await beside(*arguments, tmp_path / "plain", "--plaintext", full_size=True)
        sealed = await beside(*arguments, tmp_path / "sealed", "--password-file", password, full_size=True)
    assert scripted.asked == ("export_shares", (("main",),), {})
    assert (tmp_path / "plain").read_bytes() == encode_share_file(full_entries())
    assert "plain text" in plain.err
    secret = f"{full_entries()[0].share.x:064x}"
    assert secret.encode() not in (tmp_path / "sealed").read_bytes()
    for ran in (plain, sealed):
        assert ran.code == 0, ran
        assert secret not in ran.out + ran.err
    shown = in_process(command("mpc-keygen", "inspect", tmp_path / "sealed", "--password-file", password))
    assert "2 accounts" in shown.out


async def test_import_by_a_running_daemon(held, tmp_path):
    file = tmp_path / "s.json"
    file.write_bytes(encode_share_file(full_entries()))
    file.chmod(0o600)
    taken = (
        api.ImportedShare("main", imported=True, text="imported", account=ACCOUNT),
        api.ImportedShare("other", imported=False, text="of another index", account=None),
    )
    scripted = ScriptedNode(import_share=taken)
    async with operated(scripted, held / "operator.sock"):
        ran = await beside("import", file, held, full_size=True)
        one = await beside("import", file, held, "--account", "main", full_size=True)
    assert ran.code == one.code == 3, ran
    assert "imported: 'main'" in ran.out
    assert "NOT imported: 'other': of another index" in ran.out
    assert [entry.account_id for entry in scripted.asked[1][0]] == ["main"]


# create and aux


MADE = [
    api.Progress("aux", 2, 10, phase="r1", text="searching", waiting_for=(1, 2)),
    api.Progress("keygen", 7, 10, phase="r2"),
    api.Progress("keygen", 10, 10, result=ACCOUNT),
]


async def test_create_asks_as_a_caller(tmp_path):
    scripted = ScriptedNode(create_account=MADE)
    committee = "ab" * 32
    async with served(scripted) as listener, caller(listener):
        target = f"http://127.0.0.1:{listener.port}"
        ran = await beside(
            "create", "main", "--target", target, "-t", "3", "--committee", committee, "--json"
        )
    assert ran.code == 0, ran
    asked = scripted.asked
    assert asked[0] == "create_account"
    assert (asked[2]["threshold"], asked[2]["committee_id"]) == (3, bytes.fromhex(committee))
    assert asked[2]["caller"].name == "loopback"
    found = json.loads(ran.out)
    assert found["public_key"] == ACCOUNT.public_key.hex()
    assert found["addresses"] == {"ethereum": "0xE", "bitcoin": "bc1b"}


async def test_create_asks_as_the_operator_and_shows_progress(tmp_path):
    scripted = ScriptedNode(create_account=MADE)
    (tmp_path / "n").mkdir()
    async with operated(scripted, tmp_path / "n" / "operator.sock"):
        ran = await beside("create", "main", "--node", tmp_path / "n")
    assert ran.code == 0, ran
    assert "caller" not in scripted.asked[2]
    assert "account main: aux r1" in ran.err
    assert "account main: keygen r2" in ran.err
    assert ACCOUNT.public_key.hex() in ran.out


@pytest.mark.parametrize(
    ("failure", "code", "reason"),
    [
        (PartiesMissing("index 2 does not answer", [2]), 4, "PARTIES_MISSING"),
        (PolicyRefused("no keys here", rule="x"), 5, "POLICY_REFUSED"),
        (PeerAtFault("it cheated", peer=1, check="keygen.r2", evidence_id="ab"), 6, "PEER_FAULT"),
    ],
    ids=["missing", "refused", "peer"],
)
async def test_create_ends_as_the_ceremony_does(tmp_path, failure, code, reason):
    (tmp_path / "n").mkdir()
    scripted = ScriptedNode(create_account=[MADE[0], failure])
    async with operated(scripted, tmp_path / "n" / "operator.sock"):
        ran = await beside("create", "main", "--node", tmp_path / "n", "--json")
    assert ran.code == code, ran
    assert ran.out == ""
    assert ran.error["reason"] == reason
    assert str(failure) in ran.error["text"]


async def test_create_with_a_service_that_ends_without_a_result(tmp_path):
    (tmp_path / "n").mkdir()
    async with operated(ScriptedNode(create_account=MADE[:2]), tmp_path / "n" / "operator.sock"):
        ran = await beside("create", "main", "--node", tmp_path / "n", "--json")
    assert (ran.code, ran.out) == (1, "")
    assert "without a result" in ran.error["text"]


@pytest.mark.parametrize(
    "arguments",
    [["create", "main", "--target", "http://127.0.0.1:1"], ["create", "main", "--node", "."], ["aux", "."]],
    ids=["target", "node", "aux"],
)
def test_nobody_there(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    ran = in_process([*keygen_argv(*arguments), "--json"])
    assert ran.code == 4, ran
    assert ran.error["reason"] == "CONNECTION_REFUSED"
    assert ran.error["text"].startswith("Connection refused")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--target", "http://127.0.0.1:1", "--node", "x"], "--target and --node"),
        (["--target", "ftp://x"], "no gRPC address"),
        (["--target", "https://127.0.0.1:1", "--key", "x"], "belong together"),
        (["--target", "http://127.0.0.1:1", "--ca", "x"], "https://"),
        (["--committee", "ab"], "committee id"),
    ],
)
def test_create_refuses_what_cannot_be_meant(arguments, said):
    assert said in fails(2, "create", "main", *arguments).err


async def test_aux_asks_the_operators_daemon(held):
    made = api.AuxView(COMMITTEE.committee_id, b"a" * 32, ("main", "x"))
    scripted = ScriptedNode(
        run_aux=[api.Progress("aux", 1, 2, phase="r1"), api.Progress("aux", 2, 2, result=made)]
    )
    async with operated(scripted, held / "operator.sock"):
        ran = await beside("aux", held, "--account", "x", "--json")
    assert scripted.asked == ("run_aux", (None, ("x",)), {})
    assert json.loads(ran.out)["accounts"] == ["main", "x"]


async def test_refresh_asks_the_operators_daemon(held):
    view = replace(MADE[-1].result, share_epoch=b"\x0e" * 32)
    steps = [api.Progress("refresh", 1, 2, phase="r1"), api.Progress("refresh", 2, 2)]
    steps[1] = replace(steps[1], result=api.RefreshView(COMMITTEE.committee_id, (view,)))
    scripted = ScriptedNode(refresh_accounts=steps)
    async with operated(scripted, held / "operator.sock"):
        ran = await beside("refresh", view.account_id, "--node", held, "--json")
        assert scripted.asked == ("refresh_accounts", (None, (view.account_id,)), {})
        await beside("refresh", "--all", "--node", held)
        assert scripted.asked == ("refresh_accounts", (None, ()), {})
    (made,) = json.loads(ran.out)["accounts"]
    assert made["share_epoch"] == "0e" * 32
    assert made["public_key"] == view.public_key.hex()


@pytest.mark.parametrize("arguments", [[], ["main", "--all"]], ids=["nothing", "both"])
def test_refresh_wants_names_or_all(arguments):
    assert "name the accounts to refresh, or give --all" in fails(2, "refresh", *arguments).err


async def test_an_interrupted_create_cancels_its_call(tmp_path):
    (tmp_path / "n").mkdir()
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def endless(*_, **__):
        begun.set()
        yield MADE[0]
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with operated(ScriptedNode(create_account=endless), tmp_path / "n" / "operator.sock"):
        argv = keygen_argv("create", "main", "--node", tmp_path / "n")
        with Process(argv, env=clean_environment()) as process:
            await asyncio.wait_for(begun.wait(), 60)
            await asyncio.to_thread(process.wait_for, "aux r1")
            process.send_signal(signal.SIGINT)
            code = await asyncio.to_thread(process.wait, 60)
            assert code == 130, process.output
            assert "Traceback" not in process.output
        await asyncio.wait_for(cancelled.wait(), 60)
