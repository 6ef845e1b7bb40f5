"""Two computations of one protocol at once, so that every core has its part and fewer stages follow each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from tss.effects import Compute, Job, Protocol
from tss.errors import InternalError

A = TypeVar("A")
B = TypeVar("B")
T = TypeVar("T")


@dataclass(frozen=True)
class _Held:
    """An exception that a job raised, as a result like any other."""

    error: Exception


class _Side(Generic[T]):
    """A generator that yields nothing but Compute, with its stage at hand. `jobs` is empty when it has ended."""

    def __init__(self, work: Protocol[T]) -> None:
        self._work = work
        self.jobs: Sequence[Job] = ()
        self.value: T | None = None

    def resume(self, results: list[Any] | None) -> None:
        """On to the next stage; None begins. Raises what the generator raises."""
        self.jobs = ()
        try:
            effect = self._work.send(results)
            while isinstance(effect, Compute) and not effect.jobs:
                effect = self._work.send([])
        except StopIteration as ended:
            self.value = ended.value
            return
        if not isinstance(effect, Compute):
            raise InternalError(f"{type(effect).__name__} is nothing that goes alongside something else")
        self.jobs = effect.jobs


@dataclass
class Begun(Generic[T]):
    """A computation whose first stage is done. What it raised is kept until it counts."""

    side: _Side[T]
    failed: Exception | None


def begin(work: Protocol[T]) -> Protocol[Begun[T]]:
    """Do the first stage of what goes on alongside something else later. Raises nothing that `work` raises."""
    side = _Side(work)
    failed = _go_on(side, None)
    if side.jobs:
        results = yield Compute([partial(_hold, job) for job in side.jobs])
        failed = _go_on(side, results)
    return Begun(side, failed)


def alongside(deciding: Protocol[A], other: Begun[B]) -> Protocol[tuple[A, B]]:
    """Both, stage by stage: the jobs of two stages are one Compute.

    What `deciding` raises ends both. What `other` raises is raised when `deciding` has ended well, so that a fault of a
    peer is found by the check that is for it, whatever else its message breaks.
    """
    first, second, failed = _Side(deciding), other.side, other.failed
    first.resume(None)
    while first.jobs or second.jobs:
        count = len(first.jobs)
        results = yield Compute([*first.jobs, *(partial(_hold, job) for job in second.jobs)])
        if count:
            first.resume(results[:count])
        if second.jobs:
            failed = _go_on(second, results[count:])
    if failed is not None:
        raise failed
    return first.value, second.value  # type: ignore[return-value]  # both have ended


def _hold(job: Job) -> Any:
    try:
        return job()
    except Exception as error:  # noqa: BLE001 - raised when its time has come
        return _Held(error)


def _go_on(side: _Side[Any], results: list[Any] | None) -> Exception | None:
    """What ended it, if something did."""
    held = next((result.error for result in results or () if isinstance(result, _Held)), None)
    if held is not None:
        side.jobs = ()
        return held
    try:
        side.resume(results)
    except Exception as error:  # noqa: BLE001 - as above
        return error
    return None
