"""Extended public keys as BIP-32 writes them: a key, its chain code and its place in the tree, in base58check.

Whoever has one finds every address below it, and with one private key below it the private keys of all (protocol.md
6.1): giving it out is an operator's decision. Derivation is SLIP-10's, which differs from BIP-32's only where that has no
key (probability 2^-127).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Self

from coincurve import PublicKey

from participant.payloads.addresses import base58check, base58check_decode, hash160
from participant.payloads.errors import PayloadError
from tss import hd
from tss.groups import SECP256K1, Point

MAINNET_VERSION: Final = 0x0488B21E
"""`xpub`."""
TESTNET_VERSION: Final = 0x043587CF
"""`tpub`."""
SERIALISED_BYTES: Final = 78


@dataclass(frozen=True)
class ExtendedPublicKey:
    """One node of the tree."""

    depth: int
    """0 for the root, at most 255."""
    parent: bytes
    """First 4 bytes of HASH160 of the parent's key; zero for the root."""
    child: int
    """Index below the parent, below 2^31; 0 for the root."""
    chain_code: bytes = field(repr=False)
    """32 bytes."""
    key: bytes
    """33 bytes, compressed SEC1."""

    @classmethod
    def of(cls, X: Point, chain_code: bytes, path: Sequence[int]) -> Self:
        """The key at a path of soft indices below the root (X, c). Raises HardenedPath and CallerError as `hd.derive`."""
        if X.group is not SECP256K1:
            # The same words as for a child, which no derivation of the root itself would say.
            hd.derive(X, chain_code, [0])
        found = hd.derive(X, chain_code, path)
        parent, child = bytes(4), 0
        if path:
            parent = hash160(hd.derive(X, chain_code, path[:-1]).X_c.to_bytes())[:4]
            child = path[-1]
        return cls(len(path), parent, child, found.c_c, found.X_c.to_bytes())

    def to_text(self, *, testnet: bool = False) -> str:
        """111 characters, "xpub..." or "tpub..."."""
        version = TESTNET_VERSION if testnet else MAINNET_VERSION
        head = version.to_bytes(4, "big") + bytes([self.depth]) + self.parent
        return base58check(head + self.child.to_bytes(4, "big") + self.chain_code + self.key)

    @classmethod
    def from_text(cls, text: str) -> Self:
        """The inverse of `to_text`, for either network. Raises PayloadError."""
        try:
            data = base58check_decode(text)
            PublicKey(data[45:])
        except ValueError as error:
            raise PayloadError(f"this is no extended public key: {error}") from None
        version = int.from_bytes(data[:4], "big")
        if len(data) != SERIALISED_BYTES or version not in (MAINNET_VERSION, TESTNET_VERSION):
            raise PayloadError("this is no extended public key: neither xpub nor tpub")
        depth, parent, child = data[4], data[5:9], int.from_bytes(data[9:13], "big")
        if depth == 0 and (parent != bytes(4) or child):
            raise PayloadError("this is no extended public key: a root with a parent")
        return cls(depth, parent, child, data[13:45], data[45:])

    def at(self, path: Sequence[int]) -> bytes:
        """The compressed public key at a path of soft indices below this one."""
        return hd.derive(SECP256K1.decode_point(self.key), self.chain_code, path).X_c.to_bytes()
