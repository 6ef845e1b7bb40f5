"""docs/attacks.md: every row of the catalogue is there, and what it names exists and answers for it."""

from __future__ import annotations

import re

import pytest
from marked_tests import ROOT, cells, definitions, marked, named_tests

MARK = "attack"
PAGE = (ROOT / "docs" / "attacks.md").read_text(encoding="utf-8")
CATALOGUE = [
    f"{part}{number}"
    for part, last in (("A", 9), ("B", 11), ("C", 12), ("D", 15), ("E", 8))
    for number in range(1, last + 1)
]
LATER = {"E6"}
"""Rows of what does not exist yet."""


def rows() -> dict[str, list[str]]:
    """{row: [attack, check, tests, decided]}."""
    return cells(PAGE, r"[A-E]\d+")


def test_every_row_of_the_catalogue_is_listed_once() -> None:
    listed = re.findall(r"^\| ([A-E]\d+) \|", PAGE, re.MULTILINE)
    assert listed == CATALOGUE


@pytest.mark.parametrize("row", CATALOGUE)
def test_a_row_names_its_check_and_its_tests(row: str) -> None:
    attack, check, tests, _decided = rows()[row]
    assert attack
    places = re.findall(r"`([\w/]+\.py):([\w.]+)`", check)
    for file, function in places:
        assert function in definitions(ROOT / file, MARK), f"{row}: {file}:{function}"
    answering = named_tests(tests)
    for file, test in answering:
        known = definitions(ROOT / "tests" / file, MARK)
        assert test.replace("::", ".") in known, f"{row}: {file}::{test}"
        assert row in known[test.replace("::", ".")], f"{file}::{test} does not carry {row}"
    if row in LATER:
        assert check.startswith("comes with "), row
        assert not answering, row
    else:
        assert places, row
        assert answering, row


def test_every_mark_is_a_row_that_has_come() -> None:
    found = marked(MARK)
    assert set(found) == set(CATALOGUE) - LATER, found.get("".join(set(found) - set(CATALOGUE)))


def test_a_change_would_be_noticed() -> None:
    known = definitions(ROOT / "tests" / "zk" / "test_prm.py", MARK)
    assert known["TestSmallOrder.test_s_is_no_square"] == {"A2"}
    assert "A2" not in known["test_two_first_messages_joined_into_one"]
    assert "verify" in definitions(ROOT / "tss" / "zk" / "prm.py", MARK)
    assert "verified" not in definitions(ROOT / "tss" / "zk" / "prm.py", MARK)
