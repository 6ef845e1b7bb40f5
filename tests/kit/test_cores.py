from __future__ import annotations

import os
import subprocess
import sys

from kit.cores import usable_cores

HOW_MANY = "from kit.cores import usable_cores; print(usable_cores())"


def test_a_process_that_is_kept_off_cores_does_not_count_them():
    one = str(min(os.sched_getaffinity(0)))
    kept = ["taskset", "-c", one, sys.executable, "-c", HOW_MANY]
    assert subprocess.run(kept, check=True, capture_output=True, text=True).stdout == "1\n"


def test_where_the_system_does_not_say_all_count(monkeypatch):
    monkeypatch.delattr("os.sched_getaffinity")
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    assert usable_cores() == 3
    monkeypatch.setattr("os.cpu_count", lambda: None)
    assert usable_cores() == 1
