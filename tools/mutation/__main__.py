"""`python -m mutation [MODULE...]`: try the mutants of checks and decoders; see docs/testing.md."""

from __future__ import annotations

import argparse
import ast
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from time import monotonic
from typing import Final

from mutation import known, trying
from mutation.operators import COMPARISON, OTHER, Mutant, mutants_of
from mutation.targets import KEEPING, Target, chosen

PAGE: Final = "docs/mutants.md"
LEAST_KILLED: Final = 0.95
"""Of the mutants that are not comparisons and not explained; of comparisons all."""


def main() -> int:
    """0 when the figures of docs/mutants.md hold for what was tried."""
    arguments = _arguments()
    source = Path(__file__).parents[2] if arguments.root is None else arguments.root.resolve()
    with tempfile.TemporaryDirectory(prefix="mutants-") as directory:
        root = Path(directory).resolve() / "tree"
        _copy(source, root)
        os.chdir(root)
        sys.path.insert(0, str(root))
        return _run(arguments, root)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="mutation", description=__doc__)
    parser.add_argument("modules", nargs="*", help="beginnings of paths, such as tss/zk; everything if none")
    parser.add_argument("--tests", nargs="+", help="files or directories of tests instead of the table's")
    parser.add_argument("--match", help="only mutants whose line contains this text")
    parser.add_argument("--comparisons", action="store_true", help="only comparisons and missing checks")
    parser.add_argument("--slice", type=int, help="only so many comparisons, spread evenly")
    parser.add_argument("--functions", help="every function that matches, of `modules` (whole paths)")
    parser.add_argument("--explained", action="store_true", help=f"try what {PAGE} explains, too")
    parser.add_argument("--root", type=Path, help="the tree to copy, instead of this one")
    parser.add_argument("--log", type=Path, help="a file for one JSON line a mutant")
    parser.add_argument(
        "--left", type=Path, help="only mutants that this log of another run does not call killed"
    )
    parser.add_argument("--list", action="store_true", help="show the mutants and stop")
    return parser.parse_args()


def _copy(source: Path, root: Path) -> None:
    """Everything that is or could be in the repository, so that no test meets a file that is changing."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=source, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listing.returncode:
        shutil.copytree(source, root)
        return
    for name in filter(None, listing.stdout.split("\0")):
        if (source / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, root / name)


def _targets(arguments: argparse.Namespace) -> list[Target]:
    if arguments.functions is not None:
        return [Target(path, arguments.functions, ()) for path in arguments.modules]
    return chosen(arguments.modules)


def _run(arguments: argparse.Namespace, root: Path) -> int:
    targets = _targets(arguments)
    trees = {target.path: ast.parse((root / target.path).read_text(encoding="utf-8")) for target in targets}
    summary = Summary(known.read(root / PAGE), arguments.log)
    killed = _killed(arguments.left) if arguments.left else set()
    groups: dict[tuple[str, ...], list[Mutant]] = defaultdict(list)
    for target in targets:
        for mutant in mutants_of(target.path, trees[target.path]):
            wanted = arguments.match is None or arguments.match in mutant.id
            wanted &= mutant.id not in killed
            if arguments.comparisons:
                wanted &= mutant.category == COMPARISON
            if not wanted or not target.holds(mutant.place.function):
                continue
            if summary.explains(mutant) and not arguments.explained:
                summary.pass_over(mutant)
            else:
                groups[tuple(arguments.tests or target.tests)].append(mutant)
    if arguments.slice is not None:
        groups = {tests: _slice(mutants, arguments.slice) for tests, mutants in groups.items()}
    if arguments.list:
        for mutant in (mutant for mutants in groups.values() for mutant in mutants):
            print(f"{mutant.category:10} {mutant.operator:10} {mutant.id} (line {mutant.place.first})")
        return 0
    for tests, mutants in groups.items():
        changed = {mutant.path: trees[mutant.path] for mutant in mutants}
        trial = trying.Trial(root, tests, changed, warm=tests in KEEPING)
        for outcome in trial.outcomes(mutants):
            summary.tell(mutants[outcome.index], outcome)
    return summary.end()


def _killed(log: Path) -> set[str]:
    told = map(json.loads, log.read_text(encoding="utf-8").splitlines())
    return {line["id"] for line in told if line["outcome"] == trying.KILLED}


def _slice(mutants: list[Mutant], count: int) -> list[Mutant]:
    comparisons = [mutant for mutant in mutants if mutant.category == COMPARISON]
    return [comparisons[k * len(comparisons) // count] for k in range(min(count, len(comparisons)))]


class Summary:
    """Counts, and the survivors that nobody has explained."""

    def __init__(self, reasons: dict[str, str], log: Path | None) -> None:
        self._reasons = reasons
        self._log = log.open("a", encoding="utf-8") if log else None
        self._counts: dict[str, Counter[str]] = {COMPARISON: Counter(), OTHER: Counter()}
        self._killed_though_known: list[str] = []
        self._began = monotonic()

    def explains(self, mutant: Mutant) -> bool:
        """Whether somebody has said why no test can notice it."""
        return mutant.id in self._reasons

    def pass_over(self, mutant: Mutant) -> None:
        """An explained mutant that is not tried."""
        self._counts[mutant.category]["explained"] += 1

    def tell(self, mutant: Mutant, outcome: trying.Outcome) -> None:
        """Take note of what became of a mutant."""
        counts = self._counts[mutant.category]
        if outcome.what == trying.KILLED:
            counts["killed"] += 1
            if self.explains(mutant):
                self._killed_though_known.append(mutant.id)
        elif self.explains(mutant):
            self.pass_over(mutant)
        else:
            counts["survived"] += 1
            print(f"{outcome.what}: {mutant.id} (line {mutant.place.first})", flush=True)
        if self._log:
            line = {"id": mutant.id, "category": mutant.category, "operator": mutant.operator,
                    "outcome": outcome.what, "killer": outcome.killer, "line": mutant.place.first}  # fmt: skip
            print(json.dumps(line), file=self._log, flush=True)

    def end(self) -> int:
        """Print the figures."""
        enough = True
        for category, counts in self._counts.items():
            tried = counts.total() - counts["explained"]
            share = counts["killed"] / tried if tried else 1.0
            print(
                f"{category}: {counts.total()} mutants, {counts['explained']} explained, {counts['killed']} killed, "
                f"{counts['survived']} survived: {100 * share:.1f} %"
            )
            enough &= share >= (1 if category == COMPARISON else LEAST_KILLED)
        for line in self._killed_though_known:
            print(f"killed, though {PAGE} explains why it cannot be: {line}")
        print(f"{monotonic() - self._began:.0f} s")
        return 0 if enough and not self._killed_though_known else 1


if __name__ == "__main__":
    sys.exit(main())
