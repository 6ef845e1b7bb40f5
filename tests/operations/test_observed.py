"""A committee at work, seen from outside: dashboard and alerts by a real Prometheus, logs, and traces by a collector."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator

import grpc
import httpx2
import pytest
from collector import Collector, Seen, running_collector
from committee_processes import CommitteeProcesses, create_account, running_committee, sign_digest
from gateway_testing import PATIENCE, subscribed
from prometheus_testing import ALERTS, DASHBOARD, RULES, Prometheus, expressions, running_prometheus

from kit.pb import mpc_pb2, mpc_pb2_grpc
from kit.pb.wallet.v1 import wallet_pb2, wallet_pb2_grpc

CALLER = "b7ad6b7169203331"
KNOWN_ATTRIBUTES = {"room", "size", "proposal", "session", "parties", "outcome"}
VARIABLES = {
    "$__rate_interval": "1m",
    "$gateway": ".*",
    "$node": ".*",
}


@pytest.fixture(scope="module")
def collected() -> Iterator[tuple[Collector, str]]:
    with running_collector() as found:
        yield found


@pytest.fixture
def collector(collected: tuple[Collector, str]) -> Collector:
    return collected[0]


@pytest.fixture(scope="module")
def committee(
    tmp_path_factory: pytest.TempPathFactory, collected: tuple[Collector, str]
) -> Iterator[CommitteeProcesses]:
    settings = {"logging": {"level": "debug"}, "tracing": {"endpoint": collected[1]}}
    directory = tmp_path_factory.mktemp("committee")
    with running_committee(directory, n=2, t=2, settings=settings, gateway_settings=settings) as committee:
        yield committee


@pytest.fixture(scope="module")
def prometheus(
    committee: CommitteeProcesses, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    jobs = {
        "sign-gateway": [f"127.0.0.1:{committee.gateway.port}"],
        "sign-service": [node.url.removeprefix("http://") for node in committee.nodes],
    }
    with running_prometheus(tmp_path_factory.mktemp("prometheus"), jobs, [ALERTS]) as server:
        # A rate needs a value from before the traffic.
        server.wait_for('count(up{job="sign-gateway"} == 1) == 1 and count(up{job="sign-service"} == 1) == 2')
        yield server


async def once_each(committee: CommitteeProcesses) -> None:
    """A signature, a room with a reader, a refusal and a call through the gateway's gRPC proxy."""
    gateway = committee.gateway
    async with committee.nodes[0].client() as node:
        await sign_digest(node, "main", os.urandom(32))
    async with subscribed(gateway, "room") as reader:
        gateway.post("room", "m" * 1000)
        await reader.message()
    assert gateway.post("room", b"\xff").status_code == 400
    async with grpc.aio.insecure_channel(gateway.grpc) as channel:
        with pytest.raises(grpc.aio.AioRpcError):
            await mpc_pb2_grpc.SignGatewayStub(channel).SignTx(mpc_pb2.SignMessage(), timeout=PATIENCE)


@pytest.fixture
async def traffic(committee: CommitteeProcesses, prometheus: Prometheus) -> Prometheus:
    """Twice, with a scrape in between: what counts for the first time is seen as no increase."""
    async with committee.nodes[0].client() as node:
        if not (await node.call(node.wallet.ListAccounts, wallet_pb2.ListAccountsRequest())).accounts:
            await create_account(node, "main")
    await once_each(committee)
    count = 'sum(sign_service_calls_total{method=~".*/Sign"})'
    prometheus.wait_for(count)
    await once_each(committee)
    prometheus.wait_for(f"increase({count.removeprefix('sum(')[:-1]}[1m]) > 0")
    return prometheus


def resolved(expression: str) -> str:
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    assert "$" not in expression
    return expression


async def test_every_query_of_the_dashboard_finds_something(traffic: Prometheus) -> None:
    queries = list(expressions(DASHBOARD))
    assert len(queries) > 30
    for panel, expression in queries:
        # A quantile of nothing is no number.
        found = traffic.wait_for(f"({resolved(expression)}) > -1")
        assert found, (panel, expression)


async def test_every_alert_is_evaluated_and_none_pages_when_all_is_well(traffic: Prometheus) -> None:
    rules = traffic.rules()
    assert {rule["name"] for rule in rules} == {rule["alert"] for rule in RULES}
    for rule in rules:
        assert not rule.get("lastError"), rule
        assert rule["state"] != "firing", rule


async def test_every_metric_that_alerts_and_dashboard_name_is_counted(
    committee: CommitteeProcesses, traffic: Prometheus
) -> None:
    urls = [committee.gateway.url, committee.nodes[0].url]
    text = "\n".join(httpx2.get(f"{url}/metrics", timeout=PATIENCE).text for url in urls)
    counted = set(re.findall(r"^(?:# TYPE )?(\w+)", text, re.MULTILINE)) | {"up"}
    said = " ".join([*(rule["expr"] for rule in RULES), *(expr for _, expr in expressions(DASHBOARD))])
    named = set(
        re.findall(r"\b((?:gateway|sign_service|wallet_mpc|process)_\w+|up)\b(?=[\s{\[)/><=]|$)", said)
    )
    assert len(named) > 20
    assert named <= counted
    methods = re.findall(r'method=~"([^"]+)"', said)
    assert methods
    called = re.findall(r'sign_service_calls_total\{code="\w+",method="([^"]+)"', text)
    assert all(any(re.fullmatch(pattern, method) for method in called) for pattern in methods)


async def test_logs_name_rooms_and_sessions_and_hold_no_bodies(
    committee: CommitteeProcesses, traffic: Prometheus
) -> None:
    gateway = committee.gateway
    body = b"words of a message \xff"
    assert gateway.post("named-room", body).status_code == 400
    gateway.process.wait_for('"room": "named-room"')
    refused = next(line for line in gateway.log() if line.get("room") == "named-room")
    assert (refused["reason"], refused["status"]) == ("not_utf8", 400)
    done = [line for line in committee.nodes[0].log() if line["event"].endswith(" is done")]
    assert done
    for line in done:
        assert len(line["session"]) == len(line["proposal"]) == 16
        assert line["session"] in line["event"]
        assert line["kind"]
    said = gateway.process.output + "".join(node.output for node in committee.nodes)
    assert "words of a message" not in said
    # What nodes post is base64url in JSON, and never short.
    assert not re.search(r"[A-Za-z0-9_-]{200,}", said)


def call_with_trace(target: str, trace: str, request: wallet_pb2.SignRequest) -> wallet_pb2.SignResponse:
    with grpc.insecure_channel(target) as channel:
        metadata = (("traceparent", f"00-{trace}-{CALLER}-01"),)
        answer: wallet_pb2.SignResponse = wallet_pb2_grpc.WalletStub(channel).Sign(
            request, metadata=metadata, timeout=PATIENCE * 2
        )
        return answer


def is_complete(spans: list[Seen], trace: str) -> bool:
    """Whether all of the trace's spans are there, and what a signature is made of is among them."""
    mine = [span for span in spans if span.trace == trace]
    ids = {span.id for span in mine} | {CALLER}
    names = {(span.service, span.name) for span in mine}
    return {("sign-service", "wallet.v1.Wallet/Sign"), ("sign-gateway", "room append")} <= names and all(
        span.parent in ids for span in mine
    )


# The last one: what is not sent yet goes with the daemons' ends.
async def test_a_signature_is_one_trace_through_node_rounds_and_gateway(
    committee: CommitteeProcesses, collector: Collector, traffic: Prometheus
) -> None:
    trace, digest = os.urandom(16).hex(), os.urandom(32)
    request = wallet_pb2.SignRequest(request_id=os.urandom(16), account_id="main", digest=digest)
    call_with_trace(committee.nodes[0].target, trace, request)
    assert call_fails(committee.nodes[0].target)
    assert committee.nodes[0].stop() == 0
    assert committee.gateway.process.terminate() == 0
    spans = collector.wait_for(lambda spans: is_complete(spans, trace))
    check_trace([span for span in spans if span.trace == trace])
    check_nothing_is_told(collector, digest, spans)


def call_fails(target: str) -> bool:
    """A call whose failure's text holds what the caller sent."""
    with grpc.insecure_channel(target) as channel:
        request = wallet_pb2.GetAccountRequest(account_id="hidden words of a caller")
        with pytest.raises(grpc.RpcError):
            wallet_pb2_grpc.WalletStub(channel).GetAccount(request, timeout=PATIENCE)
    return True


def check_trace(spans: list[Seen]) -> None:
    by_id = {span.id: span for span in spans}

    def line(span: Seen) -> list[str]:
        """Names from the caller's span down to this one."""
        above = line(by_id[span.parent]) if span.parent != CALLER else []
        return [*above, f"{span.service} {span.name}"]

    ways = {tuple(line(span)) for span in spans}
    kinds = {way[1] for way in ways if len(way) > 1}
    (session,) = [kind for kind in kinds if kind.startswith("sign-service session ")]
    posted = [way for way in ways if way[-1] == "sign-gateway room append"]
    assert posted
    rounds = {way[2] for way in ways if len(way) > 2 and way[1] == session}
    assert len(rounds & {name for name in rounds if "." in name}) >= 2, rounds
    # In every way to the gateway lies what the node posted, and why.
    for way in posted:
        assert way[0] == "sign-service wallet.v1.Wallet/Sign", way
        assert way[-2] == "sign-service post into room", way
    assert any(way[1] == session for way in posted)
    ended = next(span for span in spans if f"sign-service {span.name}" == session)
    assert "done" in ended.attributes["outcome"]
    assert ended.attributes["session"]


def check_nothing_is_told(collector: Collector, digest: bytes, spans: list[Seen]) -> None:
    assert {key for span in spans for key in span.attributes} <= KNOWN_ATTRIBUTES
    assert not any(span.events for span in spans)
    for secret in (digest, digest.hex().encode(), base64.b64encode(digest), b"hidden words"):
        assert secret not in collector.raw
    assert any(span.status for span in spans if span.name == "wallet.v1.Wallet/GetAccount")
