"""/healthz says that the process runs, /readyz whether it can do its work now, /metrics what it did."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from kit.logs import get_logger
from kit.metrics import metrics_route

# Answers None if all is well, else what is wrong in a few words for an operator (shown to anyone who asks).
Check = Callable[[], Awaitable[str | None]]

_log = get_logger(__name__)


class Health:
    """The checks of one daemon. Without any it is ready."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}
        self._draining = False

    def add(self, name: str, check: Check) -> None:
        """Adds a check, or replaces the one of that name."""
        self._checks[name] = check

    def drain(self) -> None:
        """From now on not ready: the daemon is ending."""
        self._draining = True

    async def failures(self) -> dict[str, str]:
        """Name and reason of each check that fails; empty = ready."""
        failing = {"drain": "the daemon is ending"} if self._draining else {}
        for name, check in self._checks.items():
            try:
                reason = await check()
            except Exception:  # noqa: BLE001 - logged with its traceback
                # A check that breaks is a failed check; the daemon itself goes on.
                _log.exception("health check broke", check=name)
                reason = "the check itself failed; see the log"
            if reason is not None:
                failing[name] = reason
        return failing


def health_routes(health: Health, registry: CollectorRegistry | None) -> list[Route]:
    """GET /healthz, /readyz, and /metrics if there is a registry."""

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(_: Request) -> Response:
        failing = await health.failures()
        status = "not ready" if failing else "ready"
        return JSONResponse({"status": status, "failing": failing}, status_code=503 if failing else 200)

    routes = [Route("/healthz", healthz, methods=["GET"]), Route("/readyz", readyz, methods=["GET"])]
    return routes if registry is None else [*routes, metrics_route(registry)]


def health_app(health: Health, registry: CollectorRegistry) -> Starlette:
    """The three as an application of its own, for a daemon that serves nothing else by HTTP."""
    return Starlette(routes=health_routes(health, registry))
