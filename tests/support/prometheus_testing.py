"""A real Prometheus that scrapes what a test names, on a port of its own."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx2
import yaml
from processes import start_process
from programs import needed

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "wallet-mpc.json").read_text(encoding="utf-8"))
ALERTS = DEPLOY / "prometheus" / "alerts.yaml"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]
]
PATIENCE = 60.0
SCRAPE_SECONDS = 0.25


class Prometheus:
    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx2.Client(base_url=url, timeout=PATIENCE)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an instant query; AssertionError with Prometheus' words if it is wrong."""
        answer = self._http.post("/api/v1/query", data={"query": expression}).json()
        assert answer["status"] == "success", (expression, answer)
        data = answer["data"]
        found: list[dict[str, Any]] = data["result"] if data["resultType"] == "vector" else [data["result"]]
        return found

    def wait_for(self, expression: str) -> list[dict[str, Any]]:
        """The same, as soon as there are some; each turn is a round trip."""
        deadline = time.monotonic() + PATIENCE
        while not (found := self.query(expression)):
            if time.monotonic() > deadline:
                raise AssertionError(f"nothing comes of {expression}")
            time.sleep(SCRAPE_SECONDS)
        return found

    def rules(self) -> list[dict[str, Any]]:
        """All alert rules as Prometheus has loaded and evaluated them."""
        groups = self._http.get("/api/v1/rules").json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def close(self) -> None:
        self._http.close()


@contextlib.contextmanager
def running_prometheus(
    directory: Path, jobs: Mapping[str, Sequence[str]], rule_files: Sequence[Path] = ()
) -> Iterator[Prometheus]:
    """`jobs`: host:port of targets by job."""
    needed("prometheus")
    config = {
        "global": {"scrape_interval": f"{SCRAPE_SECONDS * 1000:.0f}ms", "evaluation_interval": "1s"},
        "rule_files": [str(path) for path in rule_files],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": list(targets)}]} for job, targets in jobs.items()
        ],
    }
    path = directory / "prometheus.yaml"
    path.write_text(yaml.safe_dump(config))
    argv = [
        "prometheus",
        f"--config.file={path}",
        f"--storage.tsdb.path={directory / 'tsdb'}",
        "--web.listen-address=127.0.0.1:0",
        "--log.format=json",
    ]
    with start_process(argv, r'"Server is ready to receive web requests') as process:
        line = process.wait_for(r'"address":"(127\.0\.0\.1:[1-9]\d*)"')
        server = Prometheus(f"http://{line[1]}")
        try:
            yield server
        finally:
            server.close()


def expressions(dashboard: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(panel, expression) of every query of a Grafana dashboard."""
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
