"""Products of random subsets of secret elements: what makes one pair another, at a few products."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from tss.rand import Rng

Element = TypeVar("Element")
Product = Callable[[Element, Element], Element]

ELEMENTS: Final = 280
"""Uniform pairs of a table. docs/randomizers.md: a nonce made with it is within 2^-134 of uniform, and of two copies of a machine
SHARED_DRAWS pairs stay hidden."""

SHARED_DRAWS: Final = 128
"""Pairs that a pool may hold of one kind: what two copies of it can have in common."""

WINDOW: Final = 5
"""Elements whose products are all kept: 56 products a draw, and 32/5 of the elements' memory."""


class SubsetTable(Generic[Element]):
    """All products within each window of ELEMENTS elements. Immutable, for any thread; `repr` shows nothing."""

    def __init__(self, elements: Sequence[Element], product: Product[Element]) -> None:
        """`elements`: ELEMENTS independent uniform ones."""
        self._product = product
        self._windows: list[list[Element]] = []
        for first in range(0, ELEMENTS, WINDOW):
            # Entry i is the product over the bits of i + 1.
            window: list[Element] = []
            for element in elements[first : first + WINDOW]:
                window += [element, *(product(known, element) for known in window)]
            self._windows.append(window)

    def multiply(self, start: Element, rng: Rng) -> Element:
        """`start` times the product of a uniformly random subset."""
        bits = int.from_bytes(rng(ELEMENTS // 8), "big")
        made = start
        for window in self._windows:
            chosen = bits % (len(window) + 1)
            bits //= len(window) + 1
            if chosen:
                made = self._product(made, window[chosen - 1])
        return made

    def __repr__(self) -> str:
        return "SubsetTable()"
