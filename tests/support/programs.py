"""Programs that tests use and `make test` does not install: tools/ci_install.sh does, and in CI a skipped test is a failure."""

from __future__ import annotations

import os
import shutil

import pytest


def needed(*commands: str, root: bool = False, at_import: bool = False) -> None:
    """Skip the test, or with `at_import` the whole module, where one of these commands, or root, is not there."""
    missing = [command for command in commands if shutil.which(command) is None]
    if missing:
        pytest.skip(
            f"not installed: {', '.join(missing)} (tools/ci_install.sh)", allow_module_level=at_import
        )
    if root and os.geteuid() != 0:
        pytest.skip("only root can do this", allow_module_level=at_import)
