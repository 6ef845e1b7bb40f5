"""A gateway and three sign-services as processes of their own on loopback, with full parameters, as a user would start them.

Nothing of them is changed; what their settings would forbid (hundreds of calls a second) is set by their environment. Accounts are
dealt into the stores before the start. Stores are in the temporary directory: what its disk takes to sync is in every figure.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.keys import aux_sets, deal_key
from keygen.node_files import NodeFiles
from kit.pb.wallet.v1 import operator_pb2, wallet_pb2
from kit.tied import tied
from participant.grpc_client import ServiceClient
from participant.store import NewAux, NewShare, Origin

ROOT: Final = Path(__file__).resolve().parents[1]
NODES: Final = 3
THRESHOLD: Final = 2
ACCOUNT: Final = "main"
PORTS: Final = 40
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 15.0
SERVICE: Final = (sys.executable, "-m", "sign_service.main")
QUIET: Final = {
    "SIGN_SERVICE__PRIMES__TARGET": "0",
    "SIGN_SERVICE__STOCK__TARGET": "0",
    "SIGN_SERVICE__STOCK__BATCH": "16",
    "SIGN_SERVICE__CALLERS__RATE": "100000/second",
}
"""Nothing is made in idle time but what is asked for."""


@dataclass(frozen=True)
class Cluster:
    """The running daemons; node i is `nodes[i]`."""

    directory: Path
    gateway: asyncio.subprocess.Process
    nodes: Sequence[asyncio.subprocess.Process]
    services: Sequence[str]

    def client(self, index: int = 0) -> ServiceClient:
        """To a node, as its callers have it."""
        return ServiceClient(self.services[index])

    def operator(self, index: int = 0) -> ServiceClient:
        """To a node, as its operator has it."""
        return ServiceClient(f"unix:{self.directory / f'node-{index}' / 'operator.sock'}")

    async def fill_stock(self, signers: Sequence[int], count: int) -> None:
        """Presignatures of node 0 with the other signers, who have to be there."""
        async with self.operator() as node:
            request = operator_pb2.FillStockRequest(account_id=ACCOUNT, signers=signers, count=count)
            async for _ in node.stream(node.operator.FillStock, request):
                pass

    async def sign(self, node: ServiceClient, signers: Sequence[int]) -> float:
        """One digest: the milliseconds from the call to its answer."""
        request = wallet_pb2.SignRequest(
            request_id=os.urandom(16), account_id=ACCOUNT, digest=os.urandom(32), signers=signers
        )
        began = time.perf_counter()
        await node.call(node.wallet.Sign, request)
        return 1000 * (time.perf_counter() - began)


@contextlib.asynccontextmanager
async def cluster(
    accounts: Sequence[str] = (ACCOUNT,),
    commands: Mapping[int, Sequence[str]] | None = None,
    settings: Mapping[str, str] | None = None,
    cores: Mapping[int, set[int]] | None = None,
) -> AsyncIterator[Cluster]:
    """Start it with these accounts. `commands` are those of nodes that are not to be SERVICE; `settings` are variables of all.

    `cores`: of nodes that may not run on all of them.
    """
    directory = Path(tempfile.mkdtemp(prefix="wallet-mpc-bench-"))
    variables = {**os.environ, **QUIET, **(settings or {}), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    base = _free_block()
    setting = directory / "setting"
    init = [sys.executable, "-m", "keygen.main", "init", str(setting), "--base-port", str(base)]
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        made = await asyncio.create_subprocess_exec(*init, env=variables, stdout=asyncio.subprocess.DEVNULL)
        if await made.wait():
            raise RuntimeError("mpc-keygen init failed")
        await asyncio.to_thread(_deal, setting, accounts)
        log = stack.enter_context((directory / "log").open("wb"))

        async def start(
            argv: Sequence[str], *lines: str, on: set[int] | None = None
        ) -> asyncio.subprocess.Process:
            child = await asyncio.create_subprocess_exec(
                *tied(list(argv)),
                env=variables,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
            if on is not None:
                # Before it has threads, which would stay where they are.
                os.sched_setaffinity(child.pid, on)
            stack.push_async_callback(_stop, child)
            await _says(child, lines)
            return child

        gateway_argv = (sys.executable, "-m", "gateway.main", str(setting / "sign-gateway.yaml"))
        gateway = await start(gateway_argv, "gRPC server on")
        nodes = []
        for index in range(NODES):
            argv = (commands or {}).get(index, SERVICE)
            file = setting / f"node-{index}" / "sign-service.yaml"
            lines = "gRPC server on", "Connected to gateway"
            nodes.append(await start((*argv, str(file)), *lines, on=(cores or {}).get(index)))
        services = [f"http://127.0.0.1:{base + 10 + 10 * index}" for index in range(NODES)]
        yield Cluster(setting, gateway, nodes, services)


def _deal(setting: Path, accounts: Sequence[str]) -> None:
    aux = aux_sets(NODES)
    shares = {account: deal_key(NODES, THRESHOLD) for account in accounts}
    for index in range(NODES):
        with NodeFiles.of(setting / f"node-{index}").open() as store, store.transaction():
            (committee,) = store.accounts.committees()
            store.accounts.put_aux(committee.committee_id, NewAux.of(aux[index + 1]))
            for account, dealt in shares.items():
                share = NewShare.of(account, dealt[index + 1])
                store.accounts.add(share, committee.committee_id, Origin.KEYGEN)


def _free_block() -> int:
    """The first of PORTS neighbouring ports that nobody listens on."""
    for _ in range(200):
        base = 20_000 + PORTS * secrets.randbelow(300)
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in range(base, base + PORTS):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return base
    raise RuntimeError("no block of free ports was found")


async def _says(child: asyncio.subprocess.Process, lines: Sequence[str]) -> None:
    """Wait until it has said all of this; whatever it says later is let go."""
    out = child.stdout
    if out is None:
        raise RuntimeError("its output is not a pipe")
    missing = set(lines)
    async with asyncio.timeout(START_SECONDS):
        while missing:
            line = (await out.readline()).decode()
            if not line:
                raise RuntimeError(f"a daemon ended before it said {missing}")
            missing -= {text for text in missing if text in line}


async def _stop(child: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        child.terminate()
    try:
        await asyncio.wait_for(child.communicate(), STOP_SECONDS)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        await child.communicate()
