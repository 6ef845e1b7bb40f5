"""All members of a committee in this one process: real sessions, each with its own store, and a relay between them.

What a session may send through a gateway it sends to the relay, byte for byte. Whoever reads this process's memory has all
the shares: for a quick start, and for nothing that is worth more.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from kit.cores import usable_cores
from participant.committee import Committee
from participant.identity import NodeKeys
from participant.node.persistence import public_of
from participant.node.workers import free_the_lock_in_powers
from participant.store import NewAux, NewShare, NewState, Store
from tss.cggmp24 import aux_info, keygen
from tss.cggmp24.completion import STEPS, Certificate
from tss.cggmp24.completion import NewState as RunState
from tss.effects import Durable, Protocol, SessionContext, run_job
from tss.encoding import Value
from tss.envelope import PartyId, holder
from tss.errors import AbortedByPeer, InternalError
from tss.params import Suite
from tss.proposal import REQUEST_ID_BYTES, Proposal
from tss.records import AuxSet, KeyShare
from tss.session import AllAccepted, Member, Outgoing, Runtime, Session, SessionStarted, Setup

PROPOSAL_SECONDS: Final = 3600

WORDS: Final = ("agreeing", "round 1", "round 2", "round 3", "confirming", "done")

Report = Callable[[int, int, str, str], None]
"""(steps done, steps of the run, what is going on, details that change all the time)."""


@dataclass(frozen=True)
class LocalMember:
    """One party: its open store with its identity."""

    store: Store
    keys: NodeKeys = field(repr=False)
    party: PartyId


@contextmanager
def arithmetic() -> Iterator[ThreadPoolExecutor]:
    """Threads for the sessions' computations, one a core."""
    with ThreadPoolExecutor(usable_cores(), initializer=free_the_lock_in_powers) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


class LocalCommittee:
    """Runs ceremonies among all members. Their stores know the committee already."""

    def __init__(
        self, committee: Committee, stores: Sequence[Store], suite: Suite, pool: ThreadPoolExecutor
    ) -> None:
        """`stores` by index."""
        self._committee = committee
        self._suite = suite
        self._pool = pool
        self._members = [
            LocalMember(store, store.identity(), holder(index + 1)) for index, store in enumerate(stores)
        ]

    def make_aux(self, report: Report) -> list[AuxSet]:
        """Auxiliary information, from the primes in each member's pool; by index. Raises ProtocolError."""

        def program(member: LocalMember) -> Callable[[SessionContext], Protocol[AuxSet]]:
            def take_primes() -> tuple[int, int, int, int]:
                bits = self._suite.level.pb
                first, second, third, fourth = member.store.primes.take(4, bits)
                return first, second, third, fourth

            return lambda ctx: aux_info.aux_info(ctx, take_primes)

        return self._run(aux_info.KIND, None, aux_info.tail(None), program, report)

    def make_key(self, account_id: str, aux_id: bytes, report: Report) -> list[KeyShare]:
        """A key for the committee's threshold; its shares by index. Raises ProtocolError."""
        n, t = self._committee.n, self._committee.threshold

        def program(_: LocalMember) -> Callable[[SessionContext], Protocol[KeyShare]]:
            return lambda ctx: keygen.keygen(ctx, t, aux_id)

        return self._run(keygen.KIND, account_id, keygen.tail(n, t), program, report)

    def _run(
        self,
        kind: str,
        account_id: str | None,
        tail: list[Value],
        program: Callable[[LocalMember], Callable[[SessionContext], Protocol[Any]]],
        report: Report,
    ) -> list[Any]:
        committee_id = self._committee.committee_id
        proposal = Proposal(
            initiator=self._members[0].party,
            committee_id=committee_id,
            account_id=account_id,
            kind=kind,
            request_id=os.urandom(REQUEST_ID_BYTES),
            tail=tail,
            message=None,
            expiry=int(time.time()) + PROPOSAL_SECONDS,
        )
        identities = tuple(Member(member.party, member.keys.identity) for member in self._members)
        sessions = []
        for member in self._members:
            setup = Setup(self._suite, kind, member.party, identities, proposal.hash(self._suite), tail)
            persist = _Persist(member, committee_id, self._suite.proto, account_id)
            runtime = Runtime(os.urandom, member.keys.sign, persist)
            sessions.append(Session(setup, program(member), runtime))
        _Relay(sessions, self._pool, report).run()
        return [session.result for session in sessions]


class _Persist:
    """`Runtime.persist`: what a node's own store keeps of a run, in the order of protocol.md 0.8."""

    def __init__(self, member: LocalMember, committee_id: bytes, proto: str, account_id: str | None) -> None:
        self._member = member
        self._committee_id = committee_id
        self._proto = proto
        self._account_id = account_id

    def __call__(self, record: object) -> None:
        sessions = self._member.store.sessions
        match record:
            case SessionStarted(sid=sid, kind=kind, ph=ph):
                sessions.remember(sid, kind, self._committee_id, ph)
            case AllAccepted():
                # Nothing was ever given up in a committee that begins.
                pass
            case Durable(record=RunState() as state, envelope=envelope):
                point = self._member.party.index
                public = public_of(self._proto, state.done)
                new = self._new_state(state)
                sessions.put_pending(
                    *(state.sid, state.kind, self._committee_id, new, public, envelope),
                    party=point,
                    aux_id=state.aux_id,
                )
            case Certificate(sid=sid, envelopes=envelopes):
                sessions.activate(sid, list(envelopes))
            case _:
                raise InternalError(f"a record of type {type(record).__name__} has no place in a ceremony")

    def _new_state(self, state: RunState) -> NewState:
        shares: tuple[NewShare, ...] = ()
        if state.share is not None and self._account_id is not None:
            shares = (NewShare.of(self._account_id, state.share),)
        return NewState(shares, None if state.aux is None else NewAux.of(state.aux))


class _Relay:
    """Delivers everything to everybody else and has the sessions' computations done, until all have ended."""

    def __init__(self, sessions: Sequence[Session], pool: ThreadPoolExecutor, report: Report) -> None:
        self._sessions = list(sessions)
        self._pool = pool
        self._report = report
        self._mail: deque[tuple[Session, bytes]] = deque()
        self._running: dict[PartyId, list[Future[Any]]] = {}
        self._steps = {session.me: 0 for session in sessions}

    def run(self) -> None:
        """Raises what ended the run: the error of whoever found it."""
        for session in self._sessions:
            self._post(session, session.start())
        while not all(session.finished for session in self._sessions):
            self._show()
            self._deliver()
            self._compute()
            if not self._running and not self._mail and not any(session.jobs for session in self._sessions):
                break
        errors = [session.error for session in self._sessions if session.error is not None]
        if errors:
            # Who was only told of the end may come first.
            raise min(errors, key=lambda error: isinstance(error, AbortedByPeer))
        for session in self._sessions:
            if not session.finished:
                raise InternalError(f"party {session.me.index} waits for nobody in {session.phase}")
        self._show()

    def _deliver(self) -> None:
        while self._mail:
            session, envelope = self._mail.popleft()
            if not session.finished:
                self._post(session, session.receive(envelope))

    def _post(self, sender: Session, out: Sequence[Outgoing]) -> None:
        for outgoing in out:
            self._mail += [
                (session, outgoing.envelope) for session in self._sessions if session is not sender
            ]

    def _compute(self) -> None:
        for session in self._sessions:
            if session.jobs and session.me not in self._running:
                self._running[session.me] = [self._pool.submit(run_job, job) for job in session.jobs]
        if self._mail or not self._running:
            return
        wait([future for futures in self._running.values() for future in futures if not future.done()],
             return_when=FIRST_COMPLETED)  # fmt: skip
        for session in self._sessions:
            futures = self._running.get(session.me, [])
            if futures and all(future.done() for future in futures):
                del self._running[session.me]
                if not session.finished:
                    self._post(session, session.completed([future.result() for future in futures]))

    def _show(self) -> None:
        for session in self._sessions:
            self._steps[session.me] = max(self._steps[session.me], _step(session))
        slowest = min(self._steps.values())
        left = sum(not future.done() for futures in self._running.values() for future in futures)
        detail = f"{left} computations left" if left else ""
        self._report(sum(self._steps.values()), (len(STEPS) - 1) * len(self._steps), WORDS[slowest], detail)


def _step(session: Session) -> int:
    """The place of a session's phase; 0 while it computes."""
    if session.finished:
        return len(STEPS) - 1
    name = session.phase.partition(".")[2].partition(".")[0]
    return STEPS.index(name) if name in STEPS else 0
