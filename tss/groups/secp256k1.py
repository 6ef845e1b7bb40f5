"""secp256k1 over libsecp256k1 (the library that coincurve ships).

The identity, which libsecp256k1 cannot represent, is a `Secp256k1Point` without a key. Every function of the library that
returns 0 for valid arguments does so because its result is O.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from coincurve._libsecp256k1 import ffi, lib
from coincurve.context import GLOBAL_CONTEXT

from tss.errors import BadPoint
from tss.groups.abstract import Group, Point

if TYPE_CHECKING:
    from gmpy2 import mpz

Q: Final = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
_COMPRESSED_BYTES: Final = 33
X_ONLY_BYTES: Final = 32
SCHNORR_BYTES: Final = 64
_IDENTITY: Final = b"\x00"
_GENERATOR: Final = bytes.fromhex("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")

# Blinded with OS randomness when coincurve is imported; read-only afterwards, so threads may share it.
_CTX: Final = GLOBAL_CONTEXT.ctx


def _copy_coordinates(output: Any, x32: Any, y32: Any, _data: Any) -> int:
    """The "hash" of ECDH that hashes nothing: x || y."""
    ffi.memmove(output, x32, 32)
    ffi.memmove(output + 32, y32, 32)
    return 1


# libsecp256k1 offers a constant-time multiplication of a foreign point only inside ECDH.
_COORDINATES: Final = ffi.callback(
    "int(unsigned char *, const unsigned char *, const unsigned char *, void *)", _copy_coordinates
)


class Secp256k1Point(Point):
    """A point of secp256k1: the library's parsed key, None for O, and its compressed bytes once asked for."""

    __slots__ = ("_bytes", "key")

    def __init__(self, key: Any | None, encoded: bytes | None = None) -> None:
        self.key = key
        self._bytes = _IDENTITY if key is None else encoded

    @property
    def group(self) -> Group:
        """SECP256K1."""
        return SECP256K1

    @property
    def is_identity(self) -> bool:
        """Whether this is O."""
        return self.key is None

    def to_bytes(self) -> bytes:
        """33 bytes, SEC1 compressed; O is one zero byte."""
        if self._bytes is None:
            out = ffi.new("unsigned char[33]")
            size = ffi.new("size_t *", _COMPRESSED_BYTES)
            lib.secp256k1_ec_pubkey_serialize(_CTX, out, size, self.key, lib.SECP256K1_EC_COMPRESSED)
            self._bytes = bytes(ffi.buffer(out))
        return self._bytes

    def to_bytes_uncompressed(self) -> bytes:
        """65 bytes, SEC1 uncompressed. Raises ValueError for O, which has none."""
        if self.key is None:
            raise ValueError("O has no uncompressed form")
        out = ffi.new("unsigned char[65]")
        size = ffi.new("size_t *", 65)
        lib.secp256k1_ec_pubkey_serialize(_CTX, out, size, self.key, lib.SECP256K1_EC_UNCOMPRESSED)
        return bytes(ffi.buffer(out))

    def __add__(self, other: Point) -> Secp256k1Point:
        if not isinstance(other, Secp256k1Point):
            return NotImplemented
        return _combine((self, other))

    def __neg__(self) -> Secp256k1Point:
        if self.key is None:
            return self
        out = ffi.new("secp256k1_pubkey *", self.key[0])
        lib.secp256k1_ec_pubkey_negate(_CTX, out)
        return Secp256k1Point(out)

    def __rmul__(self, k: int | mpz) -> Secp256k1Point:
        if self is _G:
            # The library's table for G is faster than its variable-time multiplication.
            return _mul_base(k)
        scalar = int(k % Q)
        if scalar == 0 or self.key is None:
            return _O
        out = ffi.new("secp256k1_pubkey *", self.key[0])
        lib.secp256k1_ec_pubkey_tweak_mul(_CTX, out, scalar.to_bytes(32, "big"))
        return Secp256k1Point(out)


def _combine(points: Iterable[Secp256k1Point]) -> Secp256k1Point:
    summands = [point.key for point in points if point.key is not None]
    if not summands:
        return _O
    out = ffi.new("secp256k1_pubkey *")
    if not lib.secp256k1_ec_pubkey_combine(_CTX, out, summands, len(summands)):
        return _O
    return Secp256k1Point(out)


def _mul_base(k: int | mpz) -> Secp256k1Point:
    scalar = int(k % Q)
    if scalar == 0:
        return _O
    out = ffi.new("secp256k1_pubkey *")
    lib.secp256k1_ec_pubkey_create(_CTX, out, scalar.to_bytes(32, "big"))
    return Secp256k1Point(out)


def _parse(data: bytes) -> Secp256k1Point | None:
    """A point from any SEC1 form that the library knows, or None."""
    key = ffi.new("secp256k1_pubkey *")
    if not lib.secp256k1_ec_pubkey_parse(_CTX, key, data, len(data)):
        return None
    return Secp256k1Point(key, data if len(data) == _COMPRESSED_BYTES else None)


class Secp256k1(Group):
    """The group of secp256k1 (SEC 2, 2.4.1)."""

    name = "secp256k1"
    q = Q
    point_tag = 4
    point_bytes = _COMPRESSED_BYTES
    G: Secp256k1Point
    identity: Secp256k1Point

    def decode_point(self, data: bytes) -> Secp256k1Point:
        """Decode 33 bytes 02 or 03 || x with x < p on the curve, or the single zero byte of O. Raises BadPoint."""
        if data == _IDENTITY:
            return _O
        if len(data) != _COMPRESSED_BYTES:
            raise BadPoint(f"point of {len(data)} bytes, {_COMPRESSED_BYTES} are due")
        point = _parse(bytes(data))
        if point is None:
            raise BadPoint("not the compressed form of a point of secp256k1")
        return point

    def mul_base(self, k: int | mpz) -> Secp256k1Point:
        """k*G in constant time."""
        return _mul_base(k)

    def mul_secret(self, k: int | mpz, point: Point) -> Secp256k1Point:
        """k*P in constant time (secp256k1_ecdh with the coordinates for a hash)."""
        self.check_same(point)
        assert isinstance(point, Secp256k1Point)  # noqa: S101 - narrows the type after check_same
        scalar = int(k % Q)
        if scalar == 0 or point.key is None:
            return _O
        out = ffi.new("unsigned char[65]")
        out[0] = 4
        lib.secp256k1_ecdh(_CTX, out + 1, point.key, scalar.to_bytes(32, "big"), _COORDINATES, ffi.NULL)
        key = ffi.new("secp256k1_pubkey *")
        if not lib.secp256k1_ec_pubkey_parse(_CTX, key, out, 65):
            raise RuntimeError("libsecp256k1 returned coordinates off the curve")
        return Secp256k1Point(key)

    def sum(self, points: Iterable[Point]) -> Secp256k1Point:
        """The sum of any number of points in one call of the library."""
        summands: list[Secp256k1Point] = []
        for point in points:
            self.check_same(point)
            assert isinstance(point, Secp256k1Point)  # noqa: S101 - narrows the type after check_same
            summands.append(point)
        return _combine(summands)

    def combine_secrets(self, terms: Iterable[tuple[int, int]]) -> int:
        """The sum of c*s mod q for public c and secret s, in constant time but for terms and sums that are 0."""
        total: Any | None = None
        for c, s in terms:
            public, secret = int(c % Q), int(s % Q)
            if not public or not secret:
                # The library's scalars for keys are not 0.
                continue
            product = ffi.new("unsigned char[32]", secret.to_bytes(32, "big"))
            lib.secp256k1_ec_seckey_tweak_mul(_CTX, product, public.to_bytes(32, "big"))
            if total is None:
                total = product
            elif not lib.secp256k1_ec_seckey_tweak_add(_CTX, total, product):
                total = None
        return 0 if total is None else int.from_bytes(bytes(ffi.buffer(total)), "big")

    def x(self, point: Point) -> int:
        """The affine x coordinate, below p (not reduced mod q). Raises ValueError for O."""
        return int.from_bytes(self._affine(point)[1:], "big")

    def y_is_odd(self, point: Point) -> bool:
        """Parity of the affine y coordinate. Raises ValueError for O."""
        return self._affine(point)[0] == 3

    def _affine(self, point: Point) -> bytes:
        self.check_same(point)
        if point.is_identity:
            raise ValueError("O has no coordinates")
        return point.to_bytes()


_O: Final = Secp256k1Point(None)
SECP256K1: Final = Secp256k1()
_G: Final = SECP256K1.decode_point(_GENERATOR)
SECP256K1.G = _G
SECP256K1.identity = _O


def ecdsa_verify(public_key: Secp256k1Point, digest: bytes, compact: bytes) -> bool:
    """Whether `compact` (r || s, 64 bytes, s low) signs the 32-byte `digest`; False for a high s. The key is not O."""
    signature = ffi.new("secp256k1_ecdsa_signature *")
    return bool(
        lib.secp256k1_ecdsa_signature_parse_compact(_CTX, signature, compact)
        and lib.secp256k1_ecdsa_verify(_CTX, signature, digest, public_key.key)
    )


def schnorr_verify(x_only: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the 64 bytes of `signature` sign `message` of any length under the key of 32 bytes (BIP-340)."""
    key = ffi.new("secp256k1_xonly_pubkey *")
    return bool(
        len(signature) == SCHNORR_BYTES
        and len(x_only) == X_ONLY_BYTES
        and lib.secp256k1_xonly_pubkey_parse(_CTX, key, x_only)
        and lib.secp256k1_schnorrsig_verify(_CTX, signature, message, len(message), key)
    )


def ecdsa_recover(digest: bytes, compact: bytes, recovery_id: int) -> Secp256k1Point | None:
    """The key that `compact` (r || s, 64 bytes) with `recovery_id` in 0..3 belongs to, or None."""
    signature = ffi.new("secp256k1_ecdsa_recoverable_signature *")
    key = ffi.new("secp256k1_pubkey *")
    if not lib.secp256k1_ecdsa_recoverable_signature_parse_compact(_CTX, signature, compact, recovery_id):
        return None
    if not lib.secp256k1_ecdsa_recover(_CTX, key, signature, digest):
        return None
    return Secp256k1Point(key)
