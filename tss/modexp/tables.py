"""Powers of a base that stays: from a table."""

from __future__ import annotations

import sys
from typing import Final

from gmpy2 import mpz

from tss.errors import OutOfDomain
from tss.modexp.backend import current
from tss.modexp.plain import check_unit, inverse
from tss.modexp.rings import Element, ring

ENTRIES: Final = 1024
"""Values in a table: 0.4 MB for 3,072 bits, where a power of 3,843 bits costs 605 products. Twice as many save a tenth of them."""

_MOST_ROWS: Final = 8
# A column of the exponent is taken as a byte.


class FixedBase:
    """A base mod a modulus, for signed exponents of at most `bits` bits that are public or EPHEMERAL.

    Ephemeral: drawn for one proof or one presignature. Time and memory accesses depend on the exponent, so a secret that lives
    longer belongs into `powmod_secret`. Immutable, for any thread. At most `entries` values are kept. Raises OutOfDomain for a
    modulus below 1, no bits, no entries, and a base that is no unit.

    A comb (C. H. Lim, P. J. Lee, More flexible exponentiation with precomputation, CRYPTO '94): the exponent in rows
    below each other, each cut into blocks; a column of a block is the index into the block's table, and all blocks share one
    chain of squarings, as long as a block.
    """

    def __init__(self, base: int | mpz, modulus: int | mpz, bits: int, entries: int = ENTRIES) -> None:
        if modulus < 1 or bits < 1 or entries < 1:
            raise OutOfDomain("a table of powers without a modulus, bits or entries")
        self.modulus = mpz(modulus)
        self.bits = bits
        self._ring = ring(self.modulus)
        base = mpz(base) % self.modulus
        if modulus > 1:
            check_unit(base, self.modulus, "the base of a table")
        self._rows, self._blocks = shape(bits, entries)
        self._block_bits = -(-bits // (self._rows * self._blocks))
        self._row_bits = self._block_bits * self._blocks
        self._ones = int.from_bytes(b"\x01" * self._row_bits, "little")
        self._tables = [self._combine(row) for row in self._corners(base)]

    @property
    def memory(self) -> int:
        """Bytes that the table takes."""
        values = sum(_size(value) for table in self._tables for value in table)
        return values + sum(map(sys.getsizeof, self._tables))

    def power(self, exponent: int | mpz) -> mpz:
        """base^exponent mod modulus. Raises OutOfDomain for an exponent of more than `bits` bits."""
        size = abs(int(exponent))
        if size >> self.bits:
            raise OutOfDomain("an exponent is longer than the table of its base")
        columns = self._columns(size)
        enter, multiply, square, leave, _, _ = self._ring
        value = enter(mpz(1) % self.modulus)
        for column in range(self._block_bits - 1, -1, -1):
            # Before the first column this squares a one.
            value = square(value)
            for index, table in zip(columns[column :: self._block_bits], self._tables, strict=True):
                if index:
                    value = multiply(value, table[index])
        power = leave(value)
        return inverse(power, self.modulus) if exponent < 0 else power

    def _columns(self, size: int) -> bytes:
        """Bit r of byte c is bit c of row r of the exponent."""
        length = self._row_bits
        digits = format(size, f"0{self._rows * length}b").encode()
        columns = 0
        for row in range(self._rows):
            end = len(digits) - row * length
            # The characters 0 and 1 differ in their lowest bit.
            columns |= (int.from_bytes(digits[end - length : end], "big") & self._ones) << row
        return columns.to_bytes(length, "little")

    def _corners(self, base: mpz) -> list[list[mpz]]:
        """For each block, base^(2^k) for the places k at which the block begins in each row."""
        step = mpz(1) << self._block_bits
        chain = [base]
        for _ in range(self._rows * self._blocks - 1):
            chain.append(current().power(chain[-1], step, self.modulus))
        return [chain[block :: self._blocks] for block in range(self._blocks)]

    def _combine(self, corners: list[mpz]) -> list[Element]:
        """The product of each subset of the corners, by the number whose bits name it."""
        known = [self._ring.enter(mpz(1) % self.modulus)]
        for corner in map(self._ring.enter, corners):
            known += [self._ring.multiply(value, corner) for value in known]
        return known

    def __repr__(self) -> str:
        return f"FixedBase({self.modulus.bit_length()} bits, exponents of {self.bits})"


def shape(bits: int, entries: int) -> tuple[int, int]:
    """(rows, blocks) of the comb that costs fewest products among those of at most `entries` values."""
    best = (bits + bits, 1, 1)
    for rows in range(1, min(_MOST_ROWS, bits) + 1):
        # All the blocks that there is room for; more than one a column are of no use.
        blocks = min(entries // ((1 << rows) - 1), -(-bits // rows))
        if blocks:
            block_bits = -(-bits // (rows * blocks))
            best = min(best, (block_bits * blocks + block_bits, rows, blocks))
    return best[1:]


def _size(value: Element) -> int:
    parts = sum(map(sys.getsizeof, value)) if isinstance(value, tuple) else 0
    return sys.getsizeof(value) + parts
