"""Pages of other origins: starlette's CORS with origins that may change while the gateway runs.

CORS keeps answers from a page, not its requests from the gateway: a plain POST is sent without asking. So requests in the
name of other origins are not for the application at all.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.client import header


class Cors:
    """ASGI middleware: what pages of other origins may do."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        """`origins`: "*" = all; none = no page of another origin."""
        self._app = app
        self.reload(origins)

    def reload(self, origins: Sequence[str]) -> None:
        """Goes by these from the next request on."""
        self._origins = frozenset(origins)
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

    def admits(self, scope: Scope) -> bool:
        """Whether the request is of no page, or of one that may use the gateway: an allowed one, or one of this host.

        A browser's question beforehand (OPTIONS) is always answered.
        """
        sent = header(scope, b"origin")
        if sent is None or scope["method"] == "OPTIONS":
            return True
        origin, host = sent.decode("latin-1"), (header(scope, b"host") or b"").decode("latin-1")
        of_this_host = host != "" and origin.partition("://")[2] == host
        return of_this_host or not self._origins.isdisjoint(("*", origin))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        await self._checked(scope, receive, send)
