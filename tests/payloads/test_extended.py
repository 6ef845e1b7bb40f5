"""Extended public keys and the addresses below them, against bip_utils."""

from __future__ import annotations

import random

import pytest
from bip_utils import (
    AtomAddrEncoder,
    Bip32KeyNetVersions,
    Bip32PublicKey,
    Bip32Slip10Secp256k1,
    TrxAddrEncoder,
)

from participant.payloads import PayloadError, address
from participant.payloads.addresses import base58check, cosmos
from participant.payloads.extended import ExtendedPublicKey
from tss.errors import CallerError, HardenedPath
from tss.groups import ED25519, SECP256K1

TESTNET = Bip32KeyNetVersions(bytes.fromhex("043587cf"), bytes.fromhex("04358394"))


def roots(seed: int, count: int) -> list[Bip32Slip10Secp256k1]:
    rng = random.Random(seed)
    return [Bip32Slip10Secp256k1.FromSeed(rng.randbytes(32)) for _ in range(count)]


def test_bip_utils_writes_the_same_keys_at_every_depth() -> None:
    rng = random.Random(7)
    for root in roots(1, 8):
        X, c = SECP256K1.decode_point(root.PublicKey().RawCompressed().ToBytes()), root.ChainCode().ToBytes()
        paths = [[], [0], [2**31 - 1], [44, 0, 5], [rng.randrange(2**31) for _ in range(rng.randrange(1, 8))]]
        for path in paths:
            node = root
            for index in path:
                node = node.ChildKey(index)
            key = ExtendedPublicKey.of(X, c, path)
            assert key.to_text() == node.PublicKey().ToExtended()
            foreign = Bip32PublicKey.FromBytesOrKeyObject(
                node.PublicKey().RawCompressed().ToBytes(), node.PublicKey().Data(), TESTNET, node.CurveType()
            )
            assert key.to_text(testnet=True) == foreign.ToExtended()
            for text in (key.to_text(), key.to_text(testnet=True)):
                assert len(text) == 111
                assert ExtendedPublicKey.from_text(text) == key
            below = ExtendedPublicKey.from_text(key.to_text()).at([3, 1])
            assert below == node.ChildKey(3).ChildKey(1).PublicKey().RawCompressed().ToBytes()
            assert c.hex() not in repr(key)


def test_bip_utils_gives_the_same_cosmos_and_tron_addresses() -> None:
    for root in roots(2, 40):
        key = root.PublicKey().RawCompressed().ToBytes()
        assert address("tron", key) == TrxAddrEncoder.EncodeKey(key)
        for hrp in ("cosmos", "osmo", "a", "0x1" + "a" * 48):
            assert cosmos(key, hrp) == AtomAddrEncoder.EncodeKey(key, hrp=hrp)
        assert address("cosmos", key).startswith("cosmos1")


@pytest.mark.parametrize("hrp", ["", "a" * 52, "Cosmos", "a b", "a-b", "\u00e4", "cosmos1\n"])
def test_a_prefix_that_cannot_be_is_refused(hrp: str) -> None:
    key = roots(3, 1)[0].PublicKey().RawCompressed().ToBytes()
    with pytest.raises(PayloadError, match="no prefix"):
        cosmos(key, hrp)


def test_what_has_no_extended_key_is_refused() -> None:
    with pytest.raises(CallerError, match="no public derivation"):
        ExtendedPublicKey.of(ED25519.mul_base(5), bytes(32), [])
    with pytest.raises(HardenedPath):
        ExtendedPublicKey.of(SECP256K1.mul_base(5), bytes(32), [2**31])


def test_texts_that_are_no_extended_public_key_are_refused() -> None:
    root = roots(4, 1)[0]
    good = root.PublicKey().ToExtended()
    key = ExtendedPublicKey.from_text(good)
    payload = bytes.fromhex("0488b21e") + bytes(9) + key.chain_code + key.key
    assert base58check(payload) == good
    bad = {
        "private": root.PrivateKey().ToExtended(),
        "changed": good[:-1] + ("1" if good[-1] != "1" else "2"),
        "short": base58check(payload[:-1]),
        "long": base58check(payload + b"\0"),
        "version": base58check(bytes(4) + payload[4:]),
        "no point": base58check(payload[:-33] + b"\x02" + b"\xff" * 32),
        "uncompressed": base58check(payload[:-33] + b"\x04" + payload[-32:]),
        "root with a parent": base58check(payload[:5] + b"\1" + payload[6:]),
        "root with an index": base58check(payload[:12] + b"\1" + payload[13:]),
        "empty": "",
    }
    for what, text in bad.items():
        with pytest.raises(PayloadError):
            pytest.fail(f"{what}: {ExtendedPublicKey.from_text(text)}")
