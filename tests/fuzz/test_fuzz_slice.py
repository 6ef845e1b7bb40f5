"""A slice of `make fuzz` in the usual run: a few mutations of every target's inputs, the same ones each time."""

from __future__ import annotations

import warnings
from random import Random

import pytest
from fuzz_mutate import damaged
from fuzz_table import TARGETS, corpus_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EXAMPLES = {"session": 8, "proof": 15, "settings": 15, "committee": 15, "messages": 25}
"""By the first word of a target's name; those that cost more get fewer."""
USUAL = 50
MAX_BYTES = 1000


@pytest.mark.attack("E7")
@pytest.mark.parametrize("name", TARGETS)
def test_mutations_are_judged_by_the_decoders_own_errors(name):
    target = TARGETS[name]
    kept = sorted((file.read_bytes() for file in corpus_of(name)), key=len)
    inputs = [data for data in kept if len(data) <= MAX_BYTES] or kept[:1]

    @settings(
        derandomize=True, deadline=None, database=None, max_examples=EXAMPLES.get(name.split("-")[0], USUAL),
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.sampled_from(inputs), st.integers(0, 1 << 32), st.integers(1, 3))
    def judge(data: bytes, seed: int, times: int) -> None:
        rng = Random(seed)
        for _ in range(times):
            known = target.mutate if target.mutate is not None and rng.random() < 0.6 else damaged
            data = known(data, rng)[: target.max_len]
        assert target.run(data)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        judge()
