"""Recovery keys: what they encapsulate, their texts, and what is refused."""

import base64
import hmac

import pytest
from backup_testing import recovery_key
from cryptography.hazmat.primitives import hpke, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from tss_testing import SeededRng

from participant.backup import kem, ml_kem
from participant.backup.errors import BadRecoveryKey

PKCS8 = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
SPKI = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def test_the_library_opens_what_our_ml_kem_encapsulates():
    rng = SeededRng("ml-kem")
    for _ in range(20):
        private = MLKEM768PrivateKey.from_seed_bytes(rng(64))
        public = private.public_key().public_bytes_raw()
        shared, ciphertext = ml_kem.encapsulate(public, rng(32))
        assert len(ciphertext) == ml_kem.CIPHERTEXT_BYTES
        assert private.decapsulate(ciphertext) == shared


def labeled(suite: bytes):
    """HPKE's LabeledExtract and LabeledExpand (RFC 9180) with HMAC-SHA256, for outputs of at most 32 bytes."""

    def extract(salt: bytes, label: bytes, ikm: bytes) -> bytes:
        return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + ikm, "sha256")

    def expand(prk: bytes, label: bytes, info: bytes, length: int) -> bytes:
        info = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
        return hmac.digest(prk, info + b"\1", "sha256")[:length]

    return extract, expand


def test_the_hybrid_kind_is_the_librarys_x_wing():
    """What the library encrypts by HPKE with X-Wing (KEM 0x647a) opens with the secret that our key decapsulates."""
    key = kem.HybridPrivate(bytes(range(32)))
    theirs = hpke.MLKEM768X25519PrivateKey(*key._keys()).public_key()
    suite = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_128_GCM)
    sealed = suite.encrypt(b"hello", theirs, b"info")
    cut = kem.HybridPublic.ciphertext_bytes
    extract, expand = labeled(b"HPKE" + bytes.fromhex("647a00010001"))
    context = b"\0" + extract(b"", b"psk_id_hash", b"") + extract(b"", b"info_hash", b"info")
    secret = extract(key.decapsulate(sealed[:cut]), b"secret", b"")
    nonce = expand(secret, b"base_nonce", context, 12)
    assert AESGCM(expand(secret, b"key", context, 16)).decrypt(nonce, sealed[cut:], b"") == b"hello"


def test_ml_kem_refuses_keys_that_are_none():
    public = MLKEM768PrivateKey.from_seed_bytes(bytes(64)).public_key().public_bytes_raw()
    # The last has 3329 for its first coefficient.
    q_first = bytes([3329 & 0xFF, 3329 >> 8 | public[1] & 0xF0]) + public[2:]
    for wrong in (public[:-1], public + b"\0", b"", b"\xff" * 3 + public[3:], q_first):
        with pytest.raises(ValueError, match="ML-KEM-768"):
            ml_kem.encapsulate(wrong, bytes(32))
    with pytest.raises(ValueError, match="ML-KEM-768"):
        ml_kem.encapsulate(public, bytes(31))


@pytest.mark.parametrize("kind", kem.KINDS)
def test_the_same_seed_gives_the_same_bytes_and_only_this_key_opens_them(kind):
    key, other = recovery_key(kind), recovery_key(kind, 1)
    rng = SeededRng(kind)
    for _ in range(4):
        seed = rng(kem.SEED_BYTES)
        shared, ciphertext = key.public.encapsulate(seed)
        assert (shared, ciphertext) == key.public.encapsulate(seed)
        assert (len(shared), len(ciphertext)) == (kem.SHARED_BYTES, key.public.ciphertext_bytes)
        assert key.decapsulate(ciphertext) == shared
        assert key.public.encapsulate(rng(32)) != (shared, ciphertext)
        assert other.public.encapsulate(seed)[0] != shared
        try:
            assert other.decapsulate(ciphertext) != shared
        except ValueError:
            assert kind == "rsa"
    with pytest.raises(ValueError, match="random bytes"):
        key.public.encapsulate(bytes(31))


@pytest.mark.parametrize("kind", kem.KINDS)
def test_texts_are_read_back_and_private_ones_are_not_shown(kind):
    key = recovery_key(kind)
    assert kem.read_private(key.to_text()).public.encoded == key.public.encoded
    for found in (kem.read_public(key.public.to_text()), kem.public_of(kind, key.public.encoded)):
        assert (found.kind, found.encoded, found.fingerprint) == (
            kind,
            key.public.encoded,
            key.public.fingerprint,
        )
    secret = key.to_text().split(":")[-1].strip().splitlines()[-1]
    assert secret not in repr(key)
    assert key.public.fingerprint in repr(key)


@pytest.mark.parametrize("kind", kem.KINDS)
def test_ciphertexts_of_another_length_are_refused(kind):
    key = recovery_key(kind)
    _, ciphertext = key.public.encapsulate(bytes(32))
    for wrong in (b"", ciphertext[:-1], ciphertext + b"\0"):
        with pytest.raises((ValueError, BadRecoveryKey), match="hybrid key" if "mlkem" in kind else None):
            key.decapsulate(wrong)


def test_an_rsa_ciphertext_is_below_the_modulus():
    key = recovery_key("rsa")
    size = key.public.ciphertext_bytes
    for number in (key.public.n, key.public.n + 1):
        with pytest.raises(ValueError, match="RSA key"):
            key.decapsulate(number.to_bytes(size, "big"))
    assert key.decapsulate((key.public.n - 1).to_bytes(size, "big"))


@pytest.mark.parametrize(
    ("bits", "taken"), [(3071, False), (3072, True), (3073, True), (8192, True), (8193, False)]
)
def test_rsa_keys_have_3072_to_8192_bits(bits, taken):
    key = rsa.RSAPublicNumbers(65537, 2 ** (bits - 1) + 1).public_key()
    encoded = key.public_numbers().n.to_bytes((bits + 7) // 8, "big")
    reads = (kem.read_public, key.public_bytes(*SPKI).decode()), (kem.RsaPublic.decode, encoded)
    for read, given in reads:
        if taken:
            assert read(given).encoded == encoded
        else:
            with pytest.raises(BadRecoveryKey, match="3072 to 8192 bits"):
                read(given)


UNCOMPRESSED = (
    recovery_key("p256")
    .key.public_key()
    .public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
)


def test_what_is_no_recovery_key_is_refused():
    small = rsa.generate_private_key(65537, 2048)
    other = rsa.generate_private_key(3, 3072)
    curve = ec.generate_private_key(ec.SECP384R1())
    edwards = ed25519.Ed25519PrivateKey.generate()
    for key in (small, other, curve, edwards):
        with pytest.raises(BadRecoveryKey):
            kem.read_private(key.private_bytes(*PKCS8).decode())
        with pytest.raises(BadRecoveryKey):
            kem.read_public(key.public_key().public_bytes(*SPKI).decode())
    misnamed = bytes.fromhex("302e020100300506032b656f04220420") + bytes(32)
    body = base64.encodebytes(misnamed).decode()
    with pytest.raises(BadRecoveryKey, match="unencrypted"):
        kem.read_private(f"-----BEGIN PRIVATE KEY-----\n{body}-----END PRIVATE KEY-----\n")
    locked = (*PKCS8[:2], serialization.BestAvailableEncryption(b"pw"))
    with pytest.raises(BadRecoveryKey, match="unencrypted"):
        kem.read_private(recovery_key("x25519").key.private_bytes(*locked).decode())
    for text in ("", "nonsense", "mlkem768-x25519-private:00", "mlkem768-x25519-private:xy"):
        with pytest.raises(BadRecoveryKey):
            kem.read_private(text)
    for text in ("", "nonsense", "mlkem768-x25519-public:00", "mlkem768-x25519-public:xy"):
        with pytest.raises(BadRecoveryKey):
            kem.read_public(text)
    wrong = {
        "x25519": [bytes(32), bytes(31), b"\1" + bytes(31)],
        "p256": [bytes(33), b"\2" + b"\xff" * 32, recovery_key("p256").public.encoded + b"\0", UNCOMPRESSED],
        "rsa": [
            b"",
            b"\xff" * 256,
            b"\0" + recovery_key("rsa").public.encoded,
            b"\xff" * 2000,
            bytes([0xFE]) * 384,
        ],
        "mlkem768-x25519": [b"", recovery_key("mlkem768-x25519").public.encoded[:-1], bytes(1184 + 32)],
        "other": [bytes(32)],
    }
    for kind, encodings in wrong.items():
        for encoded in encodings:
            with pytest.raises(BadRecoveryKey):
                kem.public_of(kind, encoded)
    with pytest.raises(BadRecoveryKey):
        kem.generate("other", SeededRng(0))
