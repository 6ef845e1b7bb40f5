"""A browser's EventSource and fetch, from a page of another origin: Chromium as it is."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Browser, Page, running_browser, serving
from gateway_testing import PATIENCE, GatewayProcess, new_room, running_gateway
from redis_testing import running_redis

PAGE = """<!doctype html><title>rooms</title><script>
const seen = [], checks = new Set();
function note(...what) { seen.push(what); for (const check of [...checks]) check(); }
function until(condition) {
  return new Promise(resolve => {
    const check = () => { if (condition()) { checks.delete(check); resolve(seen); } };
    checks.add(check); check();
  });
}
function messages() { return seen.filter(one => one[0] === "new-message"); }
function follow(url) {
  const source = new EventSource(url);
  for (const type of ["new-message", "history-lost", "message"])
    source.addEventListener(type, event => note(type, event.lastEventId, event.data));
  source.onopen = () => note("open");
  source.onerror = () => note("error", source.readyState);
  return source;
}
</script>"""
CONNECTING, CLOSED = 0, 2


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as browser:
        yield browser


def following(browser: Browser, origin: str, gateway: GatewayProcess, room: str) -> Page:
    page = browser.open(origin)
    page.run(f"window.source = follow('{gateway.room(room, 'subscribe')}'); await until(() => seen.length)")
    return page


def messages(page: Page, count: int) -> list[list[Any]]:
    """The first so many of them, [id, data]."""
    page.run(f"await until(() => messages().length >= {count})")
    return page.run("return messages().map(one => one.slice(1))")


def test_a_page_of_an_allowed_origin_reads_and_posts(browser: Browser, tmp_path: Path) -> None:
    room = new_room()
    with (
        serving(PAGE) as origin,
        running_gateway(tmp_path, {"server": {"cors_origins": [origin]}}) as gateway,
    ):
        gateway.post(room, "history\nin two lines")
        page = following(browser, origin, gateway, room)
        url = gateway.room(room, "broadcast")
        # The first as deployed clients do it; the second is asked for beforehand (OPTIONS).
        for headers in ("{}", "{'Content-Type': 'application/json'}"):
            assert (
                page.run(
                    f"return (await fetch('{url}', {{method: 'POST', headers: {headers}, body: 'ü'}})).status"
                )
                == 200
            )
        assert messages(page, 3) == [["0", "history\nin two lines"], ["1", "ü"], ["2", "ü"]]
        assert page.run("return seen[0][0]") == "open"
        index = gateway.room(room, "issue_unique_idx")
        assert page.run(f"return await (await fetch('{index}', {{method: 'POST'}})).json()") == {
            "unique_idx": 0
        }
        incarnation = f"""
            const stop = new AbortController();
            const answer = await fetch('{gateway.room(room, "subscribe")}', {{signal: stop.signal}});
            stop.abort();
            return answer.headers.get('Room-Incarnation');
        """
        assert len(page.run(incarnation)) == 32


def test_a_page_of_another_origin_reads_nothing_and_learns_nothing(browser: Browser, tmp_path: Path) -> None:
    room = new_room()
    with (
        serving(PAGE) as allowed,
        serving(PAGE) as other,
        running_gateway(tmp_path, {"server": {"cors_origins": [allowed]}}) as gateway,
    ):
        gateway.post(room, "not for them")
        page = following(browser, other, gateway, room)
        # It does not try again either.
        assert page.run("return seen") == [["error", CLOSED]]
        for call, options in (
            ("subscribe", "{}"),
            ("issue_unique_idx", "{method: 'POST'}"),
            ("broadcast", "{method: 'POST', headers: {'Content-Type': 'application/json'}, body: 'x'}"),
        ):
            asked = f"return await fetch('{gateway.room(room, call)}', {options}).then(() => 'read', error => error.name)"
            assert page.run(asked) == "TypeError"
        assert gateway.metric("gateway_messages_total") == 1


def test_a_page_goes_on_where_it_was_when_the_gateway_was_restarted(browser: Browser, tmp_path: Path) -> None:
    room = new_room()
    with serving(PAGE) as origin, running_redis() as redis:
        settings = {"server": {"cors_origins": [origin]}, "redis": {"url": redis.url, "timeout_seconds": 10}}
        with running_gateway(tmp_path, settings) as gateway:
            gateway.post(room, "0")
            page = following(browser, origin, gateway, room)
            gateway.post(room, "1")
            messages(page, 2)
            assert gateway.process.terminate() == 0
        page.run(f"await until(() => seen.some(one => one[0] === 'error' && one[1] === {CONNECTING}))")
        settings["server"]["port"] = gateway.port
        with running_gateway(tmp_path, settings) as gateway:
            gateway.post(room, "2")
            assert messages(page, 3) == [["0", "0"], ["1", "1"], ["2", "2"]]
            gateway.post(room, "3")
            assert messages(page, 4)[3] == ["3", "3"]


def test_a_page_reads_from_the_start_when_the_rooms_were_lost(browser: Browser, tmp_path: Path) -> None:
    room = new_room()
    with serving(PAGE) as origin:
        settings: dict[str, Any] = {"server": {"cors_origins": [origin]}}
        with running_gateway(tmp_path, settings) as gateway:
            for text in "abc":
                gateway.post(room, text)
            page = following(browser, origin, gateway, room)
            messages(page, 3)
            gateway.process.kill()
        settings["server"]["port"] = gateway.port
        with running_gateway(tmp_path, settings) as gateway:
            gateway.post(room, "again")
            # It says that it has seen 2, which the new room does not have yet.
            assert messages(page, 4)[3] == ["0", "again"]


def test_a_page_that_was_cut_off_for_reading_nothing_resumes(browser: Browser, tmp_path: Path) -> None:
    room, release, size, count = new_room(), threading.Event(), 512 * 1024, 60
    held = threading.Event()

    def hold() -> str:
        held.set()
        assert release.wait(600)
        return "go on"

    with serving(PAGE, {"/hold": hold}) as origin:
        settings = {"server": {"cors_origins": [origin]}, "rooms": {"max_backlog_messages": 20}}
        with running_gateway(tmp_path, settings) as gateway:
            page = following(browser, origin, gateway, room)
            # A request that is waited for stops the page, and with it everything that it reads.
            page.run("""
                window.stopped = new Promise(resolve => setTimeout(() => {
                  const request = new XMLHttpRequest();
                  request.open("GET", "/hold", false);
                  request.send();
                  resolve(request.responseText);
                }));
            """)
            assert held.wait(PATIENCE)
            try:
                for number in range(count):
                    assert gateway.post(room, f"{number:0{size}}").status_code == 200
                gateway.wait_for_metric('gateway_cuts_total{reason="slow_reader"}', 1)
            finally:
                release.set()
            found = page.run(
                f"await until(() => messages().length >= {count}); return messages().map(one => [one[1], +one[2]])"
            )
            assert found == [[str(number), number] for number in range(count)]
            assert page.run(f"return seen.some(one => one[0] === 'error' && one[1] === {CONNECTING})")
