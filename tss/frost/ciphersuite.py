"""What differs between FROST's ciphersuites: hashes, the bytes of a signature, who verifies it (RFC 9591 6, protocol.md 6.2).

There is one a group: FROST(Ed25519, SHA-512) of RFC 9591, whose scalars are little-endian unlike all other hashes here,
and on secp256k1 FROST for BIP-340: the hashes of RFC 9591's FROST(secp256k1, SHA-256) under a context string of its own,
with BIP-340's challenge, x-only keys and even R.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from typing import Final

from tss.envelope import verify_signature
from tss.groups import ED25519, SECP256K1, Group, Point
from tss.groups.secp256k1 import schnorr_verify

_DKG: Final = b"dkg"


class Ciphersuite(ABC):
    """The functions that RFC 9591 wants of a ciphersuite, and what BIP-340 has in addition."""

    group: Group
    context: bytes
    """The context string, a prefix of every hash but H2."""

    @abstractmethod
    def H1(self, m: bytes) -> int:
        """Binding factors."""

    @abstractmethod
    def H2(self, m: bytes) -> int:
        """The challenge, as the signature's own standard has it."""

    @abstractmethod
    def H3(self, m: bytes) -> int:
        """Nonces."""

    @abstractmethod
    def H4(self, m: bytes) -> bytes:
        """Messages."""

    @abstractmethod
    def H5(self, m: bytes) -> bytes:
        """Lists of commitments."""

    @abstractmethod
    def verify(self, X: Point, message: bytes, encoded: bytes) -> bool:
        """Whether `encoded` signs `message` under X, by a library that knows nothing of thresholds."""

    def ser(self, scalar: int) -> bytes:
        """A scalar, or an identifier, as the group writes it: 32 bytes."""
        return self.group.scalar_to_bytes(scalar)

    def written(self, point: Point) -> bytes:
        """R and X as they stand in the signature and under H2."""
        return point.to_bytes()

    def negates(self, R: Point) -> bool:
        """Whether the nonces of all signers change their sign, because the signature cannot be of this R."""
        del R
        return False


class Ed25519Sha512(Ciphersuite):
    """FROST(Ed25519, SHA-512), RFC 9591 6.1; signatures are those of RFC 8032."""

    group = ED25519
    context = b"FROST-ED25519-SHA512-v1"

    def _scalar(self, *parts: bytes) -> int:
        return ED25519.scalar_from_bytes_wrapping(hashlib.sha512(b"".join(parts)).digest())

    def H1(self, m: bytes) -> int:
        """SHA-512(context || "rho" || m) mod L."""
        return self._scalar(self.context, b"rho", m)

    def H2(self, m: bytes) -> int:
        """SHA-512(m) mod L, as RFC 8032 has it."""
        return self._scalar(m)

    def H3(self, m: bytes) -> int:
        """SHA-512(context || "nonce" || m) mod L."""
        return self._scalar(self.context, b"nonce", m)

    def H4(self, m: bytes) -> bytes:
        """SHA-512(context || "msg" || m), 64 bytes."""
        return hashlib.sha512(self.context + b"msg" + m).digest()

    def H5(self, m: bytes) -> bytes:
        """SHA-512(context || "com" || m), 64 bytes."""
        return hashlib.sha512(self.context + b"com" + m).digest()

    def verify(self, X: Point, message: bytes, encoded: bytes) -> bool:
        """As plain Ed25519."""
        return verify_signature(X.to_bytes(), message, encoded)

    def pop_challenge(self, sid: bytes, i: int, C_0: Point, R: Point) -> int:
        """c_i of the proof of possession: bound to the session, so that it cannot be replayed (protocol.md 6.2)."""
        return self._scalar(self.context, _DKG, sid, self.ser(i), C_0.to_bytes(), R.to_bytes())


class Secp256k1Sha256(Ciphersuite):
    """H1, H3, H4 and H5 of FROST(secp256k1, SHA-256), RFC 9591 6.5."""

    group = SECP256K1

    def _scalar(self, domain: bytes, m: bytes) -> int:
        return SECP256K1.scalar_from_bytes_wrapping(expand_message_xmd(m, self.context + domain, 48))

    def H1(self, m: bytes) -> int:
        """hash_to_field(m) with DST = context || "rho"."""
        return self._scalar(b"rho", m)

    def H3(self, m: bytes) -> int:
        """hash_to_field(m) with DST = context || "nonce"."""
        return self._scalar(b"nonce", m)

    def H4(self, m: bytes) -> bytes:
        """SHA-256(context || "msg" || m), 32 bytes."""
        return hashlib.sha256(self.context + b"msg" + m).digest()

    def H5(self, m: bytes) -> bytes:
        """SHA-256(context || "com" || m), 32 bytes."""
        return hashlib.sha256(self.context + b"com" + m).digest()


class Bip340(Secp256k1Sha256):
    """FROST whose signatures are BIP-340's: keys have an even y coordinate (`tss.frost.bip340`), and so has R.

    The context string is that of the Zcash Foundation's frost-secp256k1-tr: the signature shares are the same.
    """

    context = b"FROST-secp256k1-SHA256-TR-v1"

    def H2(self, m: bytes) -> int:
        """The tagged hash of BIP-340, mod q."""
        return SECP256K1.scalar_from_bytes_wrapping(tagged_hash("BIP0340/challenge", m))

    def written(self, point: Point) -> bytes:
        """The x coordinate, 32 bytes: of the two points that have it BIP-340 means the one with the even y."""
        return x_only(point)

    def negates(self, R: Point) -> bool:
        """When its y is odd: the signature is then of -R."""
        return SECP256K1.y_is_odd(R)

    def verify(self, X: Point, message: bytes, encoded: bytes) -> bool:
        """By libsecp256k1. X has an even y; no signature is one of another key."""
        return not SECP256K1.y_is_odd(X) and schnorr_verify(x_only(X), message, encoded)


ED25519_SHA512: Final = Ed25519Sha512()
BIP340: Final = Bip340()
_BY_GROUP: Final[dict[str, Ciphersuite]] = {suite.group.name: suite for suite in (ED25519_SHA512, BIP340)}


def ciphersuite(group: Group) -> Ciphersuite:
    """The ciphersuite of a group."""
    return _BY_GROUP[group.name]


def x_only(point: Point) -> bytes:
    """The x coordinate of a point of secp256k1 that is not O, 32 bytes big-endian (BIP-340)."""
    return SECP256K1.x(point).to_bytes(32, "big")


def tagged_hash(tag: str, *parts: bytes) -> bytes:
    """SHA-256(SHA-256(tag) || SHA-256(tag) || parts), 32 bytes (BIP-340)."""
    return hashlib.sha256(tagged_hash_prefix(tag) + b"".join(parts)).digest()


def tagged_hash_prefix(tag: str) -> bytes:
    """SHA-256(tag) twice, 64 bytes: what sets the hashes of one tag apart from all others (BIP-340)."""
    return hashlib.sha256(tag.encode()).digest() * 2


def expand_message_xmd(m: bytes, dst: bytes, length: int) -> bytes:
    """`length` uniform bytes by SHA-256 under the domain `dst` of at most 255 bytes (RFC 9380 5.3.1)."""
    tail = dst + bytes([len(dst)])
    b_0 = hashlib.sha256(bytes(64) + m + length.to_bytes(2, "big") + b"\0" + tail).digest()
    block, found = bytes(32), b""
    for k in range(1, -(-length // 32) + 1):
        mixed = bytes(a ^ b for a, b in zip(b_0, block, strict=True))
        block = hashlib.sha256(mixed + bytes([k]) + tail).digest()
        found += block
    return found[:length]
