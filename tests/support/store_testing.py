"""Servers of shared stores, as tests that are the same for all of them see them."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, Protocol

from nats_testing import running_nats
from processes import Process
from redis_testing import running_redis

from gateway.settings import RoomsSettings
from gateway.shared import SharedStore

SHARED = ("redis", "nats")


class StoreServer(Protocol):
    """A server that may be killed and started again."""

    directory: Path
    process: Process | None

    @property
    def settings(self) -> dict[str, Any]:
        """Of a gateway that uses it, by section."""

    def start(self) -> None: ...

    def kill(self) -> None: ...

    def store(self, limits: RoomsSettings, prefix: str | None = None) -> SharedStore:
        """A gateway's store; without `prefix` its rooms are its own."""

    async def keeps(self, store: SharedStore, room: str) -> bool:
        """Whether anything of the room is there."""


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
