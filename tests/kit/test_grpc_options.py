"""Options of gRPC channels and servers: the library passes over names that it does not know in silence."""

from __future__ import annotations

import ast
from pathlib import Path

import grpc._cython.cygrpc as library
import pytest

import kit

HOME = Path(kit.__file__).parents[1]
SETTINGS = {"grpc.port", "grpc.host"}
"""Keys of our own settings."""


def options() -> dict[str, set[str]]:
    """{name: files} of every text that begins like an option."""
    found: dict[str, set[str]] = {}
    for package in ("participant", "gateway", "kit", "client", "sign_service", "keygen"):
        for path in sorted((HOME / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if (
                    isinstance(node, ast.Constant)
                    and isinstance(node.value, str)
                    and node.value.startswith("grpc.")
                ):
                    found.setdefault(node.value, set()).add(path.relative_to(HOME).as_posix())
    return {name: files for name, files in found.items() if name not in SETTINGS and " " not in name}


@pytest.fixture(scope="module")
def known() -> bytes:
    return Path(library.__file__).read_bytes()


def test_options_are_found() -> None:
    assert len(options()) > 10


@pytest.mark.parametrize("name", sorted(options()))
def test_the_library_knows_the_option(name: str, known: bytes) -> None:
    assert name.encode() + b"\0" in known, options()[name]


def test_a_name_that_it_does_not_know_would_be_noticed(known: bytes) -> None:
    assert b"grpc.http2.min_recv_ping_interval_without_data_ms" not in known


def test_servers_let_clients_ping_as_often_as_these_do() -> None:
    """Otherwise a call that is silent for some minutes ends with "Too many pings"."""
    for server in ("participant/services/listener.py", "gateway/proxy.py"):
        source = (HOME / server).read_text(encoding="utf-8")
        assert '("grpc.http2.min_ping_interval_without_data_ms", 10_000)' in source
    assert '("grpc.keepalive_time_ms", 30_000)' in (HOME / "participant" / "grpc_client.py").read_text(
        encoding="utf-8"
    )
