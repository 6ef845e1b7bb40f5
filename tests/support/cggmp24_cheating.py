"""Parties that cheat inside the protocols of tss/cggmp24, and verdicts on how runs with them end.

A cheater is one of three: a rule on its messages (`says`, `tells` of session_testing), a context that lies to its own
protocol (`lying`: what it hashes, what its proofs are bound to, what its dice show), or a hand in the protocol between
two effects (`meddling`, or `Presigning` subclassed).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from after_failure import assert_stopped
from session_testing import (
    Committee,
    Node,
    Outcomes,
    Posted,
    Program,
    Tamper,
    assert_judged,
    can_be_judged,
)

from tss.effects import Durable, Effect, Protocol, SessionContext
from tss.envelope import Kind, PartyId
from tss.errors import AbortedByPeer, PeerFault, ProtocolError, Timeout
from tss.rand import Rng
from tss.transcript import Context

# -- cheating ----------------------------------------------------------------------------------------------------


Values = tuple[Any, ...]


@dataclass(frozen=True)
class LyingContext(SessionContext):
    """A context whose hashes and proof contexts are not what the protocol asked for."""

    hashes: Mapping[str, Callable[[Values], Sequence[Any]]] = field(default_factory=dict)
    proofs: Mapping[str, Callable[[Context], Context]] = field(default_factory=dict)

    def hc(self, tag: str, *values: Any) -> bytes:
        return super().hc(tag, *self.hashes.get(tag, lambda same: same)(values))

    def proof(self, label: str, prover: PartyId, *rest: Any, **more: Any) -> Context:
        context = super().proof(label, prover, *rest, **more)
        return self.proofs[label](context) if label in self.proofs and prover == self.me else context


def lying(
    program: Program,
    *,
    hashes: Mapping[str, Callable[[Values], Sequence[Any]]] | None = None,
    proofs: Mapping[str, Callable[[Context], Context]] | None = None,
    rng: Callable[[Rng], Rng] = lambda same: same,
) -> Program:
    """`program` in a context that lies: hashes by tag, its own proofs' contexts by label, its dice."""

    def start(ctx: SessionContext) -> Protocol[Any]:
        return program(
            LyingContext(
                ctx.suite,
                ctx.sid,
                ctx.me,
                ctx.identities,
                rng(ctx.rng),
                accepted=ctx.accepted,
                hashes=hashes or {},
                proofs=proofs or {},
            )
        )

    return start


def loaded(draws: Mapping[int, bytes]) -> Callable[[Rng], Rng]:
    """Dice that show `draws` at these calls (counted from 0) of a party's randomness."""

    def load(rng: Rng) -> Rng:
        calls = iter(range(1 << 30))

        def roll(size: int) -> bytes:
            honest, call = rng(size), next(calls)
            drawn = draws.get(call, honest)
            assert len(drawn) == size, f"draw {call} is of {size} bytes"
            return drawn

        return roll

    return load


def meddling(program: Program, change: Callable[[Effect, Mapping[str, Any]], Effect]) -> Program:
    """`program` whose effects pass through `change`, which also sees the protocol's own variables."""

    def start(ctx: SessionContext) -> Protocol[Any]:
        generator = program(ctx)
        result: Any = None
        while True:
            try:
                effect = generator.send(result)
            except StopIteration as stop:
                return stop.value
            result = yield change(effect, dict(generator.gi_frame.f_locals))

    return start


# -- verdicts ----------------------------------------------------------------------------------------------------


def reports(posted: Posted) -> bool:
    """Complaints and aborts: dropped, so that everybody goes on for as long as it sees no fault itself."""
    return posted.kind in (Kind.COMPLAINT, Kind.ABORT)


@dataclass(frozen=True)
class Cheat:
    """One lie, and what is to come of it. `by` are exactly those who can see it."""

    id: str
    error: type[PeerFault]
    check: str
    by: tuple[int, ...]
    tamper: tuple[Tamper, ...] = ()
    program: Program | None = None


def assert_caught(cheat: Cheat, cheater: int, run: Callable[..., Outcomes]) -> Outcomes:
    """The lie is seen by exactly `cheat.by`, who blame `cheater` for exactly this check; nobody else is blamed.

    Run twice: deaf to complaints, so that everybody has to see for itself, and as it is, where everybody who is told blames
    it too. All evidence is judged guilty by somebody who was not there. Returns the deaf run.
    """
    options: dict[str, Any] = {"tamper": {cheater: list(cheat.tamper)}}
    if cheat.program is not None:
        options["programs"] = {cheater: cheat.program}
    deaf = run(seed=(cheat.id, "deaf"), drop=reports, **options)
    assert _accusers(deaf, cheat, cheater) == set(cheat.by), errors_of(deaf)
    for node in deaf.honest:
        assert node.blamed or node.error is None or type(node.error) is Timeout, errors_of(deaf)
        assert_stopped(node, cheat.id, ahead=0)
    told = run(seed=(cheat.id, "told"), **options)
    accusers = _accusers(told, cheat, cheater)
    assert accusers & set(cheat.by), errors_of(told)
    for node in told.honest:
        # After its own `done` nobody listens to complaints any more (protocol.md 0.8).
        late = type(node.error) is Timeout and node.error.phase.endswith(".done")
        unjudged = isinstance(node.error, AbortedByPeer) and not can_be_judged(told, cheat.check)
        assert node.blamed or late or unjudged, errors_of(told)
    return deaf


def _accusers(outcomes: Outcomes, cheat: Cheat, cheater: int) -> set[int]:
    """Who blames, after a look at whom, for what, and that the evidence convinces a third party."""
    accusers = set()
    for node in outcomes.honest:
        if node.blamed is not None:
            assert isinstance(node.error, PeerFault)
            found = (type(node.error), node.error.peer, node.error.check)
            assert found == (cheat.error, cheater, cheat.check), errors_of(outcomes)
            assert any(body.sender.index == cheater for body in outcomes.evidence(node.party))
            if can_be_judged(outcomes, cheat.check):
                assert_judged(outcomes, node)
            accusers.add(node.party.index)
    return accusers


def errors_of(outcomes: Outcomes) -> dict[int, ProtocolError | None]:
    return {node.party.index: node.error for node in outcomes.honest}


def durable(node: Node) -> list[Any]:
    """What a party made durable together with an envelope, in order."""
    return [record.record for record in node.records if isinstance(record, Durable)]


PH = b"\x70" * 32
"""The proposal's hash of every committee made here."""


@contextmanager
def driven(committee: Committee) -> Iterator[Committee]:
    """A committee that a test drives by hand; its invariants are checked in the end."""
    yield committee
    committee.settle()
    committee.expire()
    committee.settle()
    committee.check()


def changed(value: Sequence[Any], place: int, new: Any) -> list[Any]:
    """A copy of a list with another item; a function gets the old one."""
    copied = list(value)
    copied[place] = new(copied[place]) if callable(new) else new
    return copied


def relabelled(**fields: Any) -> Callable[[Context], Context]:
    """A proof bound to another place."""
    return lambda context: replace(context, **fields)


MISPLACED: Mapping[str, Callable[[Context], Context]] = {
    "another session": relabelled(sid=b"\x11" * 32),
    "another prover": relabelled(prover=["holder", 9]),
    "another role": relabelled(prover=["dealer", 2]),
    "another verifier": relabelled(verifier=["holder", 9]),
    "another rid": relabelled(rid=b"\x11" * 32),
    "another label": relabelled(label="other"),
}
"""Where a replayed proof may come from (protocol.md 7, security.md A4)."""
