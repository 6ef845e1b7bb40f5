"""Small things on the curve alone: Shamir's sharing of a 256-bit secret, 3 of 5, and Schnorr's proof."""

from __future__ import annotations

import os
from functools import partial
from typing import Final

from bench.keys import SUITE
from bench.measure import Figures, Reference, Topic, cpu_ms
from tss.rand import scalar
from tss.transcript import Context
from tss.vss import Polynomial, interpolate
from tss.zk import sch

N: Final = 5
THRESHOLD: Final = 3
TIMES: Final = 500


def _shamir(reference: Reference) -> Figures:
    group = SUITE.group
    secret = scalar(os.urandom, group.q)

    def split() -> dict[int, int]:
        f = Polynomial.random(group, THRESHOLD, os.urandom, secret)
        return {j: f.evaluate(j) for j in range(1, N + 1)}

    shares = dict(list(split().items())[-THRESHOLD:])
    reference.sample()
    figures = {
        "shamir_split": cpu_ms(split, TIMES),
        "shamir_combine": cpu_ms(partial(interpolate, shares, 0, group.q), TIMES),
    }
    reference.sample()
    return figures


def _schnorr(reference: Reference) -> Figures:
    group, rng = SUITE.group, os.urandom
    x = scalar(rng, group.q)
    context = Context(rng(32), ["holder", 1], None, None, "bench")
    statement = sch.Statement(x * group.G)
    prove = partial(sch.prove, SUITE, context, statement, sch.Witness(x), rng)
    reference.sample()
    figures = {
        "zkp_prove": cpu_ms(prove, TIMES),
        "zkp_verify": cpu_ms(partial(sch.verify, SUITE, context, statement, prove()), TIMES),
    }
    reference.sample()
    return figures


TOPICS: Final = (
    Topic(("shamir_split", "shamir_combine"), "ms", _shamir),
    Topic(("zkp_prove", "zkp_verify"), "ms", _schnorr),
)
