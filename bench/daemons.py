"""What callers and operators of the daemons see: times of calls, gaps of the event loop, memory."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from bench import presigning
from bench.cluster import Cluster, cluster
from bench.measure import Figures, Reference, Topic, percentile
from bench.parties import Party, committee
from kit.cores import usable_cores
from participant.grpc_client import ServiceClient

WARM_UP: Final = 10
CALLS: Final = 200
EMPTY_ROUNDS: Final = 4
EMPTY_CALLS: Final = 8
"""Without stock, from pools that are filled again before each round."""
EMPTY_SIGNERS: Final = (0, 2)
GAP_SECONDS: Final = 60
PRESENCE_SECONDS: Final = 2
"""Until all nodes have heard each other."""
ACCOUNTS: Final = 1000
IDLE_SECONDS: Final = 4
"""Until a node that nobody asks begins with what is for later."""
SETTLING_SECONDS: Final = 600
PROBED: Final = (sys.executable, "-m", "bench.probed_service")


def _run(work: Coroutine[Any, Any, Figures]) -> Figures:
    from kit.tls import refuse_old_tls_in_grpc

    refuse_old_tls_in_grpc()
    return asyncio.run(work)


def _grpc(reference: Reference) -> Figures:
    return _run(_times_of_calls(reference))


async def _times_of_calls(reference: Reference) -> Figures:
    """One caller, one call after the other, with two signers: without stock, from full pools, and then with it."""
    async with cluster(cores=_halves()) as running, running.client() as node:
        await _warm(running, node)
        parties = committee(len(EMPTY_SIGNERS))
        _busy(parties)
        reference.sample()
        signers = [running.nodes[index].pid for index in EMPTY_SIGNERS]
        empty, busy, spent = [], [], 0.0
        for _ in range(EMPTY_ROUNDS):
            # A machine's clock is not the same for minutes: this is what the calls are held against.
            busy += _busy(parties)
            spent -= sum(map(_processor_seconds, signers))
            empty += [await running.sign(node, EMPTY_SIGNERS) for _ in range(EMPTY_CALLS)]
            spent += sum(map(_processor_seconds, signers))
            reference.sample()
            await _settled(running)
        await running.fill_stock((0, 1), WARM_UP + CALLS)
        await _settled(running)
        times = [await running.sign(node, (0, 1)) for _ in range(WARM_UP + CALLS)][WARM_UP:]
        reference.sample()
    return {
        "sign_grpc_stock_p50": median(times),
        "sign_grpc_stock_p99": percentile(times, 0.99),
        "sign_grpc_empty_p50": median(empty),
        "sign_grpc_empty_busy": median(busy),
        "sign_grpc_empty_cpu": 1000 * spent / len(empty) / usable_cores(),
    }


def _busy(parties: Sequence[Party]) -> list[float]:
    """What the two signers' presigning computes, in this process."""
    presigning.prepare(parties, 1)
    return presigning.busy(parties, 1)


def _gaps(reference: Reference) -> Figures:
    return _run(_gaps_under_load(reference))


async def _gaps_under_load(reference: Reference) -> Figures:
    """Node 0 presigns with node 1, batch after batch, while a task in its event loop asks for its turn all the time."""
    async with cluster(commands={0: PROBED}) as running, running.client() as node:
        await _warm(running, node)
        reference.sample()
        load = asyncio.create_task(running.fill_stock((0, 1), 1024))
        running.nodes[0].send_signal(signal.SIGUSR1)
        await asyncio.sleep(GAP_SECONDS)
        running.nodes[0].send_signal(signal.SIGUSR2)
        line = await asyncio.wait_for(_line(running), 30)
        load.cancel()
        await asyncio.gather(load, return_exceptions=True)
        reference.sample()
    gap, _turns = json.loads(line)
    return {"loop_gap_p999": gap}


async def _line(running: Cluster) -> bytes:
    out = running.nodes[0].stdout
    if out is None:
        raise RuntimeError("its output is not a pipe")
    while not (line := await out.readline()).startswith(b"["):
        if not line:
            raise RuntimeError("the daemon ended")
    return line


def _memory(reference: Reference) -> Figures:
    return _run(_memory_of_accounts(reference))


async def _memory_of_accounts(_reference: Reference) -> Figures:
    """All shares opened, and presigned with both peers, so that whatever is kept for a peer's key is there."""
    accounts = ["main", *(f"account {number}" for number in range(1, ACCOUNTS))]
    async with cluster(accounts) as running, running.client() as node:
        await _warm(running, node)
        for other in (1, 2):
            await running.fill_stock((0, other), 16)
        return {"rss_1000_accounts": _resident(running.nodes[0].pid)}


def _halves() -> dict[int, set[int]]:
    """The two signers have one machine: each gets half of its cores."""
    cores = sorted(os.sched_getaffinity(0))
    half = (len(cores) + 1) // 2
    others = set(cores[half:] or cores)
    return {0: set(cores[:half]), 1: others, 2: others}


async def _warm(running: Cluster, node: ServiceClient) -> None:
    """Let node 0 sign with both others, and everybody make what that is a reason to make."""
    await asyncio.sleep(PRESENCE_SECONDS)
    for other in (1, 2):
        await running.sign(node, (0, other))
    await _settled(running)


async def _settled(running: Cluster) -> None:
    """Wait until the nodes have made what they make in idle time."""
    await asyncio.sleep(IDLE_SECONDS)
    async with asyncio.timeout(SETTLING_SECONDS):
        for daemon in running.nodes:
            before = -1.0
            while (spent := _processor_seconds(daemon.pid)) - before > 0.05:
                before = spent
                await asyncio.sleep(1)


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def _resident(pid: int) -> float:
    """MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError("the system does not tell a process's memory")


TOPICS: Final = (
    Topic(
        (
            "sign_grpc_stock_p50",
            "sign_grpc_stock_p99",
            "sign_grpc_empty_p50",
            "sign_grpc_empty_busy",
            "sign_grpc_empty_cpu",
        ),
        "ms",
        _grpc,
    ),
    Topic(("loop_gap_p999",), "ms", _gaps),
    Topic(("rss_1000_accounts",), "MB", _memory),
)
