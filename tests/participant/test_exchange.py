"""Exchanges over kept connections: what is kept, what is not, and how answers end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from participant.answer import ConnectionFailed
from participant.exchange import MAX_HEAD, MAX_UNREAD, Exchange

Answering = Callable[[asyncio.StreamReader, asyncio.StreamWriter, int], Awaitable[None]]


class Server:
    """Reads requests off connections and lets `answer` answer them; (connection, head, body) of each is kept."""

    def __init__(self, answer: Answering) -> None:
        self.answer = answer
        self.connections = 0
        self.requests: list[tuple[int, bytes, bytes]] = []
        self.open: list[tuple[asyncio.StreamWriter, asyncio.Task[None] | None]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = self.connections
        self.connections += 1
        self.open.append((writer, asyncio.current_task()))
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                lengths = [line for line in head.split(b"\r\n") if line.startswith(b"Content-Length: ")]
                size = int(lengths[0].split(b" ")[1]) if lengths else 0
                self.requests.append((number, head, await reader.readexactly(size)))
                await self.answer(reader, writer, len(self.requests))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(
    answer: Answering, *, path: str = "", silence: float = 5.0, patience: float = 5.0
) -> AsyncIterator[tuple[Exchange, Server]]:
    server = Server(answer)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    exchange = Exchange(
        f"http://127.0.0.1:{port}{path}",
        None,
        connect_timeout=5.0,
        answer_timeout=patience,
        silence_timeout=silence,
    )
    try:
        yield exchange, server
    finally:
        await exchange.close()
        listening.close()
        for writer, task in server.open:
            writer.close()
            if task is not None:
                await task


def saying(*texts: bytes, close: bool = False) -> Answering:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(texts[min(number, len(texts)) - 1])
        await writer.drain()
        if close:
            writer.close()

    return answer


async def ask(exchange: Exchange, body: bytes | None = None) -> tuple[int, bytes]:
    method = "GET" if body is None else "POST"
    async with exchange.request(method, "/there", headers={"X-Name": "value"}, body=body) as answer:
        return answer.status, b"".join([chunk async for chunk in answer.chunks])


EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


async def test_one_connection_serves_one_exchange_after_the_other() -> None:
    async with serving(saying(EMPTY), path="/below/") as (exchange, server):
        for number in range(3):
            assert await ask(exchange, b"body %d" % number) == (200, b"")
        assert server.connections == 1
        _, head, body = server.requests[2]
        assert body == b"body 2"
        assert head.startswith(b"POST /below/there HTTP/1.1\r\nHost: 127.0.0.1:")
        assert b"\r\nX-Name: value\r\n" in head
        assert b"\r\nAccept-Encoding: identity\r\n" in head


async def test_exchanges_at_a_time_have_connections_of_their_own() -> None:
    async with (
        serving(saying(EMPTY)) as (exchange, server),
        exchange.request("GET", "/a", headers={}),
        exchange.request("GET", "/b", headers={}),
    ):
        assert server.connections == 2


@pytest.mark.parametrize(
    ("text", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", b"abc"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", b"abc"),
        (b"HTTP/1.1 200 OK\r\n\r\nabc", b"abc"),
        (b"HTTP/1.1 103 Early\r\nX: y\r\n\r\n" + EMPTY, b""),
    ],
)
async def test_every_way_in_which_an_answer_may_end(text: bytes, body: bytes) -> None:
    until_closed = b": " not in text
    async with serving(saying(text, close=until_closed)) as (exchange, _):
        assert await ask(exchange) == (200, body)


@pytest.mark.parametrize("head", [b"Content-Length: 9\r\n", b"Transfer-Encoding: chunked\r\n"])
async def test_an_answer_that_breaks_off_is_no_answer(head: bytes) -> None:
    async with serving(saying(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n1\r\na", close=True)) as (exchange, _):
        with pytest.raises(ConnectionFailed, match="closed"):
            await ask(exchange)


async def test_what_the_server_wants_closed_is_not_used_again() -> None:
    text = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    async with serving(saying(text)) as (exchange, server):
        await ask(exchange)
        await ask(exchange)
        assert server.connections == 2


async def test_a_body_that_was_not_read_costs_its_connection() -> None:
    async with serving(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", EMPTY)) as (
        exchange,
        server,
    ):
        async with exchange.request("GET", "/", headers={}) as answer:
            assert answer.status == 200
        assert await ask(exchange) == (200, b"")
        assert server.connections == 2


async def test_a_kept_connection_that_the_server_closes_unread_is_replaced_in_silence() -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        if number == 2:
            writer.close()
        else:
            writer.write(EMPTY)

    async with serving(answer) as (exchange, server):
        assert await ask(exchange, b"first") == (200, b"")
        assert await ask(exchange, b"second") == (200, b"")
        assert [(number, body) for number, _, body in server.requests] == [
            (0, b"first"),
            (0, b"second"),
            (1, b"second"),
        ]


async def test_a_fresh_connection_that_is_closed_is_a_failure() -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter, __: int) -> None:
        writer.close()

    async with serving(answer) as (exchange, server):
        with pytest.raises(ConnectionFailed, match="closed"):
            await ask(exchange)
        assert server.connections == 1


async def test_an_answer_that_nobody_asked_for_is_not_taken_for_the_next_one() -> None:
    forged = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
    async with serving(saying(EMPTY + forged, EMPTY)) as (exchange, _):
        assert await ask(exchange) == (200, b"")
        assert await ask(exchange) == (200, b"")


@pytest.mark.parametrize(
    "text", [b"SSH-2.0-OpenSSH_9\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"x" * (MAX_HEAD + 1) + b"\r\n\r\n"]
)
async def test_what_is_no_http_and_heads_without_end_are_failures(text: bytes) -> None:
    async with serving(saying(text)) as (exchange, _):
        with pytest.raises(ConnectionFailed, match="no HTTP"):
            await ask(exchange)


async def test_a_reader_that_does_not_read_holds_the_server_back() -> None:
    size = 64 * MAX_UNREAD
    written = 0

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter, __: int) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(64):
            writer.write(bytes(MAX_UNREAD))
            await writer.drain()
            written += MAX_UNREAD

    async with serving(answer) as (exchange, _), exchange.request("GET", "/", headers={}) as answer_:
        before = -1
        while before != written:
            before = written
            await asyncio.sleep(0.1)
        assert written < size
        assert sum([len(chunk) async for chunk in answer_.chunks]) == size


async def test_silence_in_a_body_ends_it() -> None:
    text = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na"
    async with serving(saying(text), silence=0.05) as (exchange, _):
        with pytest.raises(ConnectionFailed, match="nothing came"):
            await ask(exchange)


async def test_no_answer_at_all_ends_it() -> None:
    async with serving(saying(b""), patience=0.05) as (exchange, server):
        with pytest.raises(ConnectionFailed, match="no answer"):
            await ask(exchange)
        assert server.connections == 1


@pytest.mark.parametrize("path", ["/a b\r\nX: y", "/\x7f"])
async def test_nothing_slips_into_a_request(path: str) -> None:
    async with serving(saying(EMPTY)) as (exchange, server):
        with pytest.raises(ValueError, match="would end it"):
            async with exchange.request("GET", path, headers={}):
                pass
        assert server.connections == 0


async def test_a_url_without_a_server_is_refused() -> None:
    with pytest.raises(ValueError, match="names no server"):
        Exchange("http:///rooms", None, connect_timeout=1, answer_timeout=1, silence_timeout=1)
