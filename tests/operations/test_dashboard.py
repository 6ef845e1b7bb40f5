"""Dashboard and alerts: well-formed, and every query finds what real daemons count, by a real Prometheus."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx2
import pytest
import yaml
from committee_processes import CommitteeProcesses, create_account, running_committee, sign_digest
from gateway_testing import PATIENCE, subscribed
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus_testing import Prometheus, expressions, read_dashboard, running_prometheus

from kit.pb import mpc_pb2, mpc_pb2_grpc
from kit.pb.wallet.v1 import wallet_pb2

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD = read_dashboard(DEPLOY / "grafana" / "wallet-mpc.json")
ALERTS = DEPLOY / "prometheus" / "alerts.yaml"
RULES = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
VARIABLES = {
    "$__rate_interval": "1m",
    "$gateway": ".*",
    "$node": ".*",
}


# Well-formed


def lost(written: Any, read: Any, where: str = "") -> Iterator[str]:
    """What of `written` is not in `read`."""
    if isinstance(written, dict) and isinstance(read, dict):
        for key, value in written.items():
            if key not in read:
                yield f"{where}.{key}"
            else:
                yield from lost(value, read[key], f"{where}.{key}")
    elif isinstance(written, list) and isinstance(read, list) and len(written) == len(read):
        for number, (value, other) in enumerate(zip(written, read, strict=True)):
            yield from lost(value, other, f"{where}[{number}]")
    elif written != read:
        yield f"{where}: {written!r} is read as {read!r}"


def as_grafana_reads(dashboard: dict[str, Any]) -> dict[str, Any]:
    """What is left of it in Grafana's own types, which are generated from its schema."""
    plugins.register_default_plugins()
    found: dict[str, Any] = json.loads(JSONEncoder().encode(Dashboard.from_json(dashboard)))
    return found


def test_grafanas_schema_knows_every_field_of_the_dashboard() -> None:
    assert list(lost(DASHBOARD, as_grafana_reads(DASHBOARD))) == []


def test_a_field_that_the_schema_does_not_know_would_be_noticed() -> None:
    spoilt = json.loads(json.dumps(DASHBOARD))
    spoilt["panels"][1]["targets"][0]["expression"] = "up"
    spoilt["panels"][2]["gridPosition"] = {}
    assert list(lost(spoilt, as_grafana_reads(spoilt))) == [
        ".panels[1].targets[0].expression",
        ".panels[2].gridPosition",
    ]


def test_panels_lie_side_by_side_and_have_what_a_reader_needs() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells
        if panel["type"] != "row":
            assert panel["description"], panel["title"]
            assert panel["targets"], panel["title"]
            assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
            refs = [target["refId"] for target in panel["targets"]]
            assert len(refs) == len(set(refs)), panel["title"]
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


def promtool(*arguments: str) -> None:
    done = subprocess.run(
        ["promtool", *arguments], cwd=ALERTS.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_accepts_rules_and_scrape_configuration() -> None:
    promtool("check", "config", "prometheus.yaml")
    promtool("check", "rules", "--lint=all", "--lint-fatal", "alerts.yaml")


def test_every_alert_fires_when_it_should_and_not_before() -> None:
    promtool("test", "rules", "alerts.test.yaml")
    tests = yaml.safe_load((ALERTS.parent / "alerts.test.yaml").read_text())["tests"]
    silent, fired = set(), set()
    for case in tests:
        for check in case["alert_rule_test"]:
            (fired if check["exp_alerts"] else silent).add(check["alertname"])
    assert silent == fired == {rule["alert"] for rule in RULES}


def test_an_alert_says_what_happened_and_what_to_do() -> None:
    for rule in RULES:
        assert set(rule["annotations"]) == {"summary", "action"}, rule["alert"]
        assert rule["labels"]["severity"] in {"page", "ticket"}, rule["alert"]


# Against real daemons


@pytest.fixture(scope="module")
def committee(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommitteeProcesses]:
    settings = {"logging": {"level": "debug"}}
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
