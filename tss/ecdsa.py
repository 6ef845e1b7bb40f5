"""ECDSA signatures as values: verification, public-key recovery, low-s. Nothing here signs.

On secp256k1 libsecp256k1 decides; any other group (the tests' toy curve) goes by the formulas. A digest is exactly 32
bytes and stands for m = int_be(digest) mod q (protocol.md 3.5).
"""

from __future__ import annotations

from typing import Final

from tss.errors import BadDigest, BadPoint, OutOfDomain
from tss.groups import SECP256K1, Group, Point
from tss.groups.secp256k1 import Secp256k1Point, ecdsa_recover, ecdsa_verify

DIGEST_BYTES: Final = 32


def digest_to_scalar(digest: bytes, q: int) -> int:
    """The m = int_be(digest) mod q of protocol.md 3.5. Raises BadDigest unless the digest is 32 bytes."""
    if len(digest) != DIGEST_BYTES:
        raise BadDigest(f"digest of {len(digest)} bytes, exactly {DIGEST_BYTES} are signed")
    return int.from_bytes(digest, "big") % q


def verify(X: Point, digest: bytes, r: int, s: int, *, allow_high_s: bool = False) -> bool:
    """Whether (r, s) signs `digest` under X.

    False for r or s outside [1, q), for s > (q-1)/2 unless `allow_high_s`, and for X = O. Raises BadDigest unless the
    digest is 32 bytes.
    """
    group = X.group
    q = group.q
    m = digest_to_scalar(digest, q)
    if X.is_identity or not (0 < r < q and 0 < s < q):
        return False
    if is_high(s, q):
        if not allow_high_s:
            return False
        s = q - s
    if isinstance(X, Secp256k1Point):
        return ecdsa_verify(X, digest, _compact(r, s))
    inverse = pow(int(s), -1, q)
    R = group.sum([(m * inverse) * group.G, (r * inverse) * X])
    return not R.is_identity and group.x(R) % q == r


def recover(digest: bytes, r: int, s: int, v: int, group: Group = SECP256K1) -> Point:
    """The public key under which (r, s) signs `digest` with recovery id v in 0..3.

    Raises BadDigest unless the digest is 32 bytes, OutOfDomain when no key does: r, s or v out of range, no point with
    this x, or the key would be O.
    """
    q = group.q
    m = digest_to_scalar(digest, q)
    if not (0 < r < q and 0 < s < q and 0 <= v <= 3):
        raise OutOfDomain("signature: r, s or v is out of range")
    if group is SECP256K1:
        X: Point | None = ecdsa_recover(digest, _compact(r, s), v)
    else:
        X = _recover_by_formula(group, m, r, s, v)
    if X is None:
        raise OutOfDomain("signature: no public key belongs to it")
    return X


def _recover_by_formula(group: Group, m: int, r: int, s: int, v: int) -> Point | None:
    x = r + group.q if v & 2 else r
    width = group.point_bytes - 1
    if x >= 1 << 8 * width:
        return None
    try:
        R = group.decode_point(bytes([2 + (v & 1)]) + int(x).to_bytes(width, "big"))
    except BadPoint:
        return None
    inverse = pow(int(r), -1, group.q)
    X = group.sum([(s * inverse) * R, (-m * inverse) * group.G])
    return None if X.is_identity else X


def recovery_id(R: Point) -> int:
    """The v = (y(R) & 1) | (2 if x(R) >= q else 0) of the signature with r = x(R) mod q, before `normalise`."""
    group = R.group
    return int(group.y_is_odd(R)) | (2 if group.x(R) >= group.q else 0)


def is_high(s: int, q: int) -> bool:
    """Whether s > (q-1)/2: of the two signatures s and q-s only the low one is standard."""
    return s > (q - 1) // 2


def normalise(s: int, v: int, q: int) -> tuple[int, int]:
    """The low-s form: (q - s, v ^ 1) when s > (q-1)/2, else (s, v)."""
    return (q - s, v ^ 1) if is_high(s, q) else (s, v)


def _compact(r: int, s: int) -> bytes:
    return int(r).to_bytes(32, "big") + int(s).to_bytes(32, "big")
