"""`python -m bench.life`: every operation ends in the key that it began with, which the command checks itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_operation_has_a_line():
    command = [sys.executable, "-W", "error", "-m", "bench.life", "ed25519"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for size, to in (("2 of 3", "3 of 5"), ("3 of 5", "2 of 3")):
        for what in (f"key generation, {size}", f"refresh, {size}", f"recovery, {size}", f"{size} to {to}"):
            (line,) = [line for line in lines if line[14:].startswith(what)]
            assert line.endswith(" kB")
