"""What the gateway counts, and how refusals come into the log: each counted, repeated ones summed up."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from kit.logs import get_logger

_log = get_logger(__name__)

# So many lines a reason in so many seconds: a flood of bad requests must not fill the disk.
LINES = 20
WINDOW_SECONDS = 10.0

# Seconds. Readers that keep up are written within a turn of the event loop; slow ones are cut off after half a minute.
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, float("inf"))


class Deliveries(Collector):
    """What was written to subscribers. Without the library's locks: every message counts once for each of its readers."""

    def __init__(self) -> None:
        self._events = 0
        self._bytes = 0
        self._seconds = 0.0
        self._by_bucket = [0] * len(BUCKETS)

    def written(self, events: int, size: int) -> None:
        """A write of `events` events of `size` bytes."""
        self._events += events
        self._bytes += size

    def took(self, seconds: float) -> None:
        """The age of the oldest event of a write, if it was no history."""
        self._seconds += seconds
        self._by_bucket[bisect_left(BUCKETS, seconds)] += 1

    def collect(self) -> Iterable[Metric]:
        """See the library."""
        yield CounterMetricFamily("gateway_deliveries", "Messages written to subscribers.", self._events)
        yield CounterMetricFamily("gateway_delivered_bytes", "Bytes written to subscribers.", self._bytes)
        totals = accumulate(self._by_bucket)
        yield HistogramMetricFamily(
            "gateway_fanout_seconds",
            "Time from when this gateway knows of a message until it is written to a subscriber: of each write, that of its "
            "oldest message.",
            [
                ("+Inf" if bound == float("inf") else str(float(bound)), total)
                for bound, total in zip(BUCKETS, totals, strict=True)
            ],
            self._seconds,
        )


class Meters:
    """Metrics of one gateway."""

    def __init__(self, registry: CollectorRegistry, now: Callable[[], float] = time.monotonic) -> None:
        """Registers them."""
        self._now = now
        self._windows: dict[str, tuple[float, int]] = {}
        self.rooms = Gauge("gateway_rooms", "Rooms that exist.", registry=registry)
        self.stored = Gauge("gateway_stored_bytes", "Bytes of messages that rooms keep.", registry=registry)
        self.connections = Gauge("gateway_connections", "Open HTTP connections.", registry=registry)
        self.subscribers = Gauge("gateway_subscribers", "Open subscriptions.", registry=registry)
        self.messages = Counter("gateway_messages", "Messages taken from posters.", registry=registry)
        self.message_bytes = Counter("gateway_message_bytes", "Bytes of those messages.", registry=registry)
        self.deliveries = Deliveries()
        registry.register(self.deliveries)
        self.post_seconds = Histogram(
            "gateway_post_seconds",
            "Time from a message's last byte until the store has it.",
            buckets=BUCKETS,
            registry=registry,
        )
        self.indices = Counter("gateway_indices", "Participant indices given out.", registry=registry)
        self.history_lost = Counter(
            "gateway_history_lost", "Resumes from before the oldest message that is kept.", registry=registry
        )
        self.expired = Counter(
            "gateway_rooms_expired", "Rooms dropped after their idle life.", registry=registry
        )
        self.refusals = Counter(
            "gateway_refusals", "Requests and connections refused.", ["reason"], registry=registry
        )
        self.token_keys = Gauge(
            "gateway_token_keys", "Keys whose tokens open rooms; 0 = none is asked for.", registry=registry
        )
        self.key_set_stale = Gauge(
            "gateway_key_set_stale", "1 while the key set's file cannot be used.", registry=registry
        )
        self.exposed = Gauge(
            "gateway_exposed", "1 when anybody on the network may use every room.", registry=registry
        )
        self.cuts = Counter(
            "gateway_cuts", "Subscriptions that the gateway ended.", ["reason"], registry=registry
        )
        self.limit = Gauge(
            "gateway_limit", "Bounds that gauges of the same name may reach.", ["what"], registry=registry
        )
        self.clients = Gauge(
            "gateway_clients", "Client addresses whose rates are remembered.", registry=registry
        )
        self.store_errors = Counter(
            "gateway_store_errors",
            "Times that the store did not answer as it should.",
            ["store", "operation"],
            registry=registry,
        )
        self.calls = Counter(
            "gateway_grpc_calls", "gRPC calls passed on.", ["method", "code"], registry=registry
        )

    def refused(self, reason: str, **about: object) -> None:
        """Counts a refusal and logs it. `reason` is one of a fixed set; `about` never holds a body."""
        self.refusals.labels(reason).inc()
        start, lines = self._windows.get(reason, (float("-inf"), 0))
        now = self._now()
        if now - start >= WINDOW_SECONDS:
            if lines > LINES:
                _log.warning("refused, not logged one by one", reason=reason, times=lines - LINES)
            start, lines = now, 0
        self._windows[reason] = (start, lines + 1)
        if lines < LINES:
            _log.warning("refused", reason=reason, **about)
