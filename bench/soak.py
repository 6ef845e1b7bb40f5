"""A gateway at half of what it carries, for as long as is asked: memory, descriptors and times have to stay as they are.

    python -m bench.soak --seconds 3600
    python -m bench.soak --seconds 600 --kind redis --window 30

The rate is half of what a first measurement finds, or --rate messages a second. Each window prints a line; while it lasts some
subscriptions end and others begin. At the end the last third of the windows is held against the second one, after which rings
are full: exit code 1 when memory or descriptors grew by more than GROWTH, or the median time from post to receipt trebled.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Final

from bench.rooms_load import OUTSTANDING, readers
from bench.rooms_servers import GATEWAYS, running

GROWTH: Final = {"resident_bytes": 16 << 20, "descriptors": 16}
SLOWER: Final = 3.0


@dataclass(frozen=True)
class Window:
    """Some seconds of it. Milliseconds from when a message was due until its last byte is received."""

    at_seconds: float
    messages_per_second: float
    deliveries_per_second: float
    p50_ms: float
    p99_ms: float
    server_share: float
    resident_bytes: int
    descriptors: int


def soak(kind: str, subscriptions: int, seconds: float, window: float, rate: float | None) -> list[Window]:
    """The windows, each told as it ends."""
    found = []
    with running(kind) as server, readers(server, subscriptions) as load:
        if rate is None:
            load.command("full", 2, OUTSTANDING)
            full = load.command("full", 10, OUTSTANDING)
            rate = full["posted"] / full["seconds"] / 2
        print(f"{kind}: {subscriptions} subscriptions, {rate:,.0f} messages a second", flush=True)
        begun = time.monotonic()
        while time.monotonic() - begun < seconds:
            cpu = server.cpu_seconds
            load.command("replace", subscriptions // 20, 0)
            figures = load.command("rate", window, rate)
            found.append(
                Window(
                    at_seconds=time.monotonic() - begun,
                    messages_per_second=figures["posted"] / figures["seconds"],
                    deliveries_per_second=figures["delivered"] / figures["seconds"],
                    p50_ms=figures["p50_ms"],
                    p99_ms=figures["p99_ms"],
                    server_share=(server.cpu_seconds - cpu) / figures["seconds"],
                    resident_bytes=server.resident_bytes,
                    descriptors=server.descriptors,
                )
            )
            print(json.dumps(asdict(found[-1])), flush=True)
    return found


def faults(windows: Sequence[Window]) -> list[str]:
    """What did not stay as it was."""
    first, last = windows[1], windows[-max(1, len(windows) // 3) :]
    found = []
    for name, most in GROWTH.items():
        grown = median(getattr(window, name) for window in last) - getattr(first, name)
        if grown > most:
            found.append(f"{name} grew by {grown:,.0f}, more than {most:,}")
    before, after = first.p50_ms, median(window.p50_ms for window in last)
    if after > SLOWER * before:
        found.append(f"the median time rose from {before:.2f} to {after:.2f} ms")
    return found


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--window", type=float, default=60.0, help="seconds")
    parser.add_argument("--kind", choices=GATEWAYS, default="memory")
    parser.add_argument("--subscriptions", type=int, default=1000)
    parser.add_argument("--rate", type=float, help="messages a second, instead of half of what it carries")
    options = parser.parse_args()
    windows = soak(options.kind, options.subscriptions, options.seconds, options.window, options.rate)
    if len(windows) < 4:
        parser.error("--seconds is too short for four windows")
    found = faults(windows)
    print("\n".join(found) or "memory, descriptors and times stayed as they were", flush=True)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
