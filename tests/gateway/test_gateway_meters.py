"""What the gateway counts: bounds, bytes, times, and the store's failures, through the real process."""

from __future__ import annotations

from pathlib import Path

from gateway_testing import new_room, running_gateway, subscribed
from redis_testing import running_redis

from gateway.rooms import OPERATIONS


async def test_what_is_posted_and_written_is_counted_in_bytes_and_seconds(tmp_path: Path) -> None:
    settings = {"rooms": {"max_rooms": 7, "max_subscribers": 8}, "server": {"max_connections": 0}}
    with running_gateway(tmp_path, settings) as gateway:
        # Bounds stand beside what they bound.
        assert gateway.metric('gateway_limit{what="rooms"}') == 7
        assert gateway.metric('gateway_limit{what="subscribers"}') == 8
        assert gateway.metric('gateway_limit{what="connections"}') == float("inf")
        room, body = new_room(), "x" * 1000
        gateway.post(room, body)
        async with subscribed(gateway, room) as reader, subscribed(gateway, room) as other:
            await reader.message()
            await other.message()
            # History is no fan-out.
            assert gateway.metric("gateway_fanout_seconds_count") == 0
            gateway.post(room, body)
            await reader.message()
            await other.message()
        frame = len(f"event: new-message\nid: 0\ndata: {body}\n\n")
        gateway.wait_for_metric("gateway_delivered_bytes_total", 4 * frame)
        gateway.wait_for_metric("gateway_fanout_seconds_count", 2)
        assert gateway.metric("gateway_post_seconds_count") == 2
        assert gateway.metric("gateway_message_bytes_total") == 2000


def test_failures_of_the_store_are_counted_by_operation_from_0_on(tmp_path: Path) -> None:
    with (
        running_redis() as redis,
        running_gateway(tmp_path, {"redis": {"url": redis.url, "timeout_seconds": 10}}) as gateway,
    ):
        name = 'gateway_store_errors_total{{operation="{}",store="redis"}}'
        text = gateway.metrics()
        for operation in OPERATIONS:
            assert f"{name.format(operation)} 0.0" in text
        redis.kill()
        assert gateway.post(new_room(), "m").status_code == 503
        assert gateway.metric(name.format("append")) == 1
