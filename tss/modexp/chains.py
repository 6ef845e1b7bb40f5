"""Several powers of one base."""

from __future__ import annotations

from collections.abc import Sequence

from gmpy2 import mpz

from tss.modexp.plain import powmod


def powers_of(base: int | mpz, exponents: Sequence[int | mpz], modulus: int | mpz) -> list[mpz]:
    """[base^e mod modulus for e in exponents], signed, one squaring chain for all.

    For exponents that are public or EPHEMERAL (drawn for one proof or one presignature): the time depends on them. A secret
    that lives longer belongs into `powmod_secret`. Raises OutOfDomain when the base of a negative exponent has no inverse,
    and for a modulus below 1.
    """
    return [powmod(base, exponent, modulus) for exponent in exponents]
