"""Mutants against tests, a forked process each: the change is made in memory, and the process ends.

A mutant inside a function replaces that function's code where all tests are collected already. One at module level has
to be there before anything imports the module, so its process collects for itself.
"""

from __future__ import annotations

import ast
import contextlib
import gc
import importlib.abc
import importlib.util
import os
import pickle
import re
import resource
import signal
import sys
import traceback
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import process_time
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final

import coverage
import pytest

from mutation.operators import Mutant

KILLED: Final = "killed"
SURVIVED: Final = "survived"
NOT_RUN: Final = "not run"
"""No test executes the line."""

MEMORY_BYTES: Final = 4 << 30
_PYTEST: Final = (
    "-q", "-p", "no:cacheprovider", "-m", "not full_size and not docker", "--tb=no", "--assert=plain",
    # Libraries that are plugins too may be loaded already.
    "-W", "ignore::pytest.PytestAssertRewriteWarning",
)  # fmt: skip


class GreenNeeded(RuntimeError):
    """A test fails without any mutant."""


@dataclass
class Baseline:
    """What the tests do when nothing is changed: `lines` holds, by file and line, the tests that run it."""

    names: list[str]
    seconds: list[float]
    lines: dict[str, dict[int, list[int]]]
    failed: list[str]
    libraries: list[str]
    """Modules that the tests import and that are not under test."""

    def tests_of(self, mutant: Mutant) -> list[int]:
        """The tests that run the mutant's statement."""
        of_file = self.lines.get(mutant.path, {})
        place = mutant.place
        return sorted({test for line in range(place.first, place.last + 1) for test in of_file.get(line, ())})

    def tests_inside(self, mutant: Mutant) -> set[int]:
        """The tests that run what the mutant's statement holds."""
        of_file, place = self.lines.get(mutant.path, {}), mutant.place
        return {test for line in range(place.last + 1, place.end + 1) for test in of_file.get(line, ())}

    def files_of(self, path: str) -> list[str]:
        """The files of tests, those first that run anything of a source file, the cheapest before others."""
        tests = {test for line in self.lines.get(path, {}).values() for test in line}
        cost: dict[str, float] = defaultdict(float)
        for test, name in enumerate(self.names):
            cost[name.split("::")[0]] += self.seconds[test]
        running = {self.names[test].split("::")[0] for test in tests}
        return sorted(
            cost, key=lambda file: (file not in running, not _belongs(file, path), cost[file], file)
        )


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text))


def _belongs(test: str, path: str) -> bool:
    return Path(path).stem in Path(test.split("::", maxsplit=1)[0]).stem


def forked(work: Callable[[Callable[[Any], None]], None]) -> Iterator[Any]:
    """Whatever `work` tells, in a process of its own. Ends early when that process is killed; raises what it raises."""
    readable, writable = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(readable)
        with os.fdopen(writable, "wb") as pipe:

            def tell(message: Any) -> None:
                pickle.dump(message, pipe)
                pipe.flush()

            try:
                quiet()
                work(tell)
            except BaseException:  # noqa: BLE001 - whatever it is, the other process has to know
                tell(ChildFailed(traceback.format_exc()))
            finally:
                pipe.flush()
                os._exit(0)
    os.close(writable)
    try:
        with os.fdopen(readable, "rb") as pipe:
            while pipe.peek(1):
                try:
                    message = pickle.load(pipe)  # noqa: S301 - by our own child
                except EOFError:
                    break
                if isinstance(message, ChildFailed):
                    raise message
                yield message
    finally:
        os.waitpid(pid, 0)


class ChildFailed(RuntimeError):
    """The process for a mutant failed, which says nothing about the mutant."""


def quiet() -> None:
    """Nothing that tests print is of interest."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)


class Steady:
    """A pytest plugin: property tests with the same examples every time, and no time for shrinking."""

    def pytest_configure(self) -> None:
        import hypothesis

        hypothesis.settings.register_profile(
            "mutation",
            derandomize=True,
            database=None,
            deadline=None,
            phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        hypothesis.settings.load_profile("mutation")


@dataclass
class Reports:
    """A pytest plugin that notices failures."""

    failed: set[str] = field(default_factory=set)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.add(report.nodeid)


@dataclass
class Loop:
    """A pytest plugin that takes the place of running the tests: it has `work` done with what was collected."""

    work: Callable[[pytest.Session, Reports], None]
    error: Exception | None = None

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        reports = Reports()
        session.config.pluginmanager.register(reports)
        try:
            self.work(session, reports)
        except Exception as error:  # noqa: BLE001 - pytest would print it and go on
            self.error = error
        return True


def run_tests(
    session: pytest.Session, reports: Reports, order: Sequence[int], seconds: Sequence[float]
) -> int | None:
    """Run tests until one fails: that one, or None. One that needs far more time than it should ends the process."""
    items = [session.items[index] for index in order]
    for index, item, following in zip(order, items, [*items[1:], None], strict=True):
        # By the processor's time, so that a busy machine kills nothing; the clock is for what waits for ever.
        signal.setitimer(signal.ITIMER_PROF, 3 + 8 * seconds[index])
        signal.setitimer(signal.ITIMER_REAL, 60 + 40 * seconds[index])
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if reports.failed:
            return index
    return None


def measure(session: pytest.Session, reports: Reports, root: Path, sources: Iterable[str]) -> Baseline:
    """Run everything once, unchanged."""
    measured = coverage.Coverage(
        data_file=None, config_file=False, include=[str(root / path) for path in sources]
    )
    seconds = []
    measured.start()
    for index, item in enumerate(session.items):
        measured.switch_context(str(index))
        began = process_time()
        following = session.items[index + 1] if index + 1 < len(session.items) else None
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        seconds.append(process_time() - began)
    measured.stop()
    data = measured.get_data()
    lines = {}
    for path in sources:
        by_line = data.contexts_by_lineno(str(root / path))
        lines[path] = {line: [int(test) for test in tests if test] for line, tests in by_line.items()}
    names = [item.nodeid for item in session.items]
    return Baseline(names, seconds, lines, sorted(reports.failed), _libraries(root))


def _libraries(root: Path) -> list[str]:
    files = {name: getattr(module, "__file__", None) for name, module in sys.modules.items()}
    return sorted(name for name, file in files.items() if file and not Path(file).is_relative_to(root))


def preload(names: Iterable[str]) -> None:
    """Import libraries once, for all processes that are forked later."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in names:
            with contextlib.suppress(Exception):
                importlib.import_module(name)


Living = dict[tuple[str, tuple[str, int]], list[FunctionType]]
"""Function objects by file, and qualified name and line."""


def living_functions(paths: Iterable[str], root: Path) -> Living:
    """The functions of these files that the collected tests can reach."""
    files = {str(root / path): path for path in paths}
    found: Living = defaultdict(list)
    for each in gc.get_objects():
        if isinstance(each, FunctionType) and each.__code__.co_filename in files:
            code = each.__code__
            found[files[code.co_filename], (code.co_qualname, code.co_firstlineno)].append(each)
    return found


def replace_function(mutant: Mutant, tree: ast.Module, root: Path, living: Living) -> None:
    """Give the living functions that the mutant is in their changed code."""
    assert mutant.place.outermost is not None  # noqa: S101 - narrows the type
    mutant.make()
    code = _code_of(compile(tree, str(root / mutant.path), "exec"), mutant.place.outermost)
    functions = living.get((mutant.path, mutant.place.outermost))
    if not functions:
        raise LookupError(f"{mutant.id}: nothing to replace")
    for each in functions:
        each.__code__ = code


def _code_of(module: CodeType, outermost: tuple[str, int]) -> CodeType:
    ahead = [module]
    while ahead:
        code = ahead.pop()
        if (code.co_qualname, code.co_firstlineno) == outermost:
            return code
        ahead += [const for const in code.co_consts if isinstance(const, CodeType)]
    raise LookupError(f"no code of {outermost}")


@dataclass
class ChangedModule(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one file from its changed tree."""

    tree: ast.Module
    root: Path
    path: str

    def find_spec(self, fullname: str, *_: Any) -> Any:
        if fullname.replace(".", "/") != self.path.removesuffix(".py").removesuffix("/__init__"):
            return None
        return importlib.util.spec_from_file_location(fullname, self.root / self.path, loader=self)

    def create_module(self, spec: Any) -> None:  # noqa: ARG002 - the loader's protocol
        return None

    def exec_module(self, module: ModuleType) -> None:
        code = compile(self.tree, str(self.root / self.path), "exec")
        exec(code, module.__dict__)  # noqa: S102 - as any import does


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant, and by which test."""

    index: int
    what: str
    killer: str = ""


class Trial:
    """One group of tests, and mutants that they have to kill."""

    def __init__(
        self, root: Path, tests: Sequence[str], trees: dict[str, ast.Module], *, warm: bool = False
    ) -> None:
        """`warm`: what tests make once and keep, none of it by the code under test, is made before the processes fork."""
        self._root = root
        self._warm = warm
        self._tests = tests
        self._trees = trees
        self._successes: Counter[tuple[str, int, int]] = Counter()

    def outcomes(self, mutants: Sequence[Mutant]) -> Iterator[Outcome]:
        """Try them all. Raises GreenNeeded when a test fails without them."""
        baseline: Baseline | None = None
        again: list[int] = []
        for message in forked(lambda tell: self._inside_functions(mutants, tell)):
            if isinstance(message, Baseline):
                baseline = message
            elif message.what == SURVIVED:
                # Perhaps only because something was made before the change: a constant, a cache.
                again.append(message.index)
            else:
                yield message
        if baseline is None:
            raise GreenNeeded(f"{' '.join(self._tests)}: the tests cannot be collected, or die")
        if baseline.failed:
            raise GreenNeeded(f"these fail without any mutant: {', '.join(baseline.failed)}")
        again += [index for index, mutant in enumerate(mutants) if mutant.place.outermost is None]
        if again:
            preload(baseline.libraries)
        for index in again:
            yield self._at_import(baseline, index, mutants[index])

    def _inside_functions(self, mutants: Sequence[Mutant], tell: Callable[[Any], None]) -> None:
        def work(session: pytest.Session, reports: Reports) -> None:
            def baseline_of(tell: Callable[[Any], None]) -> None:
                tell(measure(session, reports, self._root, self._trees))

            def here() -> Iterator[Baseline]:
                yield measure(session, reports, self._root, self._trees)

            for baseline in here() if self._warm else forked(baseline_of):
                tell(baseline)
                living = living_functions(self._trees, self._root)
                # Forks then share what is there instead of copying it when they collect garbage.
                gc.freeze()
                for index, mutant in enumerate(mutants):
                    if mutant.place.outermost is not None and not baseline.failed:
                        tell(Outcome(index, *self._try_live(session, reports, baseline, mutant, living)))

        loop = Loop(work)
        pytest.main([*_PYTEST, *self._tests], plugins=[Steady(), loop])
        if loop.error is not None:
            raise loop.error

    def _try_live(
        self, session: pytest.Session, reports: Reports, baseline: Baseline, mutant: Mutant, living: Living
    ) -> tuple[str, str]:
        tests = baseline.tests_of(mutant)
        if not tests:
            return NOT_RUN, ""
        key = (mutant.path, mutant.place.first)
        # First those that killed other mutants of this statement, then those that come into its body (where a refusal
        # is raised), then those that are called like what it speaks of, then the cheap ones.
        inside = baseline.tests_inside(mutant)
        words = _words(self._text(mutant))
        tests.sort(
            key=lambda test: (
                -self._successes[*key, test],
                test not in inside,
                -len(words & _words(baseline.names[test].rpartition("::")[2])),
                not _belongs(baseline.names[test], mutant.path),
                baseline.seconds[test],
            )
        )

        def child(tell: Callable[[Any], None]) -> None:
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
            try:
                replace_function(mutant, self._trees[mutant.path], self._root, living)
            except (SyntaxError, ValueError):
                tell(-1)
            else:
                tell(run_tests(session, reports, tests, baseline.seconds))

        for killer in forked(child):
            if killer is None:
                return SURVIVED, ""
            if killer < 0:
                return KILLED, "it does not compile"
            self._successes[*key, killer] += 1
            return KILLED, baseline.names[killer]
        return KILLED, "the process died"

    def _text(self, mutant: Mutant) -> str:
        lines = (self._root / mutant.path).read_text(encoding="utf-8").splitlines()
        return " ".join(lines[mutant.place.first - 1 : mutant.place.end])

    def _at_import(self, baseline: Baseline, index: int, mutant: Mutant) -> Outcome:
        """A mutant that is there before the module is imported: the tests are collected anew."""
        files = baseline.files_of(mutant.path)
        if not files:
            return Outcome(index, NOT_RUN)

        def child(tell: Callable[[Any], None]) -> None:
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
            signal.setitimer(signal.ITIMER_PROF, 20 + 8 * sum(baseline.seconds))
            signal.setitimer(signal.ITIMER_REAL, 120 + 40 * sum(baseline.seconds))
            mutant.make()
            sys.meta_path.insert(0, ChangedModule(self._trees[mutant.path], self._root, mutant.path))
            reports = Reports()
            for file in files:
                code = pytest.main([*_PYTEST, "-x", file], plugins=[Steady(), reports])
                if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
                    tell(next(iter(reports.failed), f"collecting {file}"))
                    return
            tell("")

        for killer in forked(child):
            return Outcome(index, KILLED, killer) if killer else Outcome(index, SURVIVED)
        return Outcome(index, KILLED, "the process died")
