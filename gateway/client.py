"""What a request says of its client; who that is, as limits and logs name him: one function, so that both mean the same."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

from starlette.types import Scope

# One subscriber of a network has at least so much of IPv6 for himself, and may take another address of it each time.
IPV6_PREFIX = 64


def client_address(scope: Scope) -> str:
    """The address of the client of an ASGI request, "" when its connection has none."""
    client = scope.get("client")
    return client[0] if client else ""


def header(scope: Scope, name: bytes) -> bytes | None:
    """The first value of a request header (lower-case name)."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return None


@lru_cache(maxsize=4096)
def client_key(address: str) -> str:
    """What limits count by: an IPv4 address, or the /64 that an IPv6 address is in.

    IPv4 written as IPv6 (::ffff:192.0.2.1) is IPv4; what is no address stands for itself.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((parsed, IPV6_PREFIX), strict=False))
