"""What a hostile gateway does with the messages: each class is one way."""

# Hooks are given all that any of them may need.
# ruff: noqa: ARG002

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace

from hostile_gateway import Deliveries, Mischief, Post
from node_testing import node_keys

from participant.channel import write_body
from tss.encoding import encode
from tss.envelope import Kind, PartyId, Sealed, Signed, decode_body, holder, pack, sign, unpack
from tss.errors import SchemaViolation


class Seeded(Mischief):
    """Mischief that is left to chance, and comes out alike for one seed and one order of events."""

    def __init__(self, seed: object) -> None:
        self.seed = seed
        self.rng = random.Random(repr(seed))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.seed!r})"


class Duplicates(Mischief):
    """Everything is told so many times."""

    def __init__(self, times: int) -> None:
        self.times = times

    def relay(self, post: Post, side: int) -> Deliveries:
        return [(0.0, post.body)] * self.times


class Shuffled(Seeded):
    """Every reader gets every message at another moment within `seconds`: early ones, late ones, any order."""

    def __init__(self, seed: object, seconds: float = 0.1) -> None:
        super().__init__(seed)
        self.seconds = seconds

    def relay(self, post: Post, side: int) -> Deliveries:
        return [(self.rng.uniform(0, self.seconds), post.body)]


class Lossy(Shuffled):
    """A bad network: requests, answers and streams break off with probability `share`, everything is late."""

    def __init__(self, seed: object, share: float, seconds: float) -> None:
        super().__init__(seed, seconds)
        self.share = share

    def loses(self, post: Post) -> str:
        return self.rng.choice(("before", "after")) if self.rng.random() < self.share else ""

    def hangs_up(self, room: str, side: int) -> bool:
        return self.rng.random() < self.share


class Withheld(Mischief):
    """What `withheld` says of a post and its reader is answered with 200 and told nobody."""

    def __init__(self, withheld: Callable[[Post, int], bool]) -> None:
        self.withheld = withheld

    def relay(self, post: Post, side: int) -> Deliveries:
        return [] if self.withheld(post, side) else [(0.0, post.body)]


class Replaying(Seeded):
    """With each message some that were said before are told again, whatever room they are from."""

    def __init__(self, seed: object, posts: list[Post], each: int = 8) -> None:
        super().__init__(seed)
        self.posts = posts
        self.each = each

    def relay(self, post: Post, side: int) -> Deliveries:
        old = self.rng.choices(self.posts, k=self.each) if self.posts else []
        bodies = [post.body, *(one.body for one in old)]
        self.rng.shuffle(bodies)
        return [(0.0, body) for body in bodies]


class Forging(Seeded):
    """Before each message come forgeries of it: whatever somebody without a member's key can make of what was said."""

    def __init__(self, seed: object, members: int) -> None:
        super().__init__(seed)
        self.members = members
        self.made = 0

    def relay(self, post: Post, side: int) -> Deliveries:
        forged = [bent for envelope in post.envelopes for bent in self.forgeries(envelope)]
        self.made += len(forged)
        bodies = [write_body([envelope], 0, None).encode() for envelope in forged]
        return [(0.0, body) for body in (*bodies, *self.nonsense(post.body), post.body)]

    def nonsense(self, body: bytes) -> list[bytes]:
        """Bodies that hold no envelope."""
        return [
            b"",
            b"{",
            b"[" * 200,
            body[: len(body) // 2],
            json.dumps({"sender": 0, "body": "AAAA"}).encode(),
        ]

    def forgeries(self, envelope: bytes) -> list[bytes]:
        """Envelopes that the sender never made."""
        at = self.rng.randrange(len(envelope))
        bent = bytearray(envelope)
        bent[at] ^= 1 << self.rng.randrange(8)
        forged = [bytes(bent), envelope[:at], envelope + b"\0"]
        try:
            parts = unpack(envelope)
            if isinstance(parts, Sealed):
                return forged + self.of_sealed(parts)
            return forged + self.of_signed(*parts)
        except SchemaViolation:
            return forged

    def of_sealed(self, sealed: Sealed) -> list[bytes]:
        """Another sender, another recipient, another session around what cannot be read."""
        variants = [
            replace(sealed, sender=self.another(sealed.sender)),
            replace(sealed, to=self.another(sealed.to)),
            replace(sealed, sid=bytes(32)),
            replace(sealed, round=sealed.round + 1),
            replace(sealed, ciphertext=sealed.ciphertext[:-1] + bytes([sealed.ciphertext[-1] ^ 1])),
        ]
        return [
            encode(
                [
                    one.proto,
                    one.sid,
                    one.round,
                    str(one.kind),
                    one.sender.as_list(),
                    one.to.as_list(),
                    one.ciphertext,
                ]
            )
            for one in variants
        ]

    def of_signed(self, encoded: bytes, signature: bytes) -> list[bytes]:
        """Changed bodies under the old signature, and under a key of the gateway's own."""
        body = decode_body(encoded)
        mine = node_keys(1, "the gateway's own")[0]
        variants = [
            replace(body, sender=self.another(body.sender)),
            replace(body, payload=body.payload + b"\0"),
            replace(body, sid=bytes(32)),
            replace(body, kind=Kind.ABORT, payload=encode(["BUSY", "says the gateway"])),
            replace(body, kind=Kind.DONE),
        ]
        own = [pack(sign(one, mine.sign)) for one in (body, *variants)]
        return [*own, *(pack(Signed(one, one.encode(), signature)) for one in variants)]

    def another(self, party: PartyId) -> PartyId:
        """A member that is not this one."""
        return holder(party.index % self.members + 1)


class Equivocating(Seeded):
    """Each reader is told another part of what was said, some of it late; nobody is told everything."""

    def __init__(self, seed: object, share: float) -> None:
        super().__init__(seed)
        self.share = share

    def relay(self, post: Post, side: int) -> Deliveries:
        # A node that does not even hear itself and the others' hellos counts itself out: that would prove nothing.
        if kind_of(post.envelope) is Kind.HELLO or side == post.side:
            return [(0.0, post.body)]
        return [] if self.rng.random() < self.share else [(self.rng.uniform(0, 0.1), post.body)]


def kind_of(envelope: bytes) -> Kind | None:
    """What an envelope says it is."""
    try:
        parts = unpack(envelope)
        return parts.kind if isinstance(parts, Sealed) else decode_body(parts[0]).kind
    except SchemaViolation:
        return None


def is_sealed(envelope: bytes) -> bool:
    """Whether it is from one to one."""
    try:
        return isinstance(unpack(envelope), Sealed)
    except SchemaViolation:
        return False
