"""A gateway whose settings a test changes while it runs."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any, Self

import yaml
from gateway_testing import LISTENING, GatewayProcess
from processes import command, start_process


class Reloadable:
    """A gateway and its file."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        self.path = directory / "gateway.yaml"
        self.tree: dict[str, Any] = {"server": {"port": 0}, "grpc": {"port": 0}}
        self.write(**settings)
        self.gateway = GatewayProcess(start_process(command("sign-gateway", self.path), LISTENING))

    def write(self, **settings: Any) -> None:
        for section, values in settings.items():
            self.tree.setdefault(section, {}).update(values)
        self.path.write_text(yaml.safe_dump(self.tree))

    def use(self, **settings: Any) -> None:
        """These settings and no others from now on."""
        self.tree = {"server": {"port": 0}, "grpc": {"port": 0}}
        self.write(**settings)
        self.hang_up()

    def hang_up(self, expected: str = '"settings read again"') -> str:
        """SIGHUP; everything that the log says from then until the line that is expected."""
        process = self.gateway.process
        before = len(process.lines)
        process.send_signal(signal.SIGHUP)
        process.wait_for(expected, after=before)
        return "\n".join(process.lines[before:])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.gateway.process.kill()
