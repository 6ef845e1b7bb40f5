"""Our own participant: the sign-service that holds our share, as a child process that lives as long as the client does.

It is the daemon that everybody runs, so whatever holds for a sign-service holds for it. The child leads a process group of its
own (Ctrl-C reaches the client alone, which then stops it) and ends with the client also when that is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

from client.errors import RequestFailed
from client.settings import MpcConfig
from kit.net import bracketed
from kit.tied import tied
from participant.grpc_client import Target

SERVICE_PREFIX: Final = "SIGN_SERVICE"
STOP_SECONDS: Final = 15.0
TAIL: Final = 20
"""Lines of the child's log that an error shows."""

_LISTENING: Final = re.compile(r"gRPC server on \S*?:(\d+)\s*$")


def service_command() -> list[str]:
    """How our sign-service is started; the name of its settings file follows."""
    return [sys.executable, "-m", "sign_service.main"]


class LocalParticipant:
    """A sign-service of ours. Use it in one event loop."""

    def __init__(self, config: MpcConfig, command: Sequence[str] | None = None) -> None:
        """`command` starts a sign-service, its settings file is added; None: the installed one."""
        self._config = config
        self._command = list(command) if command is not None else service_command()
        self._child: asyncio.subprocess.Process | None = None
        self._log: deque[str] = deque(maxlen=TAIL)
        self._port: asyncio.Future[int] | None = None
        self._readers: list[asyncio.Task[None]] = []
        self._running = False

    async def start(self) -> Target:
        """Start it; returns where it listens, once it does. Raises RequestFailed with what it said instead."""
        settings = self._config.local_participant
        if settings.settings is None or not settings.settings.exists():
            raise RequestFailed(
                f"Key share not found: there is no {settings.settings}, the settings of our own participant",
                reason="KEY_SHARE_NOT_FOUND",
                advice="run `mpc-keygen`, which makes keys and these settings, or correct local_participant.settings",
            )
        self._port = asyncio.get_running_loop().create_future()
        self._child = await asyncio.create_subprocess_exec(
            *tied([*self._command, str(settings.settings)]),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment(self._config, os.environ),
            start_new_session=True,
        )
        self._readers = [
            asyncio.create_task(self._read_lines(self._child.stdout)),
            asyncio.create_task(self._read_log(self._child.stderr)),
        ]
        try:
            async with asyncio.timeout(settings.start_seconds):
                port = await self._listening()
        except TimeoutError:
            await self.stop()
            raise self._failed(f"did not start in {settings.start_seconds:.0f} s") from None
        except BaseException:
            await self.stop()
            raise
        self._running = True
        for line in self._log:
            print(line, file=sys.stderr, flush=True)
        service = self._config.service
        tls = service.ca is not None or service.certificate is not None
        return Target(f"{bracketed(settings.host)}:{port}", tls)

    async def stop(self) -> None:
        """Ends it: it may finish what it is about, for a while. Idempotent."""
        child, self._child = self._child, None
        if child is None:
            return
        with contextlib.suppress(ProcessLookupError):
            child.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await child.wait()
        except TimeoutError:
            pass
        finally:
            # Also what the child started itself; its group outlives its leader.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
            await child.wait()
            await asyncio.gather(*self._readers, return_exceptions=True)

    async def _listening(self) -> int:
        """The port, or RequestFailed when the child ends first."""
        child, port = self._child, self._port
        if child is None or port is None:
            raise RuntimeError("start() first")
        ended = asyncio.create_task(child.wait())
        try:
            await asyncio.wait({ended, port}, return_when=asyncio.FIRST_COMPLETED)
            if port.done():
                return port.result()
            # What it said last is still in the pipes.
            await asyncio.gather(*self._readers, return_exceptions=True)
            raise self._failed(f"ended with exit code {ended.result()}")
        finally:
            ended.cancel()

    async def _read_lines(self, stream: asyncio.StreamReader | None) -> None:
        async for line in _lines(stream):
            match = _LISTENING.search(line)
            if match is not None and self._port is not None and not self._port.done():
                self._port.set_result(int(match[1]))

    async def _read_log(self, stream: asyncio.StreamReader | None) -> None:
        async for line in _lines(stream):
            self._log.append(line)
            # Until it runs, its words are kept: they may belong into the error that start() raises.
            if self._running:
                print(line, file=sys.stderr, flush=True)

    def _failed(self, what: str) -> RequestFailed:
        said = "\n  ".join(["", *self._log]) if self._log else ""
        return RequestFailed(
            f"our own participant {what}{':' if said else ''}{said}",
            reason=_reason(self._log),
            advice=f"see local_participant in the settings and {self._config.local_participant.settings}",
        )


def environment(config: MpcConfig, environ: Mapping[str, str]) -> dict[str, str]:
    """The child's environment: ours, with what the client's settings say about it.

    Settings that are not written down leave those of the participant's own file alone, all but where it listens.
    """
    start = f"{SERVICE_PREFIX}__"
    found = {name: value for name, value in environ.items() if not name.startswith("MPC_CLIENT__")}
    local = config.local_participant
    found[f"{start}SERVER__HOST"] = local.host
    found[f"{start}SERVER__PORT"] = str(local.port)
    if local.index is not None:
        found[f"{start}SERVER__INDEX"] = str(local.index)
    if local.key_share_file is not None:
        found[f"{start}MPC__KEY_SHARE_FILE"] = str(local.key_share_file.absolute())
    if "url" in config.gateway.model_fields_set:
        found[f"{start}GATEWAY__URL"] = config.gateway.url
    for name in ("threshold", "total_participants"):
        value = getattr(config.mpc, name)
        if value is not None:
            found[f"{start}MPC__{name.upper()}"] = str(value)
    found[f"{start}LOGGING__LEVEL"] = config.logging.level
    found[f"{start}LOGGING__FORMAT"] = config.logging.format
    found["PYTHONUNBUFFERED"] = "1"
    return found


def _reason(log: Sequence[str]) -> str:
    """The stable reason that stands in what the child said last, where there is one."""
    text = " ".join(log)
    if "Key share not found" in text:
        return "KEY_SHARE_NOT_FOUND"
    return "LOCAL_PARTICIPANT"


async def _lines(stream: asyncio.StreamReader | None) -> AsyncIterator[str]:
    while stream is not None:
        try:
            line = await stream.readuntil()
        except asyncio.IncompleteReadError as error:
            line = error.partial
        except asyncio.LimitOverrunError as error:
            line = await stream.readexactly(error.consumed)
        if not line:
            return
        yield line.decode("utf-8", "replace").rstrip("\n")
