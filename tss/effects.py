"""What a protocol may ask of the engine.

A protocol is a generator that yields these and is resumed with their results. It reaches out in no other way.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tss.encoding import Schema, Value
from tss.envelope import Kind, PartyId, Signed

T = TypeVar("T")

Job = Callable[[], Any]
"""A pure computation, safe to run in another thread. Raises only tss.errors.ProtocolError and its kind."""


class Echo(enum.Enum):
    """How the parties make sure that they saw the same broadcasts (protocol.md 0.8)."""

    BLOCKING = "blocking"
    """The protocol goes on only after all echoes of this round are in and equal."""
    NEXT = "next"
    """The echo travels inside the next broadcast and is checked with it."""
    NONE = "none"
    """What the round says is bound and verified otherwise (sigma rounds, done)."""


@dataclass(frozen=True)
class Send:
    """Send one round: a broadcast, peer-to-peer payloads, or both."""

    round: int
    broadcast: Value = None
    p2p: Mapping[PartyId, Value] = field(default_factory=dict, repr=False)
    kind: Kind = Kind.MSG


@dataclass(frozen=True)
class Receive:
    """Wait for one round from `senders` (all others when None). Resumed with {PartyId: Received}."""

    round: int
    broadcast: Schema | None = None
    p2p: Schema | None = None
    echo: Echo = Echo.NEXT
    senders: Sequence[PartyId] | None = None
    kind: Kind = Kind.MSG


@dataclass(frozen=True)
class Received:
    """What one party sent in one round."""

    broadcast: Value
    p2p: Value = field(repr=False)
    signed_broadcast: Signed | None = None
    signed_p2p: Signed | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Compute:
    """Run jobs, in any order and in parallel. Resumed with the list of their results.

    When jobs raise, the protocol gets the exception of the first of them in list order, so that the outcome does not
    depend on scheduling.
    """

    jobs: Sequence[Job]


@dataclass(frozen=True)
class Persist:
    """Make `record` durable; the protocol goes on only when it is. Resumed with what the store returns."""

    record: object


@dataclass(frozen=True)
class Progress:
    """For people: what is going on."""

    stage: str


Effect = Send | Receive | Compute | Persist | Progress

Protocol = Generator[Effect, Any, T]


def run_serially(jobs: Sequence[Job]) -> list[Any | BaseException]:
    """Run jobs one after the other: each result, or the exception that the job raised."""
    return [run_job(job) for job in jobs]


def run_job(job: Job) -> Any | BaseException:
    """Run one job: its result, or the exception that it raised (given back, so that list order decides)."""
    try:
        return job()
    except Exception as error:  # noqa: BLE001 - handed to the protocol, which re-raises it
        return error
