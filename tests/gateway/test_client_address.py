"""Which hop of X-Forwarded-For is the client."""

from __future__ import annotations

import ipaddress

import pytest

from gateway.proxies import client_of, parse_address, parse_networks

PROXY = "127.0.0.1"
TRUSTED = parse_networks([PROXY, "10.0.0.0/8"])

CLIENTS: list[tuple[list[str], str]] = [
    (["203.0.113.9"], "203.0.113.9"),
    # What the client wrote itself stands on the left.
    (["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
    (["198.51.100.7, 203.0.113.9"], "203.0.113.9"),
    (["203.0.113.9", "198.51.100.7"], "198.51.100.7"),
    (["198.51.100.7", "203.0.113.9"], "203.0.113.9"),
    # Two trusted proxies in a row.
    (["198.51.100.7, 203.0.113.9, 10.1.2.3"], "203.0.113.9"),
    # All of them trusted: the first is the client.
    (["10.9.9.9, 10.1.2.3"], "10.9.9.9"),
    (["  203.0.113.9:4711 "], "203.0.113.9"),
    (["[2001:db8::5]:443"], "2001:db8::5"),
    (["2001:db8::5"], "2001:db8::5"),
    (["::ffff:203.0.113.9"], "203.0.113.9"),
    (["junk, 203.0.113.9"], "203.0.113.9"),
    ([], PROXY),
]


@pytest.mark.parametrize(("forwarded", "client"), CLIENTS, ids=str)
def test_the_rightmost_hop_that_is_no_proxy_is_the_client(forwarded: list[str], client: str) -> None:
    found = client_of(parse_address(PROXY), forwarded, TRUSTED)
    assert found == ipaddress.ip_address(client)
    # From anybody else the header is worth nothing.
    stranger = parse_address("192.0.2.1")
    assert client_of(stranger, forwarded, parse_networks([PROXY, "10.0.0.0/8"])) == stranger
    assert client_of(parse_address(PROXY), forwarded, ()) == ipaddress.ip_address(PROXY)


@pytest.mark.parametrize(
    "forwarded", ["unknown", "203.0.113.9, ", "203.0.113.9, , 10.0.0.1", "1.2.3", "1.2.3.4, 10.0.0.1,,"]
)
def test_a_hop_of_a_trusted_proxy_is_an_address(forwarded: str) -> None:
    with pytest.raises(ValueError):
        client_of(parse_address(PROXY), [forwarded], TRUSTED)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:80", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:80", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::1", "::1"),
    ],
)
def test_addresses_as_they_are_written(text: str, address: str) -> None:
    assert parse_address(text) == ipaddress.ip_address(address)


def test_networks() -> None:
    assert parse_networks(["192.0.2.1", "2001:db8::/32"]) == (
        ipaddress.ip_network("192.0.2.1/32"),
        ipaddress.ip_network("2001:db8::/32"),
    )
    with pytest.raises(ValueError, match="host bits"):
        parse_networks(["192.0.2.1/24"])
