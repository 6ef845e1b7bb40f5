"""The owner's powers: modulo the secret primes, in constant time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import gmpy2
from gmpy2 import mpz

from tss.errors import OutOfDomain, ShareCorrupt
from tss.modexp.plain import inverse
from tss.modexp.secret import powers_secret_list


class OwnModulus:
    """A modulus N = p*q_ whose two distinct odd primes are known: powers mod N and N^2 by the Chinese remainder theorem.

    Every power is constant-time in the exponent and in the primes. Bases must be units mod N; OutOfDomain otherwise.
    Raises ShareCorrupt when the two cannot be that. `repr` shows neither prime.
    """

    def __init__(self, p: int | mpz, q_: int | mpz) -> None:
        self.p = mpz(p)
        self.q_ = mpz(q_)
        if min(self.p, self.q_) < 3 or gmpy2.gcd(2 * self.p, self.q_) != 1 or self.p % 2 == 0:
            raise ShareCorrupt("the two primes of a modulus are not odd and distinct")
        self.N = self.p * self.q_
        self.phi = (self.p - 1) * (self.q_ - 1)
        self._p2 = self.p * self.p
        self._q2 = self.q_ * self.q_
        self._p_inverse = inverse(self.p, self.q_)
        self._p2_inverse = inverse(self._p2, self._q2)

    def pow_mod_n(self, base: int | mpz, exponent: int | mpz) -> mpz:
        """base^exponent mod N, any signed exponent."""
        return self.pow_mod_n_list([(base, exponent)])[0]

    def pow_mod_n_list(self, powers: Iterable[tuple[int | mpz, int | mpz]]) -> list[mpz]:
        """[base^exponent mod N], any signed exponents; many cost less than one by one where a backend can."""
        due = []
        for base, exponent in powers:
            base_p, base_q = self._residues(base)
            due.append((base_p, exponent % (self.p - 1), self.p))
            due.append((base_q, exponent % (self.q_ - 1), self.q_))
        return [self.combine(*both) for both in _by_two(powers_secret_list(due))]

    def pow_mod_n2(self, base: int | mpz, exponent: int | mpz) -> mpz:
        """base^exponent mod N^2, any signed exponent."""
        self._residues(base)
        return self.combine_squares(
            *powers_secret_list(
                [
                    (base, exponent % (self._p2 - self.p), self._p2),
                    (base, exponent % (self._q2 - self.q_), self._q2),
                ]
            )
        )

    def nth_power(self, base: int | mpz) -> mpz:
        """base^N mod N^2."""
        return self.nth_powers([base])[0]

    def nth_powers(self, bases: Iterable[int | mpz]) -> list[mpz]:
        """[base^N mod N^2]; many cost less than one by one where a backend can.

        Mod p^2 it is (base^q_)^p, and a p-th power depends only on its base mod p: a power mod p with an exponent below
        p, then one mod p^2 with exponent p, instead of one mod p^2 with an exponent twice as long.
        """
        due = []
        for base in bases:
            base_p, base_q = self._residues(base)
            due.append((base_p, self.q_ % (self.p - 1), self.p))
            due.append((base_q, self.p % (self.q_ - 1), self.q_))
        sides = _by_two(powers_secret_list(due))
        squares = [one for u, v in sides for one in ((u, self.p, self._p2), (v, self.q_, self._q2))]
        return [self.combine_squares(*both) for both in _by_two(powers_secret_list(squares))]

    def pow_mod_squares(self, base: int | mpz, k_p: int | mpz = 1, k_q: int | mpz = 1) -> tuple[mpz, mpz]:
        """(base^((p-1)*k_p) mod p^2, base^((q_-1)*k_q) mod q_^2): Paillier decryption's powers (protocol.md 0.3), blinded."""
        return self.pow_mod_squares_list([(base, k_p, k_q)])[0]

    def pow_mod_squares_list(
        self, powers: Iterable[tuple[int | mpz, int | mpz, int | mpz]]
    ) -> list[tuple[mpz, mpz]]:
        """`pow_mod_squares` of each (base, k_p, k_q); many cost less than one by one where a backend can."""
        return self.pow_mod_squares_half((), powers)[1]

    def pow_mod_squares_half(
        self,
        halves: Iterable[tuple[int | mpz, int | mpz]],
        wholes: Iterable[tuple[int | mpz, int | mpz, int | mpz]] = (),
    ) -> tuple[list[mpz], list[tuple[mpz, mpz]]]:
        """[base^((p-1)*k_p) mod p^2] for `halves` (base, k_p), and `pow_mod_squares_list` of `wholes`, all in one list."""
        due = []
        for base, k_p in halves:
            self._residues(base)
            due.append((base, (self.p - 1) * k_p, self._p2))
        count = len(due)
        for base, k_p, k_q in wholes:
            self._residues(base)
            due.append((base, (self.p - 1) * k_p, self._p2))
            due.append((base, (self.q_ - 1) * k_q, self._q2))
        powers = powers_secret_list(due)
        return powers[:count], _by_two(powers[count:])

    def combine(self, residue_p: mpz, residue_q: mpz) -> mpz:
        """The number in [0, N) with these residues mod p and mod q_."""
        return residue_p + self.p * ((residue_q - residue_p) * self._p_inverse % self.q_)

    def combine_squares(self, residue_p2: mpz, residue_q2: mpz) -> mpz:
        """The number in [0, N^2) with these residues mod p^2 and mod q_^2."""
        return residue_p2 + self._p2 * ((residue_q2 - residue_p2) * self._p2_inverse % self._q2)

    def _residues(self, base: int | mpz) -> tuple[mpz, mpz]:
        base_p, base_q = base % self.p, base % self.q_
        if not base_p or not base_q:
            # Reducing exponents by Fermat holds for units alone.
            raise OutOfDomain("the base of a power shares a factor with the modulus")
        return base_p, base_q

    def __repr__(self) -> str:
        return f"OwnModulus({self.N.bit_length()} bits)"


def _by_two(values: Sequence[mpz]) -> list[tuple[mpz, mpz]]:
    return list(zip(values[::2], values[1::2], strict=True))
