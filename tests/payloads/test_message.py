from __future__ import annotations

import random

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct
from payload_testing import TestAccount

from participant.payloads import Digest, DigestSummary, Message, MessageSummary, PayloadError, decode

ACCOUNT = TestAccount(b"\1" * 32)


def test_personal_message_as_eth_account_hashes_it() -> None:
    rng = random.Random(5)
    for size in (0, 1, 9, 10, 99, 100, 1000):
        content = rng.randbytes(size)
        decoded = decode(Message(content, "eip191"), ACCOUNT)
        signed = Account.sign_message(encode_defunct(primitive=content), ACCOUNT.private_key())
        assert decoded.digests[0].digest == signed.message_hash
        assert ACCOUNT.sign_all(decoded)[0].r == signed.r


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
    assert decode(Message(b"abc", name), ACCOUNT).digests[0].digest.hex() == digest


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_digest_has_32_bytes(size: int) -> None:
    with pytest.raises(PayloadError, match=f"has {size} bytes, exactly 32 are due"):
        Digest(bytes(size))
    assert decode(Digest(bytes(range(32))), ACCOUNT).summary == DigestSummary(bytes(range(32)))


@pytest.mark.parametrize("name", ["md5", "", "SHA256", "x" * 41])
def test_a_hash_has_a_name(name: str) -> None:
    with pytest.raises(PayloadError) as caught:
        Message(b"", name)
    assert caught.value.what == f"unknown hash '{name[:40]}'"
    assert caught.value.remedy == "known are eip191, sha256, sha256d, keccak256, none"


def test_the_longest_message() -> None:
    longest = bytes(262_144)
    assert decode(Message(longest, "sha256"), ACCOUNT).summary == MessageSummary(longest, "sha256")
    with pytest.raises(PayloadError, match="the message has 262145 bytes, at most 262144 are taken"):
        Message(longest + b"\0", "sha256")
