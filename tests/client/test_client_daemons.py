"""Clients among real daemons: with a participant of their own, as callers, and wallet-mpc's way."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import ecdsa
import pytest
import yaml
from committee_processes import CommitteeProcesses, create_account, running_committee
from eth_account import Account
from processes import clean_environment
from testing_client import DAEMON

from client.errors import RequestFailed
from client.local import LocalParticipant
from wallet_mpc import MpcConfig, SignatureResult, new_mpc_client

DIGEST = bytes.fromhex("5f16f4c7f149ac4f9510d9cf8cf384038ad348b3bcdc01915f95de12df9d1b02")
OWN = 1
CLIENT = [sys.executable, str(Path(DAEMON[1]).with_name("testing_client.py"))]
WAIT = 120


def verified(result: SignatureResult) -> SignatureResult:
    key = ecdsa.VerifyingKey.from_string(result.public_key, curve=ecdsa.SECP256k1)
    assert key.verify_digest(result.signature[:64], result.digest)
    assert Account._recover_hash(result.digest, signature=result.signature) == result.address
    return result


@pytest.fixture(scope="module")
def committee(tmp_path_factory: pytest.TempPathFactory):
    """Account "main" of three; index 1 is not running: it is the client's."""
    with running_committee(tmp_path_factory.mktemp("committee")) as committee:

        async def create() -> None:
            async with committee.nodes[0].client() as node:
                await create_account(node, "main")

        asyncio.run(create())
        assert committee.nodes[OWN].stop() == 0
        yield committee


def own_config(committee: CommitteeProcesses, path: Path, **more: object) -> Path:
    """client.yaml of the client that holds the share of index 1."""
    content = {
        "gateway": {"url": former_url(committee)},
        "local_participant": {"port": 0, "index": OWN, "settings": str(committee.nodes[OWN].config)},
        "mpc": {"threshold": 2, "total_participants": 3},
        **more,
    }
    file = path / "client.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


async def own_client(committee: CommitteeProcesses, path: Path, **more: object):
    return await new_mpc_client(
        MpcConfig.load(own_config(committee, path, **more)), participant_command=DAEMON
    )


def descendants(pid: int) -> list[int]:
    """Children of a process, and theirs."""
    found = []
    # Threads and processes may end while they are counted.
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                for child in map(int, (task / "children").read_text().split()):
                    found += [child, *descendants(child)]
    return found


def all_end(pids: list[int]) -> bool:
    for pid in pids:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        ended = poll.poll(WAIT * 1000)
        os.close(handle)
        if not ended:
            return False
    return True


async def test_with_a_share_of_its_own(committee: CommitteeProcesses, tmp_path: Path):
    signer = await own_client(committee, tmp_path)
    async with signer:
        child = signer._local._child.pid
        (account,) = await signer.accounts()
        assert (account.account_id, account.index, account.threshold) == ("main", OWN, 2)
        result = verified(await signer.sign_tx(DIGEST, "main"))
        assert OWN in result.signers
        assert result.as_dict()["public_key"] == signer.get_public_key("main")
        for other in (0, 2):
            chosen = verified(await signer.sign_tx(DIGEST, "main", signers=[OWN, other], path="m/0/7"))
            assert chosen.signers == tuple(sorted((OWN, other)))
            assert chosen.public_key == (await signer.public_key("main", "m/0/7")).public_key
        # The same request gives the same signature.
        again = [await signer.sign_tx(DIGEST, "main", request_id=b"\7" * 16) for _ in range(2)]
        assert again[0] == again[1]
        with pytest.raises(RequestFailed) as caught:
            await signer.sign_tx(bytes(32), "main", request_id=b"\7" * 16)
        assert caught.value.reason == "REQUEST_CONFLICT"
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    # Its store is free again.
    async with await own_client(committee, tmp_path) as signer:
        verified(await signer.sign_tx(DIGEST, "main"))


async def test_every_pair_for_a_caller_without_a_share(committee: CommitteeProcesses):
    committee.nodes[OWN].start()
    committee.wait_ready()
    try:
        for first, second in ((0, 1), (2, 0), (1, 2)):
            config = MpcConfig.model_validate({"service": {"targets": [committee.nodes[first].target]}})
            async with await new_mpc_client(config) as signer:
                result = verified(await signer.sign("main", message="hello", signers=[second, first]))
                assert result.signers == tuple(sorted((first, second)))
    finally:
        committee.nodes[OWN].stop()


async def test_wallet_mpcs_way_asks_our_own_participant_and_one_behind_the_gateway(
    committee: CommitteeProcesses, tmp_path: Path
):
    # The gateway's proxy asks the sign-service that its settings name.
    committee.kill_gateway()
    committee.gateway_settings["sign_service"] = {"url": f"http://{committee.nodes[0].target}"}
    gateway = committee.start_gateway()
    committee.wait_ready()
    remote = {"sign_gateway": {"participant_host": "127.0.0.1", "participant_port": gateway.grpc_port}}
    async with await own_client(committee, tmp_path, remote_services=remote) as signer:
        result = verified(await signer.sign_tx(DIGEST, "main"))
        # That wire does not tell who signed.
        assert result.signers == ()
        assert result.as_dict()["public_key"] == signer.get_public_key("main")
        # What it cannot carry goes the other way.
        assert OWN in verified(await signer.sign_tx(DIGEST, "main", path="m/1")).signers


async def test_nobody_else_is_there(committee: CommitteeProcesses, tmp_path: Path):
    for index in (0, 2):
        committee.nodes[index].stop()
    try:
        async with await own_client(committee, tmp_path) as signer:
            with pytest.raises(RequestFailed, match="Threshold not met") as caught:
                await signer.sign_tx(DIGEST, "main")
            assert caught.value.reason == "THRESHOLD_NOT_MET"
            assert caught.value.metadata["missing"] == "0,2"
    finally:
        for index in (0, 2):
            committee.nodes[index].start()
        committee.wait_ready()


async def test_the_gateway_is_not_up_and_then_it_is(
    committee: CommitteeProcesses, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    committee.kill_gateway()
    try:
        async with await own_client(committee, tmp_path) as signer:
            with pytest.raises(
                RequestFailed, match=r"Connection refused.*start sign-gateway first"
            ) as caught:
                await signer.sign_tx(DIGEST, "main")
            assert caught.value.reason == "GATEWAY_UNREACHABLE"
            committee.start_gateway()
            committee.wait_ready()
            verified(await signer.sign_tx(DIGEST, "main"))
    finally:
        if committee.gateway is None:
            committee.start_gateway()
    assert "Connection refused" in capfd.readouterr().err


def former_url(committee: CommitteeProcesses) -> str:
    return f"http://127.0.0.1:{committee.gateway_settings['server']['port']}"


async def test_what_keeps_our_own_participant_from_starting(committee: CommitteeProcesses, tmp_path: Path):
    async with await own_client(committee, tmp_path) as signer:
        with pytest.raises(RequestFailed, match=r"(?s)ended with exit code \d.*in use"):
            await own_client(committee, tmp_path)
        verified(await signer.sign_tx(DIGEST, "main"))
    settings = yaml.safe_load(own_config(committee, tmp_path).read_text())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings["local_participant"]["port"] = taken.getsockname()[1]
        with pytest.raises(RequestFailed, match="is in use: stop the process that listens there"):
            await new_mpc_client(MpcConfig.model_validate(settings), participant_command=DAEMON)
    settings["local_participant"] |= {"port": 0, "index": 0}
    with pytest.raises(RequestFailed, match="ended with exit code"):
        await new_mpc_client(MpcConfig.model_validate(settings), participant_command=DAEMON)
    settings["local_participant"] |= {"settings": str(tmp_path / "nothing.yaml")}
    with pytest.raises(RequestFailed, match="Key share not found") as caught:
        await new_mpc_client(MpcConfig.model_validate(settings), participant_command=DAEMON)
    assert caught.value.reason == "KEY_SHARE_NOT_FOUND"


async def test_one_that_does_not_start_in_time_is_killed(committee: CommitteeProcesses, tmp_path: Path):
    loaded = MpcConfig.load(own_config(committee, tmp_path))
    local = loaded.local_participant.model_copy(update={"start_seconds": 0.3})
    config = loaded.model_copy(update={"local_participant": local})
    silent = [sys.executable, "-c", "import signal; signal.sigwait([signal.SIGUSR1])"]
    before = descendants(os.getpid())
    with pytest.raises(RequestFailed, match="did not start in 0 s"):
        await LocalParticipant(config, silent).start()
    assert descendants(os.getpid()) == before


async def test_a_session_with_a_share_of_its_own(committee: CommitteeProcesses, tmp_path: Path):
    file = own_config(committee, tmp_path)
    done = await asyncio.to_thread(
        subprocess.run,
        [*CLIENT, "--config", str(file), "--json"],
        input=f"sign main {DIGEST.hex()}\naccounts\nstock\n".encode(),
        capture_output=True,
        env=clean_environment(),
        timeout=WAIT,
        check=False,
    )
    assert done.returncode == 0, done
    signature, accounts, stock = map(json.loads, done.stdout.splitlines())
    assert OWN in signature["signers"]
    assert accounts["accounts"][0]["index"] == OWN
    assert list(stock) == ["stock"]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_our_own_participant_ends_with_the_client(
    committee: CommitteeProcesses, tmp_path: Path, number: signal.Signals, code: int
):
    file = own_config(committee, tmp_path)
    argv = [*CLIENT, "--config", str(file)]
    with subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=clean_environment(),
    ) as session:
        assert session.stderr is not None
        said = b""
        # Its input stays open, so that it does not end by itself.
        while b"`quit` ends" not in said:
            line = session.stderr.readline()
            assert line, said
            said += line
        family = descendants(session.pid)
        assert family
        session.send_signal(number)
        assert session.wait(WAIT) == code
        assert all_end(family)
