"""Randomizers that are made on the spot, in constant time: the oracle of all others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from gmpy2 import mpz

from tss.modexp import powmod, powmod_secret
from tss.paillier import PaillierPublic, PaillierSecret
from tss.rand import Rng, plus_minus, unit
from tss.ring_pedersen import RingPedersen, RingPedersenSecret

PaillierKey = PaillierPublic | PaillierSecret
PedersenKey = RingPedersen | RingPedersenSecret


@dataclass(frozen=True)
class NoncePair:
    """A nonce r in Z_N* and r^N mod N^2, for one encryption."""

    value: mpz = field(repr=False)
    power: mpz = field(repr=False)


@dataclass(frozen=True)
class MaskPair:
    """A signed a and t^a mod N^, for one commitment."""

    value: mpz = field(repr=False)
    power: mpz = field(repr=False)


class Randomizers:
    """Makes pairs from `rng` when they are asked for. For any thread."""

    def nonce(self, key: PaillierKey, rng: Rng) -> NoncePair:
        """For one encryption under `key`: r uniform in Z_N*."""
        if isinstance(key, PaillierSecret):
            r = unit(rng, key.public.N)
            return NoncePair(r, key.own.nth_power(r))
        r = unit(rng, key.N)
        return NoncePair(r, powmod(r, key.N, key.N2))

    def mask(self, ring: PedersenKey, bound: mpz, rng: Rng) -> MaskPair:
        """For one commitment under `ring`: a uniform in +-bound."""
        a = plus_minus(rng, bound)
        if isinstance(ring, RingPedersenSecret):
            return MaskPair(a, ring.own.pow_mod_n(ring.public.t, a))
        return MaskPair(a, powmod_secret(ring.t, a, ring.N_hat))

    def power_of_s(self, ring: PedersenKey, x: int | mpz) -> mpz:
        """s^x mod N^ for a signed x that was drawn for one proof or one presignature: its time may depend on x."""
        return lasting_power_of_s(ring, x)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


PLAIN: Final = Randomizers()


def lasting_power_of_s(ring: PedersenKey, x: int | mpz) -> mpz:
    """s^x mod N^ for a signed x that lasts, constant time."""
    if isinstance(ring, RingPedersenSecret):
        return ring.own.pow_mod_n(ring.public.s, x)
    return powmod_secret(ring.s, x, ring.N_hat)


def encrypt(key: PaillierKey, m: int | mpz, nonce: NoncePair) -> mpz:
    """enc_N(m; r) for the r of `nonce`, one product."""
    public = key.public if isinstance(key, PaillierSecret) else key
    return (1 + (m % public.N) * public.N) * nonce.power % public.N2
