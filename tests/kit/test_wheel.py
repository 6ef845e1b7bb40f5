"""What the wheel holds: the product, and no way to weaker parameters, to a lie, or to a seam of the tests."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
READ_ENVIRONMENT = {"participant/node/primes.py", "client/local.py", "kit/settings.py", "kit/tls.py"}
"""Who looks at it: settings by their documented names; children inherit it; gRPC is told its ciphers."""


@pytest.fixture(scope="module")
def wheel() -> dict[str, Path]:
    """{path in the wheel: file}."""
    return {
        file.distribution_path: Path(file.path) for file in WheelBuilder(str(ROOT)).recurse_included_files()
    }


@pytest.fixture(scope="module")
def trees(wheel: dict[str, Path]) -> dict[str, ast.Module]:
    written = {
        name: file for name, file in wheel.items() if name.endswith(".py") and not name.startswith("kit/pb/")
    }
    return {name: ast.parse(file.read_text(encoding="utf-8")) for name, file in written.items()}


def test_packages_and_commands(wheel: dict[str, Path]) -> None:
    packages = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert {name.partition("/")[0] for name in wheel} == set(packages)
    assert not [name for name in wheel if "test" in name]
    assert PROJECT["project"]["scripts"] == {
        "sign-gateway": "gateway.main:main",
        "sign-service": "sign_service.main:main",
        "mpc-keygen": "keygen.main:main",
        "mpc-client": "client.main:main",
    }


def test_one_level_and_one_suite(trees: dict[str, ast.Module]) -> None:
    made = {
        (name, ast.unparse(node.func), ast.unparse(node))
        for name, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).rpartition(".")[2] in {"SecurityLevel", "Suite"}
    }
    assert {(name, function) for name, function, _ in made} == {
        ("tss/params.py", "SecurityLevel"),
        ("tss/params.py", "Suite"),
        # That of HPKE.
        ("tss/envelope.py", "Suite"),
    }
    # CGGMP24, FROST and BIP-340, at one level.
    assert len(made) == 5


def test_nothing_of_the_tests_is_known(wheel: dict[str, Path], trees: dict[str, ast.Module]) -> None:
    for name, file in wheel.items():
        text = file.read_text(encoding="utf-8")
        for word in (
            "WALLET_MPC_TEST",
            "testing_daemon",
            "cheating_daemon",
            "toy32",
            "testing-",
            "tss_testing",
        ):
            assert word not in text, (name, word)
    for name, tree in trees.items():
        used = any(
            isinstance(node, ast.Attribute) and ast.unparse(node) in {"os.environ", "os.getenv"}
            for node in ast.walk(tree)
        )
        assert not used or name in READ_ENVIRONMENT, name
