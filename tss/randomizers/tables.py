"""Tables of one key: what makes its pairs cheaply (docs/randomizers.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from gmpy2 import mpz

from tss.modexp import FixedBase
from tss.params import SecurityLevel
from tss.rand import Rng, plus_minus, randbelow
from tss.randomizers.plain import MaskPair, NoncePair
from tss.randomizers.subsets import SubsetTable
from tss.ring_pedersen import RingPedersen

LONG_BASES: Final = 3
"""Bases whose exponents have together as many bits as the modulus."""


def nonce_product(N: mpz, N2: mpz, one: NoncePair, other: NoncePair) -> NoncePair:
    """The pair of the product of two nonces."""
    return NoncePair(one.value * other.value % N, one.power * other.power % N2)


def mask_product(N_hat: mpz, one: MaskPair, other: MaskPair) -> MaskPair:
    """The pair of the sum of two masks."""
    return MaskPair(one.value + other.value, one.power * other.power % N_hat)


class NonceTable:
    """Nonces under somebody else's key, within 2^-134 of uniform in Z_N* whatever N its owner chose.

    Nobody may know the elements that it is made of. `repr` shows nothing; immutable, for any thread.
    """

    def __init__(self, N: mpz, elements: Sequence[NoncePair], subsets: SubsetTable[NoncePair]) -> None:
        """`elements`: LONG_BASES uniform pairs that `subsets` does not hold."""
        self._N, self._N2 = N, N * N
        self._bits = -(-int(N.bit_length()) // LONG_BASES)
        self._bases = [
            (FixedBase(pair.value, N, self._bits), FixedBase(pair.power, self._N2, self._bits))
            for pair in elements
        ]
        self._subsets = subsets

    def draw(self, rng: Rng) -> NoncePair:
        """A fresh nonce; the time depends on it."""
        made = NoncePair(mpz(1), mpz(1))
        for base, base_power in self._bases:
            e = randbelow(rng, mpz(1) << self._bits)
            made = nonce_product(self._N, self._N2, made, NoncePair(base.power(e), base_power.power(e)))
        return self._subsets.multiply(made, rng)

    def __repr__(self) -> str:
        return "NonceTable()"


class RingTable:
    """Powers of somebody else's s and t for exponents that are drawn for one use: the time depends on them."""

    def __init__(self, ring: RingPedersen, level: SecurityLevel) -> None:
        self._s = FixedBase(ring.s, ring.N_hat, max(level.l, level.l_prime) + level.eps + 1)
        # One bit more than the widest mask, which hedging may exceed.
        self._t = FixedBase(ring.t, ring.N_hat, level.l + level.eps + level.modulus_bits + 1)

    def mask(self, bound: mpz, rng: Rng) -> MaskPair:
        """As `Randomizers.mask`."""
        a = plus_minus(rng, bound)
        return MaskPair(a, self._t.power(a))

    def power_of_s(self, x: int | mpz) -> mpz:
        """As `Randomizers.power_of_s`."""
        return self._s.power(x)

    def __repr__(self) -> str:
        return "RingTable()"


def nonce_products(N: mpz) -> Callable[[NoncePair, NoncePair], NoncePair]:
    """`nonce_product` for one key."""
    return partial(nonce_product, N, N * N)


def mask_products(N_hat: mpz) -> Callable[[MaskPair, MaskPair], MaskPair]:
    """`mask_product` for one ring."""
    return partial(mask_product, N_hat)
