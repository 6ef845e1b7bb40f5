"""The gRPC proxy: `mpc.SignGateway` and `mpc.Participant`, passed on to the sign-service as they come.

Bytes are passed on unread. The caller's credentials go along and the gateway has none of its own, so that nobody can
do through it what he could not do without it. Answers and errors come back with their code, message, details and
trailing metadata; only when the sign-service cannot be reached does the gateway speak for itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

import grpc
from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from gateway.meters import Meters
from gateway.settings import GrpcSettings, SignServiceSettings
from kit import tracing
from kit.grpc_tls import GrpcServerTls, grpc_channel_credentials
from kit.logs import get_logger
from kit.net import ListenError, bracketed, explain_bind, listen
from kit.pb import mpc_pb2
from kit.tls import TlsSettings

SERVICES = ("mpc.SignGateway", "mpc.Participant")
UPSTREAM_METHOD = "/mpc.Participant/SignTx"

# What of the caller's metadata goes on: who he is, and the trace that his call belongs to.
FORWARDED = frozenset({"authorization", "x-request-id", "traceparent", "tracestate"})

_KEEPALIVE: tuple[tuple[str, int], ...] = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)

_READY = grpc.ChannelConnectivity.READY

Metadata = tuple[tuple[str, str | bytes], ...]
Context = aio.ServicerContext[bytes, bytes]

_log = get_logger(__name__)


class Proxy:
    """A channel to the sign-service and the handler that passes calls on to it."""

    def __init__(self, settings: SignServiceSettings, grpc_settings: GrpcSettings, meters: Meters) -> None:
        """Connects lazily: the sign-service may come up later. Raises SettingsError for an unusable `ca`."""
        url = urlsplit(settings.url)
        self._url = settings.url
        self._timeout = settings.timeout_seconds
        self._meters = meters
        options: list[tuple[str, int]] = [
            ("grpc.max_receive_message_length", grpc_settings.max_message_bytes),
            ("grpc.max_send_message_length", grpc_settings.max_message_bytes),
            # A sign-service that comes back is found again within two seconds.
            ("grpc.initial_reconnect_backoff_ms", 200),
            ("grpc.min_reconnect_backoff_ms", 200),
            ("grpc.max_reconnect_backoff_ms", 2_000),
            # A retry is the caller's decision.
            ("grpc.enable_retries", 0),
            *_KEEPALIVE,
        ]
        if url.scheme == "https":
            self._channel = aio.secure_channel(url.netloc, grpc_channel_credentials(settings.ca), options)
        else:
            self._channel = aio.insecure_channel(url.netloc, options)
        self._call: aio.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(UPSTREAM_METHOD)

    def handler(self, service: str) -> grpc.GenericRpcHandler:
        """The handler of `service`'s SignTx."""

        async def sign_tx(request: bytes, context: Context) -> bytes:
            name = f"{service}/SignTx"
            with tracing.span_of(context.invocation_metadata() or (), f"proxy {name}"):
                return await self._pass_on(name, request, context)

        method: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(sign_tx)
        return grpc.method_handlers_generic_handler(service, {"SignTx": method})

    async def close(self) -> None:
        """Closes the channel."""
        await self._channel.close()

    async def _pass_on(self, method: str, request: bytes, context: Context) -> bytes:
        left = context.time_remaining()
        timeout = self._timeout if left is None else min(left, self._timeout)
        call = self._call(request, timeout=timeout, metadata=aio.Metadata(*_forwarded(context)))
        try:
            answer: bytes = await call
            trailing = _plain(await call.trailing_metadata())
        except aio.AioRpcError as error:
            code, details = self._explain(error)
            self._meters.calls.labels(method, code.name).inc()
            _log.warning("call failed", method=method, code=code.name, details=details)
            await context.abort(code, details, _plain(error.trailing_metadata()))
        self._meters.calls.labels(method, grpc.StatusCode.OK.name).inc()
        if trailing:
            context.set_trailing_metadata(trailing)
        return answer

    def _explain(self, error: aio.AioRpcError) -> tuple[grpc.StatusCode, str]:
        """The upstream's own code and words, or ours if it was not there to have any."""
        code, details = error.code(), error.details() or ""
        # With a connection that stands, UNAVAILABLE is what the sign-service said.
        if code is grpc.StatusCode.UNAVAILABLE and self._channel.get_state() is not _READY:
            return code, (
                f"the sign-service at {self._url} cannot be reached: start it, or correct sign_service.url of the "
                f"gateway; if the connection broke during the call, repeat it with the same execution_id ({details})"
            )
        return code, details


def _forwarded(context: Context) -> Iterable[tuple[str, str | bytes]]:
    # Where this gateway traces, its own span is the one that the sign-service's belongs to.
    ours = tracing.headers()
    for key, value in context.invocation_metadata() or ():
        if key in FORWARDED and key not in ours:
            yield key, value
    yield from ours.items()


def _plain(metadata: object) -> Metadata:
    if not isinstance(metadata, Iterable):
        return ()
    # Reserved names are gRPC's own, except for the error's details, which belong to the answer.
    return tuple(
        (key, value)
        for key, value in metadata
        if not key.startswith("grpc-") or key == "grpc-status-details-bin"
    )


class GrpcListener:
    """The gRPC server: the two services, health and reflection."""

    def __init__(self, settings: GrpcSettings, tls: TlsSettings, proxy: Proxy) -> None:
        """Binds the port. Raises ListenError, SettingsError."""
        self._server = aio.server(
            maximum_concurrent_rpcs=settings.max_calls,
            options=[
                ("grpc.max_receive_message_length", settings.max_message_bytes),
                ("grpc.max_send_message_length", settings.max_message_bytes),
                # Otherwise a second gateway would share the port in silence.
                ("grpc.so_reuseport", 0),
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
                *_KEEPALIVE,
            ],
        )
        self._server.add_generic_rpc_handlers(tuple(proxy.handler(service) for service in SERVICES))
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        # Importing the descriptors is what makes reflection know them.
        names = [mpc_pb2.DESCRIPTOR.services_by_name[name.split(".")[1]].full_name for name in SERVICES]
        reflection.enable_server_reflection(
            [*names, health.SERVICE_NAME, reflection.SERVICE_NAME], self._server
        )
        self.tls = GrpcServerTls(tls)
        self.port = self._bind(settings)

    def _bind(self, settings: GrpcSettings) -> int:
        credentials = self.tls.credentials
        # gRPC does not tell why a bind failed; a probe does.
        listen(settings.host, settings.port, "grpc.port").close()
        address = f"{bracketed(settings.host)}:{settings.port}"
        try:
            if credentials is not None:
                return self._server.add_secure_port(address, credentials)
            return self._server.add_insecure_port(address)
        except RuntimeError:
            raise ListenError(explain_bind(settings.host, settings.port, "grpc.port", None)) from None

    async def start(self) -> None:
        """Accepts calls."""
        await self._server.start()
        for service in ("", *SERVICES):
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)

    async def stop(self, seconds: float) -> None:
        """Refuses new calls and ends within `seconds`; calls that are still running then are cancelled."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(seconds)
