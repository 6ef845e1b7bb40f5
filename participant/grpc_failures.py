"""What a caller of a service is told when a request fails: one class, told apart by a stable reason.

`reason` is the one that the service gave (`wallet.v1`, google.rpc.ErrorInfo) or one of the caller's own side, such as
CONNECTION_REFUSED. The advice says what the caller can do about it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import ErrorInfo
from grpc import aio
from grpc_status import rpc_status

from participant.errors import NodeError
from participant.node.errors import NodeFailure

ERROR_DOMAIN: Final = "wallet-mpc"

_ADVICE: Final[Mapping[str, str]] = {
    "BAD_DIGEST": "give the 32 bytes to be signed as 64 hexadecimal digits, or the message itself",
    "HARDENED_PATH": "use indices without ' (below 2147483648), such as m/0/5: a hardened key needs the private key",
    "REQUEST_CONFLICT": "take a new request id, or leave it out",
    "ALREADY_EXISTS": "take a new request id or account id",
    "ACCOUNT_EXISTS": "take another account id; `mpc-client accounts` lists those that there are",
    "WRONG_CHAIN": "correct chainId in the transaction, or ethereum.chain_id in the settings",
    "KEY_SHARE_NOT_FOUND": "compare the account id with what `mpc-client accounts` lists; make a key with "
    "`mpc-keygen create`, or correct key_share_file in the settings",
    "SHARE_DAMAGED": "ask another participant to sign, and restore this one's share from its backup",
    "NEEDS_AUX": "start all participants once: they make the auxiliary information together",
    "THRESHOLD_NOT_MET": "start the participants that are missing, see that no two have the same index, and that all "
    "use the same gateway",
    "PARTIES_MISSING": "this needs every participant: start those that are missing",
    "TIMEOUT": "see that the silent participants run and reach the gateway, then try again",
    "GATEWAY_UNREACHABLE": "start sign-gateway first, then compare gateway.url with the line that it prints",
    "NOT_READY": "try again in a moment",
    "BUSY": "try again in a moment",
    "RATE_LIMITED": "wait, or ask the service's operator for a higher limit",
    "POLICY_REFUSED": "the policy of the participant that refused decides; its operator can change it",
    "PERMISSION_DENIED": "the service's operator decides which accounts you may use",
    "UNAUTHENTICATED": "set a token file, or certificate and key, to credentials that the service knows",
    "ACCOUNT_FROZEN": "the operator of that participant froze the account and can lift it",
    "PEER_FAULT": "that participant is in quarantine now: go on with others, and look into it before you trust it again",
    "BAD_ANSWER": "do not use what this service answers before its operator has explained it",
    "NOT_OFFERED": "see that the address is a sign-service's, and that it is not older than this command",
    "CEREMONY_FAILED": "nobody is at fault: try again",
    "STORE_FAILED": "nothing was signed; see the participant's log and the disk that holds its store",
}

_BY_CODE: Final[Mapping[grpc.StatusCode, str]] = {
    grpc.StatusCode.INVALID_ARGUMENT: "INVALID_REQUEST",
    grpc.StatusCode.NOT_FOUND: "KEY_SHARE_NOT_FOUND",
    grpc.StatusCode.ALREADY_EXISTS: "ALREADY_EXISTS",
    grpc.StatusCode.PERMISSION_DENIED: "PERMISSION_DENIED",
    grpc.StatusCode.UNAUTHENTICATED: "UNAUTHENTICATED",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "RATE_LIMITED",
    grpc.StatusCode.ABORTED: "ABORTED",
    grpc.StatusCode.CANCELLED: "ABORTED",
}


class RequestFailed(NodeError):
    """A request failed, or could not be made; str() says why and what to do.

    `metadata` holds the details that a program may want (see participant.node.errors).
    """

    def __init__(
        self, what: str, *, reason: str, advice: str | None = None, metadata: Mapping[str, str] | None = None
    ) -> None:
        self.what = what
        self.reason = reason
        self.advice = _ADVICE.get(reason, "") if advice is None else advice
        self.metadata: Mapping[str, str] = dict(metadata or {})
        super().__init__(f"{what} ({self.advice})" if self.advice else what)

    def as_dict(self) -> dict[str, object]:
        """For `--json`."""
        return {
            "error": {
                "reason": self.reason,
                "message": self.what,
                "advice": self.advice,
                "metadata": dict(self.metadata),
            }
        }


def of_failure(failure: NodeFailure) -> RequestFailed:
    """The same for a node in this process."""
    return RequestFailed(str(failure), reason=failure.reason, metadata=failure.metadata)


def of_status(error: aio.AioRpcError, target: str) -> RequestFailed:
    """The error behind a failed call to `target`."""
    told = _told(error)
    if told is not None:
        return told
    code = error.code()
    text = error.details() or f"{target} answered {code.name}"
    if code is grpc.StatusCode.UNAVAILABLE:
        return unreachable(target, text)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return RequestFailed(f"{target} did not answer in time", reason="TIMEOUT")
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return RequestFailed(f"{target} does not offer this call", reason="NOT_OFFERED")
    return RequestFailed(text, reason=_BY_CODE.get(code, "INTERNAL"))


def unreachable(target: str, details: str) -> RequestFailed:
    """Nobody answers at `target`; `details` are gRPC's words."""
    lower = details.lower()
    if "connection refused" in lower or "no such file" in lower:
        return RequestFailed(
            f"Connection refused: nobody listens at {target}",
            reason="CONNECTION_REFUSED",
            advice="start sign-service there, or correct the address; see also that no firewall is between",
        )
    if "handshake" in lower or "ssl" in lower:
        return RequestFailed(
            f"no TLS connection with {target}: {details}",
            reason="UNREACHABLE",
            advice="compare https:// or http://, ca, certificate and key in the settings with those of the service",
        )
    return RequestFailed(
        f"no connection with {target}: {details}",
        reason="UNREACHABLE",
        advice="see that it runs, and that host and port in the settings are right",
    )


def _told(error: aio.AioRpcError) -> RequestFailed | None:
    """What the service said about its own failure, where it did."""
    call: Any = (
        error  # The library's types know synchronous calls only; what it reads, an AioRpcError has too.
    )
    try:
        status = rpc_status.from_call(call)
        for detail in status.details if status is not None else ():
            info = ErrorInfo()
            if detail.Is(ErrorInfo.DESCRIPTOR) and detail.Unpack(info) and info.domain == ERROR_DOMAIN:
                return RequestFailed(status.message, reason=info.reason, metadata=info.metadata)
    except (ValueError, DecodeError):
        # The details are no google.rpc.Status, or contradict the call: no service of ours.
        return None
    return None
