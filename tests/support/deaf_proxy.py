"""Between a client and a server: on demand it brings no more answers, while what the client says still arrives."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator


class DeafProxy:
    def __init__(self, target: str | tuple[str, int]) -> None:
        """`target`: a unix socket's path, or host and port."""
        self._target = target
        self._tasks: set[asyncio.Task[None]] = set()
        self._deaf = False
        self.port = 0

    def swallow_answers(self) -> None:
        self._deaf = True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if isinstance(self._target, str):
            from_server, to_server = await asyncio.open_unix_connection(self._target)
        else:
            from_server, to_server = await asyncio.open_connection(*self._target)
        for source, sink, answers in ((reader, to_server, False), (from_server, writer, True)):
            task = asyncio.create_task(self._pass_on(source, sink, answers=answers))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answers: bool
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65536):
                if not (answers and self._deaf):
                    sink.write(data)
                    await sink.drain()
        sink.close()


@contextlib.asynccontextmanager
async def deaf_proxy(target: str | tuple[str, int]) -> AsyncIterator[DeafProxy]:
    proxy = DeafProxy(target)
    server = await asyncio.start_server(proxy._serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        tasks = list(proxy._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
