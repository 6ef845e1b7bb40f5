"""A node's own client at a gateway that asks for tokens: real process, real streams, clocks that are off."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator

import httpx2
import pytest
from gateway_testing import GatewayProcess, new_room, running_gateway
from token_testing import Minter, bearer

from participant.gateway_tokens import LIFE_SECONDS, RoomTokens, key_set
from participant.identity import NodeKeys
from participant.room_refusals import RoomForbidden
from participant.rooms import Action, Event, RoomItem, RoomsClient

PATIENCE = 60.0
NODE, STRANGER = NodeKeys(b"i" * 32, b"a" * 32), NodeKeys(b"j" * 32, b"b" * 32)


class Clock:
    """The wall clock, `off` seconds ahead."""

    def __init__(self, off: float = 0) -> None:
        self.off = off

    def __call__(self) -> float:
        return time.time() + self.off


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    directory = tmp_path_factory.mktemp("nodes")
    (directory / "keys.json").write_text(json.dumps(key_set([NODE.card()])))
    settings = {
        "access": {"key_set": "keys.json", "leeway_seconds": 0},
        # Two hundred at once, and then hardly any.
        "clients": {"messages_per_second": 1, "burst_seconds": 200},
    }
    with running_gateway(directory, settings) as process:
        yield process


async def item(stream: object) -> RoomItem:
    async with asyncio.timeout(PATIENCE):
        return await anext(stream)  # type: ignore[call-overload,no-any-return]


async def test_a_stream_outlives_its_token_and_misses_nothing(gateway: GatewayProcess) -> None:
    room = new_room()
    # Mints tokens that are over in 10 seconds, until it is set right.
    clock = Clock(10 - LIFE_SECONDS)
    mint, ended = RoomTokens(NODE, clock), asyncio.Event()

    def token(name: str, action: Action) -> str:
        if clock.off == 0:
            # Asked for another one: the gateway ended the stream.
            ended.set()
        return mint(name, action)

    rooms, other = RoomsClient(gateway.url, token=token), RoomsClient(gateway.url, token=RoomTokens(NODE))
    stream = rooms.subscribe(room)
    await other.post(room, "before")
    assert await item(stream) == Event(0, "before")
    clock.off = 0
    following = asyncio.ensure_future(item(stream))
    async with asyncio.timeout(PATIENCE):
        await ended.wait()
    await other.post(room, "after")
    assert await following == Event(1, "after")
    assert (rooms.counters.renewals, rooms.counters.disconnects, rooms.counters.connects) == (1, 0, 2)
    assert rooms.reachable
    assert gateway.metric('gateway_cuts_total{reason="token_expired"}') == 1
    await stream.aclose()
    await rooms.close()
    await other.close()


@pytest.mark.fault(9)
@pytest.mark.parametrize(("off", "reason"), [(3600, "token_not_yet_valid"), (-3600, "token_expired")])
async def test_a_node_whose_clock_is_off_is_told_so(gateway: GatewayProcess, off: float, reason: str) -> None:
    clock = Clock(off)
    rooms = RoomsClient(gateway.url, token=RoomTokens(NODE, clock))
    with pytest.raises(
        RoomForbidden, match=rf"\[{reason}\]; compare the clocks of node and gateway"
    ) as refused:
        await rooms.post(new_room(), "m")
    assert (refused.value.status, rooms.refused) == (401, refused.value)
    clock.off = 0
    await rooms.post(new_room(), "m")
    assert rooms.refused is None
    await rooms.close()


async def test_a_node_whose_card_is_not_in_the_key_set(gateway: GatewayProcess) -> None:
    rooms = RoomsClient(gateway.url, token=RoomTokens(STRANGER))
    with pytest.raises(RoomForbidden, match=r"\[unknown_key\]; give the gateway's operator this node's card"):
        await anext(rooms.subscribe(new_room()))
    with pytest.raises(RoomForbidden, match="unknown_key"):
        await rooms.post(new_room(), "m")
    await rooms.close()
    without = RoomsClient(gateway.url)
    with pytest.raises(RoomForbidden, match=r"\[no_token\]"):
        await without.post(new_room(), "m")
    await without.close()


@pytest.mark.fault(15)
async def test_a_flood_of_wrong_tokens_is_bounded_and_moves_nobody_else(gateway: GatewayProcess) -> None:
    room, answers = new_room(), Counter[tuple[int, str]]()
    wrong = bearer(Minter("stranger").token(room))
    flooder = httpx2.HTTPTransport(local_address="127.0.0.2", verify=False)
    with httpx2.Client(transport=flooder, timeout=PATIENCE, headers=wrong) as http:
        for _ in range(300):
            answer = http.post(gateway.room(room, "broadcast"), content=b"m")
            answers[answer.status_code, answer.json()["error"]] += 1
    assert set(answers) == {(401, "unknown_key"), (429, "client_message_rate")}
    assert answers[401, "unknown_key"] >= 200
    rooms = RoomsClient(gateway.url, token=RoomTokens(NODE))
    await rooms.post(room, "m")
    await rooms.close()
    assert sum(line.get("reason") == "unknown_key" for line in gateway.log()) < 100
