"""Traces by OpenTelemetry, for whoever installs the extra `wallet-mpc[tracing]` and names a collector; else nothing.

    with span("room post", room=room):
        ...

Without `configure` every function here returns at once, and OpenTelemetry is not even imported. Attributes are names and
ids; never bodies, payloads or secrets, and of an exception its class alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from kit.settings import PathBesideFile, Problem, Section, SettingsError

if TYPE_CHECKING:
    from opentelemetry.context import Context

    Place = Context
    """A place in a trace."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

Attribute = str | int | float | bool | tuple[int, ...]

HEADERS: Final = frozenset({"traceparent", "tracestate"})
"""What carries a trace in HTTP headers and gRPC metadata (W3C Trace Context)."""

EXPORT_SECONDS: Final = 5
"""How long the collector may take for an answer."""

_NOTHING: Final = nullcontext()


class TracingSettings(Section):
    """`tracing` of every daemon."""

    endpoint: str | None = Field(
        default=None,
        description="OTLP over HTTP, such as http://127.0.0.1:4318/v1/traces; null = no traces (extra wallet-mpc[tracing])",
    )
    ca: PathBesideFile | None = Field(
        default=None, description="PEM file: authorities of its certificate instead of the system's"
    )
    sample: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="share of the traces begun here that are sent; those of callers go by them",
    )

    @field_validator("endpoint")
    @classmethod
    def _is_url(cls, text: str | None) -> str | None:
        if text is not None and (urlsplit(text).scheme not in ("http", "https") or not urlsplit(text).netloc):
            raise ValueError("expected http://host:port/v1/traces or https://")
        return text


class _Tracing:
    """What `configure` made: one a process."""

    def __init__(self) -> None:
        self.tracer: Tracer | None = None
        self.provider: TracerProvider | None = None


_tracing: Final = _Tracing()


def check(settings: TracingSettings) -> None:
    """Raises SettingsError when the settings name a collector and the extra is not installed."""
    if settings.endpoint is None:
        return
    try:
        import opentelemetry.exporter.otlp.proto.http.trace_exporter
        import opentelemetry.sdk.trace.export  # noqa: F401 - whether it is there
    except ImportError:
        what = "is set, and OpenTelemetry is not installed: pip install 'wallet-mpc[tracing]'"
        raise SettingsError([Problem("settings", "tracing.endpoint", what)]) from None


def configure(settings: TracingSettings, service: str, version: str) -> None:
    """Sends traces from now on, if the settings name a collector. Raises SettingsError without the extra."""
    if settings.endpoint is None:
        return
    check(settings)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

    exporter = OTLPSpanExporter(settings.endpoint, _file(settings.ca), timeout=EXPORT_SECONDS)
    provider = TracerProvider(
        sampler=ParentBasedTraceIdRatio(settings.sample),
        resource=Resource({"service.name": service, "service.version": version}),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(exporter))
    _tracing.provider = provider
    _tracing.tracer = provider.get_tracer("wallet-mpc")


def _file(path: Path | None) -> str | None:
    return None if path is None else str(path)


def shut_down() -> None:
    """Sends what is left, and ends. Blocking, some seconds at most."""
    provider, _tracing.provider, _tracing.tracer = _tracing.provider, None, None
    if provider is not None:
        provider.shutdown()


@contextmanager
def exported(settings: TracingSettings, service: str, version: str) -> Iterator[None]:
    """A daemon's life: `configure`, and `shut_down` in the end."""
    configure(settings, service, version)
    try:
        yield
    finally:
        shut_down()


def span(name: str, **attributes: Attribute) -> AbstractContextManager[None]:
    """A span inside the current one."""
    if _tracing.tracer is None:
        return _NOTHING
    return _spanned(_tracing.tracer, name, None, attributes)


def span_of(
    carrier: Iterable[tuple[str | bytes, str | bytes]], name: str, **attributes: Attribute
) -> AbstractContextManager[None]:
    """A span inside the one that a request's headers or metadata name."""
    if _tracing.tracer is None:
        return _NOTHING
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    found = {}
    for key, value in carrier:
        plain = _text(key).lower()
        if plain in HEADERS:
            found[plain] = _text(value)
    parent = TraceContextTextMapPropagator().extract(found)
    return _spanned(_tracing.tracer, name, parent, attributes)


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


@contextmanager
def _spanned(
    tracer: Tracer, name: str, parent: Context | None, attributes: Mapping[str, Attribute]
) -> Iterator[None]:
    from opentelemetry.trace import Status, StatusCode

    with tracer.start_as_current_span(
        name, parent, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as current:
        try:
            yield
        except BaseException as error:
            # Its text may hold what a caller sent.
            current.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise


def note(**attributes: Attribute) -> None:
    """Adds attributes to the current span."""
    if _tracing.tracer is not None:
        from opentelemetry.trace import get_current_span

        get_current_span().set_attributes(attributes)


def headers() -> Mapping[str, str]:
    """What tells the other side of a request which span it belongs to."""
    carrier: dict[str, str] = {}
    if _tracing.tracer is not None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        TraceContextTextMapPropagator().inject(carrier)
    return carrier


def here() -> Place | None:
    """The current span, for `within` in another task."""
    if _tracing.tracer is None:
        return None
    from opentelemetry.context import get_current

    return get_current()


@contextmanager
def _attached(context: Place) -> Iterator[None]:
    from opentelemetry.context import attach, detach

    token = attach(context)
    try:
        yield
    finally:
        detach(token)


def within(context: Place | None) -> AbstractContextManager[None]:
    """What is done inside belongs to the span that `here` gave."""
    return _NOTHING if context is None else _attached(context)


class Stages:
    """Spans that follow one another inside the current one, such as a session's rounds. Enter and close it in one task."""

    def __init__(self) -> None:
        self._name = ""
        self._open: AbstractContextManager[Span] | None = None

    def enter(self, name: str) -> None:
        """Ends the stage that there was, unless it is this one, and begins this one."""
        if _tracing.tracer is None or name == self._name:
            return
        self.close()
        self._name = name
        self._open = _tracing.tracer.start_as_current_span(name)
        self._open.__enter__()

    def close(self) -> None:
        """Ends the last one."""
        if self._open is not None:
            self._open.__exit__(None, None, None)
        self._name, self._open = "", None
