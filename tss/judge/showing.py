"""What a complaint shows: of all messages at hand those that the failing check needs (protocol.md 4.1)."""

from __future__ import annotations

from collections.abc import Iterable

from tss.envelope import MAX_ROUND, Kind, PartyId, Signed
from tss.judge.generic import round_of
from tss.judge.reader import Needs
from tss.judge.readers import READERS


def relevant(kind: str, check: str, accused: PartyId, messages: Iterable[Signed]) -> list[Signed]:
    """Those of `messages` that a judge of `check` looks at; all of them when the check is not known here."""
    needs = _needs(kind, check)
    if needs is None:
        return list(messages)
    return [signed for signed in messages if _is_needed(needs, accused, signed)]


def _is_needed(needs: Needs, accused: PartyId, signed: Signed) -> bool:
    body = signed.body
    if body.sender != accused:
        return body.kind is Kind.MSG and body.round in needs.context
    if body.kind is Kind.ECHO:
        return body.round in needs.context
    return body.round in (needs.own if body.to is None else needs.told)


def _needs(kind: str, check: str) -> Needs | None:
    reader = READERS.get(kind)
    _, step, rest = (*check.split(".", 2), "", "")[:3]
    round_ = round_of(step)
    if reader is None:
        return None
    if round_ is not None and rest == "schema":
        return Needs(own=frozenset({round_}), told=frozenset({round_}))
    if round_ is not None and rest == "echo":
        # Its envelope, or whatever it travels in.
        return Needs(own=frozenset(range(round_ + 1, MAX_ROUND + 1)), context=frozenset({round_}))
    found = reader.steps.get(step)
    return None if found is None else found.needs(check)
