"""docs/mutants.md: the survivors that are understood, one line each, with the reason or below a heading that gives it."""

from __future__ import annotations

import re
from pathlib import Path

_LINE = re.compile(r"^\* (?P<id>\S+ \S+: `[^`]*` -> `[^`]*`(?: #\d+)?)(?:: (?P<reason>.+))?$")


def read(page: Path) -> dict[str, str]:
    """Reasons (or headings) by mutant id. Raises ValueError for a list item that is not of this form, or is there twice."""
    reasons: dict[str, str] = {}
    heading = ""
    for line in page.read_text(encoding="utf-8").splitlines() if page.exists() else []:
        if line.startswith("#"):
            heading = line.strip("# ")
        if not line.startswith("* "):
            continue
        match = _LINE.match(line)
        if match is None or match["id"] in reasons:
            raise ValueError(f"{page.name}: {line}")
        reasons[match["id"]] = match["reason"] or heading
    return reasons
