"""Plain curl: the process, with what a person would type."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from gateway_testing import GatewayProcess, new_room, running_gateway
from processes import Process, run_process
from programs import needed


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    needed("curl")
    with running_gateway(tmp_path_factory.mktemp("gateway")) as process:
        yield process


def curl(*args: str) -> tuple[int, str]:
    """Its exit code and what it wrote to standard output."""
    code, process = run_process(["curl", "-sS", "--max-time", "60", *args])
    return code, "\n".join(process.stdout)


def status(*args: str) -> int:
    code, said = curl("-o", "/dev/null", "-w", "%{http_code}", *args)
    assert code == 0
    return int(said)


def test_post_subscribe_and_resume(gateway: GatewayProcess) -> None:
    room = new_room()
    post, read = gateway.room(room, "broadcast"), gateway.room(room, "subscribe")
    for text in ("zero", "one\ntwo"):
        assert curl("--data-binary", text, post) == (0, "")
    with Process(["curl", "-sSN", read]) as stream:
        stream.wait_for("^data: two$")
        assert curl("-H", "Content-Type: application/json", "-d", '{"live": true}', post) == (0, "")
        stream.wait_for("^data: ")
        stream.wait_for('^data: {"live": true}$')
        lines = list(stream.stdout)
    assert [line for line in lines if line] == [
        "retry: 5000",
        "event: new-message", "id: 0", "data: zero",
        "event: new-message", "id: 1", "data: one", "data: two",
        "event: new-message", "id: 2", 'data: {"live": true}',
    ]  # fmt: skip
    with Process(["curl", "-sSN", "-H", "Last-Event-ID: 1", read]) as stream:
        stream.wait_for('^data: {"live": true}$')
        assert [line for line in stream.stdout if line.startswith("id:")] == ["id: 2"]


def test_indices(gateway: GatewayProcess) -> None:
    url = gateway.room(new_room(), "issue_unique_idx")
    for expected in range(3):
        code, said = curl("-X", "POST", url)
        assert (code, json.loads(said)) == (0, {"unique_idx": expected})


def test_a_large_file_which_it_asks_for_leave_to_send(gateway: GatewayProcess, tmp_path: Path) -> None:
    room = new_room()
    file = tmp_path / "message"
    file.write_text("x" * (4 << 20))
    upload = ("--data-binary", f"@{file}", "-H", "Expect: 100-continue")
    assert curl("--fail", *upload, gateway.room(room, "broadcast")) == (0, "")
    with Process(["curl", "-sSN", gateway.room(room, "subscribe")]) as stream:
        assert len(stream.wait_for("^data: x+$")[0]) == len("data: ") + (4 << 20)


def test_one_that_is_too_large_is_refused_with_a_reason(gateway: GatewayProcess, tmp_path: Path) -> None:
    file = tmp_path / "message"
    file.write_text("x" * (9 << 20))
    url = gateway.room(new_room(), "broadcast")
    code, said = curl("--data-binary", f"@{file}", url)
    assert (code, json.loads(said)["error"]) == (0, "body_too_large")
    code, process = run_process(["curl", "-sS", "--fail", "--data-binary", f"@{file}", url])
    # 22: a status of 400 or above.
    assert (code, "413" in process.output) == (22, True)


def test_mistakes_have_the_status_that_scripts_look_for(gateway: GatewayProcess) -> None:
    post, read = gateway.room(new_room(), "broadcast"), gateway.room(new_room(), "subscribe")
    assert status(post) == 405
    assert status("-d", "x", read) == 405
    assert status("-H", "Last-Event-ID: x", read) == 400
    assert status("--data-binary", "a\rb", post) == 400
    assert status(f"{gateway.url}/rooms/") == 404


def test_the_older_protocol_works_too(gateway: GatewayProcess) -> None:
    """HTTP/1.0: what some proxies still speak to what is behind them."""
    room = new_room()
    assert curl("-0", "-d", "old", gateway.room(room, "broadcast")) == (0, "")
    with Process(["curl", "-0", "-sSN", gateway.room(room, "subscribe")]) as stream:
        stream.wait_for("^data: old$")
        assert curl("-0", "-d", "new", gateway.room(room, "broadcast")) == (0, "")
        stream.wait_for("^data: new$")
