"""Refresh of a committee's accounts (protocol.md 2.2): when somebody asks for it, and by itself when shares are old."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Final

from participant.callers import Caller
from participant.node.api import Progress, RefreshView
from participant.node.ceremonies import Ceremonies
from participant.node.config import NodeConfig
from participant.node.errors import InvalidRequest, NodeFailure
from participant.node.following import Course
from participant.node.membership import Membership
from participant.node.records import Records
from participant.node.refresh_plan import tail_of
from participant.node.views import Views
from participant.policy import Action
from participant.store import AccountRecord, Store
from tss.cggmp24 import refresh
from tss.encoding import Value
from tss.params import Suite
from tss.proposal import MAX_REFRESHED
from tss.rand import Rng, randbelow

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 5.0
"""Between two looks for old shares, at most."""

AFTER_FAILURE: Final = 600.0
"""Seconds before a refresh that failed is tried again by itself, at most."""


class Refreshing:
    """Starts refreshes and sees them through. For the event loop."""

    def __init__(
        self,
        *,
        config: NodeConfig,
        store: Store,
        records: Records,
        ceremonies: Ceremonies,
        views: Views,
        memberships: Callable[[], list[Membership]],
        idle: Callable[[], bool],
        rng: Rng,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`idle`: whether no session is under way."""
        self._config = config
        self._store = store
        self._records = records
        self._ceremonies = ceremonies
        self._views = views
        self._memberships = memberships
        self._idle = idle
        self._rng = rng
        self._wall = wall

    async def refresh(
        self, membership: Membership, account_ids: Sequence[str], caller: Caller | None
    ) -> AsyncGenerator[Progress, None]:
        """See NodeApi.refresh_accounts; no account ids stand for all of the committee."""
        records = self._records_of(membership, account_ids)
        for record in records:
            if caller is not None:
                caller.check_account(record.account_id)
        ceremonies = self._ceremonies
        await ceremonies.decide(Action.REFRESH, membership, caller, None)
        ceremonies.check_quarantine(membership)
        by_suite: dict[str, list[str]] = {}
        for record in records:
            by_suite.setdefault(record.curve, []).append(record.account_id)
        stages = {curve: "refresh" if len(by_suite) == 1 else f"refresh {curve}" for curve in by_suite}
        course = Course(("waiting", *stages.values()))
        async with ceremonies.lock(membership):
            async with aclosing(ceremonies.gather(membership, course)) as steps:
                async for progress in steps:
                    yield progress
            for curve, names in by_suite.items():
                suite = self._records.suite(curve)
                running = self._run(membership, suite, names, caller, course, stages[curve])
                async with aclosing(running) as steps:
                    async for progress in steps:
                        yield progress
        views = tuple(self._views.one(record.account_id) for record in records)
        yield course.report(
            stages[records[-1].curve], text="done", result=RefreshView(membership.committee_id, views)
        )

    def _records_of(self, membership: Membership, account_ids: Sequence[str]) -> list[AccountRecord]:
        known = {r.account_id: r for r in self._store.accounts.accounts(membership.committee_id)}
        unknown = [account_id for account_id in account_ids if account_id not in known]
        if unknown:
            raise InvalidRequest(f"the committee has no account {unknown[0]!r} on this node")
        wanted = list(dict.fromkeys(account_ids or known))
        if not wanted:
            raise InvalidRequest("the committee has no account to refresh")
        if len(wanted) > MAX_REFRESHED:
            raise InvalidRequest(
                f"{len(wanted)} accounts are more than one refresh takes: name at most {MAX_REFRESHED} of them"
            )
        return [known[account_id] for account_id in wanted]

    def _run(
        self,
        membership: Membership,
        suite: Suite,
        account_ids: Sequence[str],
        caller: Caller | None,
        course: Course,
        stage: str,
    ) -> AsyncGenerator[Progress, None]:
        def tail() -> list[Value]:
            # Read anew for each try: a certificate may have come meanwhile.
            return tail_of([self._records.account(account_id) for account_id in account_ids])

        return self._ceremonies.run(membership, suite, refresh.KIND, None, tail, caller, course, stage=stage)

    # By itself

    async def run(self) -> None:
        """Refresh what is old, for ever. Returns at once when that is switched off."""
        settings = self._config.refresh
        if settings.every is None:
            return
        while True:
            wait = self._random(settings.jitter)
            await asyncio.sleep(min(LOOK_SECONDS, settings.every / 4))
            for membership in self._memberships():
                if self._old(membership, settings.every) and self._ready(membership):
                    # One of the members wakes up first; the others find nothing old any more.
                    await asyncio.sleep(wait)
                    await self._refresh_old(membership, settings.every)

    def _random(self, seconds: float) -> float:
        return int(randbelow(self._rng, int(seconds * 1000) + 1)) / 1000

    def _ready(self, membership: Membership) -> bool:
        return self._idle() and all(membership.presence.is_present(party) for party in membership.others)

    def _old(self, membership: Membership, every: float) -> list[str]:
        before = int((self._wall() - every) * 1000)
        return self._store.accounts.of_old_shares(membership.committee_id, before)[:MAX_REFRESHED]

    async def _refresh_old(self, membership: Membership, every: float) -> None:
        old = self._old(membership, every)
        if not old or not self._ready(membership):
            return
        try:
            async with aclosing(self.refresh(membership, old, None)) as steps:
                async for _ in steps:
                    pass
        except NodeFailure as error:
            log.warning("shares that are old could not be refreshed: %s", error)
            await asyncio.sleep(self._random(min(AFTER_FAILURE, every)))
        else:
            log.info("%d accounts have new shares", len(old))
