"""Recovery keys: four kinds, each a key encapsulation that gives the same bytes for the same 32 random bytes.

| kind | ciphertext | assumption |
|---|---|---|
| x25519 | 32 bytes | gap Diffie-Hellman on Curve25519 |
| p256 | 33 bytes | the same on P-256 |
| rsa | as long as the modulus (3072 to 8192 bits) | RSA-KEM (ISO/IEC 18033-2) |
| mlkem768-x25519 | 1120 bytes | either of both: X-Wing (draft-connolly-cfrg-xwing-kem) |

Private keys that people hold are PEM files (PKCS#8) of any tool, and one line of text for the hybrid kind.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, Final, Self

import gmpy2
from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization as pem
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from participant.backup import ml_kem
from participant.backup.errors import BadRecoveryKey
from tss.rand import Rng

SEED_BYTES: Final = 32
SHARED_BYTES: Final = 32
MIN_RSA_BITS: Final = 3072
MAX_RSA_BITS: Final = 8192
RSA_EXPONENT: Final = 65537

_DOMAIN: Final = b"wallet-mpc/v1 recovery "
_XWING_LABEL: Final = bytes.fromhex("5c2e2f2f5e5c")
_HYBRID_PUBLIC: Final = "mlkem768-x25519-public:"
_HYBRID_PRIVATE: Final = "mlkem768-x25519-private:"
_P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_RAW: Final = (pem.Encoding.Raw, pem.PublicFormat.Raw)
_NO_KEY: Final = (ValueError, TypeError, UnsupportedAlgorithm, InternalError)
"""What the library raises for PEM that it does not read; InternalError for a key of another length than its algorithm's."""


class RecoveryPublic(ABC):
    """The public half of a recovery key."""

    kind: str
    encoded: bytes
    """What names it in a backup."""
    ciphertext_bytes: int

    @abstractmethod
    def encapsulate(self, seed: bytes) -> tuple[bytes, bytes]:
        """(32-byte secret, ciphertext) that 32 random bytes determine."""

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of SHA-256 of kind and key."""
        return hashlib.sha256(self.kind.encode() + b"\0" + self.encoded).hexdigest()[:16]

    def to_text(self) -> str:
        """What is handed out: PEM, or a line for the hybrid kind."""
        key: Any = getattr(self, "key", None)
        if key is None:
            return _HYBRID_PUBLIC + self.encoded.hex() + "\n"
        return str(key.public_bytes(pem.Encoding.PEM, pem.PublicFormat.SubjectPublicKeyInfo).decode())


class RecoveryPrivate(ABC):
    """The private half."""

    public: RecoveryPublic

    @abstractmethod
    def decapsulate(self, ciphertext: bytes) -> bytes:
        """The 32-byte secret. Raises ValueError for what is no ciphertext."""

    @abstractmethod
    def to_text(self) -> str:
        """The private key as text, for a file of mode 0600."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.public.fingerprint})"


def _bound(kind: str, *parts: bytes) -> bytes:
    """The secret of a Diffie-Hellman or RSA KEM, bound to ciphertext and key; every part has a length of its own kind."""
    return hashlib.sha256(_DOMAIN + kind.encode() + b"\0" + b"".join(parts)).digest()


def _expand(kind: str, seed: bytes, length: int) -> bytes:
    if len(seed) != SEED_BYTES:
        raise ValueError(f"an encapsulation takes {SEED_BYTES} random bytes")
    return hashlib.shake_256(_DOMAIN + kind.encode() + b" ephemeral\0" + seed).digest(length)


def _pkcs8(key: Any) -> str:
    return str(key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, pem.NoEncryption()).decode())


@dataclass(frozen=True)
class X25519Public(RecoveryPublic):
    """See the module."""

    key: X25519PublicKey
    kind = "x25519"
    ciphertext_bytes = 32

    @property
    def encoded(self) -> bytes:  # type: ignore[override]
        """32 bytes, RFC 7748."""
        return self.key.public_bytes(*_RAW)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises BadRecoveryKey."""
        try:
            found = cls(X25519PublicKey.from_public_bytes(data))
            found.encapsulate(bytes(SEED_BYTES))
        except ValueError:
            raise BadRecoveryKey("this is no X25519 public key, or one of small order") from None
        return found

    def encapsulate(self, seed: bytes) -> tuple[bytes, bytes]:
        """See RecoveryPublic."""
        ephemeral = X25519PrivateKey.from_private_bytes(_expand(self.kind, seed, 32))
        ciphertext = ephemeral.public_key().public_bytes(*_RAW)
        return _bound(self.kind, ephemeral.exchange(self.key), ciphertext, self.encoded), ciphertext


@dataclass(frozen=True, repr=False)
class X25519Private(RecoveryPrivate):
    """See the module."""

    key: X25519PrivateKey

    @property
    def public(self) -> X25519Public:  # type: ignore[override]
        """Its public half."""
        return X25519Public(self.key.public_key())

    def decapsulate(self, ciphertext: bytes) -> bytes:
        """See RecoveryPrivate."""
        shared = self.key.exchange(X25519PublicKey.from_public_bytes(ciphertext))
        return _bound("x25519", shared, ciphertext, self.public.encoded)

    def to_text(self) -> str:
        """PKCS#8."""
        return _pkcs8(self.key)


_POINT: Final = (pem.Encoding.X962, pem.PublicFormat.CompressedPoint)


@dataclass(frozen=True)
class P256Public(RecoveryPublic):
    """See the module."""

    key: ec.EllipticCurvePublicKey
    kind = "p256"
    ciphertext_bytes = 33

    @property
    def encoded(self) -> bytes:  # type: ignore[override]
        """33 bytes, compressed SEC1."""
        return self.key.public_bytes(*_POINT)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises BadRecoveryKey."""
        return cls(_p256_point(data))

    def encapsulate(self, seed: bytes) -> tuple[bytes, bytes]:
        """See RecoveryPublic. 48 bytes make the ephemeral scalar, uniform within 2^-128."""
        scalar = int.from_bytes(_expand(self.kind, seed, 48), "big") % (_P256_ORDER - 1) + 1
        ephemeral = ec.derive_private_key(scalar, ec.SECP256R1())
        ciphertext = ephemeral.public_key().public_bytes(*_POINT)
        return _bound(
            self.kind, ephemeral.exchange(ec.ECDH(), self.key), ciphertext, self.encoded
        ), ciphertext


def _p256_point(data: bytes) -> ec.EllipticCurvePublicKey:
    if len(data) != P256Public.ciphertext_bytes:
        raise BadRecoveryKey("this is no compressed point of P-256")
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), data)
    except ValueError:
        raise BadRecoveryKey("this is no compressed point of P-256") from None


@dataclass(frozen=True, repr=False)
class P256Private(RecoveryPrivate):
    """See the module."""

    key: ec.EllipticCurvePrivateKey

    @property
    def public(self) -> P256Public:  # type: ignore[override]
        """Its public half."""
        return P256Public(self.key.public_key())

    def decapsulate(self, ciphertext: bytes) -> bytes:
        """See RecoveryPrivate."""
        shared = self.key.exchange(ec.ECDH(), _p256_point(ciphertext))
        return _bound("p256", shared, ciphertext, self.public.encoded)

    def to_text(self) -> str:
        """PKCS#8."""
        return _pkcs8(self.key)


@dataclass(frozen=True)
class RsaPublic(RecoveryPublic):
    """See the module. The exponent is 65537."""

    key: rsa.RSAPublicKey
    kind = "rsa"

    @property
    def n(self) -> int:
        """The modulus."""
        return self.key.public_numbers().n

    @property
    def ciphertext_bytes(self) -> int:  # type: ignore[override]
        """As long as the modulus."""
        return (self.key.key_size + 7) // 8

    @property
    def encoded(self) -> bytes:  # type: ignore[override]
        """The modulus, big-endian."""
        return self.n.to_bytes(self.ciphertext_bytes, "big")

    @classmethod
    def of(cls, key: rsa.RSAPublicKey) -> Self:
        """Raises BadRecoveryKey for a size or exponent that is not taken."""
        _check_rsa(key.public_numbers())
        return cls(key)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises BadRecoveryKey."""
        numbers = rsa.RSAPublicNumbers(RSA_EXPONENT, int.from_bytes(data, "big"))
        _check_rsa(numbers)
        if len(data) != (numbers.n.bit_length() + 7) // 8:
            raise BadRecoveryKey("an RSA modulus is written without leading zeros")
        return cls(numbers.public_key())

    def encapsulate(self, seed: bytes) -> tuple[bytes, bytes]:
        """See RecoveryPublic. 16 bytes more than the modulus make r, uniform within 2^-128."""
        size = self.ciphertext_bytes
        r = int.from_bytes(_expand(self.kind, seed, size + 16), "big") % self.n
        ciphertext = int(gmpy2.powmod(r, RSA_EXPONENT, self.n)).to_bytes(size, "big")
        return _bound(self.kind, r.to_bytes(size, "big"), ciphertext, self.encoded), ciphertext


def _check_rsa(numbers: rsa.RSAPublicNumbers) -> None:
    bits = numbers.n.bit_length()
    if not MIN_RSA_BITS <= bits <= MAX_RSA_BITS or numbers.e != RSA_EXPONENT or not numbers.n & 1:
        raise BadRecoveryKey(
            f"an RSA recovery key has {MIN_RSA_BITS} to {MAX_RSA_BITS} bits and the exponent {RSA_EXPONENT}"
        )


@dataclass(frozen=True, repr=False)
class RsaPrivate(RecoveryPrivate):
    """See the module."""

    key: rsa.RSAPrivateKey

    @property
    def public(self) -> RsaPublic:  # type: ignore[override]
        """Its public half."""
        return RsaPublic.of(self.key.public_key())

    def decapsulate(self, ciphertext: bytes) -> bytes:
        """See RecoveryPrivate. By the constant-time power: libraries offer no RSA without padding."""
        public, number = self.public, int.from_bytes(ciphertext, "big")
        if len(ciphertext) != public.ciphertext_bytes or number >= public.n:
            raise ValueError("this is no ciphertext of the RSA key")
        r = int(gmpy2.powmod_sec(number, self.key.private_numbers().d, public.n))
        return _bound("rsa", r.to_bytes(public.ciphertext_bytes, "big"), ciphertext, public.encoded)

    def to_text(self) -> str:
        """PKCS#8."""
        return _pkcs8(self.key)


@dataclass(frozen=True)
class HybridPublic(RecoveryPublic):
    """X-Wing: safe while ML-KEM-768 or X25519 is."""

    encoded: bytes
    kind = "mlkem768-x25519"
    ciphertext_bytes = ml_kem.CIPHERTEXT_BYTES + 32

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises BadRecoveryKey."""
        found = cls(data)
        try:
            found.encapsulate(bytes(SEED_BYTES))
        except ValueError:
            raise BadRecoveryKey("this is no ML-KEM-768 and X25519 public key") from None
        return found

    def encapsulate(self, seed: bytes) -> tuple[bytes, bytes]:
        """See RecoveryPublic."""
        randomness = _expand(self.kind, seed, 64)
        lattice, curve = self.encoded[: ml_kem.PUBLIC_BYTES], self.encoded[ml_kem.PUBLIC_BYTES :]
        shared_m, ciphertext_m = ml_kem.encapsulate(lattice, randomness[:32])
        ephemeral = X25519PrivateKey.from_private_bytes(randomness[32:])
        ciphertext_x = ephemeral.public_key().public_bytes(*_RAW)
        shared_x = ephemeral.exchange(X25519PublicKey.from_public_bytes(curve))
        return _xwing(shared_m, shared_x, ciphertext_x, curve), ciphertext_m + ciphertext_x


def _xwing(shared_m: bytes, shared_x: bytes, ciphertext_x: bytes, public_x: bytes) -> bytes:
    return hashlib.sha3_256(shared_m + shared_x + ciphertext_x + public_x + _XWING_LABEL).digest()


@dataclass(frozen=True, repr=False)
class HybridPrivate(RecoveryPrivate):
    """The 32-byte seed, as X-Wing expands it."""

    seed: bytes = field(repr=False)

    def _keys(self) -> tuple[MLKEM768PrivateKey, X25519PrivateKey]:
        expanded = hashlib.shake_256(self.seed).digest(96)
        return MLKEM768PrivateKey.from_seed_bytes(expanded[:64]), X25519PrivateKey.from_private_bytes(
            expanded[64:]
        )

    @property
    def public(self) -> HybridPublic:  # type: ignore[override]
        """Its public half."""
        lattice, curve = self._keys()
        return HybridPublic(lattice.public_key().public_bytes_raw() + curve.public_key().public_bytes(*_RAW))

    def decapsulate(self, ciphertext: bytes) -> bytes:
        """See RecoveryPrivate."""
        if len(ciphertext) != HybridPublic.ciphertext_bytes:
            raise ValueError("this is no ciphertext of the hybrid key")
        lattice, curve = self._keys()
        ciphertext_m, ciphertext_x = (
            ciphertext[: ml_kem.CIPHERTEXT_BYTES],
            ciphertext[ml_kem.CIPHERTEXT_BYTES :],
        )
        shared_x = curve.exchange(X25519PublicKey.from_public_bytes(ciphertext_x))
        public_x = curve.public_key().public_bytes(*_RAW)
        return _xwing(lattice.decapsulate(ciphertext_m), shared_x, ciphertext_x, public_x)

    def to_text(self) -> str:
        """One line."""
        return _HYBRID_PRIVATE + self.seed.hex() + "\n"


_KINDS: Final[dict[str, Any]] = {
    found.kind: found for found in (X25519Public, P256Public, RsaPublic, HybridPublic)
}
KINDS: Final = tuple(_KINDS)


def public_of(kind: str, encoded: bytes) -> RecoveryPublic:
    """The key that a backup names. Raises BadRecoveryKey."""
    if kind not in _KINDS:
        raise BadRecoveryKey(f"unknown kind of recovery key {kind[:40]!r}; known: {', '.join(KINDS)}")
    found: RecoveryPublic = _KINDS[kind].decode(encoded)
    return found


def read_public(text: str) -> RecoveryPublic:
    """A public key as text, PEM or the hybrid's line. Raises BadRecoveryKey."""
    if text.startswith(_HYBRID_PUBLIC):
        return HybridPublic.decode(_hex(text.removeprefix(_HYBRID_PUBLIC)))
    try:
        key = pem.load_pem_public_key(text.encode())
    except _NO_KEY:
        raise BadRecoveryKey(
            "this is no public key: PEM is expected, or a line of mpc-keygen recovery-key"
        ) from None
    if isinstance(key, rsa.RSAPublicKey):
        return RsaPublic.of(key)
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return P256Public(key)
    if isinstance(key, X25519PublicKey):
        return X25519Public.decode(key.public_bytes(*_RAW))
    raise BadRecoveryKey("a recovery key is X25519, P-256, RSA, or mlkem768-x25519")


def read_private(text: str) -> RecoveryPrivate:
    """A private key as text, unencrypted. Raises BadRecoveryKey, which shows nothing of it."""
    if text.startswith(_HYBRID_PRIVATE):
        seed = _hex(text.removeprefix(_HYBRID_PRIVATE))
        if len(seed) != SEED_BYTES:
            raise BadRecoveryKey("this is no private recovery key")
        return HybridPrivate(seed)
    try:
        key = pem.load_pem_private_key(text.encode(), None)
    except _NO_KEY:
        raise BadRecoveryKey(
            "this is no private recovery key: unencrypted PEM is expected, or a hybrid's line"
        ) from None
    if isinstance(key, rsa.RSAPrivateKey):
        RsaPublic.of(key.public_key())
        return RsaPrivate(key)
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        return P256Private(key)
    if isinstance(key, X25519PrivateKey):
        return X25519Private(key)
    raise BadRecoveryKey("a recovery key is X25519, P-256, RSA, or mlkem768-x25519")


def generate(kind: str, rng: Rng) -> RecoveryPrivate:
    """A fresh key; RSA draws from OpenSSL. Raises BadRecoveryKey."""
    if kind == X25519Public.kind:
        return X25519Private(X25519PrivateKey.from_private_bytes(rng(32)))
    if kind == P256Public.kind:
        scalar = int.from_bytes(rng(48), "big") % (_P256_ORDER - 1) + 1
        return P256Private(ec.derive_private_key(scalar, ec.SECP256R1()))
    if kind == RsaPublic.kind:
        return RsaPrivate(rsa.generate_private_key(RSA_EXPONENT, MIN_RSA_BITS))
    if kind == HybridPublic.kind:
        return HybridPrivate(rng(SEED_BYTES))
    raise BadRecoveryKey(f"unknown kind of recovery key {kind[:40]!r}; known: {', '.join(KINDS)}")


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text.strip())
    except ValueError:
        raise BadRecoveryKey("this recovery key is damaged: hexadecimal digits are expected") from None
