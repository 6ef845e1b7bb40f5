"""Yardsticks for the gateway: rooms without bounds, store, resumption, metrics or errors.

    python -m bench.bare_rooms events     # starlette and sse-starlette, as its documentation shows
    python -m bench.bare_rooms bytes      # the same, each event encoded once for all its readers
    python -m bench.bare_rooms stream     # starlette's own streams, each event encoded once

Each prints its port and serves until it is killed.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import uvicorn
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from kit.net import listen, port_of


def event(number: int, body: bytes) -> ServerSentEvent:
    """As an application of the library has it."""
    return ServerSentEvent(body.decode(), event="new-message", id=str(number))


def encoded(number: int, body: bytes) -> bytes:
    """The bytes of an event."""
    return b"event: new-message\nid: %d\ndata: %b\n\n" % (number, body)


KINDS: dict[str, tuple[Callable[[int, bytes], Any], Callable[..., Response]]] = {
    "events": (event, EventSourceResponse),
    "bytes": (encoded, EventSourceResponse),
    "stream": (encoded, partial(StreamingResponse, media_type="text/event-stream")),
}


def app(kind: str) -> Starlette:
    """The server of a kind."""
    make, response = KINDS[kind]
    rooms: defaultdict[str, list[asyncio.Queue[Any]]] = defaultdict(list)
    posted: defaultdict[str, int] = defaultdict(int)

    async def subscribe(request: Request) -> Response:
        readers = rooms[request.path_params["room"]]
        queue: asyncio.Queue[Any] = asyncio.Queue()

        async def follow() -> AsyncIterator[Any]:
            try:
                while True:
                    yield await queue.get()
            finally:
                readers.remove(queue)

        readers.append(queue)
        return response(follow())

    async def broadcast(request: Request) -> Response:
        room = request.path_params["room"]
        made = make(posted[room], await request.body())
        posted[room] += 1
        for queue in rooms[room]:
            queue.put_nowait(made)
        return Response()

    return Starlette(
        routes=[
            Route("/rooms/{room}/subscribe", subscribe),
            Route("/rooms/{room}/broadcast", broadcast, methods=["POST"]),
        ]
    )


def main() -> None:
    """Serves for ever."""
    # It logs every chunk.
    logging.getLogger("sse_starlette").setLevel(logging.WARNING)
    sock = listen("127.0.0.1", 0, "port")
    print(f"Listening on http://127.0.0.1:{port_of(sock)}", flush=True)
    config = uvicorn.Config(
        app(sys.argv[1]),
        http="httptools",
        loop="uvloop",
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="warning",
    )
    uvicorn.Server(config).run(sockets=[sock])


if __name__ == "__main__":
    main()
