"""What SIGHUP changes in a running gateway."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from gateway.proxies import parse_networks
from gateway.settings import NAME, GatewaySettings
from kit.logs import configure_logging
from kit.reload import Apply, Reload
from kit.settings import Problem, SettingsError

if TYPE_CHECKING:
    from gateway.service import Gateway

# Beside clients, logging and tls.
LIVE_SERVER = (
    "cors_origins",
    "max_body_bytes",
    "max_bodies_bytes",
    "max_head_bytes",
    "max_connections",
    "max_connections_per_address",
    "head_seconds",
    "body_seconds",
    "keep_alive_seconds",
)
# The rest of `rooms` is the store's, which other gateways may share.
LIVE_ROOMS = (
    "max_subscribers",
    "max_subscribers_per_room",
    "heartbeat_seconds",
    "slow_reader_seconds",
    "max_backlog_messages",
    "messages_per_second",
    "bytes_per_second",
    "burst_seconds",
)


def reload_of(
    gateway: Gateway, load: Callable[[], GatewaySettings], registry: CollectorRegistry
) -> Reload[GatewaySettings]:
    """The `Reload` of a gateway; `load` reads its settings again."""

    def server(new: GatewaySettings) -> Apply:
        def apply() -> None:
            gateway.http.reload(new.server.limits())
            gateway.app.reload(new.server)

        return apply

    def rooms(new: GatewaySettings) -> Apply:
        live = {key: getattr(new.rooms, key) for key in LIVE_ROOMS}

        def apply() -> None:
            gateway.broker.limits = gateway.broker.limits.model_copy(update=live)
            gateway.broker.rates.reload(gateway.broker.limits)
            gateway.show_bounds(gateway.broker.limits, new.server)

        return apply

    def networks(new: GatewaySettings) -> Apply:
        trusted, allowed = parse_networks(new.access.trusted_proxies), parse_networks(new.access.networks)
        return lambda: gateway.known.reload(trusted, allowed)

    def key_set(_: GatewaySettings) -> Apply:
        if not gateway.access.reload():
            what = "the key set cannot be used: the line above says why"
            raise SettingsError([Problem(str(gateway.settings.access.key_set), "", what)])
        return lambda: None

    reload = Reload(gateway.settings, load, registry)
    reload.part(["logging"], lambda new: lambda: configure_logging(new.logging, NAME))
    reload.part(["clients"], lambda new: lambda: gateway.limits.reload(new.clients))
    reload.part([f"server.{key}" for key in LIVE_SERVER], server)
    reload.part([f"rooms.{key}" for key in LIVE_ROOMS], rooms)
    reload.part(["access.networks", "access.trusted_proxies"], networks)
    reload.part(["tls"], lambda new: gateway.tls.prepare(new.tls))
    reload.part([], lambda new: gateway.grpc.tls.prepare(new.tls))
    # The last, for it takes effect at once. Another path of it needs a restart.
    reload.part([], key_set)
    return reload
