"""The presence note that every node posts into its committee's room (wallet-mpc-wire: our rooms and envelopes).

A hello proves that its sender lives now, not that it once did: it names the boot number that it last heard from each
member, so a reader who finds its own boot number in it knows that it was made after the reader started. Clocks are not
asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from participant.domain import DOMAIN
from tss.encoding import Bytes, Integer, ListOf, Optional, Text, Tuple, decode, encode
from tss.envelope import Body, Kind, PartyId
from tss.errors import SchemaViolation
from tss.params import MAX_PARTIES
from tss.transcript import hash_commit

HELLO_FORMAT: Final = 1
BOOT_BYTES: Final = 16
TAG_BYTES: Final = 16
MAX_ACCOUNTS: Final = 1 << 16
MAX_SIDS: Final = 64
"""Sids of pending state and of certificates that a hello lists: the newest."""
MAX_STOCK: Final = 1024


def account_tag(committee_id: bytes, account_id: str, share_epoch: bytes, aux_id: bytes | None) -> bytes:
    """16 bytes that two nodes have in common exactly when they hold the same pair for the account."""
    return hash_commit(DOMAIN, "hello-account", committee_id, account_id, share_epoch, aux_id)[:TAG_BYTES]


@dataclass(frozen=True)
class StockNote:
    """How many presignatures a node holds for one account (by its tag), signer set and owner (evaluation points)."""

    tag: bytes
    signers: tuple[int, ...]
    owner: int
    count: int


@dataclass(frozen=True)
class Hello:
    """What a node says of itself."""

    version: str
    boot: bytes
    """16 random bytes, new at every start."""
    number: int
    """Counts this boot's hellos."""
    time: int
    """The sender's wall clock, seconds since 1970: only to find clocks that are wrong."""
    seen: tuple[tuple[int, bytes], ...]
    """(evaluation point, boot) of those that it heard."""
    aux_id: bytes | None
    """The committee's newest aux set, as far as the sender knows."""
    tags: frozenset[bytes] | None
    """`account_tag` of the accounts that it can sign with; None: as before."""
    pending: tuple[bytes, ...]
    """Sids of runs whose certificate it lacks."""
    certificates: tuple[bytes, ...]
    blocked: tuple[bytes, ...]
    """Sids of presigning runs in which somebody cheated, and for which it lacks another signer's abort message."""
    stock: tuple[StockNote, ...]

    def encode(self) -> bytes:
        """The payload."""
        tags = None if self.tags is None else sorted(self.tags)
        stock = [[note.tag, list(note.signers), note.owner, note.count] for note in self.stock]
        return encode(
            [
                *(HELLO_FORMAT, self.version, self.boot, self.number, self.time),
                [[point, boot] for point, boot in self.seen],
                *(self.aux_id, tags, list(self.pending), list(self.certificates), list(self.blocked), stock),
            ]
        )

    @classmethod
    def decode(cls, payload: bytes) -> Hello:
        """Raises SchemaViolation."""
        values: list[Any] = decode(payload, _SCHEMA)
        found, version, boot, number, time, seen, aux_id, tags, pending, certificates, blocked, stock = values
        if found != HELLO_FORMAT:
            raise SchemaViolation(f"a hello of format {found}")
        return cls(
            version=version,
            boot=boot,
            number=int(number),
            time=int(time),
            seen=tuple((int(point), bytes(heard)) for point, heard in seen),
            aux_id=aux_id,
            tags=None if tags is None else frozenset(tags),
            pending=tuple(pending),
            certificates=tuple(certificates),
            blocked=tuple(blocked),
            stock=tuple(
                StockNote(tag, _points(signers), int(owner), int(n)) for tag, signers, owner, n in stock
            ),
        )


def _points(values: Iterable[Any]) -> tuple[int, ...]:
    return tuple(int(value) for value in values)


_BOOT: Final = Bytes(BOOT_BYTES)
_SID: Final = Bytes(32)
_POINT: Final = Integer(32)
_SCHEMA: Final = Tuple(
    Integer(8), Text(64), _BOOT, Integer(63), Integer(63),
    ListOf(Tuple(_POINT, _BOOT), 0, 4 * MAX_PARTIES + 2),
    Optional(_SID), Optional(ListOf(Bytes(TAG_BYTES), 0, MAX_ACCOUNTS)),
    ListOf(_SID, 0, MAX_SIDS), ListOf(_SID, 0, MAX_SIDS), ListOf(_SID, 0, MAX_SIDS),
    ListOf(Tuple(Bytes(TAG_BYTES), ListOf(_POINT, 1, MAX_PARTIES), _POINT, Integer(32)), 0, MAX_STOCK),
)  # fmt: skip


def hello_body(proto: str, committee_id: bytes, me: PartyId, hello: Hello) -> Body:
    """The body to sign; the committee's id stands where others have a sid."""
    return Body(proto, committee_id, 0, Kind.HELLO, me, None, hello.encode())
