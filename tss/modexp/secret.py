"""Powers with secret exponents that live long: constant time, no table, no chain shared with another exponent."""

from __future__ import annotations

import gmpy2
from gmpy2 import mpz

from tss.errors import OutOfDomain
from tss.modexp.plain import inverse


def powmod_secret(base: int | mpz, exponent: int | mpz, modulus: int | mpz) -> mpz:
    """base^exponent mod modulus (odd) for a SECRET exponent: the time depends on its length in words alone.

    A negative exponent raises the inverse; raises OutOfDomain when that does not exist, and for an even modulus.
    """
    if modulus < 1 or modulus % 2 == 0:
        raise OutOfDomain("a modulus is not odd and positive")
    # Made for either sign, so that the sign does not show.
    try:
        inverted = inverse(base, modulus)
    except OutOfDomain:
        if exponent < 0:
            raise
        inverted = mpz(base)
    return power_secret(inverted if exponent < 0 else base, abs(exponent), modulus)


def power_secret(base: int | mpz, exponent: int | mpz, modulus: int | mpz) -> mpz:
    """The constant-time power, for a modulus that is odd and an exponent that is not negative."""
    if exponent == 0:
        return mpz(1) % modulus
    return gmpy2.powmod_sec(base, exponent, modulus)
