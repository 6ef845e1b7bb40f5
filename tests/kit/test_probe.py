"""`python -m kit.probe`: what a container's health check gets to know."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, body = (200, b"ready") if self.path == "/readyz" else (503, b'{"failing": {"store": "full"}}')
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@pytest.fixture
def url() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def probe(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kit.probe", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_ready_daemon_is_healthy_and_nothing_is_printed(url: str) -> None:
    done = probe(f"{url}/readyz")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_daemon_that_is_not_ready_is_unhealthy_and_says_why(url: str) -> None:
    done = probe(f"{url}/else")
    assert done.returncode == 1
    assert "status 503" in done.stderr
    assert "full" in done.stderr


def test_a_port_where_nobody_listens_is_unhealthy() -> None:
    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        port = server.server_port
    done = probe(f"http://127.0.0.1:{port}/readyz")
    assert done.returncode == 1
    assert "refused" in done.stderr


@pytest.mark.parametrize("arguments", [[], ["file:///etc/passwd"], ["http://a", "http://b"]])
def test_anything_but_one_http_url_is_wrong_usage(arguments: list[str]) -> None:
    done = probe(*arguments)
    assert done.returncode == 2
    assert "usage" in done.stderr
