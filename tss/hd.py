"""SLIP-10 public derivation on secp256k1 (protocol.md 6.1): BIP-32's soft children, with SLIP-10's retry.

A child's private key together with the chain code and X gives the root's private key: never export one.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tss.errors import CallerError, HardenedPath
from tss.groups import SECP256K1, Point

HARDENED: Final = 1 << 31
"""Indices from here on need the private key."""

MAX_DEPTH: Final = 255
"""Levels below the root: an extended public key counts them in one byte (BIP-32)."""

CHAIN_CODE_BYTES: Final = 32
_COMPONENT: Final = re.compile(r"(0|[1-9][0-9]{0,9})(['hH]?)", re.ASCII)


@dataclass(frozen=True)
class Derived:
    """A child key: its point, its chain code (32 bytes) and tau with X_c = X + tau*G."""

    X_c: Point
    c_c: bytes = field(repr=False)
    tau: int = field(repr=False)


def parse_path(text: str) -> tuple[int, ...]:
    """The indices of a path such as "m", "m/0/5": each in decimal without leading zeros, "m" the root.

    Raises HardenedPath for a hardened component ("0'", "0h", an index of 2^31 or more), CallerError for anything that is
    not a path.
    """
    root, *components = text.split("/")
    if root != "m":
        raise CallerError(f"derivation path {text[:80]!r}: it begins with m, as in m/0/5")
    path: list[int] = []
    for component in components:
        match = _COMPONENT.fullmatch(component)
        if match is None:
            raise CallerError(f"derivation path {text[:80]!r}: {component[:20]!r} is not an index")
        if match[2]:
            raise HardenedPath(
                f"derivation path {text[:80]!r}: {component} is hardened; that needs the private key"
            )
        path.append(int(match[1]))
    check_path(path)
    return tuple(path)


def format_path(path: Sequence[int]) -> str:
    """The text that `parse_path` takes."""
    return "/".join(["m", *map(str, path)])


def check_path(path: Sequence[int]) -> None:
    """Raise HardenedPath for an index of 2^31 or more, CallerError for a negative one or more than 255 levels."""
    if len(path) > MAX_DEPTH:
        raise CallerError(f"derivation path of {len(path)} levels, at most {MAX_DEPTH}")
    for index in path:
        if index < 0:
            raise CallerError(f"derivation index {index} is negative")
        if index >= HARDENED:
            raise HardenedPath(
                f"derivation index {index} is hardened (2^31 or more); that needs the private key"
            )


def derive(X: Point, c: bytes, path: Sequence[int]) -> Derived:
    """The child of the root (X, c) at `path`; the root itself, with tau = 0, for the empty path.

    Raises HardenedPath and CallerError as `check_path` does; CallerError too for a root that is O or not on secp256k1
    (SLIP-10 has no public derivation for Ed25519) and for a chain code that is not 32 bytes.
    """
    check_path(path)
    if len(c) != CHAIN_CODE_BYTES:
        raise CallerError(f"chain code of {len(c)} bytes, {CHAIN_CODE_BYTES} are due")
    if X.is_identity:
        raise CallerError("the point O has no children")
    tau = 0
    for index in path:
        if X.group is not SECP256K1:
            raise CallerError(f"{X.group.name} has no public derivation (SLIP-10 defines hardened only)")
        X, c, shift = _child(X, c, index)
        tau = (tau + shift) % SECP256K1.q
    return Derived(X, c, tau)


def _child(X_par: Point, c_par: bytes, index: int) -> tuple[Point, bytes, int]:
    """(X_ch, c_ch, IL) of one step."""
    suffix = index.to_bytes(4, "big")
    data = X_par.to_bytes() + suffix
    while True:
        digest = _hmac_sha512(c_par, data)
        shift, IR = int.from_bytes(digest[:32], "big"), digest[32:]
        if shift < SECP256K1.q:
            X_ch = X_par + SECP256K1.mul_base(shift)
            if not X_ch.is_identity:
                return X_ch, IR, shift
        # Probability 2^-127. SLIP-10 tries again where BIP-32 would skip the index.
        data = b"\x01" + IR + suffix


def _hmac_sha512(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, hashlib.sha512)
