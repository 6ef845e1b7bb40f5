"""Asks `server.py` to run steps and to end them at the k-th system call, and reads what they did.

with CrashServer(build_shim(directory)) as server:
    server.prepare("answer", base)
    ended = server.run("answer", copy_of(base), call=7)
    ended.sent          # what left the process before it died
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from programs import needed

SUPPORT = Path(__file__).parents[1]
KILLED = 137
_SETPRIV = shutil.which("setpriv")
_DIE_WITH_PARENT = [_SETPRIV, "--pdeathsig", "KILL", "--"] if _SETPRIV is not None else []


def build_shim(directory: Path) -> Path:
    """The library that counts system calls, made by the C compiler of this machine."""
    compiler = os.environ.get("CC", "cc")
    library = directory / "shim.so"
    source = Path(__file__).with_name("shim.c")
    needed(compiler)
    flags = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-O1", "-pthread"]
    subprocess.run([compiler, *flags, "-o", str(library), str(source)], check=True)
    return library


@dataclass(frozen=True)
class Ended:
    """How a step ended."""

    killed: bool
    sent: tuple[bytes, ...]


class CrashServer:
    """One process that has everything imported, and forks for each step."""

    def __init__(self, shim: Path) -> None:
        path = os.pathsep.join([str(SUPPORT), *filter(None, sys.path)])
        self._process = subprocess.Popen(
            [*_DIE_WITH_PARENT, sys.executable, "-c", "from crashing.server import main; main()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "LD_PRELOAD": str(shim), "PYTHONPATH": path},
        )

    def _ask(self, **request: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the server of crashing steps ended"
        return json.loads(answer)

    def prepare(self, step: str, directory: Path) -> None:
        """Make the store that `step` begins with."""
        self._ask(step="prepare", of=step, directory=str(directory))

    def run(
        self,
        step: str,
        directory: Path,
        *,
        call: int | None = None,
        mode: str = "a",
        record: Path | None = None,
    ) -> Ended:
        """Run a step on the store in `directory`, up to its `call`-th system call. Fails when it fails by itself."""
        request = {"directory": str(directory), "call": call, "mode": mode}
        answer = self._ask(step=step, record=None if record is None else str(record), **request)
        assert answer["status"] in (0, KILLED), f"{step}, call {call}: status {answer['status']}, see stderr"
        return Ended(answer["status"] == KILLED, tuple(bytes.fromhex(one) for one in answer["sent"]))

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
