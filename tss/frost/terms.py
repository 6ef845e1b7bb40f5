"""What all signers compute alike: binding factors, R, the challenge, and the equation of a signature share (RFC 9591 4, 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tss.errors import BadPartial, BadSignerSet, Degenerate, InternalError, OutOfDomain
from tss.frost.ciphersuite import ciphersuite
from tss.frost.nonces import Commitments
from tss.groups import Point
from tss.vss import check_indices, lagrange

SIGNATURE_BYTES = 64


@dataclass(frozen=True)
class Signature:
    """A finished signature of `message` under the key `X`: of RFC 8032, or of BIP-340 where `X` is on secp256k1."""

    encoded: bytes
    """64 bytes: R || z."""
    X: Point
    message: bytes


@dataclass(frozen=True)
class Terms:
    """One message, one list of commitments, one key."""

    X: Point
    message: bytes
    S: tuple[int, ...]
    """Ascending identifiers."""
    rho: Mapping[int, int]
    """Binding factors by identifier."""
    shares_of_R: Mapping[int, Point]
    """D_j + rho_j*E_j by identifier, with the sign below; their sum is R."""
    R: Point
    sign: int
    """Of all nonces: 1, or -1 where R would have an odd y otherwise (BIP-340)."""
    c: int
    """The challenge."""


def binding_factors(X: Point, message: bytes, commitments: Mapping[int, Commitments]) -> dict[int, int]:
    """rho_i = H1(ser(PK) || H4(msg) || H5(enc) || ser(i)), enc = ser(i) || ser(D_i) || ser(E_i) for i ascending."""
    H, listed = ciphersuite(X.group), sorted(commitments.items())
    enc = b"".join(H.ser(i) + D.to_bytes() + E.to_bytes() for i, (D, E) in listed)
    prefix = X.to_bytes() + H.H4(message) + H.H5(enc)
    return {i: H.H1(prefix + H.ser(i)) for i, _ in listed}


def terms(X: Point, message: bytes, commitments: Mapping[int, Commitments]) -> Terms:
    """Everything but the signature shares. Raises BadIndex for bad identifiers, Degenerate when R is O."""
    group, H = X.group, ciphersuite(X.group)
    check_indices(commitments, group.q)
    rho = binding_factors(X, message, commitments)
    shares_of_R = {i: commitments[i][0] + rho[i] * commitments[i][1] for i in rho}
    R = group.sum(shares_of_R.values())
    if R.is_identity:
        raise Degenerate("R is the identity")
    sign = 1
    if H.negates(R):
        sign, R, shares_of_R = -1, -R, {i: -share for i, share in shares_of_R.items()}
    c = H.H2(H.written(R) + H.written(X) + message)
    return Terms(X, message, tuple(rho), rho, shares_of_R, R, sign, c)


def signature_share(at: Terms, i: int, s_i: int, d_i: int, e_i: int) -> int:
    """z_i = +-(d_i + e_i*rho_i) + lam_i*s_i*c mod q, with the sign of `at`."""
    group = at.X.group
    lam = lagrange(at.S, i, 0, group.q)
    return group.combine_secrets([(at.sign, d_i), (at.sign * at.rho[i], e_i), (lam * at.c, s_i)])


def check_share_of_signature(at: Terms, j: int, PK_j: Point, z_j: int) -> None:
    """z_j*B = +-(D_j + rho_j*E_j) + (c*lam_j)*PK_j. Raises OutOfDomain or BadPartial without a peer."""
    group = at.X.group
    if not 0 <= z_j < group.q:
        raise OutOfDomain("the signature share is not reduced", check="range")
    lam = lagrange(at.S, j, 0, group.q)
    if z_j * group.G != at.shares_of_R[j] + (at.c * lam) * PK_j:
        raise BadPartial("the signature share does not satisfy its equation", check="equation")


def combine(at: Terms, z: Sequence[int]) -> Signature:
    """R || sum of z, verified as a signature of one signer, after every share was checked. Raises InternalError."""
    H = ciphersuite(at.X.group)
    encoded = H.written(at.R) + H.ser(sum(z))
    if not H.verify(at.X, at.message, encoded):
        raise InternalError("the signature does not verify though every share does")
    return Signature(encoded, at.X, at.message)


def check_signers(S: Sequence[int], t: int, members: Sequence[int], me: int) -> None:
    """Raise BadSignerSet unless S are t or more different members, this party among them (security.md D14)."""
    if len(set(S)) != len(S) or not set(S) <= set(members) or me not in S or len(S) < t:
        raise BadSignerSet(f"{list(S)} is no signer set of {t} or more of {list(members)} with {me} in it")
