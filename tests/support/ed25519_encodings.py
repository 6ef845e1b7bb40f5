"""Encodings of Ed25519 that are no point of the prime-order subgroup (RFC 8032 5.1.3, protocol.md 6.2)."""

from __future__ import annotations

from nacl.bindings import crypto_core_ed25519_add

from tss.groups import ED25519

SMALL_ORDER = {
    "of order 2": bytes.fromhex("ec" + "ff" * 30 + "7f"),
    "of order 4": bytes(32),
    "of order 8": bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
}
IDENTITY = b"\x01" + bytes(31)
BAD_ENCODINGS = {
    **SMALL_ORDER,
    "of mixed order": crypto_core_ed25519_add(ED25519.G.to_bytes(), SMALL_ORDER["of order 8"]),
    "the identity with the sign of x set": b"\x01" + bytes(30) + b"\x80",
    "y = p + 1": bytes.fromhex("ee" + "ff" * 30 + "7f"),
    "not on the curve": b"\x02" + bytes(31),
}
