"""Unsigned transactions as RLP, encoded with the public library from items that a case changes."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import rlp

from participant.payloads import EthereumTx, PayloadError, Signature
from participant.payloads.addresses import ethereum_checksum, keccak256
from participant.payloads.ethereum import EthereumSummary, UnsignedTransaction, from_bytes

TO = bytes(range(0xA0, 0xB4))
DATA = bytes.fromhex("a9059cbb05")
KEYS = [b"\x00" * 32, b"\xff" * 32]
LIST: Any = [[TO, KEYS], [b"\1" * 20, []]]
MAX_BYTES = 131_072
BODY: list[Any] = [21000, TO, 6, DATA]
FORMS: dict[str, tuple[bytes, list[Any]]] = {
    "anywhere": (b"", [7, 5, *BODY]),
    "legacy": (b"", [7, 5, *BODY, 9, b"", b""]),
    "list": (b"\1", [9, 7, 5, *BODY, LIST]),
    "dynamic": (b"\2", [9, 7, 3, 5, *BODY, LIST]),
}
PLACES = {
    "legacy": {"nonce": 0, "gasPrice": 1, "gas": 2, "to": 3, "value": 4, "data": 5, "chainId": 6},
    "dynamic": {
        "chainId": 0,
        "nonce": 1,
        "maxPriorityFeePerGas": 2,
        "maxFeePerGas": 3,
        "gas": 4,
        "to": 5,
        "value": 6,
        "data": 7,
        "accessList": 8,
    },
}


def form(name: str, **changes: Any) -> bytes:
    prefix, items = FORMS[name]
    items = list(items)
    for field, value in changes.items():
        items[PLACES[name][field]] = value
    return prefix + bytes(rlp.encode(items))


def resized(name: str, count: int) -> bytes:
    prefix, items = FORMS[name]
    return prefix + bytes(rlp.encode((items + [b""] * 9)[:count]))


def refused(data: bytes, says: str) -> None:
    with pytest.raises(PayloadError) as caught:
        EthereumTx(data)
    assert caught.value.what == says


@pytest.mark.parametrize(
    ("name", "kind", "chain_id", "tip", "access_list"),
    [
        ("anywhere", 0, None, 5, ()),
        ("legacy", 0, 9, 5, ()),
        ("list", 1, 9, 5, ((TO, tuple(KEYS)), (b"\1" * 20, ()))),
        ("dynamic", 2, 9, 3, ((TO, tuple(KEYS)), (b"\1" * 20, ()))),
    ],
)
def test_what_the_bytes_say(name: str, kind: int, chain_id: int | None, tip: int, access_list: Any) -> None:
    transaction = from_bytes(form(name))
    assert transaction == UnsignedTransaction(
        type=kind,
        chain_id=chain_id,
        nonce=7,
        max_priority_fee_per_gas=tip,
        max_fee_per_gas=5,
        gas_limit=21000,
        to=TO,
        value=6,
        data=DATA,
        access_list=access_list,
    )
    assert transaction.unsigned() == form(name)
    assert transaction.digest() == keccak256(form(name))
    assert transaction.summary() == EthereumSummary(
        chain_id=chain_id,
        nonce=7,
        to=ethereum_checksum(TO),
        value=6,
        data=DATA,
        gas_limit=21000,
        max_fee_per_gas=5,
        max_priority_fee_per_gas=tip,
        max_fee=105_000,
        type=kind,
        access_list=access_list,
    )


@pytest.mark.parametrize(
    ("to", "data", "selector"),
    [
        (TO, DATA, DATA[:4]),
        (TO, DATA[:4], DATA[:4]),
        (TO, DATA[:3], None),
        (TO, b"", None),
        (b"", DATA, None),
    ],
)
def test_a_selector_is_the_first_four_bytes_of_a_call(to: bytes, data: bytes, selector: bytes | None) -> None:
    summary = from_bytes(form("dynamic", to=to, data=data)).summary()
    assert summary.selector == selector
    assert summary.to == (ethereum_checksum(to) if to else None)


@pytest.mark.parametrize("v", [0, 1])
@pytest.mark.parametrize("name", FORMS)
def test_where_the_signature_goes(name: str, v: int) -> None:
    prefix, items = FORMS[name]
    last = {"anywhere": 27, "legacy": 35 + 2 * 9}.get(name, 0) + v
    unsigned_items = items[:6] if not prefix else items
    signed = from_bytes(form(name)).signed(Signature(1234, 5678, v))
    assert signed == prefix + rlp.encode([*unsigned_items, last, 1234, 5678])


@pytest.mark.parametrize("v", [-1, 2, 3])
def test_a_recovery_id_that_ethereum_cannot_express(v: int) -> None:
    """r >= q - p happens with probability 2^-127, so no key makes one here; the form alone is tested."""
    with pytest.raises(PayloadError, match=f"recovery id {v} has no form"):
        from_bytes(form("dynamic")).signed(Signature(1, 1, v))


@pytest.mark.parametrize(
    "good",
    [
        {"chainId": 2**63 - 37},
        {"nonce": 2**64 - 2},
        {"gas": 2**64 - 1},
        {"gas": 0},
        {"value": 2**256 - 1, "maxFeePerGas": 0, "maxPriorityFeePerGas": 0},
        {"value": 2**256 - 1 - 21000 * 5},
        {"maxFeePerGas": 2**256 - 1, "gas": 1, "value": 0},
        {"maxPriorityFeePerGas": 5},
        {"to": b"", "data": b""},
        {"accessList": []},
    ],
)
def test_the_last_that_is_taken(good: dict[str, Any]) -> None:
    assert from_bytes(form("dynamic", **good)).unsigned() == form("dynamic", **good)


def out_of_range(name: str, value: int) -> tuple[str, Any, str]:
    return name, value, f"{name} is {value}, out of range"


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("chainId", b"", "chainId is 0"),
        out_of_range("chainId", 2**63 - 36),
        out_of_range("nonce", 2**64 - 1),
        out_of_range("gas", 2**64),
        ("value", 2**256 - 21000 * 5, "value and the highest fee together exceed 256 bits"),
        ("maxFeePerGas", (2**256 - 6) // 21000 + 1, "value and the highest fee together exceed 256 bits"),
        ("value", 2**256, "value is no number of at most 256 bits"),
        ("value", [], "value is no number of at most 256 bits"),
        ("maxPriorityFeePerGas", 6, "maxPriorityFeePerGas 6 exceeds maxFeePerGas 5"),
        ("nonce", b"\0\7", "nonce has a leading zero"),
        ("nonce", b"\0", "nonce has a leading zero"),
        ("to", TO[1:], "to is neither empty nor 20 bytes"),
        ("to", b"\1", "to is neither empty nor 20 bytes"),
        ("to", TO + b"\1", "to is neither empty nor 20 bytes"),
        ("to", [], "to is neither empty nor 20 bytes"),
        ("to", [b"\1"] * 20, "to is neither empty nor 20 bytes"),
        ("data", [], "data is no byte string"),
        ("accessList", b"", "accessList is no list"),
    ],
)
def test_an_item_that_is_not_taken(field: str, value: Any, says: str) -> None:
    refused(form("dynamic", **{field: value}), says)


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize(
    "entry",
    [
        b"",
        b"\1\1",
        [],
        [TO],
        [TO, KEYS, []],
        [TO[1:], KEYS],
        [TO + b"\1", KEYS],
        [[b"\1"] * 20, KEYS],
        [TO, b""],
        [TO, b"\1" * 32],
        [TO, [KEYS[0][1:]]],
        [TO, [KEYS[1], KEYS[0][1:]]],
        [TO, [KEYS[0] + b"\1", KEYS[1]]],
        [TO, [[b"\1"] * 32]],
    ],
)
def test_an_entry_of_an_access_list_that_is_none(entry: Any, place: int) -> None:
    entries = [[TO, []]]
    entries.insert(place, entry)
    refused(
        form("dynamic", accessList=entries),
        "accessList has an entry that is not [address of 20 bytes, [keys of 32 bytes]]",
    )


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "the transaction is empty"),
        (b"\0" + form("legacy"), "first byte 0x00 begins no transaction"),
        (b"\5" + form("dynamic")[1:], "first byte 0x05 begins no transaction"),
        (b"\xbf" + form("legacy"), "first byte 0xbf begins no transaction"),
        (b"\3" + form("dynamic")[1:], "a blob transaction (EIP-4844) cannot be signed here"),
        (b"\4" + form("dynamic")[1:], "a set-code transaction (EIP-7702) cannot be signed here"),
        (b"\xc0", "a legacy transaction of 0 items"),
        (b"\2\x80", "the transaction is no RLP list"),
        (b"\1", "the transaction is not canonical RLP"),
        (b"\1" + form("dynamic")[1:], "a transaction of type 1 with 9 items"),
        (form("dynamic") + b"\0", "the transaction is not canonical RLP"),
        (form("legacy") + b"\0", "the transaction is not canonical RLP"),
        (form("legacy")[:-1], "the transaction is not canonical RLP"),
        (
            b"\2\xf8" + bytes([len(rlp.encode([*FORMS["dynamic"][1][:8], []])) - 1])
            + rlp.encode([*FORMS["dynamic"][1][:8], []])[1:],
            "the transaction is not canonical RLP",
        ),
        *((resized("legacy", n), f"a legacy transaction of {n} items") for n in (5, 7, 8, 10, 12)),
        *((resized("list", n), f"a transaction of type 1 with {n} items") for n in (7, 9, 11)),
        *((resized("dynamic", n), f"a transaction of type 2 with {n} items") for n in (8, 10, 12)),
    ],
)  # fmt: skip
def test_bytes_that_are_no_unsigned_transaction(data: bytes, says: str) -> None:
    refused(data, says)


@pytest.mark.parametrize("tail", [[1, 1], [b"", 1], [1, b""], [[], b""]])
def test_a_legacy_transaction_that_is_signed_already(tail: list[Any]) -> None:
    refused(rlp.encode([*FORMS["legacy"][1][:7], *tail]), "this legacy transaction is signed already")


def test_the_largest_transaction() -> None:
    overhead = len(form("dynamic", data=bytes(130_000))) - 130_000
    largest = form("dynamic", data=bytes(MAX_BYTES - overhead))
    assert len(largest) == MAX_BYTES
    assert from_bytes(largest).unsigned() == largest
    refused(
        form("dynamic", data=bytes(MAX_BYTES - overhead + 1)),
        "the transaction has 131073 bytes, at most 131072 are taken",
    )


def test_a_library_that_reads_more_than_one_spelling_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    read = rlp.decode
    monkeypatch.setattr(rlp, "decode", lambda data, **_: read(data, strict=False))
    assert from_bytes(form("legacy")).nonce == 7
    refused(form("legacy") + b"\0", "the transaction is not canonical RLP")


@pytest.mark.attack("E7")
def test_deep_rlp_is_refused() -> None:
    data = b"\xc0"
    while len(data) < 100_000:
        size = len(data)
        length = (size.bit_length() + 7) // 8
        data = (
            bytes([0xC0 + size]) if size < 56 else bytes([0xF7 + length]) + size.to_bytes(length, "big")
        ) + data
    raised = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)  # Python's own; libraries that the tests use raise it
    try:
        refused(data, "the transaction is not canonical RLP")
    finally:
        sys.setrecursionlimit(raised)
