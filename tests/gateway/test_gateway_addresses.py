"""Addresses behind proxies, networks that may ask, names of client certificates, and what an open gateway says."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest
from certificates import Authority
from gateway_testing import PATIENCE, GatewayProcess, running_gateway, subscribed
from token_testing import Minter, bearer, write_key_set

WILDCARD = "0.0.0.0"  # noqa: S104 - that is the test
PROXY, DIRECT = "127.0.0.1", "127.0.0.2"


def ask(
    gateway: GatewayProcess, source: str = PROXY, forwarded: Sequence[str] = ()
) -> tuple[int, str | None]:
    """Status and reason of a post from an address of this machine; `forwarded`: lines of X-Forwarded-For."""
    with httpx2.Client(
        transport=httpx2.HTTPTransport(local_address=source, verify=False), timeout=PATIENCE, trust_env=False
    ) as http:
        headers = [("X-Forwarded-For", line) for line in forwarded]
        answer = http.post(gateway.room("room", "broadcast"), content=b"m", headers=headers)
        return answer.status_code, answer.json()["error"] if answer.status_code != 200 else None


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """Behind the proxies 127.0.0.1 and 10.0.0.0/8, for 203.0.113.0/24 and an address of IPv6."""
    access = {"trusted_proxies": [PROXY, "10.0.0.0/8"], "networks": ["203.0.113.0/24", "2001:db8::5"]}
    with running_gateway(tmp_path_factory.mktemp("addresses"), {"access": access}) as process:
        yield process


def test_only_networks_that_are_listed_may_ask(gateway: GatewayProcess) -> None:
    assert ask(gateway, PROXY, ["203.0.113.9"]) == (200, None)
    assert ask(gateway, PROXY, ["[2001:db8::5]:443"]) == (200, None)
    before = gateway_refusals(gateway)
    refused = [
        (PROXY, []), (PROXY, ["198.51.100.7"]), (PROXY, ["203.0.113.9, 198.51.100.7"]),
        (PROXY, ["203.0.113.9", "198.51.100.7"]), (PROXY, ["2001:db8::6"]),
        # Another than the proxy says it is one.
        (DIRECT, ["203.0.113.9"]), (DIRECT, []),
    ]  # fmt: skip
    for source, forwarded in refused:
        assert ask(gateway, source, forwarded) == (403, "address_not_allowed")
    assert gateway_refusals(gateway) == before + len(refused)
    # The log names the client, not its proxy.
    gateway.process.wait_for('"reason": "address_not_allowed".*"client": "198.51.100.7"|'
                             '"client": "198.51.100.7".*"reason": "address_not_allowed"')  # fmt: skip


def gateway_refusals(gateway: GatewayProcess) -> float:
    headers = {"X-Forwarded-For": "203.0.113.9"}
    text = httpx2.get(f"{gateway.url}/metrics", headers=headers, timeout=PATIENCE).text
    name = 'gateway_refusals_total{reason="address_not_allowed"} '
    return sum(float(line.removeprefix(name)) for line in text.splitlines() if line.startswith(name))


def test_a_hop_of_a_trusted_proxy_that_is_no_address_is_refused(gateway: GatewayProcess) -> None:
    for forwarded in (
        ["unknown"],
        ["203.0.113.9, ,10.0.0.1"],
        ["203.0.113.9, 10.0.0.1, 1.2.3"],
        ["203.0.113.9, \xff"],
    ):
        assert ask(gateway, PROXY, [line.encode("latin-1") for line in forwarded]) == (
            400,
            "bad_forwarded_for",
        )


def test_networks_without_proxies(tmp_path: Path) -> None:
    with running_gateway(tmp_path, {"access": {"networks": [PROXY]}, "server": {"host": "::"}}) as gateway:
        url = f"http://{PROXY}:{gateway.port}/rooms/room/broadcast"
        # A listener on :: sees IPv4 addresses written as IPv6.
        assert httpx2.post(url, content=b"m", timeout=PATIENCE).status_code == 200
        with httpx2.Client(transport=httpx2.HTTPTransport(local_address=DIRECT, verify=False)) as http:
            answer = http.post(url, content=b"m", headers={"X-Forwarded-For": PROXY}, timeout=PATIENCE)
        assert answer.json()["error"] == "address_not_allowed"


# Client certificates


def context(authority: Authority, pair: Any = None) -> ssl.SSLContext:
    found = ssl.create_default_context(cafile=authority.ca)
    if pair is not None:
        found.load_cert_chain(pair.certificate, pair.key)
    return found


TLS = {"certificate": "server.pem", "key": "server.key", "client_ca": "test-authority.pem"}


async def test_only_certificates_of_listed_names_may_use_rooms(tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    authority.issue("server")
    node, other = authority.issue("node-0", client=True), authority.issue("other", client=True)
    forged = stranger.issue("forged", client=True)
    access = {"certificates": ["node-0", "node-1"]}
    with running_gateway(tmp_path, {"tls": TLS, "access": access}) as gateway:
        good = context(authority, node)
        assert gateway.post("room", "m", verify=good).status_code == 200
        async with subscribed(gateway, "room", verify=good) as reader:
            assert (await reader.message()).data == "m"
        for call in ("subscribe", "broadcast", "issue_unique_idx"):
            answer = httpx2.request(
                "GET" if call == "subscribe" else "POST",
                gateway.room("room", call),
                verify=context(authority, other),
                timeout=PATIENCE,
            )
            assert (answer.status_code, answer.json()["error"]) == (403, "certificate_not_allowed")
        for nobody in (context(authority), context(authority, forged)):
            with pytest.raises(httpx2.TransportError):
                gateway.post("room", "m", verify=nobody)


def test_a_certificate_does_not_make_up_for_a_token(tmp_path: Path) -> None:
    authority, minter = Authority(tmp_path), Minter("ed")
    authority.issue("server")
    node = context(authority, authority.issue("node-0", client=True))
    other = context(authority, authority.issue("other", client=True))
    write_key_set(tmp_path / "keys.json", minter)
    access = {"certificates": ["node-0"], "key_set": "keys.json"}
    with running_gateway(tmp_path, {"tls": TLS, "access": access}) as gateway:
        token = bearer(minter.token("room"))
        assert gateway.post("room", "m", verify=node).json()["error"] == "no_token"
        assert (
            gateway.post("room", "m", verify=other, headers=token).json()["error"]
            == "certificate_not_allowed"
        )
        assert gateway.post("room", "m", verify=node, headers=token).status_code == 200


# What a gateway says of itself

OPEN = "ANYBODY ON THE NETWORK MAY USE EVERY ROOM"


@pytest.mark.parametrize("door", ["TLS", "tokens", "certificates"])
def test_a_gateway_that_anybody_may_use_says_so_loudly(tmp_path: Path, door: str) -> None:
    Authority(tmp_path).issue("server")
    write_key_set(tmp_path / "keys.json", Minter("ed"))
    settings: dict[str, Any] = {
        "server": {"host": WILDCARD},
        "metrics": {"port": 0},
        "tls": {"TLS": TLS | {"client_ca": None}, "certificates": TLS}.get(door, {}),
        "access": {"key_set": "keys.json"} if door == "tokens" else {},
    }
    with running_gateway(tmp_path, settings) as gateway:
        # The last line that it writes while it starts.
        gateway.process.wait_for('"event": "started"')
        metrics = gateway.process.wait_for(r"Metrics on (http://\S+)")[1]
        lines = httpx2.get(f"{metrics}/metrics", timeout=PATIENCE).text.splitlines()
        exposed = door == "TLS"
        assert (OPEN in gateway.process.output) == exposed
        assert f"gateway_exposed {float(exposed)}" in lines
        without_tls = "LISTENING BEYOND THIS MACHINE WITHOUT TLS" in gateway.process.output
        assert without_tls == (door == "tokens")
