"""One real session whose peers are written by hand, and a third party that judges evidence with code of its own.

    solo = Solo(program)                        # party 1 of three; 2 and 3 are only identities
    solo.enter()                                # round 0, said honestly for the peers
    solo.hear(solo.said(2, 1, b"x" * 32))       # a validly signed broadcast of party 2 in round 1
    solo.session.error

Every message of a peer is a `Body` that a test may change before it is signed; `hear` signs (and seals) and delivers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from session_testing import Anything, Program, identity_of, party_id
from tss_testing import TINY, SeededRng

from tss.echo import EchoRecord, echo_of
from tss.effects import Compute, Echo, Protocol, Receive, Send, SendDurably, SessionContext
from tss.encoding import Bytes, Integer, Tuple, decode, encode
from tss.envelope import (
    Body,
    Kind,
    PartyId,
    Sealed,
    Signed,
    decode_body,
    holder,
    pack,
    seal,
    sign,
    unpack,
    unseal,
    verify_signature,
)
from tss.errors import PeerFault
from tss.params import Suite
from tss.session import Member, Outgoing, Round0, Runtime, Session, Setup

PH = b"\x70" * 32

NUMBER = Integer(16)
PRIVATE = Tuple(Integer(16))


def rounds(ctx: SessionContext) -> Protocol[int]:
    """All that a protocol can do: [B] and [P] with a travelling echo, jobs, a blocking echo, a durable done."""
    yield Send(1, broadcast=ctx.rng(32), p2p={j: [10 * j.index + ctx.me.index] for j in ctx.others})
    first = yield Receive(1, broadcast=Bytes(32), p2p=PRIVATE, echo=Echo.NEXT)
    jobs = yield Compute([lambda j=j: first[j].p2p[0] for j in ctx.others])
    yield Send(2, broadcast=ctx.me.index)
    second = yield Receive(2, broadcast=NUMBER, echo=Echo.BLOCKING)
    total = sum(jobs) + sum(received.broadcast for received in second.values()) + ctx.me.index
    yield SendDurably(15, ctx.hc("done", ctx.sid), record=("state", total), kind=Kind.DONE)
    yield Receive(15, broadcast=Bytes(32), echo=Echo.NONE, kind=Kind.DONE)
    return total


def waits(*receives: Receive, sends: Sequence[Send | SendDurably] = ()) -> Program:
    """A protocol that sends, then receives one thing after the other; its result is all that it received."""

    def program(_ctx: SessionContext) -> Protocol[list[Any]]:
        got: list[Any] = []
        for effect in (*sends, *receives):
            resumed = yield effect
            if isinstance(effect, Receive):
                got = [*got, resumed]
        return got

    return program


class Solo:
    """One session of party 1 among `n`, with everything it persisted and sent in `log`, in order."""

    def __init__(
        self,
        program: Program = rounds,
        *,
        n: int = 3,
        round0: Round0 = Round0.BLOCKING,
        kind: str = "test",
        ph: bytes = PH,
        tail: Sequence[Any] = (),
        suite: Suite = TINY,
        persist: Callable[[object], Any] = lambda _record: None,
        seed: object = "solo",
    ) -> None:
        self.me = holder(1)
        self.peers = tuple(holder(index) for index in range(2, n + 1))
        self.parties = (self.me, *self.peers)
        self.identities = {party: identity_of(party).public for party in self.parties}
        self.keys = {
            party: X25519PrivateKey.from_private_bytes(SeededRng(("epk", party))(32)) for party in self.peers
        }
        self.log: list[tuple[str, Any]] = []
        self.bodies: dict[tuple[bytes, int, PartyId], bytes] = {}
        """The first broadcast of every party, place and kind MSG: what an honest echo is about."""
        members = tuple(Member(party, identity) for party, identity in self.identities.items())
        self.setup = Setup(suite, kind, self.me, members, ph, tail, round0)

        def logged(record: object) -> Any:
            returned = persist(record)
            self.log.append(("persist", record))
            return returned

        self.session = Session(
            self.setup, program, Runtime(SeededRng(seed), identity_of(self.me).sign, logged)
        )

    # what party 1 does

    def _posted(self, out: list[Outgoing]) -> list[Outgoing]:
        for outgoing in out:
            self.log.append(("post", outgoing))
            if outgoing.to is None:
                body = outgoing_body(outgoing)
                if body.kind is Kind.MSG:
                    self.bodies.setdefault((body.sid, body.round, self.me), body.encode())
        return out

    def start(self) -> list[Outgoing]:
        return self._posted(self.session.start())

    def take(self, envelope: bytes) -> list[Outgoing]:
        return self._posted(self.session.receive(envelope))

    def hear(self, *bodies: Body) -> list[Outgoing]:
        """Deliver these messages, each validly signed by its sender."""
        out: list[Outgoing] = []
        for body in bodies:
            if body.kind is Kind.MSG and body.to is None:
                self.bodies.setdefault((body.sid, body.round, body.sender), body.encode())
            out += self.take(self.envelope(body))
        return out

    def completed(self) -> list[Outgoing]:
        return self._posted(self.session.completed([job() for job in self.session.jobs]))

    def expire(self) -> list[Outgoing]:
        return self._posted(self.session.expire())

    def sent(self, kind: Kind | None = None, round_: int | None = None) -> list[Body]:
        """The broadcasts that it sent."""
        bodies = [outgoing_body(item) for what, item in self.log if what == "post" and item.to is None]
        return [body for body in bodies if kind in (None, body.kind) and round_ in (None, body.round)]

    def sent_to(self, party: int, round_: int) -> Body:
        """The only sealed message of a round to a peer, opened by it."""
        (sealed,) = (
            unpack(item.envelope) for what, item in self.log if what == "post" and item.to == holder(party)
        )
        assert isinstance(sealed, Sealed)
        assert sealed.round == round_
        body, signature = unseal(sealed, self.keys[holder(party)])
        assert verify_signature(self.identities[self.me], body.encode(), signature)
        return body

    @property
    def records(self) -> list[Any]:
        return [item for what, item in self.log if what == "persist"]

    @property
    def epk(self) -> bytes:
        """The session key that party 1 said in its acceptance."""
        (acceptance,) = self.sent(Kind.MSG, 0)
        return bytes(decode(acceptance.payload, Tuple(Bytes(32), Bytes(32)))[1])

    # what the peers say

    @property
    def scope(self) -> bytes:
        return self.session.sid or self.setup.ph

    def body(
        self,
        sender: int | PartyId,
        round_: int,
        value: Any,
        *,
        kind: Kind = Kind.MSG,
        to: int | None = None,
        sid: bytes | None = None,
    ) -> Body:
        """Any message with `value` as its payload (bytes that are there already: `Body` with replace)."""
        recipient = None if to is None else holder(to)
        scope = self.scope if sid is None else sid
        return Body(self.setup.suite.proto, scope, round_, kind, party_id(sender), recipient, encode(value))

    def said(
        self, sender: int, round_: int, value: Any, *, echo: EchoRecord | None = None, kind: Kind = Kind.MSG
    ) -> Body:
        """A protocol's broadcast."""
        return self.body(sender, round_, [None if echo is None else echo.as_value(), value], kind=kind)

    def told(self, sender: int, round_: int, value: Any) -> Body:
        """A protocol's message to party 1 only."""
        return self.body(sender, round_, value, to=1)

    def acceptance(self, sender: int, *, nonce: bytes = b"\x0e" * 32, epk: bytes | None = None) -> Body:
        key = self.keys[holder(sender)].public_key().public_bytes_raw() if epk is None else epk
        return self.body(sender, 0, [nonce, key], sid=self.setup.ph)

    def record(
        self, round_: int, *, sid: bytes | None = None, other: Mapping[int, bytes] | None = None
    ) -> EchoRecord:
        """The echo of a round as all heard it; `other` gives the encoded bodies that are different."""
        scope = self.scope if sid is None else sid
        heard = {party: body for (s, r, party), body in self.bodies.items() if (s, r) == (scope, round_)}
        heard.update({holder(index): body for index, body in (other or {}).items()})
        return echo_of(self.setup.suite.proto, scope, round_, heard)

    def echo(
        self, sender: int, round_: int, record: EchoRecord | None = None, *, sid: bytes | None = None
    ) -> Body:
        """An echo envelope."""
        record = record or self.record(round_, sid=sid)
        return self.body(sender, round_, record.as_value(), kind=Kind.ECHO, sid=sid)

    def echo0(self, sender: int, record: EchoRecord | None = None) -> Body:
        return self.echo(sender, 0, record, sid=self.setup.ph)

    def show(self, sender: int, round_: int, bodies: Sequence[Body], *, sid: bytes | None = None) -> Body:
        """A show of these broadcasts, each signed by its sender."""
        return self.body(
            sender, round_, [signed(body).as_value() for body in bodies], kind=Kind.SHOW, sid=sid
        )

    def abort(self, sender: int, *, sid: bytes | None = None) -> Body:
        return self.body(sender, 0, ["Timeout", "said the test"], kind=Kind.ABORT, sid=sid)

    def complaint(
        self, sender: int, accused: int, evidence: bytes, *, check: str = "test.r1", sid: bytes | None = None
    ) -> Body:
        value = [holder(accused).as_list(), check, evidence]
        return self.body(sender, 0, value, kind=Kind.COMPLAINT, sid=sid)

    def envelope(self, body: Body) -> bytes:
        """The envelope of a message, really signed; a message to party 1 is sealed to its session key."""
        return pack(signed(body)) if body.to is None else seal(signed(body), self.epk)

    def enter(self, *, start: bool = True) -> None:
        """Start, and say an honest round 0 for all peers."""
        if start:
            self.start()
        if self.setup.round0 is not Round0.NONE:
            self.hear(*(self.acceptance(party.index) for party in self.peers))
            self.hear(*(self.echo0(party.index) for party in self.peers))
        assert self.session.sid is not None or self.session.finished


def signed(body: Body) -> Signed:
    """A body signed by its sender's identity."""
    return sign(body, identity_of(body.sender).sign)


def outgoing_body(outgoing: Outgoing) -> Body:
    """The body of a broadcast; fails unless its sender signed it."""
    parts = unpack(outgoing.envelope)
    assert not isinstance(parts, Sealed)
    body = decode_body(parts[0])
    assert verify_signature(identity_of(body.sender).public, *parts)
    assert (body.sender, body.sid) == (outgoing.sender, outgoing.scope)
    return body


# -- a third party -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """Evidence as somebody reads it who was not there and trusts nobody: only the identities are known to him."""

    accused: PartyId
    check: str
    sid: bytes | None
    messages: tuple[Body, ...]

    def equivocates(self) -> bool:
        """Whether the accused signed two different messages in one slot."""
        own = [body for body in self.messages if body.sender == self.accused]
        return any(
            (a.proto, a.slot) == (b.proto, b.slot) and a.payload != b.payload for a in own for b in own
        )

    def contradicts_itself(self) -> bool:
        """Whether the accused echoed other messages than those it shows."""
        for show in self.messages:
            if show.kind is not Kind.SHOW or show.sender != self.accused:
                continue
            value = decode(show.payload, Anything(TINY.group))
            hashes = sorted([_ref(decode_body(item[0])), hashlib.sha256(item[0]).digest()] for item in value)
            for echo in self._echoes_of(show):
                if sorted(map(list, echo)) != hashes:
                    return True
        return False

    def _echoes_of(self, show: Body) -> list[Any]:
        """The hash lists of the accused's echo of the round that it shows: an envelope, or inside the next broadcast."""
        found = []
        for body in self.messages:
            if body.sender != self.accused or body.sid != show.sid or body.to is not None:
                continue
            if body.kind is Kind.ECHO and body.round == show.round:
                found.append(decode(body.payload, Anything(TINY.group))[1])
            elif body.kind in (Kind.MSG, Kind.DONE) and body.round > show.round:
                echo = decode(body.payload, Anything(TINY.group))[0]
                if isinstance(echo, list):
                    found.append(echo[1])
        return found


def _ref(body: Body) -> list[Any]:
    return body.sender.as_list()


def read_evidence(error: object, identities: Mapping[PartyId, bytes]) -> Case:
    """Open the evidence of a fault; fails unless every message in it is signed by the party that it names, in one run."""
    assert isinstance(error, PeerFault)
    assert error.evidence is not None
    value = decode(error.evidence, Anything(TINY.group))
    version, proto, preimages, accused, check, shown = value
    assert version == "evidence/v1"
    assert check == error.check
    assert accused[1] == error.peer
    sid, ph = None, None
    for preimage in preimages:
        listed = decode(preimage, Anything(TINY.group))
        assert listed[0] == proto
        sid = hashlib.sha256(preimage).digest()
        ph = listed[4] if len(listed) == 5 else listed[5]
    bodies = []
    for encoded, signature in shown:
        body = decode_body(encoded)
        assert verify_signature(identities[body.sender], encoded, signature)
        assert body.proto == proto
        assert sid is None or body.sid in (sid, ph)
        bodies.append(body)
    return Case(PartyId(*accused), check, sid, tuple(bodies))


def entered(program: Program = rounds, **options: Any) -> Solo:
    """A session after an honest round 0."""
    solo = Solo(program, **options)
    solo.enter()
    return solo


def assert_blames(solo: Solo, peer: int, error: type[PeerFault], check: str) -> None:
    """The session ended with this fault, told it to all as a complaint, and its evidence holds."""
    fault = solo.session.error
    assert type(fault) is error, fault
    assert (fault.peer, fault.check) == (peer, check)
    complaint = solo.sent()[-1]
    assert (complaint.kind, complaint.round, complaint.to) == (Kind.COMPLAINT, 0, None)
    assert complaint.sid == solo.scope
    accused, told_check, evidence = decode(complaint.payload, Anything(TINY.group))
    assert (accused, told_check, evidence) == (["holder", peer], check, fault.evidence)
    assert len([body for body in solo.sent() if body.kind in (Kind.ABORT, Kind.COMPLAINT)]) == 1
    read_evidence(fault, solo.identities)


def holds(solo: Solo, *bodies: Body) -> bool:
    """Whether all these messages are in the evidence."""
    return set(bodies) <= set(read_evidence(solo.session.error, solo.identities).messages)
