from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, resource
from kit.hardening import forbid_memory_dumps
get = lambda: ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)
before = get()
forbid_memory_dumps()
print(before, get(), resource.getrlimit(resource.RLIMIT_CORE))
"""


@pytest.mark.attack("E3")
def test_no_core_image_and_no_reader():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.split(maxsplit=2) == ["1", "0", "(0, 0)\n"]
