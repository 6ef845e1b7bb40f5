from __future__ import annotations

import pytest
from tss_testing import SeededRng

from tss.hedge import FRESH_BYTES, hedged


def constant(n: int) -> bytes:
    return bytes(n)


USES = [
    (1, ["isid", "a", 1]),
    (2, ["isid", "a", 1]),
    (1, ["other", "a", 1]),
    (1, ["isid", "b", 1]),
    (1, ["isid", "a", 2]),
    (1, ["isid", "a"]),
    (1, ["isid", ["a", 1]]),
]


@pytest.mark.attack("E1")
def test_uses_that_differ_share_nothing_though_the_source_repeats_itself() -> None:
    drawn = [hedged(constant, secret, use)(64) for secret, use in USES]
    blocks = {stream[at : at + 16] for stream in drawn for at in range(0, 64, 16)}
    assert len(blocks) == 4 * len(USES)


@pytest.mark.attack("E1")
def test_one_use_draws_anew_from_a_source_that_does_not() -> None:
    rng = SeededRng("hedge")
    assert hedged(rng, 1, ["isid"])(32) != hedged(rng, 1, ["isid"])(32)


def test_the_same_of_everything_gives_the_same() -> None:
    one, other = (hedged(SeededRng("hedge"), 1, ["isid"]) for _ in range(2))
    assert [one(n) for n in (1, 32, 480)] == [other(n) for n in (1, 32, 480)]


def test_a_stream_never_repeats_and_is_as_long_as_asked() -> None:
    stream = hedged(constant, 1, [])
    drawn = [stream(32) for _ in range(100)]
    assert len(set(drawn)) == 100
    assert [len(stream(n)) for n in (0, 1, 33, 1000)] == [0, 1, 33, 1000]


def test_the_source_gives_so_many_bytes_once() -> None:
    asked: list[int] = []

    def source(n: int) -> bytes:
        asked.append(n)
        return bytes(n)

    stream = hedged(source, 1, [])
    stream(100)
    stream(100)
    assert asked == [FRESH_BYTES] == [32]
