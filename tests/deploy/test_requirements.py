"""What is declared is what is imported, and the locked lists hold the versions that the tests run with."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
# Distributions that share the namespace package `google`.
GOOGLE = {"google.protobuf": "protobuf", "google.rpc": "googleapis-common-protos"}
# uvicorn imports it for us: kit/http.py builds on uvicorn's protocol class for it.
UNSEEN = {"httptools"}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(requirements: list[str]) -> set[str]:
    return {normal(re.match(r"[A-Za-z0-9_.-]+", line)[0]) for line in requirements}


def lines_of(name: str) -> list[str]:
    lines = (ROOT / "requirements" / name).read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def pins(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / name).read_text()
    found = dict(re.findall(r"^([A-Za-z0-9_.-]+)==(\S+) (?:;.*)?\\$", text, re.MULTILINE))
    assert found
    assert text.count("--hash=sha256:") >= len(found)
    return {normal(package): version for package, version in found.items()}


def imported(directories: list[str]) -> set[str]:
    """The distributions that the sources below import."""
    modules = set()
    for directory in directories:
        for path in (ROOT / directory).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    modules |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.level == 0:
                    modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    providers = packages_distributions()
    distributions = set()
    for module in modules:
        top = module.split(".")[0]
        if top in sys.stdlib_module_names or top in PACKAGES:
            continue
        shared = ".".join(module.split(".")[:2])
        distributions.add(GOOGLE[shared] if top == "google" else normal(providers[top][0]))
    return distributions


def without_tracing(found: set[str]) -> set[str]:
    """Without the extra, whose distributions share one package."""
    return {name for name in found if not name.startswith("opentelemetry-")}


def test_what_is_imported_is_what_is_declared() -> None:
    found = imported(PACKAGES)
    project = PROJECT["project"]
    # What is imported only where it is used.
    extras = [line for name in ("hsm", "kms") for line in project["optional-dependencies"][name]]
    assert without_tracing(found) | UNSEEN == declared([*project["dependencies"], *extras])
    extra = declared(project["optional-dependencies"]["tracing"])
    assert without_tracing(found) != found
    assert without_tracing(extra) == set()
    assert extra <= pins("dev.txt").keys()


def test_the_gateways_list_is_what_gateway_and_kit_import() -> None:
    assert without_tracing(imported(["gateway", "kit"])) | UNSEEN == declared(lines_of("gateway.in"))


def test_the_list_for_traces_is_the_extra() -> None:
    assert declared(lines_of("tracing.in")) == declared(
        PROJECT["project"]["optional-dependencies"]["tracing"]
    )


def test_images_build_the_wheel_with_the_declared_backend() -> None:
    assert lines_of("build.in") == PROJECT["build-system"]["requires"]


@pytest.mark.parametrize(
    ("image", "tested"),
    [
        ("gateway.txt", "run.txt"),
        ("service.txt", "run.txt"),
        ("build.txt", "dev.txt"),
        ("tracing.txt", "dev.txt"),
        ("run.txt", "dev.txt"),
    ],
)
def test_an_image_installs_the_versions_that_are_tested(image: str, tested: str) -> None:
    known = pins(tested)
    assert {name: known.get(name) for name in pins(image)} == pins(image)


@pytest.mark.parametrize("name", ["run.txt", "service.txt"])
def test_nothing_declared_is_missing_from_a_list(name: str) -> None:
    assert declared(PROJECT["project"]["dependencies"]) <= pins(name).keys()


def test_the_gateways_image_has_nothing_that_signs() -> None:
    assert not pins("gateway.txt").keys() & {"gmpy2", "coincurve", "pynacl", "numpy"}
