"""The checked-in stubs are what proto/ generates, and the old wire never changes."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor import FieldDescriptor, FileDescriptor

from kit.pb import mpc_pb2
from kit.pb.wallet.v1 import operator_pb2, wallet_pb2

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.skipif(importlib.util.find_spec("grpc_tools") is None, reason="grpcio-tools is not installed")
def test_stubs_are_what_the_generator_writes(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHON": sys.executable}
    subprocess.run([REPOSITORY / "tools" / "generate_stubs.sh", tmp_path], check=True, env=env)
    made = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.rglob("*_pb2*")}
    checked_in = REPOSITORY / "kit" / "pb"
    kept = {path.relative_to(checked_in): path.read_text() for path in checked_in.rglob("*_pb2*.py*")}
    kept = {path: text for path, text in kept.items() if path.suffix in (".py", ".pyi")}
    assert made.keys() == kept.keys()
    for path, text in made.items():
        assert text == kept[path], f"{path}: run tools/generate_stubs.sh"


def fields(name: str) -> list[tuple[str, int, int]]:
    descriptor = mpc_pb2.DESCRIPTOR.message_types_by_name[name]
    return [(field.name, field.number, field.type) for field in descriptor.fields]


def test_the_wire_of_wallet_mpc_is_fixed() -> None:
    kind = FieldDescriptor
    assert fields("SignMessage") == [
        ("tx_id", 1, kind.TYPE_INT32),
        ("execution_id", 2, kind.TYPE_BYTES),
        ("chain", 3, kind.TYPE_ENUM),
        ("data", 4, kind.TYPE_BYTES),
        ("account_id", 5, kind.TYPE_STRING),
    ]
    assert fields("SignatureMessage") == [
        ("r", 1, kind.TYPE_BYTES),
        ("s", 2, kind.TYPE_BYTES),
        ("v", 3, kind.TYPE_UINT32),
    ]
    assert fields("Empty") == []
    assert dict(mpc_pb2.Chain.items()) == {"Ethereum": 0, "Bitcoin": 1}
    services = mpc_pb2.DESCRIPTOR.services_by_name
    assert {name: [method.name for method in service.methods] for name, service in services.items()} == {
        "Participant": ["SignTx"],
        "SignGateway": ["SignTx"],
    }
    # The bytes that a deployed client sends for a negative tx_id: ten-byte varint, then tags 2 to 5.
    message = mpc_pb2.SignMessage(
        tx_id=-1, execution_id=b"e", chain=mpc_pb2.Bitcoin, data=b"d", account_id="a"
    )
    assert message.SerializeToString() == b"\x08" + b"\xff" * 9 + b"\x01\x12\x01e\x18\x01\x22\x01d\x2a\x01a"


@pytest.mark.parametrize("file", [wallet_pb2.DESCRIPTOR, operator_pb2.DESCRIPTOR], ids=lambda file: file.name)
def test_our_services_have_canonical_names(file: FileDescriptor) -> None:
    assert file.package == "wallet.v1"
    assert file.name.startswith("wallet/v1/")
