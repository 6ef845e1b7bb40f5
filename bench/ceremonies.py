"""Key generation, auxiliary information, and the primes that it takes."""

from __future__ import annotations

import os
import time
from functools import partial
from statistics import median
from typing import Final

from bench.keys import SUITE, kept_primes
from bench.measure import Figures, Reference, Topic
from bench.parties import Agreed, committee, run_session
from tss.cggmp24 import aux_info, keygen
from tss.primes import expected_tests, search_safe_prime

KEYS: Final = 20
AUX_RUNS: Final = 1
PRIME_TESTS: Final = 3000
"""Candidates: between 10 and 20 s."""


def _keygen(reference: Reference) -> Figures:
    """The curve part, 3 of 5: what all five parties spend together."""
    n, t = 5, 3
    parties, spent = committee(n), []
    reference.sample()
    for _ in range(KEYS):
        for party in parties:
            party.reset()
        programs = {party.point: partial(keygen.keygen, t=t) for party in parties}
        run_session(parties, Agreed(keygen.KIND, keygen.tail(n, t)), programs)
        spent.append(sum(party.ms for party in parties))
    reference.sample()
    return {"keygen_ec_5": median(spent)}


def four_primes(primes: list[int], j: int) -> tuple[int, int, int, int]:
    p, q_, p_hat, q_hat = primes[4 * j - 4 : 4 * j]
    return p, q_, p_hat, q_hat


def _aux(reference: Reference) -> Figures:
    """Three parties, without the search of primes: what one of them spends."""
    n = 3
    primes = kept_primes(4 * n)
    parties, spent = committee(n), []
    reference.sample()
    for _ in range(AUX_RUNS):
        for party in parties:
            party.reset()
        programs = {
            j: partial(aux_info.aux_info, take_primes=partial(four_primes, primes, j))
            for j in range(1, n + 1)
        }
        run_session(parties, Agreed(aux_info.KIND, aux_info.tail(None)), programs)
        spent += [party.ms for party in parties]
        reference.sample()
    return {"aux_2of3": median(spent)}


def _safe_prime(reference: Reference) -> Figures:
    """The expected time of a search: time a candidate, sieving included, over the probability that one is a hit."""
    bits, tests = SUITE.level.pb, 0

    def count(more: int) -> None:
        nonlocal tests
        tests += more

    spent = 0.0
    reference.sample()
    while tests < PRIME_TESTS:
        began = time.thread_time()
        search_safe_prime(bits, os.urandom, count)
        spent += time.thread_time() - began
        reference.sample(1)
    reference.sample()
    return {"safe_prime": 1000 * spent / tests * expected_tests(bits)}


TOPICS: Final = (
    Topic(("safe_prime",), "ms", _safe_prime),
    Topic(("aux_2of3",), "ms", _aux),
    Topic(("keygen_ec_5",), "ms", _keygen),
)
