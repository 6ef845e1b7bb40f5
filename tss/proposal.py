"""Proposals: how a session begins (protocol.md 0.7).

A proposal says everything that the session id will bind. It is signed by its initiator, and a party that takes part
rebuilds its `tail` from its own records: whatever differs is refused before anything is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tss.encoding import Bytes, Integer, ListOf, Optional, PointOf, Schema, Text, Tuple, Value, decode, encode
from tss.envelope import MAX_ENVELOPE_BYTES, Body, Kind, PartyId
from tss.errors import SchemaViolation
from tss.params import MAX_PARTIES, MAX_SIGNERS, Suite
from tss.transcript import hash_commit

REQUEST_ID_BYTES: Final = 16
MAX_ACCOUNT_ID: Final = 512
"""Bytes of UTF-8."""
MAX_ACCOUNTS: Final = 10_000
MAX_REFRESHED: Final = 1000
"""Accounts of one refresh: its proposal and its round 2 list them all."""
MAX_PATH: Final = 255
"""Steps of a derivation path."""

_ID: Final = Bytes(32)
_COUNT: Final = Integer(16)


def _keygen_tail(_suite: Suite) -> Tuple:
    return Tuple(_COUNT, _COUNT)


def _aux_tail(_suite: Suite) -> Tuple:
    return Tuple(Optional(ListOf(_ID, 0, MAX_ACCOUNTS)))


def _refresh_tail(suite: Suite) -> Tuple:
    point = PointOf(suite.group)
    fields = (_ID, point, Optional(_ID), _COUNT, _ID, Optional(_ID), ListOf(point, 2, MAX_PARTIES))
    return Tuple(ListOf(Tuple(*fields), 1, MAX_REFRESHED))


def _reshare_tail(suite: Suite) -> Tuple:
    point = PointOf(suite.group)
    dealers, shares = ListOf(_COUNT, 2, MAX_PARTIES), ListOf(point, 2, MAX_PARTIES)
    return Tuple(_ID, point, Optional(_ID), _COUNT, _ID, dealers, shares, _COUNT, _ID)


def _recover_tail(suite: Suite) -> Tuple:
    point = PointOf(suite.group)
    helpers, shares = ListOf(_COUNT, 2, MAX_PARTIES), ListOf(point, 2, MAX_PARTIES)
    return Tuple(_ID, point, Optional(_ID), _COUNT, _ID, helpers, shares, _COUNT, _ID)


def _presign_items(suite: Suite) -> tuple[Schema, ...]:
    point, number = PointOf(suite.group), Integer(suite.level.modulus_bits)
    signers = ListOf(_COUNT, 2, MAX_SIGNERS)
    parameters = ListOf(Tuple(number, number, number, number), 2, MAX_SIGNERS)
    return (_ID, point, _ID, _ID, signers, ListOf(point, 2, MAX_SIGNERS), parameters, _COUNT, _COUNT)


def _presign_tail(suite: Suite) -> Tuple:
    return Tuple(*_presign_items(suite))


def _path() -> Schema:
    return ListOf(Integer(31), 0, MAX_PATH)


def _full_sign_tail(suite: Suite) -> Tuple:
    return Tuple(*_presign_items(suite), Bytes(32), _path())


def _sign_tail(suite: Suite) -> Tuple:
    scalar = Integer(suite.group.q.bit_length(), below=suite.group.q)
    return Tuple(_ID, Bytes(32), _path(), scalar, ListOf(_COUNT, 2, MAX_SIGNERS), Bytes(32))


TAILS: Final = {
    "keygen": _keygen_tail,
    "aux": _aux_tail,
    "refresh": _refresh_tail,
    "reshare": _reshare_tail,
    "recover": _recover_tail,
    "presign": _presign_tail,
    "full-sign": _full_sign_tail,
    "sign": _sign_tail,
}
"""The session kinds of CGGMP24, each with the schema of what protocol.md 0.7 lists for it."""


def _frost_key(suite: Suite) -> tuple[Schema, ...]:
    return (_ID, PointOf(suite.group), _ID, ListOf(_COUNT, 2, MAX_SIGNERS))


def _frost_pairs_tail(suite: Suite) -> Tuple:
    return Tuple(*_frost_key(suite), _COUNT, _COUNT)


def _frost_full_items(suite: Suite) -> tuple[Schema, ...]:
    return (*_frost_key(suite), ListOf(PointOf(suite.group), 2, MAX_SIGNERS), Bytes(64))


def _tweaks(suite: Suite) -> tuple[Schema, ...]:
    """Which key of the account signs, where it has more than one: path, merkle root or none."""
    return () if suite.own_keys else (_path(), Optional(Bytes(0, 32)))


def _frost_full_sign_tail(suite: Suite) -> Tuple:
    return Tuple(*_frost_full_items(suite), *_tweaks(suite))


def _frost_sign_tail(suite: Suite) -> Tuple:
    point = PointOf(suite.group, proper=True)
    listed = ListOf(Tuple(_COUNT, _ID, point, point), 2, MAX_SIGNERS)
    return Tuple(*_frost_full_items(suite), listed, *_tweaks(suite))


FROST_SIGNING_TAILS: Final = {
    "frost-pairs": _frost_pairs_tail,
    "frost-full-sign": _frost_full_sign_tail,
    "frost-sign": _frost_sign_tail,
}
"""The same for FROST with keys of another suite."""

FROST_TAILS: Final = {
    "frost-keygen": _keygen_tail,
    "refresh": _refresh_tail,
    "reshare": _reshare_tail,
    "recover": _recover_tail,
    **FROST_SIGNING_TAILS,
}
"""The same for FROST with keys of its own."""

WITHOUT_ROUND_0: Final = frozenset({"sign", "frost-sign"})
"""Kinds whose session id is known from the proposal on (protocol.md 0.7)."""

_SIGNERS_AT: Final = {
    "presign": 4, "full-sign": 4, "sign": 4, "frost-pairs": 3, "frost-full-sign": 3, "frost-sign": 3,
}  # fmt: skip
"""Where S stands in a tail."""


def tails(suite: Suite) -> Mapping[str, Callable[[Suite], Tuple]]:
    """The session kinds of a suite, each with its schema."""
    if not suite.own_keys:
        return FROST_SIGNING_TAILS
    return TAILS if suite.has_aux else FROST_TAILS


def signers_in(kind: str, tail: Sequence[Value]) -> tuple[int, ...] | None:
    """The signer set S that a tail names; None for kinds in which all members take part."""
    place = _SIGNERS_AT.get(kind)
    return None if place is None else tuple(int(point) for point in tail[place])


MAX_TAIL: Final = 1 << 20

_PAYLOAD: Final = Tuple(
    _ID, Optional(Text(MAX_ACCOUNT_ID)), Text(16), Bytes(REQUEST_ID_BYTES), Bytes(0, MAX_TAIL),
    Optional(Bytes(0, MAX_ENVELOPE_BYTES)), Integer(63),
)  # fmt: skip


@dataclass(frozen=True)
class Proposal:
    """What one party proposes to the others. The tail travels as ENC bytes inside the payload.

    `request_id` is 16 bytes; `account_id` is free text or none; `message` is the encoded payload that the digest is made
    from, or none; `expiry` is in Unix seconds.
    """

    initiator: PartyId
    committee_id: bytes
    account_id: str | None
    kind: str
    request_id: bytes
    tail: list[Value]
    message: bytes | None
    expiry: int

    def encode(self) -> bytes:
        """The payload that is signed."""
        return encode(
            [
                self.committee_id, self.account_id, self.kind, self.request_id, encode(self.tail), self.message,
                self.expiry,
            ]
        )  # fmt: skip

    def hash(self, suite: Suite) -> bytes:
        """Ph = Hc("proposal", initiator, payload), 32 bytes. The initiator is hashed as the pair [role, I]."""
        return hash_commit(suite.proto, "proposal", self.initiator.as_list(), self.encode())

    def body(self, suite: Suite) -> Body:
        """The message that carries it; ph stands where others have the sid."""
        return Body(suite.proto, self.hash(suite), 0, Kind.PROPOSE, self.initiator, None, self.encode())


def decode_proposal(suite: Suite, body: Body) -> Proposal:
    """Read a proposal from a body whose signature was checked.

    Raises SchemaViolation for an unknown kind, anything not canonical, or a hash that is not the payload's, and BadPoint.
    """
    if (body.proto, body.round, body.kind, body.to) != (suite.proto, 0, Kind.PROPOSE, None):
        raise SchemaViolation("not a proposal of this suite")
    committee_id, account_id, kind, request_id, tail, message, expiry = decode(body.payload, _PAYLOAD)
    if kind not in tails(suite):
        raise SchemaViolation(f"unknown kind of session {kind!r}")
    proposal = Proposal(
        initiator=body.sender,
        committee_id=committee_id,
        account_id=account_id,
        kind=kind,
        request_id=request_id,
        tail=decode(tail, tails(suite)[kind](suite)),
        message=message,
        expiry=int(expiry),
    )
    if proposal.hash(suite) != body.sid:
        raise SchemaViolation("the proposal's hash is not the one in its header")
    return proposal
