"""One run of the command: settings, signer, signals, and how errors end the process."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from client.console import Output
from client.errors import EXIT_INTERRUPTED, EXIT_OK, RequestFailed
from client.settings import NAME, MpcConfig, ServiceSettings
from client.signer import MpcSigner
from kit.logs import configure_logging
from kit.settings import Problem, SettingsError

Prepared = TypeVar("Prepared")

EXIT_TERMINATED = 128 + signal.SIGTERM


def _nothing() -> Any:
    return None


@dataclass
class Run:
    """What the options say. `config` None is config/client.yaml where there is one."""

    config: Path | None = None
    services: tuple[str, ...] = ()
    output: Output = field(default_factory=Output)

    def settings(self) -> MpcConfig:
        """With `--service` over the file. Raises SettingsError."""
        loaded = MpcConfig.load(self.config)
        if not self.services:
            return loaded
        try:
            service = ServiceSettings.model_validate(
                {**loaded.service.model_dump(), "targets": list(self.services)}
            )
        except ValueError as error:
            text = str(error).split("Value error, ")[-1].split(" [type=")[0]
            raise SettingsError([Problem("--service", "", text)]) from None
        # Whoever is named on the command line is asked: no participant of our own is started then.
        kept = loaded.model_copy(update={"service": service})
        return kept.model_copy(
            update={
                "local_participant": loaded.local_participant.model_copy(
                    update={"settings": None, "key_share_file": None}
                ),
                "remote_services": type(loaded.remote_services)(),
            }
        )

    def do(
        self,
        work: Callable[[MpcSigner, Prepared], Awaitable[None]],
        prepare: Callable[[], Prepared] = _nothing,
    ) -> NoReturn:
        """Run `work` with a signer and what `prepare` made before; end the process with the code that fits."""
        try:
            prepared = prepare()
            settings = self.settings()
            configure_logging(settings.logging, NAME)
            with asyncio.Runner() as runner:
                code = runner.run(self._do(settings, lambda signer: work(signer, prepared)))
        except (RequestFailed, SettingsError) as error:
            code = self.output.failed(error)
        except KeyboardInterrupt:
            self.output.say("interrupted")
            code = EXIT_INTERRUPTED
        except BrokenPipeError:
            # Whoever read the results has seen enough.
            code = EXIT_OK
        sys.exit(code)

    async def _do(self, settings: MpcConfig, work: Callable[[MpcSigner], Awaitable[None]]) -> int:
        with _terminated() as terminated:
            try:
                async with MpcSigner(settings) as signer:
                    await work(signer)
            except asyncio.CancelledError:
                if not terminated:
                    raise
                return EXIT_TERMINATED
        return EXIT_OK


@contextlib.contextmanager
def _terminated() -> Iterator[list[int]]:
    """SIGTERM cancels the current task, so that whatever it started is stopped; the list then holds the signal."""
    received: list[int] = []
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()

    def stop() -> None:
        received.append(signal.SIGTERM)
        if task is not None:
            task.cancel()

    loop.add_signal_handler(signal.SIGTERM, stop)
    try:
        yield received
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
