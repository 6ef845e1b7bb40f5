"""Background tasks that are neither forgotten nor silent."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

log = logging.getLogger(__name__)

AGAIN_SECONDS: Final = 2.0
"""Before a standing task that failed is begun anew."""


class Tasks:
    """Owns tasks: keeps them alive, logs one that fails, ends all of them."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, coroutine: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run it until it ends or `close` does."""
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def stand(self, run: Callable[[], Awaitable[None]], name: str) -> asyncio.Task[None]:
        """Run what a node cannot do without: whatever it fails with is logged, and it is begun anew."""
        return self.spawn(_standing(run, name), name)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s failed: %s", task.get_name(), error, exc_info=error)

    async def close(self) -> None:
        """Cancel all and wait until they are gone."""
        while self._tasks:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _standing(run: Callable[[], Awaitable[None]], name: str) -> None:
    while True:
        try:
            await run()
        except Exception as error:
            # A full disk, or a fault of ours, must not make a node mute for good.
            log.error(  # noqa: TRY400 - with the traceback, in the log's own form
                "%s failed, and begins anew in %.0f s: %s", name, AGAIN_SECONDS, error, exc_info=error
            )
        else:
            return
        await asyncio.sleep(AGAIN_SECONDS)


def tell(future: asyncio.Future[Any], what: Callable[[], object]) -> None:
    """From any thread: call `what` where the future belongs. A loop that is closed has nobody who waits."""
    with contextlib.suppress(RuntimeError):
        future.get_loop().call_soon_threadsafe(what)


class Changes:
    """Tells waiters that something may have changed, so that they look again. For the event loop only."""

    def __init__(self) -> None:
        self._waiters: set[asyncio.Future[None]] = set()

    def notify(self) -> None:
        """Wake everybody who waits."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait_for(self, predicate: Callable[[], bool], seconds: float) -> bool:
        """Wait until `predicate` holds, which is looked at after every change; False when the time is over first."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while not predicate():
            waiter: asyncio.Future[None] = loop.create_future()
            self._waiters.add(waiter)
            try:
                async with asyncio.timeout_at(deadline):
                    await waiter
            except TimeoutError:
                return predicate()
            finally:
                self._waiters.discard(waiter)
        return True
