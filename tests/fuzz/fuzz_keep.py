# ruff: noqa: T201 - a command line
"""Chooses the inputs that are kept in the repository: `python tests/fuzz/fuzz_keep.py [--folder .fuzz] [TARGET]...`

Of each target's good inputs, their mutations and the corpus that runs have grown, the few that together reach most lines
of our code, at least one for each outcome; larger ones only where an outcome has no smaller. Inputs that are named `<outcome>-regression-...` stay.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import sys
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support"), str(ROOT / "tests" / "fuzz")]

from fuzz_mutate import damaged  # noqa: E402 - behind the path
from fuzz_table import CORPUS, TARGETS  # noqa: E402
from fuzz_target import Target  # noqa: E402

OURS = tuple(
    str(ROOT / name) + "/" for name in ("tss", "participant", "gateway", "kit", "keygen", "sign_service")
)
KEPT, MAX_BYTES, MAX_FIRST, MUTATIONS = 8, 1500, 8000, 120


def lines_of(target: Target, data: bytes) -> tuple[str, set[tuple[str, int]]]:
    """How an input is judged, and the lines of ours that run."""
    seen: set[tuple[str, int]] = set()

    def local(frame: FrameType, event: str, _arg: Any) -> Any:
        if event == "line":
            seen.add((frame.f_code.co_filename, frame.f_lineno))
        return local

    def entered(frame: FrameType, _event: str, _arg: Any) -> Any:
        return local if frame.f_code.co_filename.startswith(OURS) else None

    sys.settrace(entered)
    try:
        outcome = target.run(data)
    finally:
        sys.settrace(None)
    return outcome, seen


def candidates(target: Target, grown: Path) -> set[bytes]:
    seeds = list(target.seeds())
    rng = Random(target.name)
    found = set(seeds)
    for _ in range(30 if target.name.startswith("session") else MUTATIONS):
        data = rng.choice(seeds)
        mutate = target.mutate if target.mutate is not None and rng.random() < 0.7 else damaged
        found.add(mutate(data, rng)[: target.max_len])
    if grown.is_dir():
        files = sorted(grown.iterdir(), key=lambda file: file.stat().st_size)
        found |= {file.read_bytes() for file in files[: MUTATIONS // 2]}
    return found


def keep(target: Target, grown: Path) -> None:
    folder = CORPUS / target.name
    folder.mkdir(exist_ok=True)
    for file in folder.iterdir():
        if "-regression-" not in file.name:
            file.unlink()
    judged = {data: lines_of(target, data) for data in candidates(target, grown)}
    smallest: dict[str, bytes] = {}
    for data in sorted(judged, key=len):
        smallest.setdefault(judged[data][0], data)
    firsts = {data for data in smallest.values() if len(data) <= MAX_FIRST} or {min(judged, key=len)}
    small = {data: j for data, j in judged.items() if len(data) <= MAX_BYTES or data in firsts}
    reached: set[tuple[str, int]] = set()
    chosen: list[bytes] = []
    missing = {outcome for outcome, _ in small.values()}
    while len(chosen) < KEPT and len(chosen) < len(small):
        data = max(
            (d for d in small if d not in chosen),
            key=lambda d: (small[d][0] in missing, len(small[d][1] - reached), -len(d), d),
        )
        outcome, lines = small[data]
        if outcome not in missing and not lines - reached:
            break
        missing.discard(outcome)
        reached |= lines
        chosen.append(data)
        (folder / f"{outcome}-{hashlib.sha256(data).hexdigest()[:8]}").write_bytes(data)
    print(target.name, len(chosen), sum(map(len, chosen)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=ROOT / ".fuzz")
    parser.add_argument("targets", nargs="*")
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    for name in given.targets or list(TARGETS):
        keep(TARGETS[name], given.folder / "corpus" / name)


if __name__ == "__main__":
    main()
