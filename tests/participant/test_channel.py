"""Envelopes in the messages of a room: what is written, what is read, and what is not ours."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing

import pytest
from rooms_testing import client
from scripted_server import ScriptedServer, events, message, status, until_closed

from participant.channel import (
    MAX_ENVELOPE,
    MAX_TOGETHER,
    Lost,
    Received,
    Restarted,
    RoomChannel,
    Topic,
    committee_topic,
    read_body,
    session_topic,
    signing_topic,
    write_body,
)
from participant.rooms import MAX_BODY

WAIT = 20.0
"""Seconds after which a test that hangs is stopped; nothing is asserted about time."""


def test_topics_name_rooms() -> None:
    assert committee_topic(bytes(range(32))).name == "committee_000102030405060708090a0b0c0d0e0f"
    assert session_topic(bytes(32)).name == "session_" + "00" * 32
    assert signing_topic(-5).name == "signing_-5"
    with pytest.raises(ValueError, match="31 bytes"):
        session_topic(bytes(31))


def test_bodies() -> None:
    assert write_body([b"\xff\xfe"], 1, None) == '{"sender":1,"receiver":null,"body":"__4"}'
    rng = random.Random(2)
    for size in (0, 1, 2, 3, 100):
        envelope = rng.randbytes(size)
        assert read_body(write_body([envelope], 0, 2)) == [envelope]
        assert read_body(write_body([b"1", envelope, b"333"], 0, 2)) == [b"1", envelope, b"333"]
    assert write_body([b"\0\1", b"\0"], 1, None) == '{"sender":1,"receiver":null,"body":"AAE.AA"}'
    assert len(write_body([bytes(MAX_ENVELOPE)], 15, 15)) <= MAX_BODY
    most = [b"\0"] * (MAX_TOGETHER - 1) + [bytes(MAX_ENVELOPE - MAX_TOGETHER + 1)]
    assert len(write_body(most, 15, 15)) <= MAX_BODY
    assert read_body(write_body(most, 15, 15)) == most


FOREIGN = [
    "",
    "hello",
    "[]",
    "{}",
    '{"sender":1,"receiver":2,"body":{"round":1}}',
    '{"sender":1,"receiver":null,"body":"=="}',
    '{"sender":1,"receiver":null,"body":"a+b/"}',
    '{"sender":1,"receiver":null,"body":"\\u00e9"}',
    '{"sender":"1","receiver":null,"body":""}',
    '{"sender":1,"receiver":null,"body":"","extra":1}',
    '{"sender":1,"receiver":null,"body":"abcde"}',
    '{"sender":1,"receiver":null,"body":"AAE.+"}',
    '{"sender":1,"receiver":null,"body":"AAE.AAEAA"}',
    f'{{"sender":1,"receiver":null,"body":"{"." * MAX_TOGETHER}"}}',
    "[" * 100_000,
]


async def test_a_conversation_ignores_and_counts_what_is_not_ours(caplog: pytest.LogCaptureFixture) -> None:
    ours = [write_body([b"one", b"more"], 0, None), write_body([b"two"], 1, 0)]
    bodies = [ours[0], *FOREIGN[1:], ours[1]]
    content = b"".join(message(i, text) for i, text in enumerate(bodies))
    content += message(len(bodies)).replace(b"data: body", b"nodata: body")
    content += b"event: history-lost\ndata: 9\n\n"
    scripts = [events(content), events(b"", incarnation="two"), until_closed]
    async with (
        ScriptedServer(scripts) as server,
        client(server.url) as rooms,
        RoomChannel(rooms).open(Topic("r")) as conversation,
    ):
        found = []
        async with asyncio.timeout(WAIT), aclosing(conversation.events()) as items:
            async for item in items:
                found.append(item)
                if len(found) == 5:
                    break
        assert found == [Received(b"one"), Received(b"more"), Received(b"two"), Lost(), Restarted()]
        assert conversation.foreign == len(FOREIGN)
    assert caplog.text.count("is not of this protocol") == 1


async def test_a_conversation_posts_the_shape_that_foreign_clients_know() -> None:
    async with ScriptedServer([status(200)]) as server, client(server.url) as rooms:
        async with RoomChannel(rooms).open(session_topic(b"\1" * 32)) as conversation:
            await conversation.post(b"\0\1", sender=2, receiver=0)
            for envelopes in (
                [bytes(MAX_ENVELOPE + 1)], [bytes(MAX_ENVELOPE), b"1"], [b"1"] * (MAX_TOGETHER + 1), [],
            ):  # fmt: skip
                with pytest.raises(ValueError, match="at most"):
                    await conversation.post(*envelopes, sender=2)
        assert server.requests[0].path == f"/rooms/session_{'01' * 32}/broadcast"
        assert server.requests[0].body == b'{"sender":2,"receiver":0,"body":"AAE"}'
