"""One session's life: its envelopes, its computations, its deadlines.

The engine's calls run one at a time in a worker thread, heavy jobs in the pool for them or, where a caller waits, in that
thread, too, and the event loop only carries envelopes. What was posted is kept until the session has been over for a
while, so that a gateway that lost its rooms gets it again, byte for byte.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kit import tracing
from kit.logs import bind
from participant.channel import Channel, session_topic
from participant.errors import NodeError
from participant.node.cases import sender_of_opening
from participant.node.config import NodeConfig
from participant.node.inbox import Inbox
from participant.node.outbox import Outbox, messages
from participant.node.persistence import Persistence
from participant.node.plan import Plan
from participant.node.room import Room
from participant.node.tasks import Changes, Tasks
from participant.node.workers import Batch, Workers
from participant.store import Kept, Store
from tss.cggmp24 import presign
from tss.effects import Job, run_serially
from tss.envelope import Kind, PartyId, routing
from tss.errors import InternalError, NoBlame, ProtocolError, SchemaViolation
from tss.frost import sign as frost
from tss.proposal import WITHOUT_ROUND_0
from tss.rand import Rng
from tss.session import Session
from tss.setting import Outgoing, Round0, Runtime

log = logging.getLogger(__name__)

POSTS_AT_ONCE: Final = 2
"""Of a round that is several messages: none waits until the gateway has the one before it."""

FLUSH_SECONDS: Final = 120.0
"""How long the last messages of an ended session may take to reach the gateway."""


_PRESIGNING: Final = frozenset({presign.KIND, presign.FULL_KIND})

_ONE_WRITE: Final = WITHOUT_ROUND_0 | {presign.FULL_KIND, frost.FULL_KIND}
"""Kinds whose turns are each one write: a caller waits, and no turn computes for long."""


@dataclass(frozen=True)
class _Input:
    """What one call of the engine is about."""

    started: bool = False
    results: Sequence[Any | BaseException] | None = field(default=None, repr=False)
    """Of its jobs."""
    expired: bool = False


class Identifying(NoBlame):
    """Somebody in the signer set has cheated. The session gives no signature any more; it goes on to find out who."""

    def __init__(self, outcome: asyncio.Future[Any]) -> None:
        """`outcome`: of the session."""
        super().__init__("somebody in the signer set has cheated; the session finds out who")
        self.outcome = outcome


class SessionDriver:
    """Drives one `Session`. `outcome` gets the protocol's result, or its ProtocolError, or the store's NodeError."""

    def __init__(
        self,
        plan: Plan,
        home: Room,
        *,
        config: NodeConfig,
        workers: Workers,
        channel: Channel,
        store: Store,
        persistence: Persistence,
        rng: Rng,
        alias: Callable[[bytes], None],
        failed: Callable[[SessionDriver, ProtocolError], None],
    ) -> None:
        """`home`: the room of round 0 (and of all of signing from stock). `alias(sid)` is called when the sid is known.

        `failed` is called in a worker thread with the error that the session ends with, before anything of it is posted.
        """
        self.plan = plan
        self.home = home
        self._config = config
        self._workers = workers
        self._channel = channel
        self._store = store
        self._alias = alias
        self._failed = failed
        self._persistence = persistence
        self._is_noted = False
        self._is_mute = False
        self._is_end_stored = False
        self._context = contextvars.copy_context()
        self.openings: dict[PartyId, bytes] = {}
        """What came of the others' abort messages, in presigning and full signing; who signed them is not checked here."""
        me = plan.setup.me
        self._peers = frozenset(member.party for member in plan.setup.members if member.party != me)
        self._tasks = Tasks()
        self._loop = asyncio.get_running_loop()
        runtime = Runtime(rng, plan.membership.sign_function, persistence, self._progressed)
        self._session = Session(plan.setup, plan.program, runtime)
        self._inbox = Inbox()
        self._at_work: Sequence[Job] = ()
        """The jobs that are being computed."""
        self._led: Batch | None = None
        """The same, where a turn has begun them and not all were done when it ended."""
        self._wake = asyncio.Event()
        self._abort: ProtocolError | None = None
        self._entered = False
        self._room: Room | None = None
        self._outbox = Outbox()
        self.outcome: asyncio.Future[Any] = self._loop.create_future()
        # Nobody has to look at how a session ended.
        self.outcome.add_done_callback(lambda future: future.cancelled() or future.exception())
        self._identifying: asyncio.Future[None] = self._loop.create_future()
        self.finished = False
        """Whether the outcome is there, and everybody who was to be called with it was."""
        self.changes = Changes()
        self.stage = ""
        """What the protocol says it is doing, for people."""
        self.phase = f"{plan.kind}.r0"
        self.waiting_for: tuple[int, ...] = ()
        """Evaluation points of those whose messages the phase lacks."""
        self.dropped: Counter[str] = Counter()

    @property
    def sid(self) -> bytes | None:
        """The session's id, once it is known."""
        return self._session.sid

    @property
    def identifying(self) -> bool:
        """Whether the session has turned to finding out who cheated."""
        return self._persistence.identifying

    def on_identifying(self, call: Callable[[], None]) -> None:
        """Call this when the session turns to finding out who cheated."""
        self._identifying.add_done_callback(lambda future: None if future.cancelled() else call())

    async def result(self) -> Any:
        """What the session gives. Raises what `outcome` has, or Identifying as soon as it can only find out who cheated."""
        await asyncio.wait([self.outcome, self._identifying], return_when=asyncio.FIRST_COMPLETED)
        if not self.outcome.done():
            raise Identifying(self.outcome)
        return self.outcome.result()

    # From outside, on the event loop

    def post_home(self, envelope: bytes) -> None:
        """Post an envelope that belongs to the session's beginning: the proposal."""
        self._outbox.post(self.home, envelope)

    def deliver(self, envelope: bytes) -> None:
        """Take an envelope whose signature was checked."""
        sender = self._sender_of(envelope)
        if sender is None:
            return
        if self._inbox.put_from(sender, envelope):
            self._wake.set()
        else:
            self.dropped["flood"] += 1

    def _overhear(self, envelope: bytes) -> None:
        """Take an envelope from the session's own room, where nobody has checked anything."""
        if self._sender_of(envelope) is not None:
            self._inbox.put(envelope)
            self._wake.set()

    def _sender_of(self, envelope: bytes) -> PartyId | None:
        """The claimed sender; None for what is certainly not for this session, or comes after its end."""
        if self.finished:
            self._answer(envelope)
            return None
        try:
            scope, _, sender = routing(envelope)
        except SchemaViolation:
            self.dropped["malformed"] += 1
            return None
        if sender == self.plan.setup.me:
            return None
        if sender not in self._peers:
            self.dropped["stranger"] += 1
            return None
        if scope not in (self.plan.ph, self._session.sid) and self._session.sid is not None:
            self.dropped["sid"] += 1
            return None
        return sender

    def _answer(self, envelope: bytes) -> None:
        """A peer that still speaks after the end may lack what was said last."""
        with contextlib.suppress(SchemaViolation):
            if routing(envelope)[2] in self._peers:
                self._outbox.answer(self._loop.time())

    def abort(self, error: ProtocolError) -> None:
        """End the session and tell the others."""
        self._abort = self._abort or error
        self._wake.set()

    def restarted(self, room: Room) -> None:
        """The gateway lost what was posted into `room`."""
        self._outbox.post_again(lambda known: known is room)

    # The session's life

    async def run(self) -> None:
        """Drive the session to its end; then keep its messages for a while."""
        try:
            await self._end()
        finally:
            await self._tasks.close()

    async def _end(self) -> None:
        with tracing.span(f"session {self.plan.kind}", proposal=self.plan.ph.hex(), parties=self.plan.points):
            await self._live()
        await self._note_end()
        await self._linger()

    async def _live(self) -> None:
        bind(proposal=self.plan.ph.hex()[:16], kind=self.plan.kind)
        self._context = contextvars.copy_context()
        repetition = self._outbox.repeat(lambda: self.phase, lambda: bool(self.waiting_for), self.changes)
        repeating = self._tasks.spawn(repetition, "repetition")
        try:
            await self._drive()
        except asyncio.CancelledError:
            self.outcome.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - whatever it was, the session is over and its caller learns why
            await self._fail(error)
        repeating.cancel()
        self._conclude()
        if self.sid is not None:
            tracing.note(session=self.sid.hex())
        tracing.note(outcome=self._outcome_name())

    async def _drive(self) -> None:
        stages = tracing.Stages()
        try:
            await self._drive_through(stages)
        finally:
            stages.close()

    async def _drive_through(self, stages: tracing.Stages) -> None:
        session, jobs = self._session, None
        stages.enter(self.phase)
        await self._turn(started=True)
        deadline = self._next_deadline()
        while not session.finished:
            if session.jobs and jobs is None:
                jobs = self._compute()
                jobs.add_done_callback(self._computed)
            expired = not await self._awake(None if jobs is not None else deadline)
            results = jobs.result() if jobs is not None and jobs.done() else None
            if results is not None:
                jobs = None
            elif not expired and self._inbox.is_empty and self._abort is None:
                # What came was taken by the turn that was under way.
                continue
            former = self.phase
            await self._turn(results=results, expired=expired)
            stages.enter(self.phase)
            if self.phase != former or results is not None:
                deadline = self._next_deadline()

    def _compute(self) -> asyncio.Future[list[Any | BaseException]]:
        """What the jobs at hand give, or will give when those are done that other threads have begun."""
        batch, self._led = self._led, None
        return (
            batch.wait() if batch is not None else self._workers.jobs(self._session.jobs, self.plan.urgency)
        )

    def _computed(self, jobs: asyncio.Future[list[Any | BaseException]]) -> None:
        # Looked at here: a session that was ended meanwhile does not ask for its results any more.
        if not jobs.cancelled():
            jobs.exception()
        self._wake.set()

    def _next_deadline(self) -> float:
        return self._loop.time() + self._config.deadlines.for_phase(self.phase)

    async def _awake(self, deadline: float | None) -> bool:
        """Wait until there is something to do; False when the deadline passes first."""
        try:
            async with asyncio.timeout_at(deadline):
                await self._wake.wait()
        except TimeoutError:
            return False
        finally:
            self._wake.clear()
        return True

    async def _turn(
        self,
        *,
        started: bool = False,
        results: Sequence[Any | BaseException] | None = None,
        expired: bool = False,
    ) -> None:
        """One call of the engine, in a worker thread, with everything that is there."""
        out = await self._workers.step(self._advance, _Input(started, results, expired))
        if self._session.sid is not None:
            # What was said in between was said in a copy of this context.
            bind(session=self._session.sid.hex()[:16])
        self._say(out)

    def _say(self, out: Sequence[Outgoing]) -> None:
        """What a call of the engine made, in the rooms where it belongs."""
        if self._session.sid is not None and not self._entered:
            self._enter(self._session.sid)
        if self.identifying and not self._identifying.done():
            self._identifying.set_result(None)
        for message in messages(out):
            room = self.home if message[0].scope == self.plan.ph or self._room is None else self._room
            alone = message[0].to if len(message) == 1 else None
            envelopes = (outgoing.envelope for outgoing in message)
            self._outbox.post(room, *envelopes, to=None if alone is None else alone.index - 1)
        self.changes.notify()

    def _advance(self, said: _Input) -> list[Outgoing]:
        """What the engine makes of this, and of all that is computed here; what is not last is said before it goes on."""
        out = self._advance_once(said)
        while self._computes_here():
            if out or not self._entered:
                self._loop.call_soon_threadsafe(self._say, out, context=self._context)
            results = self._results_of_jobs()
            if results is None:
                return []
            out = self._advance_once(_Input(results=results))
        return out

    def _computes_here(self) -> bool:
        """Whether this thread begins with the jobs at hand: somebody waits for them.

        Another thread would have to be woken for them, and the event loop and this one for their results: that takes longer
        than to say a round.
        """
        jobs = self._session.jobs
        begun = not jobs or jobs is self._at_work
        return not begun and self.plan.kind in _ONE_WRITE and not self.outcome.done()

    def _results_of_jobs(self) -> list[Any | BaseException] | None:
        """Of the jobs at hand; None when other threads have a part of them that is not done."""
        self._at_work = self._session.jobs
        if self._session.brief and len(self._at_work) == 1:
            return run_serially(self._at_work)
        batch = self._workers.lead(self._at_work)
        if (results := batch.results()) is None:
            self._led = batch
        return results

    def _advance_once(self, said: _Input) -> list[Outgoing]:
        if self.plan.kind not in _ONE_WRITE:
            out = self._run_engine(said)
            self._keep(out)
        else:
            # What one call of the engine stores is one write, and on the disk before anything of it leaves.
            with self._store.transaction(durable=False):
                out = self._run_engine(said)
                self._keep(out)
                self._store_end()
                self._is_mute = True
            if out or (self._session.finished and self.plan.store_result is not None):
                self._store.settle()
            self._is_mute = False
        if self._session.error is not None and not self._is_noted:
            self._is_noted = True
            self._failed(self, self._session.error)
        return out

    def _run_engine(self, said: _Input) -> list[Outgoing]:
        session = self._session
        out = session.start() if said.started else []
        if self._abort is not None:
            out += session.abort(self._abort)
        if said.results is not None:
            self._at_work = ()
            if not session.finished:
                out += session.completed(said.results)
        for envelope in self._inbox.take():
            if self.plan.kind in _PRESIGNING and (sender := sender_of_opening(envelope)) is not None:
                self.openings.setdefault(sender, envelope)
            if not session.finished:
                out += session.receive(envelope)
        if said.expired:
            out += session.expire()
        self.phase = session.phase
        self.waiting_for = tuple(party.index for party in session.waiting_for)
        return out

    def _store_end(self) -> None:
        session = self._session
        if not session.finished or session.sid is None or self._is_end_stored:
            return
        if session.error is None and self.plan.store_result is not None:
            self.plan.store_result(session.result, session.sid)
        self._end_in_store(session.sid)
        self._is_end_stored = True

    def _end_in_store(self, sid: bytes) -> None:
        for scope in (self.plan.ph, sid):
            self._store.sessions.end(self.plan.row(scope), self._outcome_text())

    def _keep(self, out: Sequence[Outgoing]) -> None:
        """Complaints and aborts are sent again after a restart (protocol.md 0.7)."""
        for outgoing in out:
            if self._session.error is not None and outgoing.scope == self._session.sid:
                kind = routing(outgoing.envelope)[1]
                if kind in (Kind.ABORT, Kind.COMPLAINT):
                    scope = self.plan.row(outgoing.scope)
                    self._store.sessions.keep(scope, Kept(str(kind)), outgoing.envelope)

    def _enter(self, sid: bytes) -> None:
        """The sid is known: listen where the session goes on."""
        self._entered = True
        bind(session=sid.hex()[:16])
        self._alias(sid)
        if self.plan.setup.round0 is Round0.NONE:
            return
        room = Room(
            self._channel,
            session_topic(sid),
            self.plan.membership.index,
            receive=self._overhear,
            restarted=lambda: self.restarted(room),
            ready=self._inbox.has_space,
            at_once=POSTS_AT_ONCE,
        )
        self._room = room
        self._tasks.stand(lambda: self._in_room(room), f"session room {sid.hex()[:16]}")

    async def _in_room(self, room: Room) -> None:
        await room.run()
        self.abort(NoBlame(f"the gateway refuses the session's room: {room.refused}"))

    def _progressed(self, stage: str) -> None:
        """From the worker thread."""
        self.stage = stage
        self._loop.call_soon_threadsafe(self.changes.notify)

    # The end

    async def _fail(self, error: Exception) -> None:
        """The engine or the store raised: say so to the others, and keep the cause for the caller."""
        if not isinstance(error, (ProtocolError, NodeError)):
            log.error("session %s: %s", self._name(), error, exc_info=error)
        told = error if isinstance(error, ProtocolError) else InternalError("this node cannot go on")
        self._abort = told
        if not self.outcome.done():
            self.outcome.set_exception(error)
        if not self._session.finished and not self._is_mute:
            await self._turn()

    def _conclude(self) -> None:
        if not self.outcome.done():
            if self._session.error is not None:
                log.info("session %s ended: %s", self._name(), self._session.error)
                self.outcome.set_exception(self._session.error)
            else:
                log.debug("session %s is done", self._name())
                self.outcome.set_result(self._session.result)
        self.phase, self.waiting_for = "ended", ()
        self.dropped.update(self._session.dropped)
        # Behind the outcome's own callbacks, which take what the session has made.
        self._loop.call_soon(self._announce)

    def _announce(self) -> None:
        self.finished = True
        self._inbox.close()
        self.changes.notify()

    async def _note_end(self) -> None:
        sid = self._session.sid
        if sid is None or self._is_end_stored:
            return
        try:
            await self._workers.step(self._end_in_store, sid)
        except (NodeError, RuntimeError):
            # The store ends what it finds open at its next start.
            log.debug("session %s: its end could not be noted", self._name())

    def _outcome_name(self) -> str:
        error = self._session.error
        return "done" if error is None else type(error).__name__

    def _outcome_text(self) -> str:
        error = self._session.error
        return "done" if error is None else f"{type(error).__name__}: {error}"[:500]

    async def _linger(self) -> None:
        rooms = [self.home] if self._room is None else [self.home, self._room]
        try:
            async with asyncio.timeout(FLUSH_SECONDS):
                for room in rooms:
                    await room.flushed()
        except TimeoutError:
            log.warning("session %s: its last messages did not reach the gateway", self._name())
        await asyncio.sleep(self._config.linger)

    def _name(self) -> str:
        scope = self._session.sid or self.plan.ph
        return f"{self.plan.kind} {scope.hex()[:16]}"
