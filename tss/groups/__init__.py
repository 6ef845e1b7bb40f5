"""The prime-order groups of the protocols behind one small interface.

`SECP256K1` for ECDSA, `ED25519` for FROST. Nothing outside this package knows how a point is represented; lengths of
scalars, points and challenges come from the group.
"""

from tss.groups.abstract import Group, Point
from tss.groups.ed25519 import ED25519
from tss.groups.secp256k1 import SECP256K1

__all__ = ["ED25519", "SECP256K1", "Group", "Point"]
