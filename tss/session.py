"""The sans-I/O engine that drives any protocol (protocol.md 0.7, 0.8).

A `Session` takes envelopes and gives back envelopes. It alone checks the session id, sender, round and schema, buffers
early messages (one a slot), ignores exact duplicates, keeps two different signed ones as evidence, runs round 0 and the
echo rounds, and turns every failure into a typed error. It reads no clock: whoever drives it calls `expire` when
`phase` has lasted too long.

    out = session.start()
    while not session.finished:
        post(out)
        if session.jobs:                      # heavy arithmetic, to be run wherever the driver likes
            out = session.completed(run(session.jobs))
        else:
            out = session.receive(next_envelope())

Legal sequences: `start` once, then any mix of `receive` and (only while `jobs` is not empty) `completed`; `expire` and
`abort` at any time. What is received before `start` is kept for it. A complaint that is received ends the protocol: what
the jobs at hand give is dropped, and the next `jobs` are the complaint's judging. Feeding it anything at all raises only
ProtocolError and its kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tss.complaints import Complaint, Complaints
from tss.control import ABORT_SCHEMA, COMPLAINT_SCHEMA, read_acceptance
from tss.disputes import Disputes
from tss.echo import show_payloads, two_versions
from tss.echo_rounds import EchoRounds, Place
from tss.effects import (
    Compare,
    Compute,
    Dispute,
    Echo,
    Effect,
    Job,
    Persist,
    Progress,
    Protocol,
    Recall,
    Receive,
    Received,
    Send,
    SendDurably,
    SessionContext,
    Transcript,
)
from tss.encoding import Value, decode, encode
from tss.envelope import (
    Kind,
    PartyId,
    Signed,
    Slot,
    party_from_value,
)
from tss.errors import (
    AbortedByPeer,
    InternalError,
    ProtocolError,
    Refused,
    SchemaViolation,
    SessionClosed,
    Timeout,
    blaming,
)
from tss.evidence import messages_in
from tss.mailbox import SessionKey
from tss.rounds import read_broadcast
from tss.setting import AllAccepted, Member, Outgoing, Round0, Runtime, SessionStarted, Setup
from tss.speaker import Speaker
from tss.transcript import hash_commit

__all__ = [
    "AllAccepted",
    "Member",
    "Outgoing",
    "Round0",
    "Runtime",
    "Session",
    "SessionStarted",
    "Setup",
    "session_id",
]


class Session(Speaker):
    """One party in one session. Not thread-safe: the driver serialises its calls."""

    def __init__(
        self, setup: Setup, program: Callable[[SessionContext], Protocol[Any]], runtime: Runtime
    ) -> None:
        """Raises BadSignerSet when the members repeat or lack this party."""
        super().__init__(setup, runtime)
        self._program = program
        self._started = False
        self._generator: Protocol[Any] | None = None
        self._waiting: Receive | None = None
        self._echoes = EchoRounds(setup.suite.proto, setup.kind, setup.me, self.others, self._mail)
        self._disputes = Disputes(self.others, self._mail)
        self._complaints = Complaints(setup.suite, self._identities)
        self._echo_to_check: Place | None = None
        self._accepted: dict[PartyId, Value] = {}
        self.jobs: Sequence[Job] = ()
        self.brief = False
        """Whether none of the jobs takes more than a few milliseconds."""
        self.result: Any = None
        self.error: ProtocolError | None = None
        self.finished = False

    # -- the driver's side ---------------------------------------------------------------------------------------

    def start(self) -> list[Outgoing]:
        """Begin: send the acceptance (or, with Round0.NONE, the first round). Raises SessionClosed after an end."""
        self._refuse_when_finished()
        if self._started:
            raise InternalError("a session starts once")
        self._started = True
        return self._guard(self._enter_session if self.setup.round0 is Round0.NONE else self._accept)

    def receive(self, envelope: bytes) -> list[Outgoing]:
        """Take one envelope. What is not addressed to this session or not validly signed is dropped and counted.

        Raises SessionClosed when the session has ended.
        """
        self._refuse_when_finished()
        return self._guard(lambda: self._ingest(envelope))

    def completed(self, results: Sequence[Any | BaseException]) -> list[Outgoing]:
        """Give the results of `jobs`, in their order; an exception stands for itself.

        Raises SessionClosed when the session has ended, InternalError when these are not the results of its jobs.
        """
        self._refuse_when_finished()
        if not self.jobs or len(results) != len(self.jobs):
            raise InternalError(f"{len(results)} results for {len(self.jobs)} jobs")
        self.jobs = ()
        if self._complaints.first is not None:
            return self._guard(lambda: self._judged(results))
        return self._guard(lambda: self._resume_with_results(results))

    def expire(self) -> list[Outgoing]:
        """The deadline of the present phase has passed: end with Timeout, naming the silent parties."""
        if self._complaints.first is not None:
            return self._guard(self._end_unproven)
        if self._disputes.round is not None:
            return self._guard(self._resume_after_dispute)
        return self.abort(Timeout((party.index for party in self.waiting_for), self.phase))

    def abort(self, error: ProtocolError) -> list[Outgoing]:
        """End the session for a reason of our own; before `start` this declines the proposal."""
        return self._guard(lambda: self._fail(error))

    @property
    def dropped(self) -> Mapping[str, int]:
        """How many envelopes were dropped, by reason."""
        return self._mail.dropped

    @property
    def phase(self) -> str:
        """A stable name of what the session is doing: deadlines restart when it changes."""
        if self.finished:
            return "ended"
        if self._complaints.first is not None:
            return f"{self.setup.kind}.complaint"
        if self._generator is None:
            step = "r0"
        elif self._disputes.round is not None:
            return f"{self.setup.kind}.r{self._disputes.round}.show"
        elif self._waiting is None:
            step = "computing"
        else:
            step = "done" if self._waiting.kind is Kind.DONE else f"r{self._waiting.round}"
        return f"{self.setup.kind}.{step}" + (".show" if self._echoes.showing else "")

    @property
    def waiting_for(self) -> tuple[PartyId, ...]:
        """Parties whose messages the present phase lacks."""
        if self.finished or self.jobs:
            return ()
        if self._echoes.showing is not None:
            return self._echoes.lacking()
        if self._disputes.round is not None:
            return self._disputes.lacking()
        missing = self._missing_messages() + self._missing_echoes()
        return tuple(sorted({slot.sender for slot in missing}))

    def _refuse_when_finished(self) -> None:
        if self.finished:
            raise SessionClosed("the session has ended")

    def _guard(self, step: Callable[[], None]) -> list[Outgoing]:
        """Run a step of the engine; a protocol error inside ends the session, and what is to be posted is returned."""
        try:
            step()
        except ProtocolError as error:
            self._fail(error)
        except BaseException:
            self._out.clear()
            self._end(InternalError("stopped by an exception outside the error tree"))
            raise
        out, self._out = self._out, []
        return out

    # -- taking messages -----------------------------------------------------------------------------------------

    def _ingest(self, envelope: bytes) -> None:
        signed = self._mail.open(envelope)
        if signed is not None:
            self._take(signed)

    def _take(self, signed: Signed) -> None:
        kind = signed.body.kind
        if self._complaints.first is not None and kind in (Kind.ABORT, Kind.SHOW):
            return
        if kind is Kind.ABORT:
            self._take_abort(signed)
        elif kind is Kind.COMPLAINT:
            self._take_complaint(signed)
        elif kind is Kind.SHOW:
            self._take_show(signed)
        else:
            known = self._mail.keep(signed)
            if known is not None:
                raise self._equivocation(known, signed)
            self._advance()

    @contextmanager
    def _decoding(self, signed: Signed) -> Iterator[None]:
        """Blames what is wrong with a message that has no slot on its sender; the message is the evidence."""
        try:
            yield
        except SchemaViolation as fault:
            fault.blame(signed.body.sender, f"{self.setup.kind}.{signed.body.kind}.schema")
            fault.evidence = self._evidence(fault, signed.body.sender, [signed]).encode()
            raise

    def _take_abort(self, signed: Signed) -> None:
        with self._decoding(signed):
            code, text = decode(signed.body.payload, ABORT_SCHEMA)
        if self._committed:
            return
        sender = signed.body.sender
        took_part = any(slot.sender == sender for slot in self._mail.slots)
        declined = signed.body.sid == self.setup.ph and not took_part
        kind = Refused if declined else AbortedByPeer
        self._end(kind(sender.index, f"{code}: {text}"))

    def _take_complaint(self, signed: Signed) -> None:
        """Any complaint ends the run. Two versions of one message in its evidence prove themselves to us at once."""
        with self._decoding(signed):
            accused, check, evidence = decode(signed.body.payload, COMPLAINT_SCHEMA)
        if self._committed or not self._complaints.listens_to(signed.body.sender):
            return
        try:
            versions = two_versions(self._mail.slots, self._mail.authentic(messages_in(evidence)))
        except SchemaViolation:
            versions = None
        if versions is not None:
            raise self._equivocation(*versions)
        if not self._mail.room_for(signed):
            evidence = b""
        self._complaints.take(Complaint(signed, party_from_value(accused), check, evidence))
        if self._generator is not None:
            self._generator.close()
        if not self.jobs:
            self._judge_next()

    def _judge_next(self) -> None:
        scopes = [scope for scope in (self.setup.ph, self.sid) if scope is not None]
        scopes += [signed.body.sid for signed in self.setup.background]
        job = self._complaints.next_job(self._preimages(), scopes) if self._started else None
        if job is None:
            self._end_unproven()
        else:
            self.jobs, self.brief = [job], False

    def _end_unproven(self) -> None:
        """A complaint that proves nothing: its sender ended the run, and nobody is blamed."""
        complaint = self._complaints.first
        if complaint is not None and not self.finished:
            self._end(AbortedByPeer(complaint.by.index, complaint.reason))

    def _judged(self, results: Sequence[Any | BaseException]) -> None:
        """What the judge found: who is accused is guilty, or who complained accuses falsely, or nobody is to blame."""
        complaint = self._complaints.judging
        if complaint is None:
            # Of jobs that were under way when the complaint came.
            self._judge_next()
            return
        (verdict,) = results
        if isinstance(verdict, BaseException):
            raise InternalError(f"a complaint could not be judged: {type(verdict).__name__}") from verdict
        if verdict.fault is not None and complaint.accused == self.me:
            raise InternalError(f"what this party sent fails a check, as a peer shows: {verdict.fault}")
        if verdict.fault is not None:
            verdict.fault.evidence = complaint.evidence
            raise verdict.fault
        if verdict.cleared:
            raise self._complaints.false_accusation(self.setup.kind, self._preimages())
        self._judge_next()

    def _take_show(self, signed: Signed) -> None:
        """A peer found echoes that differ: show ours of that round too, and judge what can be judged."""
        with self._decoding(signed):
            self._mail.keep_show(signed)
        self._show_and_judge((signed.body.sid, signed.body.round))
        self._settle_dispute()

    # -- round 0 -------------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        self._persist(SessionStarted(self.setup.ph, self.setup.kind, self.setup.ph))
        nonce = self._runtime.rng(32)
        self._mail.key = SessionKey(self._runtime.rng)
        enclosed = () if self.setup.enclosed is None else (self.setup.enclosed.value,)
        self._send(self.setup.ph, 0, Kind.MSG, encode([nonce, self._mail.key.public, *enclosed]))
        self._advance()

    def _enter_session(self) -> None:
        """Compute the sid, store it, start the protocol."""
        setup = self.setup
        if setup.round0 is Round0.NONE:
            self.sid_preimage = [self.suite.proto, "sid", setup.kind, self.suite.group.name, setup.ph]
        else:
            self.sid_preimage = [
                self.suite.proto, "sid", setup.kind, self.suite.group.name, self.suite.level.as_list(), setup.ph,
                self._acceptances(), *setup.tail,
            ]  # fmt: skip
        sid = session_id(self.sid_preimage)
        self._persist(SessionStarted(sid, setup.kind, setup.ph))
        self.sid = self._mail.sid = sid
        context = SessionContext(
            self.suite, sid, self.me, self._identities, self._runtime.rng, accepted=self._accepted
        )
        self._generator = self._program(context)
        self._run(next)
        for signed in self._mail.take_early():
            if not self.finished:
                self._take(signed)

    def _acceptances(self) -> list[Value]:
        """[[role, I_j, idkey_j, nonce_j, epk_j] sorted]; takes the epks, and what is enclosed."""
        listed: list[Value] = []
        schema = None if self.setup.enclosed is None else self.setup.enclosed.schema
        for party in self.parties:
            signed = self._mail.slots[Slot(self.setup.ph, 0, Kind.MSG, party, None)]
            with blaming(party, f"{self.setup.kind}.r0.schema"):
                nonce, epk, enclosed = read_acceptance(signed.body.payload, schema)
            self._epks[party] = epk
            if enclosed is not None:
                self._accepted[party] = enclosed
            listed.append([party.role, party.index, self._identities[party], nonce, epk])
        return listed

    # -- driving the protocol ------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Go on as far as the messages at hand allow."""
        if not self._started or self._complaints.first is not None:
            return
        if self._generator is None:
            self._advance_round0()
        elif self._round0_passed():
            self._advance_rounds()
            self._settle_dispute()

    def _advance_round0(self) -> None:
        if self._missing_messages():
            return
        place = (self.setup.ph, 0)
        if self.setup.round0 is Round0.WITH_ROUND_1:
            self._send_echo(place, self.parties)
            self._enter_session()
        else:
            if not self._echoes.sent(place):
                self._persist(AllAccepted(self.setup.ph))
            if self._echo_passed(place, self.parties):
                self._enter_session()

    def _round0_passed(self) -> bool:
        """Whether nothing of round 0 is left to wait for.

        With round 1 its echoes are compared without waiting for that: where acceptances differ the sids do, and no
        message of round 1 arrives.
        """
        if self.setup.round0 is not Round0.WITH_ROUND_1:
            return True
        return self._echo_passed((self.setup.ph, 0), self.parties)

    def _advance_rounds(self) -> None:
        while self._waiting is not None:
            receive = self._waiting
            due = None if receive.broadcast is None else self._echo_to_check
            if due is not None and self._travelling_echo_differs(due, receive):
                return
            if self._missing_messages() or not self._blocking_echo_passed(receive):
                return
            received = self._collect(receive, due)
            if receive.echo is Echo.NEXT and receive.broadcast is not None:
                self._echo_to_check = (self.sid_or_fail(), receive.round)
                self._echo_to_send = self._echoes.own(self._echo_to_check, self._senders(receive))
            self._waiting = None
            self._run(_sending(received))

    def _missing_messages(self) -> list[Slot]:
        """Slots that the present phase waits for and that are still empty, those of echo envelopes aside."""
        ph, receive = self.setup.ph, self._waiting
        wanted: list[Slot] = []
        if self._generator is None:
            wanted = [Slot(ph, 0, Kind.MSG, party, None) for party in self.others]
        elif receive is not None:
            for party in self._from(receive):
                if receive.broadcast is not None:
                    wanted.append(Slot(self.sid_or_fail(), receive.round, receive.kind, party, None))
                if receive.p2p is not None and (receive.p2p_from is None or party in receive.p2p_from):
                    wanted.append(Slot(self.sid_or_fail(), receive.round, receive.kind, party, self.me))
        return [slot for slot in wanted if slot not in self._mail.slots]

    def _missing_echoes(self) -> list[Slot]:
        """Slots of echo envelopes that are still empty, in the rounds in which ours was sent."""
        places = [(self.setup.ph, 0)]
        if self._waiting is not None:
            places.append((self.sid_or_fail(), self._waiting.round))
        wanted = [
            Slot(*place, Kind.ECHO, party, None)
            for place in places
            if self._echoes.sent(place)
            for party in self.others
        ]
        return [slot for slot in wanted if slot not in self._mail.slots]

    def _from(self, receive: Receive) -> Sequence[PartyId]:
        return self.others if receive.senders is None else receive.senders

    def _senders(self, receive: Receive) -> tuple[PartyId, ...]:
        """All that broadcast in this round, this party included if it did; the echo covers them and nobody else."""
        own = self._mail.get(self.sid_or_fail(), receive.round, receive.kind, self.me)
        return tuple(sorted({*self._from(receive), *(() if own is None else (self.me,))}))

    def _run(self, resume: Callable[[Protocol[Any]], Effect]) -> None:
        """Resume the protocol and carry out its effects until it waits, computes or ends."""
        if self._generator is None:
            raise InternalError("the protocol has not begun")
        while True:
            try:
                effect = resume(self._generator)
            except StopIteration as stop:
                if self._echo_to_check is not None:
                    raise InternalError("the protocol ended before all its echoes were compared") from None
                self.result = stop.value
                self._close()
                return
            if isinstance(effect, Receive):
                self._waiting = effect
                self._advance()
                return
            if isinstance(effect, Compute) and effect.jobs:
                self.jobs, self.brief = effect.jobs, effect.brief
                return
            if isinstance(effect, Dispute):
                for place in self._disputes.begin(self.sid_or_fail(), effect):
                    self._show_and_judge(place)
                self._settle_dispute()
                return
            resume = _sending(self._carry_out(effect))

    def _resume_with_results(self, results: Sequence[Any | BaseException]) -> None:
        """The first exception in list order decides, whichever job ended first."""
        failed = next((result for result in results if isinstance(result, BaseException)), None)
        if failed is None:
            self._run(_sending(list(results)))
        elif isinstance(failed, ProtocolError):
            self._run(_throwing(failed))
        else:
            error = InternalError(f"a computation failed: {type(failed).__name__}")
            error.__cause__ = failed
            self._run(_throwing(error))

    def _carry_out(self, effect: Effect) -> Any:
        if isinstance(effect, Send):
            return self._send_round(effect)
        if isinstance(effect, SendDurably):
            return self._send_durably(effect)
        if isinstance(effect, Persist):
            return self._persist(effect.record)
        if isinstance(effect, Progress):
            return self._runtime.progress(effect.stage)
        if isinstance(effect, Compute):
            return []
        if isinstance(effect, Recall):
            return self._recall(effect.rounds)
        if isinstance(effect, Compare):
            return self._compare(effect.shown)
        raise InternalError(f"unknown effect {type(effect).__name__}")

    def _recall(self, rounds: Sequence[int]) -> Transcript:
        sid = self.sid_or_fail()
        messages = tuple(
            signed
            for slot, signed in self._mail.slots.items()
            if slot.sid == sid
            and slot.round in rounds
            and slot.to is None
            and slot.kind in (Kind.MSG, Kind.ECHO)
        )
        return Transcript(tuple(self.sid_preimage or ()), messages)

    def _compare(self, shown: Sequence[Sequence[bytes]]) -> None:
        for signed in self._mail.authentic(shown):
            known = self._mail.keep(signed)
            if known is not None:
                raise self._equivocation(known, signed)

    # -- echoes --------------------------------------------------------------------------------------------------

    def _send_echo(self, place: Place, senders: Sequence[PartyId]) -> None:
        self._send(*place, Kind.ECHO, encode(self._echoes.own(place, senders).as_value()))

    def _blocking_echo_passed(self, receive: Receive) -> bool:
        if receive.echo is not Echo.BLOCKING:
            return True
        return self._echo_passed((self.sid_or_fail(), receive.round), self._senders(receive))

    def _echo_passed(self, place: Place, senders: Sequence[PartyId]) -> bool:
        """Send the echo of a round (once) and say whether everybody's is in and equal."""
        if not self._echoes.sent(place):
            self._send_echo(place, senders)
        equal = self._echoes.envelopes_equal(place)
        if equal is False:
            self._show_and_judge(place)
        return bool(equal)

    def _travelling_echo_differs(self, due: Place, receive: Receive) -> bool:
        slots = (
            Slot(self.sid_or_fail(), receive.round, receive.kind, party, None)
            for party in self._from(receive)
        )
        at_hand = [self._mail.slots[slot] for slot in slots if slot in self._mail.slots]
        differs = self._echoes.travelling_differ(due, at_hand)
        if differs:
            self._show_and_judge(due)
        return differs

    def _show_and_judge(self, place: Place) -> None:
        """The messages of a round differ: show all that we have of it, once, and raise what the shows at hand prove."""
        echoed = self.setup.round0 is not Round0.NONE
        shown = self._echoes.to_show(place) if echoed else self._disputes.to_show(place)
        for payload in show_payloads(shown) if shown else ():
            self._send(*place, Kind.SHOW, payload)
        versions = self._echoes.equivocation()
        if versions is not None:
            raise self._equivocation(*versions)
        found = self._echoes.contradiction()
        if found is not None:
            fault, accused, show = found
            own = [signed for slot, signed in self._mail.slots.items() if slot.sender == accused]
            fault.evidence = self._evidence(fault, accused, [*own, show.signed]).encode()
            raise fault

    def _settle_dispute(self) -> None:
        """End what this party disputes, as soon as everybody has shown what it has."""
        if self.finished or self.setup.round0 is not Round0.NONE or not self._mail.shows:
            return
        versions = self._echoes.equivocation()
        if versions is not None:
            raise self._equivocation(*versions)
        if self._disputes.round is not None and not self._disputes.lacking():
            self._resume_after_dispute()

    def _resume_after_dispute(self) -> None:
        self._disputes.end()
        self._run(_sending(None))

    # -- decoding a round ----------------------------------------------------------------------------------------

    def _collect(self, receive: Receive, due: Place | None) -> dict[PartyId, Received]:
        """Decode the messages of a round. Echoes of the round `due` travel inside; what can be read of them is equal."""
        sid = self.sid_or_fail()
        received: dict[PartyId, Received] = {}
        for party in self._from(receive):
            broadcast, p2p = None, None
            signed_b = self._mail.get(sid, receive.round, receive.kind, party)
            signed_p = self._mail.get(sid, receive.round, receive.kind, party, self.me)
            with blaming(party, f"{self.setup.kind}.r{receive.round}.schema"):
                if receive.broadcast is not None and signed_b is not None:
                    echo, broadcast = read_broadcast(
                        signed_b.body.payload, receive.broadcast, echo_due=due is not None
                    )
                    if due is not None and echo is not None:
                        self._echoes.read(due, party, echo)
                if receive.p2p is not None and signed_p is not None:
                    p2p = decode(signed_p.body.payload, receive.p2p)
            received[party] = Received(broadcast, p2p, signed_b, signed_p)
        if due is not None:
            self._echo_to_check = None
        return received

    # -- ending --------------------------------------------------------------------------------------------------

    def _fail(self, error: ProtocolError) -> None:
        """End with an error of our own finding and tell the others."""
        if self.finished:
            return
        try:
            self._tell(error)
        finally:
            self._end(error)

    def _end(self, error: ProtocolError) -> None:
        self.error = error
        self._close()

    def _close(self) -> None:
        self.finished = True
        self.jobs = ()
        self._mail.close()
        if self._generator is not None:
            self._generator.close()


def _sending(value: Any) -> Callable[[Protocol[Any]], Effect]:
    return lambda generator: generator.send(value)


def _throwing(error: ProtocolError) -> Callable[[Protocol[Any]], Effect]:
    return lambda generator: generator.throw(error)


def session_id(preimage: Sequence[Value]) -> bytes:
    """Sid = Hc("sid", kind, group name, ...) of the preimage [PROTO, "sid", kind, ...], 32 bytes (protocol.md 0.7)."""
    proto, tag, *values = preimage
    return hash_commit(proto, tag, *values)
