"""How envelopes travel between nodes: the seam behind which rooms, and later other transports, stand.

A channel carries bytes and promises nothing about them; the envelope inside says who sent it, and proves it.
"""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from participant.rooms import MAX_BODY, Event, HistoryLost, Incarnation, RoomsClient

log = logging.getLogger(__name__)

MAX_ENVELOPE: Final = (MAX_BODY - 256) // 4 * 3
"""Bytes of an envelope whose room message still fits the gateway's default limit."""

MAX_TOGETHER: Final = 64
"""Envelopes of one room message."""


@dataclass(frozen=True)
class Topic:
    """What a conversation is about; `name` is also the room's."""

    name: str


def committee_topic(committee_id: bytes) -> Topic:
    """Hellos, proposals, round 0 and stock signatures of a committee (32-byte id): a standing conversation."""
    return Topic(f"committee_{_exactly_32(committee_id).hex()[:32]}")


def session_topic(sid: bytes) -> Topic:
    """Everything else of one session (32-byte sid)."""
    return Topic(f"session_{_exactly_32(sid).hex()}")


def signing_topic(tx_id: int) -> Topic:
    """wallet-mpc's way of asking; `tx_id` is a signed 32-bit number and may collide."""
    return Topic(f"signing_{tx_id}")


@dataclass(frozen=True)
class Received:
    """An envelope that arrived. Whose it is, only its signature tells."""

    envelope: bytes


@dataclass(frozen=True)
class Restarted:
    """What was posted before may be lost to others: post again what is still needed."""


@dataclass(frozen=True)
class Lost:
    """Envelopes are gone that this side has not seen; peers may have to send theirs again."""


ChannelItem = Received | Restarted | Lost


class Conversation(Protocol):
    """One topic, joined."""

    async def post(self, *envelopes: bytes, sender: int, receiver: int | None = None) -> None:
        """Send `envelopes`, as one message, to all who joined, as often as it takes. The indices (from 0) are hints for foreign tools.

        Raises NodeError for what trying again will not change; a deadline is the caller's, by cancelling.
        """

    def events(self) -> AsyncGenerator[ChannelItem, None]:
        """Everything said in the topic from its start on, own envelopes too, perhaps repeated. Close it when done."""


class Channel(Protocol):
    """A way to reach the other parties."""

    @property
    def reachable(self) -> bool | None:
        """Whether the last exchange with whatever relays succeeded; None before the first."""

    def open(self, topic: Topic) -> AbstractAsyncContextManager[Conversation]:
        """Join a topic; leaving it frees everything that belongs to it."""


class RoomMessage(msgspec.Struct, forbid_unknown_fields=True):
    """The body that is posted, in the shape which foreign clients use."""

    sender: int
    receiver: int | None
    body: str


def write_body(envelopes: Sequence[bytes], sender: int, receiver: int | None) -> str:
    """The JSON to post; `body` is base64url without padding, of several envelopes with a dot between."""
    text = ".".join(base64.urlsafe_b64encode(envelope).rstrip(b"=").decode() for envelope in envelopes)
    return msgspec.json.encode(RoomMessage(sender, receiver, text)).decode()


def read_body(data: str) -> list[bytes] | None:
    """The envelopes; None for a body that is not ours."""
    try:
        # As bytes at once, and one at a time: bodies may have megabytes.
        text = msgspec.json.decode(data, type=RoomMessage).body.encode("ascii")
        if b"+" in text or b"/" in text or text.count(b".") >= MAX_TOGETHER:
            return None
        return [_unpadded(part) for part in text.split(b".")]
    except (msgspec.MsgspecError, UnicodeError, binascii.Error, ValueError, RecursionError):
        return None


def _unpadded(text: bytes) -> bytes:
    if len(text) % 4:
        text += b"=" * (-len(text) % 4)
    return base64.b64decode(text, altchars=b"-_", validate=True)


class RoomConversation:
    """A room of the gateway. `foreign` counts the bodies in it that were not ours."""

    def __init__(self, rooms: RoomsClient, topic: Topic) -> None:
        self._rooms = rooms
        self._topic = topic
        self.foreign = 0

    async def post(self, *envelopes: bytes, sender: int, receiver: int | None = None) -> None:
        """See Conversation. Raises RoomError; ValueError for none, more than MAX_TOGETHER, or above MAX_ENVELOPE bytes."""
        size = sum(map(len, envelopes))
        if not 1 <= len(envelopes) <= MAX_TOGETHER or size > MAX_ENVELOPE:
            raise ValueError(
                f"{len(envelopes)} envelopes of {size} bytes, at most {MAX_TOGETHER} of {MAX_ENVELOPE} fit a room's message"
            )
        await self._rooms.post(self._topic.name, write_body(envelopes, sender, receiver))

    async def events(self) -> AsyncGenerator[ChannelItem, None]:
        """See Conversation. Raises RoomError."""
        async with aclosing(self._rooms.subscribe(self._topic.name)) as items:
            async for item in items:
                match item:
                    case Event(number, data):
                        envelopes = read_body(data)
                        if envelopes is None:
                            self._ignore(number)
                        for envelope in envelopes or ():
                            yield Received(envelope)
                    case Incarnation():
                        yield Restarted()
                    case HistoryLost():
                        yield Lost()

    def _ignore(self, number: int) -> None:
        self.foreign += 1
        if self.foreign == 1:
            log.warning(
                "room %s: message %d is not of this protocol and is ignored, as others like it will be",
                self._topic.name,
                number,
            )


class RoomChannel:
    """Rooms of one gateway as a `Channel`."""

    def __init__(self, rooms: RoomsClient) -> None:
        self._rooms = rooms

    @property
    def reachable(self) -> bool | None:
        """See Channel."""
        return self._rooms.reachable

    @asynccontextmanager
    async def open(self, topic: Topic) -> AsyncIterator[RoomConversation]:
        """See Channel."""
        yield RoomConversation(self._rooms, topic)


def _exactly_32(value: bytes) -> bytes:
    if len(value) != 32:
        raise ValueError(f"an id of {len(value)} bytes, 32 are due")
    return value
