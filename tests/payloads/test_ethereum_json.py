"""Transactions as JSON objects: every field, at the ends of what it may be."""

from __future__ import annotations

import json
from typing import Any

import pytest

from participant.payloads import EthereumTx, PayloadError, Signature
from participant.payloads.ethereum import UnsignedTransaction, from_json

TO = "0x6Eb893e3466931517a04a17D153a6330c3f2f1dD"
ADDRESS = "0x" + "11" * 20
KEY = "0x" + "ab" * 32
DATA = "0xa9059cbb05"
MAX_BYTES = 131_072
MAX_JSON = 327_680
ANYWHERE: dict[str, Any] = {"chainId": None, "nonce": 7, "to": TO, "gas": 21000, "gasPrice": 5}
GOOD: dict[str, Any] = {
    "type": 2,
    "chainId": 1,
    "nonce": 7,
    "to": TO,
    "value": "0xde0b6b3a7640000",
    "gas": 21000,
    "maxFeePerGas": 30_000_000_000,
    "maxPriorityFeePerGas": "0x3b9aca00",
}


def without(fields: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in names}


def refused(source: Any, says: str) -> PayloadError:
    with pytest.raises(PayloadError) as caught:
        from_json(source)
    assert caught.value.what == says
    return caught.value


@pytest.mark.parametrize(
    ("fields", "kind", "chain_id", "fees"),
    [
        (ANYWHERE, 0, None, (5, 5)),
        ({**ANYWHERE, "chainId": 9}, 0, 9, (5, 5)),
        ({**ANYWHERE, "chainId": 9, "type": 0}, 0, 9, (5, 5)),
        ({**ANYWHERE, "chainId": 9, "type": 1}, 1, 9, (5, 5)),
        ({**ANYWHERE, "chainId": 9, "accessList": []}, 1, 9, (5, 5)),
        (without(GOOD, "value", "type"), 2, 1, (10**9, 30 * 10**9)),
        (without(GOOD, "value"), 2, 1, (10**9, 30 * 10**9)),
    ],
)
def test_what_the_fields_say(
    fields: dict[str, Any], kind: int, chain_id: int | None, fees: tuple[int, int]
) -> None:
    expected = UnsignedTransaction(
        type=kind,
        chain_id=chain_id,
        nonce=7,
        max_priority_fee_per_gas=fees[0],
        max_fee_per_gas=fees[1],
        gas_limit=21000,
        to=bytes.fromhex(TO[2:]),
        value=0,
        data=b"",
    )
    for source in fields, json.dumps(fields), json.dumps(fields).encode():
        assert from_json(source) == (expected, None)
    assert from_json({**fields, "from": ADDRESS}) == (expected, b"\x11" * 20)


def test_an_access_list() -> None:
    entries = [
        {"address": TO, "storageKeys": [KEY, "0x" + "00" * 32]},
        {"address": ADDRESS, "storageKeys": []},
    ]
    transaction, _ = from_json({**GOOD, "accessList": entries})
    assert transaction.access_list == (
        (bytes.fromhex(TO[2:]), (b"\xab" * 32, bytes(32))),
        (b"\x11" * 20, ()),
    )


@pytest.mark.parametrize(
    "change",
    [
        {"chainId": 2**63 - 37},
        {"nonce": 2**64 - 2},
        {"nonce": 0},
        {"gas": 2**64 - 1},
        {"value": 2**256 - 1 - 21000 * 30_000_000_000},
        {"value": 0, "gas": 1, "maxFeePerGas": hex(2**256 - 1)},
        {"maxPriorityFeePerGas": 30_000_000_000},
        {"maxPriorityFeePerGas": 0, "maxFeePerGas": 0},
        {"gasLimit": 21000},
    ],
)
def test_the_last_that_is_taken(change: dict[str, Any]) -> None:
    payload = EthereumTx.parse({**GOOD, **change})
    assert EthereumTx.parse(payload.unsigned) == payload


def out_of_range(name: str, value: Any) -> tuple[dict[str, Any], str]:
    return {name: value}, f"{name} is {value}, out of range"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"bogus": 1}, "field 'bogus' has no place in a transaction of type 2"),
        ({"gasPrice": 1}, "field 'gasPrice' has no place in a transaction of type 2"),
        *(
            ({name: 27}, f"field {name} belongs to a signed transaction")
            for name in ("r", "s", "v", "yParity", "hash")
        ),
        ({"nonce": None}, "nonce is None, not a number"),
        ({"nonce": True}, "nonce is True, not a number"),
        ({"nonce": "7"}, "nonce is '7', not a number"),
        ({"nonce": 1.0}, "the transaction: float has no place in JSON of this kind"),
        out_of_range("nonce", -1),
        out_of_range("nonce", 2**64 - 1),
        out_of_range("gas", 2**64),
        out_of_range("value", -1),
        out_of_range("maxFeePerGas", -1),
        out_of_range("maxPriorityFeePerGas", -1),
        out_of_range("chainId", 2**63 - 36),
        out_of_range("type", 128),
        ({"chainId": 0}, "chainId is 0"),
        ({"chainId": None}, "chainId is null in a transaction of type 2"),
        ({"gas": 1, "gasLimit": 2}, "gas and gasLimit differ"),
        ({"data": "0x00", "input": "0x01"}, "data and input differ"),
        ({"value": "0x"}, "value is '0x', not a number"),
        ({"value": 1 << 256}, "the transaction: a number of more than 256 bits"),
        ({"to": TO[:-2] + "Dd"}, f"to is {TO[:-2]}Dd, whose EIP-55 checksum is wrong"),
        ({"to": "0x6eb893"}, "to has 3 bytes, 20 are due"),
        ({"to": ""}, "to is '', not bytes"),
        ({"data": "0x1"}, "data is '0x1', not bytes"),
        ({"data": "00"}, "data is '00', not bytes"),
        ({"data": None}, "data is None, not bytes"),
        ({"type": None}, "type is None, not a number"),
        ({"type": 3}, "a blob transaction (EIP-4844) cannot be signed here"),
        ({"type": "0x4"}, "a set-code transaction (EIP-7702) cannot be signed here"),
        ({"type": 127}, "a transaction of type 127 cannot be signed here"),
        ({"type": 1}, "field 'maxFeePerGas' has no place in a transaction of type 1"),
        (
            {"maxPriorityFeePerGas": 30_000_000_001},
            "maxPriorityFeePerGas 30000000001 exceeds maxFeePerGas 30000000000",
        ),
        ({"maxFeePerGas": 2**256 - 1}, "value and the highest fee together exceed 256 bits"),
        (
            {"value": 2**256 - 21000 * 30_000_000_000},
            "value and the highest fee together exceed 256 bits",
        ),
        ({"from": "0x00"}, "from has 1 bytes, 20 are due"),
        ({"from": None}, "from is None, not bytes"),
        ({"accessList": {}}, "accessList is no list"),
        ({"accessList": None}, "accessList is no list"),
        *(
            ({"accessList": [entry]}, "accessList[0] is no object of address and storageKeys")
            for entry in (
                [ADDRESS, []],
                {"address": ADDRESS},
                {"storageKeys": []},
                {"address": ADDRESS, "storageKeys": [], "x": 1},
            )
        ),
        (
            {"accessList": [{"address": ADDRESS, "storageKeys": []}, {}]},
            "accessList[1] is no object of address and storageKeys",
        ),
        *(
            (
                {"accessList": [{"address": ADDRESS, "storageKeys": keys}]},
                "accessList[0].storageKeys is no list",
            )
            for keys in (1, {}, "", None)
        ),
        *(
            (
                {"accessList": [{"address": ADDRESS, "storageKeys": [KEY, "0x" + "00" * size]}]},
                f"accessList[0].storageKeys has {size} bytes, 32 are due",
            )
            for size in (31, 33)
        ),
        (
            {"accessList": [{"address": "0x00", "storageKeys": []}]},
            "accessList[0].address has 1 bytes, 20 are due",
        ),
    ],
)
def test_a_bad_field_is_named(change: dict[str, Any], says: str) -> None:
    refused({**GOOD, **change}, says)


def test_a_legacy_transaction_has_no_access_list() -> None:
    refused(
        {**ANYWHERE, "type": 0, "accessList": []},
        "field 'accessList' has no place in a transaction of type 0",
    )


@pytest.mark.parametrize("field", ["nonce", "gas", "to", "maxFeePerGas", "maxPriorityFeePerGas"])
def test_a_missing_field_is_named(field: str) -> None:
    for fields in GOOD, without(GOOD, "type"):
        error = refused(without(fields, field), f"missing in the transaction: {field}")
        assert error.remedy == "add it"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        (without(GOOD, "type", "maxFeePerGas", "maxPriorityFeePerGas"), "the fee"),
        (without(GOOD, "maxFeePerGas", "maxPriorityFeePerGas"), "maxFeePerGas, maxPriorityFeePerGas"),
        ({"type": 2}, "chainId, nonce, gas, maxFeePerGas, maxPriorityFeePerGas, to"),
        ({"type": 0}, "chainId, nonce, gas, gasPrice, to"),
        (without(ANYWHERE, "chainId", "to"), "chainId, to"),
    ],
)
def test_all_that_is_missing_is_named(fields: dict[str, Any], says: str) -> None:
    error = refused(fields, f"missing in the transaction: {says}")
    assert "null" not in error.remedy


def test_no_replay_protection_only_when_asked_for() -> None:
    error = refused(without(ANYWHERE, "chainId"), "missing in the transaction: chainId")
    assert error.remedy == 'add it ("chainId": null asks for one that is valid on every chain)'
    transaction, _ = from_json(ANYWHERE)
    assert transaction.chain_id is None
    assert transaction.signed(Signature(1, 1, 1))[-3] == 28
    refused(
        {**ANYWHERE, "accessList": []},
        "chainId is null in a transaction of type 1",
    )


def test_a_creation_names_its_code_or_says_null() -> None:
    assert from_json({**without(GOOD, "to"), "data": "0x6000"})[0].to is None
    assert from_json({**GOOD, "to": None})[0].to is None
    refused({**without(GOOD, "to"), "data": "0x"}, "missing in the transaction: to")


def test_aliases_and_spellings_give_the_same_bytes() -> None:
    other = {
        **without(GOOD, "gas"),
        "type": "0x2",
        "gasLimit": "0x5208",
        "input": DATA,
        "to": TO.lower(),
        "nonce": "0x07",
    }
    expected = EthereumTx.parse({**GOOD, "data": DATA})
    assert EthereumTx.parse(json.dumps(other)) == expected
    assert EthereumTx.parse({**GOOD, "data": DATA, "input": DATA, "gasLimit": 21000}) == expected
    refused({"gasLimit": 2, **GOOD}, "two values of gas")


@pytest.mark.attack("E7")
def test_duplicate_keys_are_refused() -> None:
    refused(
        json.dumps(GOOD)[:-1] + ', "nonce": 8}', "the transaction: key 'nonce' stands twice in one object"
    )


def test_the_largest_transaction() -> None:
    overhead = len(EthereumTx.parse({**GOOD, "data": "0x" + "00" * 130_000}).unsigned) - 130_000
    largest = {**GOOD, "data": "0x" + "00" * (MAX_BYTES - overhead)}
    assert len(EthereumTx.parse(largest).unsigned) == MAX_BYTES
    refused(
        {**GOOD, "data": largest["data"] + "00"}, "the transaction has 131073 bytes, at most 131072 are taken"
    )


def test_the_largest_text() -> None:
    text = json.dumps(GOOD).ljust(MAX_JSON)
    assert EthereumTx.parse(text) == EthereumTx.parse(GOOD)
    refused(text + " ", "the transaction has 327681 bytes, at most 327680 are taken")


@pytest.mark.parametrize("text", ["[1]", "1", "null"])
def test_json_that_is_no_object(text: str) -> None:
    refused(text, "the transaction is no JSON object")
    refused(text.encode(), "the transaction is no JSON object")


def test_a_deep_object() -> None:
    nested: Any = 1
    for _ in range(20):
        nested = {"a": nested}
    for source in {**GOOD, "data": nested}, json.dumps({**GOOD, "data": nested}):
        refused(source, "the transaction is nested deeper than 16 levels")
