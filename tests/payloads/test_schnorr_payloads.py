"""Digests and messages that are signed by BIP-340: their canonical form, what is refused, and the check of signatures."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from payload_testing import TestAccount

from participant.payloads import Bip340, Digest, Message, Payload, PayloadError, Signature, decode, finish
from participant.payloads.decoded import halves
from participant.payloads.payload import SCHEMA, from_value, to_value
from participant.payloads.schnorr import TRANSACTION_PREFIX
from tss.encoding import decode as enc_decode
from tss.encoding import encode as enc_encode
from tss.frost.bip340 import NO_SCRIPTS, Tweaks

ACCOUNT = TestAccount(b"\5" * 32)
DIGEST, ROOT = hashlib.sha256(b"digest").digest(), hashlib.sha256(b"scripts").digest()
PATH = (0, 3)
PAYLOADS: list[tuple[Payload, bytes]] = [
    (Digest(DIGEST, Bip340()), b"\1"),
    (Digest(DIGEST, Bip340(NO_SCRIPTS)), b"\2"),
    (Digest(DIGEST, Bip340(ROOT)), b"\3" + ROOT),
    (Message(b"m", "sha256", Bip340()), b"sha256\1"),
    (Message(b"m", "keccak256", Bip340()), b"keccak256\1"),
]


def signed(payload: Payload) -> tuple[Signature, bytes]:
    """By libsecp256k1, with the private key of the path, tweaked as the payload says."""
    (due,) = decode(payload, ACCOUNT, PATH).digests
    assert due.tweaks is not None
    found = ACCOUNT.sign_due(due)
    return found, found.r.to_bytes(32, "big") + found.s.to_bytes(32, "big")


@pytest.mark.parametrize(("payload", "extra"), PAYLOADS, ids=repr)
def test_the_canonical_form_says_how_it_is_signed(payload: Payload, extra: bytes) -> None:
    value = to_value(payload)
    assert value[2] == extra
    assert from_value(enc_decode(enc_encode(value), SCHEMA)) == payload
    assert value != to_value(replace(payload, bip340=None))  # type: ignore[call-arg]


@pytest.mark.parametrize(("payload", "extra"), PAYLOADS, ids=repr)
def test_its_signature_is_checked_under_its_own_key(payload: Payload, extra: bytes) -> None:
    decoded = decode(payload, ACCOUNT, PATH)
    (due,) = decoded.digests
    assert (due.path, due.public_key, due.message) == (PATH, ACCOUNT.public_key(PATH), due.digest)
    assert due.tweaks == Tweaks(PATH, payload.bip340.taproot)  # type: ignore[union-attr]
    signature, raw = signed(payload)
    assert halves(signature) == raw
    finish(payload, decoded, (signature,))
    others = [signed(other)[0] for other, _ in PAYLOADS if other != payload]
    wrong = [
        *others,
        replace(signature, v=1),
        replace(signature, r=signature.r ^ 1),
        replace(signature, s=signature.s ^ 1),
        replace(signature, r=signature.r + (1 << 256)),
        ACCOUNT.sign(PATH, due.digest),
    ]
    for other in wrong:
        with pytest.raises(PayloadError, match="signature 0 is not one by BIP-340"):
            finish(payload, decoded, (other,))
    assert extra


@pytest.mark.parametrize("extra", [b"\0", b"\1\1", b"\2" + ROOT, b"\3", b"\3" + ROOT[:31], b"\4", b"sha256"])
def test_other_words_behind_a_digest(extra: bytes) -> None:
    with pytest.raises(PayloadError, match="in no known way"):
        from_value(["digest", DIGEST, extra])


def test_what_is_refused() -> None:
    with pytest.raises(PayloadError, match="merkle root of 31 bytes"):
        Bip340(bytes(31))
    with pytest.raises(PayloadError, match="a hash of the message is signed"):
        Message(b"m", "none", Bip340())
    with pytest.raises(PayloadError, match="by the key at its path"):
        Message(b"m", "sha256", Bip340(NO_SCRIPTS))
    with pytest.raises(PayloadError, match="by the key at its path"):
        from_value(["message", b"m", b"sha256\2"])


def test_a_transaction_does_not_go_as_a_message() -> None:
    """Whose hash were that of a Taproot input."""
    with pytest.raises(PayloadError, match="as a PSBT"):
        Message(TRANSACTION_PREFIX + bytes(100), "sha256", Bip340())
    Message(TRANSACTION_PREFIX[:-1] + bytes(100), "sha256", Bip340())
    Message(TRANSACTION_PREFIX + bytes(100), "sha256")
    tag = hashlib.sha256(b"TapSighash").digest()
    assert tag + tag == TRANSACTION_PREFIX
