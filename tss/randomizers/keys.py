"""The shelves of one key, and those of one party's ring-Pedersen parameters."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from gmpy2 import mpz

from tss.modexp import OwnNonces
from tss.paillier import PaillierPublic, PaillierSecret
from tss.params import SecurityLevel
from tss.rand import Rng
from tss.randomizers.plain import PLAIN, MaskPair, NoncePair
from tss.randomizers.shelf import Shelf
from tss.randomizers.subsets import SubsetTable
from tss.randomizers.tables import LONG_BASES, MaskProducts, NonceProducts, NonceTable, RingTable
from tss.ring_pedersen import RingPedersen


def own_shelf(key: PaillierSecret) -> Shelf[NoncePair]:
    """Nonces under one's own key, from tables modulo its primes, which the first of them makes."""
    tables: list[OwnNonces] = []

    def make(rng: Rng) -> NoncePair:
        if not tables:
            tables.append(OwnNonces(key.own))
        return NoncePair(*tables[0].draw(rng))

    return Shelf(NonceProducts(key.public.N), make, lambda *_: make)


def peer_shelf(key: PaillierPublic) -> Shelf[NoncePair]:
    """Nonces under a peer's key: plain ones for the table, from it after that."""

    def maker(extra: Sequence[NoncePair], subsets: SubsetTable[NoncePair]) -> Callable[[Rng], NoncePair]:
        return NonceTable(key.N, extra, subsets).draw

    return Shelf(
        NonceProducts(key.N),
        lambda rng: PLAIN.nonce(key, rng),
        maker,
        extra=LONG_BASES,
    )


class RingShelves:
    """Powers of s and masks of every size for one party's (N^, s, t). Thread-safe; `repr` shows nothing."""

    def __init__(self, ring: RingPedersen, level: SecurityLevel) -> None:
        self._ring = ring
        self._level = level
        self._lock = threading.Lock()
        self._by_bound: dict[mpz, Shelf[MaskPair]] = {}
        self.table: RingTable | None = None

    def build(self) -> None:
        """Make the tables of s and t."""
        self.table = RingTable(self._ring, self._level)

    def want(self, masks: Sequence[tuple[mpz, int]]) -> None:
        """Fill up to so many masks: (size, how many), masks in +-size*N^."""
        with self._lock:
            for size, count in masks:
                bound = size * self._ring.N_hat
                self._by_bound.setdefault(bound, self._shelf(bound)).target = count

    def _shelf(self, bound: mpz) -> Shelf[MaskPair]:
        # So much smaller that a sum of them does not show in a mask, and still 2^128 times what a mask has to hide.
        element = bound >> (self._level.eps - self._level.kappa) // 2
        return Shelf(
            MaskProducts(self._ring.N_hat),
            lambda rng: self._mask(element, rng),
            lambda *_: lambda rng: self._mask(bound, rng),
        )

    def _mask(self, bound: mpz, rng: Rng) -> MaskPair:
        table = self.table
        return PLAIN.mask(self._ring, bound, rng) if table is None else table.mask(bound, rng)

    @property
    def shelves(self) -> list[Shelf[MaskPair]]:
        """One a size."""
        with self._lock:
            return list(self._by_bound.values())

    def give(self, bound: mpz, rng: Rng) -> MaskPair | None:
        """A mask in +-bound, or None where none of this size can be made here."""
        with self._lock:
            shelf = self._by_bound.get(bound)
        pair = None if shelf is None else shelf.give(rng)
        return pair if pair is not None or self.table is None else self.table.mask(bound, rng)

    def __repr__(self) -> str:
        return "RingShelves()"
