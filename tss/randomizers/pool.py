"""Randomizers that were made in idle time (docs/randomizers.md)."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gmpy2 import mpz

from tss.paillier import PaillierPublic, PaillierSecret
from tss.params import SecurityLevel
from tss.rand import Rng
from tss.randomizers.keys import RingShelves, own_shelf, peer_shelf
from tss.randomizers.plain import MaskPair, NoncePair, PaillierKey, PedersenKey, Randomizers
from tss.randomizers.shelf import Shelf
from tss.ring_pedersen import RingPedersen

PEERS: Final = 16
"""Other parties whose keys a pool has tables for; of more, those go that were wanted least lately. About 10 MB each."""

Ring = tuple[mpz, mpz, mpz]


@dataclass(frozen=True)
class Needs:
    """How many pairs of a kind are to be there."""

    own: int
    """Nonces under this party's own key."""
    nonces: int
    """Nonces under each peer's key."""
    masks: Sequence[tuple[mpz, int]]
    """(size, how many) under each peer's parameters: masks in +-size*N^."""


class Pool(Randomizers):
    """In memory only, thread-safe. `repr` shows nothing.

    `want` says for which keys; `step`, called while there is nothing better to do, makes tables and then pairs. Every pair is
    given once: it is taken out first, and then multiplied by a random product of secret elements, which `rng` chooses. So two
    copies of one pool, on a machine that was cloned, hide with different ones.
    """

    def __init__(self, level: SecurityLevel) -> None:
        self._level = level
        self._lock = threading.Lock()
        self._own: OrderedDict[mpz, Shelf[NoncePair]] = OrderedDict()
        self._peers: OrderedDict[mpz, Shelf[NoncePair]] = OrderedDict()
        self._rings: OrderedDict[Ring, RingShelves] = OrderedDict()

    # -- what a prover asks for ----------------------------------------------------------------------------------

    def nonce(self, key: PaillierKey, rng: Rng) -> NoncePair:
        """See `Randomizers`. The time depends on the nonce."""
        if isinstance(key, PaillierSecret):
            shelf = self._find(self._own, key.public.N)
        else:
            shelf = self._find(self._peers, key.N)
        pair: NoncePair | None = None if shelf is None else shelf.give(rng)
        return super().nonce(key, rng) if pair is None else pair

    def mask(self, ring: PedersenKey, bound: mpz, rng: Rng) -> MaskPair:
        """See `Randomizers`: but for its ends, which are 2^-110 of the interval, uniform. The time depends on the mask."""
        shelves = self._ring(ring)
        pair = None if shelves is None else shelves.give(bound, rng)
        return super().mask(ring, bound, rng) if pair is None else pair

    def power_of_s(self, ring: PedersenKey, x: int | mpz) -> mpz:
        """See `Randomizers`."""
        shelves = self._ring(ring)
        table = None if shelves is None else shelves.table
        return super().power_of_s(ring, x) if table is None else table.power_of_s(x)

    def _ring(self, ring: PedersenKey) -> RingShelves | None:
        return self._find(self._rings, _name(ring)) if isinstance(ring, RingPedersen) else None

    def _find(self, shelves: OrderedDict[Any, Any], name: object) -> Any:
        with self._lock:
            if name not in shelves:
                return None
            shelves.move_to_end(name)
            return shelves[name]

    # -- what the pool's owner says ------------------------------------------------------------------------------

    def want(
        self, own: PaillierSecret, peers: Iterable[tuple[PaillierPublic, RingPedersen]], needs: Needs
    ) -> None:
        """From now on fill up to `needs` for one's own key and for these parties' keys and parameters."""
        with self._lock:
            _shelf(self._own, own.public.N, own_shelf(own)).target = needs.own
            for key, ring in peers:
                _shelf(self._peers, key.N, peer_shelf(key)).target = needs.nonces
                _shelf(self._rings, _name(ring), RingShelves(ring, self._level)).want(needs.masks)

    def step(self, rng: Rng) -> bool:
        """Make one thing more, some tens of milliseconds of work; False when nothing is lacking. For any thread."""
        with self._lock:
            rings = list(self._rings.values())
        for ring in rings:
            if ring.table is None:
                ring.build()
                return True
        # Tables first: without them nothing is kept.
        order = sorted(self._shelves(), key=lambda shelf: (shelf.complete, len(shelf)))
        return any(shelf.step(rng) for shelf in order)

    def drop_pairs(self) -> None:
        """Forget all pairs; tables stay."""
        for shelf in self._shelves():
            shelf.drop()

    def retain(self, moduli: Iterable[mpz]) -> None:
        """Forget everything of keys and parameters whose modulus is none of these."""
        kept = set(moduli)
        with self._lock:
            for nonces in (self._own, self._peers):
                for N in nonces.keys() - kept:
                    del nonces[N]
            for ring in [ring for ring in self._rings if ring[0] not in kept]:
                del self._rings[ring]

    def _shelves(self) -> list[Shelf[Any]]:
        with self._lock:
            rings = [shelf for ring in self._rings.values() for shelf in ring.shelves]
            return [*self._own.values(), *self._peers.values(), *rings]

    def __len__(self) -> int:
        """How many pairs are there."""
        return sum(map(len, self._shelves()))


def _name(ring: RingPedersen) -> Ring:
    return ring.N_hat, ring.s, ring.t


def _shelf(shelves: OrderedDict[Any, Any], name: object, fresh: Any) -> Any:
    """The one of this name, `fresh` where there is none; the one that was wanted least lately makes place."""
    found = shelves.setdefault(name, fresh)
    shelves.move_to_end(name)
    if len(shelves) > PEERS:
        shelves.popitem(last=False)
    return found
