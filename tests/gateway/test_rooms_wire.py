"""wallet-mpc-wire.md 2 and 6, clause by clause, through the real process and real sockets."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import httpx2
import pytest
from gateway_testing import PATIENCE, GatewayProcess, Sse, new_room, running_gateway, subscribed

from gateway.rooms import CLOSING, LAST_WORDS, SLOW


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory):
    with running_gateway(tmp_path_factory.mktemp("gateway")) as process:
        yield process


def subscribe_head(room: str, *headers: str) -> bytes:
    lines = [f"GET /rooms/{room}/subscribe HTTP/1.1", "Host: gateway", *headers, "", ""]
    return "\r\n".join(lines).encode()


def test_the_stream_is_byte_for_byte_what_clients_expect(gateway: GatewayProcess) -> None:
    room = new_room()
    assert gateway.post(room, "first").status_code == 200
    with gateway.connect() as client:
        head = client.send(subscribe_head(room)).read_until(b"\r\n\r\n").lower()
        assert head.startswith(b"http/1.1 200 ")
        assert b"\r\ncontent-type: text/event-stream\r\n" in head
        assert b"\r\nroom-incarnation: " in head
        # Chunked coding: size, CR LF, bytes, CR LF.
        assert client.read_until(b"\r\n") == b"d\r\n"
        assert client.read_until(b"\r\n") == b"retry: 5000\n\n\r\n"
        size = int(client.read_until(b"\r\n"), 16)
        event = b"event: new-message\nid: 0\ndata: first\n\n"
        assert client.read_until(b"\r\n") == event + b"\r\n"
        assert size == len(event)


def test_http_1_0_gets_the_stream_without_chunks_until_the_connection_ends(tmp_path: Path) -> None:
    """RFC 9112 6.1: no transfer-coding is sent to a client of that version."""
    with running_gateway(tmp_path) as gateway, gateway.connect() as client:
        gateway.post("room", "first")
        head = client.send(subscribe_head("room").replace(b"HTTP/1.1", b"HTTP/1.0")).read_until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"transfer-encoding" not in head.lower()
        assert b"\r\nconnection: close\r\n" in head.lower()
        first = b"event: new-message\nid: 0\ndata: first\n\n"
        assert client.read_until(first) == b"retry: 5000\n\n" + first
        for number in range(1, 4):
            gateway.post("room", "m")
            event = b"event: new-message\nid: %d\ndata: m\n\n" % number
            assert client.read_until(event) == event
        gateway.process.send_signal(signal.SIGTERM)
        assert client.read_all() == LAST_WORDS[CLOSING]


def test_http_1_0_gets_its_last_words_without_chunks(tmp_path: Path) -> None:
    """Those that do not wait for the reader's turn."""
    settings = {"rooms": {"max_backlog_messages": 4}}
    with running_gateway(tmp_path, settings) as gateway, gateway.connect(receive_buffer=4096) as client:
        client.send(subscribe_head("room").replace(b"HTTP/1.1", b"HTTP/1.0")).read_until(b"retry: 5000\n\n")
        for _ in range(60):
            assert gateway.post("room", "x" * 256 * 1024).status_code == 200
        assert gateway.metric('gateway_cuts_total{reason="slow_reader"}') == 1
        assert client.read_all().endswith(b"\n\n" + LAST_WORDS[SLOW])


@pytest.mark.parametrize("call", ["healthz", "metrics", "nowhere", "rooms/r/issue_unique_idx"])
def test_http_1_0_gets_other_answers_with_their_length(gateway: GatewayProcess, call: str) -> None:
    method = "POST" if call.startswith("rooms") else "GET"
    with gateway.connect() as client:
        answer = client.send(f"{method} /{call} HTTP/1.0\r\n\r\n".encode()).read_all()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"\r\ncontent-length: %d\r\n" % len(body) in head + b"\r\n"


async def test_retry_comes_first_then_history_then_live(gateway: GatewayProcess) -> None:
    room = new_room()
    for text in ("a", "b"):
        gateway.post(room, text)
    async with subscribed(gateway, room) as reader:
        assert await reader.next() == Sse("retry", None, "5000")
        assert await reader.messages(2) == [Sse("new-message", 0, "a"), Sse("new-message", 1, "b")]
        gateway.post(room, "c")
        assert await reader.message() == Sse("new-message", 2, "c")


def test_a_broadcast_answers_200_with_an_empty_body(gateway: GatewayProcess) -> None:
    for headers in ({}, {"content-type": "text/plain;charset=utf-8"}, {"content-type": "application/json"}):
        response = gateway.post(new_room(), '{"sender":1,"receiver":null,"body":"x"}', headers=headers)
        assert (response.status_code, response.content) == (200, b"")


async def test_two_subscribers_see_the_same_order_from_many_posters(gateway: GatewayProcess) -> None:
    room = new_room()
    async with (
        subscribed(gateway, room) as one,
        subscribed(gateway, room) as two,
        httpx2.AsyncClient(timeout=PATIENCE) as http,
    ):
        posts = [http.post(gateway.room(room, "broadcast"), content=f"m{number}") for number in range(60)]
        assert {answer.status_code for answer in await asyncio.gather(*posts)} == {200}
        first, second = await one.messages(60), await two.messages(60)
    assert first == second
    assert [event.id for event in first] == list(range(60))
    assert {event.data for event in first} == {f"m{number}" for number in range(60)}


@pytest.mark.parametrize(
    "body",
    [
        "",
        " leading space",
        "two\nlines",
        "\n",
        "ends with\n",
        "\n\n\n",
        "ünïcödé 🎉 \u2028\u2029\x85",
        "a\0b",
        ":c",
        "data: x",
    ],
    ids=repr,
)
async def test_any_utf8_body_without_cr_arrives_as_it_was_posted(gateway: GatewayProcess, body: str) -> None:
    room = new_room()
    assert gateway.post(room, body).status_code == 200
    async with subscribed(gateway, room) as reader:
        assert (await reader.message()).data == body


async def test_room_ids_are_separate_and_may_be_unicode(gateway: GatewayProcess) -> None:
    room, other = new_room("räume"), new_room("räume")
    gateway.post(room, "here")
    gateway.post(other, "there")
    async with subscribed(gateway, room) as reader:
        assert await reader.message() == Sse("new-message", 0, "here")


@pytest.mark.parametrize(
    ("body", "reason"),
    [(b"\xff\xfe", "not_utf8"), (b"a\rb", "carriage_return"), (b"a\r\n", "carriage_return")],
)
def test_bodies_that_cannot_be_carried_get_400_a_log_line_and_a_count(
    gateway: GatewayProcess, body: bytes, reason: str
) -> None:
    room = new_room()
    metric = f'gateway_refusals_total{{reason="{reason}"}}'
    before = gateway.metric(metric)
    response = gateway.post(room, body)
    assert response.status_code == 400
    assert response.json()["error"] == reason
    assert gateway.metric(metric) == before + 1
    gateway.process.wait_for(f'"refused".*"reason": "{reason}".*"room": "{room}"')


async def test_a_refused_message_is_in_no_room(gateway: GatewayProcess) -> None:
    room = new_room()
    gateway.post(room, b"\xff")
    gateway.post(room, "good")
    async with subscribed(gateway, room) as reader:
        assert await reader.message() == Sse("new-message", 0, "good")


@pytest.mark.parametrize("last", [0, 1, 3])
async def test_a_resume_begins_after_the_last_event(gateway: GatewayProcess, last: int) -> None:
    room = new_room()
    for number in range(4):
        gateway.post(room, f"m{number}")
    async with subscribed(gateway, room, last) as reader:
        gateway.post(room, "live")
        events = await reader.messages(4 - last)
    assert [event.id for event in events] == list(range(last + 1, 5))
    assert events[-1].data == "live"


@pytest.mark.parametrize("last", [4, 5, 2**63, 10**400])
async def test_a_last_event_id_at_or_beyond_the_next_replays_from_0(
    gateway: GatewayProcess, last: int
) -> None:
    room = new_room()
    for number in range(4):
        gateway.post(room, f"m{number}")
    async with subscribed(gateway, room, last) as reader:
        assert [event.id for event in await reader.messages(4)] == [0, 1, 2, 3]


@pytest.mark.parametrize("last", ["x", "-1", "1.5", "0x1", "", "1 2", "\u0661"])
def test_a_last_event_id_that_is_no_number_gets_400(gateway: GatewayProcess, last: str) -> None:
    with gateway.connect() as client:
        head = client.send(subscribe_head(new_room(), f"Last-Event-ID: {last}")).read_until(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")


async def test_the_incarnation_is_of_the_room_and_stays(gateway: GatewayProcess) -> None:
    room = new_room()
    async with subscribed(gateway, room) as reader:
        first = reader.incarnation
    async with subscribed(gateway, room, 0) as reader:
        assert reader.incarnation == first
    async with subscribed(gateway, new_room()) as reader:
        assert reader.incarnation != first


async def test_a_restarted_gateway_has_lost_the_history_and_says_so(tmp_path) -> None:
    incarnations = []
    for _ in range(2):
        with running_gateway(tmp_path) as gateway:
            gateway.post("room", "m")
            async with subscribed(gateway, "room") as reader:
                incarnations.append(reader.incarnation)
                assert (await reader.message()).id == 0
    assert incarnations[0] != incarnations[1]


@pytest.mark.parametrize("first", [None, 1], ids=["wallet-mpc", "zengo"])
def test_indices_count_up_per_room_from_the_first_index(tmp_path, first: int | None) -> None:
    settings = {} if first is None else {"rooms": {"first_index": first}}
    with running_gateway(tmp_path, settings) as gateway:
        for room in ("a", "b"):
            answers = [httpx2.post(gateway.room(room, "issue_unique_idx")).json() for _ in range(3)]
            assert answers == [{"unique_idx": (first or 0) + number} for number in range(3)]


async def test_concurrent_indices_are_never_given_twice(gateway: GatewayProcess) -> None:
    room = new_room()
    async with httpx2.AsyncClient(timeout=PATIENCE) as http:
        answers = await asyncio.gather(
            *(http.post(gateway.room(room, "issue_unique_idx")) for _ in range(50))
        )
    assert sorted(answer.json()["unique_idx"] for answer in answers) == list(range(50))


@pytest.mark.parametrize(
    ("method", "call"),
    [
        ("POST", "subscribe"),
        ("HEAD", "subscribe"),
        ("GET", "broadcast"),
        ("PUT", "broadcast"),
        ("GET", "issue_unique_idx"),
        ("DELETE", "issue_unique_idx"),
    ],
)
def test_a_wrong_verb_gets_405(gateway: GatewayProcess, method: str, call: str) -> None:
    response = httpx2.request(method, gateway.room(new_room(), call), timeout=PATIENCE)
    assert response.status_code == 405
    assert response.headers["allow"] == ("GET" if call == "subscribe" else "POST")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/rooms",
        "/rooms/r",
        "/rooms/r/else",
        "/rooms/r/subscribe/",
        "/rooms//subscribe",
        "/rooms/a%2Fb/subscribe",
    ],
)
def test_a_wrong_path_gets_404(gateway: GatewayProcess, path: str) -> None:
    for method in ("GET", "POST"):
        response = httpx2.request(method, gateway.url + path, timeout=PATIENCE)
        assert response.status_code == 404
        assert response.json()["error"] == "not_found"


@pytest.mark.parametrize("room", ["x" * 257, "a%0Ab", "a%00b", "%ff"])
def test_room_ids_are_bounded_printable_text(gateway: GatewayProcess, room: str) -> None:
    response = gateway.post(room, "m")
    assert response.status_code == 400
    assert response.json()["error"] == "bad_room_id"


def test_requests_on_one_connection_work_one_after_the_other(gateway: GatewayProcess) -> None:
    room = new_room()
    post = f"POST /rooms/{room}/broadcast HTTP/1.1\r\nHost: g\r\nContent-Length: 1\r\n\r\nx".encode()
    with gateway.connect() as client:
        for _ in range(3):
            assert client.send(post).read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    with gateway.connect() as client:
        client.send(post * 3)
        for _ in range(3):
            assert client.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")


def test_a_chunked_body_is_taken_too(gateway: GatewayProcess) -> None:
    head = f"POST /rooms/{new_room()}/broadcast HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    with gateway.connect() as client:
        answer = client.send(head + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n").read_until(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")


def test_what_is_no_http_gets_400_and_is_closed(gateway: GatewayProcess) -> None:
    before = gateway.metric('gateway_refusals_total{reason="bad_request"}')
    with gateway.connect() as client:
        assert client.send(b"\x16\x03\x01 this is no HTTP\r\n\r\n").read_all().startswith(b"HTTP/1.1 400 ")
    assert gateway.metric('gateway_refusals_total{reason="bad_request"}') == before + 1


def test_a_client_that_leaves_is_forgotten(gateway: GatewayProcess) -> None:
    gateway.wait_for_metric("gateway_subscribers", 0)
    with gateway.connect() as client:
        client.send(subscribe_head(new_room())).read_until(b"retry: 5000")
        assert gateway.metric("gateway_subscribers") == 1
    gateway.wait_for_metric("gateway_subscribers", 0)
    assert "Traceback" not in gateway.process.output


def test_health_readiness_and_metrics(gateway: GatewayProcess) -> None:
    assert httpx2.get(f"{gateway.url}/healthz").json() == {"status": "ok"}
    ready = httpx2.get(f"{gateway.url}/readyz")
    assert (ready.status_code, ready.json()) == (200, {"status": "ready", "failing": {}})
    before = gateway.metric("gateway_messages_total")
    gateway.post(new_room(), "12345")
    assert gateway.metric("gateway_messages_total") == before + 1
    assert gateway.metric("process_open_fds") > 0


def test_no_body_is_ever_in_the_log(tmp_path) -> None:
    secret = "do-not-log-this-content"
    with running_gateway(tmp_path, {"logging": {"level": "trace"}}) as gateway:
        assert gateway.post("room", secret).status_code == 200
        assert gateway.post("room", secret.encode() + b"\xff").status_code == 400
        assert gateway.post("room", secret + "\r").status_code == 400
        gateway.process.wait_for("carriage_return")
        assert secret not in gateway.process.output


def test_metrics_can_have_a_listener_of_their_own(tmp_path) -> None:
    with running_gateway(tmp_path, {"metrics": {"port": 0}}) as gateway:
        url = gateway.process.wait_for(r"Metrics on (\S+)")[1]
        assert "gateway_rooms" in httpx2.get(f"{url}/metrics").text
        assert httpx2.get(f"{url}/readyz").status_code == 200
        assert httpx2.get(f"{gateway.url}/metrics").status_code == 404
        assert httpx2.get(f"{gateway.url}/healthz").status_code == 200
