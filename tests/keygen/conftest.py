"""One quick start for the whole folder: it takes seconds, and nobody changes what it made."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from keygen_testing import keygen_argv
from processes import run_process


@dataclass(frozen=True)
class QuickStart:
    directory: Path
    code: int
    stdout: str
    output: str

    def copy(self, target: Path) -> Path:
        """A copy that a test may change."""
        return Path(shutil.copytree(self.directory, target, dirs_exist_ok=True))


@pytest.fixture(scope="session")
def quick(tmp_path_factory):
    directory = tmp_path_factory.mktemp("quick")
    code, process = run_process(keygen_argv(), cwd=directory, timeout=300)
    return QuickStart(directory, code, "\n".join(process.stdout), process.output)
