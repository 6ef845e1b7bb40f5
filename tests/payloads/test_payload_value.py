from __future__ import annotations

import contextlib
import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from payload_testing import TestAccount

from participant.payloads import (
    SCHEMA,
    AccountKeys,
    Digest,
    EthereumTx,
    Keys,
    Message,
    Payload,
    PayloadError,
    PsbtTx,
    TypedData,
    decode,
    finish,
    from_value,
    to_value,
)
from participant.payloads.psbt import MAGIC
from tss.encoding import decode as enc_decode
from tss.encoding import encode as enc_encode
from tss.errors import HardenedPath, SchemaViolation
from tss.groups import SECP256K1

ACCOUNT = TestAccount(b"\5" * 32)
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


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda p: p.kind)
def test_a_payload_survives_its_proposal(payload: Payload) -> None:
    data = enc_encode(to_value(payload))
    assert from_value(enc_decode(data, SCHEMA)) == payload


@pytest.mark.parametrize(
    "value",
    [
        ["digest", bytes(31), None],
        ["digest", bytes(32), b"x"],
        ["message", b"", None],
        ["message", b"", b"md5"],
        ["message", b"", b"\xff"],
        ["ethereum_tx", EthereumTx.parse(TRANSACTION).unsigned, b"short"],
        ["ethereum_tx", b"", None],
        ["typed_data", json.dumps(TYPED).encode(), None],
        ["typed_data", TypedData.parse(TYPED).json, b"x"],
        ["psbt", b"", None],
        ["psbt", PSBT, b"x"],
        ["solana_tx", b"", None],
    ],
)
def test_a_proposal_with_a_payload_that_is_none(value: list[Any]) -> None:
    decoded = enc_decode(enc_encode(value), SCHEMA)
    with pytest.raises(PayloadError):
        from_value(decoded)


def test_size_bounds_of_the_schema() -> None:
    for value in (["k" * 17, b"", None], ["psbt", bytes(2 * 1024 * 1024 + 1), None], ["message", b"", b""]):
        with pytest.raises(SchemaViolation):
            enc_decode(enc_encode(value), SCHEMA)


def test_a_digest_and_a_message_finish_without_a_transaction() -> None:
    for payload in PAYLOADS[:3]:
        decoded = decode(payload, ACCOUNT, (1, 2))
        assert decoded.digests[0].path == (1, 2)
        done = finish(payload, decoded, ACCOUNT.sign_all(decoded))
        assert done.raw_transaction is None
        assert done.psbt is None


def test_account_keys_derive_as_bip_utils_does() -> None:
    rng = random.Random(3)
    account = TestAccount(rng.randbytes(32), chain_code := rng.randbytes(32))
    keys = AccountKeys(SECP256K1.decode_point(account.public_key(())), chain_code)
    assert isinstance(keys, Keys)
    for _ in range(20):
        path = tuple(rng.randrange(1 << 31) for _ in range(rng.randrange(5)))
        assert keys.public_key(path) == account.public_key(path)
        assert keys.public_key(path) == account.public_key(path), "the kept one"
    with pytest.raises(HardenedPath):
        keys.public_key((1 << 31,))
    assert chain_code.hex() not in repr(keys)
    assert str(chain_code)[2:-1] not in repr(keys)


def only_payload_errors(make: Any, *arguments: Any) -> None:
    with contextlib.suppress(PayloadError):
        decode(make(*arguments), ACCOUNT)


leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**260), 2**260)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["0x", "0x0", "0x" + "11" * 20, "T", "uint8[]", "bytes32", "1"])
)
names = st.sampled_from(
    [*TRANSACTION, *TYPED, "data", "accessList", "from", "type", "maxFeePerGas", "T", "x", "name"]
)
values = st.recursive(
    leaves,
    lambda below: (
        st.lists(below, max_size=4) | st.dictionaries(names | st.text(max_size=5), below, max_size=5)
    ),
)


@pytest.mark.attack("E7")
@settings(max_examples=300, deadline=None, derandomize=True)
@given(values)
def test_any_json_raises_payload_errors_only(value: Any) -> None:
    text = json.dumps(value)
    for make in (EthereumTx.parse, TypedData.parse, PsbtTx.parse):
        only_payload_errors(make, text)
        only_payload_errors(make, text.encode())
    if isinstance(value, dict):
        only_payload_errors(EthereumTx.parse, value)
        only_payload_errors(TypedData.parse, value)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.sampled_from([TRANSACTION, TYPED]), st.data())
def test_a_good_object_with_a_part_replaced(good: dict[str, Any], data: st.DataObject) -> None:
    changed = json.loads(json.dumps(good))
    place: Any = changed
    while True:
        key = data.draw(
            st.sampled_from(sorted(place)) if isinstance(place, dict) else st.integers(0, len(place) - 1)
        )
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(values)
    make = EthereumTx.parse if good is TRANSACTION else TypedData.parse
    only_payload_errors(make, changed)


@settings(max_examples=500, deadline=None, derandomize=True)
@given(
    st.binary(max_size=200), st.sampled_from([b"", b"\1", b"\2", b"\xf8", b"\xc0", MAGIC, MAGIC + b"\1\0"])
)
def test_any_bytes_raise_payload_errors_only(data: bytes, prefix: bytes) -> None:
    for make in (Digest, EthereumTx, TypedData, PsbtTx, EthereumTx.parse, TypedData.parse, PsbtTx.parse):
        only_payload_errors(make, prefix + data)


@settings(max_examples=500, deadline=None, derandomize=True)
@given(
    st.sampled_from(PAYLOADS[3:]),
    st.lists(st.tuples(st.integers(0, 10**6), st.binary(max_size=3)), max_size=4),
)
def test_good_bytes_with_some_replaced(payload: Payload, edits: list[tuple[int, bytes]]) -> None:
    kind, body, extra = to_value(payload)
    for place, new in edits:
        at = place % (len(body) + 1)
        body = body[:at] + new + body[at + (place // 7) % 3 :]
    only_payload_errors(from_value, [kind, body, extra])


@pytest.mark.attack("E7")
def test_deep_rlp_is_refused() -> None:
    data = b"\xc0"
    while len(data) < 100_000:
        size = len(data)
        length = (size.bit_length() + 7) // 8
        data = (
            bytes([0xC0 + size]) if size < 56 else bytes([0xF7 + length]) + size.to_bytes(length, "big")
        ) + data
    with pytest.raises(PayloadError):
        EthereumTx(data)


def test_signing_never_asks_for_a_key_at_another_path() -> None:
    account = TestAccount(b"\6" * 32)
    decode(EthereumTx.parse(TRANSACTION), account, (4, 4))
    assert set(account.asked) == {(4, 4)}
