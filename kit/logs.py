"""Structured logs: one JSON object or one text line an event, on standard error.

What must not be in a log is stopped here, whatever the caller passes: values under names that promise a secret or a
message's content are replaced, bytes are replaced by their length, long texts are cut. Identifiers (sid, request_id
and the like, as bytes) are shown in hex.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, Literal, TextIO

import structlog
from pydantic import Field
from structlog.typing import EventDict, Processor, WrappedLogger

from kit.settings import Section

Level = Literal["trace", "debug", "info", "warn", "warning", "error"]
Format = Literal["json", "text", "pretty", "compact", "full"]

MAX_TEXT = 2000
MAX_TRACE = 16000
MAX_ITEMS = 50
MAX_DEPTH = 6
REDACTED = "[redacted]"

_LEVELS = {"trace": logging.DEBUG, "warn": logging.WARNING}
_FORBIDDEN = re.compile(
    r"pass(word|phrase)|secret|private|(^|_)token|authorization|cookie|credential|mnemonic|xprv|"
    r"^(body|data|payload|message_body|plaintext|key_share|share|shares|nonce|nonces|seal_key|x|k|gamma|chi|x_i|"
    r"k_i|gamma_i|sigma_i|rng|seed)$",
    re.IGNORECASE,
)
_IDENTIFIER = re.compile(r"(^|_)(id|sid|key_id|hash|epoch|identity)$")
# Libraries that would log a line a chunk or a request.
_QUIET = ("sse_starlette", "httpx2", "httpcore2", "hpack", "uvicorn", "asyncio")


class LoggingSettings(Section):
    """`logging` of every daemon."""

    level: Level = Field(default="info", description="trace, debug, info, warn or error")
    format: Format = Field(default="json", description="json, or text (pretty, compact and full mean text)")


def redact(value: object, name: str = "", depth: int = 0) -> object:
    """`value` as it may be logged under `name`."""
    if _FORBIDDEN.search(name):
        return REDACTED
    if isinstance(value, bytes | bytearray | memoryview):
        data = bytes(value)
        return data.hex() if _IDENTIFIER.search(name) and len(data) <= 64 else f"<{len(data)} bytes>"
    if isinstance(value, bool | int | float) or value is None:
        return value
    if isinstance(value, str):
        return value if len(value) <= MAX_TEXT else f"{value[:MAX_TEXT]}... ({len(value)} characters)"
    if depth >= MAX_DEPTH:
        return "..."
    if isinstance(value, Mapping):
        return {str(key): redact(item, str(key), depth + 1) for key, item in list(value.items())[:MAX_ITEMS]}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(item, name, depth + 1) for item in list(value)[:MAX_ITEMS]]
    return redact(str(value), "", depth)


def _guard(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    trace = event.pop("exception", None)
    guarded = {key: redact(value, key) for key, value in event.items() if not key.startswith("_")}
    if trace:
        # A traceback shows code, not values; its end is what matters.
        guarded["exception"] = str(trace)[-MAX_TRACE:]
    return guarded


def _plain(value: object) -> str:
    """A value in a text line: bare if it cannot be mistaken, else quoted so that it stays one line."""
    if isinstance(value, str) and value and re.fullmatch(r"[!#-<>-~]+", value):
        return value
    return json.dumps(value, ensure_ascii=False)


def _text_line(_: WrappedLogger, __: str, event: EventDict) -> str:
    time, level = event.pop("time", ""), str(event.pop("level", "")).upper()
    what, trace = str(event.pop("event", "")), event.pop("exception", None)
    # Control characters in the message could forge further lines.
    what = what if what.isprintable() else json.dumps(what, ensure_ascii=False)
    line = " ".join(
        [f"{time} {level:<7} {what}", *(f"{key}={_plain(value)}" for key, value in event.items())]
    )
    return f"{line}\n{trace}" if trace else line


def _json_line(_: WrappedLogger, __: str, event: EventDict) -> str:
    first = {key: event.pop(key) for key in ("time", "level", "event") if key in event}
    return json.dumps({**first, **event}, ensure_ascii=False, default=str)


def configure_logging(settings: LoggingSettings, service: str, stream: TextIO | None = None) -> None:
    """Sets up structlog and the standard library's logging, which our libraries use, to write alike.

    Args:
        settings: level and format.
        service: put into every event.
        stream: standard error by default; standard output is for what a command answers.
    """
    level = _LEVELS.get(settings.level, logging.getLevelName(settings.level.upper()))
    render = _json_line if settings.format == "json" else _text_line

    def add_service(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event["service"] = service
        return event

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        add_service,
    ]
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder(allow=())],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _guard,
                render,
            ],
        )
    )
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def bind(**about: Any) -> None:
    """Puts `about` into every event of this task from now on, and of tasks that it begins."""
    structlog.contextvars.bind_contextvars(**about)


def get_logger(name: str, **bound: Any) -> structlog.stdlib.BoundLogger:
    """A logger whose events carry `bound`.

    It takes its configuration at its first event, so a module may ask for one while it is imported.
    """
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name, **bound)
    return logger
