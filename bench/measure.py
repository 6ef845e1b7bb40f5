"""Medians of processor time, and T, the unit that makes figures of different machines comparable."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Final

import gmpy2
from gmpy2 import mpz

T_BITS: Final = 3072
T_SAMPLES: Final = 5
"""Powers at a time: before a figure, between its runs, and after it."""


def _number(name: str) -> mpz:
    raw = hashlib.shake_256(name.encode()).digest(T_BITS // 8)
    return mpz(int.from_bytes(raw, "big")) | 1 | mpz(1) << (T_BITS - 1)


_BASE, _EXPONENT, _MODULUS = (_number(f"T {name}") for name in ("base", "exponent", "modulus"))


@dataclass
class Reference:
    """Samples of T: one power with an odd 3072-bit modulus and a 3072-bit exponent, in milliseconds."""

    samples: list[float] = field(default_factory=list)

    def sample(self, count: int = T_SAMPLES) -> None:
        """Measure some more."""
        for _ in range(count):
            began = time.thread_time()
            gmpy2.powmod(_BASE, _EXPONENT, _MODULUS)
            self.samples.append(1000 * (time.thread_time() - began))

    @property
    def ms(self) -> float:
        """T."""
        return median(self.samples)


Figures = Mapping[str, float]
"""Values by name, in the unit of the name."""


@dataclass(frozen=True)
class Topic:
    """Figures that come out of the same runs. `run` takes the samples of T between its own."""

    names: tuple[str, ...]
    unit: str
    run: Callable[[Reference], Figures]


def cpu_ms(call: Callable[[], object], times: int) -> float:
    """The median of the processor time of this thread in `times` calls, in milliseconds."""
    spent = []
    for _ in range(times):
        began = time.thread_time()
        call()
        spent.append(1000 * (time.thread_time() - began))
    return median(spent)


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that a `share` of all does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
