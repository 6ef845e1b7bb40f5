"""Threshold signatures against published ones: with the vector's nonce in place of xi*gamma they are the same, bit for bit.

A dealer splits the vector's private key and its RFC 6979 nonce; signing itself is what the protocol does.
"""

from __future__ import annotations

import hashlib
import hmac
from itertools import pairwise
from typing import Any

import coincurve
import ecdsa
import pytest
from cggmp24_testing import dealt_key, dealt_presignature
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from eth_keys import KeyAPI
from tss_testing import SMALL_SECP, SeededRng, vectors

from tss.cggmp24 import sign
from tss.cggmp24.sign import Signature, SignRequest
from tss.ecdsa import verify
from tss.groups import SECP256K1
from tss.hd import derive

Q = SECP256K1.q


def sign_as_committee(
    secret: int, request: SignRequest, *, gamma: int | None = None, t: int = 2, chain_code: bytes = bytes(32)
) -> Signature:
    """What t signers make of a dealt key, without a session: every partial is checked, then combined."""
    shares = dealt_key.__wrapped__(SMALL_SECP, t, t, request.digest, secret, chain_code)
    parts = dealt_presignature(shares, shares, seed=request.digest, gamma=gamma)
    share, public = shares[1], parts[1].public
    child = derive(share.X, share.chain_code, request.path)
    e = {j: part.promise(request.digest, request.path, child.tau, SeededRng(j)) for j, part in parts.items()}
    at = sign.terms(SMALL_SECP, public, request, child.tau, child.X_c, e)
    sigmas = {j: part.answer(at.req, e[j], at.m, at.r, at.xi) for j, part in parts.items()}
    for j, sigma in sigmas.items():
        sign.check_partial(SMALL_SECP, public, at, j, sigma)
    return sign.combine(SMALL_SECP, at, request, list(sigmas.values()))


def rfc_6979_nonce(secret: int, digest: bytes) -> int:
    """The deterministic nonce for HMAC-SHA-256, straight from RFC 6979 section 3.2."""
    x, h = secret.to_bytes(32, "big"), (int.from_bytes(digest, "big") % Q).to_bytes(32, "big")
    V, K = b"\x01" * 32, b"\x00" * 32
    for separator in (b"\x00", b"\x01"):
        K = hmac.digest(K, V + separator + x + h, "sha256")
        V = hmac.digest(K, V, "sha256")
    while True:
        V = hmac.digest(K, V, "sha256")
        k = int.from_bytes(V, "big")
        if 0 < k < Q:
            return k
        K = hmac.digest(K, V + b"\x00", "sha256")
        V = hmac.digest(K, V, "sha256")


@pytest.fixture
def without_rerandomisation(monkeypatch: pytest.MonkeyPatch) -> None:
    """xi = 1, as no published signature knows of entropy. The tests alone can do this."""
    monkeypatch.setattr(sign, "_multiplier", lambda _seed, _q: 1)


@pytest.mark.usefixtures("without_rerandomisation")
class TestRfc6979:
    def test_published_nonces(self) -> None:
        cases = vectors("rfc6979-secp256k1/rfc6979.json")
        for case in cases:
            secret, digest = int(case["d"], 16), hashlib.sha256(case["message"].encode()).digest()
            assert rfc_6979_nonce(secret, digest) == int(case["k0"], 16)
            for t, name in ((2, "k0"), (3, "k1"), (4, "k15")):
                k = int(case[name], 16)
                signature = sign_as_committee(secret, SignRequest(digest), gamma=k, t=t)
                theirs = ecdsa.SigningKey.from_secret_exponent(secret, ecdsa.SECP256k1)
                r, s = theirs.sign_digest(digest, k=k, sigencode=lambda r, s, _order: (r, s))
                assert (signature.r, signature.s) == (r, min(s, Q - s))
        assert len(cases) == 10

    def test_published_signatures(self) -> None:
        cases = vectors("rfc6979-secp256k1/ecdsa.json")["valid"]
        assert len(cases) == 2019
        for case in cases:
            secret, digest = int(case["d"], 16), bytes.fromhex(case["m"])
            signature = sign_as_committee(secret, SignRequest(digest), gamma=rfc_6979_nonce(secret, digest))
            assert f"{signature.r:064x}{signature.s:064x}" == case["signature"], case


def test_libsecp256k1_signs_the_same(without_rerandomisation: None) -> None:
    """With its recovery id: what a wallet with a whole key would send."""
    rng = SeededRng("libsecp256k1")
    for t in (2, 3, 5):
        secret, digest = int.from_bytes(rng(32), "big") % Q, rng(32)
        theirs = coincurve.PrivateKey.from_int(secret).sign_recoverable(digest, hasher=None)
        signature = sign_as_committee(secret, SignRequest(digest), gamma=rfc_6979_nonce(secret, digest), t=t)
        ours = signature.r.to_bytes(32, "big") + signature.s.to_bytes(32, "big") + bytes([signature.v])
        assert ours == theirs


def soft_children() -> list[tuple[str, dict[str, Any], dict[str, Any], int]]:
    """(source, parent, child, index) of every published soft step: private, public and chain code in hex."""
    found = []
    for group in vectors("slip-0010/slip10-vectors.json"):
        if group["curve"] == "secp256k1":
            for parent, child in pairwise(group["chains"]):
                last = child["path"].rsplit("/", 1)[1]
                if not last.endswith("H"):
                    found.append(("slip-10", parent, child, int(last)))
    for vector in vectors("bip32/bitcoinjs-index.json")["valid"]:
        parent = vector["master"]
        for child in vector["children"]:
            named = {
                key: {"private": node["privKey"], "public": node["pubKey"], "chain_code": node["chainCode"]}
                for key, node in (("parent", parent), ("child", child))
                if "privKey" in node
            }
            if not child.get("hardened") and "m" in child and len(named) == 2:
                last = child["path"].rsplit("/", 1)[1]
                if not last.endswith("'"):
                    found.append(("bip-32", named["parent"], named["child"], child["m"]))
            parent = child
    return found


def test_derived_keys_sign_as_the_published_children() -> None:
    """A committee that holds the parent signs at m/index: the published child's public key verifies it."""
    steps = soft_children()
    assert {source for source, *_ in steps} == {"slip-10", "bip-32"}
    assert len(steps) >= 10
    digest = hashlib.sha256(b"child").digest()
    for _, parent, child, index in steps:
        signature = sign_as_committee(
            int(parent["private"], 16),
            SignRequest(digest, (index,)),
            chain_code=bytes.fromhex(parent["chain_code"]),
        )
        assert signature.X_c.to_bytes().hex() == child["public"]
        key = ecdsa.VerifyingKey.from_string(bytes.fromhex(child["public"]), curve=ecdsa.SECP256k1)
        assert key.verify_digest(signature.r.to_bytes(32, "big") + signature.s.to_bytes(32, "big"), digest)


def test_ethereum_accounts() -> None:
    """ecrecover on a threshold signature gives the published address."""
    accounts = vectors("ethereum/ethers-v6-accounts.json")
    assert len(accounts) == 259
    for account in accounts:
        digest = hashlib.sha256(account["name"].encode()).digest()
        signature = sign_as_committee(int(account["privateKey"], 16), SignRequest(digest))
        recovered = KeyAPI.Signature(
            vrs=(signature.v, signature.r, signature.s)
        ).recover_public_key_from_msg_hash(digest)
        assert recovered.to_checksum_address() == account["address"]


def test_wycheproof_with_any_s() -> None:
    """DER, where a high s is valid: the set that the other two files of the vectors do not cover."""
    counts = {"valid": 0, "invalid": 0}
    for group in vectors("wycheproof/ecdsa_secp256k1_sha256_test.json")["testGroups"]:
        raw = bytes.fromhex(group["publicKey"]["uncompressed"])
        key = SECP256K1.decode_point(bytes([2 + (raw[64] & 1)]) + raw[1:33])
        for test in group["tests"]:
            digest = hashlib.sha256(bytes.fromhex(test["msg"])).digest()
            try:
                r, s = decode_dss_signature(bytes.fromhex(test["sig"]))
            except ValueError:
                accepted = False
            else:
                accepted = verify(key, digest, r, s, allow_high_s=True)
            assert accepted == (test["result"] == "valid"), test
            counts[test["result"]] += 1
    assert counts == {"valid": 168, "invalid": 308}
