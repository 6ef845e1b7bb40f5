"""One conversation, kept open: what arrives is handed on, what is sent is posted."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Final

from kit import tracing
from kit.together import until_one_ends
from participant.channel import Channel, Conversation, Lost, Received, Restarted, Topic
from participant.errors import NodeError

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 10.0
"""Before a room is joined again whose gateway refused us: an operator has to change something first."""

MAX_WAITING: Final = 1024
"""Messages that wait to be posted; a room that takes none for so long has nobody in it."""


class Room:
    """A joined topic. `run` is its life; `send` posts in order, or `at_once` at a time, and never blocks the caller."""

    def __init__(
        self,
        channel: Channel,
        topic: Topic,
        sender: int,
        *,
        receive: Callable[[bytes], None],
        restarted: Callable[[], None] = lambda: None,
        ready: Callable[[], Awaitable[None]] | None = None,
        standing: bool = False,
        at_once: int = 1,
    ) -> None:
        """`sender`: this node's index, a hint for foreign tools. `standing` rooms are joined again after a refusal.

        `ready` is awaited before each envelope is handed on: the room keeps what is not read yet, so whoever has its
        hands full reads later and loses nothing.
        """
        self.topic = topic
        self._channel = channel
        self._sender = sender
        self._receive = receive
        self._restarted = restarted
        self._ready = ready
        self._standing = standing
        self._at_once = at_once
        self._queue: deque[tuple[tuple[bytes, ...], int | None, tracing.Place | None]] = deque()
        self._under_way = 0
        self._wake = asyncio.Event()
        self._flushed = asyncio.Event()
        self._flushed.set()
        self.refused: NodeError | None = None
        """Why the gateway does not let us in, while it does not."""

    def send(self, *envelopes: bytes, to: int | None = None) -> None:
        """Post envelopes, as one message, after what waits. `to`: index of the recipient, a hint."""
        if len(self._queue) >= MAX_WAITING:
            self._queue.popleft()
            log.warning("room %s takes no messages: the oldest that waits is dropped", self.topic.name)
        self._queue.append((envelopes, to, tracing.here()))
        self._flushed.clear()
        self._wake.set()

    @property
    def idle(self) -> bool:
        """Whether everything that was sent is posted."""
        return self._flushed.is_set()

    async def flushed(self) -> None:
        """Return when everything that was sent is posted."""
        await self._flushed.wait()

    async def run(self) -> None:
        """Join, listen and post until cancelled, or, for a room that is not standing, until the gateway refuses."""
        while True:
            try:
                async with self._channel.open(self.topic) as conversation:
                    posting = [self._post(conversation) for _ in range(self._at_once)]
                    await until_one_ends(self._listen(conversation), *posting)
            except NodeError as refused:
                # Said once, not with every try.
                level = logging.DEBUG if str(refused) == str(self.refused) else logging.ERROR
                log.log(level, "room %s: %s", self.topic.name, refused)
                self.refused = refused
            if not self._standing:
                return
            await asyncio.sleep(RETRY_SECONDS)

    async def _listen(self, conversation: Conversation) -> None:
        async with aclosing(conversation.events()) as items:
            async for item in items:
                self.refused = None
                match item:
                    case Received(envelope):
                        if self._ready is not None:
                            await self._ready()
                        self._receive(envelope)
                    case Restarted():
                        self._restarted()
                    case Lost():
                        log.warning("room %s: messages are lost that this node has not seen", self.topic.name)

    async def _post(self, conversation: Conversation) -> None:
        while True:
            while self._queue:
                envelopes, to, span = self._queue.popleft()
                self._under_way += 1
                try:
                    with tracing.within(span):
                        await conversation.post(*envelopes, sender=self._sender, receiver=to)
                except BaseException:
                    self._queue.appendleft((envelopes, to, span))
                    raise
                finally:
                    self._under_way -= 1
            if not self._under_way:
                self._flushed.set()
            self._wake.clear()
            await self._wake.wait()
