"""One hash, one purpose (security.md A8), and what no file of the product may import (E1, E7)."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import tss
from tss.params import CGGMP24_SECP256K1
from tss.zk import aff_g, aff_g_star, dec, elog, enc_elg, fac, mod, prm, sch

PACKAGES = ("tss", "participant", "gateway", "sign_service", "keygen", "client", "wallet_mpc", "kit")
HOME = Path(tss.__file__).parents[1]
FOR_BACKOFF = {"participant/rooms.py"}


@cache
def trees() -> dict[str, ast.Module]:
    """Every file of the product that is written by hand, by its path."""
    found = [path for package in PACKAGES for path in sorted((HOME / package).rglob("*.py"))]
    files = {path.relative_to(HOME).as_posix(): path for path in found}
    return {
        name: ast.parse(path.read_text()) for name, path in files.items() if not name.startswith("kit/pb/")
    }


def calls(*functions: str) -> Iterator[tuple[str, ast.Call]]:
    for file, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                name = (
                    node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                )
                if name in functions:
                    yield file, node


def test_files_are_found() -> None:
    assert {file.partition("/")[0] for file in trees()} == set(PACKAGES)


@pytest.mark.attack("A8")
def test_a_tag_belongs_to_one_file() -> None:
    """Each kind of hash is made in one file, for one purpose."""
    places: dict[str, set[str]] = defaultdict(set)
    for file, call in calls("hc", "hash_commit"):
        constants = (arg.value for arg in call.args[:2] if isinstance(arg, ast.Constant))
        for tag in [value for value in constants if isinstance(value, str)][:1]:
            places[tag].add(file)
    assert {"keygen-commit", "aux-commit", "mta-commit", "echo", "done", "rerand", "req"} <= set(places)
    assert {tag: files for tag, files in places.items() if len(files) > 1} == {}


@pytest.mark.attack("A8")
def test_proofs_and_suites_have_names_of_their_own() -> None:
    names = [module.NAME for module in (sch, enc_elg, aff_g, elog, fac, mod, prm, dec, aff_g_star)]
    assert len(set(names)) == len(names)
    assert CGGMP24_SECP256K1.proto == "cggmp24-secp256k1/v1"


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.attack("E1")
@pytest.mark.attack("E7")
def test_what_is_never_imported() -> None:
    """`random` is for back-off alone, where nothing is secret; nothing that runs code while it reads is anywhere."""
    for file, tree in trees().items():
        names = set(imported(tree))
        roots = {name.partition(".")[0] for name in names}
        assert not roots & {"pickle", "shelve", "marshal", "dill", "cloudpickle", "jsonpickle"}, file
        assert "random" not in roots or file in FOR_BACKOFF, file
        assert not any(name.startswith("numpy.random") for name in names), file


@pytest.mark.attack("E1")
def test_no_random_state_of_gmp() -> None:
    assert not list(
        calls("random_state", "mpz_random", "mpz_urandomb", "mpz_rrandomb", "mpfr_random", "default_rng")
    )


@pytest.mark.attack("E7")
def test_yaml_is_read_by_safe_loaders() -> None:
    for file, call in calls("load", "load_all", "unsafe_load", "full_load", "safe_load", "safe_load_all"):
        source = ast.unparse(call)
        if source.startswith("yaml."):
            assert source.startswith("yaml.safe_load(") or source.endswith(
                (", _Loader)", ", _NoDuplicates)")
            ), file
    bases = {
        node.name: ast.unparse(node.bases[0])
        for tree in trees().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and node.name in {"_Loader", "_NoDuplicates"}
    }
    assert bases == {"_Loader": "yaml.SafeLoader", "_NoDuplicates": "yaml.SafeLoader"}
