"""Nodes reduced to their sessions: a store, workers and a committee's room each, on a relay in memory, with toy protocols."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from memory_channel import Hub
from node_testing import committee_of, node_keys, wrapper
from tss_testing import TINY, SeededRng

from participant.channel import committee_topic
from participant.node.config import Deadlines, NodeConfig
from participant.node.driver import SessionDriver
from participant.node.membership import Membership
from participant.node.plan import Plan, StoreResult
from participant.node.room import Room
from participant.node.sessions import Sessions
from participant.node.tasks import Tasks
from participant.node.workers import Workers
from participant.store import AuditRecord, Store
from tss.effects import Compute, Echo, Progress, Protocol, Receive, Send, SessionContext
from tss.encoding import Integer
from tss.envelope import holder, routing
from tss.proposal import Proposal
from tss.setting import Round0, Setup
from tss.transcript import hash_commit

WAIT = 60.0
"""Seconds after which a test that hangs is stopped; nothing is asserted about time."""

CONFIG = NodeConfig(deadlines=Deadlines(WAIT, {}), linger=0.0, max_sessions=4)

Program = Callable[[SessionContext], Protocol[Any]]


def adding(value: int, job: Callable[[], Any] = lambda: 0) -> Program:
    """Everybody broadcasts a number; the result is the sum. `job` runs in the pool first and is added too."""

    def program(ctx: SessionContext) -> Protocol[int]:
        yield Progress("adding")
        (extra,) = yield Compute([job])
        own = value + extra
        yield Send(1, broadcast=own)
        said = yield Receive(1, broadcast=Integer(64), echo=Echo.BLOCKING)
        return own + sum(int(said[party].broadcast) for party in ctx.others)

    return program


class Seat:
    """One member's sessions."""

    def __init__(self, point: int, hub: Hub, directory: Path, config: NodeConfig, cores: int) -> None:
        self.point = point
        self.hub = hub
        self.keys = node_keys()[point - 1]
        self.store = Store.create(directory / f"seat-{point}.db", wrapper())
        self.store.accounts.put_committee(committee_of())
        self.workers = Workers(cores)
        self.tasks = Tasks()
        self.activated: list[Any] = []
        self.sessions = Sessions(
            config=config,
            workers=self.workers,
            channel=hub,
            store=self.store,
            tasks=self.tasks,
            rng=SeededRng(("seat", point)),
            activated=self.activated.append,
        )
        self.membership = Membership(committee_of(), holder(point), self.keys.sign, frozenset({TINY.proto}))
        self.room = self.membership.room = Room(
            hub,
            committee_topic(self.membership.committee_id),
            self.membership.index,
            receive=self._receive,
            restarted=lambda: self.sessions.restarted(self.room),
            standing=True,
        )
        self.tasks.spawn(self.room.run(), "room")

    def _receive(self, envelope: bytes) -> None:
        scope, _, sender = routing(envelope)
        if sender != self.membership.me:
            self.sessions.deliver(scope, envelope)

    def plan(
        self,
        number: int,
        program: Program,
        *,
        round0: Round0 = Round0.BLOCKING,
        kind: str = "toy",
        store_result: StoreResult | None = None,
    ) -> Plan:
        """A session of all members, the same for all of them when `number` is."""
        membership = self.membership
        proposal = Proposal(
            holder(1), membership.committee_id, "alice", "keygen", number.to_bytes(16, "big"), [3, 2], None, 0
        )
        ph = hash_commit(TINY.proto, "toy", number)
        setup = Setup(TINY, kind, membership.me, membership.members(), ph, [number], round0)
        return Plan(
            membership,
            proposal,
            setup,
            program,
            AuditRecord("sign", "self", "signed"),
            store_result=store_result,
        )

    def open(self, number: int, program: Program, **options: Any) -> SessionDriver:
        return self.sessions.open(self.plan(number, program, **options), self.room)

    async def close(self) -> None:
        await self.tasks.close()
        await asyncio.to_thread(self.workers.close)
        self.store.close()


@asynccontextmanager
async def seats(
    directory: Path, hub: Hub | None = None, *, cores: int = 1, **settings: Any
) -> AsyncIterator[list[Seat]]:
    """Three of them; `settings` are those of NodeConfig."""
    hub = hub or Hub()
    made = [Seat(point, hub, directory, replace(CONFIG, **settings), cores) for point in (1, 2, 3)]
    try:
        yield made
    finally:
        await asyncio.gather(*(seat.close() for seat in made))


async def outcome(driver: SessionDriver) -> Any:
    """The result; an exception that the session ended with is raised."""
    return await asyncio.wait_for(asyncio.shield(driver.outcome), WAIT)
