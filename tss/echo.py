"""Echo rounds: how parties learn that they saw the same broadcasts (protocol.md 0.8)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tss.encoding import Bytes, ListOf, Tuple, Value, encode
from tss.envelope import PARTY_SCHEMA, PartyId, Signed, party_from_value
from tss.errors import EchoMismatch, Equivocation, PeerFault, SchemaViolation
from tss.params import MAX_SIGNERS
from tss.transcript import hash_commit

HASH_BYTES: Final = 32

ECHO_SCHEMA: Final = Tuple(
    Bytes(HASH_BYTES), ListOf(Tuple(PARTY_SCHEMA, Bytes(HASH_BYTES)), 1, 2 * MAX_SIGNERS)
)


@dataclass(frozen=True)
class EchoRecord:
    """E of one round with the list of hashes behind it."""

    digest: bytes
    hashes: tuple[tuple[PartyId, bytes], ...]

    def as_value(self) -> list[Value]:
        """[E, [[party, SHA-256 of its body]...]] as it travels."""
        return [self.digest, [[party.as_list(), digest] for party, digest in self.hashes]]


def echo_of(proto: str, sid: bytes, round_: int, bodies: Mapping[PartyId, bytes]) -> EchoRecord:
    """E = Hc("echo", sid, round, [[j, SHA-256(ENC body of j)] sorted, own included])."""
    hashes = tuple((party, hashlib.sha256(bodies[party]).digest()) for party in sorted(bodies))
    listed = [[party.as_list(), digest] for party, digest in hashes]
    return EchoRecord(hash_commit(proto, "echo", sid, round_, listed), hashes)


def echo_from_value(proto: str, sid: bytes, round_: int, value: list[Value]) -> EchoRecord:
    """Read a peer's echo. Raises SchemaViolation when its E is not the hash of its own list."""
    digest, listed = value
    hashes = tuple((party_from_value(party), bytes(item)) for party, item in listed)
    if list(hashes) != sorted(set(hashes)):
        raise SchemaViolation("echo list is not sorted")
    again = hash_commit(proto, "echo", sid, round_, [[party.as_list(), item] for party, item in hashes])
    if again != digest:
        raise SchemaViolation("echo digest is not the hash of its list")
    return EchoRecord(bytes(digest), hashes)


def judge_shows(
    echoes: Mapping[PartyId, EchoRecord],
    shows: Mapping[PartyId, Sequence[Signed]],
    proto: str,
    sid: bytes,
    round_: int,
) -> PeerFault:
    """Decide who is at fault when the echoes of a round differ and everybody has shown its messages.

    `shows` holds, for each party, the validly signed broadcasts of that round which it shows. Two different ones by
    one sender blame that sender; else a party whose echo does not match what it shows is blamed.
    """
    versions: dict[PartyId, dict[bytes, Signed]] = {}
    for shown in shows.values():
        for signed in shown:
            versions.setdefault(signed.body.sender, {})[signed.encoded] = signed
    for party in sorted(versions):
        if len(versions[party]) > 1:
            return Equivocation("sent different broadcasts to different parties").blame(
                party.index, f"echo.r{round_}"
            )
    for party in sorted(shows):
        bodies = {signed.body.sender: signed.encoded for signed in shows[party]}
        if echo_of(proto, sid, round_, bodies).digest != echoes[party].digest:
            return EchoMismatch("its echo contradicts the messages that it shows").blame(
                party.index, f"echo.r{round_}"
            )
    raise AssertionError("unequal echoes over equal messages")  # pragma: no cover - echo_of is a function


def show_value(messages: Sequence[Signed]) -> bytes:
    """The payload of a show: all signed broadcasts of the round."""
    return encode([signed.as_value() for signed in messages])
