"""Which address a request comes from, behind proxies or not, and whether that address may ask at all.

`X-Forwarded-For` is a list that every proxy appends to and its sender may begin with anything. So it is read from the
right, only where a trusted proxy wrote, and the first hop that is no trusted proxy is the client.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from functools import lru_cache

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.http_api import Refusal, refuse
from gateway.meters import Meters

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Networks from CIDR notation or single addresses. Raises ValueError."""
    return tuple(ipaddress.ip_network(text) for text in texts)


def parse_address(text: str) -> Address:
    """An address as connections and proxies write it: with or without port, brackets, zone. Raises ValueError.

    IPv4 in IPv6 (::ffff:192.0.2.1, what a listener on :: sees) is IPv4.
    """
    host = text.strip()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    address = ipaddress.ip_address(host.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


@lru_cache(maxsize=4096)
def parse_peer(text: str) -> Address:
    """The address that a connection says it comes from: the same few again and again."""
    return parse_address(text)


def client_of(peer: Address, forwarded: Sequence[str], trusted: Sequence[Network]) -> Address:
    """The client behind `peer`. `forwarded`: the values of X-Forwarded-For, in order.

    Raises ValueError when a trusted proxy hands on a hop that is no address.
    """
    hops = [hop for value in forwarded for hop in value.split(",")]
    client = peer
    while hops and _in(client, trusted):
        client = parse_address(hops.pop())
    return client


def _in(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)


class KnownClients:
    """ASGI middleware: puts the client's address in the place of its proxy's, and refuses addresses that may not ask."""

    def __init__(
        self, app: ASGIApp, meters: Meters, trusted: Sequence[Network], allowed: Sequence[Network]
    ) -> None:
        """`trusted`: proxies whose X-Forwarded-For counts. `allowed`: who may ask; none = everybody."""
        self._app = app
        self._meters = meters
        self._trusted = trusted
        self._allowed = allowed

    def reload(self, trusted: Sequence[Network], allowed: Sequence[Network]) -> None:
        """Goes by these from the next request on."""
        self._trusted = trusted
        self._allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        peer = scope.get("client")
        if peer is None:
            await self._app(scope, receive, send)
            return
        values = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
        try:
            direct = parse_peer(peer[0])
            client = client_of(direct, values, self._trusted)
        except ValueError:
            text = "a trusted proxy's X-Forwarded-For holds what is no address"
            await refuse(self._meters, Refusal(400, "bad_forwarded_for", text), scope, receive, send)
            return
        if client != direct:
            scope = {**scope, "client": (str(client), 0)}
        if self._allowed and not _in(client, self._allowed):
            text = "this address may not use the gateway (access.networks)"
            await refuse(self._meters, Refusal(403, "address_not_allowed", text), scope, receive, send)
            return
        await self._app(scope, receive, send)
