"""What one client may do, and what one room takes: on a clock of the test's own, and through the real process."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import httpx2
import pytest
from gateway_testing import PATIENCE, GatewayProcess, new_room, subscribed
from reloadable import Reloadable

from gateway.client import client_address, client_key
from gateway.limits import Bucket, ClientLimits, RoomRates, TooMuch
from gateway.settings import ClientsSettings, RoomsSettings

# So slow that no test waits for a token: a bucket holds what it holds.
ONE_IN_A_WEEK = 1 / 604_800


def of(tokens: int, **others: float) -> dict[str, float]:
    """Settings of buckets that hold `tokens` and stay as they are while a test runs."""
    return {"burst_seconds": tokens / ONE_IN_A_WEEK, **others}


class World:
    def __init__(self, **settings: float) -> None:
        self.time = 1_000_000.0
        self.limits = ClientLimits(ClientsSettings.model_validate(settings), lambda: self.time)


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    bucket = Bucket()
    assert [bucket.take(1, 2, 3, 100.0) for _ in range(6)] == [0] * 6
    assert bucket.take(1, 2, 3, 100.0) == pytest.approx(0.5)
    # What was refused is not owed.
    assert bucket.take(1, 2, 3, 100.25) == pytest.approx(0.25)
    assert bucket.take(1, 2, 3, 100.5) == 0
    assert bucket.take(1, 2, 3, 100.5) > 0
    # A bucket is never fuller than full.
    assert [bucket.take(1, 2, 3, 9999.0) for _ in range(6)] == [0] * 6
    assert bucket.take(1, 2, 3, 9999.0) > 0


def test_more_than_a_bucket_holds_is_given_to_whoever_waited_and_is_owed() -> None:
    bucket = Bucket()
    assert bucket.take(100, 10, 1, 50.0) == 0
    assert bucket.take(1, 10, 1, 50.0) == pytest.approx(9.1)
    assert bucket.take(100, 10, 1, 59.0) == pytest.approx(1)
    assert bucket.take(100, 10, 1, 60.0) == 0


def test_a_rate_of_0_is_no_bound() -> None:
    bucket = Bucket()
    assert {bucket.take(10**12, 0, 1, 0.0) for _ in range(100)} == {0}


def test_clients_do_not_share_what_they_may() -> None:
    world = World(messages_per_second=1, burst_seconds=2)
    for address in ("192.0.2.1", "192.0.2.2"):
        world.limits.message(address)
        world.limits.message(address)
        with pytest.raises(TooMuch) as caught:
            world.limits.message(address)
        assert (caught.value.reason, caught.value.retry_seconds) == ("client_message_rate", 1)
    world.time += 1
    world.limits.message("192.0.2.1")


def test_a_retry_after_is_kept() -> None:
    world = World(bytes_per_second=10, burst_seconds=1)
    world.limits.received("a", 10)
    with pytest.raises(TooMuch) as caught:
        world.limits.received("a", 10)
    assert caught.value.reason == "client_byte_rate"
    world.time += caught.value.retry_seconds
    world.limits.received("a", 10)


def test_rooms_do_not_share_what_they_take() -> None:
    settings = {"messages_per_second": 1.0, "bytes_per_second": 10.0, "burst_seconds": 2.0}
    world = World()
    rates = RoomRates(RoomsSettings.model_validate(settings), lambda: world.time)
    for room in ("a", "b"):
        rates.message(room)
        rates.message(room)
        rates.received(room, 20)
        for take, reason in (
            (lambda room=room: rates.message(room), "room_message_rate"),
            (lambda room=room: rates.received(room, 10), "room_byte_rate"),
        ):
            with pytest.raises(TooMuch) as caught:
                take()
            assert (caught.value.reason, caught.value.retry_seconds) == (reason, 1)
    world.time += 1
    rates.message("a")
    rates.received("a", 10)
    # The same bounds change nothing, others begin with full buckets.
    rates.reload(RoomsSettings.model_validate(settings))
    with pytest.raises(TooMuch):
        rates.message("a")
    rates.reload(RoomsSettings.model_validate({**settings, "messages_per_second": 2.0}))
    rates.message("a")


def test_what_is_remembered_of_rooms_is_bounded_and_the_longest_quiet_go_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.limits.KNOWN_ROOMS", 2)
    world = World()
    settings = RoomsSettings.model_validate({"messages_per_second": 1.0, "burst_seconds": 1.0})
    rates = RoomRates(settings, lambda: world.time)
    rates.message("a")
    rates.message("b")
    with pytest.raises(TooMuch):
        rates.message("a")
    rates.message("c")
    with pytest.raises(TooMuch):
        rates.message("a")
    rates.message("b")


def test_a_room_counts_once_for_whoever_names_it() -> None:
    world = World(rooms_per_second=1, burst_seconds=2)
    for room in ("a", "b", "a", "b"):
        world.limits.room("one", room)
    with pytest.raises(TooMuch) as caught:
        world.limits.room("one", "c")
    assert caught.value.reason == "client_room_rate"
    world.limits.room("one", "a")
    world.limits.room("two", "c")
    world.limits.room("one", "c")


def test_subscriptions_count_while_they_are_open() -> None:
    world = World(max_subscriptions=2)
    with world.limits.subscription("a"), world.limits.subscription("b"):
        with world.limits.subscription("a"), pytest.raises(TooMuch) as caught, world.limits.subscription("a"):
            pass
        assert caught.value.reason == "client_subscriptions"
        with world.limits.subscription("a"):
            pass
    assert not world.limits._subscriptions


def test_what_is_remembered_of_clients_is_bounded_and_the_longest_quiet_go_first() -> None:
    world = World(messages_per_second=1, burst_seconds=1, max_tracked=3)
    for address in ("a", "b", "c", "a", "d"):
        world.time += 1
        world.limits.message(address)
    assert world.limits.tracked == 3
    with pytest.raises(TooMuch):
        world.limits.message("d")
    assert list(world.limits._clients) == ["c", "a", "d"]
    for number in range(10_000):
        world.limits.message(f"client {number}")
    assert world.limits.tracked == 3


def test_room_names_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.limits.KNOWN_ROOMS", 3)
    world = World(rooms_per_second=0)
    for number in range(100):
        world.limits.room("a", f"room {number}")
    assert list(world.limits._known_rooms) == ["room 97", "room 98", "room 99"]


def test_other_bounds_hold_from_the_next_request_on() -> None:
    world = World(messages_per_second=1, burst_seconds=1)
    for address in ("a", "b"):
        world.limits.message(address)
    world.limits.reload(ClientsSettings(messages_per_second=1, burst_seconds=1, max_tracked=1))
    assert world.limits.tracked == 1
    with pytest.raises(TooMuch):
        world.limits.message("b")


def test_what_is_owed_at_one_rate_is_not_owed_at_another() -> None:
    world = World(messages_per_second=1e-6, burst_seconds=1e6)
    world.limits.message("a")
    with pytest.raises(TooMuch):
        world.limits.message("a")
    with world.limits.subscription("a"):
        world.limits.reload(ClientsSettings(messages_per_second=1, burst_seconds=1, max_subscriptions=1))
        world.limits.message("a")
        with pytest.raises(TooMuch):
            world.limits.message("a")
        with pytest.raises(TooMuch), world.limits.subscription("a"):
            pass


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:0:1:aaaa::1", "2001:db8:0:1::/64"),
        ("2001:db8:0:1:bbbb::2", "2001:db8:0:1::/64"),
        ("2001:db8:0:2::1", "2001:db8:0:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("unix socket", "unix socket"),
    ],
)
def test_an_ipv6_client_is_its_network(address: str, key: str) -> None:
    assert client_key(address) == key


def test_the_address_of_a_connection_without_one() -> None:
    assert client_address({"client": ("192.0.2.7", 1234)}) == "192.0.2.7"
    assert client_address({"client": None}) == ""


def test_by_default_one_client_cannot_take_all_rooms() -> None:
    """What it may open while a room cannot be dropped for another is less than there may be."""
    clients, rooms = ClientsSettings(), RoomsSettings()
    opened = clients.rooms_per_second * (clients.burst_seconds + rooms.min_idle_seconds)
    assert opened < rooms.max_rooms


# The real process


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reloadable]:
    with Reloadable(tmp_path_factory.mktemp("gateway")) as running:
        yield running


_addresses = itertools.count(2)


@pytest.fixture
def address() -> str:
    """A client address of its own, so that no test has what another one did."""
    return f"127.0.1.{next(_addresses)}"


def post_from(gateway: GatewayProcess, address: str, room: str, body: str = "m") -> httpx2.Response:
    with httpx2.Client(transport=httpx2.HTTPTransport(local_address=address), timeout=PATIENCE) as http:
        return http.post(gateway.room(room, "broadcast"), content=body)


def check_refused(gateway: GatewayProcess, response: httpx2.Response, reason: str) -> None:
    assert (response.status_code, response.json()["error"]) == (429, reason)
    assert int(response.headers["retry-after"]) > 0
    assert gateway.metric(f'gateway_refusals_total{{reason="{reason}"}}') == 1


@pytest.mark.fault(15)
@pytest.mark.parametrize(
    ("settings", "reason", "bodies"),
    [
        ({"messages_per_second": ONE_IN_A_WEEK}, "client_message_rate", ["m", "m", "m"]),
        ({"bytes_per_second": 1000 * ONE_IN_A_WEEK}, "client_byte_rate", ["x" * 1000, "x" * 1000, "x"]),
    ],
    ids=["messages", "bytes"],
)
async def test_a_client_that_sends_too_much_is_refused_and_others_are_not(
    running: Reloadable, address: str, settings: dict[str, float], reason: str, bodies: list[str]
) -> None:
    gateway, room = running.gateway, new_room()
    running.use(clients=of(2, **settings))
    *allowed, refused = [post_from(gateway, address, room, body) for body in bodies]
    assert [response.status_code for response in allowed] == [200, 200]
    check_refused(gateway, refused, reason)
    assert post_from(gateway, f"{address}0", room, "other").status_code == 200
    running.use()
    async with subscribed(gateway, room) as reader:
        assert [event.data for event in await reader.messages(3)] == [*bodies[:2], "other"]


@pytest.mark.fault(15)
@pytest.mark.parametrize(
    ("settings", "reason", "bodies"),
    [
        ({"messages_per_second": ONE_IN_A_WEEK}, "room_message_rate", ["m", "m", "m"]),
        ({"bytes_per_second": 1000 * ONE_IN_A_WEEK}, "room_byte_rate", ["x" * 1000, "x" * 1000, "x"]),
    ],
    ids=["messages", "bytes"],
)
def test_a_room_that_gets_too_much_is_refused_whoever_posts_and_others_are_not(
    running: Reloadable, address: str, settings: dict[str, float], reason: str, bodies: list[str]
) -> None:
    gateway, room = running.gateway, new_room()
    running.use(rooms=of(2, **settings))
    posters = (address, f"{address}0", f"{address}1")
    *allowed, refused = [
        post_from(gateway, poster, room, body) for poster, body in zip(posters, bodies, strict=True)
    ]
    assert [response.status_code for response in allowed] == [200, 200]
    check_refused(gateway, refused, reason)
    assert post_from(gateway, posters[2], new_room()).status_code == 200
    running.use()
    assert post_from(gateway, posters[2], room).status_code == 200


@pytest.mark.fault(15)
def test_a_client_that_names_too_many_rooms_may_go_on_in_those_that_it_has(
    running: Reloadable, address: str
) -> None:
    gateway, (first, second, third) = running.gateway, [new_room() for _ in range(3)]
    before = gateway.metric("gateway_rooms")
    running.use(clients=of(2, rooms_per_second=ONE_IN_A_WEEK))
    for room in (first, second, first):
        assert post_from(gateway, address, room).status_code == 200
    check_refused(gateway, post_from(gateway, address, third), "client_room_rate")
    assert gateway.metric("gateway_rooms") == before + 2
    assert post_from(gateway, f"{address}0", third).status_code == 200


@pytest.mark.fault(15)
async def test_a_client_may_have_so_many_subscriptions_open(running: Reloadable, address: str) -> None:
    gateway = running.gateway
    running.use(clients={"max_subscriptions": 1})
    async with subscribed(gateway, new_room()):
        response = httpx2.get(gateway.room(new_room(), "subscribe"), timeout=PATIENCE)
        check_refused(gateway, response, "client_subscriptions")
        transport = httpx2.AsyncHTTPTransport(local_address=address)
        async with subscribed(gateway, new_room(), transport=transport):
            pass
    gateway.wait_for_metric("gateway_subscribers", 0)
    async with subscribed(gateway, new_room()):
        pass
