"""Every bound of the gateway, each reached through the real process (security.md 5.4 rows 6, 13, 14, 15)."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from gateway_testing import PATIENCE, GatewayProcess, RawClient, Sse, new_room, running_gateway, subscribed

from kit.http import MAX_PIPELINED

MIB = 1024 * 1024
# A gateway in which a message always fits needs 7 * max_body_bytes + 1024 bytes a room.
SMALL = {"server": {"max_body_bytes": 1000}, "rooms": {"max_bytes": 8024, "max_total_bytes": 16_048}}


def merged(*trees: dict) -> dict:
    result: dict = {}
    for tree in trees:
        for section, values in tree.items():
            result.setdefault(section, {}).update(values)
    return result


def post_head(room: str, *headers: str) -> bytes:
    return "\r\n".join([f"POST /rooms/{room}/broadcast HTTP/1.1", "Host: g", *headers, "", ""]).encode()


def subscribe_request(room: str) -> bytes:
    return f"GET /rooms/{room}/subscribe HTTP/1.1\r\nHost: g\r\n\r\n".encode()


def open_stream(gateway: GatewayProcess, room: str, receive_buffer: int | None = None) -> RawClient:
    client = RawClient(gateway.host, gateway.port, receive_buffer)
    client.send(subscribe_request(room))
    assert client.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 200")
    return client


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with running_gateway(tmp_path_factory.mktemp("gateway"), SMALL) as process:
        yield process


# Bodies


@pytest.mark.fault(13)
def test_a_body_of_the_largest_size_passes_and_one_byte_more_gets_413(gateway: GatewayProcess) -> None:
    room = new_room()
    assert gateway.post(room, "x" * 1000).status_code == 200
    response = gateway.post(room, "x" * 1001)
    assert (response.status_code, response.json()["error"]) == (413, "body_too_large")


async def test_the_default_limit_is_8_mib(tmp_path: Path) -> None:
    body = b"\n" * (MIB // 2) + b"x" * (7 * MIB + MIB // 2)
    with running_gateway(tmp_path) as gateway:
        assert gateway.post("room", body).status_code == 200
        assert gateway.post("room", b"x" * (8 * MIB + 1)).status_code == 413
        async with subscribed(gateway, "room") as reader:
            assert (await reader.message()).data == body.decode()


@pytest.mark.fault(13)
def test_an_oversized_body_of_unknown_length_is_refused_while_it_comes(gateway: GatewayProcess) -> None:
    with gateway.connect() as client:
        client.send(post_head(new_room(), "Transfer-Encoding: chunked") + b"400\r\n" + b"x" * 1024 + b"\r\n")
        assert client.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 413 ")


def test_a_client_that_asks_first_is_refused_before_it_sends(gateway: GatewayProcess) -> None:
    head = post_head(new_room(), "Content-Length: 1001", "Expect: 100-continue")
    with gateway.connect() as client:
        answer = client.send(head).read_all()
    assert answer.startswith(b"HTTP/1.1 413 ")
    with gateway.connect() as client:
        head = post_head(new_room(), "Content-Length: 2", "Expect: 100-continue")
        assert client.send(head).read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
        assert client.send(b"ok").read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.fault(13)
def test_an_endless_body_costs_no_memory_and_ends(tmp_path: Path) -> None:
    """Row 13: resident memory grows by less than 64 MiB however much is sent."""
    with running_gateway(tmp_path) as gateway:
        gateway.post("room", "warm")
        before = resident(gateway.process.pid)
        chunk = b"%x\r\n%b\r\n" % (MIB, b"x" * MIB)
        sent, highest = 0, before
        with gateway.connect() as client:
            client.send(post_head("room", "Transfer-Encoding: chunked"))
            with pytest.raises(OSError):  # noqa: PT012 - broken off by the gateway, at no fixed point
                while sent < 10_000:
                    client.send(chunk)
                    sent += 1
                    highest = max(highest, resident(gateway.process.pid))
        assert sent < 10_000
        assert highest - before < 64 * MIB
        assert gateway.post("room", "still here").status_code == 200


def test_bodies_being_received_are_bounded_in_all(tmp_path: Path) -> None:
    settings = merged(SMALL, {"server": {"max_bodies_bytes": 1500}})
    with running_gateway(tmp_path, settings) as gateway, gateway.connect() as first:
        first.send(post_head("room", "Content-Length: 1000", "Expect: 100-continue"))
        first.read_until(b"\r\n\r\n")
        first.send(b"x" * 999)
        # The 999 bytes are counted once the gateway took them; until then the second one may pass.
        while (response := gateway.post("room", "x" * 600)).status_code == 200:
            pass
        assert (response.status_code, response.json()["error"]) == (503, "busy")
        assert int(response.headers["retry-after"]) > 0
        assert first.send(b"x").read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
        assert gateway.post("room", "x" * 600).status_code == 200


# Heads and connections


@pytest.mark.fault(13)
def test_a_head_that_is_too_large_gets_431(gateway: GatewayProcess) -> None:
    for piece in (40_000, 1000):
        with gateway.connect() as client:
            client.send(b"GET /healthz HTTP/1.1\r\nHost: g\r\nX-Long: ")
            try:
                for _ in range(0, 40_000, piece):
                    client.send(b"x" * piece)
                client.send(b"\r\n\r\n")
            except OSError:
                # It was closed while we sent.
                pass
            assert client.read_all().startswith(b"HTTP/1.1 431 ")


@pytest.mark.fault(13)
def test_a_head_that_never_ends_is_not_waited_for(gateway: GatewayProcess) -> None:
    metric = 'gateway_refusals_total{reason="head_too_large"}'
    before = gateway.metric(metric)
    with gateway.connect() as client:
        client.send(b"GET /healthz HTTP/1.1\r\nX-Long: ")
        with pytest.raises(OSError):  # noqa: PT012 - broken off by the gateway, at no fixed point
            for _ in range(1000):
                client.send(b"x" * 65536)
    assert gateway.metric(metric) == before + 1


@pytest.mark.fault(14)
@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"", "head_timeout"),
        (b"GET /healthz HTTP/1.1\r\nHost:", "head_timeout"),
        (b"\r\n\r\n", "head_timeout"),
        (post_head("r", "Content-Length: 10") + b"12345", "body_timeout"),
        (post_head("r", "Transfer-Encoding: chunked") + b"5\r\n12345\r\n", "body_timeout"),
    ],
    ids=["nothing", "half a head", "empty lines", "half a body", "half a chunked body"],
)
def test_half_open_requests_are_closed(tmp_path: Path, sent: bytes, reason: str) -> None:
    with running_gateway(tmp_path, {"server": {"head_seconds": 0.2, "body_seconds": 0.2}}) as gateway:
        with gateway.connect() as client:
            assert client.send(sent).read_all().startswith(b"HTTP/1.1 408 ")
        assert gateway.metric(f'gateway_refusals_total{{reason="{reason}"}}') == 1


def test_the_head_of_a_second_request_is_bounded_in_time_too(tmp_path: Path) -> None:
    settings = {"server": {"head_seconds": 0.2, "keep_alive_seconds": 3600}}
    with running_gateway(tmp_path, settings) as gateway, gateway.connect() as client:
        client.send(b"GET /healthz HTTP/1.1\r\nHost: g\r\n\r\n").read_until(b'{"status":"ok"}')
        assert client.send(b"GET /heal").read_all().startswith(b"HTTP/1.1 408 ")


def test_an_idle_connection_is_closed(tmp_path: Path) -> None:
    with (
        running_gateway(tmp_path, {"server": {"keep_alive_seconds": 0.2}}) as gateway,
        gateway.connect() as client,
    ):
        client.send(b"GET /healthz HTTP/1.1\r\nHost: g\r\n\r\n").read_until(b'{"status":"ok"}')
        assert client.read_all() == b""


def test_an_open_stream_outlives_all_these_times(tmp_path: Path) -> None:
    settings = {"server": {"head_seconds": 0.1, "body_seconds": 0.1, "keep_alive_seconds": 0.1}}
    with running_gateway(tmp_path, settings) as gateway, open_stream(gateway, "room") as client:
        with gateway.connect() as late:
            late.read_all()
        gateway.post("room", "m")
        client.read_until(b"data: m\n\n")


PIPELINED = 'gateway_refusals_total{reason="pipelined"}'


@pytest.mark.fault(14)
def test_a_stream_with_a_request_behind_it_is_refused(gateway: GatewayProcess) -> None:
    """Its end would be noticed when the stream is written to next, for nothing more is read."""
    room, before = new_room(), gateway.metric(PIPELINED)
    with gateway.connect() as client:
        answer = client.send(subscribe_request(room) + subscribe_request(room)).read_all()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1
    assert b'"error": "pipelined"' in answer
    assert gateway.metric(PIPELINED) == before + 1
    gateway.wait_for_metric("gateway_subscribers", 0)


@pytest.mark.fault(14)
def test_a_request_behind_an_open_stream_ends_it(gateway: GatewayProcess) -> None:
    room, before = new_room(), gateway.metric(PIPELINED)
    with open_stream(gateway, room) as client:
        client.read_until(b"retry: 5000\n\n\r\n")
        assert client.send(b"GET /healthz HTTP/1.1\r\n").read_all() == b""
        gateway.wait_for_metric("gateway_subscribers", 0)
    assert gateway.metric(PIPELINED) == before + 1


@pytest.mark.fault(14)
def test_a_request_behind_a_stream_that_nobody_reads_ends_it_too(tmp_path: Path) -> None:
    with (
        running_gateway(tmp_path) as gateway,
        open_stream(gateway, "room", receive_buffer=4096) as client,
    ):
        flood(gateway, "room", 30, 512 * 1024)
        client.send(b"GET /healthz HTTP/1.1\r\n")
        # Its buffers are full: the connection is reset all the same, long before it is a slow reader.
        gateway.wait_for_metric("gateway_connections", 1)
        assert gateway.metric('gateway_cuts_total{reason="slow_reader"}') == 0


@pytest.mark.fault(14)
def test_requests_that_wait_for_one_another_are_bounded(gateway: GatewayProcess) -> None:
    before = gateway.metric(PIPELINED)
    request = b"GET /healthz HTTP/1.1\r\nHost: g\r\n\r\n"
    with gateway.connect() as client:
        client.send(MAX_PIPELINED * request)
        for _ in range(MAX_PIPELINED):
            client.read_until(b'{"status":"ok"}')
        assert client.send((MAX_PIPELINED + 2) * request).read_all() == b""
    assert gateway.metric(PIPELINED) == before + 1


@pytest.mark.fault(15)
@pytest.mark.parametrize("key", ["max_connections", "max_connections_per_address"])
def test_connections_are_bounded(tmp_path: Path, key: str) -> None:
    with running_gateway(tmp_path, {"server": {key: 3}}) as gateway:
        streams = [open_stream(gateway, "room") for _ in range(3)]
        with gateway.connect() as client:
            assert client.read_all().startswith(b"HTTP/1.1 503 ")
        for stream in streams:
            stream.sock.close()
        # The places are free again once the gateway noticed that they left.
        while True:
            with gateway.connect() as client:
                client.send(b"GET /healthz HTTP/1.1\r\nHost: g\r\n\r\n")
                if client.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 200 "):
                    break
        reason = key.removeprefix("max_") + "_full"
        assert gateway.metric(f'gateway_refusals_total{{reason="{reason}"}}') >= 1


# Rooms and what they keep


async def test_history_is_a_ring_of_messages(tmp_path: Path) -> None:
    with running_gateway(tmp_path, {"rooms": {"max_messages": 3}}) as gateway:
        for number in range(10):
            gateway.post("room", f"m{number}")
        async with subscribed(gateway, "room") as reader:
            assert [event.id for event in await reader.messages(3)] == [7, 8, 9]
        async with subscribed(gateway, "room", 2) as reader:
            lost, *events = await reader.messages(4)
            assert lost == Sse("history-lost", None, "7")
            assert [event.id for event in events] == [7, 8, 9]
        async with subscribed(gateway, "room", 6) as reader:
            assert (await reader.message()).id == 7
        assert gateway.metric("gateway_history_lost_total") == 1


async def test_history_is_a_ring_of_bytes(gateway: GatewayProcess) -> None:
    room = new_room()
    for number in range(20):
        gateway.post(room, f"{number:01000}")
    async with subscribed(gateway, room, 0) as reader:
        lost = await reader.message()
        events = await reader.messages(20 - int(lost.data))
    assert lost.event == "history-lost"
    # 8024 bytes hold seven events of 1000 bytes with their event and id lines, and not eight.
    assert [int(event.data) for event in events] == list(range(13, 20))


@pytest.mark.fault(15)
def test_rooms_are_bounded_and_those_in_use_stay(tmp_path: Path) -> None:
    settings = {"rooms": {"max_rooms": 3, "min_idle_seconds": 0}}
    with running_gateway(tmp_path, settings) as gateway, open_stream(gateway, "watched") as client:
        for number in range(10):
            assert gateway.post(f"r{number}", "m").status_code == 200
        assert gateway.metric("gateway_rooms") == 3
        gateway.post("watched", "still here")
        client.read_until(b"id: 0\ndata: still here\n\n")


def test_rooms_that_were_used_just_now_are_not_dropped_for_others(tmp_path: Path) -> None:
    with running_gateway(tmp_path, {"rooms": {"max_rooms": 2}}) as gateway:
        assert gateway.post("a", "m").status_code == 200
        assert httpx2.post(gateway.room("b", "issue_unique_idx")).status_code == 200
        for call in ("broadcast", "issue_unique_idx"):
            response = httpx2.post(gateway.room("c", call))
            assert (response.status_code, response.json()["error"]) == (503, "rooms_full")
            assert int(response.headers["retry-after"]) > 0
        response = httpx2.get(gateway.room("c", "subscribe"))
        assert (response.status_code, response.json()["error"]) == (503, "rooms_full")
        assert gateway.post("a", "m").status_code == 200


@pytest.mark.fault(15)
def test_bytes_are_bounded_in_all_rooms(tmp_path: Path) -> None:
    with running_gateway(tmp_path, SMALL) as gateway:
        for room in ("a", "b"):
            for _ in range(7):
                assert gateway.post(room, "x" * 1000).status_code == 200
        stored = [gateway.post("c", "x" * 1000).status_code for _ in range(3)]
        assert stored[-1] == 200
        # A room that is alone with its message makes no place for itself at others' cost.
        refused = gateway.post("d", "\n" * 1000)
        assert (refused.status_code, refused.json()["error"]) == (503, "memory_full")
        assert gateway.metric("gateway_stored_bytes") <= 16_048


@pytest.mark.fault(15)
def test_subscribers_are_bounded_a_room_and_in_all(tmp_path: Path) -> None:
    settings = {"rooms": {"max_subscribers": 3, "max_subscribers_per_room": 2}}
    with running_gateway(tmp_path, settings) as gateway, open_stream(gateway, "a"), open_stream(gateway, "a"):
        response = httpx2.get(gateway.room("a", "subscribe"))
        assert (response.status_code, response.json()["error"]) == (503, "room_subscribers_full")
        with open_stream(gateway, "b"):
            response = httpx2.get(gateway.room("c", "subscribe"))
            assert (response.status_code, response.json()["error"]) == (503, "subscribers_full")
        gateway.wait_for_metric("gateway_subscribers", 2)
        with open_stream(gateway, "c"):
            pass


async def test_idle_rooms_expire_and_watched_ones_do_not(tmp_path: Path) -> None:
    with running_gateway(tmp_path, {"rooms": {"idle_seconds": 0.3}}) as gateway:
        async with subscribed(gateway, "watched") as reader:
            gateway.post("idle", "m")
            async with subscribed(gateway, "idle") as other:
                before = other.incarnation
            gateway.process.wait_for('"rooms expired"')
            gateway.post("watched", "m")
            assert (await reader.message()).id == 0
            gateway.post("idle", "new life")
            async with subscribed(gateway, "idle") as other:
                assert other.incarnation != before
                assert await other.message() == Sse("new-message", 0, "new life")


async def test_quiet_streams_get_heartbeats(tmp_path: Path) -> None:
    with running_gateway(tmp_path, {"rooms": {"heartbeat_seconds": 0.1}}) as gateway:
        async with subscribed(gateway, "room") as reader:
            assert (await reader.next()).event == "retry"
            for _ in range(3):
                assert await reader.next() == Sse(":", None, "ping")


# Slow readers


def flood(gateway: GatewayProcess, room: str, count: int, size: int) -> list[int]:
    with httpx2.Client(timeout=PATIENCE) as http:
        body = "x" * size
        return [http.post(gateway.room(room, "broadcast"), content=body).status_code for _ in range(count)]


@pytest.mark.fault(6)
async def test_a_reader_too_far_behind_is_cut_off_and_resumes_and_others_do_not_notice(
    tmp_path: Path,
) -> None:
    size, count = 256 * 1024, 60
    with (
        running_gateway(tmp_path, {"rooms": {"max_backlog_messages": 20}}) as gateway,
        open_stream(gateway, "room", receive_buffer=4096) as slow,
    ):
        async with subscribed(gateway, "room") as reader:
            poster = threading.Thread(target=flood, args=(gateway, "room", count, size))
            poster.start()
            events = await reader.messages(count)
            poster.join()
        assert [event.id for event in events] == list(range(count))
        gateway.process.wait_for('"subscriber cut off".*"reason": "slow_reader".*"room": "room"')
        assert gateway.metric('gateway_cuts_total{reason="slow_reader"}') == 1
        # What it gets is a clean beginning of the stream, and the reason if it reads on in time.
        received = slow.read_all()
        complete = received.count(b"\nid: ")
        assert 0 < complete < count
        assert b": cut off (slow_reader)" in received
        async with subscribed(gateway, "room", complete - 2) as resumed:
            assert [event.id for event in await resumed.messages(count - complete + 1)] == list(
                range(complete - 1, count)
            )


@pytest.mark.fault(6)
def test_a_reader_that_takes_nothing_is_cut_off_after_a_time(tmp_path: Path) -> None:
    with (
        running_gateway(tmp_path, {"rooms": {"slow_reader_seconds": 0.3}}) as gateway,
        open_stream(gateway, "room", receive_buffer=4096),
    ):
        assert set(flood(gateway, "room", 30, 512 * 1024)) == {200}
        gateway.process.wait_for('"subscriber cut off".*"reason": "slow_reader"')
        # It never reads its last words: the connection is reset all the same.
        gateway.wait_for_metric("gateway_subscribers", 0)
        gateway.wait_for_metric("gateway_connections", 1)


@pytest.mark.fault(6)
def test_a_reader_that_the_ring_overtakes_is_cut_off(tmp_path: Path) -> None:
    with (
        running_gateway(tmp_path, {"rooms": {"max_messages": 4}}) as gateway,
        open_stream(gateway, "room", receive_buffer=4096) as slow,
    ):
        flood(gateway, "room", 60, 256 * 1024)
        received = slow.read_until(b"\r\n0\r\n\r\n")
        assert b": cut off (overtaken)" in received
        assert gateway.metric('gateway_cuts_total{reason="overtaken"}') == 1


async def test_old_history_may_be_read_slowly(tmp_path: Path) -> None:
    """Only what is posted after the subscription began counts as backlog."""
    with running_gateway(tmp_path, {"rooms": {"max_backlog_messages": 3}}) as gateway:
        flood(gateway, "room", 40, 256 * 1024)
        with open_stream(gateway, "room", receive_buffer=4096) as slow:
            for _ in range(3):
                gateway.post("room", "live")
            for number in range(43):
                slow.read_until(b"id: %d\n" % number)
        assert gateway.metric('gateway_cuts_total{reason="slow_reader"}') == 0


# Drain


async def test_sigterm_delivers_ends_the_streams_and_exits_0(tmp_path: Path) -> None:
    with running_gateway(tmp_path) as gateway:
        async with subscribed(gateway, "room") as reader, subscribed(gateway, "other") as other:
            gateway.post("room", "last")
            gateway.process.send_signal(signal.SIGTERM)
            rest = await reader.rest()
            assert Sse("new-message", 0, "last") in rest
            assert rest[-1].event == ":"
            assert rest[-1].data.startswith("the gateway is closing")
            assert (await other.rest())[-1].event == ":"
        assert gateway.process.wait() == 0
        assert "Traceback" not in gateway.process.output
        with pytest.raises(httpx2.ConnectError):
            gateway.post("room", "m")


def test_a_stalled_reader_and_a_half_sent_body_do_not_hold_up_the_end(tmp_path: Path) -> None:
    with (
        running_gateway(tmp_path, {"server": {"drain_seconds": 2}}) as gateway,
        open_stream(gateway, "room", receive_buffer=4096),
        gateway.connect() as half,
    ):
        half.send(post_head("room", "Content-Length: 10", "Expect: 100-continue")).read_until(b"\r\n\r\n")
        flood(gateway, "room", 30, 512 * 1024)
        assert gateway.process.terminate() == 0


def test_a_request_under_way_is_finished(tmp_path: Path) -> None:
    with running_gateway(tmp_path) as gateway, gateway.connect() as client:
        client.send(post_head("room", "Content-Length: 2", "Expect: 100-continue")).read_until(b"\r\n\r\n")
        gateway.process.send_signal(signal.SIGTERM)
        gateway.process.wait_for('"draining"')
        assert client.send(b"ok").read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 ")
        assert gateway.process.wait() == 0


def test_sigint_ends_it_too(tmp_path: Path) -> None:
    with running_gateway(tmp_path) as gateway:
        gateway.process.send_signal(signal.SIGINT)
        assert gateway.process.wait() == 0


@pytest.mark.fault(14)
def test_many_half_open_connections_do_not_keep_others_out(tmp_path: Path) -> None:
    """Row 14 in small: the kernel's queue and the gateway's table hold them, an honest client is served."""
    with running_gateway(tmp_path, {"server": {"head_seconds": 2}}) as gateway:
        half_open = []
        for _ in range(500):
            sock = socket.create_connection((gateway.host, gateway.port))
            sock.sendall(b"GET /rooms/")
            half_open.append(sock)
        assert gateway.post("room", "m").status_code == 200
        for sock in half_open:
            sock.close()
        gateway.wait_for_metric("gateway_connections", 1)
