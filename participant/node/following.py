"""Progress of a session that somebody waits for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from participant.node.api import Progress, Result
from participant.node.driver import SessionDriver
from participant.node.errors import NodeFailure
from participant.node.membership import Membership
from tss.cggmp24.completion import STEPS
from tss.envelope import PartyId

TICK_SECONDS: Final = 1.0
"""Between two reports while nothing changes."""


async def until_all_are_here(
    membership: Membership,
    seconds: float,
    report: Callable[[Sequence[PartyId]], Progress],
    failure: Callable[[Sequence[PartyId]], NodeFailure],
) -> AsyncGenerator[Progress, None]:
    """What `report` says of those who are absent, until nobody is; raises what `failure` says of them after `seconds`."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while absent := membership.absent:
        if loop.time() >= deadline:
            raise failure(absent)
        yield report(absent)
        await membership.presence.changes.wait_for(
            lambda known=absent: membership.absent != known,  # type: ignore[misc]
            min(TICK_SECONDS, max(0.0, deadline - loop.time())),
        )


@dataclass
class Course:
    """An operation of one or more stages, each of as many steps as a session has."""

    stages: tuple[str, ...]
    started: float = field(default_factory=lambda: asyncio.get_running_loop().time())
    done: int = 0

    @property
    def total(self) -> int:
        """Steps of all stages."""
        return len(self.stages) * (len(STEPS) - 1)

    def report(
        self,
        stage: str,
        *,
        phase: str = "",
        text: str = "",
        session_id: bytes | None = None,
        waiting_for: tuple[int, ...] = (),
        result: Result | None = None,
    ) -> Progress:
        """One report; what is done never goes back."""
        base = (self.stages.index(stage) if stage in self.stages else 0) * (len(STEPS) - 1)
        step = STEPS.index(phase) if phase in STEPS else 0
        self.done = self.total if result is not None else max(self.done, base + step)
        return Progress(
            stage=stage,
            done=self.done,
            total=self.total,
            phase=phase,
            text=text,
            session_id=session_id,
            waiting_for=waiting_for,
            elapsed=asyncio.get_running_loop().time() - self.started,
            result=result,
        )

    async def follow(
        self, driver: SessionDriver, stage: str, note: Callable[[], str] = lambda: ""
    ) -> AsyncGenerator[Progress, None]:
        """Reports at every change, and at least once a second, until the session's outcome is there.

        `note` adds what else there is to say, such as how many primes were found.
        """
        while not driver.finished:
            state = (driver.phase, driver.stage, driver.waiting_for)
            waiting = tuple(point - 1 for point in driver.waiting_for)
            text = note() or driver.stage
            if waiting:
                text = f"{text}: waiting for index {', '.join(map(str, waiting))}".lstrip(": ")
            yield self.report(
                stage,
                phase=driver.phase.partition(".")[2].partition(".")[0],
                text=text,
                session_id=driver.sid,
                waiting_for=waiting,
            )

            def changed(known: tuple[object, ...] = state) -> bool:
                return driver.finished or (driver.phase, driver.stage, driver.waiting_for) != known

            await driver.changes.wait_for(changed, TICK_SECONDS)
