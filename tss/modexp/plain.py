"""Powers with public exponents, inverses and units: variable time."""

from __future__ import annotations

import gmpy2
from gmpy2 import mpz

from tss.errors import OutOfDomain
from tss.modexp.backend import current


def check_unit(value: int | mpz, modulus: int | mpz, what: str) -> None:
    """unit(value, modulus) of protocol.md 5 (P2): 0 < value < modulus and coprime to it.

    Raises OutOfDomain, which names `what`.
    """
    if not 0 < value < modulus:
        raise OutOfDomain(f"{what} is outside (0, modulus)")
    if gmpy2.gcd(value, modulus) != 1:
        raise OutOfDomain(f"{what} shares a factor with the modulus")


def inverse(value: int | mpz, modulus: int | mpz) -> mpz:
    """value^-1 mod modulus. Raises OutOfDomain when there is none."""
    try:
        return gmpy2.invert(value, modulus)
    except ZeroDivisionError:
        raise OutOfDomain("a number has no inverse modulo the modulus") from None


def powmod(base: int | mpz, exponent: int | mpz, modulus: int | mpz) -> mpz:
    """base^exponent mod modulus for a PUBLIC exponent; a negative one raises the inverse.

    Raises OutOfDomain when that inverse does not exist, and for a modulus below 1.
    """
    if modulus < 1:
        raise OutOfDomain("a modulus is not positive")
    if exponent < 0:
        base, exponent = inverse(base, modulus), -exponent
    return current().power(mpz(base) % modulus, mpz(exponent), mpz(modulus))
