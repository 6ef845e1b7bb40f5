"""sign-service with a probe in its event loop: `python -m bench.probed_service CONFIG`.

The very same daemon. From SIGUSR1 on a task asks for its turn every millisecond and notes how much later than that it came; at
SIGUSR2 it prints a JSON array: how many milliseconds later 99.9 % came at most, and how many turns there were.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from bench.measure import percentile
from kit.daemon import StopSignal
from sign_service.main import run
from sign_service.settings import ServiceSettings
from tss.params import Suite

STEP: Final = 0.001


async def probe(gaps: list[float]) -> None:
    """For ever."""
    while True:
        due = time.monotonic() + STEP
        await asyncio.sleep(STEP)
        gaps.append(1000 * max(0.0, time.monotonic() - due))


def say(gaps: list[float]) -> None:
    """One line."""
    print(json.dumps([percentile(gaps, 0.999), len(gaps)]), flush=True)


def main() -> int:
    """The daemon's exit code."""
    from sign_service import service

    serve = service.serve

    async def probed(
        settings: ServiceSettings,
        load: Callable[[], ServiceSettings],
        suites: Mapping[str, Suite],
        stop: StopSignal,
    ) -> None:
        loop, gaps = asyncio.get_running_loop(), list[float]()
        tasks: list[asyncio.Task[None]] = []
        loop.add_signal_handler(signal.SIGUSR1, lambda: tasks.append(loop.create_task(probe(gaps))))
        loop.add_signal_handler(signal.SIGUSR2, lambda: say(gaps))
        await serve(settings, load, suites, stop)

    service.serve = probed
    return run(Path(sys.argv[1]))


if __name__ == "__main__":
    sys.exit(main())
