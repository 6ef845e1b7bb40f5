"""That a secp256k1 key signs by BIP-340 and not by ECDSA, and by which of its two keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from participant.payloads.addresses import MAINNET, p2tr
from participant.payloads.errors import PayloadError
from tss.frost.bip340 import MERKLE_ROOT_BYTES, NO_SCRIPTS
from tss.frost.ciphersuite import tagged_hash_prefix

_PLAIN, _NO_SCRIPTS, _SCRIPTS = b"\x01", b"\x02", b"\x03"
MAX_BYTES: Final = 1 + MERKLE_ROOT_BYTES
"""Of `to_bytes`."""

TRANSACTION_PREFIX: Final = tagged_hash_prefix("TapSighash")
"""What SHA-256 is fed with first for the digest of a Taproot input (BIP-341): 64 bytes."""


@dataclass(frozen=True)
class Bip340:
    """`taproot` None: by the key at the request's path; else by the Taproot output key that it has with this merkle root.

    A merkle root has 32 bytes; NO_SCRIPTS is that of an output that only its key spends. Raises PayloadError.
    """

    taproot: bytes | None = None

    def __post_init__(self) -> None:
        if self.taproot and len(self.taproot) != MERKLE_ROOT_BYTES:
            raise PayloadError(
                f"a merkle root of {len(self.taproot)} bytes",
                f"it has {MERKLE_ROOT_BYTES}, or none where the output has no scripts",
            )

    def to_bytes(self) -> bytes:
        """1 byte below 4, which begins no other third item of a payload; 33 with a merkle root."""
        if self.taproot is None:
            return _PLAIN
        return _SCRIPTS + self.taproot if self.taproot else _NO_SCRIPTS

    @classmethod
    def from_bytes(cls, data: bytes) -> Self | None:
        """The inverse; None for nothing. Raises PayloadError for what it does not write."""
        if not data:
            return None
        if data[:1] == _SCRIPTS and len(data) == MAX_BYTES:
            return cls(data[1:])
        if data in (_PLAIN, _NO_SCRIPTS):
            return cls(None if data == _PLAIN else NO_SCRIPTS)
        raise PayloadError("the payload says in no known way how it is signed")


def address_of(public_key: bytes, bip340: Bip340) -> str:
    """Of the output, on Bitcoin's main network, that a signature so made spends; "" where the key itself signs."""
    return "" if bip340.taproot is None else p2tr(public_key, MAINNET, bip340.taproot)


def split(extra: bytes) -> tuple[bytes, Bip340 | None]:
    """The name of a hash, which is text, and what stands behind it. Raises PayloadError."""
    end = next((i for i, byte in enumerate(extra) if byte <= _SCRIPTS[0]), len(extra))
    return extra[:end], Bip340.from_bytes(extra[end:])
