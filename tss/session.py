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
`abort` at any time. Feeding it anything at all raises only ProtocolError and its kind.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tss.echo import ECHO_SCHEMA, EchoRecord, echo_from_value, echo_of, judge_shows, show_value
from tss.effects import (
    Compute,
    Durable,
    Echo,
    Effect,
    Job,
    Persist,
    Progress,
    Protocol,
    Receive,
    Received,
    Send,
    SendDurably,
    SessionContext,
)
from tss.encoding import Bytes, Optional, Schema, Text, Tuple, Value, decode, encode
from tss.envelope import (
    MAX_ENVELOPE_BYTES,
    PARTY_SCHEMA,
    Body,
    Kind,
    PartyId,
    Signed,
    SignFunction,
    Slot,
    pack,
    party_from_value,
    seal,
    sign,
)
from tss.errors import (
    AbortedByPeer,
    Equivocation,
    InternalError,
    PeerFault,
    ProtocolError,
    Refused,
    SchemaViolation,
    SessionClosed,
    Timeout,
    blaming,
)
from tss.evidence import Evidence
from tss.mailbox import Mailbox, SessionKey
from tss.params import Suite
from tss.rand import Rng
from tss.transcript import hash_commit

MAX_REASON: Final = 500

_ACCEPTANCE_SCHEMA: Final = Tuple(Bytes(32), Bytes(32))
_ABORT_SCHEMA: Final = Tuple(Text(64), Text(MAX_REASON))
_COMPLAINT_SCHEMA: Final = Tuple(PARTY_SCHEMA, Text(128), Bytes(0, MAX_ENVELOPE_BYTES))


class Round0(enum.Enum):
    """How a session begins (protocol.md 0.7, 0.8)."""

    BLOCKING = "blocking"
    """Acceptances, then an echo that must be equal before round 1."""
    WITH_ROUND_1 = "with round 1"
    """Acceptances; their echo goes out together with round 1 and is checked before round 2."""
    NONE = "none"
    """The sid is known from the proposal on (signing from stock)."""


@dataclass(frozen=True)
class Member:
    """A party and the Ed25519 identity key (32 bytes) that its messages are verified with."""

    party: PartyId
    identity: bytes


@dataclass(frozen=True)
class Setup:
    """What all parties of a session agree on before it begins.

    `ph` is the proposal's hash; `tail` is the list that protocol.md 0.7 gives for `kind`.
    """

    suite: Suite
    kind: str
    me: PartyId
    members: tuple[Member, ...]
    ph: bytes
    tail: Sequence[Value]
    round0: Round0 = Round0.BLOCKING


@dataclass(frozen=True)
class SessionStarted:
    """Persisted before the first message under the sid: a party never speaks again in a sid whose state it lost."""

    sid: bytes
    kind: str
    ph: bytes


@dataclass(frozen=True)
class Outgoing:
    """An envelope to post. `scope` is what its sid field holds: the proposal's hash or the session's id."""

    envelope: bytes
    scope: bytes
    sender: PartyId
    to: PartyId | None


@dataclass
class Runtime:
    """What the surroundings provide: randomness, the identity's signature, durable storage, a place for progress."""

    rng: Rng
    sign: SignFunction
    persist: Callable[[object], Any]
    progress: Callable[[str], None] = field(default=lambda _: None)


class Session:
    """One party in one session. Not thread-safe: the driver serialises its calls."""

    def __init__(
        self, setup: Setup, program: Callable[[SessionContext], Protocol[Any]], runtime: Runtime
    ) -> None:
        self.setup = setup
        self.suite = setup.suite
        self.me = setup.me
        self._identities = {member.party: member.identity for member in setup.members}
        self.parties = tuple(sorted(self._identities))
        self.others = tuple(party for party in self.parties if party != self.me)
        self._program = program
        self._runtime = runtime
        self._generator: Protocol[Any] | None = None
        self._waiting: Receive | None = None
        self._out: list[Outgoing] = []
        self._mail = Mailbox(setup.suite.proto, setup.me, self._identities, setup.ph)
        self._echo_to_send: EchoRecord | None = None
        self._echo_to_check: int | None = None
        self._echoes: dict[PartyId, EchoRecord] = {}
        self._echo_checked: set[tuple[bytes, int]] = set()
        self._showing: tuple[bytes, int] | None = None
        self._epks: dict[PartyId, bytes] = {}
        self._committed = False
        self.sid: bytes | None = None
        self.sid_preimage: list[Value] | None = None
        self.jobs: Sequence[Job] = ()
        self.result: Any = None
        self.error: ProtocolError | None = None
        self.finished = False

    # -- the driver's side ---------------------------------------------------------------------------------------

    def start(self) -> list[Outgoing]:
        """Begin: send the acceptance (or, with Round0.NONE, the first round)."""
        if self.setup.round0 is Round0.NONE:
            return self._guard(self._enter_session)
        return self._guard(self._accept)

    def receive(self, envelope: bytes) -> list[Outgoing]:
        """Take one envelope. What is not addressed to this session or not validly signed is dropped and counted.

        Raises SessionClosed when the session has ended.
        """
        if self.finished:
            raise SessionClosed("the session has ended")
        return self._guard(lambda: self._ingest(envelope))

    def completed(self, results: Sequence[Any | BaseException]) -> list[Outgoing]:
        """Give the results of `jobs`, in their order; an exception stands for itself."""
        if self.finished:
            raise SessionClosed("the session has ended")
        self.jobs = ()
        return self._guard(lambda: self._resume_with_results(results))

    def expire(self) -> list[Outgoing]:
        """The deadline of the present phase has passed: end with Timeout, naming the silent parties."""
        if self.finished:
            return []
        return self._guard(lambda: self._fail(Timeout((p.index for p in self.waiting_for), self.phase)))

    def abort(self, error: ProtocolError) -> list[Outgoing]:
        """End the session for a reason of our own."""
        if self.finished:
            return []
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
        if self._generator is None:
            return f"{self.setup.kind}.r0"
        if self._waiting is None:
            return f"{self.setup.kind}.computing"
        suffix = "done" if self._waiting.kind is Kind.DONE else f"r{self._waiting.round}"
        return f"{self.setup.kind}.{suffix}" + (".show" if self._showing else "")

    @property
    def waiting_for(self) -> tuple[PartyId, ...]:
        """Parties whose messages the present phase lacks."""
        if self.finished or self.jobs:
            return ()
        if self._showing is not None:
            return tuple(p for p in self.others if (*self._showing, p) not in self._mail.shows)
        missing = {slot.sender for slot in self._missing_slots()}
        return tuple(sorted(missing))

    # -- taking messages -----------------------------------------------------------------------------------------

    def _guard(self, step: Callable[[], None]) -> list[Outgoing]:
        """Run a step of the engine; a protocol error inside ends the session, and what is to be posted is returned."""
        try:
            step()
        except ProtocolError as error:
            self._fail(error)
        out, self._out = self._out, []
        return out

    def _ingest(self, envelope: bytes) -> None:
        signed = self._mail.open(envelope)
        if signed is None:
            return
        kind, sender = signed.body.kind, signed.body.sender
        with blaming(sender.index, f"{self.setup.kind}.{kind}.schema"):
            if kind is Kind.ABORT:
                self._take_abort(signed)
            elif kind is Kind.COMPLAINT:
                self._take_complaint(signed)
            elif kind is Kind.SHOW:
                self._take_show(signed)
            elif kind in (Kind.MSG, Kind.ECHO, Kind.DONE):
                self._take_slot(signed)
            else:
                self._mail.dropped["kind"] += 1

    def _take_slot(self, signed: Signed) -> None:
        slot = signed.body.slot
        known = self._mail.slots.get(slot)
        if known is None:
            self._mail.slots[slot] = signed
            self._advance()
        elif known.encoded != signed.encoded:
            fault = Equivocation("two different signed messages in one slot")
            fault.blame(slot.sender.index, f"{self.setup.kind}.r{slot.round}.{slot.kind}")
            fault.evidence = self._evidence(fault, slot.sender, [known, signed]).encode()
            raise fault

    def _take_abort(self, signed: Signed) -> None:
        code, text = decode(signed.body.payload, _ABORT_SCHEMA)
        if self._committed:
            return
        error: ProtocolError
        if signed.body.sid == self.setup.ph and self._generator is None:
            error = Refused(signed.body.sender.index, f"{code}: {text}")
        else:
            error = AbortedByPeer(signed.body.sender.index, f"{code}: {text}")
        self._end(error)

    def _take_complaint(self, signed: Signed) -> None:
        accused, check, _ = decode(signed.body.payload, _COMPLAINT_SCHEMA)
        if not self._committed:
            who = party_from_value(accused).index
            self._end(AbortedByPeer(signed.body.sender.index, f"complains about party {who}: {check}"))

    def _take_show(self, signed: Signed) -> None:
        if self._mail.put_show(signed):
            self._advance()

    # -- round 0 -------------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        nonce = self._runtime.rng(32)
        self._mail.key = SessionKey(self._runtime.rng)
        self._send(self.setup.ph, 0, Kind.MSG, encode([nonce, self._mail.key.public]))
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
        self.sid = self._mail.sid = session_id(self.sid_preimage)
        self._runtime.persist(SessionStarted(self.sid, setup.kind, setup.ph))
        context = SessionContext(self.suite, self.sid, self.me, self._identities, self._runtime.rng)
        self._generator = self._program(context)
        self._run(None)
        for envelope in self._mail.take_early():
            if not self.finished:
                self._ingest(envelope)

    def _acceptances(self) -> list[Value]:
        """[[role, I_j, idkey_j, nonce_j, epk_j] sorted]; takes the epks."""
        key = self._mail.key
        if key is None:
            raise InternalError("acceptances are read before one was sent")
        listed: list[Value] = []
        for party, signed in self._mail.broadcasts(self.setup.ph, 0).items():
            with blaming(party.index, f"{self.setup.kind}.r0.schema"):
                nonce, epk = decode(signed.body.payload, _ACCEPTANCE_SCHEMA)
                if party != self.me:
                    key.check_peer(epk)
            self._epks[party] = epk
            listed.append([party.role, party.index, self._identities[party], nonce, epk])
        return listed

    # -- driving the protocol ------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Go on as far as the messages at hand allow."""
        if self._showing is not None:
            self._judge_if_complete()
        if self._generator is None and self.setup.round0 is not Round0.NONE:
            self._advance_round0()
        while not self.finished and not self.jobs and self._waiting is not None and self._showing is None:
            if self._missing_slots():
                return
            receive = self._waiting
            if receive.echo is Echo.BLOCKING and not self._blocking_echo_done(
                self.sid_or_fail(), receive.round
            ):
                return
            received = self._collect(receive)
            if self._showing is not None:
                return
            if receive.echo is Echo.NEXT and receive.broadcast is not None:
                self._echo_to_send = self._own_echo(self.sid_or_fail(), receive.round)
                self._echo_to_check = receive.round
            self._waiting = None
            self._run(received)

    def _advance_round0(self) -> None:
        if self._showing is not None or self._missing_slots():
            return
        if self.setup.round0 is Round0.BLOCKING:
            if self._blocking_echo_done(self.setup.ph, 0):
                self._enter_session()
        else:
            self._send_echo(self.setup.ph, 0)
            self._enter_session()

    def sid_or_fail(self) -> bytes:
        """The sid, once it is known."""
        if self.sid is None:
            raise InternalError("the session id is not known yet")
        return self.sid

    def _missing_slots(self) -> list[Slot]:
        """Slots that the present phase waits for and that are still empty."""
        wanted: list[Slot] = []
        if self._generator is None:
            wanted += [Slot(self.setup.ph, 0, Kind.MSG, party, None) for party in self.others]
            missing = [slot for slot in wanted if slot not in self._mail.slots]
            if missing or self.setup.round0 is not Round0.BLOCKING:
                return missing
            if self._echoed(self.setup.ph, 0):
                wanted = [Slot(self.setup.ph, 0, Kind.ECHO, party, None) for party in self.others]
        elif self._waiting is not None:
            receive, sid = self._waiting, self.sid_or_fail()
            for party in self.others if receive.senders is None else receive.senders:
                if receive.broadcast is not None:
                    wanted.append(Slot(sid, receive.round, receive.kind, party, None))
                if receive.p2p is not None:
                    wanted.append(Slot(sid, receive.round, receive.kind, party, self.me))
            if self.setup.round0 is Round0.WITH_ROUND_1:
                wanted += [Slot(self.setup.ph, 0, Kind.ECHO, party, None) for party in self.others]
            if self._echoed(sid, receive.round):
                wanted += [Slot(sid, receive.round, Kind.ECHO, party, None) for party in self.others]
        return [slot for slot in wanted if slot not in self._mail.slots]

    def _run(self, value: Any) -> None:
        """Resume the protocol with `value` and carry out its effects until it waits, computes or ends."""
        if self._generator is None:
            raise InternalError("the protocol has not begun")
        try:
            effect: Effect = self._generator.send(value)
            while True:
                if isinstance(effect, Receive):
                    self._waiting = effect
                    self._advance()
                    return
                if isinstance(effect, Compute):
                    self.jobs = effect.jobs
                    return
                effect = self._generator.send(self._carry_out(effect))
        except StopIteration as stop:
            self.result = stop.value
            self._close()

    def _resume_with_results(self, results: Sequence[Any | BaseException]) -> None:
        for result in results:
            if isinstance(result, ProtocolError):
                raise result
            if isinstance(result, BaseException):
                raise InternalError(f"a computation failed: {type(result).__name__}") from result
        self._run(list(results))

    def _carry_out(self, effect: Effect) -> Any:
        if isinstance(effect, Send):
            return self._send_round(effect)
        if isinstance(effect, SendDurably):
            return self._send_durably(effect)
        if isinstance(effect, Persist):
            return self._runtime.persist(effect.record)
        if isinstance(effect, Progress):
            return self._runtime.progress(effect.stage)
        raise InternalError(f"unknown effect {type(effect).__name__}")

    def _send_round(self, effect: Send) -> None:
        sid = self.sid_or_fail()
        if effect.broadcast is not None:
            echo = None if self._echo_to_send is None else self._echo_to_send.as_value()
            self._echo_to_send = None
            self._send(sid, effect.round, effect.kind, encode([echo, effect.broadcast]))
        for party, payload in sorted(effect.p2p.items()):
            self._send(sid, effect.round, effect.kind, encode(payload), to=party)

    def _send_durably(self, effect: SendDurably) -> bytes:
        """The record and the very envelope are durable before the envelope leaves."""
        sid = self.sid_or_fail()
        body = Body(
            self.suite.proto, sid, effect.round, effect.kind, self.me, None, encode([None, effect.broadcast])
        )
        signed = sign(body, self._runtime.sign)
        envelope = pack(signed)
        self._runtime.persist(Durable(effect.record, envelope))
        self._committed = self._committed or effect.kind is Kind.DONE
        self._mail.slots[body.slot] = signed
        self._out.append(Outgoing(envelope, sid, self.me, None))
        return envelope

    def _send(self, sid: bytes, round_: int, kind: Kind, payload: bytes, to: PartyId | None = None) -> None:
        body = Body(self.suite.proto, sid, round_, kind, self.me, to, payload)
        signed = sign(body, self._runtime.sign)
        if to is None:
            if kind not in (Kind.SHOW, Kind.COMPLAINT):
                self._mail.slots[body.slot] = signed
            envelope = pack(signed)
        else:
            envelope = seal(signed, self._epks[to])
        self._out.append(Outgoing(envelope, sid, self.me, to))

    # -- echoes --------------------------------------------------------------------------------------------------

    def _own_echo(self, sid: bytes, round_: int) -> EchoRecord:
        bodies = {party: signed.encoded for party, signed in self._mail.broadcasts(sid, round_).items()}
        return echo_of(self.suite.proto, sid, round_, bodies)

    def _echoed(self, sid: bytes, round_: int) -> bool:
        """Whether our own echo envelope of a round went out."""
        return self._mail.get(sid, round_, Kind.ECHO, self.me) is not None

    def _send_echo(self, sid: bytes, round_: int) -> None:
        self._send(sid, round_, Kind.ECHO, encode(self._own_echo(sid, round_).as_value()))

    def _blocking_echo_done(self, sid: bytes, round_: int) -> bool:
        """Send the echo of a round (once) and say whether everybody's is in and equal."""
        if not self._echoed(sid, round_):
            self._send_echo(sid, round_)
        if any(self._mail.get(sid, round_, Kind.ECHO, party) is None for party in self.others):
            return False
        return self._echo_envelopes_equal(sid, round_)

    def _echo_envelopes_equal(self, sid: bytes, round_: int) -> bool:
        if (sid, round_) in self._echo_checked:
            return True
        echoes = {}
        for party in self.others:
            signed = self._mail.slots[Slot(sid, round_, Kind.ECHO, party, None)]
            with blaming(party.index, f"{self.setup.kind}.r{round_}.echo"):
                echoes[party] = echo_from_value(
                    self.suite.proto, sid, round_, decode(signed.body.payload, ECHO_SCHEMA)
                )
        return self._compare_echoes(sid, round_, echoes)

    def _compare_echoes(self, sid: bytes, round_: int, echoes: Mapping[PartyId, EchoRecord]) -> bool:
        own = self._own_echo(sid, round_)
        if all(echo.digest == own.digest for echo in echoes.values()):
            self._echo_checked.add((sid, round_))
            return True
        self._echoes = {**echoes, self.me: own}
        self._showing = (sid, round_)
        broadcasts = list(self._mail.broadcasts(sid, round_).values())
        self._mail.shows[sid, round_, self.me] = broadcasts
        self._send(sid, round_, Kind.SHOW, show_value(broadcasts))
        self._judge_if_complete()
        return False

    def _judge_if_complete(self) -> None:
        if self._showing is None:
            return
        sid, round_ = self._showing
        shows = {
            p: self._mail.shows[sid, round_, p] for p in self.parties if (sid, round_, p) in self._mail.shows
        }
        if len(shows) < len(self.parties):
            return
        fault = judge_shows(self._echoes, shows, self.suite.proto, sid, round_)
        accused = next(party for party in self.parties if party.index == fault.peer)
        shown = [
            signed for messages in shows.values() for signed in messages if signed.body.sender == accused
        ]
        fault.evidence = self._evidence(fault, accused, shown).encode()
        raise fault

    # -- decoding a round ----------------------------------------------------------------------------------------

    def _collect(self, receive: Receive) -> dict[PartyId, Received]:
        """Decode the messages of a round and check the echoes that travel inside."""
        sid = self.sid_or_fail()
        if self.setup.round0 is Round0.WITH_ROUND_1 and not self._echo_envelopes_equal(self.setup.ph, 0):
            return {}
        received: dict[PartyId, Received] = {}
        echoes: dict[PartyId, EchoRecord] = {}
        due_round = None if receive.broadcast is None else self._echo_to_check
        for party in self.others if receive.senders is None else receive.senders:
            broadcast, p2p = None, None
            signed_b = self._mail.get(sid, receive.round, receive.kind, party)
            signed_p = self._mail.get(sid, receive.round, receive.kind, party, self.me)
            with blaming(party.index, f"{self.setup.kind}.r{receive.round}.schema"):
                if receive.broadcast is not None and signed_b is not None:
                    echo_schema: Schema = Optional(ECHO_SCHEMA)
                    echo, broadcast = decode(signed_b.body.payload, Tuple(echo_schema, receive.broadcast))
                    if due_round is None and echo is not None:
                        raise SchemaViolation("an echo where none is due")
                    if due_round is not None:
                        if echo is None:
                            raise SchemaViolation("no echo where one is due")
                        echoes[party] = echo_from_value(self.suite.proto, sid, due_round, echo)
                if receive.p2p is not None and signed_p is not None:
                    p2p = decode(signed_p.body.payload, receive.p2p)
            received[party] = Received(broadcast, p2p, signed_b, signed_p)
        if due_round is not None:
            self._echo_to_check = None
            self._compare_echoes(sid, due_round, echoes)
        return received

    # -- ending --------------------------------------------------------------------------------------------------

    def _fail(self, error: ProtocolError) -> None:
        """End with an error of our own finding and tell the others."""
        if self.finished:
            return
        sid = self.sid or self.setup.ph
        if isinstance(error, PeerFault) and error.peer is not None:
            accused = next((party for party in self.parties if party.index == error.peer), None)
            if accused is not None:
                if error.evidence is None:
                    error.evidence = self._evidence(error, accused, ()).encode()
                payload = encode([accused.as_list(), error.check[:128], error.evidence])
                self._send(sid, 0, Kind.COMPLAINT, payload)
        elif not isinstance(error, (Refused, AbortedByPeer)):
            self._send(sid, 0, Kind.ABORT, encode([type(error).__name__, str(error)[:MAX_REASON]]))
        self._end(error)

    def _end(self, error: ProtocolError) -> None:
        self.error = error
        self._close()

    def _close(self) -> None:
        self.finished = True
        self.jobs = ()
        self._waiting = None
        self._mail.key = None
        if self._generator is not None:
            self._generator.close()

    def _evidence(self, error: PeerFault, accused: PartyId, extra: Sequence[Signed]) -> Evidence:
        """All that a third party needs to look at this fault again."""
        relevant = [
            signed
            for slot, signed in self._mail.slots.items()
            if slot.to is None or (slot.sender == accused and slot.to == self.me)
        ]
        return Evidence.collect(
            proto=self.suite.proto, sid_preimage=self.sid_preimage, accused=accused, check=error.check,
            messages=[*relevant, *extra],
        )  # fmt: skip


def session_id(preimage: Sequence[Value]) -> bytes:
    """Sid = Hc("sid", kind, group name, ...) of the preimage [PROTO, "sid", kind, ...], 32 bytes (protocol.md 0.7)."""
    proto, tag, *values = preimage
    return hash_commit(proto, tag, *values)
