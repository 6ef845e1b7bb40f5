"""Coroutines that run side by side until one of them ends."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


async def until_one_ends(*coroutines: Coroutine[Any, Any, None]) -> None:
    """Runs them side by side until one returns or raises; ends the others, and raises what that one raised.

    A cancellation that comes while the others are being ended is not lost: a TaskGroup of CPython 3.11 takes it for its
    own, and whoever cancelled waits for ever.
    """
    tasks = [asyncio.ensure_future(one) for one in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    next(task for task in tasks if task in done).result()
