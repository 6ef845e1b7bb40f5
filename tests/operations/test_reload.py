"""SIGHUP: real daemons take new settings and certificates while they run, or say why they do not."""

from __future__ import annotations

import signal
import ssl
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx2
import pytest
from certificates import Authority, Pair
from committee_processes import make_committee
from gateway_testing import PATIENCE, new_room, subscribed
from grpc_health.v1 import health_pb2, health_pb2_grpc
from reloadable import Reloadable

from kit.pb.wallet.v1 import wallet_pb2
from participant.grpc_client import CallFailed

ORIGIN = "http://app.example"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reloadable]:
    with Reloadable(tmp_path_factory.mktemp("gateway"), logging={"level": "error"}) as running:
        yield running


async def test_limits_origins_and_log_level_change_and_streams_go_on(running: Reloadable) -> None:
    gateway = running.gateway
    room = new_room()
    async with subscribed(gateway, room) as reader:
        refused = gateway.post(room, "m", headers={"Origin": ORIGIN})
        assert refused.json()["error"] == "foreign_origin"
        assert gateway.post(room, "m").status_code == 200
        # The log begins at level error: nothing less is said before.
        assert not any(line["level"] == "info" for line in gateway.log())
        running.use(
            server={"cors_origins": [ORIGIN], "max_body_bytes": 10},
            clients={"messages_per_second": 1e-6, "burst_seconds": 2e6},
            rooms={"max_subscribers": 1},
            logging={"level": "info"},
        )
        assert gateway.metric('gateway_limit{what="subscribers"}') == 1
        full = httpx2.get(gateway.room(room, "subscribe"), timeout=PATIENCE)
        assert full.json()["error"] == "subscribers_full"
        assert gateway.post(room, "x" * 11).status_code == 413
        limited = gateway.post(room, "m", headers={"Origin": ORIGIN})
        assert (limited.status_code, limited.json()["error"]) == (429, "client_message_rate")
        assert limited.headers["access-control-allow-origin"] == ORIGIN
        assert gateway.metric("wallet_mpc_reload_failed") == 0
        running.write(clients={"messages_per_second": 0})
        assert '"changed": ["clients.messages_per_second"]' in running.hang_up()
        assert gateway.post(room, "again").status_code == 200
        assert [event.data for event in await reader.messages(2)] == ["m", "again"]


def test_networks_change(running: Reloadable) -> None:
    gateway = running.gateway
    running.use()
    assert gateway.post("room", "m").status_code == 200
    running.use(access={"networks": ["192.0.2.0/24"]})
    assert gateway.post("room", "m").json()["error"] == "address_not_allowed"


def test_settings_that_are_wrong_are_explained_and_the_old_ones_hold(running: Reloadable) -> None:
    gateway = running.gateway
    running.use(server={"max_body_bytes": 10})
    running.write(server={"max_body_bytes": 20, "hots": "x"})
    said = running.hang_up("THE NEW SETTINGS CANNOT BE USED")
    assert "unknown key server.hots; did you mean server.host?" in said
    assert gateway.metric("wallet_mpc_reload_failed") == 1
    assert gateway.post("room", "x" * 11).status_code == 413
    running.use(server={"max_body_bytes": 20})
    assert gateway.metric("wallet_mpc_reload_failed") == 0
    assert gateway.post("room", "x" * 11).status_code == 200


def test_what_a_restart_is_needed_for_is_named(running: Reloadable) -> None:
    running.use()
    running.write(server={"drain_seconds": 3, "port": 1}, rooms={"max_rooms": 7})
    said = running.hang_up("only a restart brings into force")
    for key in ("server.drain_seconds", "server.port", "rooms.max_rooms"):
        assert key in said
    assert running.gateway.post("room", "m").status_code == 200


def trusting(authority: Authority, client: str | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.ca))
    if client is not None:
        context.load_cert_chain(authority.ca.parent / f"{client}.pem", authority.ca.parent / f"{client}.key")
    return context


def healthy(target: str, authority: Authority, client: Pair | None = None) -> bool:
    """Whether gRPC's health answers `client` on a listener whose certificate comes from `authority`."""
    pair = (None, None) if client is None else (client.key.read_bytes(), client.certificate.read_bytes())
    credentials = grpc.ssl_channel_credentials(authority.ca.read_bytes(), *pair)
    with grpc.secure_channel(target, credentials) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE)
        except grpc.RpcError:
            return False
        return answer.status == health_pb2.HealthCheckResponse.SERVING


def test_certificates_and_authorities_of_clients_are_replaced_while_streams_stay_open(tmp_path: Path) -> None:
    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
    old.issue("server")
    former = old.issue("old-client", client=True)
    coming = new.issue("new-client", client=True)
    (tmp_path / "clients.pem").write_bytes(old.ca.read_bytes())
    settings = {"certificate": "server.pem", "key": "server.key", "client_ca": "clients.pem"}
    with Reloadable(tmp_path, tls=settings) as running:
        gateway = running.gateway
        with (
            httpx2.Client(verify=trusting(old, "old-client"), timeout=PATIENCE) as http,
            http.stream("GET", gateway.room("room", "subscribe")) as stream,
        ):
            chunks = stream.iter_raw()
            assert b"retry" in next(chunks)
            target = f"localhost:{gateway.grpc_port}"
            assert [healthy(target, old, who) for who in (former, former, coming, None)] == [
                True,
                True,
                False,
                False,
            ]
            new.issue("server")
            (tmp_path / "clients.pem").write_bytes(new.ca.read_bytes())
            running.hang_up()
            assert [healthy(target, new, who) for who in (coming, coming, former, None)] == [
                True,
                True,
                False,
                False,
            ]
            context = ssl.create_default_context(cafile=str(new.ca))
            context.load_cert_chain(tmp_path / "new-client.pem", tmp_path / "new-client.key")
            assert gateway.post("room", "m", verify=context).status_code == 200
            assert b"data: m\n" in next(chunks)
        for refused in (trusting(old, "old-client"), old_client_new_server(tmp_path, new)):
            with pytest.raises(httpx2.TransportError):
                gateway.post("room", "m", verify=refused)
        (tmp_path / "server.key").write_text("nothing")
        running.hang_up("THE NEW SETTINGS CANNOT BE USED")
        assert gateway.post("room", "m", verify=context).status_code == 200


def old_client_new_server(directory: Path, new: Authority) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(new.ca))
    context.load_cert_chain(directory / "old-client.pem", directory / "old-client.key")
    return context


def test_grpc_shows_its_new_certificate_and_tls_cannot_be_switched_off(tmp_path: Path) -> None:
    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
    old.issue("server")
    with Reloadable(tmp_path, tls={"certificate": "server.pem", "key": "server.key"}) as running:
        target = f"localhost:{running.gateway.grpc_port}"
        assert healthy(target, old)
        assert not healthy(target, new)
        new.issue("server")
        running.hang_up()
        assert healthy(target, new)
        assert not healthy(target, old)
        del running.tree["tls"]
        running.write()
        assert "with a restart only" in running.hang_up("THE NEW SETTINGS CANNOT BE USED")
        assert healthy(target, new)


async def test_a_nodes_callers_change_and_its_policy_waits(tmp_path: Path) -> None:
    committee = make_committee(tmp_path, n=2, t=2)
    try:
        node = committee.nodes[0].start()
        node.write_settings({"callers": {"rate": "1/hour"}, "policy": {"rules": []}})
        process, before = node.running, len(node.running.lines)
        process.send_signal(signal.SIGHUP)
        process.wait_for('"settings read again"', after=before)
        process.wait_for("only a restart brings into force.*policy.rules", after=before)
        async with node.client() as client:
            request = wallet_pb2.ListAccountsRequest()
            await client.call(client.wallet.ListAccounts, request)
            with pytest.raises(CallFailed, match="1 per 1 hour"):
                await client.call(client.wallet.ListAccounts, request)
        node.write_settings({"callers": {"token_file": "none.yaml"}})
        process.send_signal(signal.SIGHUP)
        process.wait_for("THE NEW SETTINGS CANNOT BE USED.*none.yaml", after=before)
    finally:
        committee.close()
