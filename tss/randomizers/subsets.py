"""Products of random subsets of secret elements: what makes one pair another, at a few products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Generic, Protocol, TypeVar

from tss.rand import Rng

Pair = TypeVar("Pair")
Element = Any
"""A pair in the form in which it is multiplied."""

ELEMENTS: Final = 280
"""Uniform pairs of a table. docs/randomizers.md: a nonce made with it is within 2^-134 of uniform, and of two copies of a machine
SHARED_DRAWS pairs stay hidden."""

SHARED_DRAWS: Final = 128
"""Pairs that a pool may hold of one kind: what two copies of it can have in common."""


class Products(Protocol[Pair]):
    """How pairs of one kind are multiplied."""

    window: int
    """Pairs whose products a table keeps, all 2^window - 1 of them. A draw takes ELEMENTS/window products."""

    def enter(self, pair: Pair) -> Element:
        """The pair in the form in which it is multiplied."""

    def multiply(self, one: Element, other: Element) -> Element:
        """The product."""

    def leave(self, element: Element) -> Pair:
        """The pair again."""


class SubsetTable(Generic[Pair]):
    """All products within each window of ELEMENTS elements. Immutable, for any thread; `repr` shows nothing."""

    def __init__(self, elements: Sequence[Pair], products: Products[Pair]) -> None:
        """`elements`: ELEMENTS independent uniform ones."""
        self._products = products
        self._windows: list[list[Element]] = []
        for first in range(0, ELEMENTS, products.window):
            # Entry i is the product over the bits of i + 1.
            window: list[Element] = []
            for element in map(products.enter, elements[first : first + products.window]):
                window += [element, *(products.multiply(known, element) for known in window)]
            self._windows.append(window)

    def multiply(self, start: Pair, rng: Rng) -> Pair:
        """`start` times the product of a uniformly random subset."""
        bits = int.from_bytes(rng(ELEMENTS // 8), "big")
        multiply, made = self._products.multiply, self._products.enter(start)
        for window in self._windows:
            chosen = bits % (len(window) + 1)
            bits //= len(window) + 1
            if chosen:
                made = multiply(made, window[chosen - 1])
        return self._products.leave(made)

    def __repr__(self) -> str:
        return "SubsetTable()"
