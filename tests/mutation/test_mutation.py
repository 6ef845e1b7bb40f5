"""The tool that tries mutants: what it changes, and that it tells tests that look from tests that do not."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from mutation import known  # noqa: E402 - behind the path that it needs
from mutation.operators import mutants_of  # noqa: E402
from mutation.targets import TARGETS  # noqa: E402

LIMITS = '''
"""Limits."""

LARGEST = 9


def check(n: int, *, least: int = 1) -> None:
    """Raise ValueError unless n is in range."""
    if not least <= n <= LARGEST:
        raise ValueError("out of range")
    refuse_four(n)


def refuse_four(n: int) -> None:
    if n == 4:
        raise ValueError("four")


def is_small(n: int) -> bool:
    def below(bound: int) -> bool:
        return n < bound

    return below(3)
'''

UNLIKELY = "killed, though docs/mutants.md explains why it cannot be"

STRONG = """
import pytest
from limits import check, is_small


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 9])
def test_inside(n):
    check(n)


@pytest.mark.parametrize("n", [-3, -1, 0, 4, 10, 20])
def test_outside(n):
    with pytest.raises(ValueError):
        check(n)


def test_least():
    check(-2, least=-2)
    with pytest.raises(ValueError):
        check(1, least=2)


def test_small():
    assert [is_small(n) for n in (2, 3)] == [True, False]
"""

WEAK = """
import pytest
from limits import check


def test_some():
    check(5)
    with pytest.raises(ValueError):
        check(0)
"""


def run(*arguments: object, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mutation", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "tools")} | env,
        cwd=ROOT, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip


def project(directory: Path, tests: str) -> Path:
    (directory / "limits.py").write_text(LIMITS)
    (directory / "test_limits.py").write_text(tests)
    return directory


def try_limits(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return run(
        "limits.py",
        "--root",
        root,
        "--functions",
        ".*",
        "--tests",
        "test_limits.py",
        *options,
        PYTEST_DISABLE_PLUGIN_AUTOLOAD="1",
    )


def changes(source: str) -> list[str]:
    return [mutant.id.partition(": ")[2] for mutant in mutants_of("m.py", ast.parse(source))]


class TestOperators:
    def test_a_chain_of_comparisons(self) -> None:
        chain = "`0 < a <= N` -> "
        assert changes("x = 0 < a <= N") == [
            chain + "`0 >= a <= N`",
            chain + "`0 <= a <= N`",
            chain + "`0 < a > N`",
            chain + "`0 < a < N`",
            chain + "`0 < a`",
            chain + "`a <= N`",
            chain + "`True`",
            chain + "`False`",
            "`0` -> `1`",
            "`0` -> `-1`",
        ]

    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            (
                "check.unit(A, N)",
                ["`check.unit(A, N)` -> `pass`", "`check.unit(A, N)` -> `check.unit(N, A)`"],
            ),
            (
                "if a == b:\n    raise E('text')",
                [f"`a == b` -> `{to}`" for to in ("a != b", "True", "False")],
            ),
            ("x = a and b", [f"`a and b` -> `{to}`" for to in ("b", "a", "a or b")]),
            ("x = [i for i in s if i]", ["`for i in s if i` -> `for i in s`"]),
            ("x = a * b % q", ["`a * b % q` -> `a * b`", "`a * b` -> `a + b`"]),
            ("def f():\n    'doc'\n    return a", ["`return a` -> `return None`"]),
            ("raise E(f'{a}', 'what to do')", ["`raise E(f'{a}', 'what to do')` -> `pass`"]),
            (
                "x = zip(a, strict=True)",
                ["`zip(a, strict=True)` -> `zip(a)`"],
            ),
        ],
    )
    def test_each(self, source: str, expected: list[str]) -> None:
        assert changes(source) == expected

    def test_mutants_that_read_alike_are_told_apart(self) -> None:
        assert [line[-2:] for line in changes("def f():\n    g(1 == a)\n    g(1 == a)") if "!=" in line] == [
            "a`",
            "#2",
        ]

    def test_text_for_people_and_types_are_left_alone(self) -> None:
        assert not changes("import a\nx: 'int'\ndef f(a: 'str') -> 'int':\n    'doc'\n    return None")


class TestTool:
    def test_tests_that_look_kill_everything(self, tmp_path: Path) -> None:
        ended = try_limits(project(tmp_path, STRONG))
        assert ended.returncode == 0, ended.stdout + ended.stderr
        figures = re.findall(
            r"^(\w+): (\d+) mutants, 0 explained, (\d+) killed, 0 survived: 100.0 %$",
            ended.stdout,
            re.MULTILINE,
        )
        assert [name for name, *_ in figures] == ["comparison", "other"]
        assert all(int(all_of_them) == int(killed) > 5 for _, all_of_them, killed in figures)

    def test_what_another_run_killed_is_passed_over(self, tmp_path: Path) -> None:
        root, log = project(tmp_path, STRONG), tmp_path / "log"
        first, second = (
            try_limits(root, "--match", "n < bound", *more) for more in (["--log", log], ["--left", log])
        )
        assert re.search(r"comparison: 4 mutants, 0 explained, 4 killed", first.stdout), first.stderr
        assert re.search(r"comparison: 0 mutants", second.stdout), second.stderr

    def test_tests_that_do_not_look_are_found_out(self, tmp_path: Path) -> None:
        """In functions, in what a call leaves out, in what runs at import, and where nothing looks at all."""
        root = project(tmp_path, WEAK)
        (root / "docs").mkdir()
        (root / "docs" / "mutants.md").write_text(
            "* limits.py module: `9` -> `8`: said to make no difference\n"
            "* limits.py check: `least <= n <= LARGEST` -> `False`: said to make no difference, which is not so\n"
        )
        ended = try_limits(root, "--explained")
        assert ended.returncode == 1, ended.stdout + ended.stderr
        lines = ended.stdout.splitlines()
        for expected in (
            "survived: limits.py check: `least <= n <= LARGEST` -> `least < n <= LARGEST` (line 9)",
            "survived: limits.py check: `refuse_four(n)` -> `pass` (line 11)",
            "survived: limits.py module: `9` -> `10` (line 4)",
            "not run: limits.py is_small.below: `n < bound` -> `n <= bound` (line 21)",
            f"{UNLIKELY}: limits.py check: `least <= n <= LARGEST` -> `False`",
        ):
            assert expected in lines
        assert "`9` -> `8`" not in ended.stdout

    def test_tests_that_fail_without_mutants_are_no_judge(self, tmp_path: Path) -> None:
        ended = try_limits(project(tmp_path, STRONG.replace("[1, 2,", "[0, 2,")))
        assert ended.returncode not in (0, None)
        assert "fail without any mutant: test_limits.py::test_inside[0]" in ended.stderr

    def test_mutants_of_verifiers_are_killed(self) -> None:
        """A few of what `make mutants` tries at length."""
        ended = run(
            "tss/zk/sch.py", "tss/zk/elog.py", "tss/zk/enc_elg.py", "--slice", 12,
            "--tests", *(f"tests/zk/test_{name}.py" for name in ("sch", "elog", "enc_elg")),
        )  # fmt: skip
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert re.search(
            r"comparison: 12 mutants, \d+ explained, \d+ killed, 0 survived: 100.0 %", ended.stdout
        )


class TestExplanations:
    def test_each_is_about_a_mutant_that_exists(self) -> None:
        """A line whose code has changed has to be thought of again."""
        existing = set()
        for target in TARGETS:
            tree = ast.parse((ROOT / target.path).read_text(encoding="utf-8"))
            existing |= {m.id for m in mutants_of(target.path, tree) if target.holds(m.place.function)}
        reasons = known.read(ROOT / "docs" / "mutants.md")
        assert reasons
        assert not set(reasons) - existing

    @pytest.mark.parametrize(
        "line", ["* limits.py: `9` is fine", "* a b: `1` -> `2`: x\n* a b: `1` -> `2`: y"]
    )
    def test_a_line_of_another_form_is_an_error(self, tmp_path: Path, line: str) -> None:
        (tmp_path / "mutants.md").write_text(line + "\n")
        with pytest.raises(ValueError, match=r"mutants\.md"):
            known.read(tmp_path / "mutants.md")
