"""The client's end: addresses, and what a failed call says where no service of ours spoke."""

from __future__ import annotations

import re
from pathlib import Path

import grpc
import pytest
from google.protobuf.any_pb2 import Any
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc import aio

from participant.grpc_client import Credentials, Target, failure_of_call, open_channel
from participant.services.status import CODES

PROTO = Path(__file__).parents[2] / "proto" / "wallet" / "v1" / "wallet.proto"


@pytest.mark.parametrize(
    ("text", "address", "tls", "local", "shown"),
    [
        ("127.0.0.1:50051", "127.0.0.1:50051", False, True, "http://127.0.0.1:50051"),
        ("http://localhost:1", "localhost:1", False, True, "http://localhost:1"),
        ("http://localhost:1/", "localhost:1", False, True, "http://localhost:1"),
        ("https://node.example:50051", "node.example:50051", True, False, "https://node.example:50051"),
        ("http://[::1]:7", "[::1]:7", False, True, "http://[::1]:7"),
        ("http://10.0.0.1:7", "10.0.0.1:7", False, False, "http://10.0.0.1:7"),
        (
            "unix:/run/node/operator.sock",
            "unix:/run/node/operator.sock",
            False,
            True,
            "unix:/run/node/operator.sock",
        ),
        ("unix:///run/operator.sock", "unix:/run/operator.sock", False, True, "unix:/run/operator.sock"),
    ],
)
def test_targets(text, address, tls, local, shown) -> None:
    target = Target.parse(text)
    assert (target.address, target.tls, target.local, str(target)) == (address, tls, local, shown)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost",
        "http://localhost",
        "ftp://x:1",
        "http://x:1/path",
        "http://x:port",
        "unix:",
        "unix://",
    ],
)
def test_what_is_no_target(text) -> None:
    with pytest.raises(ValueError, match="expected"):
        Target.parse(text)


async def test_credentials_that_the_target_cannot_take(tmp_path) -> None:
    with pytest.raises(ValueError, match="speaks no TLS"):
        open_channel(Target.parse("http://127.0.0.1:1"), Credentials(ca=tmp_path / "ca"))
    channel = open_channel(Target.parse("http://127.0.0.1:1"), Credentials(token="t"))
    await channel.close()


def failed_call(code: grpc.StatusCode, details: str, *trailing: tuple[str, bytes]) -> aio.AioRpcError:
    return aio.AioRpcError(code, aio.Metadata(), aio.Metadata(*trailing), details=details)


def status(**info: str) -> tuple[str, bytes]:
    message = Status(code=5, message="the text")
    message.details.add().Pack(ErrorInfo(**info))
    return "grpc-status-details-bin", message.SerializeToString()


def test_what_the_service_says_counts() -> None:
    error = failed_call(
        grpc.StatusCode.NOT_FOUND, "other words", status(reason="SOME_NEW_REASON", domain="wallet-mpc")
    )
    found = failure_of_call(error, "there")
    assert (found.reason, found.code, found.from_service) == ("SOME_NEW_REASON", "NOT_FOUND", True)
    assert (str(found), found.target) == ("the text", "there")


def broken_info() -> tuple[str, bytes]:
    message = Status(code=5, message="x")
    message.details.append(Any(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=b"\xff"))
    return "grpc-status-details-bin", message.SerializeToString()


@pytest.mark.parametrize(
    "trailing",
    [[], [("grpc-status-details-bin", b"\xff\xff")], [("grpc-status-details-bin", b"")], [broken_info()]],
    ids=["none", "no Status", "empty", "no ErrorInfo"],
)
def test_details_that_are_none_of_ours_do_no_harm(trailing) -> None:
    found = failure_of_call(failed_call(grpc.StatusCode.NOT_FOUND, "gone", *trailing), "there")
    assert (found.reason, str(found), found.from_service) == ("KEY_SHARE_NOT_FOUND", "gone", False)


@pytest.mark.parametrize(
    ("code", "details", "reason", "says"),
    [
        (
            "UNAVAILABLE",
            "failed to connect: Connection refused",
            "CONNECTION_REFUSED",
            "Connection refused: nobody listens",
        ),
        ("UNAVAILABLE", "No such file or directory", "CONNECTION_REFUSED", "nobody listens at there"),
        ("UNAVAILABLE", "Ssl handshake failed", "TLS_FAILED", "no TLS connection"),
        ("UNAVAILABLE", "network is down", "UNREACHABLE", "network is down"),
        ("UNAVAILABLE", "", "UNREACHABLE", "no reason is known"),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", "TIMEOUT", "did not answer in time"),
        ("UNIMPLEMENTED", "Method not found!", "NOT_OFFERED", "does not offer this call"),
        ("CANCELLED", "gone", "CANCELLED", "gone"),
        ("UNKNOWN", "", "INTERNAL", "there answered UNKNOWN"),
    ],
)
def test_what_is_said_where_the_service_says_nothing(code, details, reason, says) -> None:
    found = failure_of_call(failed_call(grpc.StatusCode[code], details), "there")
    assert (found.reason, found.code, found.from_service) == (reason, code, False)
    assert says in str(found)


def test_the_proto_lists_every_reason_under_its_code() -> None:
    listed = {}
    for line in PROTO.read_text().splitlines():
        match = re.fullmatch(r"//   ([A-Z_]+) +(.+)", line)
        if match is not None:
            for reason in re.findall(r"[A-Z_]{4,}", match[2]):
                listed[reason] = match[1]
    assert listed == {reason: code.name for reason, code in CODES.items()}
