"""The one place that imports the HTTP library, for servers that are asked now and then, and its failures as ours."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager

import httpx2

from participant.answer import SLOWEST, Answer, ConnectionFailed


class Http:
    """A client of one server. Connections are shared among requests; redirects and proxies are not followed."""

    def __init__(
        self,
        base_url: str,
        tls: ssl.SSLContext | None,
        *,
        connect_timeout: float,
        answer_timeout: float,
        silence_timeout: float,
    ) -> None:
        """Seconds: to connect; to connect, send and see the head of an answer, a body's time added; without a byte.

        The second is what bounds a request that the library holds back, waiting for a connection that died.
        """
        self._answer_timeout = answer_timeout
        self._client = httpx2.AsyncClient(
            base_url=base_url,
            verify=tls if tls is not None else True,
            timeout=httpx2.Timeout(silence_timeout, connect=connect_timeout, pool=None),
            # A standing stream a room: the library's own limit of 100 would let the 101st wait for ever.
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=20),
            follow_redirects=False,
            trust_env=False,
        )

    @asynccontextmanager
    async def request(
        self, method: str, path: str, *, headers: Mapping[str, str], body: bytes | None = None
    ) -> AsyncIterator[Answer]:
        """One exchange. Raises ConnectionFailed."""
        try:
            # The body is taken as it comes, so nothing may be compressed.
            sent = {**headers, "Accept-Encoding": "identity"}
            seconds = self._answer_timeout + len(body or b"") / SLOWEST
            async with AsyncExitStack() as stack:
                try:
                    async with asyncio.timeout(seconds):
                        response = await stack.enter_async_context(
                            self._client.stream(method, path, headers=sent, content=body)
                        )
                except TimeoutError:
                    raise ConnectionFailed(f"no answer in {seconds:.0f} s") from None
                chunks = await stack.enter_async_context(aclosing(_translated(response.aiter_raw())))
                yield Answer(response.status_code, response.headers, chunks)
        except httpx2.TransportError as error:
            raise _failure(error) from error

    async def close(self) -> None:
        """Drop all connections."""
        await self._client.aclose()


async def _translated(raw: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    try:
        async with aclosing(raw) as chunks:
            async for chunk in chunks:
                yield chunk
    except httpx2.TransportError as error:
        raise _failure(error) from error


def _failure(error: httpx2.TransportError) -> ConnectionFailed:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConnectionRefusedError):
            return ConnectionFailed("Connection refused", refused=True)
        # A group holds one failure for each address that a name stands for.
        if isinstance(cause, BaseExceptionGroup) and cause.subgroup(ConnectionRefusedError) is not None:
            return ConnectionFailed("Connection refused", refused=True)
        cause = cause.__cause__ or cause.__context__
    return ConnectionFailed(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
