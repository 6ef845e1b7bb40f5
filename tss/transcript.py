"""Hashes and challenges (protocol.md 0.6). This module is the only way to either."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import gmpy2

from tss.encoding import Value, encode

if TYPE_CHECKING:
    from gmpy2 import mpz

    from tss.groups import Group
    from tss.params import Suite
    from tss.rand import Rng

PartyRef = list[object]
"""[role, I_j] as prover, verifier, from and to are written (protocol.md 0.7)."""


@dataclass(frozen=True)
class Context:
    """CTX: what binds a proof to its place.

    `sid` is 32 bytes (isid of the item in presigning). `label` is fixed per use, so that two proofs of one relation in
    one round cannot be swapped.
    """

    sid: bytes
    prover: PartyRef
    verifier: PartyRef | None
    rid: bytes | None
    label: str

    def as_list(self) -> list[Value]:
        """[sid, prover, verifier or none, rid or none, label]."""
        return [self.sid, self.prover, self.verifier, self.rid, self.label]


def hash_commit(proto: str, tag: str, *values: Value) -> bytes:
    """Hc(tag, values...) = SHA-256(ENC([PROTO, tag, values...])), 32 bytes."""
    return hashlib.sha256(encode([proto, tag, *values])).digest()


def xof(seed: bytes, length: int, *counters: int) -> bytes:
    """blk(seed, length, counters...): SHAKE256(seed || u32be(c1) || ...), `length` bytes."""
    return hashlib.shake_256(seed + b"".join(c.to_bytes(4, "big") for c in counters)).digest(length)


def stream(seed: bytes, *counters: int) -> Rng:
    """Bytes as from a source of randomness, for one thread: the k-th call gives xof(seed, n, counters..., k), k from 0."""
    calls = itertools.count()
    return lambda n: xof(seed, n, *counters, next(calls))


def low_bits(data: bytes, bits: int) -> int:
    """The low `bits` bits of the big-endian integer `data`."""
    return int.from_bytes(data, "big") & ((1 << bits) - 1)


class Challenger:
    """The Fiat-Shamir seed of one proof, and the challenges that come from it."""

    def __init__(
        self, suite: Suite, proof: str, context: Context, statement: list[Value], commitment: list[Value]
    ) -> None:
        preimage = [
            suite.proto, suite.group.name, proof, suite.level.as_list(), context.as_list(), statement, commitment,
        ]  # fmt: skip
        self._seed = hashlib.sha512(encode(preimage)).digest()

    def scalar(self, group: Group) -> int:
        """e, uniform in [0, q)."""
        bits = group.q.bit_length()
        counter = 0
        while True:
            value = low_bits(xof(self._seed, (bits + 7) // 8, counter), bits)
            if value < group.q:
                return value
            counter += 1

    def bits(self, m: int) -> list[int]:
        """The m challenge bits, from one XOF call (security.md A6)."""
        block = xof(self._seed, m // 8, 0)
        return [(block[i // 8] >> (7 - i % 8)) & 1 for i in range(m)]

    def units(self, n: mpz, m: int) -> list[mpz]:
        """The m elements of Z_n*."""
        bits = int(gmpy2.bit_length(n))
        return [self._unit(n, bits, i) for i in range(m)]

    def _unit(self, n: mpz, bits: int, index: int) -> mpz:
        counter = 0
        while True:
            value = gmpy2.mpz(low_bits(xof(self._seed, (bits + 7) // 8, index, counter), bits))
            if 0 < value < n and gmpy2.gcd(value, n) == 1:
                return value
            counter += 1
