"""Multiplication modulo one number, in the form that is fastest in Python.

Modulo a square N^2 of more than 4,000 bits a number x is the pair (x mod N, floor(x/N)): (a + bN)(c + dN) = ac + (ad + bc)N,
so three products and two divisions of half the length do what one product and one division of the whole length would, in
less time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import gmpy2
from gmpy2 import mpz

SMALL: Final = 1024
"""Bits of a modulus below which a chain of products in Python is dearer than separate powers."""

PAIRS_FROM: Final = 4000
"""Bits of a square modulus from which pairs pay (found by measurement)."""

# A number in a ring's own form: an mpz, or a pair of them.
Element = Any


class Ring(NamedTuple):
    """`enter` a number in [0, modulus), multiply, square, and `leave` with a number in [0, modulus); `one` is outside."""

    enter: Callable[[mpz], Element]
    multiply: Callable[[Element, Element], Element]
    square: Callable[[Element], Element]
    leave: Callable[[Element], mpz]
    one: mpz
    is_pairs: bool


def ring(modulus: mpz, pairs_from: int = PAIRS_FROM) -> Ring:
    """The ring of the integers mod `modulus` >= 1."""
    if modulus.bit_length() >= pairs_from:
        root, rest = gmpy2.isqrt_rem(modulus)
        if not rest:
            return _pairs(root)
    return _numbers(modulus)


def _numbers(m: mpz) -> Ring:
    def multiply(x: mpz, y: mpz) -> mpz:
        return x * y % m

    def square(x: mpz) -> mpz:
        return x * x % m

    return Ring(mpz, multiply, square, mpz, mpz(1) % m, is_pairs=False)


def _pairs(N: mpz) -> Ring:
    divide = gmpy2.t_divmod

    def enter(x: mpz) -> tuple[mpz, mpz]:
        b, a = divide(x, N)
        return a, b

    def multiply(x: tuple[mpz, mpz], y: tuple[mpz, mpz]) -> tuple[mpz, mpz]:
        a, b = x
        c, d = y
        carry, low = divide(a * c, N)
        return low, (carry + a * d + b * c) % N

    def square(x: tuple[mpz, mpz]) -> tuple[mpz, mpz]:
        a, b = x
        carry, low = divide(a * a, N)
        return low, (carry + (a * b << 1)) % N

    def leave(x: tuple[mpz, mpz]) -> mpz:
        return x[0] + x[1] * N

    return Ring(enter, multiply, square, leave, mpz(1), is_pairs=True)
