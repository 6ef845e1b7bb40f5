"""docs/attacks.md: every row of the catalogue is there, and what it names exists and answers for it."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "attacks.md").read_text(encoding="utf-8")
CATALOGUE = [
    f"{part}{number}"
    for part, last in (("A", 9), ("B", 11), ("C", 12), ("D", 15), ("E", 8))
    for number in range(1, last + 1)
]
LATER = {"C6", "C9", "D4", "D5", "D6", "E5", "E6"}
"""Rows of what does not exist yet."""


def rows() -> dict[str, list[str]]:
    """{row: [attack, check, tests, decided]}."""
    lines = re.findall(r"^\| ([A-E]\d+) \| (.*) \|$", PAGE, re.MULTILINE)
    return {row: [cell.strip() for cell in rest.split(" |")] for row, rest in lines}


def names(cell: str, form: str) -> list[tuple[str, str]]:
    return re.findall(form, cell)


@cache
def definitions(path: Path) -> dict[str, set[str]]:
    """{class, function or method: the rows that it is marked with}; a method's are its class's, too."""
    found: dict[str, set[str]] = {}

    def visit(body: list[ast.stmt], prefix: str, inherited: set[str]) -> None:
        for node in body:
            if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                own = set(marks(node)) | inherited
                found[prefix + node.name] = own
                if isinstance(node, ast.ClassDef):
                    visit(node.body, f"{prefix}{node.name}.", own)

    visit(ast.parse(path.read_text(encoding="utf-8")).body, "", set())
    return found


def marks(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.attack":
            (row,) = decorator.args
            assert isinstance(row, ast.Constant), ast.unparse(decorator)
            yield str(row.value)


def test_every_row_of_the_catalogue_is_listed_once() -> None:
    listed = re.findall(r"^\| ([A-E]\d+) \|", PAGE, re.MULTILINE)
    assert listed == CATALOGUE


@pytest.mark.parametrize("row", CATALOGUE)
def test_a_row_names_its_check_and_its_tests(row: str) -> None:
    attack, check, tests, _decided = rows()[row]
    assert attack
    places = names(check, r"`([\w/]+\.py):([\w.]+)`")
    for file, function in places:
        assert function in definitions(ROOT / file), f"{row}: {file}:{function}"
    answering = names(tests, r"`([\w/]+\.py)::([\w:]+)`")
    for file, test in answering:
        known = definitions(ROOT / "tests" / file)
        assert test.replace("::", ".") in known, f"{row}: {file}::{test}"
        assert row in known[test.replace("::", ".")], f"{file}::{test} does not carry {row}"
    if row in LATER:
        assert check.startswith("comes with "), row
        assert not answering, row
    else:
        assert places, row
        assert answering, row


def test_every_mark_is_a_row_that_has_come() -> None:
    marked: dict[str, set[str]] = defaultdict(set)
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for name, carried in definitions(path).items():
            for row in carried:
                marked[row].add(f"{path.relative_to(ROOT)}::{name}")
    assert set(marked) == set(CATALOGUE) - LATER, marked.get("".join(set(marked) - set(CATALOGUE)))


def test_a_change_would_be_noticed() -> None:
    known = definitions(ROOT / "tests" / "zk" / "test_prm.py")
    assert known["TestSmallOrder.test_s_is_no_square"] == {"A2"}
    assert "A2" not in known["test_two_first_messages_joined_into_one"]
    assert "verify" in definitions(ROOT / "tss" / "zk" / "prm.py")
    assert "verified" not in definitions(ROOT / "tss" / "zk" / "prm.py")
