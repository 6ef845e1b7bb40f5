"""What a participant counts: its calls, and at every scrape what its node looks like."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from participant.node.facade import NodeApi
from participant.rooms import RoomsClient

BUCKETS: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, float("inf"))


class Meters:
    """Metrics of one daemon."""

    def __init__(self, registry: CollectorRegistry, node: NodeApi, rooms: RoomsClient) -> None:
        """Registers them."""
        self._calls = Counter("sign_service_calls", "gRPC calls.", ["method", "code"], registry=registry)
        self._seconds = Histogram(
            "sign_service_call_seconds", "Time of calls.", ["method"], buckets=BUCKETS, registry=registry
        )
        registry.register(_NodeCollector(node, rooms))

    def called(self, method: str, code: str, seconds: float) -> None:
        """Counts a call that ended."""
        self._calls.labels(method, code).inc()
        self._seconds.labels(method).observe(seconds)


class _NodeCollector(Collector):
    def __init__(self, node: NodeApi, rooms: RoomsClient) -> None:
        self._node = node
        self._rooms = rooms

    def describe(self) -> Iterable[Metric]:
        # Nothing: otherwise the registry would collect, and ask a node that has not started.
        return []

    def collect(self) -> Iterable[Metric]:
        status = self._node.status()
        gauges: list[tuple[str, str, float]] = [
            ("ready", "Whether the node takes work.", status.ready),
            ("gateway_connected", "Whether the gateway answers.", status.gateway_connected),
            ("accounts", "Accounts in the store.", status.accounts),
            ("sessions", "Sessions under way.", status.sessions),
            ("primes_available", "Safe primes in the pool.", status.primes.available),
            ("warnings", "Things that an operator should look at.", len(status.warnings)),
        ]
        for name, text, value in gauges:
            yield GaugeMetricFamily(f"sign_service_{name}", text, value=float(value))
        peers = GaugeMetricFamily(
            "sign_service_peer_online", "Whether a peer's hello is fresh.", labels=["committee", "index"]
        )
        thresholds = GaugeMetricFamily(
            "sign_service_committee_threshold", "Members that a signature takes.", labels=["committee"]
        )
        for committee in status.committees:
            if committee.is_left:
                continue
            name = committee.committee.committee_id.hex()[:16]
            thresholds.add_metric([name], committee.committee.threshold)
            for peer in committee.members:
                if not peer.own:
                    peers.add_metric([name, str(peer.index)], float(peer.online))
        yield peers
        yield thresholds
        dropped = CounterMetricFamily(
            "sign_service_messages_ignored", "Messages in rooms that were ignored.", labels=["reason"]
        )
        for reason, count in status.dropped.items():
            dropped.add_metric([reason], count)
        yield dropped
        happened = CounterMetricFamily(
            "sign_service_gateway", "What happened between this node and the gateway.", labels=["what"]
        )
        for what, count in asdict(self._rooms.counters).items():
            happened.add_metric([what], count)
        yield happened
        fresh = sum(entry.fresh for stock in self._node.stock() for entry in stock.entries)
        yield GaugeMetricFamily("sign_service_stock_fresh", "Presignatures ready to be used.", value=fresh)
