"""A Docker engine, a base image and the compose file's project, all of which end with the tests."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from programs import needed

ROOT = Path(__file__).parents[2]
# Made once a machine: it takes a minute and depends on the machine alone.
BASE_IMAGE = "wallet-mpc-test-base"
START_SECONDS = 60
COMMANDS = ("docker", "docker-compose", "debootstrap")


def run(*command: str, seconds: float = 300, environment: Mapping[str, str] | None = None) -> str:
    """Standard output of a command that has to succeed; what it said is in the failure."""
    result = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=seconds,
        cwd=ROOT,
        env={**os.environ, "DOCKER_BUILDKIT": "0", **(environment or {})},
        check=False,
    )
    assert result.returncode == 0, (
        f"{command} ended with {result.returncode}\n{result.stdout}\n{result.stderr}"
    )
    return result.stdout


def engine_answers() -> bool:
    return subprocess.run(["docker", "version"], capture_output=True, check=False).returncode == 0


@contextlib.contextmanager
def docker_engine(directory: Path) -> Iterator[None]:
    """The machine's engine, or one that is started for the block."""
    needed(*COMMANDS)
    if engine_answers():
        yield
        return
    if os.geteuid() != 0 or shutil.which("dockerd") is None:
        pytest.skip("no Docker engine answers, and only root can start one")
    log = directory / "dockerd.log"
    with log.open("wb") as output:
        daemon = subprocess.Popen(["dockerd"], stdout=output, stderr=output, start_new_session=True)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not engine_answers():
            assert daemon.poll() is None, f"dockerd ended:\n{log.read_text()[-4000:]}"
            assert time.monotonic() < deadline, f"dockerd does not answer:\n{log.read_text()[-4000:]}"
            time.sleep(0.2)
        yield
    finally:
        daemon.terminate()
        daemon.wait(START_SECONDS)


def have_base_image() -> None:
    known = subprocess.run(["docker", "image", "inspect", BASE_IMAGE], capture_output=True, check=False)
    if known.returncode != 0:
        run("tools/base_image.sh", BASE_IMAGE, seconds=600)


@dataclass
class Project:
    """The compose file under a name and on ports of its own."""

    name: str
    tag: str
    environment: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        ports = ("GATEWAY_PORT", "GATEWAY_GRPC_PORT", "NODE_0_PORT", "NODE_1_PORT", "NODE_2_PORT")
        self.environment = {
            "COMPOSE_PROJECT_NAME": self.name,
            "TAG": self.tag,
            "BASE": BASE_IMAGE,
            "COMPOSE_INTERACTIVE_NO_CLI": "1",
            # The engine picks free ones.
            **dict.fromkeys(ports, "0"),
        }

    def build(self) -> None:
        """The gateway's image with what sends traces, the nodes' without."""
        for part, tracing in (("gateway", "yes"), ("service", "no")):
            run(
                "docker", "build", "--force-rm", "--network", "host", "--build-arg", f"BASE={BASE_IMAGE}",
                "--build-arg", f"TRACING={tracing}", "-f", f"Dockerfile.{part}", "-t", f"wallet-mpc/sign-{part}:{self.tag}", ".",
                seconds=600,
            )  # fmt: skip

    def compose(self, *arguments: str, seconds: float = 300) -> str:
        return run("docker-compose", *arguments, seconds=seconds, environment=self.environment)

    def client(self, *command: str, seconds: float = 300) -> str:
        """Standard output of a command in the client's container."""
        return self.compose("run", "--rm", "-T", "client", *command, seconds=seconds)

    def inspect(self, service: str) -> dict[str, Any]:
        identifier = self.compose("ps", "-q", service).strip()
        assert identifier, f"{service} has no container"
        return json.loads(run("docker", "inspect", identifier))[0]

    def wait_until_healthy(self, service: str, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while (state := self.inspect(service)["State"])["Health"]["Status"] != "healthy":
            assert time.monotonic() < deadline, (
                f"{service} is not healthy: {json.dumps(state, indent=1)}\n{self.logs(service)}"
            )
            time.sleep(0.5)

    def logs(self, service: str) -> str:
        return self.compose("logs", "--no-color", service)[-8000:]

    def remove(self) -> None:
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "5")
        tags = run(
            "docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", f"wallet-mpc/*:{self.tag}"
        )
        if tags:
            run("docker", "image", "rm", *tags.split())
        run("docker", "image", "prune", "--force", "--filter", "label=wallet-mpc.stage=build")
