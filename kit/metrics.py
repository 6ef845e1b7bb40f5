"""Metrics: one registry a process, handed to whoever counts, shown at /metrics."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, GCCollector, Info, PlatformCollector, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


def new_registry(service: str, version: str) -> CollectorRegistry:
    """A registry with what every daemon shows: process, garbage collector, platform, version."""
    registry = CollectorRegistry(auto_describe=True)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    Info("wallet_mpc_build", "What runs here.", registry=registry).info(
        {"service": service, "version": version}
    )
    return registry


def metrics_route(registry: CollectorRegistry) -> Route:
    """GET /metrics in Prometheus' text format."""

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), headers={"content-type": CONTENT_TYPE_LATEST})

    return Route("/metrics", metrics, methods=["GET"])
