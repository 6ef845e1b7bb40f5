"""Ring-Pedersen commitments (protocol.md 0.4): com(x; r) = s^x t^r mod N^."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import gmpy2
from gmpy2 import mpz

from tss.errors import BadPedersen, OutOfDomain, ShareCorrupt
from tss.modexp import FixedBase, OwnModulus, check_unit, powmod, powmod_secret
from tss.paillier import check_modulus
from tss.params import SecurityLevel
from tss.primes import check_own_primes, safe_prime
from tss.rand import Rng, randbelow, unit

_TABLE: Final = 2048
# Values in a table modulo a prime: for 128 powers, making it included, the best size (found by measurement).


@dataclass(frozen=True)
class RingPedersen:
    """Parameters (N^, s, t). In a proof to party j, j's are used."""

    N_hat: mpz
    s: mpz
    t: mpz

    def as_list(self) -> list[mpz]:
        """[N^, s, t], as statements and hashes list them."""
        return [self.N_hat, self.s, self.t]

    def check(self, level: SecurityLevel) -> None:
        """The checks of protocol.md 2.1 that need no proof.

        2: N^ is odd and exactly 2*pb bits long (BadModulusSize). 4: s and t are units, neither 1 nor N^-1, and differ
        (BadPedersen).
        """
        check_modulus(self.N_hat, level, "N^")
        for name, value in (("s", self.s), ("t", self.t)):
            try:
                check_unit(value, self.N_hat, name)
            except OutOfDomain as error:
                raise BadPedersen(error.what) from None
            if value in (1, self.N_hat - 1):
                raise BadPedersen(f"{name} is 1 or -1")
        if self.s == self.t:
            raise BadPedersen("s equals t")

    def commit(self, x: int | mpz, r: int | mpz) -> mpz:
        """com(x; r) for a SECRET opening, constant time; x and r are signed."""
        return powmod_secret(self.s, x, self.N_hat) * powmod_secret(self.t, r, self.N_hat) % self.N_hat

    def commit_public(self, x: int | mpz, r: int | mpz) -> mpz:
        """com(x; r) for a PUBLIC opening (a proof's responses), variable time."""
        return powmod(self.s, x, self.N_hat) * powmod(self.t, r, self.N_hat) % self.N_hat

    def check_commitment(self, S: int | mpz, what: str) -> None:
        """unit(S, N^). Raises OutOfDomain, which names `what`."""
        check_unit(S, self.N_hat, what)


class RingPedersenSecret:
    """The owner of (N^, s, t): the safe primes p, q_ and lam with s = t^lam. `repr` hides them.

    Needed for Π^prm, and afterwards, sealed, only to verify faster under one's own N^. Raises ShareCorrupt for a t that is
    no unit.
    """

    def __init__(self, p: int | mpz, q_: int | mpz, lam: int | mpz, t: int | mpz) -> None:
        self.own = OwnModulus(p, q_)
        self.lam = mpz(lam)
        try:
            s = self.own.pow_mod_n(t, self.lam)
        except OutOfDomain:
            raise ShareCorrupt("ring-Pedersen parameters: t is not a unit") from None
        self.public = RingPedersen(self.own.N, s, mpz(t))
        # t is a square, so its order divides the odd number p'q' = phi/4 with p = 2p'+1, q_ = 2q'+1.
        self.order_bound = self.own.phi // 4

    @classmethod
    def generate(
        cls, level: SecurityLevel, rng: Rng, primes: tuple[int | mpz, int | mpz] | None = None
    ) -> Self:
        """Fresh parameters of `level` from two safe primes of pb bits, searched with `rng` unless given.

        The primes must not be those of any other modulus. Raises ShareCorrupt for primes that `check` refuses.
        """
        p, q_ = primes or (safe_prime(level.pb, rng), safe_prime(level.pb, rng))
        check_own_primes(p, q_, level.pb)
        own = OwnModulus(p, q_)
        while True:
            tau = unit(rng, own.N)
            t = tau * tau % own.N
            # lambda < floor(phi/4), the order of the squares: 0 and 1 give parameters that every peer refuses.
            lam = randbelow(rng, own.phi // 4)
            if lam > 1 and t != 1:
                return cls(p, q_, lam, t)

    @property
    def p(self) -> mpz:
        """The first prime, secret."""
        return self.own.p

    @property
    def q_(self) -> mpz:
        """The second prime, secret."""
        return self.own.q_

    @property
    def phi(self) -> mpz:
        """Euler's phi of N^, secret: the range of Π^prm's masks."""
        return self.own.phi

    def check(self, level: SecurityLevel) -> None:
        """Raise ShareCorrupt unless the primes are fit to be our own, t is a square and s, t pass as a peer's would."""
        check_own_primes(self.p, self.q_, level.pb)
        if gmpy2.legendre(self.public.t, self.p) != 1 or gmpy2.legendre(self.public.t, self.q_) != 1:
            raise ShareCorrupt("ring-Pedersen parameters: t is not a square")
        if not 0 <= self.lam < self.order_bound:
            raise ShareCorrupt("ring-Pedersen parameters: lambda is out of range")
        try:
            self.public.check(level)
        except BadPedersen as error:
            raise ShareCorrupt(f"ring-Pedersen parameters: {error.what}") from None

    def commit(self, x: int | mpz, r: int | mpz) -> mpz:
        """com(x; r), the same value as `public.commit`: one power of t, by the primes, constant time."""
        return self.own.pow_mod_n(self.public.t, (self.lam * x + r) % self.order_bound)

    def commit_public(self, x: int | mpz, r: int | mpz) -> mpz:
        """The same as `commit`: lambda and the primes are secret whatever the opening is."""
        return self.commit(x, r)

    def are_squares(self, values: Sequence[mpz], blind: mpz) -> bool:
        """Whether every value is a square mod N^: nothing else is a product of powers of s and t.

        `blind` is a random unit that nobody else knows. Its powers multiply the values before these meet the primes, for
        the time of a Legendre symbol depends on both its numbers.
        """
        N_hat = self.public.N_hat
        for value in values:
            blind = blind * blind % N_hat
            blinded = value * blind % N_hat
            if (
                gmpy2.legendre(blinded % self.p, self.p) != 1
                or gmpy2.legendre(blinded % self.q_, self.q_) != 1
            ):
                return False
        return True

    def powers_of_t(self, exponents: Sequence[int | mpz]) -> list[mpz]:
        """[t^a mod N^ for a in exponents] (the A_i of Π^prm) for EPHEMERAL a >= 0, each drawn for one proof.

        From tables modulo the primes: the time depends on the a.
        """
        own, t = self.own, self.public.t
        sides = [FixedBase(t % prime, prime, int(prime.bit_length()), _TABLE) for prime in (own.p, own.q_)]
        return [own.combine(*(side.power(a % (side.modulus - 1)) for side in sides)) for a in exponents]

    def __repr__(self) -> str:
        return f"RingPedersenSecret({self.public.N_hat.bit_length()} bits)"
