from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from payload_testing import TestAccount, ethereum_vectors

from participant.payloads import PayloadError, TypedData, decode
from participant.payloads.addresses import keccak256
from participant.payloads.typed_data import MAX_JSON, parse

VECTORS = ethereum_vectors("ethers-v6-typed-data.json")
# The example of EIP-712, with its own published values.
MAIL: dict[str, Any] = {
    "types": {
        "EIP712Domain": [
            {"name": "name", "type": "string"},
            {"name": "version", "type": "string"},
            {"name": "chainId", "type": "uint256"},
            {"name": "verifyingContract", "type": "address"},
        ],
        "Person": [{"name": "name", "type": "string"}, {"name": "wallet", "type": "address"}],
        "Mail": [
            {"name": "from", "type": "Person"},
            {"name": "to", "type": "Person"},
            {"name": "contents", "type": "string"},
        ],
    },
    "primaryType": "Mail",
    "domain": {
        "name": "Ether Mail",
        "version": "1",
        "chainId": 1,
        "verifyingContract": "0xCcCCccccCCCCcCCCCCCcCcCccCcCCCcCcccccccC",
    },
    "message": {
        "from": {"name": "Cow", "wallet": "0xCD2a3d9F938E13CD947Ec05AbC7FE734Df8DD826"},
        "to": {"name": "Bob", "wallet": "0xbBbBBBBbbBBBbbbBbbBbbbbBBbBbbbbBbBbbBBbB"},
        "contents": "Hello, Bob!",
    },
}


def document(vector: dict[str, Any]) -> dict[str, Any]:
    return {
        "types": vector["types"],
        "primaryType": vector["primaryType"],
        "domain": vector["domain"],
        "message": vector["data"],
    }


@pytest.mark.parametrize("vector", VECTORS, ids=[v["name"] for v in VECTORS])
def test_digests_of_ethers(vector: dict[str, Any]) -> None:
    assert "0x" + parse(document(vector)).digest.hex() == vector["digest"]


def test_the_example_of_eip_712() -> None:
    found = parse(json.dumps(MAIL))
    assert found.domain_separator.hex() == "f2cee375fa42b42143804025fc449deafd50cc031ca257e0b194a650a912090f"
    assert found.digest.hex() == "be609aee343fb3c4b28e1df9e632fca64fcfaede20f02e86244efddf30957bd2"
    assert found.summary.chain_id == 1
    assert found.summary.primary_type == "Mail"
    assert found.summary.verifying_contract == MAIL["domain"]["verifyingContract"]
    # The EIP signs with the private key keccak256("cow").
    account = TestAccount(keccak256(b"cow"))
    decoded = decode(TypedData.parse(MAIL), account)
    signature = account.sign_all(decoded)[0]
    assert f"{signature.r:064x}" == "4355c47d63924e8a72e509b65029052eb6c299d53a04e167c5775fd466751c9d"


def test_eth_account_agrees() -> None:
    secret = keccak256(b"dog")
    for value in ([1, 2, 3], [], [2**255]):
        full = {
            "types": {
                "EIP712Domain": [{"name": "chainId", "type": "uint256"}, {"name": "salt", "type": "bytes32"}],
                "Leaf": [{"name": "n", "type": "uint256[]"}, {"name": "i", "type": "int8"}],
                "Tree": [{"name": "leaves", "type": "Leaf[][2]"}, {"name": "tag", "type": "bytes3"}],
            },
            "primaryType": "Tree",
            "domain": {"chainId": 5, "salt": "0x" + "ab" * 32},
            "message": {"leaves": [[{"n": value, "i": -5}], []], "tag": "0x010203"},
        }
        signed = Account.sign_message(encode_typed_data(full_message=copy.deepcopy(full)), secret)
        assert parse(full).digest == signed.message_hash


def test_numbers_in_three_spellings() -> None:
    assert parse(with_type("uint16", 300)).digest == parse(with_type("uint16", "300")).digest
    assert parse(with_type("uint16", 300)).digest == parse(with_type("uint16", "0x12C")).digest
    assert parse(with_type("int8", -3)).digest == parse(with_type("int8", "-3")).digest


def test_a_recursive_type_ends_with_null() -> None:
    """keccak(typeHash, 1, keccak(typeHash, 2, 0)) by hand, the rule of version 4."""
    full = {
        "types": {"Node": [{"name": "n", "type": "uint8"}, {"name": "next", "type": "Node"}]},
        "primaryType": "Node",
        "domain": {},
        "message": {"n": 1, "next": {"n": 2, "next": None}},
    }
    kind = keccak256(b"Node(uint8 n,Node next)")
    inner = keccak256(kind + (2).to_bytes(32, "big") + bytes(32))
    outer = keccak256(kind + (1).to_bytes(32, "big") + inner)
    separator = keccak256(keccak256(b"EIP712Domain()"))
    assert parse(full).digest == keccak256(b"\x19\x01" + separator + outer)


def test_canonical_spelling_is_one() -> None:
    shuffled = {key: MAIL[key] for key in reversed(MAIL)}
    shuffled["message"] = {key: MAIL["message"][key] for key in reversed(MAIL["message"])}
    assert TypedData.parse(json.dumps(shuffled, indent=3)) == TypedData.parse(MAIL)
    with pytest.raises(PayloadError, match="canonical spelling"):
        TypedData(json.dumps(MAIL).encode())


def with_type(kind: str, value: Any) -> dict[str, Any]:
    return {
        "types": {"T": [{"name": "x", "type": kind}]},
        "primaryType": "T",
        "domain": {},
        "message": {"x": value},
    }


@pytest.mark.parametrize(
    ("kind", "value", "says"),
    [
        ("uint8", 256, "out of range for uint8"),
        ("uint8", -1, "out of range"),
        ("int8", 128, "out of range"),
        ("int8", -129, "out of range"),
        ("uint8", "1e3", "not a number"),
        ("uint8", " 1", "not a number"),
        ("uint8", True, "not a number"),
        ("uint8", None, "not a number"),
        ("uint7", 1, "unknown type"),
        ("uint264", 1, "unknown type"),
        ("uint", 1, "unknown type"),
        ("uint08", 1, "unknown type"),
        ("bytes33", "0x", "unknown type"),
        ("bytes0", "0x", "unknown type"),
        ("bytes3", "0x0102", "has 2 bytes, 3 are due"),
        ("bytes", "abc", "not bytes"),
        ("bytes", "0x1", "not bytes"),
        ("bool", 1, "not true or false"),
        ("bool", "true", "not true or false"),
        ("string", 1, "not a text"),
        ("address", "0x00", "20 are due"),
        ("address", "0xCD2a3d9F938E13CD947Ec05AbC7FE734Df8DD827", "checksum"),
        ("uint8[2]", [1], "has 1 items"),
        ("uint8[]", {}, "not a list"),
        ("uint8[", [1], "unknown type"),
        ("T[-1]", [], "unknown type"),
        ("Missing", {}, "unknown type"),
        ("T", 5, "not an object"),
        ("uint8\n", 5, "unknown type"),
    ],
)
def test_a_value_that_is_not_of_its_type(kind: str, value: Any, says: str) -> None:
    with pytest.raises(PayloadError, match=says):
        parse(with_type(kind, value))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d.pop("domain"), "exactly types, primaryType, domain and message"),
        (lambda d: d.update(extra=1), "exactly types"),
        (lambda d: d.update(primaryType="Nobody"), "primaryType 'Nobody' is not among"),
        (lambda d: d.update(primaryType="EIP712Domain"), "primaryType"),
        (lambda d: d.update(primaryType=["Mail"]), "primaryType"),
        (lambda d: d["message"].update(note="unsigned"), "note'?, which type Mail does not declare"),
        (lambda d: d["message"].pop("contents"), "message lacks contents"),
        (lambda d: d["message"]["to"].pop("wallet"), "message.to lacks wallet"),
        (lambda d: d["domain"].update(salt="0x" + "00" * 32), "domain has 'salt', which type EIP712Domain"),
        (lambda d: d["domain"].pop("chainId"), "domain lacks chainId"),
        (
            lambda d: d["types"]["EIP712Domain"].append({"name": "owner", "type": "address"}),
            "no member of a domain",
        ),
        (lambda d: d["types"]["EIP712Domain"][2].update(type="uint64"), "no member of a domain"),
        (lambda d: d["types"]["Mail"].append({"name": "to", "type": "Person"}), "declared twice"),
        (lambda d: d["types"]["Mail"].append({"name": "x"}), "no object of name and type"),
        (lambda d: d["types"]["Mail"].append({"name": "x", "type": "uint8" + "[]" * 200}), "is no type"),
        (lambda d: d["types"].update({"uint256": []}), "no name for a type"),
        (lambda d: d["types"].update({"uint": []}), "no name for a type"),
        (lambda d: d["types"].update({"A(uint8 x)B": []}), "no name for a type"),
        (
            lambda d: d["types"].update({"A": [{"name": "x,uint8 y", "type": "uint8"}]}),
            "no name for a member",
        ),
        (lambda d: d["types"].update({f"T{i}": [] for i in range(300)}), "at most 256"),
    ],
)
def test_a_document_that_is_not_sound(change: Any, says: str) -> None:
    broken = copy.deepcopy(MAIL)
    change(broken)
    with pytest.raises(PayloadError, match=says):
        parse(broken)


def test_bounds() -> None:
    with pytest.raises(PayloadError, match="at most"):
        parse(with_type("string", "a" * MAX_JSON))
    with pytest.raises(PayloadError, match="nested deeper"):
        parse('{"a":' * 20 + "1" + "}" * 20)
    with pytest.raises(PayloadError, match="nested deeper"):
        parse("[" * 100_000)
    with pytest.raises(PayloadError, match="digits"):
        parse("1" * 5000)
    with pytest.raises(PayloadError, match="surrogate"):
        parse(json.dumps(with_type("string", "\ud800")))
