"""A megabyte where a number is due: every integer of every message of every protocol, found in what honest parties send.

    for field in fields("presign"):
        outcomes, seconds = attempt(field)      # party 2, or the field's sender, says 2^(8*10^6) there

Lists of many equal items are tried at their last one.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any
from unittest.mock import patch

from cggmp24_cheating import reports
from cggmp24_testing import Signers, dealt_key, run_aux, run_keygen, run_refresh
from lying_presigner import AnotherDelta
from session_testing import Anything, Outcomes, says, tells
from tss_testing import TINY
from zk_cases import put

from tss.cggmp24 import identify, presign
from tss.cggmp24.sign import SignRequest
from tss.effects import SessionContext
from tss.encoding import decode
from tss.envelope import Body, Kind
from tss.errors import ProtocolError
from tss.session import Session

HUGE = 1 << 8_000_000
MANY = 14
CHEATER = 2
REQUEST = SignRequest(hashlib.sha256(b"message").digest())
TWO, THREE = Signers((1, 2), 2), Signers((1, 2, 3), 3)


def another_delta(ctx: SessionContext) -> Any:
    return presign._rounds(TWO.presigning(ctx, AnotherDelta), 1, None)


Run = Callable[..., Outcomes]
RUNS: dict[str, tuple[Run, Callable[[int], bool]]] = {
    "keygen": (partial(run_keygen, 2, 2), bool),
    "aux": (partial(run_aux, 2), bool),
    "refresh": (partial(run_refresh, [dealt_key(TINY, 2, 2)]), bool),
    "presign": (TWO.presign, bool),
    "full-sign": (partial(TWO.full_sign, REQUEST), lambda round_: round_ == 4),
    "sign by two": (partial(TWO.stock_sign, REQUEST), lambda _: True),
    "sign by three": (partial(THREE.stock_sign, REQUEST), lambda _: True),
    "failed nonce": (
        partial(TWO.presign, programs={CHEATER: another_delta}),
        lambda round_: round_ == identify.ROUND,
    ),
}
"""Each protocol, and the rounds that are its own."""


@dataclass(frozen=True)
class Field:
    """Where an integer stands: in which message, and at which place of it."""

    protocol: str
    sender: int
    round: int
    to: int | None
    path: tuple[int, ...]

    def __str__(self) -> str:
        way = "to all" if self.to is None else "to one"
        return (
            f"{self.protocol}, party {self.sender}, round {self.round} {way}, {'.'.join(map(str, self.path))}"
        )


@cache
def fields(protocol: str) -> tuple[Field, ...]:
    """All integers that the protocol sends: those of the cheater, and those that only the owner sends."""
    run, own = RUNS[protocol]
    bodies: list[Body] = []
    run(seed="fields", bodies=bodies)
    found: dict[tuple[Any, ...], Field] = {}
    for body in sorted(bodies, key=lambda body: body.sender.index != CHEATER):
        if body.kind is not Kind.MSG or not own(body.round):
            continue
        value = decode(body.payload, Anything(TINY.group))
        if body.to is None and (body.round > 0 or value[0] is None):
            value = value[1]
        elif body.round == 0:
            continue
        to = None if body.to is None else body.to.index
        for path in integers(value):
            field = Field(protocol, body.sender.index, body.round, to, path)
            found.setdefault((body.round, to is None, path), field)
    return tuple(found.values())


def integers(value: Any, path: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
    """The paths of all integers of a value; of a long list those of its last item."""
    if isinstance(value, int):
        yield path
    elif isinstance(value, list):
        for place, item in enumerate(value):
            if len(value) <= MANY or place == len(value) - 1:
                yield from integers(item, (*path, place))


@dataclass(frozen=True)
class Refusal:
    """How long the thread of an honest party computed, from an envelope's arrival on."""

    found: float
    """Until the fault was found: the message is refused."""
    told: float
    """Until the complaint with its evidence was ready to be posted."""


def attempt(field: Field, new: Any = HUGE) -> tuple[Outcomes, Refusal]:
    """Run the protocol with `new` in this field: how it ended, and the slowest refusal of an honest party."""

    def change(value: Any) -> Any:
        return put(value, field.path, new)

    rule = says(field.round, change) if field.to is None else tells(field.round, change, to=field.to)
    with refusals() as found:
        outcomes = RUNS[field.protocol][0](seed=str(field), tamper={field.sender: [rule]}, drop=reports)
    return outcomes, max(found, key=lambda one: one.found)


@contextmanager
def refusals() -> Iterator[list[Refusal]]:
    """A refusal for each `receive` that ends its session with an error, or `completed` where jobs were under way."""
    refused: list[Refusal] = []
    failed_at: dict[int, float] = {}
    fail = Session._fail

    def timed(call: Callable[[Session, Any], Any]) -> Callable[[Session, Any], Any]:
        def measured(session: Session, given: Any) -> Any:
            began = time.thread_time()
            try:
                return call(session, given)
            finally:
                if id(session) in failed_at:
                    refused.append(Refusal(failed_at.pop(id(session)) - began, time.thread_time() - began))

        return measured

    def failing(session: Session, error: ProtocolError) -> None:
        failed_at.setdefault(id(session), time.thread_time())
        fail(session, error)

    with (
        patch.object(Session, "receive", timed(Session.receive)),
        patch.object(Session, "completed", timed(Session.completed)),
        patch.object(Session, "_fail", failing),
    ):
        yield refused
