"""A real Chromium without a window, told what to do over its DevTools pipe: JSON messages that end with a zero byte.

with running_browser() as browser, serving(PAGE) as origin:
    page = browser.open(origin)
    page.run("await follow('http://...')")
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import select
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from programs import needed

PATIENCE = 90.0
FLAGS = [
    "--headless=new",
    "--remote-debugging-pipe",
    # Its sandbox is not for root, as whom containers of tests run; it sees pages of this test alone.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--no-first-run",
    "--no-proxy-server",
]


class Browser:
    """The browser's end of the pipe. One thread talks to it."""

    def __init__(self, write: int, read: int) -> None:
        self._write = write
        self._read = read
        self._numbers = itertools.count(1)
        self._buffer = b""

    def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """The result of a DevTools method."""
        number = next(self._numbers)
        request: dict[str, Any] = {"id": number, "method": method, "params": params}
        if session is not None:
            request["sessionId"] = session
        os.write(self._write, json.dumps(request).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = self._message(deadline, method)
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    def _message(self, deadline: float, method: str) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            if not select.select([self._read], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise AssertionError(f"the browser did not answer {method} in {PATIENCE} s")
            data = os.read(self._read, 1 << 16)
            assert data, "the browser ended"
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def open(self, url: str) -> Page:
        """A page, loaded."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session)
        self.call("Page.navigate", session, url=url)
        # Its scripts are evaluated in the document that is there when navigation was answered, or in the blank one.
        deadline = time.monotonic() + PATIENCE
        while not page.run(f"return location.href.startsWith({url!r}) && document.readyState === 'complete'"):
            assert time.monotonic() < deadline, f"{url} was not loaded"
        return page


@dataclass(frozen=True)
class Page:
    browser: Browser
    session: str

    def run(self, body: str) -> Any:
        """What the body of an async function returns."""
        answer = self.browser.call(
            "Runtime.evaluate",
            self.session,
            expression=f"(async () => {{ {body} }})()",
            awaitPromise=True,
            returnByValue=True,
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")


@contextlib.contextmanager
def running_browser() -> Iterator[Browser]:
    needed("chromium", "bash", "setpriv")
    directory = tempfile.mkdtemp(prefix="wmpc-browser-")
    to_read, to_write = os.pipe()
    from_read, from_write = os.pipe()
    # The pipe is its descriptors 3 and 4. It leaves with this process.
    script = f'exec setpriv --pdeathsig KILL -- chromium "$@" 3<&{to_read} 4>&{from_write}'
    process = subprocess.Popen(
        ["bash", "-c", script, "chromium", *FLAGS, f"--user-data-dir={directory}"],
        pass_fds=(to_read, from_write),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(to_read)
    os.close(from_write)
    browser = Browser(to_write, from_read)
    try:
        yield browser
    finally:
        with contextlib.suppress(AssertionError, OSError):
            browser.call("Browser.close")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()
        os.close(to_write)
        os.close(from_read)
        shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def serving(page: str, answers: Mapping[str, Callable[[], str]] | None = None) -> Iterator[str]:
    """An origin of its own: `page` at every path but those of `answers`. Yields the origin."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            make = (answers or {}).get(self.path)
            body = (page if make is None else make()).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
