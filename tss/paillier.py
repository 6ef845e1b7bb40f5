"""Paillier encryption (protocol.md 0.3): (1 + m*N) * r^N mod N^2."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

import gmpy2
from gmpy2 import mpz

from tss.blinding import Blinding, Mask
from tss.errors import BadModulusSize, OutOfDomain, ShareCorrupt
from tss.modexp import OwnModulus, check_unit, inverse, powmod, powmod_secret
from tss.params import SecurityLevel
from tss.primes import check_own_primes, safe_prime
from tss.rand import Rng, unit


@dataclass(frozen=True)
class PaillierPublic:
    """A public key: the modulus N. Values `m`, `x` are signed integers of any size, ciphertexts lie in (0, N^2)."""

    N: mpz
    N2: mpz = field(init=False, repr=False, compare=False)
    half: mpz = field(init=False, repr=False, compare=False)
    """floor(N/2): plaintexts are centred, in [-half, half]."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "N", mpz(self.N))
        object.__setattr__(self, "N2", self.N * self.N)
        object.__setattr__(self, "half", self.N // 2)

    def check(self, level: SecurityLevel) -> None:
        """Raise BadModulusSize unless N is odd and exactly 2*pb bits long (protocol.md 2.1 check 2)."""
        check_modulus(self.N, level, "N")

    def check_ciphertext(self, C: int | mpz, what: str) -> None:
        """ct(C, N) of protocol.md 5 (P2): 0 < C < N^2 and gcd(C, N) = 1. Raises OutOfDomain, which names `what`."""
        if not 0 < C < self.N2:
            raise OutOfDomain(f"{what} is outside (0, N^2)")
        if gmpy2.gcd(C, self.N) != 1:
            raise OutOfDomain(f"{what} shares a factor with N")

    def check_nonce(self, r: int | mpz, what: str) -> None:
        """unit(r, N). Raises OutOfDomain, which names `what`."""
        check_unit(r, self.N, what)

    def nonce(self, rng: Rng) -> mpz:
        """A fresh r, uniform in Z_N*."""
        return unit(rng, self.N)

    def enc(self, m: int | mpz, r: int | mpz) -> mpz:
        """enc_N(m; r) for r in Z_N*. The exponent is the public N."""
        return (1 + (m % self.N) * self.N) * powmod(r, self.N, self.N2) % self.N2

    def oplus(self, C: mpz, D: mpz) -> mpz:
        """A ciphertext of the sum of the plaintexts."""
        return C * D % self.N2

    def ominus(self, C: mpz, D: mpz) -> mpz:
        """A ciphertext of the difference of the plaintexts. Raises OutOfDomain when D is not a ciphertext."""
        return C * inverse(D, self.N2) % self.N2

    def otimes(self, x: int | mpz, C: int | mpz) -> mpz:
        """The ciphertext x (.) C = C^x for a PUBLIC x, variable time."""
        return powmod(C, x, self.N2)

    def otimes_secret(self, x: int | mpz, C: int | mpz) -> mpz:
        """The ciphertext x (.) C = C^x for a SECRET x, constant time."""
        return powmod_secret(C, x, self.N2)


class PaillierSecret:
    """The key's owner: the primes p and q_. Raises ShareCorrupt unless gcd(N, phi) = 1. `repr` hides the primes."""

    def __init__(self, p: int | mpz, q_: int | mpz) -> None:
        self.own = OwnModulus(p, q_)
        self.public = PaillierPublic(self.own.N)
        p, q_ = self.own.p, self.own.q_
        self._h_p = inverse(-q_, p)
        self._h_q = inverse(-p, q_)
        self._blinding = Blinding(self.own)
        try:
            self._nonce_exponent = inverse(self.own.N, self.own.phi)
        except OutOfDomain:
            raise ShareCorrupt("Paillier key: gcd(N, phi) is not 1") from None

    @classmethod
    def generate(
        cls, level: SecurityLevel, rng: Rng, primes: tuple[int | mpz, int | mpz] | None = None
    ) -> Self:
        """A fresh key of `level` from two safe primes of pb bits, searched with `rng` unless given.

        Raises ShareCorrupt for primes that `check` refuses.
        """
        p, q_ = primes or (safe_prime(level.pb, rng), safe_prime(level.pb, rng))
        check_own_primes(p, q_, level.pb)
        return cls(p, q_)

    @property
    def p(self) -> mpz:
        """The first prime, secret."""
        return self.own.p

    @property
    def q_(self) -> mpz:
        """The second prime, secret."""
        return self.own.q_

    def check(self, level: SecurityLevel) -> None:
        """Raise ShareCorrupt unless the primes are fit to be our own (protocol.md 0.3, security.md B10).

        They must be distinct safe primes of pb bits, = 3 mod 4, top two bits set, more than 2^(pb-100) apart.
        """
        check_own_primes(self.p, self.q_, level.pb)

    def enc(self, m: int | mpz, r: int | mpz) -> mpz:
        """enc_N(m; r), the same value as `public.enc`, faster."""
        N = self.public.N
        return (1 + (m % N) * N) * self.own.nth_power(r) % self.public.N2

    def dec(self, C: int | mpz) -> mpz:
        """The centred plaintext, in [-floor(N/2), floor(N/2)]. Raises OutOfDomain when C is no ciphertext.

        Base, plaintext and exponents are blinded (`tss.blinding`): the value is that of protocol.md 0.3, the time another's.
        """
        return self.dec_list([C])[0]

    def dec_list(self, ciphertexts: Iterable[int | mpz]) -> list[mpz]:
        """`dec` of each; many cost less than one by one where the powers' backend can."""
        return self.dec_mod_p((), ciphertexts)[1]

    def dec_mod_p(
        self, halves: Iterable[int | mpz], wholes: Iterable[int | mpz] = ()
    ) -> tuple[list[mpz], list[mpz]]:
        """Of `halves` the plaintexts mod p, centred: dec itself where that lies in +-p/2, for half the work; dec of `wholes`.

        All of them are blinded, and in one list of powers. Nothing here shows that a plaintext lies there: whoever uses a
        half for dec has to test it otherwise. Raises OutOfDomain when one is no ciphertext.
        """
        p, q_, N = self.own.p, self.own.q_, self.public.N
        blind_halves = [self._blinded(C) for C in halves]
        blind_wholes = [self._blinded(C) for C in wholes]
        powers_p, powers = self.own.pow_mod_squares_half(
            [(C, mask.k_p) for C, mask in blind_halves],
            [(C, mask.k_p, mask.k_q) for C, mask in blind_wholes],
        )
        mod_p, plaintexts = [], []
        # dec(C*enc(a)) - a; L(C^((p-1)*k)) is k*L(C^(p-1)) mod p.
        for (_, mask), u_p in zip(blind_halves, powers_p, strict=True):
            m = ((u_p - 1) // p * (self._h_p * inverse(mask.k_p, p)) - mask.a) % p
            mod_p.append(m - p if m > p // 2 else m)
        for (_, mask), (u_p, u_q) in zip(blind_wholes, powers, strict=True):
            m_p = (u_p - 1) // p * (self._h_p * inverse(mask.k_p, p)) % p
            m_q = (u_q - 1) // q_ * (self._h_q * inverse(mask.k_q, q_)) % q_
            m = (self.own.combine(m_p, m_q) - mask.a) % N
            plaintexts.append(m - N if m > self.public.half else m)
        return mod_p, plaintexts

    def _blinded(self, C: int | mpz) -> tuple[mpz, Mask]:
        self.public.check_ciphertext(C, "ciphertext")
        mask = self._blinding.draw(mpz(C))
        return self.public.oplus(mpz(C), mask.factor), mask

    def extract_nonce(self, C: int | mpz) -> mpz:
        """The rho with enc(dec(C); rho) = C. Raises OutOfDomain when C is no ciphertext."""
        self.public.check_ciphertext(C, "ciphertext")
        return self.own.pow_mod_n(C % self.public.N, self._nonce_exponent)

    def __repr__(self) -> str:
        return f"PaillierSecret({self.public.N.bit_length()} bits)"


def check_modulus(N: int | mpz, level: SecurityLevel, what: str) -> None:
    """Raise BadModulusSize unless `N` is odd and exactly 2*pb bits long (protocol.md 2.1 check 2)."""
    bits = int(gmpy2.bit_length(mpz(N)))
    if N <= 0 or bits != level.modulus_bits:
        raise BadModulusSize(f"{what} has {bits} bits, exactly {level.modulus_bits} are due")
    if N % 2 == 0:
        raise BadModulusSize(f"{what} is even")
