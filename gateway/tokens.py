"""Room tokens: short-lived JWTs (RFC 7519), each for one room and named rights.

    header   {"alg": "EdDSA" | "ES256", "kid": ...}
    claims   {"aud": room id, "scope": "subscribe post", "nbf": seconds, "exp": seconds}

The key set says which key a kid stands for and which algorithm that key is for. Whoever holds a key of the set mints
tokens for any room; what a token says is all that its bearer may do.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import jwt

from gateway.key_set import KeySet, TokenKey

SUBSCRIBE: Final = "subscribe"
POST: Final = "post"
ISSUE: Final = "issue_unique_idx"
RIGHTS: Final = frozenset({SUBSCRIBE, POST, ISSUE})

# Room ids have up to 256 bytes, which JSON and base64 may make 2048; the rest has a few hundred.
MAX_TOKEN: Final = 4096
MAX_CACHED: Final = 8192


class TokenRefused(Exception):
    """A token that opens nothing. `reason` is stable (answer, log, metrics); `status` 401, or 403 for a good one."""

    def __init__(self, reason: str, text: str, status: int = 401) -> None:
        super().__init__(text)
        self.reason = reason
        self.status = status


@dataclass(frozen=True)
class Grant:
    """What a verified token says. `not_before`, `expires`: seconds since 1970."""

    key: TokenKey
    room: str
    rights: frozenset[str]
    not_before: float
    expires: float


class Verifier:
    """Checks tokens. One that was checked is remembered, so that a post costs no signature check."""

    def __init__(
        self, max_seconds: float, leeway_seconds: float, clock: Callable[[], float] = time.time
    ) -> None:
        """`max_seconds`: longest time from nbf to exp. `leeway_seconds`: by which the minter's clock may be off."""
        self.leeway = leeway_seconds
        self._max_seconds = max_seconds
        self._clock = clock
        self._jws = jwt.PyJWS()
        self._known: OrderedDict[bytes, Grant] = OrderedDict()

    def check(self, token: str, keys: KeySet, room: str, right: str) -> Grant:
        """The grant of a token that is good for `right` in `room` now. Raises TokenRefused."""
        if len(token) > MAX_TOKEN:
            raise TokenRefused("bad_token", f"the token is longer than {MAX_TOKEN} characters")
        digest = hashlib.sha256(token.encode()).digest()
        grant = self._known.get(digest)
        if grant is None or keys.get(grant.key.kid) != grant.key:
            grant = self._verified(token, keys)
            self._known[digest] = grant
            if len(self._known) > MAX_CACHED:
                self._known.popitem(last=False)
        self._check_time(grant)
        if grant.room != room:
            raise TokenRefused("wrong_room", "the token is for another room (aud)", 403)
        if right not in grant.rights:
            raise TokenRefused("missing_right", f"the token's scope does not have {right}", 403)
        return grant

    def seconds_left(self, grant: Grant) -> float:
        """Until the grant's token is refused."""
        return grant.expires + self.leeway - self._clock()

    def _check_time(self, grant: Grant) -> None:
        now = self._clock()
        if now >= grant.expires + self.leeway:
            late = now - grant.expires
            raise TokenRefused(
                "token_expired", f"the token expired {late:.0f} s ago: mint another, compare clocks"
            )
        if now < grant.not_before - self.leeway:
            early = grant.not_before - now
            raise TokenRefused("token_not_yet_valid", f"the token is valid in {early:.0f} s: compare clocks")

    def _verified(self, token: str, keys: KeySet) -> Grant:
        """Signature and form."""
        try:
            header = self._jws.get_unverified_header(token)
        except jwt.InvalidTokenError:
            raise _malformed("is no JWT") from None
        kid = header.get("kid")
        if not isinstance(kid, str):
            raise _malformed("names no key (kid)")
        key = keys.get(kid)
        if key is None:
            raise TokenRefused(
                "unknown_key",
                f"no key of this gateway's key set has the kid {kid[:64]!r}: add its owner's card",
            )
        if header.get("alg") != key.algorithm:
            raise TokenRefused("wrong_algorithm", f"that key is for {key.algorithm} alone")
        # The one extension (RFC 7797) that the library knows; it refuses all others that are critical.
        if "b64" in header:
            raise _malformed("asks for extensions")
        try:
            payload = self._jws.decode(token, key.public(), algorithms=[key.algorithm])
        except jwt.InvalidTokenError:
            raise TokenRefused("bad_signature", "the token is not signed by the key that it names") from None
        return self._grant(key, payload)

    def _grant(self, key: TokenKey, payload: bytes) -> Grant:
        try:
            claims = json.loads(payload)
        except (ValueError, RecursionError):
            raise _malformed("has no claims in JSON") from None
        if not isinstance(claims, dict):
            raise _malformed("has no claims in JSON")
        room, scope = claims.get("aud"), claims.get("scope")
        if not isinstance(room, str):
            raise _malformed("has no aud with one room's id")
        if not isinstance(scope, str):
            raise _malformed("has no scope with its rights")
        not_before, expires = _seconds(claims, "nbf"), _seconds(claims, "exp")
        if not 0 < expires - not_before <= self._max_seconds:
            raise TokenRefused(
                "token_too_long_lived",
                f"the token lives for {expires - not_before:.0f} s; 1 to {self._max_seconds:.0f} are allowed",
            )
        return Grant(key, room, frozenset(scope.split(" ")) & RIGHTS, not_before, expires)


def _seconds(claims: dict[str, Any], name: str) -> float:
    value = claims.get(name)
    # 10^12 s is beyond the year 30000, and exact as a float; neither NaN nor infinity is below it.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 10**12:
        raise _malformed(f"has no {name} in seconds")
    return float(value)


def _malformed(what: str) -> TokenRefused:
    return TokenRefused("bad_token", f"the token {what}")
