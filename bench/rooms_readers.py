"""What loads a rooms server: posters and subscriptions on one epoll, with nothing between them and their sockets.

    python -m bench.rooms_readers PORT --subscriptions 1000 < commands

A process of its own, so that what it computes is not the server's. It opens the subscriptions, three a room, says so, and then
takes one command a line from standard input, answering each with a line of JSON:

    full SECONDS OUTSTANDING     post as soon as one of OUTSTANDING posts is answered
    rate SECONDS MESSAGES        so many messages a second, evenly
    replace COUNT 0              end so many subscriptions and open others in their rooms
    rooms COUNT FIRST            a message of one byte in each of so many rooms that nobody reads
    quit

A message carries the time at which it was due to be posted; it is received when its last byte but the line's end is here. A
delivery that is missing, or one too many, ends the process with an error.
"""

from __future__ import annotations

import argparse
import json
import resource
import select
import socket
import sys
import time
from array import array
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from bench.measure import percentile

ROOM_SIZE: Final = 3
POSTERS: Final = 64
MARK: Final = b"@%019d@"
MARK_BYTES: Final = 21
RECEIVE_BYTES: Final = 256 * 1024
QUIET_SECONDS: Final = 20.0
"""Longer than this no delivery takes."""


@dataclass(slots=True)
class Reader:
    """A subscription: `rest` is the end of what was received last, in which a mark may have begun."""

    sock: socket.socket
    room: int
    rest: bytes = b""


@dataclass(slots=True)
class Poster:
    """A connection that posts one message at a time."""

    sock: socket.socket
    answer: bytes = b""


@dataclass
class Load:
    """One command's figures."""

    latencies: array[int] = field(default_factory=lambda: array("q"))
    late: array[int] = field(default_factory=lambda: array("q"))
    posted: int = 0


class Generator:
    """All connections to one server on loopback."""

    def __init__(self, port: int, subscriptions: int, size: int) -> None:
        """Opens them; `size` is a message's bytes."""
        self._epoll = select.epoll()
        self._buffer = bytearray(RECEIVE_BYTES)
        self._address = ("127.0.0.1", port)
        self._rooms = [b"load-%d" % number for number in range(max(1, subscriptions // ROOM_SIZE))]
        self._readers: dict[int, Reader] = {}
        self._members = [0] * len(self._rooms)
        self._posted = [0] * len(self._rooms)
        for number in range(subscriptions):
            self._subscribe(number % len(self._rooms))
        self._posters = {poster.sock.fileno(): poster for poster in map(self._poster, range(POSTERS))}
        self._idle = deque(self._posters.values())
        self._body = b'{"sender":1,"receiver":null,"body":"' + b"x" * (size - 38 - MARK_BYTES) + b"%b" + b'"}'
        self._turn = 0
        self._load = Load()

    def _connect(self) -> socket.socket:
        sock = socket.create_connection(self._address)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def _subscribe(self, room: int) -> None:
        sock = self._connect()
        head = b"GET /rooms/%b/subscribe HTTP/1.1\r\nHost: g\r\n" % self._rooms[room]
        if posted := self._posted[room]:
            head += b"Last-Event-ID: %d\r\n" % (posted - 1)
        sock.sendall(head + b"\r\n")
        head = sock.recv(RECEIVE_BYTES)
        if b" 200 OK\r\n" not in head:
            raise RuntimeError(f"no subscription: {head[:200]!r}")
        sock.setblocking(False)
        self._members[room] += 1
        self._readers[sock.fileno()] = Reader(sock, room)
        self._epoll.register(sock, select.EPOLLIN)

    def _poster(self, _: int) -> Poster:
        sock = self._connect()
        self._epoll.register(sock, select.EPOLLIN)
        return Poster(sock)

    def _post(self, due: int) -> None:
        """`due`: nanoseconds of the clock that never goes back."""
        room = self._turn % len(self._rooms)
        self._turn += 1
        body = self._body % (MARK % due)
        head = b"POST /rooms/%b/broadcast HTTP/1.1\r\nHost: g\r\nContent-Length: %d\r\n\r\n"
        poster = self._idle.popleft()
        self._expected += self._members[room]
        self._posted[room] += 1
        self._load.posted += 1
        self._load.late.append(time.monotonic_ns() - due)
        poster.sock.sendall(head % (self._rooms[room], len(body)) + body)

    _expected = 0

    def _take(self, wait: float) -> None:
        """What has come, after at most `wait` seconds."""
        # An epoll alone waits in whole milliseconds.
        if wait > 0 and not select.select([self._epoll], [], [], wait)[0]:
            return
        for number, _ in self._epoll.poll(0, 256):
            reader = self._readers.get(number)
            if reader is None:
                self._answered(self._posters[number])
            else:
                self._received(reader)

    def _answered(self, poster: Poster) -> None:
        poster.answer += poster.sock.recv(RECEIVE_BYTES)
        if poster.answer.endswith(b"\r\n\r\n"):
            if b" 200 OK\r\n" not in poster.answer:
                raise RuntimeError(f"a post failed: {poster.answer[:200]!r}")
            poster.answer = b""
            self._idle.append(poster)

    def _received(self, reader: Reader) -> None:
        buffer = self._buffer
        rest = len(reader.rest)
        buffer[:rest] = reader.rest
        count = reader.sock.recv_into(memoryview(buffer)[rest:])
        now = time.monotonic_ns()
        if not count:
            raise RuntimeError("a subscription was ended")
        end = rest + count
        at = 0
        while (begin := buffer.find(b"@", at, end)) >= 0:
            at = begin + MARK_BYTES
            if at > end:
                break
            self._load.latencies.append(now - int(buffer[begin + 1 : at - 1]))
        reader.rest = bytes(buffer[begin:end]) if begin >= 0 else b""

    # -- commands ------------------------------------------------------------------------------------------------

    def full(self, seconds: float, outstanding: float) -> dict[str, float]:
        """As much as the server takes."""
        return self._run(seconds, lambda: int(outstanding) - (POSTERS - len(self._idle)), None)

    def rate(self, seconds: float, messages: float) -> dict[str, float]:
        """So many messages a second."""
        return self._run(seconds, lambda: len(self._idle), 1e9 / messages)

    def replace(self, count: float, _: float) -> dict[str, float]:
        """The longest open subscriptions are ended, and others opened."""
        for number in list(self._readers)[: int(count)]:
            reader = self._readers.pop(number)
            self._epoll.unregister(number)
            reader.sock.close()
            self._members[reader.room] -= 1
            self._subscribe(reader.room)
        return {"replaced": count}

    def rooms(self, count: float, first: float) -> dict[str, float]:
        """Rooms that nobody reads."""
        poster = next(iter(self._posters.values()))
        for number in range(int(first), int(first + count)):
            head = b"POST /rooms/idle-%d/broadcast HTTP/1.1\r\nHost: g\r\nContent-Length: 1\r\n\r\nx"
            poster.sock.sendall(head % number)
            self._idle.remove(poster)
            while poster not in self._idle:
                self._answered(poster)
        return {"rooms": count}

    def _run(self, seconds: float, room_for: Callable[[], int], period: float | None) -> dict[str, float]:
        self._load = load = Load()
        self._expected = 0
        cpu = time.process_time()
        begun = time.monotonic_ns()
        end, due = begun + int(1e9 * seconds), float(begun)
        while (now := time.monotonic_ns()) < end:
            wait = 0.0005
            for _ in range(room_for()):
                if period is None:
                    self._post(time.monotonic_ns())
                elif due <= now:
                    self._post(int(due))
                    due += period
                else:
                    wait = min(wait, max(0.0, (due - now) / 1e9))
                    break
            self._take(wait)
        delivered, spent, wall = len(load.latencies), time.process_time() - cpu, time.monotonic_ns() - begun
        quiet = time.monotonic() + QUIET_SECONDS
        while len(load.latencies) < self._expected or len(self._idle) < POSTERS:
            self._take(0.1)
            if time.monotonic() > quiet:
                raise RuntimeError(f"{self._expected - len(load.latencies)} deliveries are missing")
        if len(load.latencies) != self._expected:
            raise RuntimeError("there were more deliveries than there may be")
        return {
            "seconds": wall / 1e9,
            "posted": load.posted,
            "delivered": delivered,
            "p50_ms": percentile(load.latencies, 0.5) / 1e6,
            "p99_ms": percentile(load.latencies, 0.99) / 1e6,
            "late_p99_ms": percentile(load.late, 0.99) / 1e6,
            "cpu_seconds": spent,
        }


COMMANDS: Final[dict[str, Callable[..., dict[str, float]]]] = {
    "full": Generator.full,
    "rate": Generator.rate,
    "replace": Generator.replace,
    "rooms": Generator.rooms,
}


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("port", type=int)
    parser.add_argument("--subscriptions", type=int, required=True)
    parser.add_argument("--size", type=int, default=6000, help="bytes of a message")
    options = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    generator = Generator(options.port, options.subscriptions, options.size)
    print(json.dumps({"subscriptions": options.subscriptions}), flush=True)
    for line in sys.stdin:
        command, *numbers = line.split()
        if command == "quit":
            break
        print(json.dumps(COMMANDS[command](generator, *map(float, numbers))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
