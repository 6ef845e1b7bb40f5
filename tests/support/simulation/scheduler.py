"""Virtual time: what is to happen, in order of time. Nothing sleeps, nothing reads a clock."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable


class Stuck(Exception):
    """A life that does not come to its end."""


class Scheduler:
    """A queue of events. Those of the same moment happen in the order in which they were asked for."""

    def __init__(self, limit: int = 200_000) -> None:
        self.now = 0.0
        self._limit = limit
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def after(self, delay: float, what: Callable[[], None]) -> None:
        """`what` happens `delay` seconds from now."""
        heapq.heappush(self._events, (self.now + delay, next(self._numbers), what))

    def run(self) -> None:
        """Let everything happen that was asked for, and what that asks for. Raises Stuck when there is no end of it."""
        while self._events:
            self._limit -= 1
            if self._limit < 0:
                raise Stuck(f"no end in sight after {self.now:.0f} virtual seconds")
            self.now, _, what = heapq.heappop(self._events)
            what()
