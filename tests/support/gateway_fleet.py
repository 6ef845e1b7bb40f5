"""Gateways that share a store, behind a load balancer (HAProxy), as processes on ports of their own.

with running_fleet(tmp_path, {"redis": {"url": redis.url}}) as fleet:
    fleet.url                 # where the balancer listens
    await fleet.restart(0)    # SIGTERM, its end, and the start at the same port
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from gateway_testing import LISTENING
from nats_testing import free_port
from processes import Process, clean_environment, command
from programs import needed

PATIENCE = 60.0
# Gateways are asked for their readiness; a connection that one does not take is given to another.
BALANCER = """
global
    maxconn 4000
defaults
    mode http
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    retries 3
    option redispatch
frontend rooms
    bind 0.0.0.0:{port}
    default_backend gateways
backend gateways
    balance roundrobin
    option httpchk GET /readyz
    default-server check inter 100ms fall 1 rise 1 on-marked-down shutdown-sessions
"""


class GatewayFleet:
    """See `running_fleet`."""

    def __init__(self, directory: Path, settings: Mapping[str, Any], count: int) -> None:
        self.directory = directory
        self.settings = [
            {**settings, "server": {"port": free_port()}, "grpc": {"port": 0}} for _ in range(count)
        ]
        self.gateways: list[Process | None] = [None] * count
        self.balancer: Process | None = None
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def launch(self, number: int) -> Process:
        path = self.directory / f"gateway-{number}.yaml"
        path.write_text(yaml.safe_dump(self.settings[number]))
        process = Process(command("sign-gateway", path), env=clean_environment())
        self.gateways[number] = process
        return process

    def start(self) -> None:
        needed("haproxy")
        for process in [self.launch(number) for number in range(len(self.gateways))]:
            process.wait_for(LISTENING)
        servers = [
            f"    server g{number} 127.0.0.1:{tree['server']['port']}"
            for number, tree in enumerate(self.settings)
        ]
        path = self.directory / "haproxy.cfg"
        path.write_text(BALANCER.format(port=self.port) + "\n".join([*servers, ""]))
        self.balancer = Process(["haproxy", "-db", "-f", str(path)], env=clean_environment())
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            assert time.monotonic() < deadline, self.balancer.output

    def _answers(self) -> bool:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self.port), PATIENCE) as sock,
        ):
            sock.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
            return b" 200 " in sock.recv(64)
        return False

    def lose(self) -> None:
        """kill -9 to all gateways at once, and their start."""
        for process in self.gateways:
            assert process is not None
            process.kill()
        for process in [self.launch(number) for number in range(len(self.gateways))]:
            process.wait_for(LISTENING)

    async def restart(self, number: int, *, kill: bool = False) -> None:
        """One of them; it listens again when this returns. Others serve meanwhile."""
        process = self.gateways[number]
        assert process is not None
        if kill:
            process.kill()
        else:
            assert await asyncio.to_thread(process.terminate, PATIENCE) == 0
        # Started here, not in a thread: processes die with the thread that started them.
        await asyncio.to_thread(self.launch(number).wait_for, LISTENING)

    def close(self) -> None:
        for process in [*self.gateways, self.balancer]:
            if process is not None:
                process.kill()


@contextlib.contextmanager
def running_fleet(directory: Path, settings: Mapping[str, Any], count: int = 3) -> Iterator[GatewayFleet]:
    fleet = GatewayFleet(directory, settings, count)
    try:
        fleet.start()
        yield fleet
    finally:
        fleet.close()
