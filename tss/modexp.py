"""Every big modular power of the project goes through here.

Two spellings: `powmod` for exponents that are public, `powmod_secret` for those that are not (security.md E2 in short:
a secret exponent meets only a constant-time power). The owner of a modulus uses `OwnModulus`, which computes modulo its
primes, always in constant time. A long power frees the interpreter lock when the calling thread has set gmpy2's
`allow_release_gil`.
"""

from __future__ import annotations

import gmpy2
from gmpy2 import mpz

from tss.errors import OutOfDomain, ShareCorrupt


def check_unit(value: int | mpz, modulus: int | mpz, what: str) -> None:
    """unit(value, modulus) of protocol.md 5 (P2): 0 < value < modulus and coprime to it.

    Raises OutOfDomain, which names `what`.
    """
    if not 0 < value < modulus:
        raise OutOfDomain(f"{what} is outside (0, modulus)")
    if gmpy2.gcd(value, modulus) != 1:
        raise OutOfDomain(f"{what} shares a factor with the modulus")


def inverse(value: int | mpz, modulus: int | mpz) -> mpz:
    """value^-1 mod modulus. Raises OutOfDomain when there is none."""
    try:
        return gmpy2.invert(value, modulus)
    except ZeroDivisionError:
        raise OutOfDomain("a number has no inverse modulo the modulus") from None


def powmod(base: int | mpz, exponent: int | mpz, modulus: int | mpz) -> mpz:
    """base^exponent mod modulus for a PUBLIC exponent; a negative one raises the inverse.

    Raises OutOfDomain when that inverse does not exist, and for a modulus below 1.
    """
    if modulus < 1:
        raise OutOfDomain("a modulus is not positive")
    if exponent < 0:
        return gmpy2.powmod(inverse(base, modulus), -exponent, modulus)
    return gmpy2.powmod(base, exponent, modulus)


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
    return _power_secret(inverted if exponent < 0 else base, abs(exponent), modulus)


def _power_secret(base: int | mpz, exponent: int | mpz, modulus: int | mpz) -> mpz:
    """The constant-time power, for a modulus that is odd and an exponent that is not negative."""
    if exponent == 0:
        return mpz(1) % modulus
    return gmpy2.powmod_sec(base, exponent, modulus)


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
        base_p, base_q = self._residues(base)
        return self.combine(
            _power_secret(base_p, exponent % (self.p - 1), self.p),
            _power_secret(base_q, exponent % (self.q_ - 1), self.q_),
        )

    def pow_mod_n2(self, base: int | mpz, exponent: int | mpz) -> mpz:
        """base^exponent mod N^2, any signed exponent."""
        self._residues(base)
        return self._combine_squares(
            _power_secret(base % self._p2, exponent % (self._p2 - self.p), self._p2),
            _power_secret(base % self._q2, exponent % (self._q2 - self.q_), self._q2),
        )

    def nth_power(self, base: int | mpz) -> mpz:
        """base^N mod N^2.

        Mod p^2 it is (base^q_)^p, and a p-th power depends only on its base mod p: a power mod p with an exponent below
        p, then one mod p^2 with exponent p, instead of one mod p^2 with an exponent twice as long.
        """
        base_p, base_q = self._residues(base)
        u = _power_secret(base_p, self.q_ % (self.p - 1), self.p)
        v = _power_secret(base_q, self.p % (self.q_ - 1), self.q_)
        return self._combine_squares(_power_secret(u, self.p, self._p2), _power_secret(v, self.q_, self._q2))

    def pow_mod_squares(self, base: int | mpz, k_p: int | mpz = 1, k_q: int | mpz = 1) -> tuple[mpz, mpz]:
        """(base^((p-1)*k_p) mod p^2, base^((q_-1)*k_q) mod q_^2): Paillier decryption's powers (protocol.md 0.3), blinded."""
        self._residues(base)
        return (
            _power_secret(base % self._p2, (self.p - 1) * k_p, self._p2),
            _power_secret(base % self._q2, (self.q_ - 1) * k_q, self._q2),
        )

    def combine(self, residue_p: mpz, residue_q: mpz) -> mpz:
        """The number in [0, N) with these residues mod p and mod q_."""
        return residue_p + self.p * ((residue_q - residue_p) * self._p_inverse % self.q_)

    def _combine_squares(self, residue_p2: mpz, residue_q2: mpz) -> mpz:
        return residue_p2 + self._p2 * ((residue_q2 - residue_p2) * self._p2_inverse % self._q2)

    def _residues(self, base: int | mpz) -> tuple[mpz, mpz]:
        base_p, base_q = base % self.p, base % self.q_
        if not base_p or not base_q:
            # Reducing exponents by Fermat holds for units alone.
            raise OutOfDomain("the base of a power shares a factor with the modulus")
        return base_p, base_q

    def __repr__(self) -> str:
        return f"OwnModulus({self.N.bit_length()} bits)"
