"""What tests of the protocols share: seeded randomness, a toy group, testing levels and their primes.

The levels satisfy (C1)-(C5) like the real one and are as small as these allow. They exist under tests/ only.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from tss.errors import BadPoint
from tss.groups import SECP256K1, Group, Point
from tss.paillier import PaillierSecret
from tss.params import SecurityLevel, Suite
from tss.primes import search_safe_prime
from tss.ring_pedersen import RingPedersenSecret


class SeededRng:
    """A deterministic `Rng`: n bytes from SHAKE256(seed || counter). `repr` shows the seed, for failing tests."""

    def __init__(self, seed: object) -> None:
        self.seed = seed
        self._prefix = repr(seed).encode()
        self._calls = 0

    def __call__(self, n: int) -> bytes:
        self._calls += 1
        return hashlib.shake_256(self._prefix + self._calls.to_bytes(8, "big")).digest(n)

    def __repr__(self) -> str:
        return f"SeededRng({self.seed!r})"


def vectors_path(name: str) -> Path:
    """The file `name` under the directory with the published test vectors, which TSS_VECTORS names."""
    directory = os.environ.get("TSS_VECTORS")
    assert directory, "set TSS_VECTORS to the directory with the published test vectors"
    return Path(directory) / name


def vectors(name: str) -> Any:
    """The published test vectors in the JSON file `name`."""
    return json.loads(vectors_path(name).read_text())


# y^2 = x^3 + 3x + B over F_P: the first B from 1 on that gives a prime order below P; G has the smallest x.
TOY_P = 4294967291
TOY_A = 3
TOY_B = 22
TOY_Q = 4294956467
TOY_G = (2, 6)

Affine = tuple[int, int] | None
Jacobian = tuple[int, int, int]


def _add(P: Affine, R: Affine) -> Affine:
    if P is None:
        return R
    if R is None:
        return P
    x1, y1 = P
    x2, y2 = R
    if x1 == x2:
        if (y1 + y2) % TOY_P == 0:
            return None
        slope = (3 * x1 * x1 + TOY_A) * pow(2 * y1, -1, TOY_P)
    else:
        slope = (y2 - y1) * pow(x2 - x1, -1, TOY_P)
    x3 = (slope * slope - x1 - x2) % TOY_P
    return x3, (slope * (x1 - x3) - y1) % TOY_P


def _double(P: Jacobian) -> Jacobian:
    X, Y, Z = P
    YY = Y * Y % TOY_P
    S = 4 * X * YY
    ZZ = Z * Z % TOY_P
    M = 3 * X * X + TOY_A * ZZ * ZZ
    X3 = (M * M - 2 * S) % TOY_P
    return X3, (M * (S - X3) - 8 * YY * YY) % TOY_P, 2 * Y * Z % TOY_P


def _add_affine(P: Jacobian, R: tuple[int, int]) -> Jacobian:
    X1, Y1, Z1 = P
    if Z1 == 0:
        return R[0], R[1], 1
    ZZ = Z1 * Z1 % TOY_P
    H = (R[0] * ZZ - X1) % TOY_P
    r = (R[1] * ZZ * Z1 - Y1) % TOY_P
    if H == 0:
        return _double(P) if r == 0 else (1, 1, 0)
    HH = H * H % TOY_P
    HHH = H * HH
    V = X1 * HH
    X3 = (r * r - HHH - 2 * V) % TOY_P
    return X3, (r * (V - X3) - Y1 * HHH) % TOY_P, Z1 * H % TOY_P


def _affine(P: Jacobian) -> Affine:
    if P[2] == 0:
        return None
    inverse = pow(P[2], -1, TOY_P)
    square = inverse * inverse % TOY_P
    return P[0] * square % TOY_P, P[1] * square * inverse % TOY_P


def _multiply(k: int, P: Affine) -> Affine:
    k %= TOY_Q
    if P is None:
        return None
    total: Jacobian = (1, 1, 0)
    for bit in f"{k:b}":
        total = _double(total)
        if bit == "1":
            total = _add_affine(total, P)
    return _affine(total)


class ToyPoint(Point):
    """A point of the toy curve, affine; None is O."""

    __slots__ = ("affine",)

    def __init__(self, affine: Affine) -> None:
        self.affine = affine

    @property
    def group(self) -> Group:
        return TOY

    @property
    def is_identity(self) -> bool:
        return self.affine is None

    def to_bytes(self) -> bytes:
        if self.affine is None:
            return b"\x00"
        x, y = self.affine
        return bytes([2 + (y & 1)]) + x.to_bytes(4, "big")

    def __add__(self, other: Point) -> ToyPoint:
        if not isinstance(other, ToyPoint):
            return NotImplemented
        return ToyPoint(_add(self.affine, other.affine))

    def __neg__(self) -> ToyPoint:
        return self if self.affine is None else ToyPoint((self.affine[0], -self.affine[1] % TOY_P))

    def __rmul__(self, k: Any) -> ToyPoint:
        return TOY.mul_base(k) if self is _TOY_G else ToyPoint(_multiply(int(k), self.affine))


class ToyGroup(Group):
    """A curve of 32-bit prime order in plain Python, with the interface of the real groups. Nothing is constant time."""

    name = "toy32"
    q = TOY_Q
    point_tag = 4
    point_bytes = 5
    G: ToyPoint
    identity: ToyPoint

    def __init__(self) -> None:
        self._table: list[list[Affine]] = []
        base: Affine = TOY_G
        for _ in range(4):
            row: list[Affine] = [None]
            for _ in range(255):
                row.append(_add(row[-1], base))
            base = _add(row[-1], base)
            self._table.append(row)

    def decode_point(self, data: bytes) -> ToyPoint:
        if data == b"\x00":
            return self.identity
        if len(data) != self.point_bytes or data[0] not in (2, 3):
            raise BadPoint("not the compressed form of a point of the toy curve")
        x = int.from_bytes(data[1:], "big")
        square = (x**3 + TOY_A * x + TOY_B) % TOY_P
        y = pow(square, (TOY_P + 1) // 4, TOY_P)
        if x >= TOY_P or y * y % TOY_P != square or y == 0:
            raise BadPoint("not on the toy curve")
        return ToyPoint((x, y if y & 1 == data[0] & 1 else TOY_P - y))

    def mul_base(self, k: Any) -> ToyPoint:
        scalar = int(k % TOY_Q)
        total: Jacobian = (1, 1, 0)
        for row in self._table:
            if summand := row[scalar & 255]:
                total = _add_affine(total, summand)
            scalar >>= 8
        return ToyPoint(_affine(total))

    def mul_secret(self, k: Any, point: Point) -> ToyPoint:
        self.check_same(point)
        return k * point  # type: ignore[return-value]

    def sum(self, points: Iterable[Point]) -> ToyPoint:
        total = self.identity
        for point in points:
            self.check_same(point)
            total = total + point
        return total

    def x(self, point: Point) -> int:
        return self._coordinates(point)[0]

    def y_is_odd(self, point: Point) -> bool:
        return bool(self._coordinates(point)[1] & 1)

    def _coordinates(self, point: Point) -> tuple[int, int]:
        self.check_same(point)
        if not isinstance(point, ToyPoint) or point.affine is None:
            raise ValueError("O has no coordinates")
        return point.affine


TOY = ToyGroup()
_TOY_G = ToyPoint(TOY_G)
TOY.G = _TOY_G
TOY.identity = ToyPoint(None)

TESTING_TINY = SecurityLevel(name="testing-tiny", kappa=32, l=32, eps=64, l_prime=160, m=32, pb=160)
# (C5) asks for pb >= 1157.
TESTING_SECP = SecurityLevel(name="testing-secp", kappa=256, l=256, eps=512, l_prime=1280, m=16, pb=1160)

TINY = Suite("cggmp24-toy32/test", TOY, TESTING_TINY)
TINY_WITHOUT_AUX = Suite("frost-toy32/test", TOY, TESTING_TINY, has_aux=False)
"""Refresh and resharing on the toy curve as accounts of FROST have them."""
SMALL_SECP = Suite("cggmp24-secp256k1/test", SECP256K1, TESTING_SECP)


def safe_primes(level: SecurityLevel, count: int, seed: object = 0) -> list[int]:
    """`count` distinct safe primes of `level`, the same ones for the same arguments.

    Tiny ones are searched on the spot (2 ms each). Larger ones are searched once (SMALL_SECP: 0.3 s, full size: 2 s each)
    and kept in a file, `$WALLET_MPC_TEST_PRIMES` or one in the temporary directory; it holds test primes only.
    """
    if level.pb < 512:
        return [_search(level.pb, seed, i) for i in range(count)]
    key = f"{level.pb}/{seed!r}"
    kept = _cached_primes().get(key, [])
    if len(kept) < count:
        fresh = [_search(level.pb, seed, i) for i in range(len(kept), count)]
        kept = kept + fresh
        _keep_primes(key, kept)
    return kept[:count]


def paillier_key(level: SecurityLevel, index: int = 0, seed: object = 0) -> PaillierSecret:
    """The Paillier key of party `index`: same arguments, same key; no prime is used twice."""
    p, q_ = safe_primes(level, 4 * index + 4, seed)[4 * index : 4 * index + 2]
    return PaillierSecret.generate(level, SeededRng((seed, index, "paillier")), (p, q_))


def pedersen_key(level: SecurityLevel, index: int = 0, seed: object = 0) -> RingPedersenSecret:
    """The ring-Pedersen parameters of party `index`: same arguments, same parameters; no prime is used twice."""
    p, q_ = safe_primes(level, 4 * index + 4, seed)[4 * index + 2 : 4 * index + 4]
    return RingPedersenSecret.generate(level, SeededRng((seed, index, "pedersen")), (p, q_))


@lru_cache(maxsize=4096)
def _search(bits: int, seed: object, index: int) -> int:
    prime = search_safe_prime(bits, SeededRng((seed, bits, index)))
    assert prime is not None
    return prime


def _primes_file() -> Path:
    default = Path(tempfile.gettempdir()) / f"wallet-mpc-test-primes-{os.getuid()}.json"
    return Path(os.environ.get("WALLET_MPC_TEST_PRIMES") or default)


@lru_cache(maxsize=1)
def _loaded_primes(path: Path) -> dict[str, list[int]]:
    try:
        return {key: [int(p, 16) for p in primes] for key, primes in json.loads(path.read_text()).items()}
    except (FileNotFoundError, ValueError):
        return {}


def _cached_primes() -> dict[str, list[int]]:
    return _loaded_primes(_primes_file())


def _keep_primes(key: str, primes: list[int]) -> None:
    path = _primes_file()
    _loaded_primes.cache_clear()
    known = dict(_cached_primes())
    known[key] = primes
    _loaded_primes.cache_clear()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps({name: [hex(p) for p in values] for name, values in known.items()}))
    partial.replace(path)
