"""A relay in memory that behaves as the gateway does: whole history on joining, own messages too, and it can lose all."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager

from participant.channel import ChannelItem, Lost, Received, Restarted, Topic
from participant.errors import NodeError
from participant.node.tasks import Changes

WAIT = 60.0


class Refused(NodeError):
    """What a gateway says that does not let somebody in."""


class Conversation:
    """One subscriber of one topic."""

    def __init__(self, hub: Hub, topic: Topic) -> None:
        self.hub = hub
        self.topic = topic
        self.queue: asyncio.Queue[ChannelItem | NodeError] = asyncio.Queue()
        for envelope in hub.history[topic.name]:
            self.queue.put_nowait(Received(envelope))

    async def post(self, *envelopes: bytes, sender: int, receiver: int | None = None) -> None:
        self.hub.messages.append(envelopes)
        for envelope in envelopes:
            if self.hub.before_post is not None:
                await self.hub.before_post(self.topic, envelope)
            self.hub.posted.append((self.topic.name, envelope, sender, receiver))
            if not self.hub.loses(envelope):
                self.hub.say(self.topic.name, envelope)

    async def events(self) -> AsyncGenerator[ChannelItem, None]:
        while True:
            item = await self.queue.get()
            if isinstance(item, NodeError):
                raise item
            yield item


class Hub:
    """Also the `Channel` of everybody who uses it."""

    reachable: bool | None = True

    def __init__(self) -> None:
        self.history: dict[str, list[bytes]] = defaultdict(list)
        self.joined: list[Conversation] = []
        self.opened: list[str] = []
        self.posted: list[tuple[str, bytes, int, int | None]] = []
        self.messages: list[tuple[bytes, ...]] = []
        """The same envelopes, as they were posted together."""
        self.refusal: NodeError | None = None
        self.before_post: Callable[[Topic, bytes], object] | None = None
        """Awaited before a post is taken: a test holds it up, or lets it fail."""
        self.loses: Callable[[bytes], bool] = lambda _envelope: False
        """Whether a post is taken and goes nowhere."""
        self._changes = Changes()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds that this hub's state tells."""
        assert await self._changes.wait_for(holds, WAIT)

    @asynccontextmanager
    async def open(self, topic: Topic) -> AsyncIterator[Conversation]:
        self.opened.append(topic.name)
        self._changes.notify()
        if self.refusal is not None:
            raise self.refusal
        conversation = Conversation(self, topic)
        self.joined.append(conversation)
        self._changes.notify()
        try:
            yield conversation
        finally:
            self.joined.remove(conversation)
            self._changes.notify()

    def say(self, topic: str, envelope: bytes) -> None:
        """As if somebody had posted it."""
        self.history[topic].append(envelope)
        self._changes.notify()
        self._tell(topic, Received(envelope))

    def lose_history(self) -> None:
        """The gateway was restarted."""
        self.history.clear()
        self._tell(None, Restarted())

    def lose_messages(self, topic: str) -> None:
        self._tell(topic, Lost())

    def refuse(self, topic: str, error: NodeError) -> None:
        """End the subscriptions of a topic."""
        self._tell(topic, error)

    def _tell(self, topic: str | None, item: ChannelItem | NodeError) -> None:
        for conversation in self.joined:
            if topic in (None, conversation.topic.name):
                conversation.queue.put_nowait(item)
