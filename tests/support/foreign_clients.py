"""The rooms clients of wallet-mpc and of ZenGo's gg20 examples: the bytes that they send, and what they make of those they get.

Both are the same libraries (an HTTP client that looks at no status code, and a decoder of events with limits of its own); they
differ in where a party's index comes from. A client that cannot go on raises Failed: theirs ends its protocol then.
"""

from __future__ import annotations

import json
import socket
from collections import deque
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

PATIENCE = 60.0
U16 = 1 << 16


class Failed(Exception):
    """What ends their stream of messages."""


class EventDecoder:
    """Lines end with LF (or CR); the line's text is what their decoder looks at, field by field.

    Not as browsers do it: `retry` followed by digits alone, without a space, ends their process; comments and every
    other field that they do not know are passed over; an event without data is none.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[str] = []

    def feed(self, data: bytes) -> list[str]:
        """The data of the events that are complete."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        found = []
        for line in lines:
            try:
                text = line.removesuffix(b"\r").decode()
            except UnicodeDecodeError:
                raise Failed("the stream is not UTF-8") from None
            if not text:
                if self._data:
                    found.append("\n".join(self._data))
                self._data = []
                continue
            field, colon, value = text.partition(":")
            if field == "retry" and colon and value.isascii() and (value.isdigit() or not value):
                raise Failed("their decoder has no code for a retry that is a number")
            if field == "data" and colon:
                self._data.append(value.removeprefix(" "))
        return found


class Answer:
    """The head of an answer, and its body as it comes."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._received = b""
        head = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        self.status = int(head[0].split(" ")[1])
        self.headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head[1:] if line)
        }

    def _until(self, end: bytes) -> bytes:
        while end not in self._received:
            data = self._sock.recv(1 << 16)
            if not data:
                raise Failed("the connection was closed")
            self._received += data
        found, _, self._received = self._received.partition(end)
        return found

    def chunk(self) -> bytes:
        """The next chunk of a chunked body; empty = its end."""
        size = int(self._until(b"\r\n"), 16)
        while len(self._received) < size + 2:
            data = self._sock.recv(1 << 20)
            if not data:
                raise Failed("the connection was closed")
            self._received += data
        found, self._received = self._received[:size], self._received[size + 2 :]
        return found

    def body(self) -> bytes:
        """A body of announced length."""
        size = int(self.headers["content-length"])
        while len(self._received) < size:
            self._received += self._sock.recv(1 << 16)
        return self._received[:size]


@dataclass(frozen=True)
class Message:
    sender: int
    receiver: int | None
    body: Any

    @classmethod
    def parse(cls, text: str) -> Message:
        """As their serde reads it: these members, 16-bit indices."""
        try:
            found = json.loads(text)
            sender, receiver, body = found["sender"], found.get("receiver"), found["body"]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Failed(f"this is no message: {text[:80]}") from None
        for index in (sender, receiver):
            if index is not None and not (type(index) is int and 0 <= index < U16):
                raise Failed(f"this is no index: {index!r}")
        if sender is None:
            raise Failed("a message without sender")
        return cls(sender, receiver, body)

    def text(self) -> str:
        """As their serde writes it."""
        members = {"sender": self.sender, "receiver": self.receiver, "body": self.body}
        return json.dumps(members, separators=(",", ":"), ensure_ascii=False)


class RoomClient:
    """What both have in common: three calls, none of which looks at the answer's status."""

    def __init__(self, url: str, room: str) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname, parts.port)
        self._host = parts.netloc
        self._room = room
        self._socks: list[socket.socket] = []
        self._decoder = EventDecoder()
        self._found: deque[str] = deque()
        self.index = -1

    def _request(self, method: str, call: str, body: str | None = None) -> Answer:
        sock = socket.create_connection(self._address, PATIENCE)
        self._socks.append(sock)
        head = [f"{method} /rooms/{self._room}/{call} HTTP/1.1", f"host: {self._host}", "accept: */*"]
        content = b""
        if body is not None:
            content = body.encode()
            head.append("content-type: text/plain;charset=utf-8")
        if method == "POST":
            head.append(f"content-length: {len(content)}")
        sock.sendall("\r\n".join([*head, "", ""]).encode() + content)
        return Answer(sock)

    def subscribe(self) -> None:
        """No Last-Event-ID, ever; a stream that ends is not opened again."""
        self._events = self._request("GET", "subscribe")

    def issue_index(self) -> int:
        """Of whatever comes, the number is taken, if it has 16 bits."""
        answer = self._request("POST", "issue_unique_idx")
        try:
            index = json.loads(answer.body())["unique_idx"]
        except (ValueError, KeyError):
            raise Failed("no index was issued") from None
        if not 0 <= index < U16:
            raise Failed(f"this is no index: {index}")
        return index

    def broadcast(self, body: str) -> None:
        """Answered is as good as done."""
        self._request("POST", "broadcast", body)

    def send(self, body: Any, receiver: int | None = None) -> None:
        self.broadcast(Message(self.index, receiver, body).text())

    def receive(self) -> Message:
        """The next message that is not its own, nor for another."""
        while True:
            while not self._found:
                chunk = self._events.chunk()
                if not chunk:
                    raise Failed("the stream ended")
                self._found += self._decoder.feed(chunk)
            message = Message.parse(self._found.popleft())
            if message.sender != self.index and message.receiver in (None, self.index):
                return message

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for sock in self._socks:
            sock.close()


class ZenGoClient(RoomClient):
    """Subscribes first and asks for its index second."""

    def join(self) -> Self:
        self.subscribe()
        self.index = self.issue_index()
        return self


class WalletMpcClient(RoomClient):
    """Knows its index from its key share."""

    def join(self, index: int) -> Self:
        self.index = index
        self.subscribe()
        return self
