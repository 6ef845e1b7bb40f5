"""One gateway process put together: listeners, broker, proxy, health; and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from gateway.access import Access
from gateway.http_api import GatewayApp
from gateway.limits import ClientLimits
from gateway.memory import MemoryStore
from gateway.meters import Meters
from gateway.proxies import KnownClients, parse_networks
from gateway.proxy import GrpcListener, Proxy
from gateway.reloading import reload_of
from gateway.rooms import Broker
from gateway.settings import NAME, GatewaySettings, RoomsSettings, ServerSettings
from kit.daemon import StopSignal, announce, keep_what_is_there
from kit.health import Health, health_app, health_routes
from kit.http import HttpLimits, HttpServer
from kit.logs import get_logger
from kit.metrics import new_registry
from kit.net import allow_descriptors, bracketed, is_loopback, listen
from kit.tls import ServerTls
from kit.version import version

if TYPE_CHECKING:
    from gateway.nats_store import NatsStore
    from gateway.redis_store import RedisStore

# Files, logs, gRPC and its calls, on top of one descriptor a connection.
SPARE_DESCRIPTORS = 512


def _store(settings: GatewaySettings) -> MemoryStore | RedisStore | NatsStore:
    if settings.redis.url is not None:
        from gateway.redis_store import RedisStore

        return RedisStore(settings.redis, settings.rooms)
    if settings.nats.servers:
        from gateway.nats_store import NatsStore

        return NatsStore(settings.nats, settings.rooms, settings.server.max_body_bytes)
    return MemoryStore(settings.rooms)


class Gateway:
    """Everything that one gateway process runs."""

    def __init__(self, settings: GatewaySettings, load: Callable[[], GatewaySettings]) -> None:
        """Binds the ports. `load` reads the settings again. Raises ListenError, SettingsError."""
        self.settings = settings
        self._log = get_logger(__name__)
        registry = new_registry(NAME, version())
        self.meters = Meters(registry)
        self.health = Health()
        self.store = _store(settings)
        self.broker = Broker(self.store, settings.rooms, self.meters)
        self.limits = ClientLimits(settings.clients)
        self.access = Access(settings.access, self.meters)
        self.health.add("store", self.store.check)
        self.meters.subscribers.set_function(lambda: self.broker.subscribers)
        self.meters.clients.set_function(lambda: self.limits.tracked)
        self.meters.rooms.set_function(lambda: self.store.rooms)
        self.meters.stored.set_function(lambda: self.store.total_bytes)
        self.show_bounds(settings.rooms, settings.server)
        self.tls = ServerTls(settings.tls)
        self.scheme = "http" if self.tls.context is None else "https"
        separate = settings.metrics.port is not None
        routes = health_routes(self.health, None if separate else registry)
        self.app = GatewayApp(self.broker, settings.server, self.meters, self.limits, self.access, routes)
        self.known = KnownClients(
            self.app,
            self.meters,
            trusted=parse_networks(settings.access.trusted_proxies),
            allowed=parse_networks(settings.access.networks),
        )
        self.http = HttpServer(
            self.known,
            listen(settings.server.host, settings.server.port, "server.port"),
            limits=settings.server.limits(),
            context=self.tls.context,
            refused=self.meters.refused,
        )
        self.meters.connections.set_function(lambda: self.http.connections)
        self.metrics: HttpServer | None = None
        if settings.metrics.port is not None:
            self.metrics = HttpServer(
                health_app(self.health, registry),
                listen(settings.metrics.host, settings.metrics.port, "metrics.port"),
                limits=HttpLimits(max_connections=64),
                refused=self.meters.refused,
            )
        self.proxy = Proxy(settings.sign_service, settings.grpc, self.meters)
        self.grpc = GrpcListener(settings.grpc, settings.tls, self.proxy)
        self.reload = reload_of(self, load, registry)

    def show_bounds(self, rooms: RoomsSettings, server: ServerSettings) -> None:
        """Shows these bounds beside what they bound."""
        bounds = {
            "rooms": rooms.max_rooms,
            "stored_bytes": rooms.max_total_bytes,
            "subscribers": rooms.max_subscribers,
            "connections": server.max_connections,
        }
        for what, bound in bounds.items():
            self.meters.limit.labels(what).set(bound or float("inf"))

    async def run(self, stop: StopSignal) -> None:
        """Serves until `stop`, then drains."""
        self._warn()
        self.reload.install()
        self.broker.start()
        self.access.start()
        await self.http.start()
        if self.metrics is not None:
            await self.metrics.start()
        await self.grpc.start()
        http = f"{self.scheme}://{bracketed(self.settings.server.host)}:{self.http.port}"
        grpc = f"{bracketed(self.settings.grpc.host)}:{self.grpc.port}"
        announce(f"Listening on {http}")
        announce(f"gRPC server on {grpc}")
        if self.metrics is not None:
            announce(f"Metrics on http://{bracketed(self.settings.metrics.host)}:{self.metrics.port}")
        keep_what_is_there()
        self._log.info("started", http=http, grpc=grpc, version=version())
        stopping = asyncio.create_task(stop.wait(), name="stop")
        await asyncio.wait(
            {stopping, self.http.ended, self.broker.ended}, return_when=asyncio.FIRST_COMPLETED
        )
        failed = not stop.received
        stopping.cancel()
        self._log.info("draining", signal=stop.name)
        await self._drain()
        self._log.info("stopped")
        if failed:
            raise RuntimeError("the HTTP server ended by itself")

    async def _drain(self) -> None:
        seconds = self.settings.server.drain_seconds
        self.health.drain()
        self.http.stop_accepting()
        grpc = asyncio.create_task(self.grpc.stop(seconds))
        await self.broker.drain()
        await self.http.stop(seconds)
        await grpc
        await self.proxy.close()
        if self.metrics is not None:
            await self.metrics.stop(1)
        await self.access.close()
        await self.broker.close()

    def _warn(self) -> None:
        settings = self.settings
        if not settings.tls.enabled:
            for key, host in (("server.host", settings.server.host), ("grpc.host", settings.grpc.host)):
                if not is_loopback(host):
                    self._log.warning(
                        "LISTENING BEYOND THIS MACHINE WITHOUT TLS: anybody on the way can read and change what passes, "
                        "tokens too; set tls.certificate and tls.key, or listen on 127.0.0.1 behind a proxy with TLS",
                        setting=key,
                        host=host,
                    )
        if (
            not self.access.tokens
            and settings.tls.client_ca is None
            and not is_loopback(settings.server.host)
        ):
            self.meters.exposed.set(1)
            self._log.warning(
                "ANYBODY ON THE NETWORK MAY USE EVERY ROOM: nobody is asked for a token or a certificate; set "
                "access.key_set (mpc-keygen gateway-keys makes it) or tls.client_ca",
                host=settings.server.host,
            )
        if "*" in settings.server.cors_origins:
            self._log.warning("pages of every origin may use this gateway: server.cors_origins holds *")
        connections = settings.server.max_connections or settings.rooms.max_subscribers
        wanted = connections + SPARE_DESCRIPTORS
        if (allowed := allow_descriptors(wanted)) < wanted:
            self._log.warning(
                "this process may open fewer files than server.max_connections asks for: raise the limit (ulimit -n)",
                wanted=wanted,
                allowed=allowed,
            )
