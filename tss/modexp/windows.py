"""Sliding windows: an exponent as a sum of odd digits times powers of two."""

from __future__ import annotations

from functools import cache

from gmpy2 import mpz


@cache
def width_for(bits: int) -> int:
    """The width w for which 2^(w-1) prepared values and one product every w + 1 bits are fewest."""
    return min(range(1, 10), key=lambda w: products(bits, w))


@cache
def products(bits: int, width: int) -> float:
    """Products that an exponent of `bits` bits costs beside the squarings."""
    return (1 << (width - 1)) + bits / (width + 1)


def digits(exponent: mpz, width: int) -> list[tuple[int, int]]:
    """[(position, digit)] with exponent >= 0 = sum of digit * 2^position; digits are odd and below 2^width."""
    found = []
    mask = (1 << width) - 1
    position = exponent.bit_scan1()
    while position is not None:
        found.append((position, int(exponent >> position & mask)))
        position = exponent.bit_scan1(position + width)
    return found
