"""How many messages rooms carry, how fast, and what that costs: the gateway with its stores, and yardsticks in the same run.

    python -m bench.rooms_load                                   # everything; minutes
    python -m bench.rooms_load memory events --subscriptions 1000 --rounds 5
    python -m bench.rooms_load --idle 9000 memory stream events  # memory of idle subscribers and rooms

Rooms of three, messages of 6,000 bytes, posted by 64 connections of one client (bench/rooms_readers.py), whose share of a core is
in the table: below 100 % it was not what limited the figures. "Full" posts again as soon as a post is answered, 32 at a time;
"half" is half of that rate, evenly, and its times are from when a message was due to be posted until its last byte is received.
Rounds take the servers in turns, and each figure is the median of its rounds. A delivery that is missing ends the run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Final

from bench.rooms_servers import GATEWAYS, KINDS, ROOT, Server, running
from kit.tied import tied

OUTSTANDING: Final = 32
SIZES: Final = (100, 1_000, 10_000)
IDLE_ROOMS: Final = 5_000


class Readers:
    """The process that loads a server."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        """Waits until its subscriptions are open."""
        self._process = process
        self._answer()

    def command(self, *words: object) -> dict[str, float]:
        """What it answers."""
        if self._process.stdin is None:
            raise RuntimeError("its input is not a pipe")
        print(*words, file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, float]:
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        if not line:
            raise RuntimeError("what loads the server ended")
        found: dict[str, float] = json.loads(line)
        return found


@contextlib.contextmanager
def readers(server: Server, subscriptions: int) -> Iterator[Readers]:
    """Open subscriptions."""
    argv = [
        sys.executable,
        "-m",
        "bench.rooms_readers",
        str(server.port),
        "--subscriptions",
        str(subscriptions),
    ]
    process = subprocess.Popen(tied(argv), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield Readers(process)
    finally:
        process.kill()
        process.communicate()


@dataclass(frozen=True)
class Figures:
    """Of one server and number of subscriptions. Milliseconds, bytes, shares of a core."""

    per_second: float
    per_cpu_second: float
    full_p50: float
    full_p99: float
    half_p50: float
    half_p99: float
    subscriber_bytes: float
    server_share: float
    readers_share: float
    readers_late: float


def measure(kind: str, subscriptions: int, seconds: float) -> Figures:
    """One round."""
    with running(kind) as server:
        before = server.resident_bytes
        with readers(server, subscriptions) as load:
            each = (server.resident_bytes - before) / subscriptions
            load.command("full", 1, OUTSTANDING)
            cpu = server.cpu_seconds
            full = load.command("full", seconds, OUTSTANDING)
            cpu = server.cpu_seconds - cpu
            half = load.command("rate", seconds, full["posted"] / full["seconds"] / 2)
    return Figures(
        per_second=full["delivered"] / full["seconds"],
        per_cpu_second=full["delivered"] / cpu,
        full_p50=full["p50_ms"],
        full_p99=full["p99_ms"],
        half_p50=half["p50_ms"],
        half_p99=half["p99_ms"],
        subscriber_bytes=each,
        server_share=cpu / full["seconds"],
        readers_share=full["cpu_seconds"] / full["seconds"],
        readers_late=half["late_p99_ms"],
    )


def in_turns(kinds: Sequence[str], subscriptions: int, seconds: float, rounds: int) -> dict[str, Figures]:
    """Medians by kind."""
    found: dict[str, list[Figures]] = {kind: [] for kind in kinds}
    for number in range(rounds):
        for kind in kinds:
            print(f"round {number + 1}: {kind}, {subscriptions} subscriptions", file=sys.stderr, flush=True)
            found[kind].append(measure(kind, subscriptions, seconds))
    return {kind: _median(figures) for kind, figures in found.items()}


def _median(rounds: Sequence[Figures]) -> Figures:
    fields: dict[str, list[float]] = {name: [] for name in asdict(rounds[0])}
    for figures in rounds:
        for name, value in asdict(figures).items():
            fields[name].append(value)
    return Figures(**{name: median(values) for name, values in fields.items()})


def table(subscriptions: int, found: dict[str, Figures]) -> str:
    """For people, and for docs/performance.md."""
    head = (
        "server",
        "deliveries/s",
        "for each s of its processor",
        "full: p50, p99 ms",
        "half: p50, p99 ms",
        "kB a subscriber",
        "core: server, readers",
    )
    lines = [f"{subscriptions} subscriptions", "", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    lines += [
        f"| {kind} | {one.per_second:,.0f} | {one.per_cpu_second:,.0f} | {one.full_p50:.1f}, {one.full_p99:.1f} | "
        f"{one.half_p50:.1f}, {one.half_p99:.1f} | {one.subscriber_bytes / 1000:.0f} | "
        f"{one.server_share:.0%}, {one.readers_share:.0%} |"
        for kind, one in found.items()
    ]
    return "\n".join([*lines, ""])


def idle(kind: str, subscriptions: int) -> dict[str, float]:
    """Bytes that an idle subscriber, and an idle room of one message of one byte, take."""
    found = {}
    with running(kind) as server:
        before = server.resident_bytes
        with readers(server, subscriptions):
            found["subscriber_bytes"] = (server.resident_bytes - before) / subscriptions
    if kind in GATEWAYS:
        with running(kind) as server, readers(server, 0) as load:
            # What the first requests take is not a room's.
            load.command("rooms", 100, 0)
            before = server.resident_bytes
            load.command("rooms", IDLE_ROOMS, 100)
            found["room_bytes"] = (server.resident_bytes - before) / IDLE_ROOMS
    return found


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.rooms_load",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("kinds", nargs="*", metavar="SERVER", help=f"of {', '.join(KINDS)}")
    parser.add_argument("--subscriptions", type=int, action="append", help=f"instead of {SIZES}")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--idle", type=int, metavar="SUBSCRIPTIONS", help="measure memory instead")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    kinds = options.kinds or list(KINDS)
    if unknown := set(kinds) - set(KINDS):
        parser.error(f"no such server: {', '.join(sorted(unknown))}")
    found: dict[str, Any] = {}
    if options.idle:
        found = {kind: idle(kind, options.idle) for kind in kinds}
        print(json.dumps(found, indent=None if options.json else 1))
        return 0
    for subscriptions in options.subscriptions or SIZES:
        figures = in_turns(kinds, subscriptions, options.seconds, options.rounds)
        found[str(subscriptions)] = {kind: asdict(one) for kind, one in figures.items()}
        if not options.json:
            print(table(subscriptions, figures), flush=True)
    if options.json:
        print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
