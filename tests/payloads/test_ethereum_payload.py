from __future__ import annotations

import json
import random
from typing import Any

import pytest
import rlp
from eth_account import Account
from eth_account.messages import encode_defunct
from payload_testing import TestAccount, ethereum_vectors, sign

from participant.payloads import (
    Digest,
    EthereumTx,
    Message,
    PayloadError,
    Signature,
    decode,
    finish,
)
from participant.payloads.addresses import ethereum, ethereum_checksum
from participant.payloads.decoded import ORDER
from participant.payloads.ethereum import MAX_BYTES, from_bytes, from_json

TRANSACTIONS = ethereum_vectors("ethers-v6-transactions-first200.json")
FORMS = {
    "Legacy": (0, {"gasPrice"}),
    "Eip155": (0, {"gasPrice", "chainId"}),
    "Berlin": (1, {"gasPrice", "chainId", "accessList"}),
    "London": (2, {"maxFeePerGas", "maxPriorityFeePerGas", "chainId", "accessList"}),
}
GOOD: dict[str, Any] = {
    "type": 2,
    "chainId": 1,
    "nonce": 7,
    "to": "0x6Eb893e3466931517a04a17D153a6330c3f2f1dD",
    "value": "0xde0b6b3a7640000",
    "gas": 21000,
    "maxFeePerGas": 30_000_000_000,
    "maxPriorityFeePerGas": "0x3b9aca00",
}


def as_json(vector: dict[str, Any], form: str) -> dict[str, Any]:
    """ethers leaves out what is zero; ours wants the fields that matter named."""
    kind, own = FORMS[form]
    given = vector["transaction"]
    fields = {key: given[key] for key in ({"to", "data", "value"} | own) if key in given}
    fields |= {key: given.get(key, 0) for key in {"nonce", "gasLimit"} | (own - {"accessList", "chainId"})}
    fields |= {
        "type": kind,
        "to": given.get("to"),
        "chainId": given.get("chainId", 0) if "chainId" in own else None,
    }
    return fields


@pytest.mark.parametrize("form", FORMS)
def test_every_ethers_transaction_from_json_and_rlp_to_its_signed_bytes(form: str) -> None:
    refused = 0
    for vector in TRANSACTIONS:
        unsigned = bytes.fromhex(vector[f"unsigned{form}"][2:])
        fields = as_json(vector, form)
        if fields["chainId"] == 0:
            refused += 1
            with pytest.raises(PayloadError, match=r"chainId is 0|is empty"):
                from_bytes(unsigned)
            with pytest.raises(PayloadError, match="chainId is 0"):
                from_json(fields)
            continue
        transaction, _ = from_json(fields)
        assert transaction.unsigned() == unsigned, vector["name"]
        assert from_bytes(unsigned) == transaction
        account = TestAccount(bytes.fromhex(vector["privateKey"][2:]))
        payload = EthereumTx(unsigned)
        decoded = decode(payload, account)
        done = finish(payload, decoded, account.sign_all(decoded))
        assert done.raw_transaction is not None
        assert done.raw_transaction.hex() == vector[f"signed{form}"][2:], vector["name"]
    assert refused == (
        0 if form == "Legacy" else sum("chainId" not in v["transaction"] for v in TRANSACTIONS)
    )


def test_vectors_cover_chains_creations_and_access_lists() -> None:
    given = [v["transaction"] for v in TRANSACTIONS]
    assert sum("chainId" in t for t in given) > 100
    assert any("to" not in t for t in given)
    assert any(entry["storageKeys"] for t in given for entry in t.get("accessList", []))


@pytest.mark.parametrize("seed", range(30))
def test_eth_account_recovers_the_address_of_a_random_key(seed: int) -> None:
    rng = random.Random(seed)
    account = TestAccount(rng.randbytes(32), rng.randbytes(32))
    path = tuple(rng.randrange(1 << 31) for _ in range(rng.randrange(3)))
    address = Account.from_key(account.private_key(path)).address
    fields: dict[str, Any] = {
        "nonce": rng.randrange(1 << 20),
        "to": ethereum_checksum(rng.randbytes(20)),
        "value": rng.randrange(1 << 80),
        "gas": rng.randrange(21000, 1 << 24),
        "data": "0x" + rng.randbytes(rng.randrange(100)).hex(),
        "chainId": rng.randrange(1, 1 << 40),
        "from": address,
    }
    fields |= [
        {"gasPrice": 5 * 10**9},
        {"gasPrice": 5 * 10**9, "accessList": []},
        {
            "maxFeePerGas": 9 * 10**9,
            "maxPriorityFeePerGas": 10**9,
            "accessList": [{"address": address, "storageKeys": ["0x" + rng.randbytes(32).hex()]}],
        },
    ][seed % 3]
    payload = EthereumTx.parse(json.dumps(fields))
    decoded = decode(payload, account, path)
    raw = finish(payload, decoded, account.sign_all(decoded)).raw_transaction
    assert raw is not None
    assert Account.recover_transaction(raw) == address, f"seed {seed}"
    assert ethereum(decoded.digests[0].public_key) == address
    foreign = {key: value for key, value in fields.items() if key != "from"}
    assert bytes(Account.sign_transaction(foreign, account.private_key(path)).raw_transaction) == raw


def test_summary_is_of_the_bytes_that_are_signed() -> None:
    data = "0xa9059cbb" + "00" * 64
    payload = EthereumTx.parse({**GOOD, "data": data})
    summary = decode(payload, TestAccount(b"\1" * 32)).summary
    assert summary.chain_id == 1
    assert summary.to == GOOD["to"]
    assert summary.value == 10**18
    assert summary.nonce == 7
    assert summary.max_fee == 21000 * 30_000_000_000
    assert summary.selector == bytes.fromhex("a9059cbb")
    assert summary.data.hex() == data[2:]


def test_ttsignature_cases_are_signed_transactions_and_are_refused_as_such() -> None:
    """Six items of them are ours after v, r, s are cut off; as they stand all are signed already."""
    for case in ethereum_vectors("ethereum-tests-ttSignature-reduced.json")["cases"]:
        with pytest.raises(PayloadError):
            from_bytes(bytes.fromhex(case["txbytes"][2:]))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"bogus": 1}, "field 'bogus' has no place"),
        ({"gasPrice": 1}, "field 'gasPrice' has no place in a transaction of type 2"),
        ({"v": 27}, "field v belongs to a signed transaction"),
        ({"nonce": None}, "nonce is None, not a number"),
        ({"nonce": -1}, "nonce is -1, out of range"),
        ({"nonce": True}, "nonce is True, not a number"),
        ({"nonce": "7"}, "nonce is '7', not a number"),
        ({"nonce": 1.0}, "float has no place"),
        ({"nonce": (1 << 64) - 1}, "out of range"),
        ({"gas": 1 << 64}, "out of range"),
        ({"gas": 1, "gasLimit": 2}, "gas and gasLimit differ"),
        ({"data": "0x00", "input": "0x01"}, "data and input differ"),
        ({"value": "0x"}, "value is '0x', not a number"),
        ({"value": 1 << 256}, "more than 256 bits"),
        ({"chainId": 0}, "chainId is 0"),
        ({"chainId": None}, "chainId is null in a transaction of type 2"),
        ({"chainId": (1 << 63) - 36}, "out of range"),
        ({"to": "0x6Eb893e3466931517a04a17D153a6330c3f2f1Dd"}, "EIP-55 checksum is wrong"),
        ({"to": "0x6eb893"}, "to has 3 bytes, 20 are due"),
        ({"to": ""}, "to is '', not bytes"),
        ({"data": "0x1"}, "data is '0x1', not bytes"),
        ({"data": "00"}, "not bytes"),
        ({"type": 3}, "blob transaction"),
        ({"type": "0x4"}, "set-code transaction"),
        ({"type": 9}, "a transaction of type 9"),
        ({"maxPriorityFeePerGas": 31_000_000_000}, "exceeds maxFeePerGas"),
        ({"maxFeePerGas": (1 << 256) - 1}, "exceed 256 bits"),
        ({"accessList": {}}, "accessList is no list"),
        ({"accessList": [{"address": "0x" + "00" * 20}]}, r"accessList\[0\] is no object"),
        ({"accessList": [{"address": "0x" + "00" * 20, "storageKeys": ["0x00"]}]}, "32 are due"),
        ({"from": "0x00"}, "from has 1 bytes"),
        ({"accessList": [{"address": "0x" + "00" * 20, "storageKeys": 1}]}, "storageKeys is no list"),
        ({"data": "0x" + "00" * MAX_BYTES}, f"at most {MAX_BYTES} are taken"),
    ],
)
def test_a_bad_field_is_named(change: dict[str, Any], says: str) -> None:
    with pytest.raises(PayloadError, match=says):
        EthereumTx.parse({**GOOD, **change})


@pytest.mark.parametrize("field", ["chainId", "nonce", "gas", "to", "maxFeePerGas", "maxPriorityFeePerGas"])
def test_a_missing_field_is_named(field: str) -> None:
    with pytest.raises(PayloadError, match=f"missing in the transaction: {field}"):
        EthereumTx.parse({key: value for key, value in GOOD.items() if key != field})


def test_without_fees_the_type_cannot_be_told() -> None:
    with pytest.raises(PayloadError, match="missing in the transaction: the fee"):
        EthereumTx.parse({"chainId": 1, "nonce": 0, "gas": 1, "to": GOOD["to"]})


def test_no_replay_protection_only_when_asked_for() -> None:
    legacy = {"nonce": 0, "gas": 21000, "gasPrice": 1, "to": GOOD["to"]}
    with pytest.raises(PayloadError, match=r'missing in the transaction: chainId; .*"chainId": null'):
        from_json(legacy)
    transaction, _ = from_json({**legacy, "chainId": None})
    assert transaction.chain_id is None
    assert transaction.signed(Signature(1, 1, 1))[-3] == 28


def test_a_creation_names_its_code_or_says_null() -> None:
    fields = {key: value for key, value in GOOD.items() if key != "to"}
    assert from_json({**fields, "data": "0x6000"})[0].to is None
    assert from_json({**fields, "to": None})[0].to is None


def test_aliases_and_spellings_give_the_same_bytes() -> None:
    other = {
        **GOOD,
        "type": "0x2",
        "gasLimit": "0x5208",
        "input": "0x",
        "to": GOOD["to"].lower(),
        "nonce": "0x07",
    }
    del other["gas"]
    assert EthereumTx.parse(json.dumps(other)) == EthereumTx.parse(GOOD)
    unsigned = EthereumTx.parse(GOOD).unsigned
    assert EthereumTx.parse("0x" + unsigned.hex()) == EthereumTx.parse(unsigned) == EthereumTx.parse(GOOD)


@pytest.mark.attack("E7")
def test_duplicate_keys_are_refused() -> None:
    text = json.dumps(GOOD)[:-1] + ', "nonce": 8}'
    with pytest.raises(PayloadError, match="key 'nonce' stands twice"):
        EthereumTx.parse(text)


def test_from_must_be_the_accounts_address() -> None:
    account = TestAccount(b"\1" * 32)
    right = ethereum(account.public_key((3,)))
    payload = EthereumTx.parse({**GOOD, "from": right})
    assert decode(payload, account, (3,)).digests[0].path == (3,)
    with pytest.raises(PayloadError, match=f"from is {right}, but the key at this path has 0x"):
        decode(payload, account, (4,))


def mutate(change: str) -> bytes:
    unsigned = EthereumTx.parse(GOOD).unsigned
    items = rlp.decode(unsigned[1:])
    if change == "signed":
        return b"\2" + rlp.encode([*items, b"\1", b"\1", b"\1"])
    if change == "leading zero":
        items[1] = b"\0\7"
    elif change == "to of 19 bytes":
        items[5] = b"\1" * 19
    elif change == "list for data":
        items[7] = []
    elif change == "access list entry":
        items[8] = [[b"\1" * 20]]
    elif change == "trailing":
        return unsigned + b"\0"
    elif change == "long form":
        return b"\2\xf8" + bytes([len(unsigned) - 2]) + unsigned[2:]
    elif change == "type 1":
        return b"\1" + unsigned[1:]
    elif change == "type 3":
        return b"\3" + unsigned[1:]
    elif change == "type 5":
        return b"\5" + unsigned[1:]
    elif change == "string":
        return rlp.encode(b"\xff" * 60)
    elif change == "number of 33 bytes":
        items[6] = b"\1" * 33
    elif change == "no access list":
        items[8] = b""
    elif change == "too long":
        items[7] = bytes(MAX_BYTES)
    return b"\2" + rlp.encode(items)


@pytest.mark.parametrize(
    "change",
    [
        "signed",
        "leading zero",
        "to of 19 bytes",
        "list for data",
        "access list entry",
        "trailing",
        "long form",
        "type 1",
        "type 3",
        "type 5",
        "string",
        "number of 33 bytes",
        "no access list",
        "too long",
    ],
)
def test_bytes_that_are_not_a_canonical_unsigned_transaction(change: str) -> None:
    assert from_bytes(mutate("none")).nonce == 7
    with pytest.raises(PayloadError):
        EthereumTx(mutate(change))


@pytest.mark.parametrize("wrong", ["r", "s", "high s", "zero r", "v", "v 2", "other digest", "count"])
def test_a_signature_that_does_not_fit_is_not_assembled(wrong: str) -> None:
    account = TestAccount(b"\1" * 32)
    payload = EthereumTx.parse(GOOD)
    decoded = decode(payload, account)
    digest = decoded.digests[0].digest
    good = sign(account.private_key(), digest)
    r, s, v = good.r, good.s, good.v
    signatures = {
        "r": (Signature(r + 1, s, v),),
        "s": (Signature(r, s + 1, v),),
        "high s": (Signature(r, ORDER - s, v ^ 1),),
        "zero r": (Signature(0, s, v),),
        "v": (Signature(r, s, v ^ 1),),
        "v 2": (Signature(r, s, v | 2),),
        "other digest": (sign(account.private_key(), digest[::-1]),),
        "count": (good, good),
    }[wrong]
    assert finish(payload, decoded, (good,)).raw_transaction is not None
    with pytest.raises(PayloadError, match="signature"):
        finish(payload, decoded, signatures)


def test_a_recovery_id_that_ethereum_cannot_express() -> None:
    """r >= q - p happens with probability 2^-127, so no key makes one here; the form alone is tested."""
    with pytest.raises(PayloadError, match="recovery id 2 has no form"):
        from_bytes(EthereumTx.parse(GOOD).unsigned).signed(Signature(1, 1, 2))


def test_text_that_is_neither_json_nor_hex() -> None:
    for text in ("0xzz", "\ud800", "[1]", "1", "null", "{" + " " * 400_000 + "}"):
        with pytest.raises(PayloadError):
            EthereumTx.parse(text)
    nested: dict[str, Any] = {}
    for _ in range(20):
        nested = {"a": nested}
    with pytest.raises(PayloadError, match="nested deeper"):
        EthereumTx.parse({**GOOD, "data": nested})


def test_personal_message_as_eth_account_hashes_it() -> None:
    rng = random.Random(5)
    account = TestAccount(rng.randbytes(32))
    for size in (0, 1, 9, 10, 99, 100, 1000):
        content = rng.randbytes(size)
        decoded = decode(Message(content, "eip191"), account)
        signed = Account.sign_message(encode_defunct(primitive=content), account.private_key())
        assert decoded.digests[0].digest == signed.message_hash
        assert account.sign_all(decoded)[0].r == signed.r


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        # FIPS 180-4 example "abc"; its SHA-256 hashed again; Keccak team's known answer for "abc".
        ("sha256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ("sha256d", "4f8b42c22dd3729b519ba6f68d2da7cc5b2d606d05daed5ad5128cc03e6c6358"),
        ("keccak256", "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45"),
    ],
)
def test_hash_of_abc(name: str, digest: str) -> None:
    assert decode(Message(b"abc", name), TestAccount(b"\1" * 32)).digests[0].digest.hex() == digest


def test_digests_have_32_bytes_and_hashes_have_names() -> None:
    for size in (0, 31, 33, 64):
        with pytest.raises(PayloadError, match=f"has {size} bytes, exactly 32"):
            Digest(bytes(size))
    with pytest.raises(PayloadError, match="unknown hash 'md5'; known are eip191"):
        Message(b"", "md5")
    with pytest.raises(PayloadError, match="sign its digest instead"):
        Message(bytes(256 * 1024 + 1), "sha256")
