"""A client of the rooms for tests: it waits for nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from participant.rooms import RoomsClient


class Sleeps:
    """Instead of sleeping: remembers how long it would have been, lets others run, and may do something."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.then: Any = None

    async def __call__(self, seconds: float) -> None:
        self.asked.append(seconds)
        if self.then is not None:
            await self.then(len(self.asked))
        await asyncio.sleep(0)


@asynccontextmanager
async def client(url: str, **options: Any) -> AsyncIterator[RoomsClient]:
    options.setdefault("sleep", Sleeps())
    options.setdefault("uniform", lambda: 1.0)
    rooms = RoomsClient(url, **options)
    try:
        yield rooms
    finally:
        await rooms.close()
