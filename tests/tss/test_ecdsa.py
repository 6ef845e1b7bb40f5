"""ECDSA verification and recovery: Wycheproof, RFC 6979 vectors, low-s, both parities and x(R) >= q."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from tss_testing import TOY, TOY_P, SeededRng, vectors

from tss import ecdsa
from tss.errors import BadDigest, BadPoint, OutOfDomain
from tss.groups import ED25519, SECP256K1
from tss.groups.secp256k1 import ecdsa_recover, ecdsa_verify
from tss.rand import scalar

Q = SECP256K1.q
BOTH = pytest.mark.parametrize("group", [SECP256K1, TOY], ids=lambda g: g.name)


def sign(group, x, digest, k):
    """The formula: (r, s, v), not normalised."""
    R = group.mul_base(k)
    r = group.x(R) % group.q
    s = pow(k, -1, group.q) * (ecdsa.digest_to_scalar(digest, group.q) + r * x) % group.q
    return SimpleNamespace(r=r, s=s, v=ecdsa.recovery_id(R))


def published_tests(name):
    for group in vectors(f"wycheproof/{name}.json")["testGroups"]:
        raw = bytes.fromhex(group["publicKey"]["uncompressed"])
        key = SECP256K1.decode_point(bytes([2 + (raw[64] & 1)]) + raw[1:33])
        assert key.to_bytes_uncompressed() == raw
        for test in group["tests"]:
            yield key, test


def recoverable(key, digest, r, s):
    """The recovery ids that lead to `key`."""
    found = []
    for v in range(4):
        try:
            if ecdsa.recover(digest, r, s, v) == key:
                found.append(v)
        except OutOfDomain:
            continue
    return found


@pytest.mark.attack("D11")
def test_wycheproof_p1363():
    """r || s of 32 bytes each; a high s is valid here."""
    counts = {"valid": 0, "invalid": 0}
    for key, test in published_tests("ecdsa_secp256k1_sha256_p1363_test"):
        digest, raw = hashlib.sha256(bytes.fromhex(test["msg"])).digest(), bytes.fromhex(test["sig"])
        r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
        accepted = len(raw) == 64 and ecdsa.verify(key, digest, r, s, allow_high_s=True)
        assert accepted == (test["result"] == "valid"), test
        if accepted:
            assert len(recoverable(key, digest, r, s)) == 1, test
            low, _ = ecdsa.normalise(s, 0, Q)
            assert ecdsa.verify(key, digest, r, low)
            assert ecdsa.verify(key, digest, r, s) == (s == low)
        counts[test["result"]] += 1
    assert counts == {"valid": 167, "invalid": 85}


@pytest.mark.attack("D11")
def test_wycheproof_bitcoin():
    """DER, and a high s is invalid. A signature that is not DER has no r and s."""
    counts = {"valid": 0, "invalid": 0, "reached": 0}
    for key, test in published_tests("ecdsa_secp256k1_sha256_bitcoin_test"):
        digest = hashlib.sha256(bytes.fromhex(test["msg"])).digest()
        try:
            r, s = decode_dss_signature(bytes.fromhex(test["sig"]))
        except ValueError:
            assert test["result"] == "invalid", test
            counts["invalid"] += 1
            continue
        counts["reached"] += 1
        assert ecdsa.verify(key, digest, r, s) == (test["result"] == "valid"), test
        counts[test["result"]] += 1
    assert counts["reached"] > 200
    del counts["reached"]
    assert counts == {"valid": 162, "invalid": 301}


def test_rfc_6979_nonces():
    """The published nonces sign; the signature verifies and gives the key back, both before and after low-s."""
    cases = vectors("rfc6979-secp256k1/rfc6979.json")
    parities = set()
    for case in cases:
        digest = hashlib.sha256(case["message"].encode()).digest()
        x = int(case["d"], 16)
        key = SECP256K1.mul_base(x)
        for name in ("k0", "k1", "k15"):
            signature = sign(SECP256K1, x, digest, int(case[name], 16))
            s, v = ecdsa.normalise(signature.s, signature.v, Q)
            assert ecdsa.verify(key, digest, signature.r, s)
            assert ecdsa.recover(digest, signature.r, s, v) == key
            assert ecdsa.recover(digest, signature.r, signature.s, signature.v) == key
            assert recoverable(key, digest, signature.r, s) == [v]
            parities.add((v, s == signature.s))
    assert len(cases) == 10
    assert parities == {(0, True), (0, False), (1, True), (1, False)}


def test_published_low_s_signatures():
    published = vectors("rfc6979-secp256k1/ecdsa.json")
    assert len(published["valid"]) == 2019
    for case in published["valid"]:
        key = SECP256K1.mul_base(int(case["d"], 16))
        digest = bytes.fromhex(case["m"])
        r, s = int(case["signature"][:64], 16), int(case["signature"][64:], 16)
        assert ecdsa.verify(key, digest, r, s), case
        assert not ecdsa.verify(key, digest, r, Q - s), case
        assert ecdsa.normalise(s, 0, Q) == (s, 0)
    for case in published["invalid"]["verify"]:
        try:
            key = SECP256K1.decode_point(bytes.fromhex(case["Q"]))
        except BadPoint:
            continue
        raw = bytes.fromhex(case["signature"])
        r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
        high_s_is_the_fault = case.get("strict", False)
        assert not ecdsa.verify(key, bytes.fromhex(case["m"]), r, s, allow_high_s=not high_s_is_the_fault), (
            case
        )


@BOTH
def test_both_groups_verify_and_recover_what_the_formula_signs(group):
    rng = SeededRng(("sign", group.name))
    ids = set()
    for _ in range(60):
        x, k, digest = 1 + scalar(rng, group.q - 1), 1 + scalar(rng, group.q - 1), rng(32)
        key, signature = group.mul_base(x), sign(group, x, digest, k)
        s, v = ecdsa.normalise(signature.s, signature.v, group.q)
        assert 0 < s <= (group.q - 1) // 2
        assert ecdsa.verify(key, digest, signature.r, s), rng
        assert ecdsa.verify(key, digest, signature.r, group.q - s, allow_high_s=True), rng
        assert not ecdsa.verify(key, digest, signature.r, group.q - s), rng
        assert ecdsa.recover(digest, signature.r, s, v, group) == key, rng
        assert ecdsa.recover(digest, signature.r, group.q - s, v ^ 1, group) == key, rng
        assert ecdsa.recover(digest, signature.r, s, v ^ 1, group) != key, rng
        ids.add((v & 1, s == signature.s))
    assert len(ids) == 4


@pytest.mark.attack("D12")
@BOTH
def test_what_is_changed_does_not_verify(group):
    rng = SeededRng(("changed", group.name))
    x, k, digest = scalar(rng, group.q), scalar(rng, group.q), rng(32)
    key, signature = group.mul_base(x), sign(group, x, digest, k)
    q, r = group.q, signature.r
    s, v = ecdsa.normalise(signature.s, signature.v, q)
    assert ecdsa.verify(key, digest, r, s)
    other = digest[:31] + bytes([digest[31] ^ 1])
    assert not ecdsa.verify(key, other, r, s)
    assert not ecdsa.verify(-key, digest, r, s)
    assert not ecdsa.verify(key + group.G, digest, r, s)
    assert not ecdsa.verify(group.identity, digest, r, s)
    for bad_r, bad_s in (
        (r + 1, s),
        (r, s + 1),
        (r, s - 1),
        (s, r),
        (q - r, s),
        (r + q, s),
        (r, s + q),
        (-r, s),
    ):
        assert not ecdsa.verify(key, digest, bad_r, bad_s, allow_high_s=True)
    for bad_r, bad_s in (
        (0, s),
        (r, 0),
        (0, 0),
        (q, s),
        (r, q),
        (1 << 300, s),
        (r, 1 << 300),
        (-1, s),
        (r, -s),
    ):
        assert not ecdsa.verify(key, digest, bad_r, bad_s)
        with pytest.raises(OutOfDomain):
            ecdsa.recover(digest, bad_r, bad_s, v, group)
    for bad_v in (-1, 4, 27, 256):
        with pytest.raises(OutOfDomain):
            ecdsa.recover(digest, r, s, bad_v, group)


@BOTH
def test_zero_digest_and_digest_above_the_order(group):
    rng = SeededRng(("digest", group.name))
    assert ecdsa.digest_to_scalar(b"\xff" * 32, group.q) == ((1 << 256) - 1) % group.q
    for digest in (bytes(32), b"\xff" * 32, group.q.to_bytes(32, "big"), (group.q + 1).to_bytes(32, "big")):
        x, k = scalar(rng, group.q), scalar(rng, group.q)
        signature = sign(group, x, digest, k)
        s, v = ecdsa.normalise(signature.s, signature.v, group.q)
        assert ecdsa.verify(group.mul_base(x), digest, signature.r, s)
        assert ecdsa.recover(digest, signature.r, s, v, group) == group.mul_base(x)


@BOTH
@pytest.mark.parametrize("size", [0, 20, 31, 33, 64])
def test_digest_of_another_length(group, size):
    for use in (
        lambda d: ecdsa.verify(group.G, d, 1, 1),
        lambda d: ecdsa.recover(d, 1, 1, 0, group),
        lambda d: ecdsa.digest_to_scalar(d, group.q),
    ):
        with pytest.raises(BadDigest, match=f"{size} bytes"):
            use(bytes(size))


def points_above_the_order(group, field):
    """Points R with q <= x(R) < p, and their x - q."""
    for r in range(1, 200):
        for parity in (2, 3):
            x = group.q + r
            assert x < field
            try:
                yield r, group.decode_point(bytes([parity]) + x.to_bytes(group.point_bytes - 1, "big"))
            except BadPoint:
                break


@pytest.mark.parametrize(
    ("group", "field"), [(SECP256K1, 2**256 - 2**32 - 977), (TOY, TOY_P)], ids=["secp", "toy"]
)
def test_x_of_r_above_the_order(group, field):
    """r = x(R) - q: recovery id 2 or 3. Nobody knows the logarithm of such an R, but its key signs."""
    ids = set()
    digest, s = hashlib.sha256(b"above").digest(), 12345
    for r, R in points_above_the_order(group, field):
        v = ecdsa.recovery_id(R)
        assert v == 2 | group.y_is_odd(R)
        key = ecdsa.recover(digest, r, s, v, group)
        assert ecdsa.verify(key, digest, r, s)
        inverse = pow(r, -1, group.q)
        assert key == (s * inverse) * R - (ecdsa.digest_to_scalar(digest, group.q) * inverse) * group.G
        ids.add(v)
    assert ids == {2, 3}


@pytest.mark.parametrize("group", [SECP256K1, TOY], ids=lambda g: g.name)
def test_x_of_r_is_the_order(group):
    """There is such a point on both curves. Its r would be 0, and a signature with r = 0 says nothing about the key."""
    width = group.point_bytes - 1
    R = group.decode_point(b"\x02" + group.q.to_bytes(width, "big"))
    assert group.x(R) == group.q
    assert ecdsa.recovery_id(R) == 2
    for r in (0, group.q):
        with pytest.raises(OutOfDomain, match="out of range"):
            ecdsa.recover(bytes(32), r, 1, 2, group)


def test_r_is_zero():
    """With s = 1 and the logarithm of R for a digest, (0, 1) satisfies the equation under every key."""
    logarithm = 3446338071
    R = logarithm * TOY.G
    assert TOY.x(R) == TOY.q
    digest = logarithm.to_bytes(32, "big")
    for r in (0, TOY.q):
        assert not ecdsa.verify(7 * TOY.G, digest, r, 1)


@BOTH
def test_edges_of_the_formula(group):
    digest = (5).to_bytes(32, "big")
    assert not ecdsa.verify(group.G, digest, 3, group.q, allow_high_s=True)
    # m*G + r*X = O
    X = (-5 * pow(3, -1, group.q)) * group.G
    assert not ecdsa.verify(X, digest, 3, 1)
    # x(R) = r + q is one more than the field's bytes hold.
    above = (1 << 8 * (group.point_bytes - 1)) - group.q
    with pytest.raises(OutOfDomain, match="no public key"):
        ecdsa.recover(digest, above, 1, 2, group)


def test_recovery_without_a_key():
    digest = bytes(31) + b"\x05"
    # No point of secp256k1 has x = 5; x = 2q - 1 and x = p are no field elements.
    for r, v in ((5, 0), (5, 1), (Q - 1, 2), (2**256 - 2**32 - 977 - Q, 2)):
        with pytest.raises(OutOfDomain, match="no public key"):
            ecdsa.recover(digest, r, 7, v)
    # s*R = m*G makes the key O.
    for group in (SECP256K1, TOY):
        r = group.x(group.G) % group.q
        with pytest.raises(OutOfDomain, match="no public key"):
            ecdsa.recover(digest, r, 5, ecdsa.recovery_id(group.G), group)


def test_the_library_refuses_what_is_not_reduced():
    digest = bytes(31) + b"\x05"
    for r, s in ((Q, 7), (7, Q)):
        assert ecdsa_recover(digest, r.to_bytes(32, "big") + s.to_bytes(32, "big"), 0) is None
        assert not ecdsa_verify(SECP256K1.G, digest, r.to_bytes(32, "big") + s.to_bytes(32, "big"))


def test_library_and_formula_agree():
    """libsecp256k1 against the formulas that serve the toy curve."""
    rng = SeededRng("oracle")
    for _ in range(30):
        r, s, digest = 1 + scalar(rng, Q - 1), 1 + scalar(rng, Q - 1), rng(32)
        m = ecdsa.digest_to_scalar(digest, Q)
        for v in range(4):
            expected = ecdsa._recover_by_formula(SECP256K1, m, r, s, v)
            if expected is None:
                with pytest.raises(OutOfDomain):
                    ecdsa.recover(digest, r, s, v)
            else:
                assert ecdsa.recover(digest, r, s, v) == expected, rng
                assert ecdsa.verify(expected, digest, r, s, allow_high_s=True), rng


@pytest.mark.attack("D11")
def test_normalise():
    middle = (Q - 1) // 2
    assert ecdsa.normalise(middle, 0, Q) == (middle, 0)
    assert ecdsa.normalise(middle + 1, 0, Q) == (middle, 1)
    assert ecdsa.normalise(Q - 1, 3, Q) == (1, 2)
    assert ecdsa.normalise(1, 2, Q) == (1, 2)
    assert not ecdsa.is_high(middle, Q)
    assert ecdsa.is_high(middle + 1, Q)


def test_ed25519_has_no_ecdsa():
    with pytest.raises(TypeError):
        ecdsa.recovery_id(ED25519.G)
    with pytest.raises(TypeError):
        ecdsa.verify(ED25519.G, bytes(32), 1, 1)
