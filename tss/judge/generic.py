"""What is judged alike in every session: two versions, unreadable messages, echoes, shows, false complaints."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

from tss.control import ABORT_SCHEMA, COMPLAINT_SCHEMA, read_acceptance
from tss.echo import ECHO_SCHEMA, EchoRecord, contradicts_shown, echo_from_value, peek_echo, two_versions
from tss.encoding import Bytes, Integer, NoValue, Optional, Schema, Tuple, Value, decode
from tss.envelope import Kind, PartyId, Signed, party_from_value
from tss.errors import BadPoint, EchoMismatch, Equivocation, SchemaViolation, blaming
from tss.frost import sign as frost
from tss.frost.nonces import enclosed_schema
from tss.judge.record import NotProven, Record
from tss.mailbox import read_show
from tss.params import Suite

FALSE_COMPLAINT: Final = "complaint.false"
"""The check of a FalseAccusation, behind the kind of session."""

_CONTROL: Final = {Kind.ABORT: ABORT_SCHEMA, Kind.COMPLAINT: COMPLAINT_SCHEMA}

_STOCK_ROUND_0: Final = Tuple(
    NoValue(), Tuple(Bytes(32), Optional(Tuple(Bytes(32), Integer(512))))
)  # fmt: skip
"""Of signing from stock, whose round 0 runs under its sid: [none, [e, [req, sigma] or none]] in any suite."""

_FROST_ROUND_0: Final = Tuple(NoValue(), Tuple(Integer(512), Bytes(32)))
"""The same of FROST with pairs exchanged ahead: [none, [z, pkg]]."""

_ENCLOSING: Final = frozenset({frost.PREPARE_KIND, frost.FULL_KIND})
"""Kinds whose acceptances carry nonce commitments."""


def check_versions(kind: str, own: Sequence[Signed]) -> None:
    """Two different signed messages of the accused in one slot. Raises Equivocation."""
    versions = two_versions({}, own)
    if versions is not None:
        slot = versions[0].body.slot
        fault = Equivocation("two different signed messages in one slot")
        raise fault.blame(slot.sender, f"{kind}.r{slot.round}.{slot.kind}")


def check_control(
    kind: str,
    word: Kind,
    own: Sequence[Signed],
    identities: Mapping[PartyId, bytes],
    record: Record | None,
) -> None:
    """An abort, complaint or show that cannot be read. Raises SchemaViolation with its sender, or NotProven."""
    found = [signed for signed in own if signed.body.kind is word]
    if not found:
        raise NotProven(f"the accused's {word} is missing")
    for signed in found:
        with blaming(signed.body.sender, f"{kind}.{word}.schema"):
            if word is not Kind.SHOW:
                decode(signed.body.payload, _CONTROL[word])
            elif record is not None and record.bound:
                read_show(signed.body, record.session.members)
            else:
                read_show(signed.body, identities)
                raise NotProven(_WHOSE_SESSION)


_WHOSE_SESSION: Final = "nothing shows who the session's parties were"


def check_acceptance(kind: str, suite: Suite | None, own: Sequence[Signed]) -> None:
    """An acceptance that cannot be read. Raises SchemaViolation or BadPoint with its sender, or NotProven.

    No session id vouches for what its scope is, or of what kind. So it must be neither what signing from stock says in its
    round 0, nor an acceptance of the suite's other kinds, with or without nonce commitments.
    """
    found = [signed for signed in own if (signed.body.round, signed.body.kind) == (0, Kind.MSG)]
    if not found:
        raise NotProven("the accused's acceptance is missing")
    for signed in found:
        payload = signed.body.payload
        for stock in (_STOCK_ROUND_0, _FROST_ROUND_0):
            with suppress(SchemaViolation):
                decode(payload, stock)
                raise NotProven("what it says may belong to signing from stock")
        schemas: list[Schema | None] = [None]
        if suite is not None and not suite.has_aux:
            schemas.insert(kind not in _ENCLOSING, enclosed_schema(suite))
        due, *others = schemas
        for schema in others:
            with suppress(SchemaViolation, BadPoint):
                read_acceptance(payload, schema)
                raise NotProven("what it says may belong to a session of another kind")
        with blaming(signed.body.sender, f"{kind}.r0.schema"):
            read_acceptance(payload, due)


_ROUND: Final = re.compile(r"r(\d{1,2})")


def round_of(step: str) -> int | None:
    """The round that the second part of a check's id names."""
    match = _ROUND.fullmatch(step)
    return None if match is None else int(match[1])


def check_echo(
    kind: str,
    proto: str,
    round_: int,
    own: Sequence[Signed],
    identities: Mapping[PartyId, bytes],
    record: Record | None,
) -> None:
    """An echo that cannot be, or that contradicts what its sender shows.

    Raises SchemaViolation or EchoMismatch with its sender, or NotProven. Whom an echo has to cover only a session id tells
    that the accused signed under (`record`): without one, an echo is wrong that is no hash of its list, or that leaves its own sender out.
    """
    echoes: list[tuple[Signed, EchoRecord]] = []
    for signed, value in _echoes(round_, own, record):
        accused, sid = signed.body.sender, signed.body.sid
        with blaming(accused, f"{kind}.r{round_}.echo"):
            listed = decode(signed.body.payload, ECHO_SCHEMA) if value is None else value
            parties = (
                record.ctx.parties
                if record is not None and record.bound
                else tuple(party_from_value(party) for party, _ in listed[1])
            )
            if accused not in parties or tuple(sorted(set(parties))) != parties:
                raise SchemaViolation("echo does not cover exactly the parties of its round")
            echoes.append((signed, echo_from_value(proto, sid, round_, listed, parties)))
    if not echoes:
        raise NotProven(f"the accused's own signed echo of round {round_} is missing")
    for show in own:
        if (show.body.kind, show.body.round) == (Kind.SHOW, round_):
            shown = read_show(show.body, identities)
            for signed, echo in echoes:
                same_scope = signed.body.sid == show.body.sid
                if same_scope and contradicts_shown(echo, shown):
                    fault = EchoMismatch("its echo contradicts the messages that it shows")
                    raise fault.blame(signed.body.sender, f"{kind}.r{round_}.echo")
    if record is None or not record.bound:
        raise NotProven(_WHOSE_SESSION)


def _echoes(
    round_: int, own: Sequence[Signed], record: Record | None
) -> Iterator[tuple[Signed, list[Value] | None]]:
    """Messages of the accused that hold its echo of a round; with its value where that is a part of the message."""
    for signed in own:
        body = signed.body
        if (body.kind, body.round) == (Kind.ECHO, round_):
            yield signed, None
        elif record is not None and signed in record.carriers(round_):
            value = peek_echo(body.payload)
            if value is not None:
                yield signed, value
