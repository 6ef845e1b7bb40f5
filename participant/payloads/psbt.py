"""The PSBT container: key-value maps of BIP-174 (version 0) and BIP-370 (version 2), with BIP-371's fields, strict and lossless.

Unknown fields are carried along untouched. What a field means for signing is `bitcoin.py`'s business.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from participant.payloads.bitcoin_transaction import (
    OUTPOINT_BYTES,
    Cursor,
    Transaction,
    TxIn,
    TxOut,
    compact_size,
    counted,
)
from participant.payloads.errors import PayloadError

MAGIC: Final = b"psbt\xff"
MAX_BYTES: Final = 2 * 1024 * 1024
"""Previous transactions take most of it; a proposal with a PSBT of this size still fits a room's message in base64."""
MAX_INPUTS: Final = 1000
FINAL_SEQUENCE: Final = 0xFFFFFFFF
LOCKTIME_THRESHOLD: Final = 500_000_000
"""Below it a lock time is a block height, from it on a time in seconds."""

GLOBAL_UNSIGNED_TX, GLOBAL_TX_VERSION, GLOBAL_FALLBACK_LOCKTIME = 0x00, 0x02, 0x03
GLOBAL_INPUT_COUNT, GLOBAL_OUTPUT_COUNT, GLOBAL_TX_MODIFIABLE, GLOBAL_VERSION = 0x04, 0x05, 0x06, 0xFB
IN_NON_WITNESS_UTXO, IN_WITNESS_UTXO, IN_PARTIAL_SIG, IN_SIGHASH_TYPE = 0x00, 0x01, 0x02, 0x03
IN_REDEEM_SCRIPT, IN_WITNESS_SCRIPT, IN_BIP32_DERIVATION = 0x04, 0x05, 0x06
IN_FINAL_SCRIPTSIG, IN_FINAL_SCRIPTWITNESS = 0x07, 0x08
IN_PREVIOUS_TXID, IN_OUTPUT_INDEX, IN_SEQUENCE, IN_TIME_LOCKTIME, IN_HEIGHT_LOCKTIME = (
    0x0E,
    0x0F,
    0x10,
    0x11,
    0x12,
)
IN_TAP_KEY_SIG, IN_TAP_SCRIPT_SIG, IN_TAP_LEAF_SCRIPT = 0x13, 0x14, 0x15
IN_TAP_BIP32_DERIVATION, IN_TAP_INTERNAL_KEY, IN_TAP_MERKLE_ROOT = 0x16, 0x17, 0x18
OUT_BIP32_DERIVATION, OUT_AMOUNT, OUT_SCRIPT = 0x02, 0x03, 0x04
OUT_TAP_INTERNAL_KEY, OUT_TAP_TREE, OUT_TAP_BIP32_DERIVATION = 0x05, 0x06, 0x07

_GLOBAL_V2: Final = {
    GLOBAL_TX_VERSION,
    GLOBAL_FALLBACK_LOCKTIME,
    GLOBAL_INPUT_COUNT,
    GLOBAL_OUTPUT_COUNT,
    GLOBAL_TX_MODIFIABLE,
}
_IN_V2: Final = {IN_PREVIOUS_TXID, IN_OUTPUT_INDEX, IN_SEQUENCE, IN_TIME_LOCKTIME, IN_HEIGHT_LOCKTIME}
_OUT_V2: Final = {OUT_AMOUNT, OUT_SCRIPT}
_GLOBAL_SINGLE: Final = {*_GLOBAL_V2, GLOBAL_UNSIGNED_TX, GLOBAL_VERSION}
_IN_SINGLE: Final = {
    *_IN_V2,
    IN_NON_WITNESS_UTXO,
    IN_WITNESS_UTXO,
    IN_SIGHASH_TYPE,
    IN_REDEEM_SCRIPT,
    IN_WITNESS_SCRIPT,
    IN_FINAL_SCRIPTSIG,
    IN_FINAL_SCRIPTWITNESS,
    IN_TAP_KEY_SIG,
    IN_TAP_INTERNAL_KEY,
    IN_TAP_MERKLE_ROOT,
    0x09,
}
_OUT_SINGLE: Final = {*_OUT_V2, OUT_TAP_INTERNAL_KEY, OUT_TAP_TREE, *(0x00, 0x01)}
"""Those by number are of scripts and proofs of reserves, which nothing here reads."""
_KEYED: Final = {
    "input": {IN_PARTIAL_SIG, IN_BIP32_DERIVATION},
    "output": {OUT_BIP32_DERIVATION},
    "global": set[int](),
}

Map = dict[bytes, bytes]


@dataclass
class Psbt:
    """The maps as they stood in the bytes, in their order, and the unsigned transaction that they describe."""

    version: int
    globals: Map
    inputs: list[Map]
    outputs: list[Map]
    transaction: Transaction

    @classmethod
    def parse(cls, data: bytes) -> Psbt:
        """Read exactly one PSBT. Raises PayloadError that names the map and the field."""
        if len(data) > MAX_BYTES:
            raise PayloadError(f"the PSBT has {len(data)} bytes, at most {MAX_BYTES} are taken")
        if not data.startswith(MAGIC):
            raise PayloadError(
                "this is no PSBT", 'one begins with "psbt" and 0xff; a raw transaction cannot be signed'
            )
        cursor = Cursor(data[len(MAGIC) :], "the PSBT")
        common = _read_map(cursor, "global")
        version = _fixed(common, GLOBAL_VERSION, 4, "the PSBT's version", default=0)
        if version not in {0, 2}:
            raise PayloadError(
                f"PSBT version {version} is unknown", "versions 0 (BIP-174) and 2 (BIP-370) are read"
            )
        unsigned = _unsigned(common) if version == 0 else None
        _check_kinds(common, "global", _GLOBAL_SINGLE, _GLOBAL_V2 if version == 0 else {GLOBAL_UNSIGNED_TX})
        if unsigned is None:
            count_in, count_out = (
                _compact(_required(common, kind, f"the number of {what}s"), f"the number of {what}s")
                for kind, what in ((GLOBAL_INPUT_COUNT, "input"), (GLOBAL_OUTPUT_COUNT, "output"))
            )
        else:
            count_in, count_out = len(unsigned.inputs), len(unsigned.outputs)
        if count_in + count_out > cursor.left or count_in > MAX_INPUTS:
            raise PayloadError(
                f"a PSBT of {count_in} inputs and {count_out} outputs", f"at most {MAX_INPUTS} inputs fit"
            )
        if not count_in or not count_out:
            raise PayloadError(f"a PSBT of {count_in} inputs and {count_out} outputs has nothing to sign")
        inputs = [_read_map(cursor, f"input {i}") for i in range(count_in)]
        outputs = [_read_map(cursor, f"output {i}") for i in range(count_out)]
        cursor.finish()
        for i, fields in enumerate(inputs):
            _check_kinds(fields, f"input {i}", _IN_SINGLE, _IN_V2 if version == 0 else set())
            # It is needed only once everybody has signed, too late to find that it cannot be read.
            if (witness := get(fields, IN_FINAL_SCRIPTWITNESS)) is not None:
                read_witness_stack(witness, f"input {i}'s witness")
        for i, fields in enumerate(outputs):
            _check_kinds(fields, f"output {i}", _OUT_SINGLE, _OUT_V2 if version == 0 else set())
        transaction = unsigned if unsigned is not None else _transaction_v2(common, inputs, outputs)
        return cls(version, common, inputs, outputs, transaction)

    def serialise(self) -> bytes:
        """The bytes of the maps as they stand now."""
        return MAGIC + b"".join(map(_write_map, [self.globals, *self.inputs, *self.outputs]))


def get(fields: Map, kind: int) -> bytes | None:
    """The value of a field whose key is its type alone; None where it is absent."""
    return fields.get(bytes([kind]))


def keyed(fields: Map, kind: int) -> dict[bytes, bytes]:
    """Key data to value of every field of one type."""
    return {key[1:]: value for key, value in fields.items() if key[0] == kind}


def _read_map(cursor: Cursor, where: str) -> Map:
    found: Map = {}
    while key := cursor.counted():
        if key in found:
            raise PayloadError(f"{where}: key {key.hex()[:80]} stands twice in the PSBT")
        found[key] = cursor.counted()
    return found


def _write_map(fields: Map) -> bytes:
    return b"".join(counted(key) + counted(value) for key, value in fields.items()) + b"\0"


def _check_kinds(fields: Map, where: str, single: set[int], forbidden: set[int]) -> None:
    for key in fields:
        if key[0] in forbidden:
            raise PayloadError(f"{where}: field 0x{key[0]:02x} belongs to another version of PSBT")
        if key[0] in single and len(key) != 1:
            raise PayloadError(f"{where}: field 0x{key[0]:02x} takes no key data")
        if key[0] in _KEYED[where.partition(" ")[0]] and len(key) not in {34, 66}:
            raise PayloadError(
                f"{where}: field 0x{key[0]:02x} is keyed by {len(key) - 1} bytes, not by a public key"
            )


def _required(fields: Map, kind: int, what: str) -> bytes:
    value = get(fields, kind)
    if value is None:
        raise PayloadError(f"the PSBT lacks {what}")
    return value


def _fixed(fields: Map, kind: int, size: int, what: str, default: int | None = None) -> int:
    """A little-endian integer of `size` bytes; required where no default is given."""
    value = get(fields, kind)
    if value is None and default is not None:
        return default
    value = _required(fields, kind, what)
    if len(value) != size:
        raise PayloadError(f"{what} has {len(value)} bytes, {size} are due")
    return int.from_bytes(value, "little")


def _compact(value: bytes, what: str) -> int:
    cursor = Cursor(value, what)
    number = cursor.compact()
    cursor.finish()
    return number


def _unsigned(common: Map) -> Transaction:
    data = _required(common, GLOBAL_UNSIGNED_TX, "the unsigned transaction")
    transaction = Transaction.parse(data, "the PSBT's unsigned transaction", segwit=False)
    if any(i.script_sig for i in transaction.inputs):
        raise PayloadError(
            "the PSBT's unsigned transaction has a scriptSig", "signatures belong into the input's fields"
        )
    return transaction


def _transaction_v2(common: Map, inputs: list[Map], outputs: list[Map]) -> Transaction:
    if get(common, GLOBAL_TX_MODIFIABLE) is not None:
        _fixed(common, GLOBAL_TX_MODIFIABLE, 1, "what may be modified")
    return Transaction(
        version=_fixed(common, GLOBAL_TX_VERSION, 4, "the transaction's version"),
        inputs=tuple(_input_v2(fields, f"input {i}") for i, fields in enumerate(inputs)),
        outputs=tuple(
            TxOut(
                _fixed(fields, OUT_AMOUNT, 8, f"output {i}'s amount"),
                _required(fields, OUT_SCRIPT, f"output {i}'s script"),
            )
            for i, fields in enumerate(outputs)
        ),
        locktime=_locktime_v2(common, inputs),
    )


def _input_v2(fields: Map, where: str) -> TxIn:
    txid = _required(fields, IN_PREVIOUS_TXID, f"{where}'s previous txid")
    vout = _fixed(fields, IN_OUTPUT_INDEX, 4, f"{where}'s output index")
    outpoint = txid + vout.to_bytes(4, "little")
    if len(outpoint) != OUTPOINT_BYTES:
        raise PayloadError(f"{where}'s previous txid has {len(txid)} bytes, 32 are due")
    return TxIn(outpoint, _fixed(fields, IN_SEQUENCE, 4, f"{where}'s sequence", FINAL_SEQUENCE))


def _locktime_v2(common: Map, inputs: list[Map]) -> int:
    """BIP-370, determining lock time: the highest that inputs ask for, in a unit that all of those can have."""
    fallback = _fixed(common, GLOBAL_FALLBACK_LOCKTIME, 4, "the fallback lock time", 0)
    asking: list[tuple[int | None, int | None]] = []
    for i, fields in enumerate(inputs):
        height = _lock(
            fields, IN_HEIGHT_LOCKTIME, f"input {i}'s height lock", lambda n: 0 < n < LOCKTIME_THRESHOLD
        )
        time = _lock(fields, IN_TIME_LOCKTIME, f"input {i}'s time lock", lambda n: n >= LOCKTIME_THRESHOLD)
        if height is not None or time is not None:
            asking.append((height, time))
    if not asking:
        return fallback
    for unit in (0, 1):
        wanted = [lock for locks in asking if (lock := locks[unit]) is not None]
        if len(wanted) == len(asking):
            return max(wanted)
    raise PayloadError("one input of the PSBT asks for a lock by height, another for one by time")


def _lock(fields: Map, kind: int, what: str, sound: Callable[[int], bool]) -> int | None:
    if get(fields, kind) is None:
        return None
    number = _fixed(fields, kind, 4, what)
    if not sound(number):
        raise PayloadError(f"{what} {number} is out of its range")
    return number


def modifiable_cleared(fields: Map) -> Map:
    """The global map once a SIGHASH_ALL signature is in: inputs and outputs may no more be changed (BIP-370)."""
    flags = get(fields, GLOBAL_TX_MODIFIABLE)
    if flags is None:
        return fields
    return {**fields, bytes([GLOBAL_TX_MODIFIABLE]): bytes([int.from_bytes(flags) & ~3])}


def witness_stack(items: tuple[bytes, ...]) -> bytes:
    """The value of a final scriptWitness."""
    return compact_size(len(items)) + b"".join(map(counted, items))


def read_witness_stack(value: bytes, what: str) -> tuple[bytes, ...]:
    """The items of a final scriptWitness."""
    cursor = Cursor(value, what)
    items = tuple(cursor.counted() for _ in range(cursor.count(1)))
    cursor.finish()
    return items
