"""Rooms that ask for tokens, as a client meets them: real processes, tokens made by foreign code."""

from __future__ import annotations

import hmac
import itertools
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from gateway_testing import PATIENCE, GatewayProcess, new_room, running_gateway, subscribed
from processes import command, run_process
from token_testing import Minter, base64url, bearer, forged, key_set, write_key_set

from gateway.settings import load
from kit.settings import SettingsError

ED, EC = Minter("ed"), Minter("ec", "ES256")
STRANGER = Minter("stranger")
LONGEST = 300


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    directory = tmp_path_factory.mktemp("tokens")
    write_key_set(directory / "keys.json", ED, EC)
    settings = {"access": {"key_set": "keys.json"}, "server": {"cors_origins": ["http://app.example"]}}
    with running_gateway(directory, settings) as process:
        yield process


def refusals(gateway: GatewayProcess, reason: str) -> float:
    return gateway.metric(f'gateway_refusals_total{{reason="{reason}"}}')


@pytest.mark.parametrize("minter", [ED, EC], ids=["EdDSA", "ES256"])
async def test_a_token_opens_its_room(gateway: GatewayProcess, minter: Minter) -> None:
    room = new_room()
    headers = bearer(minter.token(room))
    assert gateway.post(room, "m", headers=headers).status_code == 200
    assert httpx2.post(gateway.room(room, "issue_unique_idx"), headers=headers).json() == {"unique_idx": 0}
    async with subscribed(gateway, room, headers=headers) as reader:
        assert (await reader.message()).data == "m"


CALLS = [("GET", "subscribe"), ("POST", "broadcast"), ("POST", "issue_unique_idx")]


@pytest.mark.parametrize(("method", "call"), CALLS)
def test_nobody_gets_in_without_a_token(gateway: GatewayProcess, method: str, call: str) -> None:
    before = refusals(gateway, "no_token")
    answer = httpx2.request(method, gateway.room("room", call), timeout=PATIENCE, verify=False)
    assert (answer.status_code, answer.json()["error"]) == (401, "no_token")
    # RFC 6750, 3.1: who showed no credentials is told no error.
    assert answer.headers["www-authenticate"] == 'Bearer realm="rooms"'
    assert refusals(gateway, "no_token") == before + 1


RIGHTS = {"subscribe": "subscribe", "broadcast": "post", "issue_unique_idx": "issue_unique_idx"}


@pytest.mark.parametrize(("method", "call"), CALLS)
def test_each_call_needs_its_own_right(gateway: GatewayProcess, method: str, call: str) -> None:
    others = " ".join(right for name, right in RIGHTS.items() if name != call)
    # Neither a part of the word nor one with another case is the word.
    for scope in (others, "", others + " " + RIGHTS[call][:-1], RIGHTS[call].upper()):
        answer = httpx2.request(
            method, gateway.room("room", call), headers=bearer(ED.token("room", scope)), timeout=PATIENCE
        )
        assert (answer.status_code, answer.json()["error"]) == (403, "missing_right")
        assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
        assert f'scope="{RIGHTS[call]}"' in answer.headers["www-authenticate"]
    headers = bearer(ED.token("room", RIGHTS[call]))
    with httpx2.stream(
        method, gateway.room("room", call), headers=headers, timeout=PATIENCE, verify=False
    ) as answer:
        assert answer.status_code == 200


def signed(minter: Minter, header: dict) -> str:
    """Any header, truly signed by the minter's key."""
    now = int(time.time())
    start = forged(header, {"aud": "room", "scope": "post", "nbf": now, "exp": now + 60}).rpartition(".")[0]
    return f"{start}.{base64url(minter.private.sign(start.encode()))}"


def hmac_signed(header: dict, secret: bytes) -> str:
    now = int(time.time())
    start = forged(header, {"aud": "room", "scope": "post", "nbf": now, "exp": now + 60}).rpartition(".")[0]
    return f"{start}.{base64url(hmac.digest(secret, start.encode(), 'sha256'))}"


TOKENS = {
    "none": (401, "wrong_algorithm", lambda: forged({"alg": "none", "kid": "ed"}, {"aud": "room"})),
    "none, signed": (401, "wrong_algorithm", lambda: signed(ED, {"alg": "none", "kid": "ed"})),
    "HS256 with the public key": (
        401, "wrong_algorithm", lambda: hmac_signed({"alg": "HS256", "kid": "ed"}, ED.raw),
    ),
    "HS256 with the public key's file": (
        401, "wrong_algorithm",
        lambda: hmac_signed({"alg": "HS256", "kid": "ec"}, json.dumps(EC.jwk()).encode()),
    ),
    "EdDSA by an ES256 key": (401, "wrong_algorithm", lambda: signed(ED, {"alg": "EdDSA", "kid": "ec"})),
    "ES256 by an EdDSA key": (401, "wrong_algorithm", lambda: Minter("ec", "ES256", "ed").token()),
    "another's key": (401, "bad_signature", lambda: Minter("stranger", kid="ed").token()),
    "another's ES256 key": (401, "bad_signature", lambda: Minter("else", "ES256", "ec").token()),
    "unknown kid": (401, "unknown_key", STRANGER.token),
    "no kid": (401, "bad_token", lambda: signed(ED, {"alg": "EdDSA"})),
    "kid a number": (401, "bad_token", lambda: signed(ED, {"alg": "EdDSA", "kid": 7})),
    "key brought along": (
        401, "unknown_key", lambda: signed(STRANGER, {"alg": "EdDSA", "kid": "new", "jwk": STRANGER.jwk()}),
    ),
    "critical extension": (401, "bad_token", lambda: signed(ED, {"alg": "EdDSA", "kid": "ed", "crit": ["x"], "x": 1})),
    "another room": (403, "wrong_room", lambda: ED.token("another")),
    "room as a prefix": (403, "wrong_room", lambda: ED.token("room*")),
    "no room": (401, "bad_token", lambda: ED.token(None)),
    "list of rooms": (401, "bad_token", lambda: ED.token(["room"])),
    "no scope": (401, "bad_token", lambda: ED.token("room", None)),
    "no exp": (401, "bad_token", lambda: ED.token(exp=None)),
    "no nbf": (401, "bad_token", lambda: ED.token(nbf=None)),
    "expired": (401, "token_expired", lambda: ED.token(start=-LONGEST, life=LONGEST - 60)),
    "not yet": (401, "token_not_yet_valid", lambda: ED.token(start=120)),
    "too long": (401, "token_too_long_lived", lambda: ED.token(life=LONGEST + 1)),
    "ends before it begins": (401, "token_too_long_lived", lambda: ED.token(life=-1)),
    "oversized": (401, "bad_token", lambda: ED.token(more="x" * 4096)),
    "no JWT": (401, "bad_token", lambda: "a.b.c"),
    "two parts": (401, "bad_token", lambda: "a.b"),
    "header of brackets": (401, "bad_token", lambda: f"{base64url(b'[' * 2900)}.e30.AA"),
    "a word": (401, "bad_token", lambda: "token"),
}  # fmt: skip


@pytest.mark.attack("E5")
@pytest.mark.parametrize("name", TOKENS)
def test_what_opens_nothing(gateway: GatewayProcess, name: str) -> None:
    status, reason, token = TOKENS[name]
    before, taken = refusals(gateway, reason), gateway.metric("gateway_messages_total")
    answer = gateway.post("room", "m", headers=bearer(token()))
    assert (answer.status_code, answer.json()["error"]) == (status, reason)
    code = "insufficient_scope" if status == 403 else "invalid_token"
    assert f'error="{code}", error_description="{reason}"' in answer.headers["www-authenticate"]
    assert refusals(gateway, reason) == before + 1
    assert gateway.metric("gateway_messages_total") == taken


def test_other_schemes_and_two_tokens(gateway: GatewayProcess) -> None:
    token = ED.token("room")
    basic = gateway.post("room", "m", headers={"Authorization": f"Basic {token}"})
    assert (basic.status_code, basic.json()["error"]) == (401, "bad_token")
    pair = [("Authorization", f"Bearer {token}"), ("Authorization", f"Bearer {token}")]
    twice = gateway.post("room", "m", headers=pair)
    assert (twice.status_code, twice.json()["error"]) == (400, "several_tokens")
    assert gateway.post("room", "m", headers={"Authorization": f"bearer  {token}"}).status_code == 200


@pytest.mark.fault(13)
def test_a_refusal_comes_before_the_body(gateway: GatewayProcess) -> None:
    with gateway.connect() as client:
        client.send(b"POST /rooms/room/broadcast HTTP/1.1\r\nHost: g\r\nContent-Length: 8000000\r\n\r\n")
        assert b" 401 " in client.read_until(b"\r\n")
    with gateway.connect() as client:
        client.send(
            b"POST /rooms/room/broadcast HTTP/1.1\r\nHost: g\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"
        )
        answer = client.read_all()
        assert b" 401 " in answer.split(b"\r\n")[0]
        assert b"connection: close" in answer


def test_a_page_of_another_origin_reads_why(gateway: GatewayProcess) -> None:
    answer = gateway.post("room", "m", headers={"Origin": "http://app.example"})
    assert answer.status_code == 401
    assert answer.headers["access-control-allow-origin"] == "http://app.example"
    assert "WWW-Authenticate" in answer.headers["access-control-expose-headers"]


def test_health_and_metrics_ask_for_nothing(gateway: GatewayProcess) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        assert httpx2.get(gateway.url + path, timeout=PATIENCE, verify=False).status_code == 200
    assert gateway.metric("gateway_token_keys") == 2


def test_no_token_is_in_the_log(gateway: GatewayProcess) -> None:
    token = ED.token("another")
    gateway.post("room", "m", headers=bearer(token))
    httpx2.get(gateway.room("room", "subscribe") + "?access_token=" + token, timeout=PATIENCE, verify=False)
    gateway.process.wait_for('"reason": "wrong_room"')
    gateway.process.wait_for('"reason": "no_token".*subscribe')
    assert token[:24] not in gateway.process.output
    assert "access_token" not in gateway.process.output


async def test_a_token_in_the_query_where_that_is_allowed(tmp_path: Path) -> None:
    write_key_set(tmp_path / "keys.json", ED)
    with running_gateway(tmp_path, {"access": {"key_set": "keys.json", "token_in_query": True}}) as gateway:
        token = ED.token("room")
        gateway.post("room", "m", headers=bearer(token))
        async with subscribed(gateway, "room", params={"access_token": token}) as reader:
            assert (await reader.message()).data == "m"
        for method, call in CALLS[1:]:
            url = f"{gateway.room('room', call)}?access_token={token}"
            assert httpx2.request(method, url, timeout=PATIENCE, verify=False).json()["error"] == "no_token"
        url = f"{gateway.room('room', 'subscribe')}?access_token={token}"
        both = httpx2.get(url, headers=bearer(token), timeout=PATIENCE, verify=False)
        assert both.json()["error"] == "several_tokens"
        assert token[:24] not in gateway.process.output


# The key set's file


def wait_for_keys(gateway: GatewayProcess, count: int) -> None:
    gateway.process.wait_for(rf'(?=.*"event": "key set read")(?=.*"keys": {count}\b)')
    assert gateway.metric("gateway_token_keys") == count


async def test_keys_rotate_without_a_gap(tmp_path: Path) -> None:
    old, new = Minter("old"), Minter("new")
    path = write_key_set(tmp_path / "keys.json", old)
    with running_gateway(tmp_path, {"access": {"key_set": "keys.json"}}) as gateway:
        posted = itertools.count()

        def allowed(minter: Minter) -> str | None:
            answer = gateway.post("room", f"m{next(posted)}", headers=bearer(minter.token("room")))
            return None if answer.status_code == 200 else answer.json()["error"]

        kept = old.token("room")
        assert (allowed(old), allowed(new)) == (None, "unknown_key")
        async with (
            subscribed(gateway, "room", headers=bearer(kept)) as of_old,
        ):
            write_key_set(path, old, new)
            wait_for_keys(gateway, 2)
            assert (allowed(old), allowed(new)) == (None, None)
            async with subscribed(gateway, "room", headers=bearer(new.token("room"))) as of_new:
                write_key_set(path, new)
                wait_for_keys(gateway, 1)
                assert (allowed(old), allowed(new)) == ("unknown_key", None)
                # Also a token that was good a moment ago, and its stream.
                answer = gateway.post("room", "m", headers=bearer(kept))
                assert answer.json()["error"] == "unknown_key"
                last = (await of_old.rest())[-1]
                assert last.event == ":"
                assert "key_removed" in last.data
                wanted = (await of_new.messages(4))[-1]
                assert wanted.data == "m5"
        assert gateway.metric('gateway_cuts_total{reason="key_removed"}') == 1


async def test_another_key_under_the_same_kid_is_another_key(tmp_path: Path) -> None:
    path = write_key_set(tmp_path / "keys.json", ED)
    with running_gateway(tmp_path, {"access": {"key_set": "keys.json"}}) as gateway:
        token = ED.token("room")
        assert gateway.post("room", "m", headers=bearer(token)).status_code == 200
        write_key_set(path, Minter("other", kid="ed"), STRANGER)
        wait_for_keys(gateway, 2)
        assert gateway.post("room", "m", headers=bearer(token)).json()["error"] == "bad_signature"


async def test_a_stream_ends_with_its_token(tmp_path: Path) -> None:
    write_key_set(tmp_path / "keys.json", ED)
    settings = {"access": {"key_set": "keys.json", "leeway_seconds": 0}}
    with running_gateway(tmp_path, settings) as gateway:
        # Long enough for a slow machine to connect, and then it is over.
        token = ED.token("room", life=10)
        async with subscribed(gateway, "room", headers=bearer(token)) as reader:
            gateway.post("room", "m", headers=bearer(ED.token("room")))
            events = await reader.rest()
        assert [event.data for event in events if event.event == "new-message"] == ["m"]
        assert "token_expired" in events[-1].data
        assert gateway.post("room", "m", headers=bearer(token)).json()["error"] == "token_expired"


BROKEN = {
    "no JSON": b'{"keys": [',
    "no keys": b'{"keys": []}',
    "no set": b"[]",
    "same kid twice": json.dumps(key_set([ED, Minter("x", kid="ed")])).encode(),
    "same name twice": json.dumps(key_set([ED])).encode().replace(b'"kid"', b'"kid": "a", "kid"'),
    "private": json.dumps({"keys": [ED.jwk(d="AA")]}).encode(),
    "symmetric": json.dumps({"keys": [{"kty": "oct", "k": "AAAA", "kid": "a"}]}).encode(),
}


def test_a_key_set_that_cannot_be_used_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_bytes(BROKEN["same kid twice"])
    path = tmp_path / "gateway.yaml"
    path.write_text("server: {port: 0}\ngrpc: {port: 0}\naccess: {key_set: keys.json}\n")
    for arguments in ((), ("--check",)):
        code, process = run_process(command("sign-gateway", *arguments, path))
        assert code == 2
        assert "keys.json: access.key_set: key 1: kid 'ed' stands twice" in process.output
        assert "Traceback" not in process.output


def test_a_key_set_that_breaks_leaves_the_former_in_force(tmp_path: Path) -> None:
    path = write_key_set(tmp_path / "keys.json", ED)
    with running_gateway(tmp_path, {"access": {"key_set": "keys.json"}}) as gateway:
        for broken in BROKEN.values():
            path.write_bytes(broken)
        gateway.process.wait_for("THE KEY SET CANNOT BE USED.*key 0: it holds a PRIVATE key")
        assert gateway.metric("gateway_key_set_stale") == 1
        assert gateway.post("room", "m", headers=bearer(ED.token("room"))).status_code == 200
        path.unlink()
        gateway.process.wait_for("THE KEY SET CANNOT BE USED.*No such file")
        write_key_set(path, EC, ED, STRANGER)
        wait_for_keys(gateway, 3)
        assert gateway.metric("gateway_key_set_stale") == 0
        assert gateway.post("room", "m", headers=bearer(STRANGER.token("room"))).status_code == 200


def test_impossible_settings(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    for text, says in (
        ("certificates: [a]", "access.certificates names client certificates, but tls.client_ca is not set"),
        ("token_in_query: true", "access.token_in_query is set, but without access.key_set"),
        ("networks: [10.0.0.1/8]", "access.networks[0]: 10.0.0.1/8 has host bits set"),
        ("trusted_proxies: [proxy]", "access.trusted_proxies[0]: 'proxy' does not appear to be"),
        ("leeway_seconds: 61", "access.leeway_seconds: expected less than or equal to 60"),
    ):
        path.write_text(f"access: {{{text}}}\n")
        with pytest.raises(SettingsError, match=re.escape(says)):
            load(path)
