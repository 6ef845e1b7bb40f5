"""Many lives in processes, or one life with its trace."""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import count

from simulation.checker import check
from simulation.scenarios import life_of

LIVES_AT_A_TIME = 20
SHOWN = 20
"""Violations that are printed in full."""
PAUSE = 60.0
"""Seconds between two words about how far it is."""


say = print
"""A command line prints."""


@dataclass
class Tally:
    """What some lives came to."""

    lives: int = 0
    sessions: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    """How honest parties' parts in sessions ended."""
    violations: list[tuple[int, str]] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Sessions that an honest party took part in."""
        return sum(self.sessions.values()) - self.sessions["identification"]

    def add(self, other: Tally) -> None:
        self.lives += other.lives
        self.sessions.update(other.sessions)
        self.faults.update(other.faults)
        self.ends.update(other.ends)
        self.violations += other.violations


def tally_of(seeds: Sequence[int]) -> Tally:
    """Let these lives happen and check them."""
    tally = Tally()
    for seed in seeds:
        tally.lives += 1
        try:
            artefacts = life_of(seed)
            found = check(artefacts)
        except Exception as error:  # noqa: BLE001 - the other lives go on; this one is reported as it is
            where = traceback.extract_tb(error.__traceback__)[-1]
            tally.violations.append(
                (seed, f"simulation: {type(error).__name__}: {error} ({where.name}:{where.lineno})")
            )
            continue
        tally.sessions.update(artefacts.kinds())
        tally.faults.update(artefacts.faults)
        for ended in artefacts.ended:
            if ended.party not in artefacts.malicious:
                crashed = "crashed" if ended.result is None else "result"
                tally.ends[crashed if ended.error is None else type(ended.error).__name__] += 1
        tally.violations += [(seed, what) for what in found]
    return tally


def replay_command(seed: int) -> str:
    """What shows a life again."""
    return f"make simulate SEED={seed}"


def simulate(first: int, sessions: int, processes: int, until: float) -> Iterator[Tally]:
    """Lives from seed `first` on, until there were `sessions` sessions or it is `until`; what was found so far."""
    total, seeds = Tally(), count(first, LIVES_AT_A_TIME)
    context = multiprocessing.get_context("spawn")

    def going_on() -> bool:
        return total.total < sessions and time.monotonic() < until

    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        waiting: set[Future[Tally]] = set()
        while waiting or going_on():
            while len(waiting) < 2 * processes and going_on():
                begin = next(seeds)
                waiting.add(pool.submit(tally_of, range(begin, begin + LIVES_AT_A_TIME)))
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                total.add(future.result())
            if not going_on():
                for future in waiting:
                    future.cancel()
                waiting = {future for future in waiting if not future.cancelled()}
            yield total


def report(tally: Tally, seconds: float) -> str:
    """The figures of many lives."""

    def listed(counts: Counter[str]) -> str:
        return ", ".join(f"{name} {number}" for name, number in counts.most_common())

    lines = [
        f"{tally.total} sessions in {tally.lives} lives, {len(tally.violations)} violations",
        f"{seconds:.0f} s, {tally.total / max(seconds, 1e-9):.1f} sessions a second",
        f"sessions: {listed(tally.sessions)}",
        f"faults: {listed(tally.faults)}",
        f"honest parties ended with: {listed(tally.ends)}",
    ]
    for seed, what in tally.violations[:SHOWN]:
        lines += [f"seed {seed}: {what}", f"  {replay_command(seed)}"]
    return "\n".join(lines)


def replay(seed: int, *, trace: bool) -> int:
    """One life. Returns the number of its violations."""
    artefacts = life_of(seed, say if trace else None)
    found = check(artefacts)
    sessions = ", ".join(f"{name} {number}" for name, number in artefacts.kinds().most_common())
    cheats = f"malicious: {sorted(artefacts.malicious)}" if artefacts.malicious else "nobody is malicious"
    say(f"seed {seed}: {artefacts.t} of {artefacts.n} on {artefacts.suite.group.name}, {cheats}; {sessions}")
    say(f"digest {artefacts.digest()}")
    say("\n".join(found) if found else "no violation")
    return len(found)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 when no invariant was violated."""
    parser = argparse.ArgumentParser(description="Simulate committees; every life is given by its seed.")
    parser.add_argument("--seed", type=int, help="this life alone")
    parser.add_argument("--trace", action="store_true", help="with --seed: print what happens")
    parser.add_argument("--count", type=int, default=100_000, help="sessions (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="the first life's seed (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=math.inf, help="begin no more after this time")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="default: one a core")
    given = parser.parse_args(arguments)
    if given.seed is not None:
        return min(replay(given.seed, trace=given.trace), 1)
    began = told = time.monotonic()
    tally, reported = Tally(), 0
    for tally in simulate(given.first, given.count, given.processes, began + given.seconds):
        for seed, what in tally.violations[reported:SHOWN]:
            say(f"seed {seed}: {what}", file=sys.stderr, flush=True)
        reported = len(tally.violations)
        if time.monotonic() - told > PAUSE:
            told = time.monotonic()
            so_far = f"{tally.total} sessions, {reported} violations, {told - began:.0f} s"
            say(so_far, file=sys.stderr, flush=True)
    say(report(tally, time.monotonic() - began))
    return 1 if tally.violations else 0
