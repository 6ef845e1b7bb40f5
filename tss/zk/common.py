"""What all proofs share: named checks, bounds, wire integers (protocol.md 5, rules P1-P6)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import gmpy2
from gmpy2 import mpz

from tss.encoding import Integer, Value
from tss.errors import BadPoint, InternalError, OutOfDomain, ProofInvalid, WrongLength
from tss.groups import Point
from tss.modexp import powmod
from tss.paillier import PaillierPublic, PaillierSecret
from tss.params import Suite
from tss.ring_pedersen import RingPedersen, RingPedersenSecret

REDRAWS: Final = 16
"""Attempts of an honest prover. One redraw has probability < 2^-200 at the full level (P4): reaching this bound
means a witness outside its range, which is our bug and must not become an endless loop."""

PaillierKey = PaillierPublic | PaillierSecret
"""A statement names a key; whoever owns it puts the secret form there and gets the same values faster, by its primes."""

PedersenKey = RingPedersen | RingPedersenSecret

Made = TypeVar("Made")


@dataclass(frozen=True)
class Checks:
    """The checks of one verifier. A failure carries the check id `<proof>:<name>` and no peer.

    What kind a failure has: WrongLength for lists, BadPoint for points, OutOfDomain for membership, ProofInvalid for
    ranges and equations.
    """

    proof: str

    def _id(self, name: str) -> str:
        return f"{self.proof}:{name}"

    def length(self, name: str, items: Sequence[object], m: int) -> None:
        """Exactly m items (security.md A3, A7)."""
        if len(items) != m:
            raise WrongLength(
                f"proof {self.proof}: {name} has {len(items)} items where {m} are due",
                check=self._id(f"{name} length"),
            )

    def unit(self, name: str, a: mpz, N: mpz) -> None:
        """(P2) 0 < a < N and gcd(a, N) = 1."""
        self.units(name, [a], N)

    def units(self, name: str, values: Iterable[mpz], N: mpz) -> None:
        """(P2) for all of a list, under one name."""
        if not are_units(values, N):
            raise OutOfDomain(f"proof {self.proof}: {name} is not a unit", check=self._id(f"{name} unit"))

    def ciphertext(self, name: str, C: mpz, N: mpz) -> None:
        """(P2) 0 < C < N^2 and gcd(C, N) = 1."""
        if not is_ciphertext(C, N):
            raise OutOfDomain(
                f"proof {self.proof}: {name} is not a ciphertext", check=self._id(f"{name} ciphertext")
            )

    def below(self, name: str, z: int | mpz, bound: int | mpz) -> None:
        """0 <= z < bound."""
        if not 0 <= z < bound:
            raise OutOfDomain(f"proof {self.proof}: {name} is not reduced", check=self._id(f"{name} range"))

    def point(self, name: str, P: Point) -> None:
        """Not O."""
        if P.is_identity:
            raise BadPoint(f"proof {self.proof}: {name} is the identity", check=self._id(f"{name} identity"))

    def within(self, name: str, z: mpz, bound: mpz) -> None:
        """Whether z lies in {-bound, ..., bound}."""
        if not in_range(z, bound):
            raise ProofInvalid(self.proof, f"{name} range")

    def holds(self, name: str, condition: bool) -> None:  # noqa: FBT001 - the condition is the argument
        """An equation or predicate of the proof."""
        if not condition:
            raise ProofInvalid(self.proof, name)


def is_unit(a: mpz, N: mpz) -> bool:
    """(P2) 0 < a < N and gcd(a, N) = 1."""
    return bool(0 < a < N and gmpy2.gcd(a, N) == 1)


def are_units(values: Iterable[mpz], N: mpz) -> bool:
    """Whether is_unit(a, N) holds for all: a product is coprime to N when all its factors are, so one gcd is enough."""
    product = mpz(1)
    for a in values:
        if not 0 < a < N:
            return False
        product = product * a % N
    return bool(gmpy2.gcd(product, N) == 1)


def is_ciphertext(C: mpz, N: mpz) -> bool:
    """(P2) 0 < C < N^2 and gcd(C, N) = 1."""
    return bool(0 < C < N * N and gmpy2.gcd(C, N) == 1)


def in_range(z: mpz, bound: mpz) -> bool:
    """Whether z lies in {-bound, ..., bound}, both ends included."""
    return bool(-bound <= z <= bound)


def pow2(bits: int) -> mpz:
    """2^bits."""
    return mpz(1) << bits


def natural(suite: Suite) -> Integer:
    """A non-negative integer under the cap of protocol.md 0.5; the verifier checks where it belongs."""
    return Integer(suite.level.max_integer_bits)


def signed(suite: Suite) -> Integer:
    """A signed integer under the cap of protocol.md 0.5; the verifier checks its range."""
    return Integer(suite.level.max_integer_bits, signed=True)


def until_in_range(proof: str, attempt: Callable[[], Made | None]) -> Made:
    """Repeat `attempt` until its responses lie in their ranges (P4)."""
    for _ in range(REDRAWS):
        made = attempt()
        if made is not None:
            return made
    raise InternalError(f"proof {proof}: the witness is outside its range")


def modulus(key: PaillierKey) -> mpz:
    """N."""
    return key.public.N if isinstance(key, PaillierSecret) else key.N


def ring_items(ring: PedersenKey) -> list[Value]:
    """[N^, s, t] as statements list them."""
    return list((ring.public if isinstance(ring, RingPedersenSecret) else ring).as_list())


def ring_modulus(ring: PedersenKey) -> mpz:
    """N^."""
    return ring.public.N_hat if isinstance(ring, RingPedersenSecret) else ring.N_hat


def cipher_power(key: PaillierKey, C: mpz, x: int | mpz) -> mpz:
    """C^x mod N^2 for a public x."""
    if isinstance(key, PaillierSecret):
        return key.own.pow_mod_n2(C, x)
    return key.otimes(x, C)


def cipher_power_secret(key: PaillierKey, C: mpz, x: int | mpz) -> mpz:
    """C^x mod N^2 for a secret x."""
    if isinstance(key, PaillierSecret):
        return key.own.pow_mod_n2(C, x)
    return key.otimes_secret(x, C)


def cipher_product(key: PaillierKey, C: mpz, D: mpz) -> mpz:
    """C*D mod N^2."""
    return (key.public if isinstance(key, PaillierSecret) else key).oplus(C, D)


def ring_power(ring: PedersenKey, base: mpz, exponent: int | mpz) -> mpz:
    """base^exponent mod N^ for a public exponent."""
    if isinstance(ring, RingPedersenSecret):
        return ring.own.pow_mod_n(base, exponent)
    return powmod(base, exponent, ring.N_hat)


def masked_unit(r: mpz, rho: mpz, e: int, key: PaillierKey) -> mpz:
    """The response r * rho^e mod N for a nonce of encryption; e is public."""
    N = modulus(key)
    if isinstance(key, PaillierSecret):
        return r * key.own.pow_mod_n(rho, e) % N
    return r * powmod(rho, e, N) % N
