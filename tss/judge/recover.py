"""Recovery of a lost share (protocol.md 2.4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tss.cggmp24 import recover
from tss.cggmp24.recover import HELPER, Terms
from tss.effects import Receive
from tss.errors import CallerError
from tss.judge.reader import Reader, Step, always
from tss.judge.record import NotProven, Preimage, Record


def _terms(session: Preimage) -> Terms:
    """What the session's id says. Raises NotProven."""
    try:
        terms = Terms.from_tail(session.tail)
        terms.check(session.members)
    except CallerError as error:
        raise NotProven(f"no recovery that could be: {error}") from None
    return terms


def _rounds(session: Preimage) -> Sequence[Receive]:
    return recover.rounds(session.suite, _terms(session), None)


def _round1(record: Record) -> None:
    """[what it said to all + what it told its accuser]."""
    terms, accused = _terms(record.session), record.accused
    said = record.said(1)
    recover.check_said(terms, accused, said)
    if accused.role != HELPER:
        return
    told = record.told(1)
    for recipient, value in told.items():
        recover.check_told(record.ctx, terms, accused, recipient, said, value)
    if accused.index != terms.helpers[-1] or terms.c_hash is not None:
        record.need_told(told, 1)


def _round2(record: Record) -> None:
    """[round 1 of all + the signed contribution]."""
    terms, accused = _terms(record.session), record.accused
    if accused.role != HELPER:
        raise NotProven("the recipient contributes nothing")
    told = record.told(2)
    record.need_told(told, 2)
    said = record.broadcasts(1)
    helpers = {party: value for party, value in said.items() if party.role == HELPER}
    for party, value in helpers.items():
        if value[0] is None or len(value[0][1]) != sum(k > party.index for k in terms.helpers):
            raise NotProven("one of the other helpers said something else than its role has")
    keys = recover.pair_keys(terms, helpers)
    for m in told.values():
        recover.check_contribution(terms, accused, keys, m)


READER: Final = Reader(
    _rounds,
    {
        "r1": Step(_round1, "2.4", always((1,), told=(1,))),
        "r2": Step(_round2, "2.4", always((1,), (1,), told=(2,))),
    },
)
