"""The client's end of a node's gRPC services, and every failure of a call as one typed error.

    async with ServiceClient("https://127.0.0.1:50051", Credentials(ca=ca, token=token)) as node:
        account = await node.call(node.wallet.GetAccount, GetAccountRequest(account_id="main"))
        async for progress in node.stream(node.wallet.CreateAccount, CreateAccountRequest(account_id="new")):
            ...

`node.wallet`, `node.operator` and `node.participant` are the generated stubs of `wallet.v1.Wallet`, `wallet.v1.Operator`
(on the operator's listener only) and `mpc.Participant`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self, TypeVar
from urllib.parse import urlsplit

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc import aio

from kit.grpc_tls import grpc_channel_credentials
from kit.pb.mpc_pb2_grpc import ParticipantStub, SignGatewayStub
from kit.pb.wallet.v1.operator_pb2_grpc import OperatorStub
from kit.pb.wallet.v1.wallet_pb2_grpc import WalletStub
from participant.callers import MAX_TOKEN, is_loopback
from participant.errors import NodeError
from participant.files import SecretFileError, read_private

UNIX: Final = "unix:"
GRPC_SCHEMES: Final = frozenset(
    {"unix", "unix-abstract", "dns", "ipv4", "ipv6", "vsock", "xds", "google-c2p"}
)
"""What gRPC reads before a colon as the kind of an address: "unix:2" would be a socket and no port."""
STATUS_DETAILS: Final = "grpc-status-details-bin"
MAX_MESSAGE: Final = 16 * 1024 * 1024
"""Bytes of an answer; the largest are PSBTs and share files."""

CONNECTION_REFUSED: Final = "CONNECTION_REFUSED"
UNREACHABLE: Final = "UNREACHABLE"
TLS_FAILED: Final = "TLS_FAILED"
TIMEOUT: Final = "TIMEOUT"
NOT_OFFERED: Final = "NOT_OFFERED"
CANCELLED: Final = "CANCELLED"

_BY_CODE: Final[Mapping[grpc.StatusCode, str]] = {
    grpc.StatusCode.INVALID_ARGUMENT: "INVALID_REQUEST",
    grpc.StatusCode.NOT_FOUND: "KEY_SHARE_NOT_FOUND",
    grpc.StatusCode.ALREADY_EXISTS: "ALREADY_EXISTS",
    grpc.StatusCode.PERMISSION_DENIED: "PERMISSION_DENIED",
    grpc.StatusCode.UNAUTHENTICATED: "UNAUTHENTICATED",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "RATE_LIMITED",
    grpc.StatusCode.DEADLINE_EXCEEDED: TIMEOUT,
    grpc.StatusCode.UNAVAILABLE: UNREACHABLE,
    grpc.StatusCode.UNIMPLEMENTED: NOT_OFFERED,
    grpc.StatusCode.ABORTED: "ABORTED",
    grpc.StatusCode.CANCELLED: CANCELLED,
}

Request = TypeVar("Request")
Answer = TypeVar("Answer")


class CallFailed(NodeError):
    """A call that gave no answer; str() is the text for people.

    `reason` is the service's own (google.rpc.ErrorInfo: KEY_SHARE_NOT_FOUND, THRESHOLD_NOT_MET, ...; see
    participant.node.errors), with its `metadata`. Where the service gave none, or was not there to give one, it is
    CONNECTION_REFUSED (nobody listens), TLS_FAILED, UNREACHABLE, TIMEOUT (the caller's own deadline), NOT_OFFERED
    (another kind of service), CANCELLED, or a word made from the status code.
    `code` is the gRPC status by name, such as "NOT_FOUND". `from_service` tells whether the service spoke itself.
    """

    def __init__(
        self,
        text: str,
        *,
        reason: str,
        code: str,
        target: str,
        metadata: Mapping[str, str] | None = None,
        from_service: bool = False,
    ) -> None:
        super().__init__(text)
        self.text = text
        self.reason = reason
        self.code = code
        self.target = target
        self.metadata: Mapping[str, str] = dict(metadata or {})
        self.from_service = from_service


@dataclass(frozen=True)
class Credentials:
    """Who we are to a service, and whom we take it for. Without `ca` the system's authorities are trusted."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    token: str | None = field(default=None, repr=False)

    @classmethod
    def of_files(
        cls,
        ca: Path | None = None,
        certificate: Path | None = None,
        key: Path | None = None,
        token_file: Path | None = None,
    ) -> Self:
        """As settings name them; the token's file has mode 0600. Raises SecretFileError."""
        return cls(ca, certificate, key, None if token_file is None else read_token(token_file))


def read_token(path: Path) -> str:
    """The bearer token in a file of mode 0600, without the white space around it. Raises SecretFileError."""
    token = read_private(path).decode("ascii", "replace").strip()
    if not 0 < len(token) <= MAX_TOKEN or not token.isprintable() or " " in token or not token.isascii():
        raise SecretFileError(f"{path} holds no bearer token: one line of printable characters is expected")
    return token


@dataclass(frozen=True)
class Target:
    """Where a service listens. `address` is gRPC's: "127.0.0.1:50051", "[::1]:50051" or "unix:/run/node/operator"."""

    address: str
    tls: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """From "http://host:port", "https://host:port" (TLS), "host:port" or "unix:/path". Raises ValueError."""
        if text.startswith(UNIX):
            path = text.removeprefix(UNIX).removeprefix("//")
            if path.startswith("/"):
                path = "/" + path.lstrip("/")
            if path in ("", "/"):
                raise ValueError(f"{text!r} names no socket: expected unix:/path")
            return cls(UNIX + path)
        parts = urlsplit(text if "//" in text else f"http://{text}")
        try:
            complete = parts.hostname is not None and parts.port is not None
        except ValueError:
            complete = False
        if (
            parts.scheme not in ("http", "https")
            or not complete
            or parts.path not in ("", "/")
            or "@" in parts.netloc
        ):
            raise ValueError(
                f"{text!r} is no gRPC address: expected http://host:port, https://host:port or unix:/path"
            )
        if parts.hostname in GRPC_SCHEMES:
            raise ValueError(
                f"{text!r}: a host named {parts.hostname!r} means something else to gRPC; write its address"
            )
        return cls(parts.netloc, parts.scheme == "https")

    @property
    def local(self) -> bool:
        """Whether what is sent there stays on this machine."""
        return self.address.startswith(UNIX) or is_loopback(urlsplit(f"//{self.address}").hostname or "")

    def __str__(self) -> str:
        if self.address.startswith(UNIX):
            return self.address
        return f"{'https' if self.tls else 'http'}://{self.address}"


def open_channel(target: Target, credentials: Credentials) -> aio.Channel:
    """A channel that connects at the first call.

    Raises SettingsError for unusable files, ValueError for a token that would travel in plain text to another machine.
    """
    if credentials.token is not None and not target.tls and not target.local:
        raise ValueError(f"the token would travel to {target} in plain text: use https://")
    if (credentials.ca is not None or credentials.certificate is not None) and not target.tls:
        raise ValueError(f"{target} speaks no TLS, but a ca or certificate is given: use https://")
    options: list[tuple[str, int | str]] = [
        ("grpc.max_receive_message_length", MAX_MESSAGE),
        ("grpc.max_send_message_length", MAX_MESSAGE),
        # Texts of errors may be long.
        ("grpc.max_metadata_size", 64 * 1024),
        # A retry is the caller's decision.
        ("grpc.enable_retries", 0),
        # A proxy of the environment is for the web, not for the machine's own daemons.
        ("grpc.enable_http_proxy", 0),
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.min_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
    ]
    if target.address.startswith(UNIX):
        # A path is no host name, which some servers expect in its place.
        options.append(("grpc.default_authority", "localhost"))
    if not target.tls:
        return aio.insecure_channel(target.address, options)
    secure = grpc_channel_credentials(credentials.ca, credentials.certificate, credentials.key)
    return aio.secure_channel(target.address, secure, options)


class ServiceClient:
    """One service over one channel. Use it in the event loop that it was made in, and close it."""

    def __init__(self, target: str | Target, credentials: Credentials | None = None) -> None:
        """Connects at the first call. Raises ValueError and SettingsError, see `Target.parse` and `open_channel`."""
        self.target = Target.parse(target) if isinstance(target, str) else target
        credentials = credentials or Credentials()
        self.channel = open_channel(self.target, credentials)
        token = credentials.token
        self._metadata = () if token is None else (("authorization", f"Bearer {token}"),)
        self.wallet = WalletStub(self.channel)
        self.operator = OperatorStub(self.channel)
        self.participant = ParticipantStub(self.channel)
        self.sign_gateway = SignGatewayStub(self.channel)

    async def call(
        self,
        method: aio.UnaryUnaryMultiCallable[Request, Answer],
        request: Request,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - gRPC's own deadline, which the service is told
    ) -> Answer:
        """The answer of one method of a stub, within `timeout` seconds. Raises CallFailed."""
        try:
            return await method(request, timeout=timeout, metadata=aio.Metadata(*self._metadata))
        except aio.AioRpcError as error:
            raise failure_of_call(error, self.target) from None

    async def stream(
        self,
        method: aio.UnaryStreamMultiCallable[Request, Answer],
        request: Request,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - gRPC's own deadline, which the service is told
    ) -> AsyncGenerator[Answer, None]:
        """The answers of a streaming method, in order; leaving early cancels the call. Raises CallFailed."""
        call = method(request, timeout=timeout, metadata=aio.Metadata(*self._metadata))
        try:
            async for answer in call:
                yield answer
        except aio.AioRpcError as error:
            raise failure_of_call(error, self.target) from None
        finally:
            call.cancel()

    async def close(self) -> None:
        """Ends the channel and every call on it."""
        await self.channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def failure_of_call(error: aio.AioRpcError, target: Target | str) -> CallFailed:
    """The typed error of a failed call to `target`."""
    code, where = error.code(), str(target)
    status = _status(error)
    if status is not None:
        for detail in status.details:
            info = ErrorInfo()
            if detail.Is(ErrorInfo.DESCRIPTOR) and _unpacks(detail, info):
                return CallFailed(
                    status.message or error.details() or f"{where} answered {code.name}",
                    reason=info.reason,
                    code=code.name,
                    target=where,
                    metadata=dict(info.metadata),
                    from_service=True,
                )
    reason, text = _explain(code, error.details() or "", where)
    return CallFailed(text, reason=reason, code=code.name, target=where)


def _status(error: aio.AioRpcError) -> Status | None:
    for key, value in error.trailing_metadata() or ():
        if key == STATUS_DETAILS and isinstance(value, bytes):
            try:
                return Status.FromString(value)
            except DecodeError:
                return None
    return None


def _unpacks(detail: object, info: ErrorInfo) -> bool:
    try:
        return bool(detail.Unpack(info))  # type: ignore[attr-defined]  # google.protobuf.any_pb2.Any
    except DecodeError:
        return False


def _explain(code: grpc.StatusCode, details: str, where: str) -> tuple[str, str]:
    """Reason and text where the service has not given any."""
    said = details.lower()
    if code is grpc.StatusCode.UNAVAILABLE:
        if "connection refused" in said or "no such file or directory" in said:
            return (
                CONNECTION_REFUSED,
                f"Connection refused: nobody listens at {where}. Start the service there, or correct the address",
            )
        if "handshake" in said or "ssl" in said or "tls" in said or "certificate" in said:
            text = (
                f"no TLS connection with {where}: compare https:// or http://, ca, certificate and key with those of "
                f"the service ({details})"
            )
            return TLS_FAILED, text
        return UNREACHABLE, f"no connection with {where}: {details or 'no reason is known'}"
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return TIMEOUT, f"{where} did not answer in time"
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return (
            NOT_OFFERED,
            f"{where} does not offer this call: it is another kind of service, or an older release",
        )
    return _BY_CODE.get(code, "INTERNAL"), details or f"{where} answered {code.name}"
