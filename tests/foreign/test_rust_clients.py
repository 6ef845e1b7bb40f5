"""wallet-mpc's and ZenGo's clients through our gateway, as wallet-mpc-wire.md describes them."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from foreign_clients import EventDecoder, Failed, Message, RoomClient, WalletMpcClient, ZenGoClient
from gateway_testing import GatewayProcess, new_room, running_gateway

PARTIES = 3
SIZE = 64 * 1024


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with running_gateway(
        tmp_path_factory.mktemp("gateway"), {"rooms": {"heartbeat_seconds": 0.05}}
    ) as process:
        yield process


def rounds(clients: list[RoomClient], count: int) -> None:
    """Of each round everybody broadcasts something, and sends something else to each of the others alone."""
    indices = [client.index for client in clients]
    for number in range(count):
        for client in clients:
            client.send({"round": number, "from": client.index, "text": "é\u2028\n" + "x" * SIZE})
            for other in indices:
                if other != client.index:
                    client.send([number, client.index, other], other)
        for client in clients:
            found = [client.receive() for _ in range(2 * (PARTIES - 1))]
            others = sorted(set(indices) - {client.index})
            assert sorted(one.sender for one in found if one.receiver is None) == others
            assert all(one.body["round"] == number for one in found if one.receiver is None)
            private = sorted(one.body for one in found if one.receiver is not None)
            assert private == [[number, other, client.index] for other in others]


def test_zengo_parties_join_at_once_and_talk(tmp_path: Path) -> None:
    with running_gateway(tmp_path, {"rooms": {"first_index": 1}}) as gateway, contextlib.ExitStack() as stack:
        room = new_room()
        clients = [stack.enter_context(ZenGoClient(gateway.url, room)) for _ in range(PARTIES)]
        with ThreadPoolExecutor() as threads:
            list(threads.map(ZenGoClient.join, clients))
        # Parties are counted from 1: theirs take the index for a number of a party.
        assert sorted(client.index for client in clients) == [1, 2, 3]
        rounds(list(clients), 3)


@pytest.mark.parametrize("tx_id", [7, -2147483648], ids=["positive", "negative"])
def test_wallet_mpc_parties_join_when_they_like_and_talk(gateway: GatewayProcess, tx_id: int) -> None:
    room = f"signing_{tx_id}"
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(WalletMpcClient(gateway.url, room)) for _ in range(PARTIES)]
        clients[0].join(0)
        clients[0].send("early")
        for index in (1, 2):
            # What was said before is theirs too.
            assert clients[index].join(index).receive() == Message(0, None, "early")
        rounds(list(clients), 2)


def test_heartbeats_do_not_disturb_them(gateway: GatewayProcess) -> None:
    room = new_room()
    with WalletMpcClient(gateway.url, room) as reader, WalletMpcClient(gateway.url, room) as other:
        reader.join(0)
        other.join(1)
        beats = 0
        while beats < 3:
            beats += reader._events.chunk().count(b": ping\n\n")
        other.send("after the heartbeats")
        assert reader.receive().body == "after the heartbeats"


@pytest.mark.parametrize("kind", [WalletMpcClient, ZenGoClient])
def test_what_is_refused_looks_to_them_as_if_it_had_gone_well_but_not_to_the_operator(
    tmp_path: Path, kind: type[RoomClient]
) -> None:
    settings = {"server": {"max_body_bytes": 1000}, "rooms": {"max_bytes": 8024}}
    with running_gateway(tmp_path, settings) as gateway, kind(gateway.url, "room") as client:
        client.index = 0
        client.send("x" * 1000)
        assert gateway.metric('gateway_refusals_total{reason="body_too_large"}') == 1
        assert gateway.metric("gateway_messages_total") == 0
        gateway.process.wait_for('"refused".*"reason": "body_too_large".*"room": "room"')


def test_a_stream_that_the_gateway_ends_ends_their_protocol(tmp_path: Path) -> None:
    with running_gateway(tmp_path) as gateway, WalletMpcClient(gateway.url, "room").join(0) as client:
        gateway.post("room", Message(1, None, "last").text())
        assert client.receive().body == "last"
        assert gateway.process.terminate() == 0
        with pytest.raises(Failed, match="the stream ended"):
            client.receive()


def test_a_ring_that_is_full_gives_them_what_is_left_and_nothing_that_they_do_not_know(
    tmp_path: Path,
) -> None:
    with running_gateway(tmp_path, {"rooms": {"max_messages": 2}}) as gateway:
        for number in range(5):
            gateway.post("room", Message(1, None, number).text())
        with WalletMpcClient(gateway.url, "room").join(0) as client:
            assert [client.receive().body for _ in range(2)] == [3, 4]


# The clients' own limits


def test_a_retry_without_a_space_would_end_them(gateway: GatewayProcess) -> None:
    with pytest.raises(Failed):
        EventDecoder().feed(b"retry:5000\n\n")
    with WalletMpcClient(gateway.url, new_room()).join(0) as client:
        first = client._events.chunk()
        assert first == b"retry: 5000\n\n"
        assert client._decoder.feed(first) == []


@pytest.mark.parametrize(
    "text", ["", "{}", '{"sender":65536,"receiver":null,"body":1}', '{"sender":true,"body":1}', "[]"]
)
def test_what_is_no_message_of_theirs_ends_their_stream(gateway: GatewayProcess, text: str) -> None:
    """So tools must not post other things into a room of theirs: the gateway carries what it is given."""
    room = new_room()
    gateway.post(room, text)
    with WalletMpcClient(gateway.url, room).join(0) as client, pytest.raises(Failed):
        client.receive()


def test_their_decoder_reads_any_way_that_bytes_are_cut(gateway: GatewayProcess) -> None:
    room, rng = new_room(), random.Random(1)
    bodies = [Message(1, None, "ü\u2028🎉" * number).text() for number in range(5)]
    for body in bodies:
        gateway.post(room, body)
    with WalletMpcClient(gateway.url, room).join(0) as client:
        stream = b"".join(client._events.chunk() for _ in range(2))
    for _ in range(20):
        decoder, found, at = EventDecoder(), [], 0
        while at < len(stream):
            size = rng.randrange(1, 40)
            found += decoder.feed(stream[at : at + size])
            at += size
        assert found == bodies
