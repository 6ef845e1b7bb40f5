"""A real NATS server with JetStream on a port of its own, which tests may kill and start again."""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from processes import Process
from programs import needed

from gateway.nats_log import token_of
from gateway.nats_store import NatsStore
from gateway.settings import NatsSettings, RoomsSettings
from gateway.shared import SharedStore

MIB = 1024 * 1024
# Beyond a body of server.max_body_bytes, for headers.
MAX_PAYLOAD = 8 * MIB + 4096
# Every store asks for its rooms.max_total_bytes beforehand.
RESERVED = 1 << 40

_prefixes = itertools.count()


def free_port() -> int:
    """nats-server says nowhere which port it took, and is killed and started on the same one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class NatsServer:
    """`options`: of its configuration file, beyond a port and JetStream with its files in `directory`."""

    def __init__(self, directory: Path, storage: str, options: dict[str, Any]) -> None:
        self.directory = directory
        self.storage = storage
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self.config = {
            "host": "127.0.0.1",
            "port": self.port,
            "max_payload": MAX_PAYLOAD,
            "jetstream": {"store_dir": str(directory), "max_mem": RESERVED, "max_file": RESERVED},
            **options,
        }
        self.process: Process | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """Of a gateway, by section."""
        return {"nats": {"servers": [self.url], "storage": self.storage, "timeout_seconds": 5}}

    def start(self) -> None:
        path = self.directory / "server.conf"
        path.write_text(json.dumps(self.config))
        self.process = Process(["nats-server", "-c", str(path)])
        self.process.wait_for("Server is ready")

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()

    @property
    def address(self) -> tuple[str, int]:
        """For a proxy."""
        return "127.0.0.1", self.port

    def store(
        self,
        limits: RoomsSettings,
        prefix: str | None = None,
        *,
        port: int | None = None,
        seconds: float = 10,
        **nats: Any,
    ) -> NatsStore:
        """A gateway's store; without `prefix` its rooms are its own. Messages live as long as idle rooms."""
        values = {
            **self.settings["nats"],
            "prefix": prefix or f"test{next(_prefixes)}",
            "timeout_seconds": seconds,
            "max_age_seconds": limits.idle_seconds,
            **nats,
        }
        if port is not None:
            values["servers"] = [f"nats://127.0.0.1:{port}"]
        return NatsStore(NatsSettings.model_validate(values), limits, 8 * MIB)

    async def keeps(self, store: SharedStore, room: str) -> bool:
        """Whether anything of the room is there."""
        assert isinstance(store, NatsStore)
        link, names = await store._reach(), store._names
        found = [
            await link.last(names.log_stream, names.log(token_of(room))),
            await link.last(names.rooms_stream, names.alive(token_of(room))),
        ]
        return found != [None, None]


@contextlib.contextmanager
def running_nats(storage: str = "memory", **options: Any) -> Iterator[NatsServer]:
    needed("nats-server")
    directory = Path(tempfile.mkdtemp(prefix="wmpc-nats-"))
    server = NatsServer(directory, storage, options)
    try:
        server.start()
        yield server
    finally:
        if server.process is not None:
            server.kill()
        shutil.rmtree(directory)


@contextlib.contextmanager
def running_cluster(count: int = 3) -> Iterator[list[NatsServer]]:
    """Servers of one cluster, each of which has the settings of all."""
    with contextlib.ExitStack() as stack:
        routes = [free_port() for _ in range(count)]
        servers = []
        for number, port in enumerate(routes):
            cluster = {
                "name": "tests",
                "host": "127.0.0.1",
                "port": port,
                "routes": [f"nats://127.0.0.1:{other}" for other in routes if other != port],
            }
            servers.append(stack.enter_context(running_nats(server_name=f"s{number}", cluster=cluster)))
        yield servers
