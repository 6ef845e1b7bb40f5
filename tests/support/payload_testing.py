"""An account whose private keys the test knows, and the vectors that are read from TSS_VECTORS."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from bip_utils import Bip32KeyData, Bip32Slip10Secp256k1
from coincurve import PrivateKey

from participant.payloads.decoded import ORDER, Decoded, DigestToSign, Signature
from tss.frost.bip340 import Tweaks, tweaked
from tss.groups import SECP256K1


class TestAccount:
    """`Keys` with the private side; children come from bip-utils, which is not ours."""

    __test__ = False

    def __init__(self, secret: bytes, chain_code: bytes = bytes(range(32))) -> None:
        self.root = Bip32Slip10Secp256k1.FromPrivateKey(secret, Bip32KeyData(chain_code=chain_code))
        self.asked: list[tuple[int, ...]] = []

    def _at(self, path: tuple[int, ...]) -> Bip32Slip10Secp256k1:
        node = self.root
        for index in path:
            node = node.ChildKey(index)
        return node

    def public_key(self, path: tuple[int, ...]) -> bytes:
        self.asked.append(path)
        return self._at(path).PublicKey().RawCompressed().ToBytes()

    def private_key(self, path: tuple[int, ...] = ()) -> bytes:
        return self._at(path).PrivateKey().Raw().ToBytes()

    @property
    def fingerprint(self) -> bytes:
        return self.root.PublicKey().FingerPrint().ToBytes()

    def sign(self, path: tuple[int, ...], digest: bytes) -> Signature:
        return sign(self.private_key(path), digest)

    def sign_all(self, decoded: Decoded) -> tuple[Signature, ...]:
        return tuple(self.sign_due(due) for due in decoded.digests)

    def sign_due(self, due: DigestToSign) -> Signature:
        """By ECDSA or by BIP-340, as is due."""
        if due.tweaks is None:
            return self.sign(due.path, due.digest)
        secret = int.from_bytes(self.private_key(due.path), "big")
        key = tweaked(SECP256K1.mul_base(secret), bytes(32), Tweaks((), due.tweaks.taproot))
        scalar = (key.a * secret + key.b) % ORDER
        raw = PrivateKey(scalar.to_bytes(32, "big")).sign_schnorr(due.digest, bytes(32))
        return Signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"), 0)


def sign(secret: bytes, digest: bytes) -> Signature:
    """By libsecp256k1: RFC 6979 nonce, low s."""
    raw = PrivateKey(secret).sign_recoverable(digest, hasher=None)
    signature = Signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:64], "big"), raw[64])
    assert signature.s <= ORDER // 2
    return signature


def ethereum_vectors(name: str) -> Any:
    """A file of vectors/ethereum; fails, never skips, where the vectors are not there."""
    folder = os.environ.get("TSS_VECTORS")
    assert folder, "set TSS_VECTORS to the folder of test vectors"
    return json.loads((Path(folder) / "ethereum" / name).read_text())
