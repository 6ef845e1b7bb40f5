"""Evidence of sessions in which others lie with the accused: whatever the accused says of their messages fits them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from judging_testing import Case
from session_testing import Anything, encode_any, identity_of
from tss_testing import TINY

from tss.echo import echo_of
from tss.encoding import decode, encode
from tss.envelope import Body, Kind, sign


def under(case: Case, change: Callable[[list[Any]], list[Any]]) -> bytes:
    """The same evidence in a session of another tail: all messages and echoes made anew under its id, by colluders."""
    (own,) = case.claim.preimages
    preimage = change(decode(own, Anything(TINY.group)))
    sid = hashlib.sha256(encode(preimage)).digest()
    bodies = [replace(body, sid=sid) if body.sid != preimage[5] else body for body in case.bodies]
    heard = {
        round_: {b.sender: b.encode() for b in bodies if (b.round, b.kind, b.to) == (round_, Kind.MSG, None)}
        for round_ in range(6)
    }
    made = [_echoing(body, heard, sid) for body in bodies]
    shown = [sign(body, identity_of(body.sender).sign).as_value() for body in made]
    claim = case.claim
    return encode(
        ["evidence/v1", claim.proto, [encode(preimage)], claim.accused.as_list(), claim.check, shown]
    )


def _echoing(body: Body, heard: Mapping[int, Any], sid: bytes) -> Body:
    """Its echo, where it has one, made anew."""
    value = decode(body.payload, Anything(TINY.group))
    if body.kind is Kind.ECHO:
        return replace(
            body, payload=encode(echo_of(TINY.proto, sid, body.round, heard[body.round]).as_value())
        )
    if body.to is None and isinstance(value, list) and len(value) == 2 and isinstance(value[0], list):
        echo = echo_of(TINY.proto, sid, body.round - 1, heard[body.round - 1])
        return replace(body, payload=encode_any([echo.as_value(), value[1]]))
    return body


def colluding(case: Case, round_: int, by: Mapping[int, Callable[[Any], Any]]) -> bytes:
    """The same evidence with other broadcasts in a round, and the accused's echo changed with them."""
    bodies = []
    for body in case.bodies:
        if (body.round, body.kind, body.to) == (round_, Kind.MSG, None) and body.sender.index in by:
            echo, value = decode(body.payload, Anything(TINY.group))
            body = replace(body, payload=encode_any([echo, by[body.sender.index](value)]))  # noqa: PLW2901 - one changed
        bodies.append(body)
    (sid,) = {body.sid for body in bodies}
    heard = {
        r: {b.sender: b.encode() for b in bodies if (b.round, b.kind, b.to) == (r, Kind.MSG, None)}
        for r in range(round_ + 1)
    }
    echoing = ((round_ + 1, Kind.MSG), (round_, Kind.ECHO))
    made = [_echoing(body, heard, sid) if (body.round, body.kind) in echoing else body for body in bodies]
    return rewritten(case, made)


def rewritten(case: Case, bodies: list[Body]) -> bytes:
    shown = [sign(body, identity_of(body.sender).sign).as_value() for body in bodies]
    claim = case.claim
    return encode(
        ["evidence/v1", claim.proto, list(claim.preimages), claim.accused.as_list(), claim.check, shown]
    )
