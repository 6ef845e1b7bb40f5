from __future__ import annotations

from dataclasses import replace

import pytest
from eth_account import Account as EthereumAccount
from hypothesis import given
from hypothesis import strategies as st

from participant.node.api import SignedDigest
from participant.node.errors import InternalFailure
from participant.node.results import content_hash, decode_signed, encode_signed, sign_result
from participant.payloads import AccountKeys, Digest, EthereumTx, Message, decode
from tss import ecdsa
from tss.groups import SECP256K1

X_SECRET, K = 7777777, 987654321
KEYS = AccountKeys(SECP256K1.mul_base(X_SECRET), bytes(32))


def signed(digest: bytes) -> SignedDigest:
    """By a key in one hand."""
    q = SECP256K1.q
    R = SECP256K1.mul_base(K)
    r = int(SECP256K1.x(R) % q)
    s, v = ecdsa.normalise(
        pow(K, -1, q) * (int.from_bytes(digest, "big") + r * X_SECRET) % q, ecdsa.recovery_id(R), q
    )
    return SignedDigest(digest, "m", KEYS.X.to_bytes(), r, int(s), v, (0, 2), True, session_id=b"s" * 32)


items = st.builds(
    SignedDigest,
    digest=st.binary(min_size=32, max_size=32),
    path=st.lists(st.integers(0, 2**31 - 1), max_size=5).map(lambda p: "/".join(["m", *map(str, p)])),
    public_key=st.binary(min_size=33, max_size=33),
    r=st.integers(1, 2**256 - 1),
    s=st.integers(1, 2**256 - 1),
    v=st.integers(0, 3),
    signers=st.lists(st.integers(0, 15), min_size=2, max_size=16).map(tuple),
    from_stock=st.booleans(),
    input_index=st.none() | st.integers(0, 1000),
    session_id=st.binary(max_size=32),
)


@given(st.lists(items, min_size=1, max_size=4).map(tuple))
def test_what_is_stored_comes_back(values):
    assert decode_signed(encode_signed(values)) == values


@pytest.mark.parametrize("data", [b"", b"\x07\x00\x00\x00\x00", encode_signed([signed(bytes(32))])[:-1]])
def test_damage_is_said(data):
    with pytest.raises(InternalFailure, match="damaged"):
        decode_signed(data)


def test_the_content_is_key_path_and_payload():
    base = content_hash(b"k" * 32, (0, 1), Digest(bytes(32)))
    assert base == content_hash(b"k" * 32, [0, 1], Digest(bytes(32)))
    others = {
        content_hash(b"l" * 32, (0, 1), Digest(bytes(32))),
        content_hash(b"k" * 32, (0, 2), Digest(bytes(32))),
        content_hash(b"k" * 32, (0, 1), Digest(b"d" * 32)),
        content_hash(b"k" * 32, (0, 1), Message(bytes(32), "sha256")),
        content_hash(b"k" * 32, (0, 1), Message(bytes(32), "keccak256")),
    }
    assert len(others | {base}) == 6


def test_a_digest_comes_back_with_signature_and_addresses():
    payload = Digest(b"d" * 32)
    item = signed(payload.digest)
    result = sign_result(b"r" * 16, "alice", "secp256k1", payload, decode(payload, KEYS, ()), (item,))
    assert (result.r, result.s, result.v, result.signers) == (item.r, item.s, item.v, (0, 2))
    assert result.signature == item.r.to_bytes(32, "big") + item.s.to_bytes(32, "big") + bytes([item.v])
    assert result.addresses["ethereum"] == EthereumAccount.from_key(X_SECRET.to_bytes(32, "big")).address
    assert result.raw_transaction is None
    assert result.psbt is None


def test_a_transaction_comes_back_signed():
    payload = EthereumTx.parse(
        {"to": "0x" + "11" * 20, "value": 1, "nonce": 0, "gas": 21000, "gasPrice": 1, "chainId": 5}
    )
    decoded = decode(payload, KEYS, ())
    item = signed(decoded.digests[0].digest)
    result = sign_result(b"r" * 16, "alice", "secp256k1", payload, decoded, (item,))
    assert result.raw_transaction is not None
    sender = EthereumAccount.recover_transaction(result.raw_transaction)
    assert sender == EthereumAccount.from_key(X_SECRET.to_bytes(32, "big")).address


@pytest.mark.parametrize("spoil", [{"s": 1}, {"v": 2}, {"r": 5}])
def test_a_signature_that_does_not_verify_never_leaves(spoil):
    payload = Digest(b"d" * 32)
    item = replace(signed(payload.digest), **spoil)
    with pytest.raises(InternalFailure, match="does not fit"):
        sign_result(b"r" * 16, "alice", "secp256k1", payload, decode(payload, KEYS, ()), (item,))
