"""Tokens that a node makes for itself, read by foreign code, and what its client does when they end or are refused."""

from __future__ import annotations

import asyncio
import json
import logging

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from scripted_server import ScriptedServer, events, message, status

from gateway.key_set import parse_key_set
from gateway.settings import AccessSettings
from gateway.tokens import POST, SUBSCRIBE, TokenRefused, Verifier
from participant.gateway_tokens import LIFE_SECONDS, MAX_KEPT, RENEW_SECONDS, RoomTokens, key_of, key_set
from participant.identity import NodeKeys
from participant.room_refusals import RoomForbidden
from participant.rooms import Event, RoomsClient

KEYS = NodeKeys(b"i" * 32, b"a" * 32)
OTHERS = NodeKeys(b"j" * 32, b"b" * 32)
NOW = 1_800_000_000.5


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def test_foreign_code_reads_a_token() -> None:
    clock = Clock()
    token = RoomTokens(KEYS, clock)("committee_ab", "post")
    public = Ed25519PublicKey.from_public_bytes(KEYS.gateway_access)
    options = {"verify_exp": False, "verify_nbf": False, "strict_aud": True}
    claims = jwt.decode(token, public, algorithms=["EdDSA"], audience="committee_ab", options=options)
    begin = int(NOW)
    assert claims == {
        "aud": "committee_ab", "scope": "subscribe post", "nbf": begin, "exp": begin + LIFE_SECONDS,
    }  # fmt: skip
    assert jwt.get_unverified_header(token) == {
        "alg": "EdDSA", "typ": "JWT", "kid": key_of(KEYS.gateway_access)["kid"],
    }  # fmt: skip
    for key in (KEYS.identity, OTHERS.gateway_access):
        wrong = Ed25519PublicKey.from_public_bytes(key)
        with pytest.raises(jwt.InvalidSignatureError):
            jwt.decode(token, wrong, algorithms=["EdDSA"], audience="committee_ab", options=options)


def test_a_keys_name_is_its_thumbprint() -> None:
    # RFC 8037, appendix A.3.
    access = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    assert key_of(access)["kid"] == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    assert key_of(access)["x"] == "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"


def test_the_gateway_takes_what_a_node_makes_with_its_default_settings() -> None:
    clock, defaults = Clock(), AccessSettings()
    cards = [KEYS.card(), OTHERS.card(), KEYS.card()]
    keys = parse_key_set(json.dumps(key_set(cards)).encode())
    assert len(keys) == 2
    tokens = RoomTokens(KEYS, clock)
    verifier = Verifier(defaults.max_token_seconds, defaults.leeway_seconds, clock)
    token = tokens("room", "subscribe")
    for right in (SUBSCRIBE, POST):
        assert verifier.check(token, keys, "room", right).key.number == KEYS.gateway_access
    with pytest.raises(TokenRefused, match="does not have issue_unique_idx"):
        verifier.check(token, keys, "room", "issue_unique_idx")
    with pytest.raises(TokenRefused, match="no key"):
        verifier.check(token, parse_key_set(json.dumps(key_set(cards[1:2])).encode()), "room", POST)


def test_a_token_is_used_until_it_is_nearly_over() -> None:
    clock = Clock()
    tokens = RoomTokens(KEYS, clock)
    first, other = tokens("a", "subscribe"), tokens("b", "subscribe")
    assert first != other
    clock.now = int(NOW) + LIFE_SECONDS - RENEW_SECONDS - 0.1
    assert (tokens("a", "post"), tokens("b", "subscribe")) == (first, other)
    clock.now = int(NOW) + LIFE_SECONDS - RENEW_SECONDS
    later = tokens("a", "post")
    assert later != first
    # A clock that was set back: the token would not be valid yet.
    clock.now = NOW
    assert tokens("a", "post") == first


def test_only_so_many_tokens_are_kept() -> None:
    clock = Clock()
    tokens = RoomTokens(KEYS, clock)
    for number in range(MAX_KEPT + 10):
        tokens(f"session_{number}", "post")
        tokens("committee", "post")
    assert len(tokens._kept) == MAX_KEPT
    assert {"committee", f"session_{MAX_KEPT + 9}"} <= set(tokens._kept)
    assert "session_0" not in tokens._kept


def test_no_secret_is_shown() -> None:
    assert "Bearer" not in repr(RoomTokens(KEYS))
    assert (b"a" * 32).hex() not in repr(vars(RoomTokens(KEYS)))


async def test_a_stream_that_ends_with_its_token_goes_on_with_another(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "participant.rooms")
    clock, slept = Clock(), []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async with ScriptedServer([events(message(0)), events(message(1), stay=True)]) as server:
        rooms = RoomsClient(server.url, token=RoomTokens(KEYS, clock), sleep=sleep)
        stream = rooms.subscribe("r")
        assert isinstance(await anext(stream), Event)
        clock.now += LIFE_SECONDS
        async with asyncio.timeout(20):
            item = await anext(stream)
        assert (type(item), item.id) == (Event, 1)
        first, second = (request.headers["authorization"] for request in server.requests)
        assert first != second
        assert server.requests[1].headers["last-event-id"] == "0"
        assert (rooms.counters.renewals, rooms.counters.disconnects, slept) == (1, 0, [])
        assert [record.levelname for record in caplog.records] == ["INFO"]
        await stream.aclose()
        await rooms.close()


async def test_a_stream_that_ends_before_its_token_is_a_failure() -> None:
    slept = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async with ScriptedServer([events(message(0)), events(message(1), stay=True)]) as server:
        rooms = RoomsClient(server.url, token=RoomTokens(KEYS, Clock()), sleep=sleep)
        stream = rooms.subscribe("r")
        async with asyncio.timeout(20):
            await anext(stream)
            await anext(stream)
        assert (rooms.counters.renewals, rooms.counters.disconnects, len(slept)) == (0, 1, 1)
        await stream.aclose()
        await rooms.close()


SAYS = {
    "unknown_key": (401, "mpc-keygen identity"),
    "bad_signature": (401, "mpc-keygen identity"),
    "token_expired": (401, "compare the clocks"),
    "token_not_yet_valid": (401, "compare the clocks"),
    "token_too_long_lived": (401, "access.max_token_seconds"),
    "certificate_not_allowed": (403, "access.certificates"),
    "address_not_allowed": (403, "access.networks"),
    "something new": (403, "ask its operator"),
}


@pytest.mark.parametrize("reason", SAYS)
async def test_a_refusal_says_what_to_do(reason: str) -> None:
    code, todo = SAYS[reason]
    body = json.dumps({"error": reason, "message": "what the gateway says" + "\x1b[1m" + "." * 400})
    async with ScriptedServer([status(code, body), status(200)]) as server:
        rooms = RoomsClient(server.url, token=RoomTokens(KEYS))
        assert rooms.refused is None
        with pytest.raises(RoomForbidden, match="does not let this node in: what the gateway says") as raised:
            await rooms.post("r", "x")
        text = str(raised.value)
        assert todo in text
        assert "goes on trying" in text
        assert text.isprintable()
        assert (rooms.refused, rooms.reachable) == (raised.value, False)
        await rooms.post("r", "x")
        assert (rooms.refused, rooms.reachable) == (None, True)
        await rooms.close()
