"""Servers of shared stores, as tests that are the same for all of them see them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

from gateway_testing import PATIENCE
from nats_testing import running_nats
from processes import Process
from redis_testing import running_redis

from gateway.settings import RoomsSettings
from gateway.shared import SharedStore
from gateway.store import Watch

SHARED = ("redis", "nats")

_copies = itertools.count()
_prefixes = itertools.count()


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


@contextlib.asynccontextmanager
async def stores(
    server: StoreServer, count: int = 1, *, prefix: str | None = None, **bounds: float
) -> AsyncIterator[list[SharedStore]]:
    """Of `count` gateways that share rooms with each other alone."""
    limits = RoomsSettings.model_validate(bounds)
    prefix = prefix or f"shared{next(_prefixes)}"
    made = [server.store(limits, prefix) for _ in range(count)]
    try:
        yield made
    finally:
        for store in made:
            await store.close()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Asks again until it is so."""
    async with asyncio.timeout(PATIENCE):
        while not await condition():  # noqa: ASYNC110 - it is the server's state, which tells nobody
            await asyncio.sleep(0.01)


class Reader:
    """Reads all of a room through one store."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.ids: list[int] = []
        self._grown = asyncio.Event()
        self.next_id = 0

    async def open(self, store: SharedStore, room: str) -> Reader:
        self.watch: Watch = await store.watch(room, self._told)
        self.next_id = max(self.next_id, self.watch.view.next_id)
        return self

    def _told(self, next_id: int) -> None:
        self.next_id = next_id
        self._grown.set()

    async def read(self, count: int) -> list[int]:
        """All ids when there are `count`."""
        async with asyncio.timeout(PATIENCE):
            while len(self.ids) < count:
                at = self.ids[-1] + 1 if self.ids else 0
                if at >= self.next_id:
                    self._grown.clear()
                    await self._grown.wait()
                    continue
                for event in await self.watch.read(at, 10_000):
                    self.ids.append(event.id)
                    self.bodies.append(event.frame.split(b"data: ")[1].strip())
        return self.ids

    async def is_lost(self) -> bool:
        """Waits until it is told of something that it has not read, which is not to be had if the room is another one."""
        at = self.ids[-1] + 1
        async with asyncio.timeout(PATIENCE):
            while self.next_id <= at:
                self._grown.clear()
                await self._grown.wait()
        return not await self.watch.read(at, 1)
