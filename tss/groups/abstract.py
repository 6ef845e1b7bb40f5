"""What a protocol may ask of a group and of its points."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, Self

from tss.errors import OutOfDomain, WrongLength

if TYPE_CHECKING:
    from gmpy2 import mpz


class Point(ABC):
    """A point of a prime-order group. Immutable, hashable, compared by value.

    `+`, `-` and unary `-` are the group law; both operands must belong to one group (TypeError otherwise). `k * P` takes
    any integer k and is VARIABLE TIME: for a secret k use `Group.mul_base` or `Group.mul_secret`.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def group(self) -> Group:
        """The group that the point belongs to."""

    @property
    @abstractmethod
    def is_identity(self) -> bool:
        """Whether this is O."""

    @abstractmethod
    def to_bytes(self) -> bytes:
        """The content of its ENC form (protocol.md 0.5), the same bytes that `Group.decode_point` takes."""

    @abstractmethod
    def __add__(self, other: Point) -> Self: ...

    @abstractmethod
    def __neg__(self) -> Self: ...

    @abstractmethod
    def __rmul__(self, k: int | mpz) -> Self: ...

    def __sub__(self, other: Point) -> Self:
        return self + (-other)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Point):
            return NotImplemented
        return self.group is other.group and self.to_bytes() == other.to_bytes()

    def __hash__(self) -> int:
        return hash((self.group.name, self.to_bytes()))

    def __repr__(self) -> str:
        return f"{self.group.name}:{self.to_bytes().hex()}"


class Group(ABC):
    """A group of prime order q with a generator G."""

    name: str
    """As it enters hashes: "secp256k1", "ed25519"."""
    q: int
    """The order, prime."""
    point_tag: int
    """The tag of its points in ENC."""
    point_bytes: int
    """Length of an encoded point; no encoding is longer."""
    byte_order: Literal["big", "little"] = "big"
    """How the group's own standard writes scalars (ENC writes them as integers, whatever the group)."""
    G: Point
    identity: Point

    @property
    def scalar_bytes(self) -> int:
        """Length of a scalar in bytes."""
        return (self.q.bit_length() + 7) // 8

    @abstractmethod
    def decode_point(self, data: bytes) -> Point:
        """Decode the one canonical encoding of a point, O included.

        Raises BadPoint for anything else: off the curve, outside the prime-order group, non-canonical, wrong length.
        """

    @abstractmethod
    def mul_base(self, k: int | mpz) -> Point:
        """k*G in constant time for a secret k, any integer (reduced mod q; 0 gives O)."""

    @abstractmethod
    def mul_secret(self, k: int | mpz, point: Point) -> Point:
        """k*P in constant time for a secret k and a foreign P, any integer (reduced mod q; 0 gives O)."""

    @abstractmethod
    def sum(self, points: Iterable[Point]) -> Point:
        """The sum of any number of points; of none it is O."""

    def combine_secrets(self, terms: Iterable[tuple[int, int]]) -> int:
        """The sum of c*s mod q for PUBLIC c and SECRET s. In constant time where the group's library can."""
        return sum(c * s for c, s in terms) % self.q

    def x(self, point: Point) -> int:
        """The affine x coordinate of a point that is not O, not reduced mod q. For the curves of ECDSA only."""
        raise TypeError(f"{self.name} has no ECDSA: x({point!r})")

    def y_is_odd(self, point: Point) -> bool:
        """Parity of the affine y coordinate of a point that is not O. For the curves of ECDSA only."""
        raise TypeError(f"{self.name} has no ECDSA: y({point!r})")

    def scalar_to_bytes(self, k: int | mpz) -> bytes:
        """The `scalar_bytes` bytes of k mod q in the group's own byte order."""
        return int(k % self.q).to_bytes(self.scalar_bytes, self.byte_order)

    def scalar_from_bytes_checked(self, data: bytes) -> int:
        """The scalar that exactly `scalar_bytes` bytes stand for.

        Raises WrongLength, and OutOfDomain for a value of q or more.
        """
        if len(data) != self.scalar_bytes:
            raise WrongLength(f"scalar of {len(data)} bytes, {self.scalar_bytes} are due")
        value = int.from_bytes(data, self.byte_order)
        if value >= self.q:
            raise OutOfDomain("scalar is not below the group order")
        return value

    def scalar_from_bytes_wrapping(self, data: bytes) -> int:
        """The integer that any number of bytes stand for, mod q. For hash output, never for what a peer calls a scalar."""
        return int.from_bytes(data, self.byte_order) % self.q

    def check_same(self, point: Point) -> None:
        """Raise TypeError for a point of another group: a bug of ours, decoding cannot bring one here."""
        if point.group is not self:
            raise TypeError(f"{point!r} is not a point of {self.name}")

    def __repr__(self) -> str:
        return self.name
