"""Keys at full size without the ceremonies: shares by a dealer, moduli of primes that are searched once and kept.

The kept primes are in bench/.cache, readable by anybody who can read this directory: they are for measuring, never for keys.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

from gmpy2 import mpz

from tss.cggmp24.presignature import Presignature, PresignaturePublic
from tss.paillier import PaillierSecret
from tss.params import CGGMP24_SECP256K1
from tss.primes import safe_prime
from tss.rand import randbelow, scalar, unit
from tss.records import AuxPublic, AuxSet, KeyShare
from tss.ring_pedersen import RingPedersenSecret
from tss.vss import Polynomial, lagrange

SUITE: Final = CGGMP24_SECP256K1
PRIMES: Final = Path(__file__).with_name(".cache") / "primes.json"


def kept_primes(count: int) -> list[int]:
    """`count` different safe primes of the full size; those that lack are searched, some seconds each, and kept."""
    try:
        known = [int(text, 16) for text in json.loads(PRIMES.read_text())]
    except FileNotFoundError:
        known = []
    while len(known) < count:
        print(f"searching prime {len(known) + 1} of {count}, once", file=sys.stderr)
        known.append(int(safe_prime(SUITE.level.pb, os.urandom)))
        PRIMES.parent.mkdir(exist_ok=True)
        partial = PRIMES.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps([hex(prime) for prime in known]))
        partial.replace(PRIMES)
    return known[:count]


@cache
def key_shares(n: int, t: int) -> dict[int, KeyShare]:
    """The same ones at every call."""
    return deal_key(n, t)


def deal_key(n: int, t: int) -> dict[int, KeyShare]:
    """{I_j: share} of a fresh key, by a dealer."""
    rng, group = os.urandom, SUITE.group
    f = Polynomial.random(group, t, rng)
    public = {j: group.mul_base(f.evaluate(j)) for j in range(1, n + 1)}
    key_id, epoch, code = (rng(32) for _ in range(3))
    X = group.mul_base(f.coefficients[0])
    return {j: KeyShare(SUITE, key_id, epoch, t, j, X, public, code, f.evaluate(j)) for j in public}


@cache
def aux_sets(n: int) -> dict[int, AuxSet]:
    """{I_j: aux set} of a committee."""
    own = {j: _own_parameters(*kept_primes(4 * j)[-4:]) for j in range(1, n + 1)}
    public = {j: AuxPublic(paillier.public.N, *ring.public.as_list()) for j, (paillier, ring) in own.items()}
    aux_id = os.urandom(32)
    return {j: AuxSet(SUITE, aux_id, j, public, *own[j]) for j in own}


@cache
def _own_parameters(p: int, q_: int, p_hat: int, q_hat: int) -> tuple[PaillierSecret, RingPedersenSecret]:
    """Unchecked: checking primes takes seconds, and these were found by the search."""
    N_hat, rng = mpz(p_hat) * q_hat, os.urandom
    t = unit(rng, N_hat) ** 2 % N_hat
    lam = 2 + randbelow(rng, (p_hat - 1) * (q_hat - 1) // 4 - 2)
    return PaillierSecret(p, q_), RingPedersenSecret(p_hat, q_hat, lam, t)


def deal_presignature(
    shares: dict[int, KeyShare], signers: Sequence[int], owner: int
) -> dict[int, Presignature]:
    """{I_j: its half} of a fresh presignature, by a dealer."""
    rng, group, q, share = os.urandom, SUITE.group, SUITE.group.q, shares[signers[0]]
    gamma = 1 + scalar(rng, q - 1)
    inverse, x = pow(gamma, -1, q), sum(lagrange(signers, j, 0, q) * shares[j].x for j in signers)
    k, chi = ({j: scalar(rng, q) for j in signers} for _ in range(2))
    first = signers[0]
    k[first] = (k[first] + inverse - sum(k.values())) % q
    chi[first] = (chi[first] + inverse * x - sum(chi.values())) % q
    Gamma = group.mul_base(gamma)
    public = PresignaturePublic(
        id=rng(32), sid=rng(32), key_id=share.key_id, share_epoch=share.share_epoch, aux_id=rng(32), owner=owner,
        signers=tuple(signers), X=share.X, Gamma=Gamma,
        Delta={j: k[j] * Gamma for j in signers}, S={j: chi[j] * Gamma for j in signers},
    )  # fmt: skip
    return {j: Presignature(SUITE, j, public, k[j], chi[j]) for j in signers}
