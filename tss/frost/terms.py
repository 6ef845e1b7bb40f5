"""What all signers compute alike: binding factors, R, the challenge, and the equation of a signature share (RFC 9591 4, 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tss.envelope import verify_signature
from tss.errors import BadPartial, BadSignerSet, Degenerate, InternalError, OutOfDomain
from tss.frost.ciphersuite import H1, H2, H4, H5, ser
from tss.frost.nonces import Commitments
from tss.groups import ED25519, Point
from tss.vss import check_indices, lagrange

SIGNATURE_BYTES = 64


@dataclass(frozen=True)
class Signature:
    """A finished Ed25519 signature (RFC 8032) of `message` under the key `X`."""

    encoded: bytes
    """64 bytes: ser(R) || ser(z)."""
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
    """D_j + rho_j*E_j by identifier; their sum is R."""
    R: Point
    c: int
    """The challenge."""


def binding_factors(X: Point, message: bytes, commitments: Mapping[int, Commitments]) -> dict[int, int]:
    """rho_i = H1(ser(PK) || H4(msg) || H5(enc) || ser(i)), enc = ser(i) || ser(D_i) || ser(E_i) for i ascending."""
    listed = sorted(commitments.items())
    enc = b"".join(ser(i) + D.to_bytes() + E.to_bytes() for i, (D, E) in listed)
    prefix = X.to_bytes() + H4(message) + H5(enc)
    return {i: H1(prefix + ser(i)) for i, _ in listed}


def terms(X: Point, message: bytes, commitments: Mapping[int, Commitments]) -> Terms:
    """Everything but the signature shares. Raises BadIndex for bad identifiers, Degenerate when R is O."""
    check_indices(commitments, ED25519.q)
    rho = binding_factors(X, message, commitments)
    shares_of_R = {i: commitments[i][0] + rho[i] * commitments[i][1] for i in rho}
    R = ED25519.sum(shares_of_R.values())
    if R.is_identity:
        raise Degenerate("R is the identity")
    c = H2(R.to_bytes() + X.to_bytes() + message)
    return Terms(X, message, tuple(rho), rho, shares_of_R, R, c)


def signature_share(at: Terms, i: int, s_i: int, d_i: int, e_i: int) -> int:
    """z_i = d_i + e_i*rho_i + lam_i*s_i*c mod L."""
    lam = lagrange(at.S, i, 0, ED25519.q)
    return ED25519.combine_secrets([(1, d_i), (at.rho[i], e_i), (lam * at.c, s_i)])


def check_share_of_signature(at: Terms, j: int, PK_j: Point, z_j: int) -> None:
    """z_j*B = D_j + rho_j*E_j + (c*lam_j)*PK_j. Raises OutOfDomain or BadPartial without a peer."""
    if not 0 <= z_j < ED25519.q:
        raise OutOfDomain("the signature share is not reduced", check="range")
    lam = lagrange(at.S, j, 0, ED25519.q)
    if z_j * ED25519.G != at.shares_of_R[j] + (at.c * lam) * PK_j:
        raise BadPartial("the signature share does not satisfy its equation", check="equation")


def combine(at: Terms, z: Sequence[int]) -> Signature:
    """ser(R) || ser(sum of z), verified as plain Ed25519, after every share was checked. Raises InternalError."""
    encoded = at.R.to_bytes() + ser(sum(z))
    if not verify_signature(at.X.to_bytes(), at.message, encoded):
        raise InternalError("the signature does not verify though every share does")
    return Signature(encoded, at.X, at.message)


def check_signers(S: Sequence[int], t: int, members: Sequence[int], me: int) -> None:
    """Raise BadSignerSet unless S are t or more different members, this party among them (security.md D14)."""
    if len(set(S)) != len(S) or not set(S) <= set(members) or me not in S or len(S) < t:
        raise BadSignerSet(f"{list(S)} is no signer set of {t} or more of {list(members)} with {me} in it")
