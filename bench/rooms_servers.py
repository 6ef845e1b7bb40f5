"""What the rooms' figures are taken of, as processes of their own on loopback: the gateway with each store, and yardsticks."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from bench import bare_rooms
from kit.tied import tied

ROOT: Final = Path(__file__).resolve().parents[1]
MANY: Final = 20_000
STOP_SECONDS: Final = 15.0
LISTENING: Final = "Listening on http://127.0.0.1:"
TICKS: Final = os.sysconf("SC_CLK_TCK")

SETTINGS: Final[Mapping[str, Mapping[str, Any]]] = {
    "server": {"port": 0, "max_connections": MANY, "max_connections_per_address": 0},
    "grpc": {"port": 0},
    "clients": {
        "messages_per_second": 0, "bytes_per_second": 0, "rooms_per_second": 0, "max_subscriptions": 0,
    },
    # A room's ring is soon full, so that memory does not grow with the length of a run.
    "rooms": {"max_subscribers": MANY, "max_rooms": MANY, "max_messages": 64},
}  # fmt: skip
"""Everything that a real gateway does, with bounds that one client of thousands of subscriptions does not reach."""

GATEWAYS: Final = ("memory", "redis", "nats")
KINDS: Final = (*GATEWAYS, *bare_rooms.KINDS)


@dataclass(frozen=True)
class Server:
    """A running server."""

    kind: str
    port: int
    process: subprocess.Popen[bytes]

    @property
    def cpu_seconds(self) -> float:
        """Processor time of all its threads until now."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    @property
    def resident_bytes(self) -> int:
        """Its memory."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * resource.getpagesize()

    @property
    def descriptors(self) -> int:
        """Its open files."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))


@contextlib.contextmanager
def child(argv: Sequence[str], log: Path, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with this one; `options` are Popen's."""
    with log.open("ab") as errors:
        process = subprocess.Popen(tied(list(argv)), cwd=ROOT, stderr=errors, **options)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextlib.contextmanager
def running(kind: str) -> Iterator[Server]:
    """The server of a kind of KINDS, which listens."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    directory = Path(tempfile.mkdtemp(prefix="wmpc-load-"))
    log = directory / "log"
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        argv = [sys.executable, "-m", "bench.bare_rooms", kind]
        if kind in GATEWAYS:
            tree = {**SETTINGS, **_store(kind, directory, stack)}
            (directory / "gateway.yaml").write_text(yaml.safe_dump(tree))
            argv = [sys.executable, "-m", "gateway.main", str(directory / "gateway.yaml")]
        process = stack.enter_context(child(argv, log, stdout=subprocess.PIPE))
        out = process.stdout
        if out is None:
            raise RuntimeError("its output is not a pipe")
        for line in out:
            if LISTENING in line.decode():
                yield Server(kind, int(line.decode().rpartition(":")[2]), process)
                return
        raise RuntimeError(f"the server ended: {log.read_text()}")


def _store(kind: str, directory: Path, stack: contextlib.ExitStack) -> Mapping[str, Mapping[str, Any]]:
    """Starts what a gateway's store needs; the settings that name it."""
    if kind == "memory":
        return {}
    log = directory / "log"
    port = str(free_port())
    if kind == "redis":
        options = ["--bind", "127.0.0.1", "--port", port, "--save", "", "--dir", str(directory)]
        stack.enter_context(child(["redis-server", *options], log, stdout=subprocess.DEVNULL))
        _wait_for(port)
        return {"redis": {"url": f"redis://127.0.0.1:{port}"}}
    options = ["-a", "127.0.0.1", "-p", port, "-js", "-sd", str(directory / "jetstream")]
    stack.enter_context(child(["nats-server", *options], log, stdout=subprocess.DEVNULL))
    _wait_for(port)
    return {"nats": {"servers": [f"nats://127.0.0.1:{port}"]}}


def _wait_for(port: str) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", int(port)), 1):
            return
        time.sleep(0.05)
    raise RuntimeError("the store's server does not listen")
