"""A gateway that is against its users, on real sockets: it speaks the rooms' wire and does to each node what a test says.

    with HostileGateway(sides=3) as gateway:
        ...every node i has gateway.url(i) as its gateway...
        gateway.mischief = Duplicates(100)      # see the module `mischief`
        gateway.block(2)            # nothing to or from node 2
        gateway.forget()            # all rooms are gone, as after a restart
        gateway.inject(room, 1, body)

Each node has a port, so that it can be told other things than the rest: a view of each room with numbers of its own. What is
posted is kept for ever, with every byte that was read, for tests that search it.
"""

# Hooks are given all that any of them may need.
# ruff: noqa: ARG002

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Self

from participant.channel import read_body

PATIENCE: Final = 60.0
PING_SECONDS: Final = 10.0

Deliveries = Iterable[tuple[float, bytes]]
"""(seconds from now, body) for one reader."""


@dataclass(frozen=True)
class Post:
    """What a node said: which one, in which room. `number` counts all posts."""

    number: int
    room: str
    side: int
    body: bytes = field(repr=False)

    @property
    def envelopes(self) -> list[bytes]:
        """The envelopes in it; none for a body that is not ours."""
        return read_body(self.body.decode()) or []

    @property
    def envelope(self) -> bytes:
        """The first of them, which with a round's messages tells what all are; empty where there is none."""
        return next(iter(self.envelopes), b"")


class Mischief:
    """What the gateway does with what it is given. This one does as it should."""

    def loses(self, post: Post) -> str:
        """Of the request itself: "" = taken and answered, "before" = lost on its way, "after" = taken, its answer lost."""
        return ""

    def relay(self, post: Post, side: int) -> Deliveries:
        """What the reader at `side` gets for a post, and when."""
        return [(0.0, post.body)]

    def hangs_up(self, room: str, side: int) -> bool:
        """Whether the stream is cut now; asked after each event."""
        return False


@dataclass(eq=False)
class _View:
    """A room as one node sees it."""

    room: str
    side: int
    incarnation: str
    events: list[bytes] = field(default_factory=list)
    grown: asyncio.Event = field(default_factory=asyncio.Event)


class HostileGateway:
    """See the module. It runs in a thread of its own; its methods are for the test's."""

    def __init__(self, sides: int) -> None:
        self.sides = sides
        self.mischief = Mischief()
        self.posts: list[Post] = []
        self.read: list[bytes] = []
        """Every byte that came in, request by request."""
        self.shown: list[tuple[int, str, bytes]] = []
        """(side, room, body) of everything that was delivered."""
        self.ports: list[int] = []
        self._blocked: set[int] = set()
        self._views: dict[tuple[str, int], _View] = {}
        self._incarnations = itertools.count()
        self._connections: dict[asyncio.Task[None], int] = {}
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve_for_ever, daemon=True)
        self._up = threading.Event()

    def url(self, side: int) -> str:
        """Where the node of this index finds its gateway."""
        return f"http://127.0.0.1:{self.ports[side]}"

    # What a test does with it

    def block(self, side: int) -> None:
        """Cut a node off: its connections end, new ones are not answered."""
        self._do(lambda: self._block(side))

    def unblock(self, side: int) -> None:
        """Let it in again."""
        self._do(lambda: self._blocked.discard(side))

    def forget(self) -> None:
        """Lose all rooms, as a restart does, and hang up."""
        self._do(self._forget)

    def inject(self, room: str, side: int, *bodies: bytes) -> None:
        """Tell one reader something that nobody said."""

        def show() -> None:
            for body in bodies:
                self._show(self._view(room, side), body)

        self._do(show)

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until something holds that posts and deliveries tell."""
        with self._changed:
            assert self._changed.wait_for(holds, PATIENCE), what

    def until_more(self, count: int, seconds: float = 3.0) -> None:
        """Let so many posts come, or that time pass when nobody has so much to say."""
        enough = len(self.posts) + count
        with self._changed:
            self._changed.wait_for(lambda: len(self.posts) >= enough, seconds)

    def _do(self, action: Callable[[], None]) -> None:
        async def act() -> None:
            action()

        asyncio.run_coroutine_threadsafe(act(), self._loop).result(PATIENCE)

    # In its own thread

    def _block(self, side: int) -> None:
        self._blocked.add(side)
        self._hang_up(lambda other: other == side)

    def _hang_up(self, whom: Callable[[int], bool]) -> None:
        for task, side in self._connections.items():
            if whom(side):
                task.cancel()

    def _forget(self) -> None:
        self._views.clear()
        self._hang_up(lambda _: True)

    def _view(self, room: str, side: int) -> _View:
        view = self._views.get((room, side))
        if view is None:
            view = self._views[room, side] = _View(room, side, f"incarnation {next(self._incarnations)}")
        return view

    def _take(self, post: Post) -> None:
        self.posts.append(post)
        for side in range(self.sides):
            # The view that is there now: what is late for a room that was lost meanwhile is lost with it.
            view = self._view(post.room, side)
            for delay, body in self.mischief.relay(post, side):
                if delay:
                    self._loop.call_later(delay, self._show, view, body)
                else:
                    self._show(view, body)
        self._tell()

    def _show(self, view: _View, body: bytes) -> None:
        view.events.append(body)
        view.grown.set()
        self.shown.append((view.side, view.room, body))

    def _tell(self) -> None:
        with self._changed:
            self._changed.notify_all()

    async def _serve(self, side: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = side
        try:
            while side not in self._blocked and await self._answer(side, reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            del self._connections[task]
            writer.transport.abort()

    async def _answer(self, side: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether the connection goes on."""
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        method, path, _ = first.split(" ")
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)
        }
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.read.append(head + body)
        _, _, room, verb = path.split("/")
        if method == "POST" and verb == "broadcast":
            post = Post(len(self.posts), room, side, body)
            lost = self.mischief.loses(post)
            if lost != "before":
                self._take(post)
            if lost:
                return False
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return True
        assert (method, verb) == ("GET", "subscribe"), first
        await self._stream(self._view(room, side), headers.get("last-event-id"), writer)
        return False

    async def _stream(self, view: _View, last: str | None, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n"
            b"Room-Incarnation: %b\r\n\r\nretry: 5000\n\n" % view.incarnation.encode()
        )
        position = 0 if last is None or int(last) >= len(view.events) else int(last) + 1
        while True:
            while position < len(view.events):
                writer.write(b"event: new-message\nid: %d\ndata: %b\n\n" % (position, view.events[position]))
                await writer.drain()
                position += 1
                if self.mischief.hangs_up(view.room, view.side):
                    return
            view.grown.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PING_SECONDS):
                    await view.grown.wait()
            writer.write(b": ping\n\n")
            await writer.drain()

    async def _listen(self) -> None:
        for side in range(self.sides):

            def serve(
                reader: asyncio.StreamReader, writer: asyncio.StreamWriter, side: int = side
            ) -> asyncio.Task[None]:
                return self._loop.create_task(self._serve(side, reader, writer))

            server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 20)
            self._servers.append(server)
            self.ports.append(server.sockets[0].getsockname()[1])
        self._up.set()

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        self._hang_up(lambda _: True)
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _serve_for_ever(self) -> None:
        self._servers: list[asyncio.Server] = []
        self._loop.run_until_complete(self._listen())
        self._loop.run_forever()
        self._loop.run_until_complete(self._close())
        self._loop.close()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._up.wait(PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
