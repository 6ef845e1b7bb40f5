"""All sessions of this node: which envelope belongs to which, how many there may be, how they ended."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import Final

from participant.channel import Channel
from participant.node.api import SessionView
from participant.node.config import NodeConfig
from participant.node.driver import SessionDriver
from participant.node.errors import Busy, SessionUnknown
from participant.node.persistence import Persistence
from participant.node.plan import Plan
from participant.node.room import Room
from participant.node.tasks import Tasks
from participant.node.workers import Workers
from participant.store import Certificate, Store
from tss.errors import ProtocolError
from tss.rand import Rng

EARLY_SCOPES: Final = 256
EARLY_EACH: Final = 64
EARLY_BYTES: Final = 16 << 20
"""Bounds on envelopes that came before their proposal: after a gateway's restart everybody posts again at once."""

REMEMBERED: Final = 4096
"""Scopes of ended sessions, whose late envelopes are dropped."""

RECENT: Final = 256
"""Ended sessions that an operator can still list."""


class EarlyMail:
    """Envelopes of sessions that this node does not know yet. The oldest go first when there are too many."""

    def __init__(self) -> None:
        self._by_scope: OrderedDict[bytes, list[bytes]] = OrderedDict()
        self._size = 0

    def keep(self, scope: bytes, envelope: bytes) -> bool:
        """Whether it is kept. Copies count once."""
        if envelope in self._by_scope.get(scope, ()):
            return True
        if len(envelope) > EARLY_BYTES // 2 or len(self._by_scope.get(scope, ())) >= EARLY_EACH:
            return False
        self._by_scope.setdefault(scope, []).append(envelope)
        self._size += len(envelope)
        while len(self._by_scope) > EARLY_SCOPES or self._size > EARLY_BYTES:
            _, dropped = self._by_scope.popitem(last=False)
            self._size -= sum(map(len, dropped))
        return True

    def take(self, scope: bytes) -> list[bytes]:
        """What there is of a scope, once."""
        kept = self._by_scope.pop(scope, [])
        self._size -= sum(map(len, kept))
        return kept


class Sessions:
    """The registry. For the event loop only."""

    def __init__(
        self,
        *,
        config: NodeConfig,
        workers: Workers,
        channel: Channel,
        store: Store,
        tasks: Tasks,
        rng: Rng,
        activated: Callable[[Certificate], None],
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`activated` is called in a worker thread."""
        self._config = config
        self._workers = workers
        self._channel = channel
        self._store = store
        self._tasks = tasks
        self._rng = rng
        self._activated = activated
        self._wall = wall
        self._by_scope: dict[bytes, tuple[SessionDriver, ...]] = {}
        """More than one where this node has several seats in a session."""
        self._drivers: dict[SessionDriver, float] = {}
        self._open: dict[SessionDriver, None] = {}
        self._early = EarlyMail()
        self._ended: OrderedDict[bytes, None] = OrderedDict()
        self._recent: deque[SessionView] = deque(maxlen=RECENT)
        self.dropped: Counter[str] = Counter()
        self.on_failure: Callable[[SessionDriver, ProtocolError], None] = lambda _, __: None
        """Called in a worker thread with the error that a session ends with, before anything of it is posted."""
        self.on_end: Callable[[SessionDriver], None] = lambda _: None
        """Called when a session's outcome is there."""

    # Envelopes

    def deliver(self, scope: bytes, envelope: bytes) -> None:
        """Hand an envelope to its session, or keep it for one that may come."""
        drivers = self._by_scope.get(scope, ())
        for driver in drivers:
            driver.deliver(envelope)
        if drivers:
            return
        if scope in self._ended:
            self.dropped["late"] += 1
        elif not self._early.keep(scope, envelope):
            self.dropped["early"] += 1

    def forget(self, scope: bytes) -> None:
        """This node takes no part: what else comes of it is dropped."""
        self._early.take(scope)
        self._ended[scope] = None
        while len(self._ended) > REMEMBERED:
            self._ended.popitem(last=False)

    def restarted(self, room: Room) -> None:
        """The gateway lost what was posted into a standing room."""
        for driver in self._drivers:
            if driver.home is room:
                driver.restarted(room)

    # Sessions

    def is_known(self, ph: bytes) -> bool:
        """Whether a proposal was taken up or declined before."""
        return ph in self._by_scope or ph in self._ended

    def is_over(self, scope: bytes) -> bool:
        """Whether envelopes of this scope are dropped: its session has ended, or this node took no part."""
        return scope in self._ended and scope not in self._by_scope

    def is_active(self, scope: bytes) -> bool:
        """Whether envelopes of this scope go to a session that has not ended."""
        return any(not driver.finished for driver in self._by_scope.get(scope, ()))

    def active(self, committee_id: bytes | None = None) -> list[SessionDriver]:
        """Those that have not ended, of one committee or all."""
        return [
            driver
            for driver in self._open
            if not driver.outcome.done()
            and (committee_id is None or driver.plan.membership.committee_id == committee_id)
        ]

    def open(self, plan: Plan, home: Room) -> SessionDriver:
        """Begin to take part, in all seats; the driver of the first. Raises Busy when there are too many sessions in the committee."""
        committee_id = plan.membership.committee_id
        if len(self.active(committee_id)) >= self._config.max_sessions:
            raise Busy(
                f"this node has {self._config.max_sessions} sessions under way in this committee; try again later"
            )
        drivers = [self._make(seat, home) for seat in (plan, *plan.also)]
        # All of them, before the first is given what came early.
        self._register(plan.ph, *drivers)
        return drivers[0]

    def _make(self, plan: Plan, home: Room) -> SessionDriver:
        driver = SessionDriver(
            plan,
            home,
            config=self._config,
            workers=self._workers,
            channel=self._channel,
            store=self._store,
            persistence=Persistence(self._store, plan, self._activated),
            rng=self._rng,
            alias=lambda sid: self._register(sid, driver),
            failed=self.on_failure,
        )
        self._drivers[driver] = self._wall()
        self._open[driver] = None
        driver.outcome.add_done_callback(lambda _: self._on_outcome(driver))
        self._tasks.spawn(self._run(driver), f"session {plan.kind}")
        return driver

    def _register(self, scope: bytes, *drivers: SessionDriver) -> None:
        self._by_scope[scope] = (*self._by_scope.get(scope, ()), *drivers)
        for envelope in self._early.take(scope):
            for driver in drivers:
                driver.deliver(envelope)

    def _on_outcome(self, driver: SessionDriver) -> None:
        del self._open[driver]
        if driver.outcome.cancelled():
            return
        self._recent.append(self.view(driver))
        self.on_end(driver)

    async def _run(self, driver: SessionDriver) -> None:
        try:
            await driver.run()
        finally:
            del self._drivers[driver]
            for scope in (driver.plan.ph, driver.sid):
                if scope is not None and scope in self._by_scope:
                    self._leave(scope, driver)

    def _leave(self, scope: bytes, driver: SessionDriver) -> None:
        others = tuple(other for other in self._by_scope.pop(scope) if other is not driver)
        if others:
            self._by_scope[scope] = others
        else:
            self.forget(scope)

    def find(self, session_id: bytes | None, request_id: bytes | None) -> list[SessionDriver]:
        """The sessions under way with this id (or proposal's hash), or that serve this request. Raises SessionUnknown."""
        named = {name for name in (session_id, request_id) if name is not None}
        found = [
            driver
            for driver in self.active()
            if named & {driver.sid, driver.plan.ph, driver.plan.proposal.request_id}
        ]
        known = any(named & {view.session_id, view.proposal, view.request_id} for view in self._recent)
        if not found and not known:
            name = (session_id or request_id or b"").hex()
            raise SessionUnknown(f"no session {name} is under way on this node")
        return found

    # For operators

    def views(self, *, ended: bool = False) -> Iterator[SessionView]:
        """Newest first."""
        for driver in reversed(self._drivers):
            if not driver.outcome.done():
                yield self.view(driver)
        if ended:
            yield from reversed(self._recent)

    def view(self, driver: SessionDriver) -> SessionView:
        """One session, as operators see it."""
        proposal = driver.plan.proposal
        outcome = ""
        if driver.outcome.done() and not driver.outcome.cancelled():
            error = driver.outcome.exception()
            outcome = "done" if error is None else f"{type(error).__name__}: {error}"
        return SessionView(
            session_id=driver.sid,
            proposal=driver.plan.ph,
            kind=driver.plan.kind,
            committee_id=proposal.committee_id,
            account_id=proposal.account_id,
            request_id=proposal.request_id,
            initiator=proposal.initiator.index - 1,
            parties=tuple(point - 1 for point in driver.plan.points),
            phase=driver.phase,
            waiting_for=tuple(point - 1 for point in driver.waiting_for),
            started_at=self._drivers.get(driver, self._wall()),
            outcome=outcome,
        )
