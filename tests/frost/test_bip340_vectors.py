"""BIP-340's own vectors, RFC 9591's of FROST(secp256k1, SHA-256), BIP-341's and the Zcash Foundation's of the joint scheme."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import pytest
from tss_testing import vectors

from tss.envelope import holder
from tss.frost import ciphersuite as ciphersuite_module
from tss.frost.bip340 import output_key, tap_tweak
from tss.frost.ciphersuite import BIP340, Secp256k1Sha256, expand_message_xmd, x_only
from tss.frost.nonces import NoncePair
from tss.frost.sign import KIND, check_partial
from tss.frost.terms import Terms, binding_factors, signature_share, terms
from tss.groups import SECP256K1, Point
from tss.groups.secp256k1 import schnorr_verify
from tss.params import FROST_BIP340
from tss.records import KeyShare
from tss.vss import Polynomial

G = SECP256K1.G
RFC_FILES = (
    "frost-rfc9591/frost-secp256k1-sha256.json",
    "frost-zf/frost-secp256k1/vectors.json",
    "frost-zf/frost-secp256k1/vectors-big-identifier.json",
)


class Rfc9591(Secp256k1Sha256):
    """FROST(secp256k1, SHA-256) itself, whose signatures nobody verifies: only its hashes are in use here."""

    context = b"FROST-secp256k1-SHA256-v1"

    def H2(self, m: bytes) -> int:
        return self._scalar(b"chal", m)

    def verify(self, X: Point, message: bytes, encoded: bytes) -> bool:
        R, z = SECP256K1.decode_point(encoded[:33]), int.from_bytes(encoded[33:], "big")
        return z * G == R + self.H2(encoded[:33] + X.to_bytes() + message) * X


def drawn(entry: dict[str, Any], share: int) -> NoncePair:
    """The pair that the vector's randomness gives."""
    dice = iter([bytes.fromhex(entry[f"{name}_nonce_randomness"]) for name in ("hiding", "binding")])
    record = KeyShare(FROST_BIP340, b"k" * 32, b"e" * 32, 2, 1, G, {}, b"", share)
    return NoncePair.draw(record, lambda _size: next(dice))


def followed(given: dict[str, Any]) -> tuple[Terms, list[int]]:
    """Every step of a vector; the terms and the signature shares."""
    inputs, round1 = given["inputs"], given["round_one_outputs"]["outputs"]
    secret = int(inputs["group_secret_key"], 16)
    f = Polynomial(SECP256K1, (secret, *(int(c, 16) for c in inputs["share_polynomial_coefficients"])))
    X, message = f.commit()[0], bytes.fromhex(inputs["message"])
    assert X.to_bytes().hex() == inputs.get("group_public_key", inputs.get("verifying_key_key"))
    share = {i: f.evaluate(i) for i in inputs["participant_list"]}
    pairs = {entry["identifier"]: drawn(entry, share[entry["identifier"]]) for entry in round1}
    commitments = {i: pair.commitments for i, pair in pairs.items()}
    factors, at, z = binding_factors(X, message, commitments), terms(X, message, commitments), []
    for entry, said in zip(round1, given["round_two_outputs"]["outputs"], strict=True):
        i = entry["identifier"]
        secrets = pairs[i].spend()
        assert [f"{k:064x}" for k in secrets] == [entry["hiding_nonce"], entry["binding_nonce"]]
        assert [point.to_bytes().hex() for point in commitments[i]] == [
            entry["hiding_nonce_commitment"],
            entry["binding_nonce_commitment"],
        ]
        assert f"{factors[i]:064x}" == entry["binding_factor"]
        z.append(signature_share(at, i, share[i], *secrets))
        assert (said["identifier"], f"{z[-1]:064x}") == (i, said["sig_share"])
        check_partial(at, holder(i), SECP256K1.mul_base(share[i]), z[-1], KIND)
    return at, z


@pytest.mark.attack("D5")
@pytest.mark.parametrize("file", RFC_FILES)
def test_hashes_and_shares_of_the_rfc(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the RFC's context and challenge in place of BIP-340's, the same code gives the RFC's values."""
    monkeypatch.setitem(ciphersuite_module._BY_GROUP, "secp256k1", Rfc9591())
    given = vectors(file)
    at, z = followed(given)
    encoded = at.R.to_bytes() + (sum(z) % SECP256K1.q).to_bytes(32, "big")
    assert encoded.hex() == given["final_output"]["sig"]
    assert Rfc9591().verify(at.X, at.message, encoded)


# frost-secp256k1-tr/tests/helpers/vectors.json of github.com/ZcashFoundation/frost (MIT or Apache-2.0), commit 15688ab3:
# the key, message and shares are the RFC's.
TR = {
    1: (
        "bda8e748e599187762cff956f03dc6ea13fc8e04491a0427b7e6e78600f41c52",
        "2ca682429bf05df435b9927b8edb1d748278f3e42fa11ef358e49bbf4a1b780d",
        "58cd30723da418156fe9b71870a118e0bbc3d0353ba7c760f9bbc8d60c3dab29",
        "c22289cc43b82ed938d4b2288efb7381c405fb59f5d43bddc543d98838c60b19",
        "024e34ab3a7ad6b4563dbfe97e9f1206b3378cceb2502491ed0fb709765e1e5ba8",
        "03d4b1f3a61dc67e64dfb4abfccabb712f1f6914a6ec9b67749d171370453192cb",
        "55a3e44879db6daf00c81eb28e828869560c0901f347baff524f1c91a6669604",
        "2ffc305d1694fd84108b84d98306a1af807c6ad9bc3a2d8e448a09643202a15b",
    ),
    3: (
        "70818dd5170672c4a4285fd593d4f222417f941f3118e1244955e7a1098a35d8",
        "74ca2da071ed4a2a6cad5087d6758b48a558ab5861c61117fee05757e4b1309e",
        "a4109db0a5db30fac8cd1f4e272ff02e08258928f067d82c63d97279b114514a",
        "ce3837bd963f0d81002279f7bb9eefceac64435f638885c2beae6f1dd881fd9e",
        "02d768658a1b94225645401a1512b803657770c7a21bf9ccccccfa09930a44951b",
        "034570a4e5217ee8770a28401185f50b4fce4d3f3933a3af9df7ab39b42381d0eb",
        "444c1cc7cfe48f4577cce65488f337a9cc8c33dea4cfa986eb590bd8e2b1fa2d",
        "a8c392566ea29e852b4080a028bf5547166c87e703e4fb7136d4ebef65f99b3f",
    ),
}
TR_SIGNATURE = (
    "0c776a9516a77808b70a31e74f1464814a6fcf897fb3a6bd84c7a9a9a7a5bcb8"
    "d8bfc2b385379c093bcc0579abc5f6f696e8f2c0c01f28ff7b5ef55397fc3c9a"
)
NAMES = (
    "hiding_nonce_randomness", "binding_nonce_randomness", "hiding_nonce", "binding_nonce",
    "hiding_nonce_commitment", "binding_nonce_commitment", "binding_factor", "sig_share",
)  # fmt: skip


def test_shares_and_signature_of_another_implementation() -> None:
    outputs = [{"identifier": i, **dict(zip(NAMES, values, strict=True))} for i, values in TR.items()]
    given = {
        "inputs": vectors(RFC_FILES[1])["inputs"],
        "round_one_outputs": {"outputs": outputs},
        "round_two_outputs": {"outputs": outputs},
    }
    at, z = followed(given)
    encoded = x_only(at.R) + (sum(z) % SECP256K1.q).to_bytes(32, "big")
    assert encoded.hex() == TR_SIGNATURE
    assert BIP340.verify(at.X, at.message, encoded)


def bip340_rows() -> list[dict[str, str]]:
    with Path(os.environ["TSS_VECTORS"], "bip340", "test-vectors.csv").open() as file:
        return list(csv.DictReader(file))


def test_every_vector_of_bip340_is_judged_as_it_says() -> None:
    rows = bip340_rows()
    assert len(rows) == 19
    for row in rows:
        key, message, signature = (
            bytes.fromhex(row[name]) for name in ("public key", "message", "signature")
        )
        assert schnorr_verify(key, message, signature) == (row["verification result"] == "TRUE"), row
        if row["verification result"] == "TRUE":
            assert not schnorr_verify(key, message, signature[:63])
            assert not schnorr_verify(key, message, signature + b"\0")
            assert not schnorr_verify(key + b"\0", message, signature)


def test_the_challenge_of_bip340() -> None:
    """s*G = R + H2(r || x(P) || m)*P for a signature of the vectors."""
    row = bip340_rows()[1]
    key, message, signature = (bytes.fromhex(row[name]) for name in ("public key", "message", "signature"))
    R, P = (SECP256K1.decode_point(b"\x02" + x) for x in (signature[:32], key))
    assert int.from_bytes(signature[32:], "big") * G == R + BIP340.H2(signature[:32] + key + message) * P


# BIP-341's wallet-test-vectors.json, "scriptPubKey" 0 and 1: internal key, merkle root, tweak, output key.
OUTPUTS = [
    (
        "d6889cb081036e0faefa3a35157ad71086b123b2b144b649798b494c300a961d",
        "",
        "b86e7be8f39bab32a6f2c0443abbc210f0edac0e2c53d501b36b64437d9c6c70",
        "53a1f6e454df1aa2776a2814a721372d6258050de330b3c6d10ee8f4e0dda343",
    ),
    (
        "187791b6f712a8ea41c8ecdd0ee77fab3e85263b37e1ec18a3651926b3a6cf27",
        "5b75adecf53548f3ec6ad7d78383bf84cc57b55a3127c72b9a2481752dd88b21",
        "cbd8679ba636c1110ea247542cfbd964131a6be84f873f7f3b62a777528ed001",
        "147c9c57132f6e7ecddba9800bb0c4449251c92a1e60371ee77557b6620f3ea3",
    ),
]


@pytest.mark.parametrize(("internal", "root", "tweak", "output"), OUTPUTS)
def test_tweaks_and_output_keys_of_bip341(internal: str, root: str, tweak: str, output: str) -> None:
    P = SECP256K1.decode_point(b"\x02" + bytes.fromhex(internal))
    assert f"{tap_tweak(P, bytes.fromhex(root)):064x}" == tweak
    assert x_only(output_key(P, bytes.fromhex(root))).hex() == output
    assert x_only(output_key(-P, bytes.fromhex(root))).hex() == output


# RFC 9380, K.1: expand_message_xmd(SHA-256), DST = "QUUX-V01-CS02-with-expander-SHA256-128".
EXPANDED = [
    (b"", 0x20, "68a985b87eb6b46952128911f2a4412bbc302a9d759667f87f7a21d803f07235"),
    (b"abc", 0x20, "d8ccab23b5985ccea865c6c97b6e5b8350e794e603b4b97902f53a8a0d605615"),
]


@pytest.mark.parametrize(("message", "length", "expanded"), EXPANDED)
def test_expansion_of_rfc_9380(message: bytes, length: int, expanded: str) -> None:
    assert expand_message_xmd(message, b"QUUX-V01-CS02-with-expander-SHA256-128", length).hex() == expanded
