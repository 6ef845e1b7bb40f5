"""Powers of a base that stays: from a table."""

from __future__ import annotations

from gmpy2 import mpz

from tss.errors import OutOfDomain
from tss.modexp.plain import powmod


class FixedBase:
    """A base mod a modulus, for signed exponents of at most `bits` bits that are public or EPHEMERAL.

    Ephemeral: drawn for one proof or one presignature. Time and memory accesses depend on the exponent, so a secret that lives
    longer belongs into `powmod_secret`. Immutable, for any thread. Raises OutOfDomain for a modulus below 1, no bits, and a
    base that is no unit.
    """

    def __init__(self, base: int | mpz, modulus: int | mpz, bits: int) -> None:
        if bits < 1:
            raise OutOfDomain("a table of powers for exponents of no bits")
        powmod(base, -1, modulus)
        self.modulus = mpz(modulus)
        self.bits = bits
        self._base = mpz(base) % self.modulus

    @property
    def memory(self) -> int:
        """Bytes that the table takes."""
        return int(self.modulus.bit_length() + 7) // 8

    def power(self, exponent: int | mpz) -> mpz:
        """base^exponent mod modulus. Raises OutOfDomain for an exponent of more than `bits` bits."""
        if abs(exponent) >> self.bits:
            raise OutOfDomain("an exponent is longer than the table of its base")
        return powmod(self._base, exponent, self.modulus)

    def __repr__(self) -> str:
        return f"FixedBase({self.modulus.bit_length()} bits, exponents of {self.bits})"
