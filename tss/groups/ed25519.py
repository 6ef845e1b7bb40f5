"""The prime-order subgroup of edwards25519 over libsodium (PyNaCl), as RFC 9591 6.1 wants it.

libsodium's addition takes small-order points in silence and its multiplication refuses scalar 0 and O; so every point
that enters passes `decode_point`, and those two cases never reach the library.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, Literal

from nacl.bindings import (
    crypto_core_ed25519_add,
    crypto_core_ed25519_is_valid_point,
    crypto_core_ed25519_scalar_add,
    crypto_core_ed25519_scalar_mul,
    crypto_core_ed25519_sub,
    crypto_scalarmult_ed25519_base_noclamp,
    crypto_scalarmult_ed25519_noclamp,
)

from tss.errors import BadPoint
from tss.groups.abstract import Group, Point

if TYPE_CHECKING:
    from gmpy2 import mpz

L: Final = (1 << 252) + 27742317777372353535851937790883648493
_BYTES: Final = 32
_IDENTITY: Final = b"\x01" + bytes(31)
_GENERATOR: Final = b"\x58" + b"\x66" * 31


class Ed25519Point(Point):
    """A point of the prime-order subgroup: its RFC 8032 encoding."""

    __slots__ = ("_bytes",)

    def __init__(self, encoded: bytes) -> None:
        self._bytes = encoded

    @property
    def group(self) -> Group:
        """ED25519."""
        return ED25519

    @property
    def is_identity(self) -> bool:
        """Whether this is O."""
        return self._bytes == _IDENTITY

    def to_bytes(self) -> bytes:
        """32 bytes, RFC 8032; O is 01 00 ... 00."""
        return self._bytes

    def __add__(self, other: Point) -> Ed25519Point:
        if not isinstance(other, Ed25519Point):
            return NotImplemented
        return Ed25519Point(crypto_core_ed25519_add(self._bytes, other._bytes))

    def __sub__(self, other: Point) -> Ed25519Point:
        if not isinstance(other, Ed25519Point):
            return NotImplemented
        return Ed25519Point(crypto_core_ed25519_sub(self._bytes, other._bytes))

    def __neg__(self) -> Ed25519Point:
        if self.is_identity:
            return self
        # -(x, y) = (-x, y), and the top bit is the sign of x.
        return Ed25519Point(self._bytes[:31] + bytes([self._bytes[31] ^ 0x80]))

    def __rmul__(self, k: int | mpz) -> Ed25519Point:
        return ED25519.mul_base(k) if self is _B else ED25519.mul_secret(k, self)


class Ed25519(Group):
    """The group of RFC 9591's FROST(Ed25519, SHA-512)."""

    name = "ed25519"
    q = L
    point_tag = 5
    point_bytes = _BYTES
    byte_order: Literal["big", "little"] = "little"
    G: Ed25519Point
    identity: Ed25519Point

    def decode_point(self, data: bytes) -> Ed25519Point:
        """Decode 32 canonical bytes of a point of the prime-order subgroup, O included. Raises BadPoint."""
        if len(data) != _BYTES:
            raise BadPoint(f"point of {len(data)} bytes, {_BYTES} are due")
        if data == _IDENTITY:
            return _O
        # Canonical, on the curve, not of small order and L*P = O.
        if not crypto_core_ed25519_is_valid_point(bytes(data)):
            raise BadPoint("not the canonical encoding of a point of Ed25519's prime-order subgroup")
        return Ed25519Point(bytes(data))

    def mul_base(self, k: int | mpz) -> Ed25519Point:
        """k*B in constant time."""
        scalar = int(k % L)
        if scalar == 0:
            return _O
        return Ed25519Point(crypto_scalarmult_ed25519_base_noclamp(scalar.to_bytes(_BYTES, "little")))

    def mul_secret(self, k: int | mpz, point: Point) -> Ed25519Point:
        """k*P in constant time."""
        self.check_same(point)
        scalar = int(k % L)
        if scalar == 0 or point.is_identity:
            return _O
        return Ed25519Point(
            crypto_scalarmult_ed25519_noclamp(scalar.to_bytes(_BYTES, "little"), point.to_bytes())
        )

    def combine_secrets(self, terms: Iterable[tuple[int, int]]) -> int:
        """The sum of c*s mod L for public c and secret s, in constant time."""
        total = bytes(_BYTES)
        for c, s in terms:
            product = crypto_core_ed25519_scalar_mul(self.scalar_to_bytes(c), self.scalar_to_bytes(s))
            total = crypto_core_ed25519_scalar_add(total, product)
        return int.from_bytes(total, "little")

    def sum(self, points: Iterable[Point]) -> Ed25519Point:
        """The sum of any number of points."""
        total = _O
        for point in points:
            self.check_same(point)
            total = point if total is _O else total + point  # type: ignore[assignment]
        return total


_O: Final = Ed25519Point(_IDENTITY)
_B: Final = Ed25519Point(_GENERATOR)
ED25519: Final = Ed25519()
ED25519.G = _B
ED25519.identity = _O
