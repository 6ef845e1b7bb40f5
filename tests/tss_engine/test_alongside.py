"""Two generators at once: stages meet in one Compute, results go back, and whose exception decides."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tss.alongside import alongside, begin
from tss.effects import Compute, Progress, Protocol, run_serially
from tss.errors import Degenerate, InternalError, PeerFault, ProofInvalid


def staged(name: str, *stages: int) -> Protocol[list[Any]]:
    """So many jobs in each stage; all their results."""
    found: list[Any] = []
    for number, count in enumerate(stages):
        found += yield Compute([lambda k=k, number=number: f"{name}{number}{k}" for k in range(count)])
    return found


def raising(error: Exception, *, in_job: bool, before: int = 0) -> Protocol[None]:
    def fail() -> None:
        raise error

    yield from staged("before", *[1] * before)
    if not in_job:
        raise error
    yield Compute([fail, lambda: 2])


def drive(work: Protocol[Any]) -> tuple[Any, list[int]]:
    """Its value, and the sizes of the stages. An exception of a job is thrown in, as a session does."""
    sizes: list[int] = []
    resume: Callable[[], Any] = partial(next, work)
    while True:
        try:
            effect = resume()
        except StopIteration as ended:
            return ended.value, sizes
        sizes.append(len(effect.jobs))
        results = run_serially(effect.jobs)
        failed = [result for result in results if isinstance(result, BaseException)]
        resume = partial(work.throw, failed[0]) if failed else partial(work.send, results)


def together(deciding: Protocol[Any], other: Protocol[Any]) -> Protocol[Any]:
    """The first stage of `other`, then both."""
    begun = yield from begin(other)
    return (yield from alongside(deciding, begun))


@pytest.mark.parametrize(
    ("one", "two", "sizes"),
    [
        ((2, 1), (3,), [3, 2, 1]),
        ((1,), (1, 2, 1), [1, 3, 1]),
        ((2, 1), (4, 3, 2), [4, 5, 3]),
        ((), (1, 1), [1, 1]),
        ((1, 0, 1), (0, 2, 0, 5), [2, 6, 1]),
        ((1,), (), [1]),
        ((), (), []),
    ],
)
def test_stages_meet_and_each_gets_its_results(one, two, sizes):
    (first, second), met = drive(together(staged("a", *one), staged("b", *two)))
    assert met == sizes
    assert first == [f"a{s}{k}" for s, count in enumerate(one) for k in range(count)]
    assert second == [f"b{s}{k}" for s, count in enumerate(two) for k in range(count)]


@pytest.mark.parametrize("in_job", [True, False])
@pytest.mark.parametrize("before", [0, 2])
@pytest.mark.parametrize("others", [0, 1])
def test_what_decides_ends_both(in_job, before, others):
    fault = ProofInvalid("enc", "equation").blame(3, "presign.r1")
    other = raising(Degenerate("later"), in_job=True, before=others)
    with pytest.raises(PeerFault) as caught:
        drive(together(raising(fault, in_job=in_job, before=before), other))
    assert caught.value is fault


@pytest.mark.parametrize("in_job", [True, False])
@pytest.mark.parametrize("before", [0, 1])
def test_what_the_other_raises_waits_until_the_deciding_one_has_ended(in_job, before):
    ended = []

    def deciding() -> Protocol[None]:
        yield from staged("a", 1, 1, 1)
        ended.append(True)

    with pytest.raises(Degenerate, match="of the other"):
        drive(together(deciding(), raising(Degenerate("of the other"), in_job=in_job, before=before)))
    assert ended == [True]


def test_only_computing_goes_alongside():
    def talking() -> Protocol[None]:
        yield Progress("talks")

    for pair in ((talking(), staged("a", 1)), (staged("a", 1), talking()), (staged("a", 2), talking())):
        with pytest.raises(InternalError, match="Progress is nothing"):
            drive(together(*pair))
