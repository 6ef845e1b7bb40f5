from __future__ import annotations

import asyncio
import logging
import random
import socket
import ssl
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from rooms_testing import Sleeps, client
from scripted_server import Script, ScriptedRequest, ScriptedServer, events, message, status, until_closed

from participant.room_refusals import (
    RoomBodyRefused,
    RoomBodyTooLarge,
    RoomError,
    RoomForbidden,
    RoomUnknown,
)
from participant.rooms import (
    Backoff,
    Event,
    HistoryLost,
    Incarnation,
    RoomItem,
    RoomsClient,
)
from participant.sse import RawEvent, SseDecoder

WAIT = 20.0
"""Seconds after which a test that hangs is stopped; nothing is asserted about time."""


async def take(rooms: RoomsClient, count: int, room: str = "r") -> list[RoomItem]:
    found: list[RoomItem] = []
    async with asyncio.timeout(WAIT), aclosing(rooms.subscribe(room)) as items:
        async for item in items:
            found.append(item)
            if len(found) == count:
                break
    return found


def body(number: int) -> Event:
    return Event(number, f"body {number}")


@pytest.mark.fault(5)
async def test_a_cut_in_the_middle_of_an_event_costs_nothing() -> None:
    whole = message(0) + message(1) + message(2)
    scripts = [
        events(whole[: len(message(0)) + 20]),
        events(message(1)[:-1]),
        events(message(1) + message(2), stay=True),
    ]
    async with ScriptedServer(scripts) as server, client(server.url) as rooms:
        assert await take(rooms, 3) == [body(0), body(1), body(2)]
        assert [r.headers.get("last-event-id") for r in server.requests] == [None, "0", "0"]
        assert {r.path for r in server.requests} == {"/rooms/r/subscribe"}
        assert rooms.counters.disconnects == 2


@pytest.mark.parametrize("pieces", [1, 2, 7])
async def test_a_stream_in_small_pieces(pieces: int) -> None:
    content = b"retry: 5000\n\n: ping\n\n" + message(0, "é\nzwei\n\nvier") + message(1, "x" * 300)
    async with (
        ScriptedServer([events(content, pieces=pieces, stay=True)]) as server,
        client(server.url) as rooms,
    ):
        assert await take(rooms, 2) == [Event(0, "é\nzwei\n\nvier"), Event(1, "x" * 300)]


@pytest.mark.fault(3)
async def test_replayed_and_wrong_ids_are_dropped_and_counted() -> None:
    content = (
        message(3)
        + message(1)
        + message(3)
        + message(4).replace(b"id: 4", b"id: four")
        + message(4).replace(b"id: 4", b"id: -4")
        + message(4).replace(b"id: 4", b"id: 04")
        + message(4).replace(b"id: 4\n", b"")
        + message(4).replace(b"new-message", b"gossip")
        + message(9)
    )
    async with ScriptedServer([events(content, stay=True)]) as server, client(server.url) as rooms:
        assert await take(rooms, 4) == [HistoryLost(3), body(3), HistoryLost(9), body(9)]
        assert rooms.counters.repeated_events == 2
        assert rooms.counters.bad_events == 4


async def test_another_incarnation_starts_anew_and_says_so() -> None:
    scripts = [
        events(message(0) + message(1)),
        events(message(5), incarnation="two", stay=True),
        events(message(0, "new") + message(1, "new"), incarnation="two", stay=True),
    ]
    async with ScriptedServer(scripts) as server, client(server.url) as rooms:
        assert await take(rooms, 5) == [
            body(0),
            body(1),
            Incarnation("two"),
            Event(0, "new"),
            Event(1, "new"),
        ]
        assert [r.headers.get("last-event-id") for r in server.requests] == [None, "1", None]
        assert rooms.counters.incarnations == 1


async def test_another_incarnation_of_an_empty_room_needs_no_second_stream() -> None:
    scripts = [events(b": ping\n\n"), events(message(0), incarnation="two", stay=True)]
    async with ScriptedServer(scripts) as server, client(server.url) as rooms:
        assert await take(rooms, 2) == [Incarnation("two"), body(0)]
        assert len(server.requests) == 2


async def test_the_same_incarnation_is_no_news() -> None:
    scripts = [events(message(0)), events(message(1)), events(message(2), stay=True)]
    async with ScriptedServer(scripts) as server, client(server.url) as rooms:
        assert await take(rooms, 3) == [body(0), body(1), body(2)]


async def test_a_gateway_without_incarnations_is_read_from_the_start_each_time() -> None:
    scripts = [
        events(message(0), incarnation=None),
        events(b"", incarnation=None),
        events(message(0), incarnation=None, stay=True),
    ]
    async with ScriptedServer(scripts) as server, client(server.url) as rooms:
        found = await take(rooms, 4)
    assert [item for item in found if isinstance(item, Event)] == [body(0), body(0)]
    assert Incarnation(None) in found


@pytest.mark.parametrize(("data", "oldest"), [("7", 7), ("gone", None), ("", None)])
async def test_lost_history_is_surfaced(data: str, oldest: int | None) -> None:
    content = f"event: history-lost\ndata: {data}\n\n".encode() + message(7) + message(8)
    announced = [HistoryLost(oldest)] if oldest == 7 else [HistoryLost(None), HistoryLost(7)]
    async with ScriptedServer([events(content, stay=True)]) as server, client(server.url) as rooms:
        assert await take(rooms, len(announced) + 2) == [*announced, body(7), body(8)]
        assert rooms.counters.histories_lost == len(announced)


async def test_history_lost_does_not_move_back() -> None:
    content = message(0) + message(1) + b"event: history-lost\ndata: 0\n\n" + message(0) + message(2)
    async with ScriptedServer([events(content, stay=True)]) as server, client(server.url) as rooms:
        assert await take(rooms, 4) == [body(0), body(1), HistoryLost(0), body(2)]
        assert rooms.counters.repeated_events == 1


@pytest.mark.fault(13)
async def test_an_oversized_event_is_skipped_and_not_asked_for_again() -> None:
    huge = message(1, "y" * 5000)
    scripts = [events(message(0) + huge, pieces=100), events(message(2), stay=True)]
    async with ScriptedServer(scripts) as server, client(server.url, max_event=1000) as rooms:
        assert await take(rooms, 2) == [body(0), body(2)]
        assert rooms.counters.oversized_events == 1
        assert server.requests[1].headers["last-event-id"] == "1"


async def test_a_silent_stream_is_dead() -> None:
    async def one_each(request: ScriptedRequest, writer: asyncio.StreamWriter) -> None:
        number = int(request.headers.get("last-event-id", "-1")) + 1
        await events(message(number), stay=True)(request, writer)

    async with ScriptedServer([one_each] * 200) as server, client(server.url, heartbeat_timeout=0.1) as rooms:
        assert await take(rooms, 3) == [body(0), body(1), body(2)]
        assert len(server.requests) >= 3


async def test_a_request_without_an_answer_is_made_anew() -> None:
    scripts = [until_closed, status(200), until_closed, events(message(0), stay=True)]
    async with ScriptedServer(scripts) as server, client(server.url, answer_timeout=0.1) as rooms:
        await rooms.post("room", "hello")
        assert rooms.counters.post_retries == 1
        assert await take(rooms, 1) == [body(0)]
        assert len(server.requests) == 4


async def test_backoff_doubles_to_its_cap_and_starts_again_after_progress() -> None:
    sleeps = Sleeps()
    scripts = [status(503)] * 8 + [events(message(0)), status(502), events(message(1), stay=True)]
    async with ScriptedServer(scripts) as server, client(server.url, sleep=sleeps) as rooms:
        assert await take(rooms, 2) == [body(0), body(1)]
    assert sleeps.asked == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 0.25, 0.5]


async def test_streams_that_die_at_once_do_not_reset_the_backoff() -> None:
    sleeps = Sleeps()
    scripts = [events(b": ping\n\n")] * 5 + [events(message(0), stay=True)]
    async with (
        ScriptedServer(scripts) as server,
        client(server.url, sleep=sleeps, clock=lambda: 0.0) as rooms,
    ):
        assert await take(rooms, 1) == [body(0)]
    assert sleeps.asked == [0.25, 0.5, 1.0, 2.0, 4.0]


async def test_a_stream_that_lived_long_does() -> None:
    sleeps = Sleeps()
    now = iter(range(0, 100_000, 100))
    scripts = [events(b": ping\n\n")] * 4 + [events(message(0), stay=True)]
    async with (
        ScriptedServer(scripts) as server,
        client(server.url, sleep=sleeps, clock=lambda: float(next(now))) as rooms,
    ):
        assert await take(rooms, 1) == [body(0)]
    assert sleeps.asked == [0.25] * 4


def test_jitter_is_full() -> None:
    rng = random.Random(1)
    delays = [Backoff(1.0, 8.0).delay(9, rng.random) for _ in range(2000)]
    assert min(delays) < 0.1
    assert max(delays) > 7.9
    assert all(0 <= delay <= 8 for delay in delays)
    assert Backoff().delay(10_000, lambda: 1.0) == 10.0


async def test_retry_after_is_heeded_up_to_the_cap() -> None:
    sleeps = Sleeps()
    scripts = [
        status(429, Retry_After="3"),
        status(503, Retry_After="100"),
        status(503, Retry_After="soon"),
        status(200),
    ]
    async with ScriptedServer(scripts) as server, client(server.url, sleep=sleeps) as rooms:
        await rooms.post("r", "x")
    assert sleeps.asked == [3.0, 10.0, 1.0]


async def broken_off(_: Any, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200")


async def test_a_post_is_repeated_until_it_is_taken() -> None:
    scripts: list[Script] = [status(503, "draining"), broken_off, status(500), status(200)]
    async with ScriptedServer(scripts) as server, client(server.url) as rooms:
        async with asyncio.timeout(WAIT):
            await rooms.post("room-1_x", "dés")
        assert [(r.method, r.path, r.body.decode()) for r in server.requests] == [
            ("POST", "/rooms/room-1_x/broadcast", "dés")
        ] * 4
        assert rooms.counters.post_retries == 3
        assert rooms.counters.posts == 1


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (400, RoomBodyRefused),
        (401, RoomForbidden),
        (403, RoomForbidden),
        (404, RoomUnknown),
        (405, RoomUnknown),
        (302, RoomUnknown),
        (413, RoomBodyTooLarge),
        (418, RoomBodyRefused),
    ],
)
async def test_refusals_that_trying_again_will_not_change(code: int, error: type[RoomError]) -> None:
    async with ScriptedServer([status(code, "because"), status(code, "because")]) as server:
        async with client(server.url) as rooms:
            with pytest.raises(error, match=f"room r: .*because.*HTTP status {code}") as posted:
                await rooms.post("r", "x")
            assert type(posted.value) is error
            with pytest.raises(error, match="because"):
                await take(rooms, 1)
        assert len(server.requests) == 2


async def test_something_else_that_answers_is_no_gateway() -> None:
    async with (
        ScriptedServer([status(200, "<html>", Content_Type="text/html")]) as server,
        client(server.url) as rooms,
    ):
        with pytest.raises(RoomUnknown, match="answers, but not as a gateway does"):
            await take(rooms, 1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_connection_refused_is_said_once_with_what_to_do(
    host: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "participant.rooms")
    port = free_port()
    sleeps = Sleeps()
    server = ScriptedServer([status(200)], port=port)

    async def start_after_four(tries: int) -> None:
        if tries == 4:
            await server.__aenter__()

    sleeps.then = start_after_four
    async with client(f"http://{host}:{port}", sleep=sleeps) as rooms:
        assert rooms.reachable is None
        async with asyncio.timeout(WAIT):
            await rooms.post("r", "x")
        await server.__aexit__()
        assert rooms.reachable is True
        assert len(sleeps.asked) == 4
        first, second = (record.getMessage() for record in caplog.records)
        assert first.startswith(
            f"Connection refused by the gateway at http://{host}:{port}: nothing listens there."
        )
        assert "Start sign-gateway" in first
        assert second == f"Connected to gateway at http://{host}:{port}"

        async def stop(_: int) -> None:
            raise asyncio.CancelledError

        sleeps.then = stop
        with pytest.raises(asyncio.CancelledError):
            await rooms.post("r", "x")
        assert caplog.records[-1].getMessage().startswith("Connection refused")
        assert len(caplog.records) == 3


async def test_a_gateway_that_dies_is_lost_first_and_refuses_then(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "participant.rooms")
    sleeps = Sleeps()
    server = ScriptedServer([events(message(0))])
    await server.__aenter__()

    async def close_then_stop(tries: int) -> None:
        if tries == 1:
            await server.__aexit__()
        if tries == 5:
            raise asyncio.CancelledError

    sleeps.then = close_then_stop
    async with client(server.url, sleep=sleeps) as rooms:
        with pytest.raises(asyncio.CancelledError):
            await take(rooms, 2)
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split(" gateway")[0] for line in lines] == [
        "Connected to",
        "Lost the",
        "Connection refused by the",
    ]


async def test_busy_is_not_down(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "participant.rooms")
    async with (
        ScriptedServer([status(503, "full")] * 3 + [status(200)]) as server,
        client(server.url) as rooms,
    ):
        await rooms.post("r", "x")
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        f"Connected to gateway at {server.url}",
        "room r: the gateway answers 503: full. Trying again with back-off.",
    ]


async def test_tokens_are_asked_for_every_request() -> None:
    asked: list[tuple[str, str]] = []

    def token(room: str, action: str) -> str | None:
        asked.append((room, action))
        return None if len(asked) == 1 else f"token-{len(asked)}"

    scripts = [events(b""), events(message(0), stay=True), status(200)]
    async with ScriptedServer(scripts) as server, client(server.url, token=token) as rooms:
        await take(rooms, 1)
        await rooms.post("r", "x")
        assert asked == [("r", "subscribe"), ("r", "subscribe"), ("r", "post")]
        assert [r.headers.get("authorization") for r in server.requests] == [
            None,
            "Bearer token-2",
            "Bearer token-3",
        ]


async def test_closing_a_subscription_hangs_up() -> None:
    async with ScriptedServer([events(message(0), stay=True)]) as server, client(server.url) as rooms:
        await take(rooms, 1)
        async with asyncio.timeout(WAIT):
            assert (await server.ended.get()).path == "/rooms/r/subscribe"


async def test_more_streams_than_a_library_would_pool() -> None:
    count = 130
    async with ScriptedServer([events(message(0), stay=True)] * count) as server, client(server.url) as rooms:
        streams = [rooms.subscribe(f"room_{i}") for i in range(count)]
        async with asyncio.timeout(WAIT):
            assert await asyncio.gather(*(anext(s) for s in streams)) == [body(0)] * count
        for stream in streams:
            await stream.aclose()


@pytest.mark.parametrize("name", ["", "a/b", "../x", "a b", "ä", "x" * 129, "a?b"])
async def test_room_names_stay_in_their_path(name: str) -> None:
    async with client("http://127.0.0.1:9") as rooms:
        with pytest.raises(ValueError, match="no name for a room"):
            await rooms.post(name, "x")
        with pytest.raises(ValueError, match="no name for a room"):
            await take(rooms, 1, name)


def certificate(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A self-signed one for localhost: the server's context, and a client's that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = signed.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "both.pem").write_bytes(private + pem)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(folder / "both.pem")
    return server, ssl.create_default_context(cadata=pem.decode())


async def test_tls_is_checked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    theirs, trusting = certificate(tmp_path)
    async with ScriptedServer([status(200)], tls=theirs) as server:
        async with client(server.url, tls=trusting) as rooms:
            await rooms.post("r", "x")
        assert len(server.requests) == 1
        sleeps = Sleeps()

        async def stop(_: int) -> None:
            raise asyncio.CancelledError

        sleeps.then = stop
        async with client(server.url, tls=ssl.create_default_context(), sleep=sleeps) as rooms:
            with pytest.raises(asyncio.CancelledError):
                await rooms.post("r", "x")
        assert len(server.requests) == 1
        assert "CERTIFICATE_VERIFY_FAILED" in caplog.text


@pytest.mark.parametrize("seed", range(20))
def test_events_do_not_depend_on_how_the_bytes_are_cut(seed: int) -> None:
    rng = random.Random(seed)
    ends = ["\n", "\r\n", "\r"]
    text, expected = "", []
    for number in range(10):
        end = rng.choice(ends)
        lines = [
            "".join(rng.choice("aé :{}") for _ in range(rng.randrange(6))) for _ in range(rng.randrange(1, 4))
        ]
        fields = [f"id: {number}", "event: new-message", *(f"data: {line}" for line in lines)]
        fields.insert(rng.randrange(len(fields)), ": ping")
        fields.insert(rng.randrange(len(fields)), "unknown: field")
        text += end.join(fields) + end + end
        expected.append(RawEvent("new-message", str(number), "\n".join(lines)))
    data = text.encode() + b"id: 99\ndata: cut off"
    decoder, found = SseDecoder(10_000), []
    while data:
        size = rng.randrange(1, 12)
        found += decoder.feed(data[:size])
        data = data[size:]
    assert found == expected, f"seed {seed}"


@pytest.mark.fault(13)
def test_the_decoder_holds_no_more_than_its_bound() -> None:
    decoder = SseDecoder(1000)
    for _ in range(1000):
        assert decoder.feed(b"x" * 500) == []
        assert len(decoder._line) <= 1000
    assert decoder.feed(b"\nid: 5\n\n") == [RawEvent("message", "5", None)]
    assert decoder.feed(b"id: 6\n" + b"data: ab\n" * 200 + b"\n") == [RawEvent("message", "6", None)]
    assert decoder.feed(b"id: 7\ndata: ab\n\n") == [RawEvent("message", "7", "ab")]
    assert decoder.feed(b"id: 8\ndata: \xff\n\n") == [RawEvent("message", "8", None)]
