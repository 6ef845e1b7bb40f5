"""Powers, and products of powers, one by one by gmpy2."""

from __future__ import annotations

import gmpy2
from gmpy2 import mpz

from tss.rand import randbelow

SIZES = (2, 3, 8, 31, 64, 127, 320, 1000)


def plain(base, exponent, modulus):
    """gmpy2 alone: a negative exponent raises the inverse."""
    return gmpy2.powmod(base, exponent, modulus)


def modulus_of(rng, bits):
    return (randbelow(rng, 1 << (bits - 1)) | 1 << (bits - 1)) + 1


def plain_product(bases, exponents, modulus):
    product = mpz(1) % modulus
    for base, exponent in zip(bases, exponents, strict=True):
        product = product * plain(base, exponent, modulus) % modulus
    return product


def edges(bits):
    return [mpz(e) for e in (0, 1, -1, 2, -2, 3, (1 << bits) - 1, -(1 << bits) + 1, 1 << (bits - 1))]
