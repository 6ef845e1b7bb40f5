"""`python -m bench`: the one entry point, by what it prints for figures that cost milliseconds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHEAP = [
    "sign_stock_cpu",
    "shamir_split",
    "shamir_combine",
    "zkp_prove",
    "zkp_verify",
    "frost_round2",
    "frost_keygen",
]


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "bench", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_json_is_one_object_with_a_value_a_unit_and_a_ratio_for_each_name() -> None:
    done = bench("--json", *CHEAP)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found) == {"T_ms", "results"}
    assert found["T_ms"] > 0
    assert list(found["results"]) == CHEAP
    for name, result in found["results"].items():
        assert set(result) == {"value", "unit", "ratio_T"}, name
        assert result["unit"] == "ms", name
        assert result["value"] > 0, name
        assert result["ratio_T"] > 0, name


def test_table_has_a_line_for_each_name_with_goal_and_peers() -> None:
    done = bench("zkp_prove", "sign_stock_cpu")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("T = ")
    assert any(line.startswith("sign_stock_cpu") and "1 ms" in line for line in lines)
    assert any(line.startswith("zkp_prove") for line in lines)
    assert any("LFDT cggmp24" in line for line in lines)


@pytest.mark.parametrize("name", ["presign", "bench", "--jsno"])
def test_what_is_no_figure_is_refused(name: str) -> None:
    done = bench(name)
    assert done.returncode == 2
    assert "usage: python -m bench" in done.stderr
