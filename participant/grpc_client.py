"""The client's end of a node's gRPC services; every failure of a call is a `participant.grpc_failures.RequestFailed`.

    async with ServiceClient("https://127.0.0.1:50051", Credentials(ca=ca, token=token)) as node:
        account = await node.call(node.wallet.GetAccount, GetAccountRequest(account_id="main"))
        async for progress in node.stream(node.wallet.CreateAccount, CreateAccountRequest(account_id="new")):
            ...

`node.wallet`, `node.operator` and `node.participant` are the generated stubs of `wallet.v1.Wallet`, `wallet.v1.Operator`
(on the operator's listener only) and `mpc.Participant`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self, TypeVar
from urllib.parse import urlsplit

from grpc import aio

from kit.grpc_tls import grpc_channel_credentials
from kit.pb.mpc_pb2_grpc import ParticipantStub, SignGatewayStub
from kit.pb.wallet.v1.operator_pb2_grpc import OperatorStub
from kit.pb.wallet.v1.wallet_pb2_grpc import WalletStub
from participant.callers import MAX_TOKEN, is_loopback
from participant.files import SecretFileError, read_private
from participant.grpc_failures import of_status

UNIX: Final = "unix:"
MAX_MESSAGE: Final = 16 * 1024 * 1024
"""Bytes of an answer; the largest are PSBTs and share files."""

Request = TypeVar("Request")
Answer = TypeVar("Answer")


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
            if not path:
                raise ValueError(f"{text!r} names no socket: expected unix:/path")
            return cls(UNIX + path)
        parts = urlsplit(text if "//" in text else f"http://{text}")
        try:
            complete = parts.hostname is not None and parts.port is not None
        except ValueError:
            complete = False
        if parts.scheme not in ("http", "https") or not complete or parts.path not in ("", "/"):
            raise ValueError(
                f"{text!r} is no gRPC address: expected http://host:port, https://host:port or unix:/path"
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
        """The answer of one method of a stub, within `timeout` seconds. Raises RequestFailed."""
        try:
            return await method(request, timeout=timeout, metadata=aio.Metadata(*self._metadata))
        except aio.AioRpcError as error:
            raise of_status(error, str(self.target)) from None

    async def stream(
        self,
        method: aio.UnaryStreamMultiCallable[Request, Answer],
        request: Request,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - gRPC's own deadline, which the service is told
    ) -> AsyncGenerator[Answer, None]:
        """The answers of a streaming method, in order; leaving early cancels the call. Raises RequestFailed."""
        call = method(request, timeout=timeout, metadata=aio.Metadata(*self._metadata))
        try:
            async for answer in call:
                yield answer
        except aio.AioRpcError as error:
            raise of_status(error, str(self.target)) from None
        finally:
            call.cancel()

    async def close(self) -> None:
        """Ends the channel and every call on it."""
        await self.channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
