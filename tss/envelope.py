"""Signed and sealed messages (protocol.md 0.8).

A message body is `ENC([PROTO, sid, round, kind, from, to or none, payload])`; the payload is itself ENC bytes. A
broadcast travels as `ENC([body, signature])`. A peer-to-peer message is signed in the same way; it travels as
`ENC([PROTO, sid, round, kind, from, to, ciphertext])`, where signature || payload is sealed by HPKE to the recipient's
key of this session, and the recipient makes the body from the header. The sender is who signed, never what a header
claims.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import nacl.bindings
import nacl.exceptions
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from tss.encoding import Bytes, Integer, Optional, Text, Tuple, Value, decode, encode
from tss.errors import SchemaViolation

MAX_ENVELOPE_BYTES: Final = 8 << 20
"""The gateway's default body limit; the largest abort message of 16 parties is about 5.4 MB."""

MAX_BROADCAST_BYTES: Final = MAX_ENVELOPE_BYTES - 2048
"""Of an encoded body that others may have to show: signed, it fits into an envelope of whoever shows it."""

MAX_ROUND: Final = 15
SIGNATURE_BYTES: Final = 64
IDENTITY_BYTES: Final = 32
SID_BYTES: Final = 32

SignFunction = Callable[[bytes], bytes]
"""Signs with this party's Ed25519 identity key: body -> 64 bytes."""

_HPKE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


class Kind(enum.StrEnum):
    """The kinds of protocol.md 0.8. The first four are not slots."""

    HELLO = "hello"
    ASK = "ask"
    PROPOSE = "propose"
    SHOW = "show"
    COMPLAINT = "complaint"
    MSG = "msg"
    ECHO = "echo"
    ABORT = "abort"
    DONE = "done"


@dataclass(frozen=True, order=True)
class PartyId:
    """A party in one session: its role and evaluation point. Sorts by role bytes, then by index (protocol.md 0.7)."""

    role: str
    index: int

    def as_list(self) -> list[Value]:
        """[role, I_j] as it is hashed."""
        return [self.role, self.index]


HOLDER: Final = "holder"

PARTY_SCHEMA: Final = Tuple(Text(16), Integer(32))


def holder(index: int) -> PartyId:
    """The party at evaluation point `index` in every protocol but resharing and recovery."""
    return PartyId(HOLDER, index)


def party_from_value(value: list[Value]) -> PartyId:
    """The inverse of `PartyId.as_list` for a value that PARTY_SCHEMA decoded."""
    return PartyId(str(value[0]), int(value[1]))


@dataclass(frozen=True)
class Body:
    """What is signed. Everything but the payload is the message's slot."""

    proto: str
    sid: bytes
    round: int
    kind: Kind
    sender: PartyId
    to: PartyId | None
    payload: bytes

    def encode(self) -> bytes:
        """The ENC body that is signed and hashed."""
        to = None if self.to is None else self.to.as_list()
        return encode(
            [self.proto, self.sid, self.round, str(self.kind), self.sender.as_list(), to, self.payload]
        )

    @property
    def slot(self) -> Slot:
        """The tuple without the payload; proto and sid are the session's."""
        return Slot(self.sid, self.round, self.kind, self.sender, self.to)


@dataclass(frozen=True)
class Slot:
    """One place for one message."""

    sid: bytes
    round: int
    kind: Kind
    sender: PartyId
    to: PartyId | None


@dataclass(frozen=True)
class Signed:
    """A body's bytes with a signature that was checked (or made) by this process."""

    body: Body
    encoded: bytes
    signature: bytes

    def as_value(self) -> list[Value]:
        """[body, signature], how a signed message is shown to a third party."""
        return [self.encoded, self.signature]


@dataclass(frozen=True)
class Sealed:
    """A peer-to-peer envelope as the relay sees it. The header is only a hint until the signature is checked."""

    proto: str
    sid: bytes
    round: int
    kind: Kind
    sender: PartyId
    to: PartyId
    ciphertext: bytes


_BODY_SCHEMA: Final = Tuple(
    Text(64), Bytes(SID_BYTES), Integer(8, below=MAX_ROUND + 1), Text(16), PARTY_SCHEMA, Optional(PARTY_SCHEMA),
    Bytes(0, MAX_ENVELOPE_BYTES),
)  # fmt: skip
SIGNED_SCHEMA: Final = Tuple(Bytes(1, MAX_ENVELOPE_BYTES), Bytes(SIGNATURE_BYTES))
_SEALED_SCHEMA: Final = Tuple(
    Text(64), Bytes(SID_BYTES), Integer(8, below=MAX_ROUND + 1), Text(16), PARTY_SCHEMA, PARTY_SCHEMA,
    Bytes(1, MAX_ENVELOPE_BYTES),
)  # fmt: skip
_COUNT_AT: Final = 5
"""Offset of the item count in an encoded list: behind the tag and the length."""


def _kind(text: str) -> Kind:
    try:
        return Kind(text)
    except ValueError as error:
        raise SchemaViolation(f"unknown kind {text!r}") from error


def decode_body(encoded: bytes) -> Body:
    """Decode an ENC body. Raises SchemaViolation."""
    proto, sid, round_, kind, sender, to, payload = decode(encoded, _BODY_SCHEMA)
    to_party = None if to is None else party_from_value(to)
    return Body(proto, sid, int(round_), _kind(kind), party_from_value(sender), to_party, payload)


def sign(body: Body, sign_function: SignFunction) -> Signed:
    """Sign `body` with this party's identity."""
    encoded = body.encode()
    return Signed(body, encoded, sign_function(encoded))


def verify_signature(identity: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` (64 bytes) of `message` is by the Ed25519 key `identity` (32 bytes)."""
    if len(signature) != SIGNATURE_BYTES or len(identity) != IDENTITY_BYTES:
        return False
    try:
        nacl.bindings.crypto_sign_open(signature + message, identity)
    except nacl.exceptions.CryptoError:
        return False
    return True


def pack(signed: Signed) -> bytes:
    """The envelope of a broadcast."""
    return encode(signed.as_value())


def seal(signed: Signed, epk: bytes) -> bytes:
    """The envelope of a peer-to-peer message, sealed to the recipient's X25519 key `epk` (32 bytes) of this session."""
    body = signed.body
    if body.to is None:
        raise ValueError("a broadcast is not sealed")
    public = X25519PublicKey.from_public_bytes(epk)
    ciphertext = _HPKE.encrypt(signed.signature + body.payload, public, info=_hpke_info(body, body.to))
    return encode(
        [
            body.proto,
            body.sid,
            body.round,
            str(body.kind),
            body.sender.as_list(),
            body.to.as_list(),
            ciphertext,
        ]
    )


def unseal(sealed: Sealed, epk_secret: X25519PrivateKey) -> tuple[Body, bytes]:
    """Open a sealed envelope: (body, its signature), the signature not yet checked. Raises SchemaViolation."""
    try:
        inner = _HPKE.decrypt(sealed.ciphertext, epk_secret, info=_hpke_info(sealed, sealed.to))
    except (InvalidTag, ValueError) as error:
        raise SchemaViolation("sealed payload does not open with this session's key") from error
    if len(inner) < SIGNATURE_BYTES:
        raise SchemaViolation("sealed payload without a signature")
    place = (sealed.proto, sealed.sid, sealed.round, sealed.kind, sealed.sender, sealed.to)
    return Body(*place, inner[SIGNATURE_BYTES:]), inner[:SIGNATURE_BYTES]


def _hpke_info(header: Body | Sealed, to: PartyId) -> bytes:
    place = [header.sid, str(header.kind), header.round, header.sender.as_list(), to.as_list()]
    return encode([header.proto, "p2p", *place])


def unpack(envelope: bytes) -> Sealed | tuple[bytes, bytes]:
    """Take an envelope apart: a Sealed header, or (encoded body, signature), the signature not yet checked.

    Raises SchemaViolation.
    """
    if len(envelope) > MAX_ENVELOPE_BYTES:
        raise SchemaViolation(f"envelope of {len(envelope)} bytes")
    if envelope[_COUNT_AT : _COUNT_AT + 4] == b"\x00\x00\x00\x02":
        encoded, signature = decode(envelope, SIGNED_SCHEMA)
        return encoded, signature
    proto, sid, round_, kind, sender, to, ciphertext = decode(envelope, _SEALED_SCHEMA)
    return Sealed(
        proto, sid, int(round_), _kind(kind), party_from_value(sender), party_from_value(to), ciphertext
    )


def unpack_broadcast(envelope: bytes) -> tuple[Body, bytes, bytes]:
    """(body, encoded body, signature) of a broadcast's envelope, the signature not yet checked.

    Raises SchemaViolation, for a sealed envelope too.
    """
    parts = unpack(envelope)
    if isinstance(parts, Sealed):
        raise SchemaViolation("a sealed envelope is no broadcast")
    return decode_body(parts[0]), *parts


def routing(envelope: bytes) -> tuple[bytes, Kind, PartyId]:
    """(sid or ph, kind, claimed sender) of an envelope, for routing only: nothing is verified. Raises SchemaViolation."""
    parts = unpack(envelope)
    header = parts if isinstance(parts, Sealed) else decode_body(parts[0])
    return header.sid, header.kind, header.sender
