# ruff: noqa: T201 - a command line
"""Runs the fuzz targets under atheris, one after the other, and says what came of each (`make fuzz`).

    python tests/fuzz/fuzz_run.py --count 10000000            # so many inputs in all, shared out among the targets
    python tests/fuzz/fuzz_run.py --target psbt --seconds 60  # one target, for a time
    python tests/fuzz/fuzz_run.py --replay psbt FILE          # one input again, with its traceback

An input on which a target raises is a finding; it is written to the folder of findings, and the run goes on with the
next target. The exit status is 1 when there are findings.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import logging
import mmap
import os
import re
import struct
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support"), str(ROOT / "tests" / "fuzz")]
PACKAGES = ["tss", "participant", "gateway", "kit", "keygen", "sign_service"]
COUNTS = struct.Struct("QQ")


def fuzz_one(
    target: Any, runs: int, seconds: int, folder: Path, findings: Path, counts: mmap.mmap, seed: int
) -> None:
    """Never returns: libFuzzer ends the process. Executions and accepted inputs are counted in `counts`."""
    import atheris

    executed = accepted = 0

    def run(data: bytes) -> None:
        nonlocal executed, accepted
        executed += 1
        COUNTS.pack_into(counts, 0, executed, accepted)
        accepted += target.run(data) == "ok"

    def mutate(data: bytes, max_size: int, draw: int) -> bytes:
        if draw & 3 == 0:
            made = target.mutate(data, Random(draw))
            if len(made) <= max_size:
                return made
        return atheris.Mutate(data, max_size)

    corpus = folder / "corpus" / target.name
    corpus.mkdir(parents=True, exist_ok=True)
    for data in target.seeds():
        (corpus / f"seed-{hashlib.sha256(data).hexdigest()[:16]}").write_bytes(data)
    words = folder / f"{target.name}.dict"
    words.write_text(
        "".join(f'"{"".join(f"{chr(92)}x{byte:02x}" for byte in word)}"\n' for word in target.words)
    )
    options = [
        "fuzz", f"-runs={runs}", f"-max_len={target.max_len}", f"-seed={seed}", "-timeout=30", "-rss_limit_mb=1024",
        f"-artifact_prefix={findings}/{target.name}-", "-verbosity=0",
        *([f"-dict={words}"] if target.words else []),
        *([f"-max_total_time={seconds}"] if seconds else []), str(corpus),
    ]  # fmt: skip
    kept = ROOT / "tests" / "fuzz" / "corpus" / target.name
    if kept.is_dir():
        options.append(str(kept))
    atheris.Setup(options, run, **({"custom_mutator": mutate} if target.mutate else {}))
    atheris.Fuzz()


def load() -> dict[str, Any]:
    """All targets; the code that they test reports its coverage to libFuzzer."""
    import atheris

    with contextlib.redirect_stderr(sys.stdout), atheris.instrument_imports(include=PACKAGES):
        targets: dict[str, Any] = importlib.import_module("fuzz_table").TARGETS
    return targets


def in_turn(names: list[str], count: int, seconds: int, folder: Path, seed: int) -> int:
    """Every target in a process of its own that shares this one's memory up to its start. How many found something."""
    targets = load()
    names = names or list(targets)
    findings = folder / "findings"
    findings.mkdir(parents=True, exist_ok=True)
    whole = sum(targets[name].share for name in names)
    began, total, found = time.monotonic(), 0, []
    print(f"{'target':28} {'executions':>11} {'accepted':>10} {'CPU s':>8}  findings", flush=True)
    for name in names:
        target = targets[name]
        counts = mmap.mmap(-1, COUNTS.size)
        runs, time_limit = (
            round(count * target.share / whole),
            max(1, seconds // len(names)) if seconds else 0,
        )
        child = os.fork()
        if child == 0:
            quiet = os.open(folder / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(quiet, 1)
            os.dup2(quiet, 2)
            fuzz_one(target, runs if count else -1, time_limit, folder, findings, counts, seed)
        _, status, used = os.wait4(child, 0)
        executed, accepted = COUNTS.unpack_from(counts, 0)
        total += executed
        failed = os.waitstatus_to_exitcode(status) != 0
        if failed:
            found.append(name)
        spent = used.ru_utime + used.ru_stime
        print(
            f"{name:28} {executed:11,} {accepted:10,} {spent:8.1f}  {_finding(folder, name) if failed else '-'}",
            flush=True,
        )
    print(f"{'in all':28} {total:11,} {'':10} {time.monotonic() - began:8.0f}  {len(found)}", flush=True)
    return len(found)


def _finding(folder: Path, name: str) -> str:
    """What a target's log says about its end."""
    text = (folder / f"{name}.log").read_text(errors="replace")
    written = re.findall(r"Test unit written to (\S+)", text)
    reason = re.findall(r"^(?:\w+\.)*\w*(?:Error|Violation|Exception|ERROR)\b.*", text, re.MULTILINE)
    return " ".join([*(reason[:1] or ["ended early"]), *written])


def replay(name: str, files: list[Path]) -> None:
    """Run inputs again, without atheris."""
    target = importlib.import_module("fuzz_table").TARGETS[name]
    for file in files:
        print(f"{file}: {target.run(file.read_bytes())}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=0, help="executions in all; 0 = no bound")
    parser.add_argument("--seconds", type=int, default=0, help="seconds in all; 0 = no bound")
    parser.add_argument("--target", action="append", default=[], help="only this one; may be repeated")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=ROOT / ".fuzz", help="grown corpus, logs, findings")
    parser.add_argument("--replay", nargs="+", metavar=("TARGET", "FILE"))
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if given.replay:
        replay(given.replay[0], [Path(file) for file in given.replay[1:]])
        return 0
    if not given.count and not given.seconds:
        parser.error("give --count, --seconds or both")
    return 1 if in_turn(given.target, given.count, given.seconds, given.folder, given.seed) else 0


if __name__ == "__main__":
    sys.exit(main())
