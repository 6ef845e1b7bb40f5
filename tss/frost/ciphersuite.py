"""The hashes of FROST(Ed25519, SHA-512) (RFC 9591 6.1, protocol.md 6.2): little-endian, unlike all other hashes here."""

from __future__ import annotations

import hashlib
from typing import Final

from tss.groups import ED25519, Point

CONTEXT: Final = b"FROST-ED25519-SHA512-v1"
_DKG: Final = b"dkg"


def _scalar(*parts: bytes) -> int:
    return ED25519.scalar_from_bytes_wrapping(hashlib.sha512(b"".join(parts)).digest())


def H1(m: bytes) -> int:
    """SHA-512(CONTEXT || "rho" || m) mod L: binding factors."""
    return _scalar(CONTEXT, b"rho", m)


def H2(m: bytes) -> int:
    """SHA-512(m) mod L: the challenge, as RFC 8032 has it."""
    return _scalar(m)


def H3(m: bytes) -> int:
    """SHA-512(CONTEXT || "nonce" || m) mod L: nonces."""
    return _scalar(CONTEXT, b"nonce", m)


def H4(m: bytes) -> bytes:
    """SHA-512(CONTEXT || "msg" || m), 64 bytes."""
    return hashlib.sha512(CONTEXT + b"msg" + m).digest()


def H5(m: bytes) -> bytes:
    """SHA-512(CONTEXT || "com" || m), 64 bytes."""
    return hashlib.sha512(CONTEXT + b"com" + m).digest()


def ser(scalar: int) -> bytes:
    """A scalar, or an identifier, as 32 little-endian bytes."""
    return ED25519.scalar_to_bytes(scalar)


def pop_challenge(sid: bytes, i: int, C_0: Point, R: Point) -> int:
    """c_i of the proof of possession: bound to the session, so that it cannot be replayed (protocol.md 6.2)."""
    return _scalar(CONTEXT, _DKG, sid, ser(i), C_0.to_bytes(), R.to_bytes())
