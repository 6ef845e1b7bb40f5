"""What the gateway counts, and how refusals come into the log: each counted, repeated ones summed up."""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge

from kit.logs import get_logger

_log = get_logger(__name__)

# So many lines a reason in so many seconds: a flood of bad requests must not fill the disk.
LINES = 20
WINDOW_SECONDS = 10.0


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
        self.deliveries = Counter("gateway_deliveries", "Messages written to subscribers.", registry=registry)
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
