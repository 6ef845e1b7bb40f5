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
from tss.effects import Compute, Protocol, Received
from tss.encoding import Value
from tss.envelope import PartyId
from tss.errors import PeerFault
from tss.groups import Point
from tss.paillier import PaillierSecret
from tss.params import SecurityLevel
from tss.rand import Rng, randbelow
from tss.zk.batch import Batch, Own, Plaintexts, decrypt_all

WRAP_BITS: Final = 136
"""A plaintext beyond a prime looks small modulo that prime with probability 2^-WRAP_BITS and less."""

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


Said1 = dict[PartyId, list[Round1] | None]
"""What each peer said to all in round 1, its form and ranges checked; None where that failed."""

Gathered1 = dict[PartyId, tuple[list[Round1], Batch] | None]
"""The same with its proofs; None where a check failed."""


def gather_said1(case: Presigned, received: Mapping[PartyId, Received]) -> Protocol[Said1]:
    """Check 1 of round 1 of everybody."""
    said = yield Compute(
        [partial(_said1, case, j, r.broadcast) for j, r in received.items()],
        brief=all(len(r.broadcast) == 1 for r in received.values()),
    )
    return dict(zip(received, said, strict=True))


def gather_round1(
    case: Presigned, i: PartyId, rng: Rng, said: Said1, received: Mapping[PartyId, Received]
) -> Protocol[Gathered1]:
    """What checks 2 and 3 need of everybody but `i`."""
    gathered = yield Compute(
        [partial(_gather1, case, i, j, rng, said[j], r.p2p) for j, r in received.items()],
        brief=all(len(r.p2p) == 1 for r in received.values()),
    )
    return dict(zip(received, gathered, strict=True))


def verify_round1(
    gathered: Gathered1, received: Mapping[PartyId, Received], single: Single[Round1]
) -> Protocol[Verified[Round1]]:
    """Checks 2 and 3, and all checks one by one where one failed. Raises PeerFault, the first by item and peer."""
    passed = yield from _settle(gathered, {})
    together = {j: found[0] for j, found in gathered.items() if found is not None and j in passed}
    return (yield from _complete(received, together, single))


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

    A plaintext that was computed modulo one prime is used once the batch that it belongs to has passed.
    """
    decrypt = partial(_decrypt, _ceiling(case.ctx.suite.level, rng))
    known = {item.K: mpz(item.k) for item in items}
    gathered = yield Compute(
        [partial(_gather2, case, i, j, rng, items, said, r) for j, r in received.items()],
        brief=len(items) == 1,
    )
    batches = dict(zip(received, gathered, strict=True))
    passed = yield from _settle(
        batches, {j: Own(own, known, _masked(r), decrypt) for j, r in received.items()}
    )

    def opened(k: int, j: PartyId) -> Opened:
        Gamma_j = single(k, j)
        D, _, D_hat, *_ = received[j].p2p[k]
        return Opened(Gamma_j, own.dec(D), own.dec(D_hat))

    together = {
        j: [
            Opened(Gamma_j, plaintexts[told[0]], plaintexts[told[2]])
            for Gamma_j, told in zip(batches[j][0], received[j].p2p, strict=True)
        ]
        for j, plaintexts in passed.items()
    }
    return (yield from _complete(received, together, opened))


def _settle(
    batches: Mapping[PartyId, tuple[Any, Batch] | None], own: Mapping[PartyId, Own]
) -> Protocol[dict[PartyId, Plaintexts]]:
    """The peers whose batches hold, each with the plaintexts that its batch has vouched for."""
    tests = [
        (j, test)
        for j, gathered in batches.items()
        if gathered is not None
        for test in gathered[1].tests(own.get(j))
    ]
    results = (yield Compute([test for _, test in tests])) if tests else []
    failed = {j for (j, _), opened in zip(tests, results, strict=True) if opened is None}
    passed: dict[PartyId, Plaintexts] = {}
    for (j, _), opened in zip(tests, results, strict=True):
        if j not in failed:
            passed[j] = {**passed.get(j, {}), **opened}
    return passed


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


def _said1(case: Presigned, j: PartyId, broadcast: Sequence[list[Value]]) -> list[Round1] | None:
    try:
        return [check_said1(case, k, j, value) for k, value in enumerate(broadcast)]
    except PeerFault:
        return None


def _gather1(
    case: Presigned,
    i: PartyId,
    j: PartyId,
    rng: Rng,
    said: list[Round1] | None,
    told: Sequence[Sequence[list[Value]]],
) -> tuple[list[Round1], Batch] | None:
    if said is None:
        return None
    batch = Batch()
    try:
        for k, proofs in enumerate(told):
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


def _masked(received: Received) -> list[mpz]:
    """D and D^ of every item."""
    return [C for told in received.p2p for C in (told[0], told[2])]


def _decrypt(
    ceiling: mpz | None, own: PaillierSecret, masked: Sequence[mpz], C: mpz
) -> tuple[Plaintexts, mpz]:
    """Plaintexts of `masked`, to be tested by the batch, and that of C."""
    if ceiling is None:
        return decrypt_all(own, masked, C)
    mod_p, (m,) = own.dec_mod_p(masked, [C])
    opened = dict(zip(masked, mod_p, strict=True))
    beyond = [D for D, alpha in opened.items() if not -ceiling <= alpha <= ceiling]
    return opened | dict(zip(beyond, own.dec_list(beyond), strict=True)), m
