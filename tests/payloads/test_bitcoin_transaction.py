from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from participant.payloads import PayloadError
from participant.payloads.bitcoin_transaction import (
    MAX_MONEY,
    Cursor,
    SighashAll,
    Transaction,
    TxIn,
    TxOut,
    compact_size,
    sha256d,
)

SIZES = {
    0: "00", 252: "fc", 253: "fdfd00", 65535: "fdffff", 65536: "fe00000100", 2**32 - 1: "feffffffff",
    2**32: "ff0000000001000000", 2**64 - 1: "ffffffffffffffffff",
}  # fmt: skip


def plain(inputs: int = 1, outputs: int = 1) -> Transaction:
    """The smallest inputs and outputs there are."""
    return Transaction(
        2, tuple(TxIn(bytes(32) + bytes([i]) * 4, i) for i in range(inputs)), (TxOut(0, b""),) * outputs, 7
    )


def witnessed(*stacks: tuple[bytes, ...]) -> Transaction:
    body = plain(len(stacks))
    inputs = zip(body.inputs, stacks, strict=True)
    return replace(body, inputs=tuple(replace(source, witness=stack) for source, stack in inputs))


def parse(data: bytes, *, segwit: bool = True) -> Transaction:
    return Transaction.parse(data, "it", segwit=segwit)


@pytest.mark.parametrize(("number", "size"), SIZES.items())
def test_sizes_have_one_form(number: int, size: str) -> None:
    assert compact_size(number).hex() == size
    cursor = Cursor(bytes.fromhex(size), "it")
    assert cursor.compact() == number
    cursor.finish()


@pytest.mark.parametrize("size", ["fdfc00", "fd0000", "feffff0000", "ffffffffff00000000"])
def test_a_size_in_a_longer_form(size: str) -> None:
    with pytest.raises(PayloadError, match=r"^it has a length in a longer form than it needs$"):
        Cursor(bytes.fromhex(size), "it").compact()


def test_what_has_no_size() -> None:
    with pytest.raises(PayloadError, match=r"^18446744073709551616 has no CompactSize$"):
        compact_size(1 << 64)


@pytest.mark.parametrize(
    ("content", "read", "says"),
    [
        ("010203", lambda c: c.take(4), "it is cut off after 3 bytes"),
        ("", lambda c: c.compact(), "it is cut off after 0 bytes"),
        ("fdff", lambda c: c.compact(), "it is cut off after 2 bytes"),
        ("020a", lambda c: c.counted(), "it is cut off after 2 bytes"),
        ("030a0b0c0d0e", lambda c: c.count(2), "it announces 3 items, more than its bytes hold"),
        ("0a0b", lambda c: c.finish(), "it has 2 trailing bytes"),
    ],
)
def test_what_is_not_there_is_not_read(content: str, read: Callable[[Cursor], object], says: str) -> None:
    with pytest.raises(PayloadError) as refused:
        read(Cursor(bytes.fromhex(content), "it"))
    assert refused.value.what == says


def test_a_cursor_reads_to_the_last_byte() -> None:
    cursor = Cursor(b"\1\2\3\4\5\6\2ab\3uvwxyz", "it")
    assert (cursor.take(2), cursor.number(3), cursor.peek(2)) == (b"\1\2", 0x050403, b"\6\2")
    assert (cursor.take(1), cursor.counted(), cursor.count(2)) == (b"\6", b"ab", 3)
    assert (cursor.left, cursor.take(6), cursor.left, cursor.peek(1)) == (6, b"uvwxyz", 0, b"")
    cursor.finish()


@pytest.mark.parametrize(
    "transaction",
    [
        plain(),
        plain(30),
        plain(1, 30),
        Transaction(1, (TxIn(bytes(range(36)), 9, b"in"),), (TxOut(5, b"out"), TxOut(MAX_MONEY, b"")), 2**32 - 1),
        witnessed((b"",) * 30),
        witnessed((), (b"a", b"bc")),
    ],
)  # fmt: skip
def test_transactions_are_written_as_they_are_read(transaction: Transaction) -> None:
    data = transaction.serialise()
    assert parse(data) == transaction
    stripped = transaction.serialise(witness=False)
    assert transaction.txid() == sha256d(stripped)
    without = replace(transaction, inputs=tuple(replace(i, witness=()) for i in transaction.inputs))
    assert parse(stripped, segwit=False) == parse(stripped) == without


def test_a_transaction_in_bytes() -> None:
    """Field by field, after BIP-144."""
    data = bytes.fromhex(
        "02000000" "0001" "01" + bytes(range(36)).hex() + "026162" "fdffffff"
        "01" "0807060504030201" "0351aeac" "0201780279" "7a" "0a000000"
    )  # fmt: skip
    found = parse(data)
    assert found == Transaction(
        2,
        (TxIn(bytes(range(36)), 0xFFFFFFFD, b"ab", (b"x", b"yz")),),
        (TxOut(0x0102030405060708, b"\x51\xae\xac"),),
        10,
    )
    assert found.inputs[0].txid == bytes(range(32))
    assert found.inputs[0].vout == 0x23222120
    assert found.serialise() == data


MARKED = bytes.fromhex("020000000001")
INPUT = bytes(36) + b"\0" + bytes(4)
OUTPUT = bytes(9)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (plain().serialise() + b"\0", "it has 1 trailing bytes"),
        (plain().serialise()[:-1], "it is cut off after 59 bytes"),
        (MARKED + b"\1" + INPUT + b"\1" + OUTPUT + b"\0" + bytes(4), "it has the marker of witnesses and none"),
        (bytes(4) + b"\2" + INPUT + bytes(40), "it announces 2 items, more than its bytes hold"),
        (bytes(4) + b"\1" + INPUT + b"\2" + OUTPUT + bytes(8), "it announces 2 items, more than its bytes hold"),
        (MARKED + b"\1" + INPUT + b"\1" + OUTPUT + b"\5" + bytes(4), "it announces 5 items, more than its bytes hold"),
    ],
)  # fmt: skip
def test_a_transaction_that_cannot_be_read(data: bytes, says: str) -> None:
    with pytest.raises(PayloadError) as refused:
        parse(data)
    assert refused.value.what == says


def test_witnesses_are_read_only_where_they_may_be() -> None:
    data = witnessed((b"w",)).serialise()
    assert parse(data).inputs[0].witness == (b"w",)
    with pytest.raises(PayloadError):
        parse(data, segwit=False)


def test_digests_do_not_depend_on_witnesses_and_scripts() -> None:
    bare = plain(3)
    filled = replace(bare, inputs=tuple(replace(i, script_sig=b"sig", witness=(b"w",)) for i in bare.inputs))
    for index in range(3):
        legacy = SighashAll(bare).legacy(index, b"code")
        assert SighashAll(filled).legacy(index, b"code") == legacy
        assert SighashAll(filled).segwit(index, b"code", 5) == SighashAll(bare).segwit(index, b"code", 5)
        coded = tuple(
            replace(i, script_sig=b"code" if k == index else b"") for k, i in enumerate(bare.inputs)
        )
        assert legacy == sha256d(replace(bare, inputs=coded).serialise() + b"\1\0\0\0")


def test_native_p2wpkh_example_of_bip_143() -> None:
    transaction = parse(
        bytes.fromhex(
            "0100000002fff7f7881a8099afa6940d42d1e7f6362bec38171ea3edf433541db4e4ad969f0000000000eeffffffef51e1b804cc89"
            "d182d279655c3aa89e815b1b309fe287d9b2b55d57b90ec68a0100000000ffffffff02202cb206000000001976a9148280b37df378"
            "db99f66f85c95a783a76ac7a6d5988ac9093510d000000001976a9143bde42dbee7e4dbe6a21b2d50ce2f0167faa815988ac110000"
            "00"
        )
    )
    code = bytes.fromhex("76a9141d0f172a0ecb48aee1be1f2687d2963ae33f71a188ac")
    assert SighashAll(transaction).segwit(1, code, 600_000_000).hex() == (
        "c37af31116d1b27caf68aae9e3ac82f1477929014d5b917657d0eb49478cb670"
    )


def test_all_the_money() -> None:
    assert MAX_MONEY == 2_100_000_000_000_000
