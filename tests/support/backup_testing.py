"""Backups at test size."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from node_testing import committee_of, deal, node_keys
from tss_testing import TINY, SeededRng

from participant.backup import backup, kem
from tss.groups import ED25519
from tss.params import FROST_ED25519, Suite
from tss.records import KeyShare

SUITES = {"secp256k1": TINY, "ed25519": FROST_ED25519}


@lru_cache(maxsize=32)
def recovery_key(kind: str, seed: object = 0) -> kem.RecoveryPrivate:
    return kem.generate(kind, SeededRng(("recovery", kind, seed)))


def without_chain_code(share: KeyShare) -> KeyShare:
    return KeyShare(
        FROST_ED25519,
        share.key_id,
        share.share_epoch,
        share.t,
        share.me,
        share.X,
        share.public_shares,
        b"",
        share.x,
    )


def shares(
    names: Sequence[str] = ("main",), party: int = 1, suite: Suite = TINY
) -> dict[str, tuple[str, KeyShare]]:
    found = {name: ("secp256k1", deal(suite, seed=name)[party - 1]) for name in names}
    rng = SeededRng("ed25519")
    coefficients = [1 + int.from_bytes(rng(31), "big") for _ in range(2)]
    xs = {i: (coefficients[0] + coefficients[1] * i) % ED25519.q for i in (1, 2, 3)}
    public = {i: ED25519.mul_base(x) for i, x in xs.items()}
    edwards = KeyShare(
        FROST_ED25519,
        bytes(32),
        b"e" * 32,
        2,
        party,
        ED25519.mul_base(coefficients[0]),
        public,
        b"",
        xs[party],
    )
    return {**found, "edwards": ("ed25519", edwards)}


def make(
    recipients: Sequence[kem.RecoveryPublic],
    quorum: int = 1,
    *,
    seed: object = 0,
    names: Sequence[str] = ("main",),
) -> bytes:
    keys = node_keys()[0]
    rng = SeededRng(("backup", seed))
    return backup.make(
        keys, committee_of(), shares(names), recipients, quorum, created_at=1_800_000_000, rng=rng
    )
