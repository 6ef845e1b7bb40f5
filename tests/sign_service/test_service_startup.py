"""How the daemon starts, refuses to start, and ends: one clear line, a fitting exit code, nothing lost."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from committee_processes import CommitteeProcesses, NodeProcess, make_committee
from node_testing import deal
from processes import command, run_process
from tss_testing import SMALL_SECP

from kit.daemon import EXIT_FAILED, EXIT_SETTINGS, CannotStart, StopSignal
from kit.net import ListenError
from kit.pb.wallet.v1 import operator_pb2 as operator
from kit.settings import SettingsError
from participant.callers import write_token_file
from participant.files import create_private
from participant.grpc_client import CallFailed
from participant.sealing import Argon2Parameters, KeyFileWrapper, PasswordWrapper
from participant.sharefile import ShareEntry, write_share_file
from participant.store import Store
from sign_service.opening import choose_powers
from sign_service.service import serve
from sign_service.settings import load
from tss.modexp.backend import available

NAME = "sign-service: "


@pytest.fixture
def committee(tmp_path) -> Iterator[CommitteeProcesses]:
    committee = make_committee(tmp_path, primes=False)
    yield committee
    committee.close()


@pytest.fixture
def node(committee) -> NodeProcess:
    return committee.nodes[0]


def refused(node: NodeProcess, over: object = None, *, code: int, env: dict[str, str] | None = None) -> str:
    """What a daemon that does not start says: one line of the command, and nothing on its ports."""
    node.write_settings(over)  # type: ignore[arg-type]
    found, process = run_process(node.argv, env)
    assert found == code, process.output
    said = [line for line in process.lines if line.startswith(NAME)]
    assert len(said) == 1, process.output
    assert not any("Traceback" in line for line in process.lines), process.output
    assert not process.stdout, process.stdout
    return said[0].removeprefix(NAME)


def refused_here(node: NodeProcess, over: object = None, *, code: int) -> str:
    """The same within this process, without the two seconds that a process takes; `refused` shows the way out."""
    node.write_settings(over)  # type: ignore[arg-type]

    async def start() -> None:
        async with asyncio.timeout(30):
            settings = load(node.config)
            await serve(settings, lambda: settings, {"secp256k1": SMALL_SECP}, StopSignal())

    with pytest.raises((SettingsError, ListenError, CannotStart)) as caught:
        asyncio.run(start())
    error = caught.value
    found = {SettingsError: EXIT_SETTINGS, ListenError: EXIT_FAILED}.get(
        type(error), getattr(error, "exit_code", None)
    )
    assert found == code
    assert "\n" not in str(error)
    return str(error)


def test_start_up_says_where_it_listens_and_ends_cleanly(committee, node) -> None:
    gateway = committee.start_gateway()
    node.write_settings({"gateway": {"url": gateway.url}})
    node.start()
    process = node.running
    process.wait_for(f"^Connected to gateway at {gateway.url}$")
    port = node.url.rpartition(":")[2]
    socket_path = Path(node.operator_target.removeprefix("unix:"))
    assert process.stdout == [
        f"gRPC server on 127.0.0.1:{node.port}",
        f"Operator on unix:{socket_path}",
        f"Listening on http://127.0.0.1:{port}",
        f"Connected to gateway at {gateway.url}",
    ]
    assert socket_path.stat().st_mode & 0o777 == 0o600
    node.wait_ready()
    assert httpx2.get(f"{node.url}/healthz").json() == {"status": "ok"}
    assert node.metric("sign_service_ready") == node.metric("sign_service_gateway_connected") == 1
    events = [entry["event"] for entry in node.log()]
    # A policy that signs everything is never in force in silence.
    assert any("RAW DIGESTS FOR EVERY ACCOUNT" in event for event in events)
    assert any("everybody on this machine may call" in event for event in events)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 0
    assert "stopped" in [entry["event"] for entry in node.log()]
    assert not socket_path.exists()


def test_without_a_gateway_it_says_connection_refused_and_goes_on_trying(committee, node) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        # Bound, but nobody listens.
        node.write_settings({"gateway": {"url": f"http://127.0.0.1:{port}"}})
        node.start()
        process = node.running
        line = process.wait_for("Connection refused").string
        assert "Trying again" in json.loads(line)["event"]
        assert "Start sign-gateway" in json.loads(line)["event"]
        assert "gateway" in node.failing()
        assert not any(line.startswith("Connected") for line in process.stdout)
    committee.gateway_settings["server"]["port"] = port
    committee.start_gateway()
    process.wait_for(f"^Connected to gateway at http://127.0.0.1:{port}$")
    node.wait_ready()
    assert node.stop() == 0


def test_the_second_daemon_on_a_store_is_refused_and_the_first_goes_on(node) -> None:
    node.start()
    said = refused(node, code=3)
    assert "another process" in said
    assert str(node.directory / "store.db") in said
    # Its socket is the first one's still.
    assert Path(node.operator_target.removeprefix("unix:")).is_socket()
    assert httpx2.get(f"{node.url}/healthz").status_code == 200
    assert node.stop() == 0


@pytest.mark.parametrize(("key", "refuse"), [("server", refused), ("metrics", refused_here)])
def test_a_port_in_use(node, key, refuse) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        said = refuse(node, {key: {"port": port}}, code=1)
    assert said == (
        f"127.0.0.1:{port} is in use: stop the process that listens there, or set {key}.port to another port"
    )


def test_a_yaml_file_that_is_none(node) -> None:
    node.write_settings()
    node.config.write_text("server: {port: 1\nmpc: [")
    code, process = run_process(node.argv)
    assert code == 2
    (line,) = process.lines
    assert line.startswith(f"{NAME}{node.config}:2: not valid YAML")


def test_an_unknown_key_and_a_settings_file_that_is_not_there(node, tmp_path) -> None:
    said = refused(node, {"server": {"prot": 1}}, code=2)
    assert said == f"{node.config}: unknown key server.prot; did you mean server.port?"
    code, process = run_process(command("sign-service", tmp_path / "nothing.yaml"))
    assert code == 2
    assert process.lines == [f"{NAME}{tmp_path}/nothing.yaml: there is no such settings file"]


def test_an_open_door_to_the_network_is_refused(node) -> None:
    said = refused(node, {"server": {"host": "0.0.0.0"}}, code=2)  # noqa: S104 - to be refused
    assert "server.host: refusing to listen on 0.0.0.0" in said
    assert "token file" in said


def test_a_library_for_powers_that_is_not_there_is_refused(node) -> None:
    said = refused_here(node, {"node": {"powers": "abacus"}}, code=2)
    assert "node.powers: powers by abacus: there are gmpy2" in said
    node.write_settings({"node": {"powers": "gmpy2"}})
    assert choose_powers(load(node.config)) == "gmpy2"
    node.write_settings({"node": {"powers": "fastest"}})
    assert choose_powers(load(node.config)) == list(available())[-1]


def test_beyond_this_machine_with_tokens_it_starts_and_warns_without_tls(node) -> None:
    write_token_file(node.directory / "tokens", {"app": None})
    node.write_settings({"server": {"host": "0.0.0.0"}, "callers": {"token_file": "tokens"}})  # noqa: S104
    node.start()
    assert any("WITHOUT TLS" in entry["event"] for entry in node.log())
    assert node.stop() == 0


def test_missing_and_exposed_key_files(node) -> None:
    key = node.directory / "seal.key"
    key.chmod(0o644)
    assert "chmod 600" in refused_here(node, code=3)
    key.rename(key.with_name("moved"))
    assert f"cannot read {key}: No such file" in refused_here(node, code=3)
    said = refused_here(node, {"store": {"path": "nowhere.db"}}, code=3)
    assert f"there is no store at {node.directory}/nowhere.db" in said
    assert "mpc-keygen" in said


def test_a_wrong_key_and_a_wrong_password(node) -> None:
    directory = node.directory
    KeyFileWrapper.create_file(directory / "other.key")
    said = refused_here(node, {"store": {"key_file": "other.key"}}, code=3)
    assert f"the store {directory}/store.db does not open with {directory}/other.key: wrong key file" in said
    cheap = Argon2Parameters(iterations=1, lanes=1, memory_kib=64)
    with Store.open(directory / "store.db", KeyFileWrapper.from_file(directory / "seal.key")) as store:
        store.seals.add(PasswordWrapper(b"right", cheap))
        store.seals.remove(1)
    create_private(directory / "wrong", b"wrong\n")
    create_private(directory / "right", b"right\n")
    said = refused(node, {"store": {"key_file": None, "password_file": "wrong"}}, code=3)
    assert "wrong password" in said
    node.write_settings({"store": {"password_file": "right"}})
    node.start()
    assert node.stop() == 0


@pytest.mark.fault(10)
def test_what_the_settings_say_of_the_committee_must_be_so(node) -> None:
    said = refused_here(node, {"server": {"index": 1}}, code=2)
    assert "server.index: it is 1, but this node's identity has index 0" in said
    said = refused_here(node, {"server": {"index": 0}, "mpc": {"threshold": 3}}, code=2)
    assert "mpc.threshold: it is 3, the committee's is 2" in said
    strangers = make_committee(node.directory, seed="strangers", primes=False)
    strangers.close()
    said = refused_here(node, {"mpc": {"threshold": 2, "committee": "committee.yaml"}}, code=3)
    assert "is not a member" in said


def shares(*names: str, index: int = 0, seed: object = 0) -> list[ShareEntry]:
    share = deal(SMALL_SECP, seed=seed)[index]
    return [ShareEntry(name, share, None, foreign=False) for name in names]


def test_shares_are_taken_in_at_start_and_the_store_wins_later(node) -> None:
    path = node.directory / "shares.json"
    refusal = refused_here(node, {"mpc": {"key_share_file": "shares.json"}}, code=3)
    assert refusal.startswith(f"Key share not found: there is no file {path}")
    write_share_file(path, shares("main"), plaintext=True)
    node.start()
    assert node.metric("sign_service_accounts") == 1
    assert node.stop() == 0

    path.unlink()
    # Put away after it was taken in: no reason not to start.
    node.start()
    assert node.metric("sign_service_accounts") == 1
    assert node.stop() == 0

    write_share_file(path, [*shares("main", seed="another key"), *shares("second")], plaintext=True)
    node.start()
    (warning,) = [entry for entry in node.log() if "they differ" in entry["event"]]
    assert warning["level"] == "warning"
    assert warning["account"] == "main"
    assert "ANOTHER KEY" in warning["difference"]
    assert node.metric("sign_service_accounts") == 2
    assert node.stop() == 0
    with Store.open(
        node.directory / "store.db", KeyFileWrapper.from_file(node.directory / "seal.key")
    ) as store:
        assert store.accounts.account("main").public_key == shares("main")[0].share.X.to_bytes()


def test_the_environment_names_the_share_file_too(node) -> None:
    write_share_file(node.directory / "given.json", shares("main"), plaintext=True)
    node.write_settings({"mpc": {"key_share_file": "nothing.json"}})
    node.start({"SIGN_SERVICE_KEY_SHARE_FILE": str(node.directory / "given.json")})
    assert node.metric("sign_service_accounts") == 1
    assert node.stop() == 0


def damaged(path: Path) -> None:
    tree = json.loads(path.read_text())
    tree["main"]["key_share"]["x"] = "00" * 31 + "01"
    path.write_text(json.dumps(tree))


@pytest.mark.fault(8)
@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: path.write_text("{"), "is damaged: "),
        (damaged, "is damaged: account 'main'"),
        (lambda path: path.chmod(0o640), "chmod 600"),
    ],
    ids=["no JSON", "tampered", "exposed"],
)
def test_a_share_file_that_cannot_be_used(node, spoil, says) -> None:
    path = node.directory / "shares.json"
    write_share_file(path, shares("main"), plaintext=True)
    spoil(path)
    said = refused_here(node, {"mpc": {"key_share_file": "shares.json"}}, code=3)
    assert says in said
    assert str(path) in said


@pytest.mark.fault(8)
def test_another_nodes_share_file(node) -> None:
    write_share_file(node.directory / "shares.json", shares("main", index=2), plaintext=True)
    said = refused_here(node, {"mpc": {"key_share_file": "shares.json"}}, code=3)
    assert "party index 2, but this node has index 0" in said


def test_an_encrypted_share_file_opens_with_its_password(node) -> None:
    write_share_file(node.directory / "shares.json", shares("main"), password="pässword")
    said = refused_here(node, {"mpc": {"key_share_file": "shares.json"}}, code=3)
    assert "is encrypted: give its password" in said
    create_private(node.directory / "password", "pässword\n".encode())
    node.write_settings({"mpc": {"key_share_password_file": "password"}})
    node.start()
    assert node.metric("sign_service_accounts") == 1
    assert node.stop() == 0


def test_a_policy_without_rules_is_in_force_and_said(node) -> None:
    node.settings["policy"] = {}
    node.write_settings()
    node.start()
    assert any("has no rules: it signs nothing" in entry["event"] for entry in node.log())
    assert node.stop() == 0


def test_an_interrupt_ends_it_like_a_termination(node) -> None:
    node.start()
    node.running.send_signal(signal.SIGINT)
    assert node.running.wait() == 0


def test_help_version_and_check(node) -> None:
    code, process = run_process(command("sign-service", "--help"))
    assert code == 0
    for word in (
        "CONFIG",
        "SIGN_SERVICE__SERVER__PORT",
        "SIGN_SERVICE_KEY_SHARE_FILE",
        "Exit codes",
    ):
        assert word in process.output
    code, process = run_process(command("sign-service", "--version"))
    assert code == 0
    node.write_settings()
    code, process = run_process(command("sign-service", node.config, "--check"))
    assert (code, process.lines) == (0, [f"{node.config}: the settings are good"])
    node.write_settings({"tls": {"certificate": "nothing.pem", "key": "nothing.key"}})
    code, process = run_process(command("sign-service", node.config, "--check"))
    assert code == 2
    assert "nothing.key: cannot read the TLS private key" in process.output


async def test_a_ceremony_that_outlasts_the_drain_is_cut_off(node) -> None:
    node.write_settings({"server": {"drain_seconds": 0.5}})
    node.start()
    async with node.operator() as client:
        request = operator.FillPrimesRequest(count=1000)
        steps = client.stream(client.operator.FillPrimes, request)
        await anext(steps)
        node.running.send_signal(signal.SIGTERM)
        with pytest.raises(CallFailed) as caught:
            [step async for step in steps]
    assert not caught.value.from_service
    assert await asyncio.to_thread(node.running.wait) == 0
    assert "stopped" in [entry["event"] for entry in node.log()]
