"""A small payload of every kind."""

from __future__ import annotations

from typing import Any

from participant.payloads import Digest, EthereumTx, Message, Payload, PsbtTx, TypedData
from participant.payloads.psbt import MAGIC

TRANSACTION: dict[str, Any] = {"chainId": 1, "nonce": 0, "gas": 21000, "gasPrice": 1, "to": "0x" + "11" * 20}
TYPED: dict[str, Any] = {
    "types": {"T": [{"name": "x", "type": "uint8[]"}]},
    "primaryType": "T",
    "domain": {"name": "é"},
    "message": {"x": [1, 2]},
}
# One input, one output, nothing else: BIP-174's form by hand.
PSBT = (
    MAGIC
    + b"\1\0\x3c"
    + bytes.fromhex("0200000001" + "ab" * 32 + "0000000000ffffffff01e8030000000000000000000000")
    + b"\0\0\0"
)
PAYLOADS: list[Payload] = [
    Digest(bytes(32)),
    Message(b"hello", "eip191"),
    Message(b"", "sha256d"),
    EthereumTx.parse(TRANSACTION),
    EthereumTx.parse({**TRANSACTION, "from": "0x" + "22" * 20}),
    TypedData.parse(TYPED),
    PsbtTx(PSBT),
]
