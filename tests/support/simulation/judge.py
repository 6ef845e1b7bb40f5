"""Who judges signatures: python-ecdsa on secp256k1, and for the toy curve the textbook, written without a look at ours."""

from __future__ import annotations

import ecdsa
from ecdsa.util import sigdecode_string
from tss_testing import TOY_A, TOY_B, TOY_G, TOY_P, TOY_Q

from tss.cggmp24.sign import Signature
from tss.groups import SECP256K1
from tss.hd import derive
from tss.records import KeyShare

_ORIGIN = (0, 0)
"""Not on the curve (B is not 0): stands for the point at infinity."""


def verifies(key: KeyShare, signature: Signature) -> bool:
    """Whether it is a signature of its digest under the key at its path, with low s and the right recovery id."""
    if key.suite.group is SECP256K1:
        X = derive(key.X, key.chain_code, signature.path).X_c.to_bytes()
        return _on_secp256k1(X, signature) and signature.X_c.to_bytes() == X
    return not signature.path and signature.X_c == key.X and _on_the_toy_curve(key.X.to_bytes(), signature)


def _on_secp256k1(X: bytes, signature: Signature) -> bool:
    curve = ecdsa.SECP256k1
    raw = signature.r.to_bytes(32, "big") + signature.s.to_bytes(32, "big")
    verifier = ecdsa.VerifyingKey.from_string(X, curve=curve)
    try:
        verifier.verify_digest(raw, signature.digest, sigdecode=sigdecode_string)
    except ecdsa.BadSignatureError:
        return False
    found = ecdsa.VerifyingKey.from_public_key_recovery_with_digest(
        raw, signature.digest, curve, sigdecode=sigdecode_string
    )
    keys = [key.to_string("compressed") for key in found]
    # The library lists the key of the even y first.
    return 2 * signature.s < curve.order and signature.v < 2 and keys[signature.v] == X


def _on_the_toy_curve(encoded: bytes, signature: Signature) -> bool:
    r, s = int(signature.r), int(signature.s)
    if not (0 < r < TOY_Q and s > 0 and 2 * s < TOY_Q):
        return False
    X = _lift(int.from_bytes(encoded[1:], "big"), encoded[0] & 1)
    z, w = int.from_bytes(signature.digest, "big") % TOY_Q, pow(s, TOY_Q - 2, TOY_Q)
    R = _plus(_times(z * w % TOY_Q, TOY_G), _times(r * w % TOY_Q, X))
    if R == _ORIGIN or R[0] % TOY_Q != r:
        return False
    # v names R itself: of the two points with this r, with low s, the one that the verifier comes to.
    return signature.v == (R[1] & 1) | (2 if R[0] >= TOY_Q else 0)


def _lift(x: int, odd: int) -> tuple[int, int]:
    y = pow(x * x * x + TOY_A * x + TOY_B, (TOY_P + 1) // 4, TOY_P)
    return x, y if y % 2 == odd else TOY_P - y


def _plus(P: tuple[int, int], Q: tuple[int, int]) -> tuple[int, int]:
    if _ORIGIN in (P, Q):
        return Q if P == _ORIGIN else P
    if P[0] == Q[0] and (P[1] + Q[1]) % TOY_P == 0:
        return _ORIGIN
    rise, run = (3 * P[0] ** 2 + TOY_A, 2 * P[1]) if P == Q else (Q[1] - P[1], Q[0] - P[0])
    slope = rise * pow(run, TOY_P - 2, TOY_P) % TOY_P
    x = (slope**2 - P[0] - Q[0]) % TOY_P
    return x, (slope * (P[0] - x) - P[1]) % TOY_P


def _times(k: int, P: tuple[int, int]) -> tuple[int, int]:
    total = _ORIGIN
    for bit in f"{k:b}":
        total = _plus(total, total)
        if bit == "1":
            total = _plus(total, P)
    return total
