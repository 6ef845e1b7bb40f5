"""A node's failures as gRPC statuses: a code, the text, and google.rpc.ErrorInfo with the stable reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import grpc
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc import StatusCode

from participant.node.errors import NodeFailure

DOMAIN: Final = "wallet-mpc"
STATUS_DETAILS: Final = "grpc-status-details-bin"
MAX_TEXT: Final = 1200
"""Bytes of a text. It travels twice in the trailers, for which many clients have 8 KiB."""

CODES: Final[Mapping[str, StatusCode]] = {
    "INVALID_REQUEST": StatusCode.INVALID_ARGUMENT,
    "HARDENED_PATH": StatusCode.INVALID_ARGUMENT,
    "NOT_A_SIGNER": StatusCode.INVALID_ARGUMENT,
    "BAD_DIGEST": StatusCode.INVALID_ARGUMENT,
    "KEY_SHARE_NOT_FOUND": StatusCode.NOT_FOUND,
    "COMMITTEE_UNKNOWN": StatusCode.NOT_FOUND,
    "SESSION_NOT_FOUND": StatusCode.NOT_FOUND,
    "EVIDENCE_NOT_FOUND": StatusCode.NOT_FOUND,
    "ACCOUNT_EXISTS": StatusCode.ALREADY_EXISTS,
    "REQUEST_CONFLICT": StatusCode.ALREADY_EXISTS,
    "THRESHOLD_NOT_MET": StatusCode.UNAVAILABLE,
    "PARTIES_MISSING": StatusCode.UNAVAILABLE,
    "GATEWAY_UNREACHABLE": StatusCode.UNAVAILABLE,
    "GATEWAY_REFUSED": StatusCode.UNAVAILABLE,
    "NOT_READY": StatusCode.UNAVAILABLE,
    "PEER_FAULT": StatusCode.ABORTED,
    "PEER_QUARANTINED": StatusCode.FAILED_PRECONDITION,
    "SIGNER_SET_BLOCKED": StatusCode.FAILED_PRECONDITION,
    "CEREMONY_FAILED": StatusCode.ABORTED,
    "ABORTED": StatusCode.ABORTED,
    "TIMEOUT": StatusCode.DEADLINE_EXCEEDED,
    "BUSY": StatusCode.RESOURCE_EXHAUSTED,
    "RATE_LIMITED": StatusCode.RESOURCE_EXHAUSTED,
    "NEEDS_AUX": StatusCode.FAILED_PRECONDITION,
    "ACCOUNT_FROZEN": StatusCode.FAILED_PRECONDITION,
    "ACCOUNT_DELETED": StatusCode.FAILED_PRECONDITION,
    "REFRESH_NEEDED": StatusCode.FAILED_PRECONDITION,
    "SHARE_TOO_OLD": StatusCode.FAILED_PRECONDITION,
    "SHARE_DAMAGED": StatusCode.DATA_LOSS,
    "STORE_FAILED": StatusCode.INTERNAL,
    "POLICY_REFUSED": StatusCode.PERMISSION_DENIED,
    "PERMISSION_DENIED": StatusCode.PERMISSION_DENIED,
    "UNAUTHENTICATED": StatusCode.UNAUTHENTICATED,
    "INTERNAL": StatusCode.INTERNAL,
}
"""Code by reason, in `wallet.v1`."""

_FAILED_SIGNING: Final = frozenset(
    {
        *("THRESHOLD_NOT_MET", "PARTIES_MISSING", "GATEWAY_UNREACHABLE", "GATEWAY_REFUSED", "PEER_FAULT", "CEREMONY_FAILED", "ABORTED"),
        *("PEER_QUARANTINED", "SIGNER_SET_BLOCKED"),
        *("TIMEOUT", "NEEDS_AUX", "ACCOUNT_FROZEN", "SHARE_DAMAGED", "STORE_FAILED"),
        *("ACCOUNT_DELETED", "REFRESH_NEEDED", "SHARE_TOO_OLD"),
    }
)  # fmt: skip

PARTICIPANT_CODES: Final[Mapping[str, StatusCode]] = {
    reason: StatusCode.INTERNAL if reason in _FAILED_SIGNING else code for reason, code in CODES.items()
}
"""Code by reason in `mpc.Participant`, whose callers know INTERNAL for a signing that failed."""


def trailers(code: StatusCode, failure: NodeFailure) -> tuple[str, tuple[tuple[str, bytes], ...]]:
    """The text and the trailing metadata of a failed call."""
    text = _cut(str(failure))
    number: int = code.value[0]
    status = Status(code=number, message=text)
    info = ErrorInfo(reason=failure.reason, domain=DOMAIN)
    for key, value in failure.metadata.items():
        info.metadata[key] = _cut(value)
    status.details.add().Pack(info)
    return text, ((STATUS_DETAILS, status.SerializeToString()),)


def _cut(text: str) -> str:
    """At most MAX_TEXT bytes of UTF-8, on one line."""
    text = " ".join(text.split())
    data = text.encode("utf-8", "replace")
    if len(data) <= MAX_TEXT:
        return data.decode()
    return data[: MAX_TEXT - 3].decode("utf-8", "ignore") + "..."


def code_of(failure: NodeFailure, codes: Mapping[str, StatusCode] = CODES) -> grpc.StatusCode:
    """The code for a failure; INTERNAL for a reason that has none."""
    return codes.get(failure.reason, StatusCode.INTERNAL)
