"""gRPC servers: the callers' listener and the operator's, each with health and reflection."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc
from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from kit.grpc_tls import GrpcServerTls
from kit.net import ListenError, bracketed, explain_bind, listen
from kit.tls import TlsSettings

MAX_ANSWER: Final = 16 * 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """Bounds of a listener."""

    max_calls: int = 256
    max_message_bytes: int = 8 * 1024 * 1024


class Listener:
    """One gRPC server. Bind it, start it, stop it."""

    def __init__(
        self, handlers: Iterable[tuple[str, grpc.GenericRpcHandler]], limits: Limits | None = None
    ) -> None:
        """`handlers`: full names of services and what handles them."""
        limits = limits or Limits()
        self._server = aio.server(
            maximum_concurrent_rpcs=limits.max_calls,
            options=[
                ("grpc.max_receive_message_length", limits.max_message_bytes),
                ("grpc.max_send_message_length", MAX_ANSWER),
                # Otherwise a second daemon would share the port in silence.
                ("grpc.so_reuseport", 0),
                ("grpc.keepalive_time_ms", 30_000),
                ("grpc.keepalive_timeout_ms", 10_000),
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ],
        )
        named = list(handlers)
        self._names = [name for name, _ in named]
        self._server.add_generic_rpc_handlers(tuple(handler for _, handler in named))
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(
            [*self._names, health.SERVICE_NAME, reflection.SERVICE_NAME], self._server
        )
        self._socket: tuple[Path, int] | None = None
        self.tls: GrpcServerTls | None = None
        """Of a TCP listener, once it is bound."""
        self.port = 0

    def bind(self, host: str, port: int, setting: str, tls: TlsSettings) -> int:
        """Listen on a TCP port, 0 for any; the port. `setting` names its key. Raises ListenError, SettingsError."""
        self.tls = GrpcServerTls(tls)
        credentials = self.tls.credentials
        # gRPC does not tell why a bind failed; a probe does.
        listen(host, port, setting).close()
        address = f"{bracketed(host)}:{port}"
        try:
            if credentials is not None:
                self.port = self._server.add_secure_port(address, credentials)
            else:
                self.port = self._server.add_insecure_port(address)
        except RuntimeError:
            raise ListenError(explain_bind(host, port, setting, None)) from None
        return self.port

    def bind_socket(self, path: Path) -> None:
        """Listen on a unix socket that this user alone may connect to. Raises ListenError.

        A socket that a killed process left behind is replaced, one that somebody listens on is not.
        """
        if _answers(path):
            raise ListenError(
                f"{path} is in use: stop the process that listens there, or set operator.socket"
            )
        # The mask is the process's: nothing else makes files between these lines.
        mask = os.umask(0o177)
        try:
            self._server.add_insecure_port(f"unix:{path}")
            found = path.stat()
        except (RuntimeError, OSError) as error:
            what = getattr(error, "strerror", None) or "see that its directory exists and can be written"
            raise ListenError(f"cannot listen on {path} ({what}): see operator.socket") from None
        finally:
            os.umask(mask)
        if not stat.S_ISSOCK(found.st_mode) or stat.S_IMODE(found.st_mode) & 0o177:
            raise ListenError(
                f"{path} could not be made a socket of mode 0600: put operator.socket on another file system"
            )
        self._socket = (path, found.st_ino)

    async def start(self) -> None:
        """Accept calls."""
        await self._server.start()
        for name in ("", *self._names):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def stop(self, seconds: float) -> None:
        """Refuse new calls and end within `seconds`; calls that are still running then are cancelled."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(seconds)
        if self._socket is not None:
            path, inode = self._socket
            with contextlib.suppress(OSError):
                # Perhaps another daemon's by now.
                if path.stat().st_ino == inode:
                    path.unlink()


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True
