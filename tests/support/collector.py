"""An OpenTelemetry collector: takes OTLP over HTTP, decodes it, and keeps the spans."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

PATIENCE = 60.0


@dataclass(frozen=True)
class Seen:
    """A span as it arrived."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    attributes: dict[str, str]
    status: str
    events: int


class Collector:
    def __init__(self) -> None:
        self.spans: list[Seen] = []
        self.raw = b""
        self._grown = threading.Condition()

    def take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        with self._grown:
            self.raw += body
            for resource in request.resource_spans:
                named = {one.key: one.value.string_value for one in resource.resource.attributes}
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        self.spans.append(
                            Seen(
                                named["service.name"],
                                span.name,
                                span.trace_id.hex(),
                                span.span_id.hex(),
                                span.parent_span_id.hex(),
                                {one.key: str(one.value).strip() for one in span.attributes},
                                span.status.message,
                                len(span.events),
                            )
                        )
            self._grown.notify_all()

    def wait_for(self, done: Callable[[list[Seen]], Any]) -> list[Seen]:
        """All spans, as soon as `done` holds of them."""
        deadline = time.monotonic() + PATIENCE
        with self._grown:
            while not done(self.spans):
                if not self._grown.wait(deadline - time.monotonic()):
                    names = sorted({(span.service, span.name) for span in self.spans})
                    raise AssertionError(f"the spans did not come; there are {names}")
            return list(self.spans)


@contextlib.contextmanager
def running_collector() -> Iterator[tuple[Collector, str]]:
    """The collector and its endpoint."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collector.take(self.rfile.read(int(self.headers["Content-Length"])))
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield collector, f"http://127.0.0.1:{server.server_port}/v1/traces"
        finally:
            server.shutdown()
            thread.join()
