"""Plain digests, and messages with a named hash."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from participant.payloads.addresses import keccak256
from participant.payloads.errors import PayloadError

DIGEST_BYTES: Final = 32
MAX_MESSAGE: Final = 256 * 1024


@dataclass(frozen=True)
class DigestSummary:
    """A raw digest: nobody can tell what it stands for."""

    digest: bytes


@dataclass(frozen=True)
class MessageSummary:
    """A message and the hash it goes through."""

    message: bytes
    hash: str


def eip191(message: bytes) -> bytes:
    """personal_sign: Keccak-256 of the EIP-191 version 0x45 prefix, the length in decimal and the message."""
    return keccak256(b"\x19Ethereum Signed Message:\n" + str(len(message)).encode() + message)


def sha256(message: bytes) -> bytes:
    """SHA-256."""
    return hashlib.sha256(message).digest()


def sha256d(message: bytes) -> bytes:
    """SHA-256 twice."""
    return hashlib.sha256(hashlib.sha256(message).digest()).digest()


HASHES: Final[dict[str, Callable[[bytes], bytes]]] = {
    "eip191": eip191,
    "sha256": sha256,
    "sha256d": sha256d,
    "keccak256": keccak256,
}


NO_HASH: Final = "none"
"""The name of no hash: Ed25519 signs the message itself."""

MAX_UNHASHED: Final = 64 * 1024


def check_digest(digest: bytes) -> None:
    """Raise PayloadError unless `digest` has exactly 32 bytes."""
    if len(digest) != DIGEST_BYTES:
        raise PayloadError(
            f"the digest has {len(digest)} bytes, exactly {DIGEST_BYTES} are due",
            "hash the message first, or send it as a message with the name of its hash",
        )


def check_message(message: bytes, name: str) -> None:
    """Raise PayloadError for an unknown hash or a message that is too long."""
    if name == NO_HASH and len(message) > MAX_UNHASHED:
        raise PayloadError(
            f"the message has {len(message)} bytes, at most {MAX_UNHASHED} are signed as they are",
            "sign a hash of it, as your protocol has one",
        )
    if name not in {NO_HASH, *HASHES}:
        raise PayloadError(f"unknown hash {name[:40]!r}", f"known are {', '.join(HASHES)}, {NO_HASH}")
    if len(message) > MAX_MESSAGE:
        raise PayloadError(
            f"the message has {len(message)} bytes, at most {MAX_MESSAGE} are taken",
            "sign its digest instead",
        )
