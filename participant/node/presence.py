"""Who is there: hellos sent at every connection, change and interval, and what the others' hellos say.

A peer is present when it has said hello within `away_after` seconds, in a note that names this node's boot number
(see `hello`): replayed or old notes count for nothing. Wall clocks are compared only to warn about them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from participant.node.config import NodeConfig
from participant.node.hello import BOOT_BYTES, Hello, StockNote, hello_body
from participant.node.tasks import Changes
from tss.envelope import PartyId, Signed, SignFunction, pack, sign
from tss.errors import SchemaViolation
from tss.rand import Rng

log = logging.getLogger(__name__)

KEPT_BOOTS: Final = 2
"""Boot numbers heard from one member that we answer: its newest, and one that a replay may have put in front of it."""

COALESCE_SECONDS: Final = 0.02
"""Notes that fall due together are one note."""


@dataclass(frozen=True)
class Facts:
    """What this node has to say of itself, looked up in the store and the stock."""

    aux_id: bytes | None = None
    tags: frozenset[bytes] = frozenset()
    pending: tuple[bytes, ...] = ()
    certificates: tuple[bytes, ...] = ()
    blocked: tuple[bytes, ...] = ()
    stock: tuple[StockNote, ...] = ()


@dataclass
class Peer:
    """What is known about one member."""

    point: int
    heard: list[bytes] = field(default_factory=list)
    """Boot numbers, the last heard at the end."""
    boot: bytes | None = None
    """That of the last live hello."""
    numbers: dict[bytes, int] = field(default_factory=dict)
    """The highest number of a live hello, by boot."""
    last_live: float | None = None
    silent_at: float | None = None
    """When it did not answer a proposal; a hello since then makes that good."""
    hello: Hello | None = None
    tags: frozenset[bytes] = frozenset()
    tags_number: int = 0
    """The number of the hello that told them; later ones that told none left them as they are."""
    skew: float = 0.0
    foreign_proto: str = ""
    """The protocol that it speaks, where this release does not."""
    twin_at: float | None = None
    """When two processes were last heard to speak as this member."""


class Presence:
    """The members of one committee."""

    def __init__(
        self,
        *,
        config: NodeConfig,
        proto: str,
        committee_id: bytes,
        me: PartyId,
        parties: Iterable[PartyId],
        sign_function: SignFunction,
        rng: Rng,
        facts: Callable[[], Awaitable[Facts]],
        post: Callable[[bytes], None],
        clock: Callable[[], float],
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`facts` is asked before every hello; `post` sends an envelope into the committee's room."""
        self._config = config
        self._proto = proto
        self._committee_id = committee_id
        self._me = me
        self._sign = sign_function
        self._facts = facts
        self._post = post
        self._clock = clock
        self._wall = wall
        self.boot = rng(BOOT_BYTES)
        self.peers: Mapping[PartyId, Peer] = {party: Peer(party.index) for party in parties if party != me}
        self._own = Peer(me.index)
        self._number = 0
        self._due = asyncio.Event()
        self._full = True
        self._said: Facts | None = None
        self.connected_at: float | None = None
        """When this node's first hello came back through the gateway since the last restart of it."""
        self.is_heard = False
        """Whether a hello of this process came back: what stood in the room before it was said before this process was."""
        self._lost_at = float("-inf")
        """When the gateway last lost what it had."""
        self.twin_at: float | None = None
        """When another process last spoke with this node's identity."""
        self.changes = Changes()
        self.on_boot: Callable[[PartyId], None] = lambda _: None
        """Called when a member has started anew: what lived in its memory is gone."""
        self.on_hello: Callable[[PartyId, Hello], None] = lambda _, __: None
        """Called for every live hello of another member."""

    # Saying

    async def run(self) -> None:
        """Say hello when due, for ever."""
        while True:
            await self._say()
            try:
                async with asyncio.timeout(self._config.hello_interval):
                    await self._due.wait()
                await asyncio.sleep(COALESCE_SECONDS)
            except TimeoutError:
                # A gateway may have lost the one hello that told what has not changed since.
                self._full = True
            self._due.clear()

    def refresh(self, *, full: bool = False) -> None:
        """Say hello soon: something changed. `full`: also what did not change."""
        self._full = self._full or full
        self._due.set()

    def restarted(self) -> None:
        """The gateway lost what was said: who is there is who says so again."""
        self.connected_at = None
        self._lost_at = self._clock()
        self.refresh(full=True)

    async def _say(self) -> None:
        facts = await self._facts()
        full, self._full = self._full, False
        seen = [(peer.point, boot) for peer in (*self.peers.values(), self._own) for boot in peer.heard]
        unchanged = not full and self._said is not None and self._said.tags == facts.tags
        self._number += 1
        hello = Hello(
            version=self._config.version,
            boot=self.boot,
            number=self._number,
            time=int(self._wall()),
            seen=tuple(seen),
            aux_id=facts.aux_id,
            tags=None if unchanged else facts.tags,
            pending=facts.pending,
            certificates=facts.certificates,
            blocked=facts.blocked,
            stock=facts.stock,
        )
        self._said = facts
        if not unchanged:
            self.changes.notify()
        self._post(pack(sign(hello_body(self._proto, self._committee_id, self._me, hello), self._sign)))

    # Hearing

    def take(self, signed: Signed) -> None:
        """A hello whose signature was checked. Raises SchemaViolation for one that cannot be read."""
        if signed.body.sid != self._committee_id:
            raise SchemaViolation("a hello of another committee")
        hello = Hello.decode(signed.body.payload)
        if signed.body.sender == self._me:
            self._take_own(hello)
            return
        peer = self.peers[signed.body.sender]
        if self._heard(peer, hello.boot):
            self.refresh(full=True)
        if (self._me.index, self.boot) not in hello.seen:
            return
        if hello.number > peer.numbers.get(hello.boot, 0):
            self._take_live(signed.body.sender, peer, hello)
        elif hello.boot == peer.boot and self._take_tags(peer, hello):
            self.changes.notify()

    def take_foreign(self, party: PartyId, proto: str) -> None:
        """A member's release speaks another protocol: its operator and ours have to know."""
        peer = self.peers.get(party)
        if peer is not None and peer.foreign_proto != proto:
            peer.foreign_proto = proto
            log.warning(
                "index %d speaks %r, this node %r: bring all nodes to one release",
                peer.point - 1,
                proto,
                self._proto,
            )

    def _heard(self, peer: Peer, boot: bytes) -> bool:
        """Remember a boot number; whether it is one that our hellos did not name yet."""
        if boot in peer.heard:
            return False
        peer.heard = [*peer.heard, boot][-KEPT_BOOTS:]
        return True

    def _take_live(self, party: PartyId, peer: Peer, hello: Hello) -> None:
        now = self._clock()
        former, fresh, known = peer.boot, self.is_present(party), hello.boot in peer.numbers
        if former is not None and former != hello.boot and known:
            if not self._recent(peer.twin_at):
                log.error(
                    "two nodes speak as index %d: stop one of them, and give every node its own identity",
                    peer.point - 1,
                )
            peer.twin_at = now
        if former is not None and not known:
            log.info("index %d has started anew", peer.point - 1)
            peer.tags = frozenset()
            self.on_boot(party)
        if former != hello.boot:
            peer.tags_number = 0
        peer.numbers[hello.boot] = hello.number
        while len(peer.numbers) > 2 * KEPT_BOOTS:
            del peer.numbers[next(iter(peer.numbers))]
        if not fresh:
            log.info("index %d is here (version %s)", peer.point - 1, hello.version)
        peer.boot, peer.hello, peer.last_live, peer.silent_at = hello.boot, hello, now, None
        peer.foreign_proto = ""
        self._take_tags(peer, hello)
        peer.skew = hello.time - self._wall()
        self.on_hello(party, hello)
        self.changes.notify()

    def _take_tags(self, peer: Peer, hello: Hello) -> bool:
        """What a hello says of accounts, be it late: no hello behind it, and before the present one, has said anything."""
        if hello.tags is None or hello.number <= peer.tags_number:
            return False
        peer.tags, peer.tags_number = hello.tags, hello.number
        return True

    def _take_own(self, hello: Hello) -> None:
        if hello.boot == self.boot:
            self.is_heard = True
            if self.connected_at is None:
                self.connected_at = self._clock()
                self.changes.notify()
            return
        if self._heard(self._own, hello.boot):
            self.refresh()
        if (self._me.index, self.boot) in hello.seen and hello.number > self._own.numbers.get(hello.boot, 0):
            self._own.numbers[hello.boot] = hello.number
            if not self.has_twin():
                log.error(
                    "another process speaks with this node's identity (index %d): this one takes no work. Stop one of "
                    "them; a copied store must never run beside its original",
                    self._me.index - 1,
                )
            self.twin_at = self._clock()
            self.changes.notify()

    # Asking

    def is_present(self, party: PartyId) -> bool:
        """Whether a member has said hello lately, and through the gateway as it is now."""
        peer = self.peers.get(party)
        if peer is None:
            return party == self._me
        return self._recent(peer.last_live) and (peer.last_live or 0.0) >= self._lost_at

    def is_quiet(self, party: PartyId) -> bool:
        """Whether a member has left a proposal unanswered and said no hello since."""
        peer = self.peers.get(party)
        return peer is not None and peer.silent_at is not None

    def has_twin(self) -> bool:
        """Whether another process speaks with this node's identity."""
        return self._recent(self.twin_at)

    def _recent(self, time_: float | None) -> bool:
        return time_ is not None and self._clock() - time_ < self._config.away_after

    def mark_silent(self, party: PartyId) -> None:
        """It did not answer a proposal: not to be counted on before its next hello."""
        peer = self.peers.get(party)
        if peer is not None:
            peer.silent_at = self._clock()

    @property
    def own_tags(self) -> frozenset[bytes] | None:
        """What this node last said it can sign with (see `holds`); None before its first hello."""
        return None if self._said is None else self._said.tags

    def holds(self, party: PartyId, tag: bytes) -> bool:
        """Whether a member can sign with the account and pair that `tag` stands for."""
        peer = self.peers.get(party)
        return peer is None or tag in peer.tags

    def problem(self, party: PartyId) -> str:
        """What an operator should know about a member."""
        peer = self.peers.get(party)
        if peer is None:
            return "another process speaks with this node's identity" if self.has_twin() else ""
        if self._recent(peer.twin_at):
            return f"two nodes speak as index {peer.point - 1}: stop one of them"
        if peer.foreign_proto and (not self.is_present(party) or self.is_quiet(party)):
            return (
                f"speaks {peer.foreign_proto!r}, which this release does not: bring all nodes to one release"
            )
        if peer.last_live is None:
            return "no hello of it was ever heard: is it up, and does its committee file have the same id?"
        if not self.is_present(party):
            return "away"
        if abs(peer.skew) > self._config.max_clock_skew:
            return f"its clock differs from ours by {peer.skew:.0f} s: proposals may be refused as expired"
        return ""
