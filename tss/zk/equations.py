"""Where the big-number equations of a proof go: tested at once here, or gathered and tested together (`tss.zk.batch`).

A verifier makes every other check itself and hands these over as data, so that there is one text of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from gmpy2 import mpz

from tss.zk.common import (
    Checks,
    PaillierKey,
    PedersenKey,
    cipher_power,
    cipher_product,
    ring_modulus,
    ring_power,
)

Powers = Sequence[tuple[mpz, int | mpz]]
"""(base, exponent) each; bases are units, exponents public and signed."""


class Equations(Protocol):
    """Takes equations in the order of the specification, each after the checks that come before it have passed.

    All ciphertexts and nonces were found to be units, of their size, before they come here.
    """

    def paillier(
        self, check: Checks, name: str, key: PaillierKey, m: int | mpz, r: mpz, powers: Powers
    ) -> None:
        """enc(m; r) = the product of `powers` mod N^2."""

    def ring(
        self, check: Checks, name: str, ring: PedersenKey, a: int | mpz, b: int | mpz, powers: Powers
    ) -> None:
        """s^a t^b = the product of `powers` mod N^."""


class _AtOnce:
    """One equation after the other. What it says is what evidence is judged by."""

    def paillier(
        self, check: Checks, name: str, key: PaillierKey, m: int | mpz, r: mpz, powers: Powers
    ) -> None:
        """Raises ProofInvalid under the equation's name."""
        product = mpz(1)
        for C, x in powers:
            product = cipher_product(key, product, cipher_power(key, C, x))
        check.holds(name, key.enc(m, r) == product)

    def ring(
        self, check: Checks, name: str, ring: PedersenKey, a: int | mpz, b: int | mpz, powers: Powers
    ) -> None:
        """Raises ProofInvalid under the equation's name."""
        product = mpz(1)
        for base, x in powers:
            product = product * ring_power(ring, base, x) % ring_modulus(ring)
        check.holds(name, ring.commit_public(a, b) == product)


AT_ONCE: Final[Equations] = _AtOnce()
