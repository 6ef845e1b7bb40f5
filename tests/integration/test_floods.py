"""Floods: a node and a gateway keep within their memory, and whoever is honest is still served."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx2
import pytest
from committee_processes import UNHURRIED
from fault_testing import ROUNDS, Besieged, besieged_committee, peak_above, signs
from gateway_testing import PATIENCE, new_room, running_gateway, subscribed
from hostile_gateway import Deliveries, Mischief, Post
from node_testing import node_keys
from tss_testing import SMALL_SECP

from kit.pb.wallet.v1 import wallet_pb2 as wallet
from participant.callers import write_token_file
from participant.channel import write_body
from participant.grpc_client import Credentials
from participant.rooms import MAX_BODY, MAX_EVENT
from tss.envelope import Body, Kind, holder, pack, routing, sign

MIB = 1 << 20
LINE_BOUND = 128 * MIB
"""What a node may grow by while it reads messages of any size, one of 8 MiB a few times over (docs/reliability.md)."""
SESSION_BOUND = 192 * MIB
"""And while somebody floods the room of a session: MAX_WAITING_BYTES that wait, as many that are looked at, and the above."""


TOKENS: dict[str, str] = {}


@pytest.fixture(scope="module")
def besieged(tmp_path_factory) -> Iterator[Besieged]:
    """Node 2 asks its callers for tokens."""
    directory = tmp_path_factory.mktemp("committee")
    TOKENS.update(write_token_file(directory / "tokens.yaml", {"alice": None}))
    own = {2: {"callers": {"token_file": "../tokens.yaml", **UNHURRIED["callers"]}}}
    with besieged_committee(directory, settings=UNHURRIED, own_settings=own) as besieged:
        yield besieged


@pytest.fixture
def siege(besieged) -> Iterator[Besieged]:
    yield besieged
    besieged.behave()


def forged(scope: bytes, number: int, size: int) -> bytes:
    """The body of a message in a member's name that the gateway has made up."""
    mine = node_keys(1, "the gateway's own")[0]
    body = Body(SMALL_SECP.proto, scope, 1, Kind.MSG, holder(1 + number % 3), None, bytes(size))
    return write_body([pack(sign(body, mine.sign))], 0, None).encode()


class Flood(Mischief):
    """Before each message of a session come so many in members' names; the first of them are as large as they may be.

    Not before copies: a message that is said again because nobody could hear it would make the flood larger.
    """

    def __init__(self, small: int, large: int) -> None:
        self.small = small
        self.large = large
        self.told = 0
        self._large: dict[bytes, bytes] = {}
        self._seen: set[tuple[int, bytes]] = set()

    def relay(self, post: Post, side: int) -> Deliveries:
        bodies = [post.body]
        if post.room.startswith("session_") and side != post.side and (side, post.body) not in self._seen:
            self._seen.add((side, post.body))
            scope = routing(post.envelope)[0]
            if scope not in self._large:
                self._large[scope] = forged(scope, side, MAX_BODY // 4 * 3 - 1024)
            junk = [forged(scope, number, 32) for number in range(self.small)]
            bodies = [*[self._large[scope]] * self.large, *junk, post.body]
            self.told += len(bodies) - 1
        return [(0.0, body) for body in bodies]


@pytest.mark.fault(15)
@pytest.mark.fault(25)
async def test_a_flood_in_a_sessions_room(siege):
    """Anybody may write there in a member's name: the session ends well all the same, and no node grows beyond its bound."""
    siege.gateway.mischief = flood = Flood(100 * min(ROUNDS, 10), 2)
    pids = [siege.committee.nodes[index].running.pid for index in (0, 1)]
    with peak_above(*pids) as grown:
        await signs(siege.committee.nodes[0], "flooded", signers=(0, 1))
    assert flood.told > 300
    assert max(grown) < SESSION_BOUND, [one // MIB for one in grown]
    await siege.check()


@pytest.mark.fault(13)
async def test_messages_larger_than_any_may_be(siege):
    """Bodies beyond what a node reads, in a room where it listens: skipped, whatever their number."""
    gateway, node = siege.gateway, siege.committee.nodes[1]
    room = next(post.room for post in gateway.posts if post.room.startswith("committee_"))
    largest = write_body([bytes(MAX_BODY // 4 * 3 - 1024)], 0, None).encode()
    endless = b"x" * (MAX_EVENT + MIB)
    before = node.metric('sign_service_gateway_total{what="oversized_events"}')
    count = 4 * ROUNDS
    with peak_above(node.running.pid) as grown:
        gateway.inject(room, 1, *[largest, endless] * count)
        await signs(siege.committee.nodes[0], "behind the large ones", signers=(0, 1))
    assert node.metric('sign_service_gateway_total{what="oversized_events"}') == before + count
    assert max(grown) < LINE_BOUND, [one // MIB for one in grown]
    await siege.check()


@pytest.mark.fault(13)
async def test_a_compressed_request_that_unfolds(siege):
    """64 KiB on the wire that would be 64 MiB: refused before they are."""
    node = siege.committee.nodes[2]
    bomb = bytes(64 * MIB)
    with peak_above(node.running.pid) as grown:
        async with grpc.aio.insecure_channel(
            node.target, options=[("grpc.max_send_message_length", -1)]
        ) as channel:
            call = channel.unary_unary("/wallet.v1.Wallet/Sign", request_serializer=bytes)
            for compression in (grpc.Compression.Gzip, grpc.Compression.NoCompression):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await call(bomb, compression=compression, timeout=PATIENCE)
                assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert max(grown) < LINE_BOUND, [one // MIB for one in grown]
    await signs(siege.committee.nodes[0], "after the bomb", signers=(0, 2))


@pytest.mark.fault(15)
async def test_a_flood_of_wrong_tokens(siege):
    """Each is refused, nothing is kept of it, and who has a token is served."""
    node = siege.committee.nodes[2]
    with peak_above(node.running.pid) as grown:
        async with grpc.aio.insecure_channel(node.target) as channel:
            call = channel.unary_unary("/wallet.v1.Wallet/ListAccounts", request_serializer=bytes)

            async def wrong(number: int) -> grpc.StatusCode:
                try:
                    await call(b"", metadata=[("authorization", f"Bearer wrong {number}")], timeout=PATIENCE)
                except grpc.aio.AioRpcError as error:
                    return error.code()
                return grpc.StatusCode.OK

            for first in range(0, 300 * ROUNDS, 100):
                codes = await asyncio.gather(*map(wrong, range(first, first + 100)))
                assert set(codes) == {grpc.StatusCode.UNAUTHENTICATED}
    assert max(grown) < LINE_BOUND, [one // MIB for one in grown]
    async with node.client(Credentials(token=TOKENS["alice"])) as client:
        answer = await client.call(client.wallet.ListAccounts, wallet.ListAccountsRequest())
        assert [account.account_id for account in answer.accounts] == ["main"]


GATEWAY = {
    "server": {"max_connections": 200, "max_bodies_bytes": 32 * MIB},
    "rooms": {"max_rooms": 100, "max_bytes": 64 * MIB, "max_total_bytes": 64 * MIB, "min_idle_seconds": 0},
}
TIMES = 3 if ROUNDS == 1 else 10
"""So many times what the gateway takes."""
GATEWAY_BOUND = (64 + 32 + 64) * MIB
"""rooms.max_total_bytes + server.max_bodies_bytes + 64 MiB (docs/reliability.md)."""


@pytest.mark.fault(15)
async def test_a_gateway_under_many_times_what_it_takes(tmp_path: Path):
    """Rooms, bytes and connections: the oldest go, the newest are refused, and a room in use goes on."""
    with running_gateway(tmp_path, GATEWAY) as gateway, peak_above(gateway.process.pid) as grown:
        room = new_room()
        async with subscribed(gateway, room) as reader, httpx2.AsyncClient(timeout=PATIENCE) as http:

            async def post(name: str, body: bytes) -> int:
                return (await http.post(gateway.room(name, "broadcast"), content=body)).status_code

            assert {await post(f"many {number}", b"m") for number in range(100 * TIMES)} == {200}
            assert gateway.metric("gateway_rooms") <= 100
            large = b"x" * (8 * MIB)
            assert {await post(f"large {number}", large) for number in range(8 * TIMES)} == {200}
            crowd = []
            for _ in range(200 * TIMES):
                crowd.append(sock := socket.create_connection((gateway.host, gateway.port)))
                sock.setblocking(False)
            assert await post(room, b"still here") == 200
            for sock in crowd:
                sock.close()
            assert (await reader.message()).data == "still here"
    assert max(grown) < GATEWAY_BOUND, [one // MIB for one in grown]
