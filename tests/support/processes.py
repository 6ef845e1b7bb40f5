"""Starts our commands as child processes, waits for the line that says they are up, and kills them for certain.

    with start_process(command("sign-gateway", config), r"Listening on (http://\\S+)") as gateway:
        url = gateway.ready[1]

Each child leads a process group of its own, so that `kill` also reaches what it started. Nothing here sleeps: a
thread a stream reads lines, and waiting is waiting for a line.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Self

START_SECONDS = 60.0
STOP_SECONDS = 30.0

_MODULES = {
    "sign-gateway": "gateway.main",
    "sign-service": "sign_service.main",
    "mpc-keygen": "keygen.main",
    "mpc-client": "client.main",
}
# An interrupted test run leaves no daemon behind: the kernel kills the child with its parent. A tool does it because
# Python code between fork and exec is unsafe once gRPC's threads run.
_SETPRIV = shutil.which("setpriv")
_DIE_WITH_PARENT = [_SETPRIV, "--pdeathsig", "KILL", "--"] if _SETPRIV is not None else []


class ProcessFailed(AssertionError):
    """A child ended, or said something else than it should; the text holds its whole output."""


def command(name: str, *args: str | os.PathLike[str]) -> list[str]:
    """argv of one of our commands: the installed script if there is one, else the module that it would run."""
    script = Path(sys.executable).with_name(name)
    start = [str(script)] if script.exists() else [sys.executable, "-m", _MODULES[name]]
    return [*start, *(os.fspath(arg) for arg in args)]


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The parent's environment without our daemons' settings, plus `extra`."""
    ours = ("SIGN_GATEWAY__", "SIGN_SERVICE_", "MPC_CLIENT__", "MPC_KEYGEN__")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    environment["PYTHONUNBUFFERED"] = "1"
    environment.update(extra or {})
    return environment


class Process:
    """A running child. `lines` is everything it wrote, both streams, in the order it arrived."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.argv = list(argv)
        self.lines: list[str] = []
        self.stdout: list[str] = []
        self.ready: re.Match[str] | None = None
        self._grown = threading.Condition()
        self._open_streams = 2
        self._child = subprocess.Popen(
            [*_DIE_WITH_PARENT, *self.argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=dict(env) if env is not None else clean_environment(),
            cwd=cwd,
            start_new_session=True,
        )
        self.pid = self._child.pid
        self._readers = [
            threading.Thread(target=self._read, args=(stream, sink), daemon=True)
            for stream, sink in ((self._child.stdout, self.stdout), (self._child.stderr, None))
            if stream is not None
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: IO[str], sink: list[str] | None) -> None:
        with stream:
            for line in stream:
                with self._grown:
                    self.lines.append(line.rstrip("\n"))
                    if sink is not None:
                        sink.append(line.rstrip("\n"))
                    self._grown.notify_all()
        with self._grown:
            self._open_streams -= 1
            self._grown.notify_all()

    @property
    def output(self) -> str:
        with self._grown:
            return "\n".join(self.lines)

    def failure(self, what: str) -> ProcessFailed:
        return ProcessFailed(f"{' '.join(self.argv)}: {what}; output:\n{self.output}")

    def wait_for(
        self, pattern: str, *, timeout: float = START_SECONDS, after: int = 0, count: int = 1
    ) -> re.Match[str]:
        """The match in the `count`-th line from index `after` on that holds `pattern`; waits for it."""
        expression = re.compile(pattern)
        deadline = time.monotonic() + timeout
        with self._grown:
            position, left = after, count
            while True:
                while position < len(self.lines):
                    match = expression.search(self.lines[position])
                    position += 1
                    if match is not None:
                        left -= 1
                        if left == 0:
                            return match
                if self._open_streams == 0:
                    raise self.failure(
                        f"ended (exit code {self._child.wait()}) without a line like {pattern!r}"
                    )
                if not self._grown.wait(deadline - time.monotonic()):
                    raise self.failure(f"no line like {pattern!r} in {timeout} s")

    def wait(self, timeout: float = STOP_SECONDS) -> int:
        """Waits for the end; returns the exit code (negative: minus the signal)."""
        try:
            code = self._child.wait(timeout)
        except subprocess.TimeoutExpired:
            raise self.failure(f"still running after {timeout} s") from None
        for reader in self._readers:
            reader.join(timeout)
        return code

    @property
    def running(self) -> bool:
        return self._child.poll() is None

    def send_signal(self, number: signal.Signals) -> None:
        """To the child alone, as an operator would."""
        self._child.send_signal(number)

    def terminate(self, timeout: float = STOP_SECONDS) -> int:
        """SIGTERM, then waits for the end; returns the exit code."""
        self.send_signal(signal.SIGTERM)
        return self.wait(timeout)

    def kill(self) -> int:
        """SIGKILL to the whole group, also when the leader has ended already; returns the leader's exit code."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        return self.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def start_process(
    argv: Sequence[str],
    ready_pattern: str,
    env: Mapping[str, str] | None = None,
    *,
    cwd: Path | None = None,
    timeout: float = START_SECONDS,
) -> Process:
    """Starts `argv` and waits for the line that holds `ready_pattern`; its match is `.ready`.

    `env` is added to the parent's environment without our daemons' settings. A child that ends or stays silent
    instead is killed, and ProcessFailed shows its output.
    """
    process = Process(argv, env=clean_environment(env), cwd=cwd)
    try:
        process.ready = process.wait_for(ready_pattern, timeout=timeout)
    except BaseException:
        process.kill()
        raise
    return process


def run_process(
    argv: Sequence[str],
    env: Mapping[str, str] | None = None,
    *,
    cwd: Path | None = None,
    timeout: float = START_SECONDS,
) -> tuple[int, Process]:
    """Runs `argv` to its end: exit code and the process with its `lines`."""
    with Process(argv, env=clean_environment(env), cwd=cwd) as process:
        return process.wait(timeout), process


class ProcessGroup:
    """Several children that end together: `with ProcessGroup() as group: group.start(...)`."""

    def __init__(self) -> None:
        self.processes: list[Process] = []

    def start(
        self, argv: Sequence[str], ready_pattern: str, env: Mapping[str, str] | None = None, **kwargs: object
    ) -> Process:
        starter: Callable[..., Process] = start_process
        process = starter(argv, ready_pattern, env, **kwargs)
        self.processes.append(process)
        return process

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self.processes):
            process.kill()
