"""docs/reliability.md: every fault of the plan is there, and the tests that it names exist and inject it."""

from __future__ import annotations

import pytest
from marked_tests import ROOT, cells, definitions, marked, named_tests

MARK = "fault"
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("\n## Faults\n")[2].partition("\n## ")[0]
PLAN = [str(number) for number in range(1, 26)]
LATER = {"23", "24"}
"""Faults of what does not exist yet."""


def rows() -> dict[str, list[str]]:
    """{number: [fault, injection, outcome, tests]}."""
    return cells(SECTION, r"\d+")


def test_every_fault_is_listed_once_and_in_order() -> None:
    assert list(rows()) == PLAN


@pytest.mark.parametrize("number", PLAN)
def test_a_row_names_tests_that_inject_it(number: str) -> None:
    fault, injection, outcome, tests = rows()[number]
    assert fault
    named = named_tests(tests)
    if number in LATER:
        assert injection.startswith("comes with ")
        assert not named
        return
    assert injection
    assert outcome
    assert named
    for file, test in named:
        known = definitions(ROOT / "tests" / file, MARK)
        assert test.replace("::", ".") in known, f"{number}: {file}::{test}"
        assert number in known[test.replace("::", ".")], f"{file}::{test} does not carry {number}"


def test_every_mark_is_a_fault_of_what_exists() -> None:
    assert set(marked(MARK)) == set(PLAN) - LATER


def test_a_change_would_be_noticed() -> None:
    known = definitions(ROOT / "tests" / "integration" / "test_gateway_lost.py", MARK)
    assert known["test_during_signing"] == {"1"}, "a module's mark is its tests'"
    known = definitions(ROOT / "tests" / "integration" / "test_hostile_gateway.py", MARK)
    assert known["test_duplicates_change_nothing"] == {"3", "25"}
    assert named_tests("`a/b.py::test_c` and `a/b.py::D::test_e`") == [
        ("a/b.py", "test_c"),
        ("a/b.py", "D::test_e"),
    ]
    assert cells("| 7 | a | b |\n| x | c |\n", r"\d+") == {"7": ["a", "b"]}
