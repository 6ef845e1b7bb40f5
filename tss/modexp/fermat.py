"""Fermat's test to base 2, for the search of primes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gmpy2 import mpz

from tss.errors import OutOfDomain
from tss.modexp.backend import current

TOGETHER: Final = 8
"""Numbers of like size that are tested for less than one by one, where a backend can."""


def pass_fermat(numbers: Sequence[int | mpz]) -> list[bool]:
    """[Whether 2^(n-1) = 1 mod n] for odd n >= 3, as is the case for primes and few others.

    Variable time. Raises OutOfDomain for other numbers.
    """
    candidates = [mpz(n) for n in numbers]
    if any(n < 3 or n % 2 == 0 for n in candidates):
        raise OutOfDomain("Fermat's test of a number that is not odd and above 2")
    return current().pass_fermat(candidates)
