"""The sessions of a party: one call of the engine after the other, and all that follows from each."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from session_testing import Identity, identity_of
from tss_testing import SeededRng

from simulation.artefacts import Activated, Ended, Said, Stored
from simulation.disk import Crash, Disk
from simulation.planning import CEREMONIES, Plan, Planner
from tss.cggmp24 import aux_info, keygen, presign, sign
from tss.cggmp24.presignature import Presignature
from tss.effects import run_job
from tss.envelope import Body, Kind, Signed, holder, routing
from tss.envelope import sign as sign_body
from tss.errors import NoBlame, ProtocolError, SessionClosed
from tss.rand import Rng
from tss.records import KeyShare
from tss.session import Session
from tss.setting import Outgoing, Runtime

if TYPE_CHECKING:
    from simulation.world import World

DEADLINES: Final = {
    keygen.KIND: 60.0,
    aux_info.KIND: 90.0,
    presign.KIND: 60.0,
    presign.FULL_KIND: 40.0,
    sign.KIND: 20.0,
}


@dataclass
class Running:
    """One session of one life of the process."""

    number: int
    plan: Plan
    session: Session = field(repr=False)
    phase: str = ""
    clock: int = 0
    """Of the present phase's deadline: an older one does not count."""
    computing: bool = False
    posted: list[Outgoing] = field(default_factory=list, repr=False)
    over: bool = False
    then: Callable[[Ended], None] | None = field(default=None, repr=False)
    """Told how it ended."""


class Driving(Planner):
    """The half of a party that drives sessions."""

    malicious = False
    session_class: type[Session] = Session

    def __init__(self, world: World, index: int) -> None:
        self.world = world
        self.index = index
        self.me = holder(index)
        self.identity: Identity = identity_of(self.me)
        self.dice = random.Random(f"party {world.seed} {index}")
        self.disk = Disk()
        self.up = True
        self.lives = 0
        self._fresh()

    def _fresh(self) -> None:
        """What is in memory."""
        self.running: dict[bytes, Running] = {}
        self.early: defaultdict[bytes, list[bytes]] = defaultdict(list)
        self.answered: set[bytes] = set()
        """Proposals that were answered in this life."""
        self.stock: dict[bytes, Presignature] = {}
        self.reserved: set[bytes] = set()

    def crash(self, down: float) -> None:
        """The process is gone, with all that it did not persist."""
        raise NotImplementedError

    def in_ceremony(self) -> bool:
        return any(r.plan.proposal.kind in CEREMONIES and not r.over for r in self.running.values())

    # -- one step after the other ----------------------------------------------------------------------------------

    def _begin(self, plan: Plan, then: Callable[[Ended], None] | None) -> Running | None:
        self.answered.add(plan.ph)
        try:
            running = self._open(plan, then)
        except ProtocolError as error:
            self.say(f"cannot take part: {error}")
            return None
        self.running[plan.ph] = running
        self.world.artefacts.started.setdefault(plan.ph, set()).add(self.index)
        self._start(running)
        for envelope in self.early.pop(plan.ph, ()):
            self._give(running, envelope)
        return running

    def _open(self, plan: Plan, then: Callable[[Ended], None] | None, rng: Rng | None = None) -> Running:
        world, number = self.world, self.world.session_number()
        setup = plan.setup(world.suite, self.me, world.artefacts.identities)
        runtime = Runtime(
            rng or SeededRng((world.seed, self.index, self.lives, number)),
            partial(self._signature, number),
            partial(self._persist, plan, number),
            self._progress,
        )
        return Running(number, plan, self.session_class(setup, plan.program, runtime), then=then)

    def _start(self, running: Running) -> None:
        self.step(running, running.session.start)

    def step(self, running: Running, call: Callable[[], list[Outgoing]]) -> None:
        """One call of the engine, and all that follows from it."""
        lives, session = self.lives, running.session
        try:
            out = call()
        except Crash:
            self.crash(self.dice.expovariate(0.05))
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, the checker is told of it
            self._escape(running, error)
            return
        if self.world.crashes_between(self):
            # Between what was made durable and what would have left, or in the middle of that.
            self._post(running, out[: self.dice.randrange(len(out) + 1)])
            self.crash(self.dice.expovariate(0.05))
            return
        self._keep(running, out)
        self._post(running, out)
        if lives != self.lives or running.over:
            return
        if session.finished:
            self._end(running)
            return
        sid = session.sid
        if sid is not None and sid not in self.running:
            self.running[sid] = running
            for envelope in self.early.pop(sid, ()):
                self._give(running, envelope)
        if running.over:
            return
        if session.jobs and not running.computing:
            self._compute(running)
        if session.phase != running.phase:
            running.phase = session.phase
            self.say(f"{running.phase} {running.plan.ph.hex()[:6]}")
            self._set_deadline(running)

    def _compute(self, running: Running) -> None:
        """The jobs of a session are run in any order; meanwhile other things happen to it."""
        running.computing = True
        lives, session, jobs = self.lives, running.session, list(running.session.jobs)

        def done() -> None:
            if lives != self.lives or running.over:
                return
            running.computing = False
            results: list[Any] = [None] * len(jobs)
            for place in self.dice.sample(range(len(jobs)), len(jobs)):
                results[place] = run_job(jobs[place])
            self._set_deadline(running)
            self.step(running, lambda: session.completed(results))

        self.world.scheduler.after(self.dice.expovariate(2.0), done)

    def _set_deadline(self, running: Running) -> None:
        running.clock += 1
        lives, clock = self.lives, running.clock

        def passed() -> None:
            if lives == self.lives and running.clock == clock and not running.over and not running.computing:
                self.say(f"{running.phase} {running.plan.ph.hex()[:6]}: the deadline passes")
                self.world.count("deadline passed")
                self.step(running, running.session.expire)

        self.world.scheduler.after(DEADLINES[running.plan.proposal.kind], passed)

    def interrupt(self, error: ProtocolError | None) -> None:
        """End one of the sessions under way: its phase expires (None), or for a reason of this party's own."""
        active = [r for ph, r in self.running.items() if not r.over and ph == r.plan.ph]
        if active and self.up:
            running = self.dice.choice(active)
            session = running.session
            self.step(running, session.expire if error is None else lambda: session.abort(error))

    def abort_one(self) -> None:
        """An operator ends a session."""
        self.interrupt(NoBlame("the operator ended it"))

    def _end(self, running: Running) -> None:
        running.over = True
        session = running.session
        ended = self._record_end(running, session.result, session.error)
        self.say(f"{running.plan.proposal.kind} {running.plan.ph.hex()[:6]} ends: {session.error or 'done'}")
        if session.error is None and running.plan.proposal.kind == presign.KIND:
            for presignature in session.result:
                self.stock[presignature.id] = presignature
        self._probe(running)
        if running.then is not None:
            running.then(ended)

    def _probe(self, running: Running) -> None:
        """A session that has ended takes nothing, says nothing."""
        try:
            out = running.session.expire()
        except Exception as error:  # noqa: BLE001 - see step
            self._escape(running, error)
            return
        self._post(running, out)

    def _escape(self, running: Running, error: Exception) -> None:
        running.over = True
        if not self.malicious:
            self.world.artefacts.escaped.append(
                (self.index, f"{running.plan.proposal.kind}: {type(error).__name__}: {error}")
            )
        self._record_end(running, None, None)

    def _record_end(self, running: Running, result: Any, error: ProtocolError | None) -> Ended:
        world, plan = self.world, running.plan
        ended = Ended(
            world.artefacts.number(), self.index, running.number, plan.proposal.kind, plan.ph, running.session.sid,
            result, error,
        )  # fmt: skip
        world.artefacts.ended.append(ended)
        return ended

    def _give(self, running: Running, envelope: bytes) -> None:
        session = running.session
        if not session.finished:
            if not running.over:
                self.step(running, lambda: session.receive(envelope))
            return
        try:
            session.receive(envelope)
        except SessionClosed:
            return
        except Exception as error:  # noqa: BLE001 - see step
            self._escape(running, error)
            return
        if not self.malicious:
            self.world.artefacts.escaped.append((self.index, "a session that has ended takes an envelope"))

    # -- what a session asks for -----------------------------------------------------------------------------------

    def _signature(self, number: int | None, encoded: bytes) -> bytes:
        artefacts = self.world.artefacts
        artefacts.said.append(Said(artefacts.number(), self.index, number, encoded))
        return self.identity.sign(encoded)

    def sign(self, body: Body, number: int | None) -> Signed:
        return sign_body(body, partial(self._signature, number))

    def _persist(self, plan: Plan, number: int, record: object) -> None:
        disk, artefacts = self.disk, self.world.artefacts
        known = {name: account.share for name, account in disk.accounts.items()}
        durable = True
        try:
            disk.write(record, self.me, plan.proposal.account_id, plan.accounts)
        except Crash as crash:
            durable = crash.durable
            raise
        except Exception:
            durable = False
            self.world.count("write refused")
            raise
        finally:
            if durable:
                artefacts.stored.append(Stored(artefacts.number(), self.index, number, record))
                self._note_activated(known)

    def _note_activated(self, known: dict[str, KeyShare]) -> None:
        artefacts = self.world.artefacts
        for name, account in self.disk.accounts.items():
            if known.get(name) is not account.share:
                artefacts.activated.append(Activated(artefacts.number(), self.index, name, account.share))
                self.say(f"has key {account.share.key_id.hex()[:6]} in force for {name}")

    def _progress(self, stage: str) -> None:
        if "failed" in stage and not self.malicious:
            self.world.artefacts.identifications += 1
            self.say(stage)

    # -- what it sends ---------------------------------------------------------------------------------------------

    def _keep(self, running: Running, out: Iterable[Outgoing]) -> None:
        """Complaints and aborts are durable before they are sent (protocol.md 0.7)."""
        if running.session.error is not None:
            for outgoing in out:
                if routing(outgoing.envelope)[1] in (Kind.ABORT, Kind.COMPLAINT):
                    self.disk.kept.append((outgoing.scope, outgoing.envelope))

    def _post(self, running: Running, out: Iterable[Outgoing]) -> None:
        for outgoing in out:
            running.posted.append(outgoing)
            self._copies(running, outgoing)

    def _copies(self, running: Running, outgoing: Outgoing) -> None:
        members = running.plan.members if outgoing.to is None else (outgoing.to.index,)
        self._send_all(outgoing.envelope, [j for j in members if j != self.index])

    def post_again(self) -> None:
        """The gateway lost what was posted."""
        if self.up:
            for ph, running in list(self.running.items()):
                if ph == running.plan.ph:
                    for outgoing in running.posted:
                        self._copies(running, outgoing)

    def _send_all(self, envelope: bytes, recipients: Iterable[int]) -> None:
        for recipient in recipients:
            self.world.relay.send(self.index, recipient, envelope)

    def say(self, what: str) -> None:
        trace = self.world.artefacts.trace
        if trace is not None:
            trace(
                f"{self.world.scheduler.now:9.2f}  party {self.index}{' (malicious)' if self.malicious else ''}.{self.lives} {what}"
            )
