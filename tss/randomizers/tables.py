"""Tables of one key: what makes its pairs cheaply (docs/randomizers.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gmpy2 import mpz

from tss.modexp import FixedBase
from tss.modexp.rings import Element, ring
from tss.params import SecurityLevel
from tss.rand import Rng, plus_minus, randbelow
from tss.randomizers.plain import MaskPair, NoncePair
from tss.randomizers.subsets import SubsetTable
from tss.ring_pedersen import RingPedersen

LONG_BASES: Final = 3
"""Bases whose exponents have together as many bits as the modulus."""

S_ENTRIES: Final = 2048
"""Values in a table of s: 0.8 MB."""


class NonceProducts:
    """Of the nonces of one key: (value, power), the power as its ring has it."""

    window = 7
    """127 pairs of 1.2 kB for 7 of them: 7 MB a key."""

    def __init__(self, N: mpz) -> None:
        self.N = N
        self._ring = ring(N * N)

    def enter(self, pair: NoncePair) -> tuple[mpz, Element]:
        """See Products."""
        return pair.value, self._ring.enter(pair.power)

    def multiply(self, one: tuple[mpz, Element], other: tuple[mpz, Element]) -> tuple[mpz, Element]:
        """The product of both nonces."""
        return one[0] * other[0] % self.N, self._ring.multiply(one[1], other[1])

    def leave(self, element: tuple[mpz, Element]) -> NoncePair:
        """See Products."""
        return NoncePair(element[0], self._ring.leave(element[1]))


class MaskProducts:
    """Of the masks of one ring: (value, power)."""

    window = 5
    """31 pairs of 0.9 kB for 5 of them: 1.5 MB a ring and size of masks."""

    def __init__(self, N_hat: mpz) -> None:
        self.N_hat = N_hat

    def enter(self, pair: MaskPair) -> tuple[mpz, mpz]:
        """See Products."""
        return pair.value, pair.power

    def multiply(self, one: tuple[mpz, mpz], other: tuple[mpz, mpz]) -> tuple[mpz, mpz]:
        """The sum of both masks."""
        return one[0] + other[0], one[1] * other[1] % self.N_hat

    def leave(self, element: tuple[mpz, mpz]) -> MaskPair:
        """See Products."""
        return MaskPair(*element)


class NonceTable:
    """Nonces under somebody else's key, within 2^-134 of uniform in Z_N* whatever N its owner chose.

    Nobody may know the elements that it is made of. `repr` shows nothing; immutable, for any thread.
    """

    def __init__(self, N: mpz, elements: Sequence[NoncePair], subsets: SubsetTable[NoncePair]) -> None:
        """`elements`: LONG_BASES uniform pairs that `subsets` does not hold."""
        self._products = NonceProducts(N)
        self._bits = -(-int(N.bit_length()) // LONG_BASES)
        self._bases = [
            (FixedBase(pair.value, N, self._bits), FixedBase(pair.power, N * N, self._bits))
            for pair in elements
        ]
        self._subsets = subsets

    def draw(self, rng: Rng) -> NoncePair:
        """A fresh nonce; the time depends on it."""
        made, products = self._products.enter(NoncePair(mpz(1), mpz(1))), self._products
        for base, base_power in self._bases:
            e = randbelow(rng, mpz(1) << self._bits)
            power = products.enter(NoncePair(base.power(e), base_power.power(e)))
            made = products.multiply(made, power)
        return self._subsets.multiply(products.leave(made), rng)

    def __repr__(self) -> str:
        return "NonceTable()"


class RingTable:
    """Powers of somebody else's s and t for exponents that are drawn for one use: the time depends on them."""

    def __init__(self, ring: RingPedersen, level: SecurityLevel) -> None:
        # A table makes all its exponents at one price, that of the longest: k and gamma; alpha; y; beta.
        lengths = level.l, level.l + level.eps + 1, level.l_prime + 1, level.l_prime + level.eps + 1
        self._s = [FixedBase(ring.s, ring.N_hat, bits, S_ENTRIES) for bits in sorted(lengths)]
        # One bit more than the widest mask, which hedging may exceed.
        self._t = FixedBase(ring.t, ring.N_hat, level.l + level.eps + level.modulus_bits + 1)

    def mask(self, bound: mpz, rng: Rng) -> MaskPair:
        """As `Randomizers.mask`."""
        a = plus_minus(rng, bound)
        return MaskPair(a, self._t.power(a))

    def power_of_s(self, x: int | mpz) -> mpz:
        """As `Randomizers.power_of_s`. Raises OutOfDomain for an exponent of more bits than the longest."""
        length = int(x).bit_length()
        table = next((table for table in self._s if length <= table.bits), self._s[-1])
        return table.power(x)

    def __repr__(self) -> str:
        return "RingTable()"
