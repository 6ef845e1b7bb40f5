"""Room tokens that a node makes for itself: JWTs (RFC 7519) signed by its gateway-access key (EdDSA, RFC 8037).

A gateway that knows the public half, from the node's card, lets their bearer into the one room that each names. The key's
name (kid) is its JWK thumbprint (RFC 7638), so that node and gateway need not agree on one.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, Final

from participant.identity import Card, NodeKeys

LIFE_SECONDS: Final = 300
RENEW_SECONDS: Final = 60
"""A token with less life left than this is not used for another request."""
SCOPE: Final = "subscribe post"
MAX_KEPT: Final = 4096
"""Tokens kept, one a room; above that the longest unused is forgotten."""


def key_of(access: bytes) -> dict[str, str]:
    """The JWK of a gateway-access key (32 bytes, Ed25519)."""
    entry = {"crv": "Ed25519", "kty": "OKP", "x": _base64url(access)}
    return {
        **entry,
        "kid": _base64url(hashlib.sha256(_compact(entry)).digest()),
        "alg": "EdDSA",
        "use": "sig",
    }


def key_set(cards: Iterable[Card]) -> dict[str, Any]:
    """The JWK Set by which a gateway lets these nodes in; the same key stands in it once."""
    keys = {card.gateway_access: None for card in cards}
    return {"keys": [key_of(access) for access in keys]}


def key_set_text(cards: Iterable[Card]) -> str:
    """The same as a file."""
    return json.dumps(key_set(cards), indent=2) + "\n"


class RoomTokens:
    """A `TokenProvider` for the rooms' client. One token a room, until it is nearly over."""

    def __init__(self, keys: NodeKeys, clock: Callable[[], float] = time.time) -> None:
        """`clock`: seconds since 1970."""
        self._keys = keys
        self._clock = clock
        kid = key_of(keys.gateway_access)["kid"]
        self._header = _base64url(_compact({"alg": "EdDSA", "kid": kid, "typ": "JWT"}))
        self._kept: OrderedDict[str, tuple[int, str]] = OrderedDict()

    def __call__(self, room: str, action: str) -> str:  # noqa: ARG002 - one token is good for both
        """A token that is good for this room now."""
        now = self._clock()
        made, token = self._kept.get(room, (0, ""))
        if not made <= now < made + LIFE_SECONDS - RENEW_SECONDS:
            made = int(now)
            token = self._minted(room, made)
        self._kept[room] = made, token
        self._kept.move_to_end(room)
        if len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
        return token

    def _minted(self, room: str, now: int) -> str:
        claims = {"aud": room, "exp": now + LIFE_SECONDS, "nbf": now, "scope": SCOPE}
        signed = f"{self._header}.{_base64url(_compact(claims))}"
        return f"{signed}.{_base64url(self._keys.sign_for_gateway(signed.encode()))}"


def _compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
