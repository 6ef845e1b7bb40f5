from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from kit.logs import MAX_TEXT, REDACTED, LoggingSettings, configure_logging, get_logger, redact


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before = list(root.handlers), root.level
    yield io.StringIO()
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    root.handlers[:], root.level = before


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_lines_carry_level_service_and_values(stream: io.StringIO) -> None:
    configure_logging(LoggingSettings(level="debug"), "svc", stream)
    get_logger("a.b").debug("something happened", room="r1", count=3)
    (line,) = lines(stream)
    assert list(line)[:3] == ["time", "level", "event"]
    assert {key: line[key] for key in ("level", "event", "service", "logger", "room", "count")} == {
        "level": "debug",
        "event": "something happened",
        "service": "svc",
        "logger": "a.b",
        "room": "r1",
        "count": 3,
    }


def test_a_logger_made_before_the_configuration_follows_it(stream: io.StringIO) -> None:
    log = get_logger("early", bound="yes")
    configure_logging(LoggingSettings(), "svc", stream)
    log.info("late")
    assert lines(stream)[0]["bound"] == "yes"


def test_levels_are_honoured(stream: io.StringIO) -> None:
    configure_logging(LoggingSettings(level="warn"), "svc", stream)
    log = get_logger("l")
    log.info("no")
    log.warning("yes")
    logging.getLogger("library").info("no")
    logging.getLogger("library").error("yes too")
    assert [line["event"] for line in lines(stream)] == ["yes", "yes too"]


def test_libraries_log_in_the_same_form(stream: io.StringIO) -> None:
    configure_logging(LoggingSettings(), "svc", stream)
    logging.getLogger("library").warning("hello %s", "world")
    (line,) = lines(stream)
    assert (line["event"], line["logger"], line["service"]) == ("hello world", "library", "svc")


@pytest.mark.attack("E3")
@pytest.mark.parametrize(
    "name",
    [
        "password", "passphrase", "seal_password", "client_secret", "private_key", "token", "access_token",
        "authorization", "cookie", "mnemonic", "body", "data", "payload", "key_share", "x_i", "k", "gamma", "nonce",
    ],
)  # fmt: skip
def test_names_that_promise_a_secret_are_redacted(stream: io.StringIO, name: str) -> None:
    configure_logging(LoggingSettings(), "svc", stream)
    log = get_logger("l")
    log.info("flat", **{name: "hunter2"})
    log.info("nested", about={"deep": [{name: b"hunter2"}]})
    assert "hunter2" not in stream.getvalue()
    assert stream.getvalue().count(REDACTED) == 2


def test_bytes_are_shown_by_length_and_identifiers_in_hex() -> None:
    assert redact(b"\x01" * 32, "ciphertext") == "<32 bytes>"
    assert redact(b"\xab" * 32, "sid") == "ab" * 32
    assert redact(b"\xab" * 16, "request_id") == "ab" * 16
    assert redact(b"\xab" * 65, "sid") == "<65 bytes>"
    assert redact([b"\x01"], "parts") == ["<1 bytes>"]


def test_long_and_deep_values_are_cut() -> None:
    text = redact("x" * 5000, "what")
    assert isinstance(text, str)
    assert len(text) < MAX_TEXT + 50
    loop: dict[str, object] = {}
    loop["again"] = loop
    assert len(json.dumps(redact(loop))) < 200


def test_text_lines_cannot_be_forged(stream: io.StringIO) -> None:
    configure_logging(LoggingSettings(format="text"), "svc", stream)
    get_logger("l").warning("event\nFORGED", room="r\n2026 ERROR forged", plain="simple")
    (line,) = stream.getvalue().splitlines()
    assert " WARNING " in line
    assert " plain=simple" in line
    assert "\\n2026 ERROR forged" in line


@pytest.mark.attack("E3")
def test_exceptions_have_their_traceback_and_no_local_values(stream: io.StringIO) -> None:
    configure_logging(LoggingSettings(), "svc", stream)

    def fail() -> None:
        password = "hunter" + "2"
        raise ValueError(len(password))

    try:
        fail()
    except ValueError:
        get_logger("l").exception("failed")
    (line,) = lines(stream)
    assert "ValueError: 7" in str(line["exception"])
    assert "hunter2" not in stream.getvalue()


@pytest.mark.parametrize("form", ["json", "text", "pretty", "compact"])
def test_formats_of_wallet_mpcs_files_are_accepted(form: str) -> None:
    assert LoggingSettings.model_validate({"level": "info", "format": form}).format == form
