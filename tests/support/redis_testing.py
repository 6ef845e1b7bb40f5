"""A real Redis server on a socket of its own, which tests may kill and start again."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from processes import Process
from programs import needed

from gateway.redis_store import RedisStore
from gateway.settings import RedisSettings, RoomsSettings
from gateway.shared import SharedStore

_prefixes = itertools.count()


class RedisServer:
    """`options`: of redis-server, beyond a socket in `directory` and nothing on disk."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.directory = directory
        self.url = f"unix://{directory}/redis.sock"
        self.options = options
        self.process: Process | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """Of a gateway, by section."""
        return {"redis": {"url": self.url, "timeout_seconds": 5}}

    def start(self) -> None:
        self.process = Process(
            ["redis-server", "--port", "0", "--unixsocket", f"{self.directory}/redis.sock", "--save", "",
             "--dir", str(self.directory), *self.options]
        )  # fmt: skip
        self.process.wait_for("ready to accept connections")

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()

    @property
    def address(self) -> str:
        """For a proxy."""
        return self.url.removeprefix("unix://")

    def store(
        self,
        limits: RoomsSettings,
        prefix: str | None = None,
        *,
        port: int | None = None,
        seconds: float = 10,
    ) -> RedisStore:
        """A gateway's store; without `prefix` its rooms are its own. `port`: of a proxy."""
        prefix = prefix or f"test{next(_prefixes)}"
        url = self.url if port is None else f"redis://127.0.0.1:{port}"
        return RedisStore(RedisSettings(url=url, prefix=prefix, timeout_seconds=seconds), limits)

    async def keeps(self, store: SharedStore, room: str) -> bool:
        """Whether anything of the room is there."""
        assert isinstance(store, RedisStore)
        return bool(await store._redis.keys(f"{store._prefix}*:{room}"))


@contextlib.contextmanager
def running_redis(*options: str) -> Iterator[RedisServer]:
    """Socket paths are short: pytest's directories are not."""
    needed("redis-server")
    directory = Path(tempfile.mkdtemp(prefix="wmpc-redis-"))
    server = RedisServer(directory, *options)
    try:
        server.start()
        yield server
    finally:
        if server.process is not None:
            server.kill()
        shutil.rmtree(directory)
