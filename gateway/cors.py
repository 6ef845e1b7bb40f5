"""Pages of other origins: starlette's CORS with origins that may change while the gateway runs."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send


class Cors:
    """ASGI middleware: what pages of other origins may do."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        """`origins`: "*" = all; none = no page of another origin."""
        self._app = app
        self.reload(origins)

    def reload(self, origins: Sequence[str]) -> None:
        """Goes by these from the next request on."""
        self._checked: ASGIApp = self._app
        if origins:
            self._checked = CORSMiddleware(
                self._app,
                allow_origins=origins,
                allow_methods=["GET", "POST"],
                allow_headers=["Authorization", "Content-Type", "Last-Event-ID", "Cache-Control"],
                expose_headers=["Room-Incarnation", "Retry-After", "WWW-Authenticate"],
                max_age=3600,
            )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        await self._checked(scope, receive, send)
