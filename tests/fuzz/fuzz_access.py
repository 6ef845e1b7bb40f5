"""Targets: what decides who may use a room: key sets, tokens, forwarded addresses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache

from fuzz_target import OK, Target, judged, need, text_of
from token_testing import Minter, base64url, forged, key_set

from gateway.key_set import BadKeySet, KeySet, parse_key_set
from gateway.proxies import client_of, parse_address, parse_networks
from gateway.tokens import MAX_TOKEN, POST, RIGHTS, TokenRefused, Verifier

NOW, LONGEST, LEEWAY, ROOM = 1_800_000_000, 900, 30, "room"
HEADER = b'{"alg":"EdDSA","kid":"ed"}'
TRUSTED = parse_networks(["10.0.0.0/8", "::1"])


@lru_cache(maxsize=1)
def minters() -> tuple[Minter, Minter]:
    return Minter("ed"), Minter("ec", "ES256")


@lru_cache(maxsize=1)
def keys() -> KeySet:
    return parse_key_set(json.dumps(key_set(minters())).encode())


def _usable(_data: bytes, found: KeySet) -> None:
    need(
        all(kid == key.kid and key.algorithm in ("EdDSA", "ES256") for kid, key in found.items()),
        "another key",
    )
    for key in found.values():
        key.public()


def _signed(start: str) -> str:
    return f"{start}.{base64url(minters()[0].private.sign(start.encode()))}"


def _token(data: bytes) -> str:
    """As it stands, or signed by a key of the set: claims, or a header."""
    kind, rest = data[0] % 3 if data else 0, data[1:]
    if kind == 0:
        token = rest.decode("latin-1")
    elif kind == 1:
        token = _signed(f"{base64url(HEADER)}.{base64url(rest)}")
    else:
        claims = {"aud": ROOM, "scope": POST, "nbf": NOW, "exp": NOW + 60}
        token = _signed(f"{base64url(rest)}.{base64url(json.dumps(claims).encode())}")
    try:
        grant = Verifier(LONGEST, LEEWAY, lambda: NOW).check(token, keys(), ROOM, POST)
    except TokenRefused as error:
        need(error.status in (401, 403) and text_of(str(error).encode()).isprintable(), "an odd refusal")
        return error.reason
    need(len(token) <= MAX_TOKEN, "an oversized token")
    need(grant.room == ROOM and POST in grant.rights and grant.rights <= RIGHTS, "more than it says")
    need(grant.not_before - LEEWAY <= NOW < grant.expires + LEEWAY, "not in its time")
    need(0 < grant.expires - grant.not_before <= LONGEST, "too long")
    return OK


def _tokens() -> Iterator[bytes]:
    ed, ec = minters()
    claims = {"aud": ROOM, "scope": "subscribe post", "nbf": NOW, "exp": NOW + 600}
    # ES256 signatures are drawn at random: a wrong one, that the input stays the same.
    es256 = forged({"alg": "ES256", "kid": ec.kid}, claims, b"\1" * 64)
    for token in (ed.token(ROOM, now=NOW), es256, forged({"alg": "none", "kid": "ed"}, claims)):
        yield b"\0" + token.encode()
    for value in (claims, claims | {"aud": [ROOM]}, claims | {"exp": 1e300}, claims | {"scope": ""}):
        yield b"\1" + json.dumps(value).encode()
    for header in (
        {"alg": "EdDSA", "kid": "ed", "typ": "JWT"},
        {"alg": "HS256", "kid": "ed", "crit": ["b64"], "b64": False},
    ):
        yield b"\2" + json.dumps(header).encode()


def _key_sets() -> Iterator[bytes]:
    yield json.dumps(key_set(minters())).encode()
    yield json.dumps({"keys": [minters()[0].jwk(use=None, alg=None, key_ops=["verify"])]}).encode()


def _forwarded(data: bytes) -> str:
    lines = data.decode("latin-1").split("\n")
    return judged(lambda _: client_of(parse_address("10.0.0.1"), lines, TRUSTED), ValueError)(data)


TARGETS = [
    Target("key-set", judged(parse_key_set, BadKeySet, _usable), _key_sets, (b'"kty"', b'"EC"', b'"P-256"', b'"d":', b'"kid":'), share=0.1),
    Target("room-token", _token, _tokens, (b'"aud":', b'"exp":', b'"nbf":', b'"scope":', b'"kid":', b'"alg":', b'"crit":', b"."), share=0.2),
    Target(
        "forwarded-for", _forwarded, lambda: [b"203.0.113.9, 10.1.2.3", b"[2001:db8::1]:80", b"10.2.2.2\n1.2.3.4:5, ::1"],
        (b", ", b"::ffff:", b"[", b"]:", b"%eth0", b"10.0.0.1"), share=0.05,
    ),
]  # fmt: skip
