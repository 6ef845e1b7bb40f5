"""Targets: the payload of every round's messages, by the schema that the protocol itself gives to the session."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from fuzz_keys import SCENES as OF_KEYS
from fuzz_mutate import mutated
from fuzz_session import SCENES, Scene
from fuzz_target import OK, Target, need

from tss.echo import ECHO_SCHEMA
from tss.effects import Receive
from tss.encoding import Optional, Schema, Tuple, decode, encode
from tss.envelope import Kind
from tss.errors import BadPoint, SchemaViolation


@dataclass
class Messages:
    """The first byte chooses among the rounds' broadcasts and peer-to-peer payloads of one protocol."""

    scene: Scene

    @cached_property
    def schemas(self) -> list[tuple[tuple[Kind, int, bool], Schema]]:
        """Kind, round and whether it is peer-to-peer, with what the session would decode by."""
        found: dict[tuple[Kind, int, bool], Schema] = {}
        for place in range(self.scene.places):
            receive: Receive | None = self.scene.at(place).session._waiting
            if receive is None:
                continue
            if receive.broadcast is not None:
                found[receive.kind, receive.round, False] = Tuple(Optional(ECHO_SCHEMA), receive.broadcast)
            if receive.p2p is not None:
                found[receive.kind, receive.round, True] = receive.p2p
        return list(found.items())

    def __call__(self, data: bytes) -> str:
        _, schema = self.schemas[(data[0] if data else 0) % len(self.schemas)]
        try:
            value = decode(data[1:], schema)
        except (SchemaViolation, BadPoint) as error:
            return type(error).__name__
        need(encode(value) == data[1:], "not canonical")
        return OK

    def seeds(self) -> Iterator[bytes]:
        for number, (place, _) in enumerate(self.schemas):
            for body in self.scene.bodies:
                if (body.kind, body.round, body.to is not None) == place:
                    yield bytes([number]) + body.payload
                    break


def _behind_a_byte(data: bytes, rng: object) -> bytes:
    return data[:1] + mutated(data[1:], rng)  # type: ignore[arg-type]


NAMES = (
    *("keygen", "aux", "presign", "full-sign", "sign-owner", "sign", "identify-delta"),
    *(
        "frost-keygen",
        "frost-full-sign",
        "refresh",
        "refresh-ed25519",
        "reshare-new",
        "recover-helper",
        "recover-recipient",
    ),
)
TARGETS = [
    Target(f"messages-{name}", messages, messages.seeds, mutate=_behind_a_byte, max_len=1 << 15, share=0.2)
    for name, messages in ((name, Messages((SCENES | OF_KEYS)[name])) for name in NAMES)
]
