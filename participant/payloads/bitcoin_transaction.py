"""Bitcoin transactions as bytes: strict parsing, serialising, and the digests over all of one that single keys sign."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from participant.payloads.errors import PayloadError
from tss.frost.ciphersuite import tagged_hash

SIGHASH_DEFAULT: Final = 0
"""Of Taproot: what SIGHASH_ALL covers, in a signature without a sighash byte."""
SIGHASH_ALL: Final = 1
MAX_MONEY: Final = 21_000_000 * 100_000_000
"""Satoshi; the network refuses more in an output or in all of a transaction's."""
OUTPOINT_BYTES: Final = 36
_EPOCH, _BY_KEY = 0, 0
"""Of BIP-341's digest: its version, and a spend without scripts and annex."""


def sha256d(data: bytes) -> bytes:
    """SHA-256 twice; 32 bytes."""
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def compact_size(number: int) -> bytes:
    """The shortest CompactSize of `number`."""
    if number < 0xFD:
        return bytes([number])
    for prefix, size in ((b"\xfd", 2), (b"\xfe", 4), (b"\xff", 8)):
        if number < 1 << 8 * size:
            return prefix + number.to_bytes(size, "little")
    raise PayloadError(f"{number} has no CompactSize")


def counted(data: bytes) -> bytes:
    """`data` behind its length."""
    return compact_size(len(data)) + data


class Cursor:
    """Reads bytes from the front; whatever is not there is a PayloadError."""

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._what = what
        self._position = 0

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        end = self._position + size
        if end > len(self._data):
            raise PayloadError(f"{self._what} is cut off after {len(self._data)} bytes")
        found = self._data[self._position : end]
        self._position = end
        return found

    def number(self, size: int) -> int:
        """A little-endian unsigned integer of `size` bytes."""
        return int.from_bytes(self.take(size), "little")

    def compact(self) -> int:
        """A CompactSize in its shortest form."""
        first = self.number(1)
        if first < 0xFD:
            return first
        found = self.number(1 << first - 0xFC)
        if len(compact_size(found)) != 1 + (1 << first - 0xFC):
            raise PayloadError(f"{self._what} has a length in a longer form than it needs")
        return found

    def counted(self) -> bytes:
        """A byte string behind its length."""
        return self.take(self.compact())

    def count(self, smallest: int) -> int:
        """A number of items of at least `smallest` bytes each: refused before anything is made of it if they cannot fit."""
        found = self.compact()
        if found * smallest > self.left:
            raise PayloadError(f"{self._what} announces {found} items, more than its bytes hold")
        return found

    def peek(self, size: int) -> bytes:
        """The next bytes without taking them; fewer at the end."""
        return self._data[self._position : self._position + size]

    @property
    def left(self) -> int:
        """Bytes not taken yet."""
        return len(self._data) - self._position

    def finish(self) -> None:
        """Refuse trailing bytes."""
        if self.left:
            raise PayloadError(f"{self._what} has {self.left} trailing bytes")


@dataclass(frozen=True)
class TxIn:
    """`outpoint`: previous txid in wire order (32 bytes) and output number (4, little-endian)."""

    outpoint: bytes
    sequence: int
    script_sig: bytes = b""
    witness: tuple[bytes, ...] = ()

    @property
    def txid(self) -> bytes:
        """The previous txid in wire order."""
        return self.outpoint[:32]

    @property
    def vout(self) -> int:
        """The previous output's number."""
        return int.from_bytes(self.outpoint[32:], "little")


@dataclass(frozen=True)
class TxOut:
    """`value` in satoshi, `script` the scriptPubKey."""

    value: int
    script: bytes

    def serialise(self) -> bytes:
        """8 bytes of value, the script behind its length."""
        return self.value.to_bytes(8, "little") + counted(self.script)


@dataclass(frozen=True)
class Transaction:
    """`version` and `locktime` are unsigned 32-bit numbers."""

    version: int
    inputs: tuple[TxIn, ...]
    outputs: tuple[TxOut, ...]
    locktime: int

    @classmethod
    def parse(cls, data: bytes, what: str, *, segwit: bool) -> Transaction:
        """Read exactly one transaction; with `segwit`, BIP-144's form with witnesses too. Raises PayloadError."""
        cursor = Cursor(data, what)
        version = cursor.number(4)
        has_witness = segwit and cursor.peek(2) == b"\x00\x01"
        if has_witness:
            cursor.take(2)
        inputs = [_read_input(cursor) for _ in range(cursor.count(OUTPOINT_BYTES + 5))]
        outputs = [TxOut(cursor.number(8), cursor.counted()) for _ in range(cursor.count(9))]
        if has_witness:
            inputs = [
                replace(i, witness=tuple(cursor.counted() for _ in range(cursor.count(1)))) for i in inputs
            ]
            if not any(i.witness for i in inputs):
                raise PayloadError(f"{what} has the marker of witnesses and none")
        locktime = cursor.number(4)
        cursor.finish()
        return cls(version, tuple(inputs), tuple(outputs), locktime)

    def serialise(self, *, witness: bool = True) -> bytes:
        """Network form; without `witness` the form that txids and PSBTs are made of."""
        with_witness = witness and any(i.witness for i in self.inputs)
        parts = [
            self.version.to_bytes(4, "little"),
            b"\x00\x01" if with_witness else b"",
            compact_size(len(self.inputs)),
        ]
        parts += [i.outpoint + counted(i.script_sig) + i.sequence.to_bytes(4, "little") for i in self.inputs]
        parts += [compact_size(len(self.outputs)), *(o.serialise() for o in self.outputs)]
        if with_witness:
            parts += [compact_size(len(i.witness)) + b"".join(map(counted, i.witness)) for i in self.inputs]
        return b"".join([*parts, self.locktime.to_bytes(4, "little")])

    def txid(self) -> bytes:
        """In wire order, 32 bytes; explorers show it reversed."""
        return sha256d(self.serialise(witness=False))


def _read_input(cursor: Cursor) -> TxIn:
    outpoint = cursor.take(OUTPOINT_BYTES)
    script_sig = cursor.counted()
    return TxIn(outpoint, cursor.number(4), script_sig)


class SighashAll:
    """The SIGHASH_ALL digests of one transaction; what its inputs share is hashed once."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction
        inputs, outputs = transaction.inputs, transaction.outputs
        self._prevouts = sha256d(b"".join(i.outpoint for i in inputs))
        self._sequences = sha256d(b"".join(i.sequence.to_bytes(4, "little") for i in inputs))
        self._outputs = sha256d(b"".join(o.serialise() for o in outputs))
        self._once: tuple[bytes, ...] | None = None

    def segwit(self, index: int, script_code: bytes, value: int) -> bytes:
        """BIP-143 for version 0; `value` is what the input spends, in satoshi."""
        spent = self._tx.inputs[index]
        return sha256d(
            self._tx.version.to_bytes(4, "little")
            + self._prevouts
            + self._sequences
            + spent.outpoint
            + counted(script_code)
            + value.to_bytes(8, "little")
            + spent.sequence.to_bytes(4, "little")
            + self._outputs
            + self._tx.locktime.to_bytes(4, "little")
            + SIGHASH_ALL.to_bytes(4, "little")
        )

    def legacy(self, index: int, script_code: bytes) -> bytes:
        """The digest before segwit: every scriptSig empty but the signed input's, which holds `script_code`."""
        inputs = tuple(
            replace(i, script_sig=script_code if place == index else b"")
            for place, i in enumerate(self._tx.inputs)
        )
        body = replace(self._tx, inputs=inputs).serialise(witness=False)
        return sha256d(body + SIGHASH_ALL.to_bytes(4, "little"))

    def taproot(self, index: int, spent: Sequence[TxOut], sighash_type: int) -> bytes:
        """BIP-341 for a spend by the key: every input's amount and script is signed with it.

        `spent`: what the inputs spend, all of them; `sighash_type` SIGHASH_DEFAULT or SIGHASH_ALL.
        """
        if self._once is None:
            inputs, outputs = self._tx.inputs, self._tx.outputs
            lists = (
                (i.outpoint for i in inputs),
                (out.value.to_bytes(8, "little") for out in spent),
                (counted(out.script) for out in spent),
                (i.sequence.to_bytes(4, "little") for i in inputs),
                (out.serialise() for out in outputs),
            )
            self._once = tuple(hashlib.sha256(b"".join(parts)).digest() for parts in lists)
        return tagged_hash(
            "TapSighash",
            bytes([_EPOCH, sighash_type]),
            self._tx.version.to_bytes(4, "little"),
            self._tx.locktime.to_bytes(4, "little"),
            *self._once,
            bytes([_BY_KEY]),
            index.to_bytes(4, "little"),
        )
