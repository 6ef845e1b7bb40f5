"""Every refusal has a status, a reason in its answer, and a count: those that no other test brings about."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from gateway_testing import GatewayProcess, running_gateway

SETTINGS = {"server": {"max_body_bytes": 1000}, "rooms": {"max_rooms": 1, "max_subscribers_per_room": 1}}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with running_gateway(tmp_path_factory.mktemp("gateway"), SETTINGS) as process:
        assert process.post("room", "m").status_code == 200
        yield process


def count(gateway: GatewayProcess, reason: str) -> float:
    return gateway.metric(f'gateway_refusals_total{{reason="{reason}"}}')


@pytest.mark.parametrize(
    ("request_line", "headers", "status", "reason"),
    [
        ("GET /nowhere", "", 404, "not_found"),
        ("DELETE /healthz", "", 405, "method_not_allowed"),
        ("GET /rooms/room/broadcast", "", 405, "method_not_allowed"),
        ("POST /rooms/room/subscribe", "", 405, "method_not_allowed"),
        ("GET /rooms/room/subscribe", "Last-Event-ID: x\r\n", 400, "bad_last_event_id"),
        (f"POST /rooms/{257 * 'r'}/issue_unique_idx", "", 400, "bad_room_id"),
        ("POST /rooms/%07/issue_unique_idx", "", 400, "bad_room_id"),
        ("POST /rooms/another/issue_unique_idx", "", 503, "rooms_full"),
        ("POST /rooms/room/broadcast", "Content-Length: 1001\r\n", 413, "body_too_large"),
        ("no request", "", 400, "bad_request"),
    ],
)
def test_it_is_answered_and_counted(
    gateway: GatewayProcess, request_line: str, headers: str, status: int, reason: str
) -> None:
    before = count(gateway, reason)
    with gateway.connect() as client:
        client.send(f"{request_line} HTTP/1.1\r\nHost: g\r\nConnection: close\r\n{headers}\r\n".encode())
        head, _, body = client.read_all().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    answer = json.loads(body)
    assert answer["error"] == reason
    assert answer["message"]
    assert count(gateway, reason) == before + 1


def test_who_leaves_in_the_middle_of_a_message_is_counted(gateway: GatewayProcess) -> None:
    with gateway.connect() as client:
        client.send(b"POST /rooms/room/broadcast HTTP/1.1\r\nHost: g\r\nContent-Length: 9\r\n\r\nhalf")
    gateway.wait_for_metric('gateway_refusals_total{reason="client_left"}', 1)
