"""All targets, by name."""

from __future__ import annotations

from pathlib import Path

import fuzz_access
import fuzz_backup
import fuzz_edwards
import fuzz_files
import fuzz_gateway
import fuzz_judge
import fuzz_keys
import fuzz_messages
import fuzz_node
import fuzz_payloads
import fuzz_session
import fuzz_tss
from fuzz_target import Target

CORPUS = Path(__file__).with_name("corpus")
"""A few inputs of each target, `corpus/<target>/<outcome>-<hash>`: what they are judged to be is in their names."""

_LISTED = [
    target
    for module in (
        fuzz_tss,
        fuzz_messages,
        fuzz_payloads,
        fuzz_edwards,
        fuzz_node,
        fuzz_gateway,
        fuzz_access,
        fuzz_files,
        fuzz_backup,
        fuzz_judge,
        fuzz_session,
        fuzz_keys,
    )
    for target in module.TARGETS
]
TARGETS: dict[str, Target] = {target.name: target for target in _LISTED}
assert len(TARGETS) == len(_LISTED), "two targets of one name"


def corpus_of(name: str) -> list[Path]:
    """The kept inputs of a target."""
    return sorted((CORPUS / name).iterdir())
