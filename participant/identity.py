"""Who a node is: two Ed25519 keys, and the public card that tells others.

The **identity key** signs every protocol message; peers pin it. The **gateway-access key** proves to a gateway who
connects, so that the identity key never answers a challenge of somebody else's choosing.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import Any, Final, Self

import nacl.bindings

from participant.errors import NodeError
from participant.payloads import strict_json
from participant.payloads.errors import PayloadError
from tss.encoding import Bytes, Text, Tuple, decode, encode
from tss.envelope import IDENTITY_BYTES, SIGNATURE_BYTES, SignFunction, verify_signature
from tss.errors import ProtocolError
from tss.groups import ED25519
from tss.rand import Rng

CARD_VERSION: Final = 1
MAX_CARD_BYTES: Final = 4096
SEED_BYTES: Final = 32
_DOMAIN: Final = "wallet-mpc/v1"
_KEYS_TAG: Final = "node-keys/1"


class BadCard(NodeError):
    """Not a card, or a card that its identity key did not sign."""


def hex_field(value: Any, length: int, what: str) -> bytes:
    """`length` bytes from exactly that many pairs of lower-case hexadecimal digits. Raises ValueError."""
    if not isinstance(value, str) or len(value) != 2 * length or not set(value) <= set("0123456789abcdef"):
        raise ValueError(f"{what} is not {2 * length} lower-case hexadecimal digits")
    return bytes.fromhex(value)


def check_public_key(key: bytes, what: str) -> None:
    """Raise ValueError unless `key` is the canonical encoding of a point of the prime-order group, not O."""
    try:
        identity = ED25519.decode_point(key).is_identity
    except ProtocolError:
        identity = True
    if identity:
        raise ValueError(f"{what} is not an Ed25519 public key")


@dataclass(frozen=True, order=True)
class Card:
    """What a node shows of itself. Cards sort by identity; `verify` has been called on every one that was parsed."""

    identity: bytes
    """32 bytes, Ed25519."""
    gateway_access: bytes
    """32 bytes, Ed25519."""
    signature: bytes = field(repr=False)
    """64 bytes over ENC of [domain, "card", version, identity, gateway_access], by the identity key."""

    def as_dict(self) -> dict[str, Any]:
        """The JSON object."""
        return {
            "version": CARD_VERSION,
            "identity": self.identity.hex(),
            "gateway_access": self.gateway_access.hex(),
            "signature": self.signature.hex(),
        }

    def to_json(self) -> str:
        """The card as one line of JSON."""
        return json.dumps(self.as_dict())

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Parse and verify a card. Raises BadCard."""
        try:
            value = strict_json.loads(text, "the card", MAX_CARD_BYTES)
        except PayloadError as error:
            raise BadCard(str(error)) from None
        return cls.from_dict(value)

    @classmethod
    def from_dict(cls, value: Any) -> Self:
        """Verify a card's object: exactly its four keys. Raises BadCard."""
        expected = {"version", "identity", "gateway_access", "signature"}
        if not isinstance(value, dict) or set(value) != expected:
            raise BadCard(f"a card is an object with exactly the keys {', '.join(sorted(expected))}")
        if value["version"] != CARD_VERSION or isinstance(value["version"], bool):
            raise BadCard(f"card version {value['version']!r}; this release reads version {CARD_VERSION}")
        try:
            card = cls(
                hex_field(value["identity"], IDENTITY_BYTES, "the card's identity"),
                hex_field(value["gateway_access"], IDENTITY_BYTES, "the card's gateway_access"),
                hex_field(value["signature"], SIGNATURE_BYTES, "the card's signature"),
            )
            card.verify()
        except ValueError as error:
            raise BadCard(str(error)) from None
        return card

    def verify(self) -> None:
        """Raise BadCard unless both keys are fit for use, differ, and the identity key signed the card."""
        try:
            check_public_key(self.identity, "the card's identity")
            check_public_key(self.gateway_access, "the card's gateway_access")
        except ValueError as error:
            raise BadCard(str(error)) from None
        if self.identity == self.gateway_access:
            raise BadCard("the card uses one key for two purposes")
        message = _card_message(self.identity, self.gateway_access)
        if not verify_signature(self.identity, message, self.signature):
            raise BadCard("the card is not signed by its identity key; ask its node for it again")


def _card_message(identity: bytes, gateway_access: bytes) -> bytes:
    return encode([_DOMAIN, "card", CARD_VERSION, identity, gateway_access])


class NodeKeys:
    """A node's two secret keys. They live sealed in its store; `repr` hides them."""

    def __init__(self, identity_seed: bytes, gateway_access_seed: bytes) -> None:
        for seed in (identity_seed, gateway_access_seed):
            if len(seed) != SEED_BYTES:
                raise ValueError(f"an Ed25519 seed has {SEED_BYTES} bytes, not {len(seed)}")
        self._seeds = (identity_seed, gateway_access_seed)
        self.identity, self._identity_secret = nacl.bindings.crypto_sign_seed_keypair(identity_seed)
        self.gateway_access, self._access_secret = nacl.bindings.crypto_sign_seed_keypair(gateway_access_seed)

    @classmethod
    def generate(cls, rng: Rng = os.urandom) -> Self:
        """Fresh keys."""
        return cls(rng(SEED_BYTES), rng(SEED_BYTES))

    def with_gateway_access(self, seed: bytes) -> Self:
        """The same identity with another gateway-access key (32-byte seed)."""
        return type(self)(self._seeds[0], seed)

    @property
    def sign(self) -> SignFunction:
        """Signs protocol bodies with the identity key: body -> 64 bytes."""
        return self._sign_as_identity

    def _sign_as_identity(self, message: bytes) -> bytes:
        return _detached(message, self._identity_secret)

    def sign_for_gateway(self, message: bytes) -> bytes:
        """Sign with the gateway-access key: message -> 64 bytes."""
        return _detached(message, self._access_secret)

    def card(self) -> Card:
        """The public card."""
        message = _card_message(self.identity, self.gateway_access)
        return Card(self.identity, self.gateway_access, self._sign_as_identity(message))

    def to_bytes(self) -> bytes:
        """ENC of the two seeds, for a sealed store only."""
        return encode([_KEYS_TAG, *self._seeds])

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The inverse of `to_bytes`. Raises ValueError."""
        try:
            tag, identity, access = decode(data, Tuple(Text(32), Bytes(SEED_BYTES), Bytes(SEED_BYTES)))
        except ProtocolError as error:
            raise ValueError(f"node keys are damaged: {error}") from None
        if tag != _KEYS_TAG:
            raise ValueError(f"node keys of an unknown kind {tag!r}")
        return cls(identity, access)

    def __repr__(self) -> str:
        return f"NodeKeys(identity={self.identity.hex()})"


def _detached(message: bytes, secret: bytes) -> bytes:
    signed: bytes = nacl.bindings.crypto_sign(message, secret)
    return signed[:SIGNATURE_BYTES]
