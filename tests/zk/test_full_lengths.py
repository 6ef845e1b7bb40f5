"""Proofs that repeat, at the real number of repetitions (protocol.md 0.2: m = 128): no list of another length is verified."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tss_testing import TESTING_TINY, TINY
from zk_cases import Case, case, put, through_wire, verify
from zk_cases import prove as prove_case

from tss.errors import SchemaViolation, WrongLength
from tss.params import LEVEL_128, Suite

M = LEVEL_128.m
REAL = Suite(TINY.proto, TINY.group, replace(TESTING_TINY, m=M))
LISTS = {"mod": (1,), "prm": (0, 1), "dec": (0, 1), "aff-g*": (0, 1)}
"""Where the lists of m items stand in the proofs on the wire."""


@pytest.fixture(scope="module", params=list(LISTS))
def proven(request) -> tuple[Case, list[object]]:
    one = case(request.param, REAL)
    return one, prove_case(one)


@pytest.mark.attack("A3")
@pytest.mark.attack("A7")
@pytest.mark.parametrize("count", [M - 1, 1, 0, M + 1])
def test_no_other_number_of_repetitions(proven, count) -> None:
    assert M == 128
    one, value = proven
    verify(one, through_wire(one, value).to_value())
    shortened = value
    for place in LISTS[one.name]:
        items = value[place]
        other = (items * 2)[:count]
        shortened = put(shortened, (place,), other)
        alone = put(value, (place,), other)
        for false in (alone, shortened):
            with pytest.raises(WrongLength) as caught:
                verify(one, false)
            assert caught.value.check.startswith(f"{one.name}:")
            with pytest.raises(SchemaViolation):
                through_wire(one, false)
