"""What a pool keeps of one kind of pair of one key."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic

from tss.rand import Rng
from tss.randomizers.subsets import ELEMENTS, SHARED_DRAWS, Pair, Products, SubsetTable

Make = Callable[[Rng], Pair]


class Shelf(Generic[Pair]):
    """Pairs that were made ahead, each given once and never as it was made. Thread-safe; `repr` shows nothing.

    Nothing is kept before the table that makes a pair another is complete.
    """

    def __init__(
        self,
        products: Products[Pair],
        element: Make[Pair],
        maker: Callable[[Sequence[Pair], SubsetTable[Pair]], Make[Pair]],
        extra: int = 0,
    ) -> None:
        """`element` makes one uniform pair of the table; `maker` gets `extra` more of them, and the table, and makes pairs."""
        self._products = products
        self._element = element
        self._maker = maker
        self._needed = ELEMENTS + extra
        self._lock = threading.Lock()
        self._elements: list[Pair] = []
        self._table: SubsetTable[Pair] | None = None
        self._make: Make[Pair] | None = None
        self._pairs: deque[Pair] = deque(maxlen=SHARED_DRAWS)
        self._era = 0
        self.target = 0
        """Pairs that `step` fills up to."""

    def __len__(self) -> int:
        """How many pairs are there."""
        return len(self._pairs)

    def give(self, rng: Rng) -> Pair | None:
        """A pair, or None before the table is complete. One that was kept is forgotten first, and changed by `rng`."""
        with self._lock:
            table, make = self._table, self._make
            kept = self._pairs.popleft() if self._pairs else None
        if table is None or make is None:
            return None
        return make(rng) if kept is None else table.multiply(kept, rng)

    @property
    def complete(self) -> bool:
        """Whether the table is there."""
        return self._table is not None

    def step(self, rng: Rng) -> bool:
        """Make one element or one pair more, or the table; False when nothing is lacking. Some tens of milliseconds."""
        with self._lock:
            make, era = self._make, self._era
            elements = list(self._elements) if len(self._elements) == self._needed else None
            lacking = len(self._pairs) < min(self.target, SHARED_DRAWS)
        if make is not None:
            if lacking:
                self._keep(make(rng), era)
            return lacking
        if elements is None:
            self._add(self._element(rng))
        else:
            table = SubsetTable(elements[:ELEMENTS], self._products)
            make = self._maker(elements[ELEMENTS:], table)
            with self._lock:
                self._table, self._make, self._elements = table, make, []
        return True

    def _add(self, element: Pair) -> None:
        with self._lock:
            if self._make is None and len(self._elements) < self._needed:
                self._elements.append(element)

    def _keep(self, pair: Pair, era: int) -> None:
        with self._lock:
            if era == self._era and len(self._pairs) < SHARED_DRAWS:
                self._pairs.append(pair)

    def drop(self) -> None:
        """Forget the pairs, also those that are being made."""
        with self._lock:
            self._pairs.clear()
            self._era += 1

    def __repr__(self) -> str:
        return "Shelf()"
