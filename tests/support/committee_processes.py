"""A gateway and the sign-services of a committee as real processes on loopback ports of their own.

    with running_committee(tmp_path) as committee:
        async with committee.nodes[0].client() as node:
            account = await create_account(node, "main")
            answer = await sign_digest(node, "main", digest)
        committee.nodes[1].kill()
        committee.nodes[1].start()

Their files are what `mpc-keygen init` makes. Daemons run with the test-size scheme of `testing_daemon`, unless a committee
is asked for with `full_size`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx2
import yaml
from gateway_testing import GRPC, LISTENING, GatewayProcess
from processes import Process, clean_environment, command, start_process
from tss_testing import SMALL_SECP, SeededRng, safe_primes

from kit.pb.wallet.v1 import common_pb2 as common
from kit.pb.wallet.v1 import wallet_pb2 as wallet
from participant.committee import Committee, write_committee
from participant.grpc_client import Credentials, ServiceClient
from participant.identity import NodeKeys
from participant.policy import permissive_development_policy
from participant.sealing import KeyFileWrapper
from participant.store import Store
from tss.params import CGGMP24_SECP256K1

PATIENCE = 60.0
POLL = 0.05
DAEMON = Path(__file__).with_name("testing_daemon.py")
CHEATING_DAEMON = Path(__file__).with_name("cheating_daemon.py")
UNHURRIED = {
    "callers": {"rate": "10000/second"},
    "node": {
        "gather_seconds": 120,
        "sign_seconds": 300,
        "phase_seconds": 120,
        "deadlines": dict.fromkeys(
            ("keygen.r0", "aux.r0", "sign.r0", "sign", "full-sign.r0", "presign.r0"), 120
        ),
    },
}
"""Settings with which no clock and no limit decides: for tests that end sessions themselves, or lose a process for a while."""

METRICS = r"Listening on http://([^\s]+):(\d+)"
OPERATOR = r"Operator on (unix:\S+)"


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `over`, level by level."""
    result = dict(base)
    for key, value in over.items():
        known = result.get(key)
        result[key] = (
            merged(known, value) if isinstance(known, dict) and isinstance(value, Mapping) else value
        )
    return result


def wait_until(check: Any, what: str, timeout: float = PATIENCE) -> None:
    """Ask again and again until `check` returns something true; every turn is a question to a process."""
    deadline = time.monotonic() + timeout
    pause = threading.Event()
    while not check():
        if time.monotonic() > deadline:
            raise AssertionError(f"not in {timeout} s: {what}")
        pause.wait(POLL)


@dataclass
class NodeProcess:
    """One sign-service. `start` it, `kill` it, `start` it again: its directory stays."""

    directory: Path
    index: int
    identity: bytes
    settings: dict[str, Any]
    full_size: bool = False
    cheats: bool = False
    """Whether it is a cheating_daemon, honest until its file `cheat` says otherwise."""
    env: dict[str, str] = field(default_factory=dict)
    process: Process | None = None
    former: list[Process] = field(default_factory=list)

    @property
    def config(self) -> Path:
        return self.directory / "sign-service.yaml"

    @property
    def argv(self) -> list[str]:
        if self.cheats:
            level = ["full"] if self.full_size else []
            return [sys.executable, str(CHEATING_DAEMON), str(self.config), *level]
        if self.full_size:
            return command("sign-service", self.config)
        return [sys.executable, str(DAEMON), str(self.config)]

    def write_settings(self, over: Mapping[str, Any] | None = None) -> Path:
        """Write sign-service.yaml; what `over` says holds from now on."""
        self.settings = merged(self.settings, over or {})
        self.config.write_text(yaml.safe_dump(self.settings, sort_keys=False))
        return self.config

    def launch(self, env: Mapping[str, str] | None = None) -> Self:
        """Start it without waiting. `env` is for this run only."""
        assert self.process is None, "it runs"
        self.process = Process(self.argv, env=clean_environment({**self.env, **(env or {})}))
        return self

    def start(self, env: Mapping[str, str] | None = None) -> Self:
        """Start it and wait until it listens."""
        self.launch(env)
        self.running.wait_for(METRICS)
        return self

    @property
    def running(self) -> Process:
        assert self.process is not None, "it does not run"
        return self.process

    def kill(self) -> None:
        """kill -9."""
        self.running.kill()
        self._ended()

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        code = self.running.terminate()
        self._ended()
        return code

    def wait_killed(self) -> None:
        """Wait until it killed itself (see testing_daemon's Trap)."""
        assert self.running.wait(PATIENCE) == -signal.SIGKILL, self.running.output
        self._ended()

    def _ended(self) -> None:
        if self.process is not None:
            self.former.append(self.process)
            self.process = None

    def restart(self, env: Mapping[str, str] | None = None) -> Self:
        """kill -9 and start."""
        self.kill()
        return self.start(env)

    def log(self) -> list[dict[str, Any]]:
        """The log of this run."""
        return [json.loads(line) for line in list(self.running.lines) if line.startswith("{")]

    @property
    def output(self) -> str:
        """Everything that it wrote in all its runs."""
        runs = [*self.former, *([self.process] if self.process is not None else [])]
        return "\n".join(run.output for run in runs)

    @property
    def port(self) -> int:
        return int(self.running.wait_for(GRPC)[2])

    @property
    def target(self) -> str:
        """host:port of the callers' listener."""
        return f"127.0.0.1:{self.port}"

    @property
    def operator_target(self) -> str:
        """unix:PATH of the operator's socket."""
        return self.running.wait_for(OPERATOR)[1]

    @property
    def url(self) -> str:
        """Of health and metrics."""
        match = self.running.wait_for(METRICS)
        return f"http://{match[1]}:{match[2]}"

    def client(self, credentials: Credentials | None = None) -> ServiceClient:
        """A caller's client; use it in a running loop and close it."""
        return ServiceClient(self.target, credentials)

    def operator(self) -> ServiceClient:
        """The operator's client."""
        return ServiceClient(self.operator_target)

    def failing(self) -> dict[str, str]:
        """What /readyz finds wrong; empty = ready."""
        found: dict[str, str] = httpx2.get(f"{self.url}/readyz", timeout=PATIENCE).json()["failing"]
        return found

    def metric(self, name: str) -> float:
        """The value of a sample, such as 'sign_service_peer_online{committee="...",index="1"}'; 0 if there is none."""
        for line in httpx2.get(f"{self.url}/metrics", timeout=PATIENCE).text.splitlines():
            if line.startswith(name + " "):
                return float(line.rpartition(" ")[2])
        return 0.0

    def online(self) -> set[int]:
        """Indices of the peers that this node hears."""
        found = set()
        for line in httpx2.get(f"{self.url}/metrics", timeout=PATIENCE).text.splitlines():
            if line.startswith("sign_service_peer_online{") and line.endswith(" 1.0"):
                found.add(int(line.partition('index="')[2].partition('"')[0]))
        return found

    def wait_ready(self, peers: Sequence[int] = ()) -> Self:
        """Until it is ready and hears the peers of these indices."""
        wait_until(lambda: not self.failing(), f"index {self.index} ready")
        wait_until(lambda: set(peers) <= self.online(), f"index {self.index} hears {list(peers)}")
        return self


@dataclass
class CommitteeProcesses:
    """A gateway and nodes, by index."""

    directory: Path
    committee: Committee
    nodes: list[NodeProcess]
    gateway_settings: dict[str, Any]
    sockets: Path
    gateway: GatewayProcess | None = None
    former_gateways: list[Process] = field(default_factory=list)

    @property
    def committee_id(self) -> bytes:
        return self.committee.committee_id

    def start_gateway(self) -> GatewayProcess:
        """Start it, at the same ports as before."""
        path = self.directory / "sign-gateway.yaml"
        path.write_text(yaml.safe_dump(self.gateway_settings, sort_keys=False))
        self.gateway = GatewayProcess(start_process(command("sign-gateway", path), LISTENING))
        self.gateway_settings["server"]["port"] = self.gateway.port
        self.gateway_settings["grpc"]["port"] = self.gateway.grpc_port
        return self.gateway

    def kill_gateway(self) -> None:
        """kill -9."""
        assert self.gateway is not None
        self.gateway.process.kill()
        self.former_gateways.append(self.gateway.process)
        self.gateway = None

    def start(self, indices: Sequence[int] | None = None) -> Self:
        """Start the nodes of these indices (all) and wait until each hears the others."""
        chosen = [node for node in self.nodes if indices is None or node.index in indices]
        for node in chosen:
            node.launch()
        for node in chosen:
            node.running.wait_for(METRICS)
        return self.wait_ready()

    def wait_ready(self) -> Self:
        """Until every node that runs is ready and hears all the others that run."""
        there = [node for node in self.nodes if node.process is not None]
        for node in there:
            node.wait_ready([other.index for other in there if other is not node])
        return self

    def close(self) -> None:
        """Kill everything. What the daemons wrote is left beside their stores."""
        for node in self.nodes:
            if node.process is not None:
                node.kill()
            if node.directory.is_dir():
                (node.directory / "output.log").write_text(node.output)
        if self.gateway is not None:
            self.kill_gateway()
        said = "\n".join(process.output for process in self.former_gateways)
        (self.directory / "gateway.log").write_text(said)
        shutil.rmtree(self.sockets, ignore_errors=True)


def make_committee(
    directory: Path,
    n: int = 3,
    t: int = 2,
    *,
    settings: Mapping[str, Any] | None = None,
    gateway_settings: Mapping[str, Any] | None = None,
    full_size: bool = False,
    seed: object = 0,
    primes: bool = True,
    pool: Sequence[int] | None = None,
    cheaters: Sequence[int] = (),
) -> CommitteeProcesses:
    """The files of a gateway and n nodes; nothing runs yet.

    `settings` go into every sign-service.yaml. `primes`: give test-size nodes the safe primes of an aux run beforehand;
    or those of `pool` are dealt out among the nodes. The nodes at the indices `cheaters` are cheating_daemons.
    """
    rng = SeededRng(("committee", seed, n, t))
    keys = sorted((NodeKeys.generate(rng) for _ in range(n)), key=lambda one: one.identity)
    committee = Committee.of([one.card() for one in keys], t)
    write_committee(directory / "committee.yaml", committee)
    # A path to a socket may have 107 bytes, which a test's own directory may have used up.
    sockets = Path(tempfile.mkdtemp(prefix="wmpc-"))
    level = (CGGMP24_SECP256K1 if full_size else SMALL_SECP).level
    if pool is None:
        pool = safe_primes(level, 4 * n) if primes and not full_size else []
    each = len(pool) // n
    nodes = []
    for index, one in enumerate(keys):
        home = directory / f"node-{index}"
        home.mkdir(mode=0o700)
        wrapper = KeyFileWrapper.create_file(home / "seal.key")
        with Store.create(home / "store.db", wrapper) as store:
            store.put_identity(one)
            for prime in pool[each * index : each * (index + 1)]:
                store.primes.add(prime)
        tree = {
            "gateway": {"url": "http://127.0.0.1:1"},
            "server": {"port": 0, "index": index},
            "operator": {"socket": str(sockets / str(index))},
            "metrics": {"port": 0},
            "mpc": {"committee": "../committee.yaml", "threshold": t, "total_participants": n},
            # Tests say themselves when there is to be a stock; searches and pools would take the tests' processors.
            "stock": {"target": 0, "pool": 0},
            "primes": {"target": 0},
            "policy": permissive_development_policy().model_dump(mode="json"),
        }
        own = merged(tree, settings or {})
        node = NodeProcess(home, index, one.identity, own, full_size, index in cheaters)
        node.write_settings()
        nodes.append(node)
    gateway = merged({"server": {"port": 0}, "grpc": {"port": 0}}, gateway_settings or {})
    return CommitteeProcesses(directory, committee, nodes, gateway, sockets)


@contextlib.contextmanager
def running_committee(
    directory: Path, n: int = 3, t: int = 2, *, start: Sequence[int] | None = None, **options: Any
) -> Iterator[CommitteeProcesses]:
    """`make_committee`, started: the gateway and the nodes of `start` (all of them), ready and hearing each other."""
    with running(make_committee(directory, n, t, **options), start) as committee:
        yield committee


@contextlib.contextmanager
def running(
    committee: CommitteeProcesses, start: Sequence[int] | None = None
) -> Iterator[CommitteeProcesses]:
    """Start what `make_committee` made; kill it at the end."""
    try:
        gateway = committee.start_gateway()
        for node in committee.nodes:
            node.write_settings({"gateway": {"url": gateway.url}})
        committee.start(start)
        yield committee
    finally:
        committee.close()


async def create_account(
    client: ServiceClient, account_id: str = "main", *, operator: bool = False, **fields: Any
) -> common.Account:
    """Generate a key by Wallet (or Operator) CreateAccount; the account."""
    request = wallet.CreateAccountRequest(account_id=account_id, **fields)
    method = client.operator.CreateAccount if operator else client.wallet.CreateAccount
    last = common.Progress()
    async for progress in client.stream(method, request, timeout=PATIENCE * 3):
        last = progress
    assert last.WhichOneof("result") == "account", last
    return last.account


async def sign_digest(
    client: ServiceClient,
    account_id: str,
    digest: bytes,
    *,
    request_id: bytes | None = None,
    **fields: Any,
) -> wallet.SignResponse:
    """Wallet.Sign of a raw digest."""
    request = wallet.SignRequest(
        request_id=request_id or os.urandom(16), account_id=account_id, digest=digest, **fields
    )
    return await client.call(client.wallet.Sign, request, timeout=PATIENCE * 2)
