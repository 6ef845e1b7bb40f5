"""Powers with secret exponents that live long: constant time, no table, no chain shared with another exponent."""

from __future__ import annotations

from collections.abc import Iterable

from gmpy2 import mpz

from tss.errors import OutOfDomain
from tss.modexp.backend import Power, current
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


def powers_secret_list(powers: Iterable[tuple[int | mpz, int | mpz, int | mpz]]) -> list[mpz]:
    """[base^exponent mod modulus] for each (base, exponent, modulus), with SECRET exponents >= 0 and odd moduli >= 1.

    Each in constant time; powers of like size are computed together where a backend can. Raises OutOfDomain for a negative
    exponent and for a modulus that is not odd and positive.
    """
    results: list[mpz] = []
    due: list[Power] = []
    places = []
    for base, exponent, modulus in powers:
        if modulus < 1 or modulus % 2 == 0:
            raise OutOfDomain("a modulus is not odd and positive")
        if exponent < 0:
            raise OutOfDomain("a list of powers with a negative exponent")
        if exponent:
            places.append(len(results))
            due.append(Power(mpz(base) % modulus, mpz(exponent), mpz(modulus)))
        results.append(mpz(1) % modulus)
    for place, value in zip(places, current().powers_secret(due), strict=True):
        results[place] = value
    return results


def power_secret(base: int | mpz, exponent: int | mpz, modulus: int | mpz) -> mpz:
    """The constant-time power, for a modulus that is odd and an exponent that is not negative."""
    if exponent == 0:
        return mpz(1) % modulus
    return current().power_secret(mpz(base) % modulus, mpz(exponent), mpz(modulus))
