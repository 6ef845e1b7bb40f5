"""What tests say by their marks, read from their sources: for the documents that list them."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def cells(page: str, key: str) -> dict[str, list[str]]:
    """The rows of a page's tables whose first cell is a `key` (a pattern): {first cell: the others}."""
    lines = re.findall(rf"^\| ({key}) \| (.*) \|$", page, re.MULTILINE)
    return {row: [cell.strip() for cell in rest.split(" |")] for row, rest in lines}


def named_tests(cell: str) -> list[tuple[str, str]]:
    """(file below tests/, name with :: between class and method) of every test that is named between backticks."""
    return re.findall(r"`([\w/]+\.py)::([\w:]+)`", cell)


@cache
def definitions(path: Path, mark: str) -> dict[str, set[str]]:
    """{class, function or method: the arguments of its marks}; a method has its class's, too, and all have the module's."""
    found: dict[str, set[str]] = {}

    def visit(body: list[ast.stmt], prefix: str, inherited: set[str]) -> None:
        for node in body:
            if isinstance(node, Definition):
                own = set(_marks(node.decorator_list, mark)) | inherited
                found[prefix + node.name] = own
                if isinstance(node, ast.ClassDef):
                    visit(node.body, f"{prefix}{node.name}.", own)

    module = ast.parse(path.read_text(encoding="utf-8"))
    visit(module.body, "", set(_module_marks(module, mark)))
    return found


def _module_marks(module: ast.Module, mark: str) -> Iterator[str]:
    for node in module.body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [
            "pytestmark"
        ]:
            listed = node.value.elts if isinstance(node.value, ast.List) else [node.value]
            yield from _marks(listed, mark)


def _marks(decorators: list[ast.expr], mark: str) -> Iterator[str]:
    for decorator in decorators:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == f"pytest.mark.{mark}":
            (row,) = decorator.args
            assert isinstance(row, ast.Constant), ast.unparse(decorator)
            yield str(row.value)


def marked(mark: str) -> dict[str, set[str]]:
    """{argument of the mark: the tests that carry it}, of all tests."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for name, carried in definitions(path, mark).items():
            if name.rpartition(".")[2].startswith("test_"):
                for row in carried:
                    found[row].add(f"{path.relative_to(ROOT)}::{name}")
    return found
