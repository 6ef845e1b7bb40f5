"""The old holders' signed words that they have destroyed their shares (protocol.md 2.3, revocation).

A word is ENC of [tag, request, old committee id, account id, key_id, new committee id, time in seconds, identity key,
signature]; the identity key signs ENC of all before it. n-t+1 of them show that the old committee cannot sign any more.
t of them, as many as could move everything that the key holds, are also what makes an old holder that was away destroy
its own share without asking: the account is elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from participant.identity import NodeKeys
from participant.store.resharings import MovedAccount
from tss.encoding import Bytes, Integer, ListOf, Text, Tuple, decode, encode
from tss.envelope import IDENTITY_BYTES, SIGNATURE_BYTES, verify_signature
from tss.errors import ProtocolError, SchemaViolation
from tss.params import MAX_PARTIES

_TAG: Final = "wallet-mpc/v1 share destroyed"
_ID: Final = Bytes(32)
_SCHEMA: Final = Tuple(
    *(Text(64), _ID, _ID, Text(512), _ID, _ID, Integer(64)), Bytes(IDENTITY_BYTES), Bytes(SIGNATURE_BYTES)
)
_WORDS: Final = ListOf(Bytes(0, 4096), 0, MAX_PARTIES)


@dataclass(frozen=True)
class Word:
    """What one old holder signed."""

    request_id: bytes
    committee_id: bytes
    """Of the committee that had the account."""
    account_id: str
    key_id: bytes
    new_committee_id: bytes
    given_at: int
    identity: bytes


def write(moved: MovedAccount, keys: NodeKeys, now: int) -> bytes:
    """This node's word, after its share is gone; `now` in seconds since 1970."""
    body = [
        *(_TAG, moved.request_id, moved.committee_id, moved.account_id, moved.key_id),
        *(moved.new_committee_id, now, keys.identity),
    ]
    return encode([*body, keys.sign(encode(body))])


def read(word: bytes) -> Word:
    """Raises SchemaViolation for what is no word, or not signed by whom it names."""
    try:
        *body, signature = decode(word, _SCHEMA)
    except ProtocolError:
        raise SchemaViolation("no old holder's word") from None
    tag, request_id, committee_id, account_id, key_id, new_committee_id, given_at, identity = body
    if tag != _TAG or not verify_signature(identity, encode(body), signature):
        raise SchemaViolation("an old holder's word is not signed by it")
    return Word(request_id, committee_id, account_id, key_id, new_committee_id, int(given_at), identity)


def together(words: Iterable[bytes]) -> bytes:
    """The payload of a note that brings these words."""
    return encode(list(words))


def apart(payload: bytes) -> list[bytes]:
    """The inverse of `together`. Raises SchemaViolation."""
    try:
        return [bytes(word) for word in decode(payload, _WORDS)]
    except ProtocolError:
        raise SchemaViolation("a note that brings no words") from None
