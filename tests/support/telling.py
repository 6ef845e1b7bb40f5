"""Committees whose daemons tell a test their secrets and can be stopped in the middle of a session (telling_daemon)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socketserver
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from committee_processes import UNHURRIED, CommitteeProcesses, NodeProcess, make_committee, merged, wait_until
from secret_search import Secret
from telling_daemon import ARMED, STOP_AT, TELL

DAEMON = Path(__file__).with_name("telling_daemon.py")
STOPS = {"msg.3": signal.SIGUSR1, "done": signal.SIGUSR2}


class Listener(socketserver.ThreadingTCPServer):
    """Hears what daemons tell."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Hearing)
        self.told: dict[str, set[int]] = defaultdict(set)
        self.lock = threading.Lock()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    async def heard(self, name: str, count: int) -> None:
        """Until daemons have told of so many."""
        await asyncio.to_thread(wait_until, lambda: len(self.told[name]) >= count, f"{count} of {name}")

    def secrets(self, *but: str) -> list[Secret]:
        with self.lock:
            return [
                Secret(name, value)
                for name, values in self.told.items()
                for value in sorted(values)
                if name not in but
            ]


class Hearing(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            name, _, number = line.decode().rstrip("\n").rpartition(" ")
            with self.server.lock:
                self.server.told[name].add(int(number, 16))


@dataclass
class TellingNode(NodeProcess):
    @property
    def argv(self) -> list[str]:
        return [sys.executable, str(DAEMON), str(self.config)]

    @property
    def temporary(self) -> Path:
        return Path(self.env["TMPDIR"])

    def written(self) -> Iterator[tuple[str, bytes]]:
        """Every file that is this node's, what it has written to its log, and what else it may be writing to."""
        for directory in (self.directory, self.temporary):
            for path in directory.rglob("*"):
                if path.is_file() and path.name != "seal.key":
                    yield path.name, path.read_bytes()
        yield "output", self.output.encode()
        if self.process is not None:
            yield from self._open_files()

    def _open_files(self) -> Iterator[tuple[str, bytes]]:
        process = Path(f"/proc/{self.running.pid}")
        for number in os.listdir(process / "fd"):  # noqa: PTH208 - names of what may be closed by now
            # One that was closed meanwhile is another's concern: its file is searched if it was in these directories.
            with contextlib.suppress(FileNotFoundError):
                flags = re.search(r"flags:\s+(\d+)", (process / "fdinfo" / number).read_text())
                target = str((process / "fd" / number).readlink())
                is_file = target.startswith("/") and not target.startswith("/dev/")
                if is_file and flags is not None and int(flags[1], 8) & os.O_ACCMODE:
                    yield target, (process / "fd" / number).read_bytes()

    async def arm(self, label: str) -> None:
        """The next time that it is about to post such a message, it stops itself."""
        before = len(self.running.lines)
        os.kill(self.running.pid, STOPS[label])
        await asyncio.to_thread(self.running.wait_for, f"^{ARMED}$", after=before)

    def resume(self) -> None:
        os.kill(self.running.pid, signal.SIGCONT)

    async def snapshot(self, to: Path) -> Path:
        """A copy of its directory as it is at one moment while it runs."""
        os.kill(self.running.pid, signal.SIGSTOP)
        await self.stopped()
        shutil.copytree(self.directory, to)
        self.resume()
        return to

    def put_back(self, copy: Path) -> None:
        """Replace its directory; it does not run."""
        assert self.process is None
        shutil.rmtree(self.directory)
        shutil.copytree(copy, self.directory)

    async def stopped(self) -> None:
        """Until it has stopped itself."""
        status = Path(f"/proc/{self.running.pid}/stat")
        await asyncio.to_thread(
            wait_until, lambda: status.read_text().rpartition(")")[2].split()[0] == "T", "stopped"
        )


@contextlib.contextmanager
def telling_committee(directory: Path) -> Iterator[tuple[CommitteeProcesses, Listener]]:
    """Two nodes and whoever hears them."""
    listener = Listener()
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    own = {
        "logging": {"level": "debug"},
        "node": {"gather_seconds": 20},
        "stock": {"pool": 1, "idle_seconds": 0.2},
    }
    settings = merged(UNHURRIED, own)
    committee = make_committee(directory, 2, 2, settings=settings)
    try:
        gateway = committee.start_gateway()
        for index, node in enumerate(committee.nodes):
            temporary = directory / f"temporary-{index}"
            temporary.mkdir()
            telling = TellingNode(node.directory, index, node.identity, node.settings)
            telling.env = {TELL: listener.address, STOP_AT: " ".join(STOPS), "TMPDIR": str(temporary)}
            telling.write_settings({"gateway": {"url": gateway.url}})
            committee.nodes[index] = telling
        yield committee.start(), listener
    finally:
        committee.close()
        listener.shutdown()
        listener.server_close()
