from __future__ import annotations

import json
import random
from typing import Any

import pytest
from eth_account import Account
from payload_testing import TestAccount, ethereum_vectors, sign

from participant.payloads import (
    EthereumTx,
    PayloadError,
    Signature,
    decode,
    finish,
)
from participant.payloads.addresses import ethereum, ethereum_checksum
from participant.payloads.decoded import ORDER
from participant.payloads.ethereum import from_bytes, from_json

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
