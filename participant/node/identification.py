"""Signer sets in which somebody cheated and nobody was found yet: waiting for abort messages (protocol.md 4.2).

A signer that is silent in the identification may have been cut off, so it is not at fault; but its set does not work
together before its abort message is here. Whoever lacks one says so in its hello, and whoever has it posts it in the
committee's room, byte for byte as it was signed. With it the checks are made as a third party would make them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from participant.node.blame import Blame
from participant.node.cases import decode_run
from participant.node.hello import MAX_SIDS, Hello
from participant.node.membership import Membership
from participant.node.workers import Urgency, Workers
from participant.store import BlockedSet, Store, StoreError
from tss.cggmp24.identify_checks import ROUND
from tss.envelope import Kind, PartyId, holder, unpack_broadcast
from tss.errors import PeerFault, SchemaViolation
from tss.evidence import Claim
from tss.judge import Verdict, judge
from tss.params import Suite

log = logging.getLogger(__name__)

REPEAT_SECONDS: Final = 5.0
"""Before the same run's abort messages are posted again."""

SuiteOf = Callable[[str], Suite]
"""The suite of a PROTO."""


class Identifications:
    """The open cases of all committees. For the event loop; the store is asked in `workers`."""

    def __init__(
        self,
        store: Store,
        workers: Workers,
        blame: Blame,
        suite_of: SuiteOf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._workers = workers
        self._blame = blame
        self._suite_of = suite_of
        self._clock = clock
        self._said: dict[bytes, float] = {}
        self._waiting: set[bytes] = set()
        self._settling = asyncio.Lock()
        self.on_change: Callable[[Membership], None] = lambda _: None
        """Called when a set is free again, or other abort messages are lacking than before."""

    # What this node lacks

    def lacking(self, membership: Membership) -> tuple[bytes, ...]:
        """Sids of the cases that wait for somebody else's abort message, the newest. Blocking."""
        entries = self._store.blocked.entries(membership.committee_id)
        return tuple(entry.sid for entry in entries if _others_lacking(membership, entry))[-MAX_SIDS:]

    def waits_for(self, sid: bytes) -> bool:
        """Whether an abort message of this session is of use here."""
        return sid in self._waiting

    async def begin(self, membership: Membership) -> None:
        """After a start: take up what the former process left."""
        for entry in await self._workers.step(self._store.blocked.entries, membership.committee_id):
            self._waiting.add(entry.sid)
            await self._settle(membership, entry.sid)

    async def ended(self, membership: Membership, sid: bytes, openings: Mapping[PartyId, bytes]) -> None:
        """A session ended in the identification without a fault: look at what is here, wait for the rest."""
        self._waiting.add(sid)
        for party, envelope in openings.items():
            await self._keep(membership, sid, party, envelope)
        await self._settle(membership, sid)

    async def take(self, membership: Membership, sid: bytes, envelope: bytes) -> None:
        """A message of a session that is over; whatever is no abort message that this node lacks is dropped."""
        signed = membership.open(envelope)
        if signed is not None and await self._keep(membership, sid, signed.body.sender, envelope):
            await self._settle(membership, sid, signed.body.sender)

    async def _keep(self, membership: Membership, sid: bytes, party: PartyId, envelope: bytes) -> bool:
        """Whether it is an abort message of this case, and the first of its sender."""
        signed = membership.open(envelope)
        if signed is None or (signed.body.sid, signed.body.sender) != (sid, party):
            return False
        if (signed.body.kind, signed.body.round) != (Kind.MSG, ROUND):
            return False
        return await self._workers.step(self._store_opening, membership, sid, party, envelope)

    # What the others lack

    async def hear(self, membership: Membership, hello: Hello) -> None:
        """A member lacks abort messages: post what this node has of them."""
        for sid in hello.blocked:
            now = self._clock()
            if now - self._said.get(sid, -REPEAT_SECONDS) < REPEAT_SECONDS:
                continue
            self._said[sid] = now
            while len(self._said) > 4 * MAX_SIDS:
                del self._said[next(iter(self._said))]
            for envelope in (await self._workers.step(self._store.blocked.openings, sid)).values():
                membership.room.send(envelope)

    # Finding out

    async def _settle(self, membership: Membership, sid: bytes, only: PartyId | None = None) -> None:
        """Judge those whose abort message is here: one by itself (i, ii), and everybody once all are there (iii)."""
        async with self._settling:
            try:
                found = await self._workers.step(self._claims, membership, sid, only)
                if found is None:
                    self._waiting.discard(sid)
                    return
                entry, suite, claims = found
                identities = dict(membership.identities)
                jobs = [partial(judge, claim.encode(), identities, {suite.proto: suite}) for claim in claims]
                verdicts = await self._workers.jobs(jobs, Urgency.STOCK) if jobs else []
                await self._workers.step(self._conclude, membership, entry, claims, verdicts)
            except (StoreError, SchemaViolation) as error:
                log.error("session %s: who cheated cannot be found out: %s", sid.hex()[:16], error)  # noqa: TRY400 - written to be read
        self.on_change(membership)

    # In a worker thread

    def _store_opening(self, membership: Membership, sid: bytes, party: PartyId, envelope: bytes) -> bool:
        entry = self._store.blocked.find(sid)
        if entry is None or entry.committee_id != membership.committee_id or party.index not in entry.lacking:
            return False
        self._store.blocked.add_opening(sid, party.index, envelope)
        return True

    def _claims(
        self, membership: Membership, sid: bytes, only: PartyId | None
    ) -> tuple[BlockedSet, Suite, list[Claim]] | None:
        """The block, and a claim about everybody who is to be judged; None when the set is free."""
        entry = self._store.blocked.find(sid)
        if entry is None:
            return None
        run = decode_run(entry.run)
        openings = self._store.blocked.openings(sid)
        shown = [unpack_broadcast(envelope)[1:] for envelope in openings.values()]
        judged = [point for point in openings if point != membership.me.index]
        if only is not None and _others_lacking(membership, entry):
            judged = [only.index]
        claims = [
            Claim(run.proto, (run.preimage,), holder(point), f"{run.check}.dec", (*run.messages, *shown))
            for point in judged
        ]
        return entry, self._suite_of(run.proto), claims

    def _conclude(
        self,
        membership: Membership,
        entry: BlockedSet,
        claims: list[Claim],
        verdicts: list[Verdict | BaseException],
    ) -> None:
        faults: list[PeerFault] = []
        for claim, verdict in zip(claims, verdicts, strict=True):
            if isinstance(verdict, BaseException):
                raise verdict
            if verdict.fault is not None:
                verdict.fault.evidence = Claim(
                    claim.proto, claim.preimages, claim.accused, verdict.check, claim.messages
                ).encode()
                faults.append(verdict.fault)
        if self._store.blocked.find(entry.sid) is None:
            return
        if faults:
            self._blame.mark(membership, faults, entry.sid)
            return
        self._store.blocked.set_reason(entry.sid, _still(membership, entry))


def _others_lacking(membership: Membership, entry: BlockedSet) -> list[int]:
    return [point for point in entry.lacking if point != membership.me.index]


def _still(membership: Membership, entry: BlockedSet) -> str:
    others = _others_lacking(membership, entry)
    if others:
        names = ", ".join(f"index {point - 1}" for point in others)
        return f"somebody in this set cheated in presigning; the proofs of {names} are not here yet"
    if entry.lacking:
        return "somebody in this set cheated in presigning; this node lost its own proofs in a restart"
    return "somebody in this set cheated in presigning, and every proof holds: nobody can be blamed"
