"""Servers of shared stores, as tests that are the same for all of them see them."""

from __future__ import annotations

import contextlib
import itertools
import shutil
from pathlib import Path
from typing import Any, Protocol

from nats_testing import running_nats
from processes import Process
from redis_testing import running_redis

from gateway.settings import RoomsSettings
from gateway.shared import SharedStore

SHARED = ("redis", "nats")

_copies = itertools.count()


class StoreServer(Protocol):
    """A server that may be killed and started again."""

    directory: Path
    process: Process | None

    @property
    def settings(self) -> dict[str, Any]:
        """Of a gateway that uses it, by section."""

    def start(self) -> None: ...

    def kill(self) -> None: ...

    @property
    def address(self) -> str | tuple[str, int]:
        """For a proxy."""

    def store(
        self,
        limits: RoomsSettings,
        prefix: str | None = None,
        *,
        port: int | None = None,
        seconds: float = 10,
    ) -> SharedStore:
        """A gateway's store; without `prefix` its rooms are its own. `port`: of a proxy."""

    async def keeps(self, store: SharedStore, room: str) -> bool:
        """Whether anything of the room is there."""


def copy_of(server: StoreServer) -> Path:
    """Of what a durable server has on disk now."""
    target = server.directory.with_name(f"{server.directory.name}-copy{next(_copies)}")
    shutil.copytree(
        server.directory, target, ignore=lambda _, names: [n for n in names if n.endswith(".sock")]
    )
    return target


def go_back(server: StoreServer, copy: Path) -> None:
    """Kills the server, and starts it with what it had on disk then."""
    server.kill()
    shutil.rmtree(server.directory)
    copy.rename(server.directory)
    server.start()


def running_store(
    kind: str, *, durable: bool = False, max_bytes: int = 0
) -> contextlib.AbstractContextManager[StoreServer]:
    """`durable`: a killed server loses nothing; otherwise everything. `max_bytes`: that a Redis server may use."""
    if kind == "nats":
        return running_nats("file" if durable else "memory")
    options = ["--maxmemory", str(max_bytes), "--maxmemory-policy", "noeviction"]
    if durable:
        options += ["--appendonly", "yes", "--appendfsync", "always"]
    return running_redis(*options)
