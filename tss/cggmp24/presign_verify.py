"""How a signer verifies rounds 1 and 2 of presigning: all proofs of one peer together, one by one only when that fails.

The checks are those of `presign_checks`. What fails together is verified item by item, which alone decides, blames, and is
what a third party repeats.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar

from gmpy2 import mpz

from tss.cggmp24.presign_checks import (
    Presigned,
    Round1,
    check_said1,
    check_said2,
    check_told1,
    check_told2,
)
from tss.effects import Compute, Job, Protocol, Received
from tss.envelope import PartyId
from tss.errors import PeerFault
from tss.groups import Point
from tss.paillier import PaillierSecret
from tss.params import SecurityLevel
from tss.rand import Rng, randbelow
from tss.zk.batch import Batch, Plaintexts
from tss.zk.common import is_ciphertext

WRAP_BITS: Final = 136
"""A plaintext beyond a prime looks small modulo that prime with probability 2^-WRAP_BITS and less."""

DECRYPTING_JOBS: Final = 4
"""Few, for many decryptions together may cost less; more than one, for there is more than one core."""

HIDING_BITS: Final = 128
"""That a plaintext is beyond a random ceiling depends on this signer's k with probability 2^-HIDING_BITS and less."""

V = TypeVar("V")
Single = Callable[[int, PartyId], V]
"""The check of item k of peer j by itself. Raises PeerFault."""
Verified = dict[tuple[int, PartyId], V]
"""What the checks of each item of each peer yield."""


@dataclass(frozen=True)
class OwnK:
    """K_i of one item and its plaintext k_i, for the time between rounds 1 and 3."""

    K: mpz
    k: int = field(repr=False)


@dataclass(frozen=True)
class Opened:
    """Gamma_j, and the plaintexts of D_{i,j} and D^_{i,j}."""

    Gamma: Point
    alpha: mpz = field(repr=False)
    alpha_hat: mpz = field(repr=False)


def verify_round1(
    case: Presigned, i: PartyId, rng: Rng, received: Mapping[PartyId, Received], single: Single[Round1]
) -> Protocol[Verified[Round1]]:
    """Checks 1 to 3 of round 1 of everybody but `i`. Raises PeerFault, the first by item and peer."""
    gathered = yield Compute([partial(_gather1, case, i, j, rng, r) for j, r in received.items()])
    batches = dict(zip(received, gathered, strict=True))
    passed = yield from _settle(batches, {})
    return (yield from _complete(received, {j: batches[j][0] for j in passed}, single))


def verify_round2(
    case: Presigned,
    i: PartyId,
    rng: Rng,
    own: PaillierSecret,
    items: Sequence[OwnK],
    said: Verified[Round1],
    received: Mapping[PartyId, Received],
    single: Single[Point],
) -> Protocol[Verified[Opened]]:
    """Checks 1 to 6 of round 2 of everybody but `i`, and the decryptions that round 3 begins with.

    A plaintext computed modulo one prime is a claim until the batch that it belongs to has passed.
    """
    ceiling = _ceiling(case.ctx.suite.level, rng)
    masked = [C for r in received.values() for told in r.p2p for C in (told[0], told[2])]
    size = -(-len(masked) // DECRYPTING_JOBS)
    jobs: list[Job] = [partial(_gather2, case, i, j, rng, items, said, r) for j, r in received.items()]
    jobs += [partial(_open, own, masked[at : at + size], ceiling) for at in range(0, len(masked), size)]
    done = yield Compute(jobs)
    batches = dict(zip(received, done[: len(received)], strict=True))
    claimed: dict[mpz, mpz] = {C: m for opened in done[len(received) :] for C, m in opened.items()}
    known = {item.K: mpz(item.k) for item in items}
    plaintexts = {
        j: Plaintexts(own, known, {C: claimed[C] for told in received[j].p2p for C in (told[0], told[2])})
        for j, gathered in batches.items()
        if gathered is not None
    }
    passed = yield from _settle(batches, plaintexts)

    def opened(k: int, j: PartyId) -> Opened:
        Gamma_j = single(k, j)
        D, _, D_hat, *_ = received[j].p2p[k]
        return Opened(Gamma_j, own.dec(D), own.dec(D_hat))

    together = {
        j: [
            Opened(Gamma_j, claimed[told[0]], claimed[told[2]])
            for Gamma_j, told in zip(batches[j][0], received[j].p2p, strict=True)
        ]
        for j in passed
    }
    return (yield from _complete(received, together, opened))


def _settle(
    batches: Mapping[PartyId, tuple[Any, Batch] | None], plaintexts: Mapping[PartyId, Plaintexts]
) -> Protocol[list[PartyId]]:
    """The peers whose batches hold."""
    whose: list[PartyId] = []
    tests: list[Job] = []
    for j, gathered in batches.items():
        if gathered is not None:
            made = gathered[1].tests(plaintexts.get(j))
            whose += [j] * len(made)
            tests += made
    results = (yield Compute(tests)) if tests else []
    failed = {j for j, holds in zip(whose, results, strict=True) if not holds}
    return [j for j, gathered in batches.items() if gathered is not None and j not in failed]


def _complete(
    received: Mapping[PartyId, Received], together: Mapping[PartyId, Sequence[V]], single: Single[V]
) -> Protocol[Verified[V]]:
    """Verify one by one what did not pass together, in the order of items and peers, so that the same one is blamed."""
    batch = max(len(r.p2p) for r in received.values())
    verified = {(k, j): value for j, values in together.items() for k, value in enumerate(values)}
    left = [(k, j) for k in range(batch) for j in received if j not in together]
    if left:
        values = yield Compute([partial(single, k, j) for k, j in left])
        verified |= dict(zip(left, values, strict=True))
    return verified


def _gather1(
    case: Presigned, i: PartyId, j: PartyId, rng: Rng, received: Received
) -> tuple[list[Round1], Batch] | None:
    batch = Batch()
    try:
        said = [check_said1(case, k, j, value) for k, value in enumerate(received.broadcast)]
        for k, proofs in enumerate(received.p2p):
            check_told1(case, k, j, i, said[k], proofs, batch)
    except PeerFault:
        return None
    batch.close(rng)
    return said, batch


def _gather2(
    case: Presigned,
    i: PartyId,
    j: PartyId,
    rng: Rng,
    items: Sequence[OwnK],
    said: Verified[Round1],
    received: Received,
) -> tuple[list[Point], Batch] | None:
    batch, Gamma = Batch(), []
    try:
        for k, (value, told) in enumerate(zip(received.broadcast, received.p2p, strict=True)):
            Gamma.append(check_said2(case, k, j, said[k, j], value))
            check_told2(case, k, j, i, items[k].K, value, told, batch)
    except PeerFault:
        return None
    batch.close(rng)
    return Gamma, batch


def _ceiling(level: SecurityLevel, rng: Rng) -> mpz | None:
    """Up to where a plaintext modulo one prime is taken for the plaintext; None at a level whose primes are too short.

    An honest one is smaller always: |alpha| < 2^(l'+1). Whoever chooses a larger mask sees by the time that its plaintext
    is beyond the ceiling, and a fixed one would tell it a bit of k. So the ceiling is drawn anew for each session, from a
    range 2^HIDING_BITS times as wide as k*x can be, and far enough below the primes to say nothing of them either.
    """
    spread = level.pb - WRAP_BITS
    if spread < max(2 * level.l + level.eps + HIDING_BITS, level.l_prime + 2):
        return None
    return (mpz(1) << level.l_prime + 1) + randbelow(rng, mpz(1) << spread)


def _open(own: PaillierSecret, masked: Sequence[mpz], ceiling: mpz | None) -> dict[mpz, mpz]:
    """Plaintexts, to be tested by the batch, of those that are ciphertexts."""
    valid = [C for C in masked if is_ciphertext(C, own.public.N)]
    if ceiling is None:
        return dict(zip(valid, own.dec_list(valid), strict=True))
    opened = dict(zip(valid, own.dec_mod_p(valid), strict=True))
    beyond = [C for C, m in opened.items() if not -ceiling <= m <= ceiling]
    return opened | dict(zip(beyond, own.dec_list(beyond), strict=True))
