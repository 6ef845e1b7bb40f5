"""What is NATS' own: who it talks to, streams that others touch, records that grow old, and one log for several writers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority
from gateway_testing import PATIENCE
from nats_testing import NatsServer, running_cluster, running_nats
from pydantic import ValidationError

from gateway.nats_link import NatsLink, Stored
from gateway.nats_log import HEADER, Record, token_of
from gateway.nats_store import NatsStore
from gateway.settings import GatewaySettings, NatsSettings, RoomsSettings
from gateway.store import StoreUnavailable
from kit.settings import SettingsError

LIMITS = RoomsSettings()


@pytest.fixture(scope="module")
def server() -> Iterator[NatsServer]:
    with running_nats() as found:
        yield found


@contextlib.asynccontextmanager
async def opened(store: NatsStore) -> AsyncIterator[NatsStore]:
    try:
        yield store
    finally:
        await store.close()


def secret(path: Path, text: str) -> str:
    path.touch(mode=0o600)
    path.write_text(text)
    return str(path)


# Who is talked to


async def test_tls_with_a_certificate_and_a_password(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair, own = authority.issue("server"), authority.issue("gateway", client=True)
    tls = {
        "cert_file": str(pair.certificate), "key_file": str(pair.key), "ca_file": str(authority.ca), "verify": True,
    }  # fmt: skip
    # What docs/operations.md says that a gateway needs.
    allowed = {
        "publish": ["gate.>", "$JS.API.>", "_INBOX.>"],
        "subscribe": ["gate.>", "$JS.API.>", "_INBOX.>"],
    }
    users = {"users": [{"user": "gateway", "password": "right", "permissions": allowed}]}
    with running_nats(tls=tls, authorization=users) as server:
        settings: dict[str, Any] = {
            "servers": [server.url.replace("nats:", "tls:")],
            "username": "gateway",
            "password_file": secret(tmp_path / "password", "right\n"),
            "ca": authority.ca,
            "certificate": own.certificate,
            "key": own.key,
            "prefix": "gate",
        }
        async with opened(server.store(LIMITS, **settings)) as store:
            told = asyncio.Event()
            watch = await store.watch("room", lambda _: told.set())
            assert [await store.append("room", b"m") for _ in range(3)] == [0, 1, 2]
            async with asyncio.timeout(PATIENCE):
                await told.wait()
            watch.close()
            watch = await store.watch("room", lambda _: None)
            assert [event.id for event in await watch.read(0, 1 << 20)] == [0, 1, 2]
        wrong = {**settings, "password_file": secret(tmp_path / "wrong", "wrong")}
        async with opened(server.store(LIMITS, **wrong)) as store:
            assert "Authorization Violation" in (await store.check() or "")
        strange = {**settings, "ca": Authority(tmp_path, "another").ca}
        async with opened(server.store(LIMITS, **strange)) as store:
            assert "certificate verify failed" in (await store.check() or "").lower()
        nameless = {**settings, "certificate": None, "key": None}
        async with opened(server.store(LIMITS, **nameless)) as store:
            assert await store.check() is not None


async def test_a_token_from_a_file(tmp_path: Path) -> None:
    with running_nats(authorization={"token": "right"}) as server:
        async with opened(server.store(LIMITS, token_file=secret(tmp_path / "token", "right"))) as store:
            assert await store.check() is None
        async with opened(server.store(LIMITS, token_file=secret(tmp_path / "wrong", "no"))) as store:
            with pytest.raises(StoreUnavailable, match="Authorization Violation"):
                await store.append("room", b"m")


async def test_a_server_without_tls_is_told_nothing(tmp_path: Path) -> None:
    said: list[bytes] = []
    calls: list[asyncio.Task[Any] | None] = []

    async def pretend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.append(asyncio.current_task())
        writer.write(b'INFO {"server_id":"x","version":"2.9.10","headers":true,"max_payload":1048576}\r\n')
        said.append(await reader.read())
        writer.close()

    listener = await asyncio.start_server(pretend, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    settings = NatsSettings.model_validate(
        {
            "servers": [f"tls://127.0.0.1:{port}"],
            "token_file": secret(tmp_path / "token", "secret"),
            "ca": Authority(tmp_path).ca,
        }
    )
    async with opened(NatsStore(settings, LIMITS, 1000)) as store:
        assert "does not ask for TLS" in (await store.check() or "")
    listener.close()
    await asyncio.gather(*filter(None, calls))
    assert said
    assert set(said) == {b""}


def test_files_that_cannot_be_read_are_known_at_the_start(tmp_path: Path) -> None:
    settings = NatsSettings(servers=["nats://127.0.0.1:1"], token_file=tmp_path / "missing")
    with pytest.raises(SettingsError, match=r"nats\.token_file"):
        NatsStore(settings, LIMITS, 1000)
    open_to_all = secret(tmp_path / "token", "secret")
    Path(open_to_all).chmod(0o644)
    with pytest.raises(SettingsError, match="every user"):
        NatsStore(settings.model_copy(update={"token_file": Path(open_to_all)}), LIMITS, 1000)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"servers": ["nats://u:p@host:1"]}, "credentials belong in files"),
        ({"servers": ["http://host:1"]}, "expected nats://"),
        ({"servers": ["nats://a:1", "tls://b:1"]}, "all nats:// or all tls://"),
        ({"servers": ["nats://a:1"], "username": "u"}, "belong together"),
        ({"servers": ["tls://a:1"], "certificate": "c.pem"}, "belong together"),
        ({"servers": ["nats://a:1"], "ca": "ca.pem"}, "not tls://"),
        (
            {"servers": ["nats://a:1"], "username": "u", "password_file": "p", "token_file": "t"},
            "either username",
        ),
        ({"servers": ["nats://a:1"], "prefix": "a.b"}, "prefix"),
        ({"servers": ["nats://a:1"], "replicas": 2}, "replicas"),
    ],
)
def test_settings_that_make_no_sense(values: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        NatsSettings.model_validate(values)


def test_rooms_are_in_one_store_and_messages_outlive_idle_rooms() -> None:
    nats = {"servers": ["nats://a:1"]}
    with pytest.raises(ValidationError, match="rooms are in one store"):
        GatewaySettings.model_validate({"nats": nats, "redis": {"url": "redis://a:1"}})
    with pytest.raises(ValidationError, match=r"smaller than rooms\.idle_seconds"):
        GatewaySettings.model_validate({"nats": {**nats, "max_age_seconds": 60}})


async def test_a_server_that_takes_no_large_messages_is_not_ready() -> None:
    with running_nats(max_payload=1024) as server:
        async with opened(server.store(LIMITS)) as store:
            assert "max_payload is 1024" in (await store.check() or "")
            assert await store.append("room", b"small") == 0
            with pytest.raises(StoreUnavailable, match="at most 1024 bytes"):
                await store.append("room", b"x" * 2000)
            assert await store.append("room", b"small") == 1


async def test_a_connection_ends_with_whatever_is_under_way_and_whatever_is_over() -> None:
    told: list[bool] = []
    link = NatsLink(NatsSettings(servers=["nats://127.0.0.1:1"]), lambda: told.append(True))

    async def wait(limit: asyncio.Timeout, *, end: bool) -> None:
        async with limit:
            link._limits.add(limit)
            if end:
                link.end()
            await asyncio.Event().wait()

    over, under_way = asyncio.timeout(0), asyncio.timeout(None)
    with pytest.raises(TimeoutError):
        await wait(over, end=False)
    with pytest.raises(TimeoutError):
        await wait(under_way, end=True)
    link.end()
    assert told == [True]
    with pytest.raises(StoreUnavailable, match="the connection is lost"):
        await link.request("anything")


# Clusters


async def persistently(action: Callable[[], Awaitable[Any]]) -> Any:
    """As often as it takes: a cluster chooses its leaders first, and anew."""
    async with asyncio.timeout(4 * PATIENCE):
        while True:
            with contextlib.suppress(StoreUnavailable):
                return await action()
            await asyncio.sleep(0.1)


async def test_a_cluster_survives_the_end_of_any_one_server() -> None:
    with running_cluster() as servers:
        settings = {"servers": [server.url for server in servers], "replicas": 3, "max_age_seconds": 3600}
        async with (
            opened(servers[0].store(LIMITS, "cluster", seconds=5, **settings)) as store,
            opened(servers[1].store(LIMITS, "cluster", seconds=5, **settings)) as other,
        ):
            for k in range(10):
                await persistently(partial((store, other)[k % 2].append, "room", b"%d" % k))
            link = await store._reach()
            leader = (await link.api("STREAM.INFO.cluster-log"))["cluster"]["leader"]
            servers[int(leader.removeprefix("s"))].kill()
            for k in range(10, 20):
                await persistently(partial((store, other)[k % 2].append, "room", b"%d" % k))
            watch = await persistently(partial(other.watch, "room", lambda _: None))
            events = await persistently(partial(watch.read, 0, 1 << 20))
            assert [event.id for event in events] == list(range(watch.view.next_id))
            bodies = [event.frame.split(b"data: ")[1].strip() for event in events]
            # One that was not answered may be there, and was posted again.
            assert list(dict.fromkeys(bodies)) == [b"%d" % k for k in range(20)]


# Streams


async def test_the_servers_own_bound_is_a_full_store() -> None:
    bounds = {"store_dir": "", "max_mem": 1 << 20, "max_file": 1 << 20}
    with running_nats() as server:
        server.kill()
        server.config["jetstream"] = {**bounds, "store_dir": str(server.directory)}
        server.start()
        async with opened(server.store(LIMITS)) as store:
            # It does not even promise so much.
            assert "insufficient" in (await store.check() or "")


async def test_streams_that_somebody_deletes_are_made_again(server: NatsServer) -> None:
    told: list[int] = []
    async with opened(server.store(LIMITS)) as store:
        await store.append("room", b"m")
        watch = await store.watch("room", told.append)
        link = await store._reach()
        for stream in (store._names.log_stream, store._names.rooms_stream):
            await link.api(f"STREAM.DELETE.{stream}")
        with pytest.raises(StoreUnavailable):
            await store.expire()
        async with asyncio.timeout(PATIENCE):
            while not told:  # noqa: ASYNC110 - what is awaited is another connection
                await asyncio.sleep(0.01)
        assert not await watch.read(1, 1)
        assert await store.append("room", b"m") == 0


async def test_a_message_that_no_gateway_wrote_is_named(server: NatsServer) -> None:
    async with opened(server.store(LIMITS)) as store:
        await store.append("room", b"m")
        link = await store._reach()
        await link.publish(store._names.log("room"), b"junk")
        other = server.store(LIMITS, store._settings.prefix)
        async with opened(other):
            with pytest.raises(StoreUnavailable, match=r"message 3 of .*room was not written by a gateway"):
                await other.append("room", b"m")


async def test_bounds_of_streams_follow_the_settings(server: NatsServer) -> None:
    async with opened(server.store(LIMITS)) as store:
        await store.append("room", b"m")
        prefix = store._settings.prefix
    other = server.store(RoomsSettings(max_messages=7, max_rooms=5), prefix)
    async with opened(other):
        assert await other.append("room", b"m") == 1
        link = await other._reach()
        rooms = (await link.api(f"STREAM.INFO.{prefix}-rooms"))["config"]
        log = (await link.api(f"STREAM.INFO.{prefix}-log"))["config"]
    assert rooms["max_msgs"] == 5
    assert log["max_msgs_per_subject"] - 7 == LIMITS.max_messages + 16 - LIMITS.max_messages


# Records


async def test_a_room_in_use_outlives_its_messages(server: NatsServer) -> None:
    limits = RoomsSettings(idle_seconds=2, min_idle_seconds=2)
    async with opened(server.store(limits)) as store:
        assert [await store.append("room", b"m") for _ in range(3)] == [0, 1, 2]
        assert await store.next_index("room") == 0
        first = await store.watch("room", lambda _: None)
        async with asyncio.timeout(PATIENCE):
            while True:
                await store.expire()
                watch = await store.watch("room", lambda _: None)
                watch.close()
                if watch.view.oldest == 3:
                    break
        assert watch.view.incarnation == first.view.incarnation
        assert watch.view.next_id == 3
        assert await store.append("room", b"m") == 3
        assert await store.next_index("room") == 1


async def test_messages_of_rooms_that_ended_are_dropped_by_any_gateway(server: NatsServer) -> None:
    limits = RoomsSettings(idle_seconds=0.2)
    async with opened(server.store(limits, max_age_seconds=86_400)) as store:
        await store.append("room", b"m")
        dropped = 0
        async with asyncio.timeout(PATIENCE):
            while not dropped:
                dropped = await store.expire()
        assert dropped == 1
        assert not await server.keeps(store, "room")


def test_a_record_says_all_that_is_known() -> None:
    record = Record.opening("abc", 1)
    assert record.header() == "note abc 0 0 1 0 0 0"
    record = Record(7, "abc", 0, 0, 1, 0, 0, 0, is_message=False)
    message = record.then_message(b"body")
    assert message.header() == "message abc 7 1 1 7 4 0"
    assert (message.first_id, message.body) == (0, b"body")
    note = Record(9, "abc", 7, 1, 1, 7, 4, 0, is_message=True).then_note(2)
    assert note.header() == "note abc 7 1 2 7 4 0"


@pytest.mark.parametrize(
    "header",
    ["", "note", "note abc 1 2 3 4 5", "note abc 1 2 3 4 5 6 7", "note abc -1 0 0 0 0 0", "note abc 01 0 0 0 0 0",
     "note abc 1  2 3 4 5 6", "note abc \N{ARABIC-INDIC DIGIT ONE} 0 0 0 0 0", "word abc 0 0 0 0 0 0", "message abc 7 0 1 7 4 0",
     "note xyz 0 0 0 0 0 0", "note abc 0 0 0 0 0 0\n", "note abc 1000000000000000000 0 0 0 0 0"],
)  # fmt: skip
def test_a_record_has_one_form(header: str) -> None:
    good = Stored("log.room", 7, 0, {HEADER: "note abc 1 0 3 4 5 6"}, b"")
    assert Record.read(good).header() == "note abc 1 0 3 4 5 6"
    with pytest.raises(StoreUnavailable, match=r"message 7 of log\.room was not written by a gateway"):
        Record.read(replace(good, headers={HEADER: header}))


def test_a_rooms_name_is_one_token_of_its_own() -> None:
    assert token_of("session_0aZ-9") == "session_0aZ-9"
    assert token_of("a.b *>=\u00fc") == "a=2Eb=20=2A=3E=3D=C3=BC"
