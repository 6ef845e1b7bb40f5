"""SLIP-10 public derivation: published vectors, two foreign libraries, the retry rule and refusals."""

from __future__ import annotations

import hashlib
import hmac
from itertools import pairwise

import pytest
from bip_utils import Bip32KeyData, Bip32Slip10Secp256k1
from embit import bip32
from tss_testing import TOY, SeededRng, vectors

from tss import hd
from tss.errors import CallerError, HardenedPath
from tss.groups import ED25519, SECP256K1
from tss.hd import Derived, derive, format_path, parse_path
from tss.rand import scalar

X = SECP256K1.decode_point(
    bytes.fromhex("03cbcaa9c98c877a26977d00825c956a238e8dddfbd322cce4f74b0b5bd6ace4a7")
)
C = bytes.fromhex("60499f801b896d83179a4374aeb7822aaeaceaa0db1f85ee3e904c4defbd9689")


def test_check_vector_of_the_specification():
    child = derive(X, C, (0,))
    assert child.X_c.to_bytes().hex() == "02fc9e5af0ac8d9b3cecfe2a888e2117ba3d089d8585886c9c826b6b22a98d12ea"
    assert child.c_c.hex() == "f0909affaa7ee7abe5dd4e100598d4dc53cd709d5a5c2cac40e7412f232f7c9c"
    assert X + SECP256K1.mul_base(child.tau) == child.X_c


def test_root():
    assert derive(X, C, ()) == Derived(X, C, 0)


def test_steps_add_up():
    """tau of a path is the sum of its steps' (protocol.md 7), and X_c = X + tau*G."""
    rng = SeededRng("steps")
    for _ in range(10):
        root, c = SECP256K1.mul_base(scalar(rng, SECP256K1.q)), rng(32)
        a, b = (int.from_bytes(rng(4)) >> 1 for _ in range(2))
        first = derive(root, c, (a,))
        second = derive(first.X_c, first.c_c, (b,))
        both = derive(root, c, (a, b))
        assert both == Derived(second.X_c, second.c_c, (first.tau + second.tau) % SECP256K1.q), rng
        assert root + SECP256K1.mul_base(both.tau) == both.X_c, rng
        assert 0 <= both.tau < SECP256K1.q


def soft_steps(chains):
    """(parent, child, index) for the consecutive chains of a vector whose last step is soft."""
    for parent, child in pairwise(chains):
        last = child["path"].rsplit("/", 1)[1]
        if not last.endswith(("H", "'")):
            yield parent, child, int(last)


def test_slip_10_vectors():
    checked = 0
    for group in vectors("slip-0010/slip10-vectors.json"):
        if group["curve"] != "secp256k1":
            continue
        for parent, child, index in soft_steps(group["chains"]):
            root = SECP256K1.decode_point(bytes.fromhex(parent["public"]))
            derived = derive(root, bytes.fromhex(parent["chain_code"]), (index,))
            assert derived.X_c.to_bytes().hex() == child["public"]
            assert derived.c_c.hex() == child["chain_code"]
            shift = int(child["private"], 16) - int(parent["private"], 16)
            assert derived.tau == shift % SECP256K1.q
            checked += 1
    assert checked == 6


def test_bip_32_vectors():
    checked = 0
    for vector in vectors("bip32/bip32-vectors.json")["valid"]:
        for parent, child, index in soft_steps(vector["chains"]):
            above, below = (bip32.HDKey.from_string(chain["ext_pub"]) for chain in (parent, child))
            derived = derive(SECP256K1.decode_point(above.key.sec()), above.chain_code, (index,))
            assert derived.X_c.to_bytes() == below.key.sec()
            assert derived.c_c == below.chain_code
            checked += 1
    assert checked == 6


def test_bitcoinjs_vectors():
    checked = 0
    for vector in vectors("bip32/bitcoinjs-index.json")["valid"]:
        parent = vector["master"]
        for child in vector["children"]:
            if not child.get("hardened") and "m" in child and "'" not in child["path"].rsplit("/", 1)[1]:
                root = SECP256K1.decode_point(bytes.fromhex(parent["pubKey"]))
                derived = derive(root, bytes.fromhex(parent["chainCode"]), (child["m"],))
                assert derived.X_c.to_bytes().hex() == child["pubKey"], child["path"]
                assert derived.c_c.hex() == child["chainCode"], child["path"]
                checked += 1
            parent = child
    assert checked >= 6


def test_against_two_other_libraries():
    rng = SeededRng("foreign")
    for _ in range(10):
        root, c = SECP256K1.mul_base(scalar(rng, SECP256K1.q)), rng(32)
        path = tuple(int.from_bytes(rng(4)) >> 1 for _ in range(3))
        derived = derive(root, c, path)
        theirs = Bip32Slip10Secp256k1.FromPublicKey(root.to_bytes(), Bip32KeyData(chain_code=c)).DerivePath(
            "/".join(map(str, path))
        )
        assert theirs.PublicKey().RawCompressed().ToBytes() == derived.X_c.to_bytes(), rng
        assert theirs.ChainCode().ToBytes() == derived.c_c, rng
        other = bip32.HDKey(bip32.ec.PublicKey.parse(root.to_bytes()), c).derive(list(path))
        assert (other.key.sec(), other.chain_code) == (derived.X_c.to_bytes(), derived.c_c), rng


def scripted_hmac(monkeypatch, answers):
    """Let the first HMACs return `answers` and then the real ones; return what they were asked."""
    asked = []
    real = hd._hmac_sha512
    queue = list(answers)

    def answer(key, data):
        asked.append((key, data))
        return queue.pop(0) if queue else real(key, data)

    monkeypatch.setattr(hd, "_hmac_sha512", answer)
    return asked


@pytest.mark.parametrize("too_large", [SECP256K1.q, SECP256K1.q + 5, (1 << 256) - 1])
def test_retry_when_il_is_not_below_q(monkeypatch, too_large):
    """SLIP-10: I = HMAC(c_par, 0x01 || I_R || ser32(i)), where BIP-32 would give up on the index."""
    right = b"R" * 32
    asked = scripted_hmac(monkeypatch, [too_large.to_bytes(32, "big") + right])
    derived = derive(X, C, (7,))
    assert asked[0] == (C, X.to_bytes() + b"\x00\x00\x00\x07")
    assert asked[1:] == [(C, b"\x01" + right + b"\x00\x00\x00\x07")]
    expected = hmac.new(C, b"\x01" + right + b"\x00\x00\x00\x07", hashlib.sha512).digest()
    assert derived.tau == int.from_bytes(expected[:32], "big")
    assert derived.c_c == expected[32:]
    assert derived.X_c == X + SECP256K1.mul_base(derived.tau)


@pytest.mark.attack("D13")
def test_retry_when_the_child_would_be_the_identity(monkeypatch):
    k = 987654321
    root = SECP256K1.mul_base(k)
    answer = (SECP256K1.q - k).to_bytes(32, "big") + b"r" * 32
    asked = scripted_hmac(monkeypatch, [answer, answer])
    derived = derive(root, C, (3,))
    assert [data[:1] for _, data in asked] == [root.to_bytes()[:1], b"\x01", b"\x01"]
    assert not derived.X_c.is_identity
    assert root + SECP256K1.mul_base(derived.tau) == derived.X_c


def test_il_just_below_q_and_zero_are_taken(monkeypatch):
    for shift in (SECP256K1.q - 1, 0):
        scripted_hmac(monkeypatch, [shift.to_bytes(32, "big") + b"c" * 32])
        derived = derive(X, C, (1,))
        assert (derived.tau, derived.c_c) == (shift, b"c" * 32)
        assert derived.X_c == X + shift * SECP256K1.G


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("m", ()),
        ("m/0", (0,)),
        ("m/0/5", (0, 5)),
        ("m/44/60/0/0/2147483647", (44, 60, 0, 0, 2147483647)),
        ("m/1000000000", (1000000000,)),
    ],
)
def test_paths(text, path):
    assert parse_path(text) == path
    assert format_path(path) == text


@pytest.mark.attack("D13")
@pytest.mark.parametrize(
    "text", ["m/0'", "m/44'/60'/0'/0/0", "m/0h", "m/0/1H", "m/2147483648", "m/9999999999"]
)
def test_hardened_paths(text):
    with pytest.raises(HardenedPath):
        parse_path(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "M", "m/", "/", "0/5", "m//0", "m/00", "m/05", "m/-1", "m/+1", "m/ 1", "m/1 ", " m/1", "m/1\n", "m/1.0",
        "m/0x1", "m/a", "m/٣", "m/1_0", "m/''", "m/'", "m/0''", "m/99999999999", "x/0", "mm/0", "m/*", "m\\0",
        "m" + "/0" * 256, "m/" + "9" * 5000,
    ],
)  # fmt: skip
def test_texts_that_are_no_path(text):
    with pytest.raises(CallerError) as refusal:
        parse_path(text)
    assert not isinstance(refusal.value, HardenedPath)
    assert len(str(refusal.value)) < 300


def test_longest_path():
    assert len(parse_path("m" + "/0" * 255)) == 255


@pytest.mark.attack("D13")
@pytest.mark.parametrize("path", [(1 << 31,), (0, 1 << 31), ((1 << 32) - 1,), (1 << 40,)])
def test_hardened_index(path):
    with pytest.raises(HardenedPath):
        derive(X, C, path)


@pytest.mark.parametrize("path", [(-1,), (0, -5), (0,) * 256])
def test_index_out_of_range(path):
    with pytest.raises(CallerError):
        derive(X, C, path)


def test_hardened_is_found_before_anything_is_derived(monkeypatch):
    asked = scripted_hmac(monkeypatch, [])
    with pytest.raises(HardenedPath):
        derive(X, C, (0, 1, 1 << 31))
    assert asked == []


@pytest.mark.attack("D13")
def test_roots_that_have_no_children():
    for c in (b"", C[:31], C + b"\x00"):
        with pytest.raises(CallerError, match="chain code"):
            derive(X, c, ())
    with pytest.raises(CallerError, match="O has no"):
        derive(SECP256K1.identity, C, (0,))
    for group in (ED25519, TOY):
        with pytest.raises(CallerError, match="no public derivation"):
            derive(group.G, C, (0,))
        assert derive(group.G, C, ()).X_c == group.G


def test_repr_hides_chain_code_and_shift():
    child = derive(X, C, (0,))
    assert child.c_c.hex() not in repr(child)
    assert repr(child.c_c) not in repr(child)
    assert str(child.tau) not in repr(child)
