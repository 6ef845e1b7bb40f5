"""Dashboard and alerts: well-formed, and every query finds what real daemons count, by a real Prometheus."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import yaml
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from programs import needed
from prometheus_testing import ALERTS, DASHBOARD, RULES

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
    needed("promtool")
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
