"""Bringing every holder of pending state to the same end (protocol.md 0.8, completion).

A run that makes new state ends for a party when it holds everybody's `done`. Whoever lacks some says so in its hello;
whoever has them posts them in the committee's room, byte for byte as they were signed. So a party that was killed, or
that the last messages never reached, catches up whenever one that is ahead is there.

Every member took part in each of these runs and stored its id before it spoke in it. One that hears of a complete run
that its store does not know has an older copy of its store, which nobody can mend: it says so.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

from participant.node.hello import MAX_SIDS, Hello
from participant.node.membership import Membership
from participant.node.persistence import check_pending, says_done
from participant.node.workers import Workers
from participant.store import Certificate, Pending, PendingNotFound, Store, StoreConflict, StoreError
from tss.cggmp24 import reshare
from tss.cggmp24.reshare import NEW
from tss.envelope import HOLDER, Kind, PartyId
from tss.errors import SchemaViolation

log = logging.getLogger(__name__)

REPEAT_SECONDS: Final = 5.0
"""Before the same run's messages are posted again."""


class CatchUp:
    """The pending runs of all committees. For the event loop; the store is asked in `workers`."""

    def __init__(
        self,
        store: Store,
        workers: Workers,
        activated: Callable[[Certificate], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`activated` is called in a worker thread when a certificate brought new state into force."""
        self._store = store
        self._workers = workers
        self._activated = activated
        self._clock = clock
        self._said: dict[bytes, float] = {}
        self._in_force: set[bytes] = set()
        """Runs whose outcome some member has in force: it says so in its hello."""
        self._ahead: set[tuple[bytes, PartyId]] = set()

    async def begin(self, membership: Membership) -> None:
        """After a start, or when the gateway lost what it had: show what this node has of every pending run."""
        for sid in await self._workers.step(self._pending_sids, membership.record_id):
            await self._say(membership, sid, again=True)

    async def hear(self, membership: Membership, party: PartyId, hello: Hello) -> None:
        """A member says what it lacks: post what this node has of it. And what it has: see whether it was here, too."""
        self._in_force.update(hello.certificates)
        for sid in hello.pending:
            await self._say(membership, sid)
        if hello.pending:
            log.debug("index %d waits for %d certificates", party.index - 1, len(hello.pending))
        if hello.certificates and (membership.committee_id, party) not in self._ahead:
            await self._compare(membership, party, hello.certificates)

    async def take(self, membership: Membership, sid: bytes, envelope: bytes) -> None:
        """A `done` of a run that is not under way here; whatever does not belong to pending state is dropped."""
        signed = membership.open(envelope)
        if signed is None or signed.body.kind is not Kind.DONE:
            return
        try:
            await self._workers.step(self._take, membership, sid, signed.body.sender, envelope)
        except StoreError as error:
            log.error("a certificate could not be stored: %s", error)  # noqa: TRY400 - written to be read

    async def _say(self, membership: Membership, sid: bytes, *, again: bool = False) -> None:
        now = self._clock()
        if not again and now - self._said.get(sid, -REPEAT_SECONDS) < REPEAT_SECONDS:
            return
        self._said[sid] = now
        while len(self._said) > 4 * MAX_SIDS:
            del self._said[next(iter(self._said))]
        for envelope in await self._workers.step(self._done_envelopes, membership.record_id, sid):
            membership.room.send(envelope)

    async def _compare(self, membership: Membership, party: PartyId, sids: Sequence[bytes]) -> None:
        unknown = await self._workers.step(self._unknown, sids)
        if unknown:
            self._ahead.add((membership.committee_id, party))
            log.error(
                "index %d holds certificates (session %s, %d in all) of which this node's store knows nothing: the store is "
                "an older copy; was a backup or a snapshot restored? Put the newest copy in its place: what was made since "
                "is missing here",
                party.index - 1,
                unknown[0].hex()[:16],
                len(unknown),
            )

    # In a worker thread

    def _unknown(self, sids: Sequence[bytes]) -> list[bytes]:
        return [sid for sid in sids if not self._store.sessions.known(sid)]

    def _pending_sids(self, committee_id: bytes) -> list[bytes]:
        return [p.sid for p in self._store.sessions.pendings() if p.committee_id == committee_id]

    def _done_envelopes(self, committee_id: bytes, sid: bytes) -> list[bytes]:
        certificate = self._store.sessions.certificate(sid)
        if certificate is not None:
            return list(certificate.envelopes) if certificate.committee_id == committee_id else []
        try:
            pending = self._store.sessions.pending(sid)
        except PendingNotFound:
            return []
        return list(pending.done.values()) if pending.committee_id == committee_id else []

    def _take(self, membership: Membership, sid: bytes, sender: PartyId, envelope: bytes) -> None:
        try:
            pending = self._store.sessions.pending(sid)
        except PendingNotFound:
            return
        holders = holders_of(pending, membership)
        if pending.committee_id != membership.record_id or sender not in holders:
            return
        if not says_done(pending, envelope):
            return
        try:
            done = self._store.sessions.add_done(sid, sender.index, envelope)
        except StoreConflict as error:
            log.warning("%s", error)
            return
        if set(done) >= {party.index for party in holders}:
            self._complete(membership, pending, list(done.values()))

    def _complete(self, membership: Membership, pending: Pending, envelopes: list[bytes]) -> None:
        try:
            check_pending(pending, holders_of(pending, membership), envelopes)
        except SchemaViolation as error:
            log.warning("the certificate of session %s does not verify: %s", pending.sid.hex()[:16], error)
            return
        in_force = pending.sid in self._in_force
        try:
            certificate = self._store.sessions.activate(pending.sid, envelopes, in_force=in_force)
        except StoreConflict as error:
            log.info("%s", error)
            return
        self._activated(certificate)
        log.info("session %s (%s) is complete: its result is in force", pending.sid.hex()[:16], pending.kind)


def holders_of(pending: Pending, membership: Membership) -> dict[PartyId, bytes]:
    """The parties that say done to this state: everybody in the committee that it is for."""
    role = NEW if pending.kind == reshare.KIND else HOLDER
    return {PartyId(role, k + 1): identity for k, identity in enumerate(membership.committee.identities)}
