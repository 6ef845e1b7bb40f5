"""Products of powers with public exponents, one squaring chain for all of them."""

from __future__ import annotations

from collections.abc import Sequence

from gmpy2 import mpz

from tss.errors import OutOfDomain
from tss.modexp.plain import powmod


def power_product(bases: Sequence[int | mpz], exponents: Sequence[int | mpz], modulus: int | mpz) -> mpz:
    """The product of bases[i]^exponents[i] mod modulus for PUBLIC signed exponents; 1 mod modulus for none.

    Raises OutOfDomain when the two lists differ in length, when the base of a negative exponent has no inverse, and for a
    modulus below 1.
    """
    if len(bases) != len(exponents):
        raise OutOfDomain("a product of powers has another number of bases than of exponents")
    if modulus < 1:
        raise OutOfDomain("a modulus is not positive")
    product = mpz(1) % modulus
    for base, exponent in zip(bases, exponents, strict=True):
        product = product * powmod(base, exponent, modulus) % modulus
    return product
