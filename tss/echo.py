"""Echo rounds: how parties learn that they saw the same broadcasts, and who is at fault if not (protocol.md 0.8)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tss.encoding import TAG_LIST, Bytes, ListOf, Reader, Tuple, Value, encode
from tss.envelope import MAX_ENVELOPE_BYTES, PARTY_SCHEMA, Kind, PartyId, Signed, Slot, party_from_value
from tss.errors import SchemaViolation
from tss.params import MAX_SIGNERS
from tss.transcript import hash_commit

HASH_BYTES: Final = 32

ECHO_SCHEMA: Final = Tuple(
    Bytes(HASH_BYTES), ListOf(Tuple(PARTY_SCHEMA, Bytes(HASH_BYTES)), 1, 2 * MAX_SIGNERS)
)

MAX_SHOW_BYTES: Final = MAX_ENVELOPE_BYTES - 1024
"""Of a show's payload; the rest of its envelope is smaller than what is left."""

MAX_SHOWS: Final = 4
"""Shows of one round that are kept of one party: enough for all that fits into what is kept of it at all."""

SAID_ONCE: Final = (Kind.MSG, Kind.ECHO, Kind.DONE)
"""Kinds of which an honest party signs one message a slot. A second abort changes nothing for anybody."""


@dataclass(frozen=True)
class EchoRecord:
    """E of one round with the list of hashes behind it."""

    digest: bytes
    hashes: tuple[tuple[PartyId, bytes], ...]

    @property
    def parties(self) -> tuple[PartyId, ...]:
        """Whose broadcasts it covers."""
        return tuple(party for party, _ in self.hashes)

    def as_value(self) -> list[Value]:
        """[E, [[party, SHA-256 of its body]...]] as it travels."""
        return [self.digest, [[party.as_list(), digest] for party, digest in self.hashes]]


def echo_of(proto: str, sid: bytes, round_: int, bodies: Mapping[PartyId, bytes]) -> EchoRecord:
    """E = Hc("echo", sid, round, [[j, SHA-256(ENC body of j)] sorted, own included])."""
    hashes = tuple((party, hashlib.sha256(bodies[party]).digest()) for party in sorted(bodies))
    return EchoRecord(_digest(proto, sid, round_, hashes), hashes)


def echo_from_value(
    proto: str, sid: bytes, round_: int, value: list[Value], parties: Sequence[PartyId]
) -> EchoRecord:
    """Read a peer's echo of a round in which `parties` (sorted) sent broadcasts.

    Raises SchemaViolation when it covers others, or when its E is not the hash of its own list. So two echoes that
    differ differ in the hash of somebody's message.
    """
    digest, listed = value
    hashes = tuple((party_from_value(party), bytes(item)) for party, item in listed)
    if tuple(party for party, _ in hashes) != tuple(parties):
        raise SchemaViolation("echo does not cover exactly the parties of its round")
    if _digest(proto, sid, round_, hashes) != digest:
        raise SchemaViolation("echo digest is not the hash of its list")
    return EchoRecord(bytes(digest), hashes)


def _digest(proto: str, sid: bytes, round_: int, hashes: Sequence[tuple[PartyId, bytes]]) -> bytes:
    return hash_commit(proto, "echo", sid, round_, [[party.as_list(), item] for party, item in hashes])


def peek_echo(payload: bytes) -> list[Value] | None:
    """The echo that a broadcast begins with; None when it begins with anything else. The rest is not looked at."""
    reader = Reader(payload, 0, len(payload))
    try:
        reader.header(TAG_LIST, "list")
        reader.take(4)
        return ECHO_SCHEMA.read(reader, 2)
    except SchemaViolation:
        return None


def contradicts_shown(echo: EchoRecord, shown: Iterable[Signed]) -> bool:
    """Whether a party shows another message than it echoed. What it does not show yet contradicts nothing."""
    hashes = {(signed.body.sender, hashlib.sha256(signed.encoded).digest()) for signed in shown}
    return not hashes <= set(echo.hashes)


def two_versions(known: Mapping[Slot, Signed], found: Iterable[Signed]) -> tuple[Signed, Signed] | None:
    """Two different signed messages in one slot, among `found` or between them and `known`: an equivocation."""
    seen: dict[Slot, Signed] = {}
    for signed in found:
        slot = signed.body.slot
        if slot.kind not in SAID_ONCE:
            continue
        first = known.get(slot) or seen.setdefault(slot, signed)
        if first.encoded != signed.encoded:
            return first, signed
    return None


def show_value(messages: Sequence[Signed]) -> bytes:
    """The payload of a show: signed broadcasts of the round."""
    return encode([signed.as_value() for signed in messages])


def show_payloads(messages: Sequence[Signed]) -> list[bytes]:
    """Shows of these messages: one when they fit into it, else the smallest first and as many shows as a peer keeps."""
    payload = show_value(messages)
    if len(payload) <= MAX_SHOW_BYTES:
        return [payload]
    parts: list[list[Signed]] = [[]]
    for signed in sorted(messages, key=lambda signed: len(signed.encoded)):
        if len(show_value([*parts[-1], signed])) > MAX_SHOW_BYTES:
            parts.append([])
        parts[-1].append(signed)
    return [show_value(part) for part in parts[:MAX_SHOWS]]
