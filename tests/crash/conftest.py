"""One server for the module, on a disk that is quick where there is one."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from crashing.harness import CrashServer, build_shim

MEMORY = Path("/dev/shm")  # noqa: S108 - a disk whose syncs cost nothing; kill -9 loses nothing of it


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Iterator[Path]:
    """A directory for stores."""
    if MEMORY.is_dir() and os.access(MEMORY, os.W_OK):
        with tempfile.TemporaryDirectory(prefix="wallet-mpc-crash-", dir=MEMORY) as directory:
            yield Path(directory)
    else:
        yield tmp_path_factory.mktemp("crash")


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[CrashServer]:
    with CrashServer(build_shim(tmp_path_factory.mktemp("shim"))) as server:
        yield server
