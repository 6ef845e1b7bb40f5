"""What loads rooms: it counts every delivery, and what it says of a server can be computed from."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# bench is in no wheel. Behind everything else on the path it hides nothing of what is installed.
sys.path.append(str(ROOT))

from bench.soak import Window, faults  # noqa: E402 - its path is known only now


def run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_gateway_and_the_yardstick_are_measured_in_one_run() -> None:
    options = ("--subscriptions", "30", "--rounds", "1", "--seconds", "0.2", "--json")
    done = run("bench.rooms_load", "memory", "events", *options)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["30"]
    assert list(found) == ["memory", "events"]
    for figures in found.values():
        assert figures["per_second"] > 0
        assert 0 < figures["half_p50"] <= figures["half_p99"]


def test_a_soak_ends_and_says_how_it_went() -> None:
    # With a rate that any machine keeps up with; whether times stay as they are is not this test's to say.
    done = run("bench.soak", "--seconds", "2", "--window", "0.4", "--subscriptions", "40", "--rate", "20")
    lines = done.stdout.splitlines()
    windows = [Window(**json.loads(line)) for line in lines if line.startswith("{")]
    assert len(windows) >= 4, done.stderr
    assert all(window.deliveries_per_second > window.messages_per_second > 0 for window in windows)
    assert done.returncode == (lines[-1] != "memory, descriptors and times stayed as they were")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, []),
        ({"resident_bytes": 120 << 20}, ["resident_bytes grew by 20,971,520, more than 16,777,216"]),
        ({"descriptors": 1100}, ["descriptors grew by 40, more than 16"]),
        ({"p50_ms": 3.1}, ["the median time rose from 1.00 to 3.10 ms"]),
    ],
    ids=["flat", "memory", "descriptors", "times"],
)
def test_what_does_not_stay_as_it_was_is_a_fault(change: dict[str, float], said: list[str]) -> None:
    flat = {
        "at_seconds": 1.0, "messages_per_second": 10.0, "deliveries_per_second": 30.0, "p50_ms": 1.0, "p99_ms": 2.0,
        "server_share": 0.5, "resident_bytes": 100 << 20, "descriptors": 1060,
    }  # fmt: skip
    windows = [Window(**flat)] * 4 + [Window(**{**flat, **change})] * 2
    assert faults(windows) == said
