from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
from embit.psbt import PSBT
from psbt_testing import (
    ACCOUNT,
    GLOBAL_2,
    INPUT_2,
    MIXED,
    OUTPUT_2,
    UNSIGNED,
    Payment,
    le,
    psbt_bytes,
    version_0,
    version_2,
)

from participant.payloads import PayloadError, PsbtTx, decode
from participant.payloads.bitcoin_transaction import Transaction, TxIn, TxOut, compact_size, counted
from participant.payloads.psbt import (
    Map,
    Psbt,
    keyed,
    modifiable_cleared,
    read_witness_stack,
    witness_stack,
)

VECTORS = json.loads(Path(__file__).with_name("psbt-vectors.json").read_text())
SINGLE = {
    "global": [2, 3, 4, 5, 6, 0xFB],
    "input 0": [0, 1, 3, 4, 5, 7, 8, 9, 0x0E, 0x0F, 0x10, 0x11, 0x12, 0x13, 0x17, 0x18],
    "output 0": [0, 1, 3, 4, 5, 6],
}
"""Of version 2: the fields of which a map has one."""
KEYED = [("input 0", 2), ("input 0", 6), ("output 0", 2)]
"""The fields that are keyed by a public key."""


def with_field(make: Any, where: str, key: bytes, value: bytes = b"") -> bytes:
    name = {"global": "common", "input 0": "given", "output 0": "paid"}[where]
    return make(**{name: {key: value}})


def refused(data: bytes) -> str:
    with pytest.raises(PayloadError) as found:
        Psbt.parse(data)
    return found.value.what


def raw(vector: dict[str, Any]) -> bytes:
    return b64decode(vector["psbt"])


@pytest.mark.parametrize("vector", VECTORS["invalid"], ids=lambda v: v["case"])
def test_invalid_by_the_bips(vector: dict[str, Any]) -> None:
    with pytest.raises(PayloadError):
        PsbtTx(raw(vector))


@pytest.mark.parametrize("vector", VECTORS["valid"], ids=lambda v: v["case"])
def test_valid_by_the_bips(vector: dict[str, Any]) -> None:
    """Read and written back byte for byte; those without inputs or outputs have nothing to sign and are refused so."""
    data = raw(vector)
    if "0 inputs" in vector["case"]:
        with pytest.raises(PayloadError, match="has nothing to sign"):
            Psbt.parse(data)
        return
    assert Psbt.parse(data).serialise() == data
    with pytest.raises(PayloadError, match="no unsigned input of this PSBT belongs"):
        decode(PsbtTx(data), ACCOUNT)


@pytest.mark.parametrize("vector", VECTORS["locktime"], ids=lambda v: v["case"])
def test_lock_times_of_bip_370(vector: dict[str, Any]) -> None:
    if vector["locktime"] is None:
        with pytest.raises(PayloadError, match="by height"):
            Psbt.parse(raw(vector))
    else:
        assert Psbt.parse(raw(vector)).transaction.locktime == vector["locktime"]


def test_the_transaction_that_the_fields_of_version_2_describe() -> None:
    found = Psbt.parse(version_2())
    one = TxIn(b"\xab" * 32 + b"\1\0\0\0", 0xFFFFFFFF)
    assert found.transaction == Transaction(2, (one,), (TxOut(1000, b"\x51"),), 0)
    assert (found.version, found.globals) == (2, GLOBAL_2)
    assert (found.inputs, found.outputs) == ([INPUT_2], [OUTPUT_2])
    sequence = Psbt.parse(version_2(given={b"\x10": le(5)})).transaction.inputs[0].sequence
    assert sequence == 5


def test_the_transaction_of_version_0() -> None:
    data = version_0()
    found = Psbt.parse(data)
    assert found == Psbt(0, {b"\0": UNSIGNED}, [{}], [{}], Transaction.parse(UNSIGNED, "it", segwit=False))
    assert found.serialise() == data


@pytest.mark.parametrize(
    ("fields", "locktime"),
    [
        ({b"\x12": le(1)}, 1),
        ({b"\x12": le(499_999_999)}, 499_999_999),
        ({b"\x11": le(500_000_000)}, 500_000_000),
        ({b"\x11": le(2**32 - 1)}, 2**32 - 1),
        ({b"\x11": le(500_000_000), b"\x12": le(3)}, 3),
    ],
)
def test_the_ends_of_lock_times(fields: Map, locktime: int) -> None:
    assert Psbt.parse(version_2({b"\3": le(9)}, fields)).transaction.locktime == locktime


def other_scripts(*scripts: bytes) -> bytes:
    """An unsigned transaction with these scriptSigs."""
    inputs = tuple(TxIn(bytes([k]) * 36, 0, each) for k, each in enumerate(scripts))
    return Transaction(2, inputs, (TxOut(0, b""),), 0).serialise()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"psbt" + version_0()[5:], "this is no PSBT"),
        (version_0(given={b"\xfc": b"four"})[:-1], "the PSBT is cut off after 72 bytes"),
        (version_0() + b"\0", "the PSBT has 1 trailing bytes"),
        (version_0({b"\xfb": le(1)}), "PSBT version 1 is unknown"),
        (version_0({b"\xfb": le(0, 3)}), "the PSBT's version has 3 bytes, 4 are due"),
        (version_0({b"\0": None}), "the PSBT lacks the unsigned transaction"),
        (version_0({b"\0": UNSIGNED[:-1]}), "the PSBT's unsigned transaction is cut off after 59 bytes"),
        (version_0({b"\0": other_scripts(b"", b"s")}), "the PSBT's unsigned transaction has a scriptSig"),
        (version_2({b"\2": None}), "the PSBT lacks the transaction's version"),
        (version_2({b"\2": le(2, 5)}), "the transaction's version has 5 bytes, 4 are due"),
        (version_2({b"\3": le(2, 3)}), "the fallback lock time has 3 bytes, 4 are due"),
        (version_2({b"\4": None}), "the PSBT lacks the number of inputs"),
        (version_2({b"\4": b"\1\0"}), "the number of inputs has 1 trailing bytes"),
        (version_2({b"\5": None}), "the PSBT lacks the number of outputs"),
        (version_2({b"\5": b""}), "the number of outputs is cut off after 0 bytes"),
        (version_2({b"\6": b""}), "what may be modified has 0 bytes, 1 are due"),
        (version_2({b"\6": b"\3\0"}), "what may be modified has 2 bytes, 1 are due"),
        (version_2(given={b"\x0e": None}), "the PSBT lacks input 0's previous txid"),
        (version_2(given={b"\x0e": bytes(31)}), "input 0's previous txid has 31 bytes, 32 are due"),
        (version_2(given={b"\x0e": bytes(33)}), "input 0's previous txid has 33 bytes, 32 are due"),
        (version_2(given={b"\x0f": None}), "the PSBT lacks input 0's output index"),
        (version_2(given={b"\x0f": bytes(3)}), "input 0's output index has 3 bytes, 4 are due"),
        (version_2(given={b"\x10": bytes(5)}), "input 0's sequence has 5 bytes, 4 are due"),
        (version_2(given={b"\x11": bytes(5)}), "input 0's time lock has 5 bytes, 4 are due"),
        (version_2(given={b"\x11": le(499_999_999)}), "input 0's time lock 499999999 is out of its range"),
        (version_2(given={b"\x12": bytes(5)}), "input 0's height lock has 5 bytes, 4 are due"),
        (version_2(given={b"\x12": bytes(4)}), "input 0's height lock 0 is out of its range"),
        (version_2(given={b"\x12": le(500_000_000)}), "input 0's height lock 500000000 is out of its range"),
        (version_2(given={b"\x08": b"\1"}), "input 0's witness announces 1 items, more than its bytes hold"),
        (version_2(given={b"\x08": b"\0\0"}), "input 0's witness has 1 trailing bytes"),
        (version_0(given={b"\x08": b"\1\5ab"}), "input 0's witness is cut off after 4 bytes"),
        (version_2(paid={b"\3": None}), "the PSBT lacks output 0's amount"),
        (version_2(paid={b"\3": bytes(7)}), "output 0's amount has 7 bytes, 8 are due"),
        (version_2(paid={b"\4": None}), "the PSBT lacks output 0's script"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_cannot_be_read_is_told(data: bytes, says: str) -> None:
    assert refused(data) == says


def test_no_witnesses_in_the_unsigned_transaction() -> None:
    unsigned = Transaction.parse(UNSIGNED, "it", segwit=False)
    source = TxIn(unsigned.inputs[0].outpoint, 0, witness=(b"w",))
    assert "unsigned transaction" in refused(
        version_0({b"\0": Transaction(2, (source,), unsigned.outputs, 0).serialise()})
    )


@pytest.mark.parametrize(("inputs", "outputs"), [(0, 1), (1, 0), (0, 0)])
def test_nothing_to_sign(inputs: int, outputs: int) -> None:
    data = version_2({b"\4": bytes([inputs]), b"\5": bytes([outputs])})
    assert refused(data) == f"a PSBT of {inputs} inputs and {outputs} outputs has nothing to sign"


@pytest.mark.parametrize(("inputs", "outputs"), [(2**31 - 1, 1), (1, 2**31 - 1), (1, 999), (1001, 1)])
def test_more_than_there_can_be_is_refused_before_it_is_read(inputs: int, outputs: int) -> None:
    common = {**GLOBAL_2, b"\4": compact_size(inputs), b"\5": compact_size(outputs)}
    data = psbt_bytes(common.items(), *[INPUT_2.items()] * min(inputs, 1001), OUTPUT_2.items())
    assert refused(data) == f"a PSBT of {inputs} inputs and {outputs} outputs"


def test_as_many_inputs_and_bytes_as_are_taken() -> None:
    most = {**GLOBAL_2, b"\4": compact_size(1000)}
    data = psbt_bytes(most.items(), *[INPUT_2.items()] * 1000, OUTPUT_2.items())
    assert len(Psbt.parse(data).inputs) == 1000
    room = 2 * 1024 * 1024 - len(version_0()) - 3 - 5
    assert len(version_0(given={b"\xfc0": bytes(room)})) == 2 * 1024 * 1024
    Psbt.parse(version_0(given={b"\xfc0": bytes(room)}))
    says = "the PSBT has 2097153 bytes, at most 2097152 are taken"
    assert refused(version_0(given={b"\xfc0": bytes(room + 1)})) == says


@pytest.mark.parametrize(("where", "kind"), [(where, kind) for where in SINGLE for kind in SINGLE[where]])
def test_a_field_that_takes_no_key_data(where: str, kind: int) -> None:
    data = with_field(version_2, where, bytes([kind, 0xFE]))
    assert refused(data) == f"{where}: field 0x{kind:02x} takes no key data"


def test_the_unsigned_transaction_takes_no_key_data() -> None:
    assert refused(version_0({b"\0\xfe": b""})) == "global: field 0x00 takes no key data"


@pytest.mark.parametrize(
    ("make", "where", "kind"),
    [
        (version_2, "global", 0),
        *((version_0, "global", kind) for kind in (2, 3, 4, 5, 6)),
        *((version_0, "input 0", kind) for kind in (0x0E, 0x0F, 0x10, 0x11, 0x12)),
        *((version_0, "output 0", kind) for kind in (3, 4)),
    ],
)
@pytest.mark.parametrize("more", [b"", b"\xfe"])
def test_a_field_of_the_other_version(make: Any, where: str, kind: int, more: bytes) -> None:
    data = with_field(make, where, bytes([kind]) + more)
    assert refused(data) == f"{where}: field 0x{kind:02x} belongs to another version of PSBT"


@pytest.mark.parametrize(("where", "kind"), KEYED)
def test_a_field_that_is_keyed_by_a_public_key(where: str, kind: int) -> None:
    for size in (33, 65):
        Psbt.parse(with_field(version_0, where, bytes([kind]) + b"\xfe" * size))
    for size in (0, 32, 34, 64, 66):
        says = f"{where}: field 0x{kind:02x} is keyed by {size} bytes, not by a public key"
        assert refused(with_field(version_0, where, bytes([kind]) + b"\xfe" * size)) == says


def test_fields_of_one_type() -> None:
    fields = {b"\2a": b"1", b"\6a": b"2", b"\6": b"3", b"\3\6": b"4", b"\6bc": b"5"}
    assert keyed(fields, 6) == {b"a": b"2", b"": b"3", b"bc": b"5"}


@pytest.mark.parametrize("make", [version_0, version_2])
def test_fields_that_nobody_knows_are_carried_along(make: Any) -> None:
    """Whatever their key data is, also when it ends as known kinds are called."""

    def unknown(where: str) -> Map:
        known = {0, 2, *SINGLE[where], *(kind for at, kind in KEYED if at == where)}
        return {bytes([k, end]): b"v" for k in range(256) if k not in known for end in (0, 2, 3, 6, 0x0E)}

    data = make(unknown("global"), unknown("input 0"), unknown("output 0"))
    assert Psbt.parse(data).serialise() == data


@pytest.mark.parametrize("place", range(3))
def test_a_key_that_stands_twice(place: int) -> None:
    key = b"\xfc" + bytes(range(50))
    maps = [list(fields.items()) for fields in (GLOBAL_2, INPUT_2, OUTPUT_2)]
    maps[place] += [(key, b"1"), (key, b"2")]
    where = ("global", "input 0", "output 0")[place]
    assert refused(psbt_bytes(*maps)) == f"{where}: key {key.hex()[:80]} stands twice in the PSBT"


@pytest.mark.parametrize(("before", "after"), [(255, 252), (3, 0), (1, 0), (2, 0), (4, 4), (0, 0)])
def test_inputs_and_outputs_may_no_more_be_modified(before: int, after: int) -> None:
    assert modifiable_cleared({b"\2": b"v", b"\6": bytes([before])}) == {b"\2": b"v", b"\6": bytes([after])}
    assert modifiable_cleared({b"\2": b"v"}) == {b"\2": b"v"}


@pytest.mark.parametrize("items", [(), (b"",), (b"", b""), (b"signature", b"key"), (b"x" * 300,)])
def test_stacks_of_witnesses(items: tuple[bytes, ...]) -> None:
    value = witness_stack(items)
    assert value == compact_size(len(items)) + b"".join(counted(item) for item in items)
    assert read_witness_stack(value, "it") == items


def test_bytes_base64_and_hex_are_the_same_psbt() -> None:
    data = Payment(ACCOUNT, MIXED, [(None, 149_000)]).bytes()
    text = PSBT.parse(data).to_base64()
    assert (
        PsbtTx.parse(data)
        == PsbtTx.parse(text)
        == PsbtTx.parse(text.encode() + b"\n")
        == PsbtTx.parse(data.hex())
    )
    for broken in ("", "!!", data.hex()[:-1], text[:-5], b"\xff\xfe", data[:-1], data + b"\0"):
        with pytest.raises(PayloadError):
            PsbtTx.parse(broken)
