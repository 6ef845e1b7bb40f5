"""docs/operations.md names every reason for which the gateway refuses something, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = [*(ROOT / "gateway").glob("*.py"), ROOT / "kit" / "http.py"]
# Calls that name a reason, as their first argument or the one after the status.
NAMING = {"Refusal", "NotAdmitted", "StoreFull", "TokenRefused", "TooMuch", "refused", "_refuse", "_take"}
# Starlette's errors other than 404 and 405, which it never raises here.
UNREACHED = {"http_error"}


def name_of(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def reasons_in(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    constants = {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        given: list[ast.expr] = []
        if isinstance(node, ast.Call) and name_of(node.func) in NAMING:
            given = node.args[:4] if name_of(node.func) == "_take" else node.args[:2]
        elif isinstance(node, ast.FunctionDef) and node.name == "enter":
            given = [one.value for one in ast.walk(node) if isinstance(one, ast.Return) and one.value]
        elif (
            isinstance(node, ast.Call)
            and name_of(node.func) == "get"
            and isinstance(node.func, ast.Attribute)
        ):
            table = node.func.value
            given = table.values if isinstance(table, ast.Dict) else []
        for one in given:
            value = constants.get(one.id) if isinstance(one, ast.Name) else getattr(one, "value", None)
            if isinstance(value, str) and re.fullmatch(r"[a-z0-9_]+", value):
                yield value


def documented() -> set[str]:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| (?:[0-9]{3}(?:, [0-9]{3})*|none) \| ((?:`[a-z0-9_]+`(?:, )?)+) \|", text, re.MULTILINE
    )
    return {reason for row in rows for reason in re.findall(r"`([a-z0-9_]+)`", row)}


def test_every_reason_is_documented_and_no_other() -> None:
    found = {reason for path in SOURCES for reason in reasons_in(path)}
    assert found - UNREACHED == documented()
