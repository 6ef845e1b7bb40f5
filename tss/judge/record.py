"""What a judge has in hand: a claim's messages, authentic, of one session, and what of it the accused vouches for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from tss.echo import ECHO_SCHEMA, EchoRecord, echo_from_value, peek_echo
from tss.effects import PublicContext, Receive
from tss.encoding import TAG_LIST, Bytes, Integer, ListOf, Reader, Text, Tuple, Value, decode
from tss.envelope import Kind, PartyId, Signed, Slot, decode_body, verify_signature
from tss.errors import ProtocolError, SchemaViolation, blaming
from tss.evidence import Claim
from tss.params import MAX_SIGNERS, Suite
from tss.proposal import WITHOUT_ROUND_0, tails
from tss.rounds import echo_due, read_broadcast


class NotProven(Exception):
    """The evidence does not show what it claims; the text says what is missing. Nobody is guilty by it."""


@dataclass(frozen=True)
class Bystander(PublicContext):
    """A session as somebody sees it who took no part."""

    suite: Suite
    sid: bytes
    identities: Mapping[PartyId, bytes]


@dataclass(frozen=True)
class Preimage:
    """What a session id is the hash of (protocol.md 0.7). Signing from stock has members and tail in its proposal."""

    kind: str
    suite: Suite
    sid: bytes
    ph: bytes
    members: Mapping[PartyId, bytes]
    """Identity keys of the parties; empty for signing from stock."""
    tail: list[Value]
    """What the kind lists; empty for signing from stock."""


_HEAD: Final = (Text(64), Text(16), Text(16), Text(64))
_ACCEPTED: Final = ListOf(
    Tuple(Text(16), Integer(32), Bytes(32), Bytes(32), Bytes(32)), 1, 2 * MAX_SIGNERS
)  # fmt: skip
_LEVEL: Final = ListOf(Integer(32), 5)


def read_preimage(
    encoded: bytes, proto: str, suites: Mapping[str, Suite], identities: Mapping[PartyId, bytes]
) -> Preimage:
    """Decode a preimage, and compare its suite with what is accepted and its members with `identities`.

    Raises NotProven.
    """
    try:
        reader = Reader(encoded, 0, len(encoded))
        reader.header(TAG_LIST, "preimage")
        reader.take(4)
        said_proto, tag, kind, group = (text.read(reader, 2) for text in _HEAD)
        suite = suites.get(proto)
        if suite is None or (said_proto, tag, group) != (proto, "sid", suite.group.name):
            raise NotProven("the session's suite is not one that is accepted here")
        if kind not in tails(suite):
            raise NotProven("the session is of an unknown kind")
        sid = hashlib.sha256(encoded).digest()
        if kind in WITHOUT_ROUND_0:
            *_, ph = decode(encoded, Tuple(*_HEAD, Bytes(32)))
            return Preimage(kind, suite, sid, ph, {}, [])
        schema = Tuple(*_HEAD, _LEVEL, Bytes(32), _ACCEPTED, *tails(suite)[kind](suite).items)
        _, _, _, _, level, ph, accepted, *tail = decode(encoded, schema)
    except ProtocolError as error:
        raise NotProven(f"the preimage of the session's id cannot be read: {error}") from None
    if level != suite.level.as_list():
        raise NotProven("the session ran at other security parameters than those that are accepted here")
    members = {PartyId(role, index): identity for role, index, identity, _, _ in accepted}
    if len(members) != len(accepted):
        raise NotProven("the session's parties repeat")
    if any(identities.get(party) != identity for party, identity in members.items()):
        raise NotProven("the session is not of this committee: its parties have other identities")
    return Preimage(kind, suite, sid, ph, members, tail)


def authentic(
    messages: Iterable[tuple[bytes, bytes]], proto: str, identities: Mapping[PartyId, bytes]
) -> tuple[list[Signed], str]:
    """The messages that members signed under this suite, and what is wrong with the first other one ("" for nothing)."""
    found, wrong = [], ""
    for encoded, signature in messages:
        try:
            body = decode_body(encoded)
        except SchemaViolation:
            wrong = wrong or "it holds a message that cannot be read"
            continue
        identity = identities.get(body.sender)
        if identity is None or not verify_signature(identity, encoded, signature):
            wrong = wrong or "it holds a message that no member of this committee signed"
        elif body.proto != proto:
            wrong = wrong or "it holds a message of another suite"
        else:
            found.append(Signed(body, encoded, signature))
    return found, wrong


@dataclass(frozen=True)
class Record:
    """One claim with its authentic messages.

    What the accused signed is taken as it is. What others signed counts only where the accused's own signed echo lists it
    (`context`): otherwise an accuser could show its own second version and frame an honest party.
    """

    claim: Claim
    preimages: tuple[Preimage, ...]
    """Of the claim's session first."""
    rounds: Sequence[Receive]
    """Of the session's protocol, in order."""
    own: Mapping[Slot, Signed]
    others: Mapping[Slot, Sequence[Signed]]
    ctx: Bystander = field(init=False)

    def __post_init__(self) -> None:
        session = self.preimages[0]
        object.__setattr__(self, "ctx", Bystander(session.suite, session.sid, session.members))

    @property
    def session(self) -> Preimage:
        """The claim's own."""
        return self.preimages[0]

    @property
    def accused(self) -> PartyId:
        """Whom the claim names."""
        return self.claim.accused

    def receive(self, round_: int, kind: Kind = Kind.MSG) -> Receive:
        """What the protocol receives in a round. Raises NotProven for a round that it does not have."""
        for receive in self.rounds:
            if (receive.round, receive.kind) == (round_, kind):
                return receive
        raise NotProven(f"{self.session.kind} has no {kind} of round {round_}")

    def signed(self, round_: int, *, kind: Kind = Kind.MSG, to: PartyId | None = None) -> Signed:
        """The accused's own message of a round. Raises NotProven when it is missing."""
        found = self.own.get(Slot(self.session.sid, round_, kind, self.accused, to))
        if found is None:
            raise NotProven(f"the accused's own {kind} of round {round_} is missing")
        return found

    def said(self, round_: int, kind: Kind = Kind.MSG) -> Value:
        """The value of the accused's broadcast of a round. Raises NotProven, and the fault of one that cannot be read."""
        receive, due = self.receive(round_, kind), echo_due(self.rounds, round_)
        if receive.broadcast is None:
            raise NotProven(f"nobody broadcasts in round {round_}")
        signed = self.signed(round_, kind=kind)
        place = f"{self.session.kind}.r"
        with blaming(self.accused, f"{place}{round_}.schema"):
            echo, value = read_broadcast(signed.body.payload, receive.broadcast, echo_due=due is not None)
            if due is not None and echo is not None:
                with blaming(self.accused, f"{place}{due.round}.echo"):
                    self.read_echo(due.round, echo)
        return value

    def told(self, round_: int) -> dict[PartyId, Value]:
        """The values of the accused's peer-to-peer messages of a round that are here, by recipient.

        Raises NotProven, and the fault of one that cannot be read.
        """
        receive, values = self.receive(round_), {}
        for slot, signed in self.own.items():
            if (slot.sid, slot.round, slot.kind) == (
                self.session.sid,
                round_,
                Kind.MSG,
            ) and slot.to is not None:
                if receive.p2p is None or slot.to not in self.ctx.parties:
                    raise NotProven(f"nobody is told anything in round {round_}")
                with blaming(self.accused, f"{self.session.kind}.r{round_}.schema"):
                    values[slot.to] = decode(signed.body.payload, receive.p2p)
        return values

    def need_told(self, told: Mapping[PartyId, Value], round_: int) -> None:
        """Raise NotProven unless one of the accused's peer-to-peer messages of a round is here."""
        if not told:
            raise NotProven(f"the accused's own message of round {round_} to its accuser is missing")

    def broadcast(self, party: PartyId, round_: int) -> Value:
        """The value that `party` broadcast in a round: its own word, or what the accused vouches for. Raises NotProven."""
        if party == self.accused:
            return self.said(round_)
        receive, due = self.receive(round_), echo_due(self.rounds, round_)
        shown = self.context(Slot(self.session.sid, round_, Kind.MSG, party, None))
        try:
            if receive.broadcast is None:
                raise SchemaViolation("nobody broadcasts in it")
            return read_broadcast(shown.body.payload, receive.broadcast, echo_due=due is not None)[1]
        except ProtocolError as error:
            raise NotProven(
                f"party {party.index}'s message of round {round_} cannot be read: {error}"
            ) from None

    def own_word(self, party: PartyId, round_: int) -> Value:
        """The value that another party broadcast in a round, whether the accused saw it or not. Raises NotProven.

        Only for values that something else binds.
        """
        receive, due = self.receive(round_), echo_due(self.rounds, round_)
        shown = self.others.get(Slot(self.session.sid, round_, Kind.MSG, party, None), ())
        if len(shown) != 1 or receive.broadcast is None:
            raise NotProven(f"party {party.index}'s message of round {round_} is missing, or there are two")
        try:
            return read_broadcast(shown[0].body.payload, receive.broadcast, echo_due=due is not None)[1]
        except ProtocolError as error:
            raise NotProven(
                f"party {party.index}'s message of round {round_} cannot be read: {error}"
            ) from None

    def broadcasts(self, round_: int) -> dict[PartyId, Value]:
        """What everybody broadcast in a round. Raises NotProven."""
        return {party: self.broadcast(party, round_) for party in self.ctx.parties}

    def context(self, slot: Slot) -> Signed:
        """A message that the accused did not sign, but whose hash its signed echo lists. Raises NotProven."""
        what = f"party {slot.sender.index}'s message of round {slot.round}"
        shown = self.others.get(slot, ())
        if not shown:
            raise NotProven(f"{what} is missing")
        echoes = self.echoes(slot.round)
        if not echoes:
            raise NotProven(f"the accused's own signed echo of round {slot.round} is missing")
        listed = {digest for echo in echoes for party, digest in echo.hashes if party == slot.sender}
        for signed in shown:
            if hashlib.sha256(signed.encoded).digest() in listed:
                return signed
        raise NotProven(f"{what} is not the one that the accused's echo lists")

    def echoes(self, round_: int) -> list[EchoRecord]:
        """The accused's own echoes of a round: an envelope of its, or inside its next broadcast. Bad ones are left out."""
        found: list[EchoRecord] = []
        for value in self._echo_values(round_):
            with suppress(SchemaViolation):
                found.append(self.read_echo(round_, value))
        return found

    def _echo_values(self, round_: int) -> list[list[Value]]:
        values: list[list[Value]] = []
        envelope = self.own.get(Slot(self.session.sid, round_, Kind.ECHO, self.accused, None))
        if envelope is not None:
            with suppress(SchemaViolation):
                values.append(decode(envelope.body.payload, ECHO_SCHEMA))
        for signed in self.carriers(round_):
            carried = peek_echo(signed.body.payload)
            values += [] if carried is None else [carried]
        return values

    def carriers(self, round_: int) -> list[Signed]:
        """The accused's broadcasts inside which its echo of a round travels."""
        found = []
        for receive in self.rounds:
            due = echo_due(self.rounds, receive.round)
            slot = Slot(self.session.sid, receive.round, receive.kind, self.accused, None)
            if due is not None and due.round == round_ and slot in self.own:
                found.append(self.own[slot])
        return found

    @property
    def bound(self) -> bool:
        """Whether the accused signed anything under the session's id, and so agreed to all that it is the hash of."""
        return any(slot.sid == self.session.sid for slot in self.own)

    def read_echo(self, round_: int, value: list[Value]) -> EchoRecord:
        """An echo under the session's id. Raises SchemaViolation."""
        return echo_from_value(self.claim.proto, self.session.sid, round_, value, self.ctx.parties)
