"""One node around real sessions: its rooms, its records, its policy, its stock; it crashes and comes back.

It does what the node of `participant` does, in the fewest words that leave the sessions the same life: a proposal is rebuilt
from own records and refused where it differs, presignatures live in memory alone, what must be durable is before it leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Final

from simulation.artefacts import Ended, Holding
from simulation.driving import Driving, Running
from simulation.planning import Declined
from tss.cggmp24 import presign, sign
from tss.cggmp24.presignature import Presignature, State
from tss.encoding import encode
from tss.envelope import Body, Kind, Signed, pack, routing, unpack_broadcast, verify_signature
from tss.errors import CallerError, PeerFault, SchemaViolation
from tss.proposal import Proposal, decode_proposal

MAX_WAITS: Final = 20
"""Looks, a second apart, for a presignature that its owner had a moment before."""


class Party(Driving):
    """An honest one."""

    # -- crash and restart -----------------------------------------------------------------------------------------

    def crash(self, down: float) -> None:
        """The process is gone, with all that it did not persist."""
        if not self.up:
            return
        self.world.count("crash")
        self.say("crashes")
        self.up = False
        self.lives += 1
        gone = {id(running): running for running in self.running.values() if not running.over}
        self._fresh()
        for running in gone.values():
            running.over = True
            self._record_end(running, None, None)
        self.world.scheduler.after(down, self.restart)

    def restart(self) -> None:
        """A new process, with the disk alone: what was stored durably is said again, byte for byte (protocol.md 0.7)."""
        if self.up:
            return
        self.say("is back")
        self.up = True
        self.disk.crashes.clear()
        for sid in list(self.disk.pendings):
            self._say_done(sid, self.world.others(self.index))
        for _, envelope in self.disk.kept[-8:]:
            self._send_all(envelope, self.world.others(self.index))
        if self.dice.random() < 0.5:
            self.world.relay.show_past(self.index)

    def hello(self) -> None:
        """Tell the others for which runs this party waits; they answer with what they have."""
        if self.up and self.disk.pendings:
            for other in self.world.others(self.index):
                self.world.hello(self.index, other, tuple(self.disk.pendings))

    def hear_hello(self, sender: int, sids: Iterable[bytes]) -> None:
        if self.up:
            for sid in sids:
                self._say_done(sid, [sender])

    def _say_done(self, sid: bytes, recipients: Iterable[int]) -> None:
        for envelope in self.disk.done_envelopes(sid):
            self._send_all(envelope, recipients)

    # -- proposing -------------------------------------------------------------------------------------------------

    def propose(self, proposal: Proposal, then: Callable[[Ended], None] | None = None) -> Running | None:
        """Propose and take part; None when this party itself declines."""
        if not self.up:
            return None
        try:
            plan = self.plan(proposal)
        except (Declined, CallerError) as declined:
            self.say(f"does not propose {proposal.kind}: {declined}")
            return None
        self.world.artefacts.proposals[plan.ph] = proposal
        self.say(f"proposes {proposal.kind} {plan.ph.hex()[:6]} to {plan.members}")
        signed = self.sign(proposal.body(self.world.suite), None)
        self._send_all(pack(signed), [j for j in plan.members if j != self.index])
        return self._begin(replace(plan, signed=signed), then)

    def _take_proposal(self, envelope: bytes, waits: int = 0) -> None:
        signed = self._opened(envelope)
        if signed is None or signed.body.sid in self.answered or not self.up:
            return
        try:
            proposal = decode_proposal(self.world.suite, signed.body)
        except PeerFault:
            return
        ph = signed.body.sid
        self.world.artefacts.proposals.setdefault(ph, proposal)
        if waits < MAX_WAITS and self._must_wait(proposal):
            lives = self.lives
            again = partial(self._take_proposal, envelope, waits + 1)
            self.world.scheduler.after(1.0, lambda: again() if lives == self.lives else None)
            return
        self.answered.add(ph)
        if ph in self.disk.sids:
            # Accepted by a former process: what it knew is lost.
            return
        try:
            plan = self.plan(proposal)
        except (Declined, CallerError) as declined:
            self.say(f"declines {proposal.kind} {ph.hex()[:6]}: {declined}")
            note = Body(
                self.world.suite.proto,
                ph,
                0,
                Kind.ABORT,
                self.me,
                None,
                encode(["DECLINED", str(declined)[:400]]),
            )
            self._send_all(pack(self.sign(note, None)), self.world.others(self.index))
            return
        self._begin(replace(plan, signed=signed), None)

    def _must_wait(self, proposal: Proposal) -> bool:
        """The owner of a presignature may use it a moment before this party has its half."""
        making = any(r.plan.proposal.kind == presign.KIND and not r.over for r in self.running.values())
        return proposal.kind == sign.KIND and proposal.tail[0] not in self.stock and making

    # -- envelopes -------------------------------------------------------------------------------------------------

    def deliver(self, envelope: bytes) -> None:
        """Take an envelope from the relay."""
        if not self.up:
            if self.dice.random() < 0.5:
                # The gateway shows a room's past to whoever comes back.
                self.world.scheduler.after(
                    5.0 + self.dice.random(), lambda: self.deliver(envelope) if self.up else None
                )
            return
        try:
            scope, kind, _ = routing(envelope)
        except SchemaViolation:
            return
        if kind is Kind.PROPOSE:
            self._take_proposal(envelope)
            return
        running = self.running.get(scope)
        if running is not None:
            self._give(running, envelope)
        elif len(self.early[scope]) < 64:
            self.early[scope].append(envelope)
        if kind is Kind.DONE and (running is None or running.over):
            self._take_done(envelope)

    def _take_done(self, envelope: bytes) -> None:
        signed = self._opened(envelope)
        if signed is None:
            return
        known = {name: account.share for name, account in self.disk.accounts.items()}
        try:
            self.disk.take_done(signed, envelope, self.world.artefacts.identities)
        except Exception as error:  # noqa: BLE001 - the disk's own refusals, looked at in the trace
            self.say(f"does not activate: {error}")
        self._note_activated(known)

    def _opened(self, envelope: bytes) -> Signed | None:
        """A member's signed broadcast."""
        try:
            body, *parts = unpack_broadcast(envelope)
        except SchemaViolation:
            return None
        identity = self.world.artefacts.identities.get(body.sender)
        if identity is None or body.sender == self.me or not verify_signature(identity, *parts):
            return None
        return Signed(body, *parts)

    # -- the end ---------------------------------------------------------------------------------------------------

    def holding(self) -> Holding:
        disk = self.disk
        active = {name: account.share for name, account in disk.accounts.items()}
        waiting = tuple(
            (p.account_id, p.state.share) for p in disk.pendings.values() if p.state.share is not None
        )
        return Holding(active, waiting, disk.aux.get(disk.current_aux or b""))

    def fresh_stock(self, signers: tuple[int, ...], key_id: bytes) -> Presignature | None:
        """The oldest one of its own that nobody has asked for."""
        for presignature in self.stock.values():
            public = presignature.public
            if (
                (public.owner, public.signers, public.key_id) == (self.index, signers, key_id)
                and presignature.state is State.FRESH
                and presignature.id not in self.reserved
            ):
                self.reserved.add(presignature.id)
                return presignature
        return None
