"""BIP-340 signatures by a secp256k1 key that CGGMP24 made: which key of it signs, and what share each party has of that.

Children (protocol.md 6.1) and Taproot outputs (BIP-341) differ from the account's key by a tweak that every signer knows,
and BIP-340 takes the one of X and -X whose y is even. Both are done to the shares: with s'_j = a*s_j + b, a = 1 or -1, the
s'_j are a Shamir sharing of a*x + b, and any t of them sign as FROST has it. Nothing here needs another key generation, and
a refresh, resharing or recovery of the account's shares is one of these too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tss.encoding import Value
from tss.errors import CallerError
from tss.frost.ciphersuite import tagged_hash, x_only
from tss.groups import SECP256K1, Point
from tss.hd import CHAIN_CODE_BYTES, derive
from tss.params import FROST_BIP340
from tss.records import KeyShare

MERKLE_ROOT_BYTES: Final = 32
NO_SCRIPTS: Final = b""
"""The merkle root of an output that only its key spends (BIP-341, BIP-86)."""


@dataclass(frozen=True)
class Tweaks:
    """From the account's root key to the key that signs.

    Raises CallerError for a merkle root of another length, HardenedPath and CallerError for a path as `hd.check_path`.
    """

    path: tuple[int, ...] = ()
    """SLIP-10, unhardened indices."""
    taproot: bytes | None = None
    """None: the key at `path` itself; else BIP-341's merkle root, 32 bytes, or NO_SCRIPTS."""

    def __post_init__(self) -> None:
        if self.taproot and len(self.taproot) != MERKLE_ROOT_BYTES:
            raise CallerError(
                f"a merkle root of {len(self.taproot)} bytes: it has {MERKLE_ROOT_BYTES}, or none where there are no scripts"
            )

    def as_list(self) -> list[Value]:
        """[path, merkle root or none]: what session ids bind."""
        return [list(self.path), self.taproot]


@dataclass(frozen=True)
class Tweaked:
    """X = a*root + b*G, with an even y."""

    X: Point
    a: int
    """1 or -1."""
    b: int
    """In [0, q)."""

    def even(self) -> Tweaked:
        """The one of X and -X whose y is even."""
        if not SECP256K1.y_is_odd(self.X):
            return self
        return Tweaked(-self.X, -self.a, -self.b % SECP256K1.q)


def tap_tweak(P: Point, merkle_root: bytes) -> int:
    """T = H_TapTweak(x(P) || merkle root) of BIP-341, an integer mod q. Raises CallerError where BIP-341 has no output key."""
    t = int.from_bytes(tagged_hash("TapTweak", x_only(P), merkle_root), "big")
    if t >= SECP256K1.q:
        raise CallerError("this key has no Taproot output (BIP-341): derive another one")
    return t


def tweaked(X: Point, chain_code: bytes, tweaks: Tweaks) -> Tweaked:
    """The key that signs, of the root (X, chain code). Raises CallerError, HardenedPath as `hd.derive` does."""
    child = derive(X, chain_code, tweaks.path)
    found = Tweaked(child.X_c, 1, child.tau).even()
    if tweaks.taproot is None:
        return found
    t = tap_tweak(found.X, tweaks.taproot)
    output = found.X + SECP256K1.mul_base(t)
    if output.is_identity:
        raise CallerError("this key has no Taproot output (BIP-341): derive another one")
    return Tweaked(output, found.a, (found.b + t) % SECP256K1.q).even()


def signing_key(P: Point, taproot: bytes | None) -> Point:
    """The key that verifies, with an even y, for the key P at a path; `taproot` as in `Tweaks`. Raises CallerError."""
    return tweaked(P, bytes(CHAIN_CODE_BYTES), Tweaks((), taproot)).X


def output_key(P: Point, merkle_root: bytes = NO_SCRIPTS) -> Point:
    """The output key Q of BIP-341, with an even y, for the internal key P of either sign. Raises CallerError."""
    return signing_key(P, merkle_root)


def signing_share(share: KeyShare, tweaks: Tweaks) -> KeyShare:
    """The party's share of the key that signs, of its `share` of the account's key. Raises CallerError, HardenedPath.

    Key id and share epoch stay the account's.
    """
    key = tweaked(share.X, share.chain_code, tweaks)
    shift = SECP256K1.mul_base(key.b)
    return KeyShare(
        suite=FROST_BIP340, key_id=share.key_id, share_epoch=share.share_epoch, t=share.t, me=share.me, X=key.X,
        public_shares={j: key.a * X_j + shift for j, X_j in share.public_shares.items()}, chain_code=b"",
        x=SECP256K1.combine_secrets([(key.a, share.x), (1, key.b)]),
    )  # fmt: skip


def tweaks_from(path: Sequence[int], taproot: bytes | None) -> Tweaks:
    """What `as_list` wrote. Raises CallerError."""
    return Tweaks(tuple(int(index) for index in path), taproot)
