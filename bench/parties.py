"""Parties in one process, each with its own clock: what a session of the real engine costs one party alone.

Sessions, signatures, seals and echoes are the real ones; between them stands a list instead of a gateway. Nothing is stored, and
computations run one after the other in the only thread.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import nacl.bindings

from bench.keys import SUITE
from tss.effects import Protocol, SessionContext, run_serially
from tss.encoding import Value
from tss.envelope import PartyId
from tss.params import Suite
from tss.session import Member, Outgoing, Round0, Runtime, Session, Setup

T = TypeVar("T")
Program = Callable[[SessionContext], Protocol[Any]]


@dataclass
class Party:
    """One party, across sessions: what it is, and what it has spent."""

    point: int
    role: str = "holder"
    identity: bytes = field(init=False)
    secret: bytes = field(init=False, repr=False)
    session: Session | None = None
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Processor time by the phase of the session in which it was spent."""
    bytes_sent: int = 0

    def __post_init__(self) -> None:
        self.identity, self.secret = nacl.bindings.crypto_sign_seed_keypair(os.urandom(32))

    @property
    def party(self) -> PartyId:
        """Its name in a session."""
        return PartyId(self.role, self.point)

    @property
    def ms(self) -> float:
        """What it has spent since `reset`, in milliseconds."""
        return 1000 * sum(self.seconds.values())

    def sign(self, message: bytes) -> bytes:
        """64 bytes by its identity."""
        return nacl.bindings.crypto_sign(message, self.secret)[:64]

    def reset(self) -> None:
        """Nothing spent yet."""
        self.seconds.clear()
        self.bytes_sent = 0

    def charged(self, call: Callable[[], T]) -> T:
        """Do it at this party's expense."""
        phase = "before" if self.session is None else self.session.phase
        began = time.thread_time()
        result = call()
        self.seconds[phase] += time.thread_time() - began
        return result


def committee(size: int, role: str = "holder") -> list[Party]:
    """Parties at the evaluation points 1 to `size`."""
    return [Party(point, role) for point in range(1, size + 1)]


@dataclass(frozen=True)
class Agreed:
    """What the proposal of a session has fixed."""

    kind: str
    tail: Sequence[Value]
    round0: Round0 = Round0.BLOCKING
    ph: bytes = field(default_factory=lambda: os.urandom(32))
    suite: Suite = SUITE


def run_session(parties: Sequence[Party], agreed: Agreed, programs: Mapping[int, Program]) -> dict[int, Any]:
    """One session of all `parties` to its end, each at its own expense: {I_j: result}. Raises what a session ends with."""
    results = run_all(parties, agreed, [programs[party.point] for party in parties])
    return {party.point: result for party, result in zip(parties, results, strict=True)}


def run_all(parties: Sequence[Party], agreed: Agreed, programs: Sequence[Program]) -> list[Any]:
    """The same of parties whose points may be equal, where their roles are not: programs and results in their order."""
    members = tuple(Member(party.party, party.identity) for party in parties)
    posted: deque[tuple[Party, bytes]] = deque()

    def post(sender: Party, out: Sequence[Outgoing]) -> None:
        for outgoing in out:
            sender.bytes_sent += len(outgoing.envelope)
            for recipient in parties:
                if recipient is not sender and outgoing.to in (None, recipient.party):
                    posted.append((recipient, outgoing.envelope))

    for party, program in zip(parties, programs, strict=True):
        party.session = None
        setup = Setup(agreed.suite, agreed.kind, party.party, members, agreed.ph, agreed.tail, agreed.round0)
        runtime = Runtime(os.urandom, party.sign, lambda _record: None)
        party.session = party.charged(partial(Session, setup, program, runtime))
    for party in parties:
        post(party, party.charged(_session(party).start))
    while True:
        for party in parties:
            session = _session(party)
            while session.jobs:
                results = party.charged(partial(run_serially, session.jobs))
                post(party, party.charged(partial(session.completed, results)))
        if not posted:
            break
        party, envelope = posted.popleft()
        if not _session(party).finished:
            post(party, party.charged(partial(_session(party).receive, envelope)))
    for party in parties:
        error = _session(party).error
        if error is not None or not _session(party).finished:
            raise error or RuntimeError(f"party {party.point} waits in {_session(party).phase}")
    return [_session(party).result for party in parties]


def _session(party: Party) -> Session:
    if party.session is None:
        raise RuntimeError("a party has no session yet")
    return party.session
