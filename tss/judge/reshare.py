"""Resharing (protocol.md 2.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tss.cggmp24 import aux_info, reshare
from tss.cggmp24.completion import DONE
from tss.cggmp24.reshare import DEALER, Terms
from tss.effects import Receive
from tss.errors import CallerError, SchemaViolation
from tss.judge.reader import Reader, Step, always
from tss.judge.record import NotProven, Preimage, Record
from tss.ring_pedersen import RingPedersen


def _terms(session: Preimage) -> Terms:
    """What the session's id says. Raises NotProven."""
    try:
        terms = Terms.from_tail(session.tail)
        terms.check(sorted(session.members))
    except (CallerError, SchemaViolation) as error:
        raise NotProven(f"no resharing that could be: {error}") from None
    return terms


def _rounds(session: Preimage) -> Sequence[Receive]:
    _ = _terms(session)
    return *reshare.rounds(session.suite, sorted(session.members), None), DONE


def _round2(record: Record) -> None:
    """[V + what was opened], of a dealer [+ the signed shares]."""
    terms, accused = _terms(record.session), record.accused
    V, opened = record.said(1), record.said(2)
    reshare.check_opened(record.ctx, terms, accused, V, opened)
    if accused.role != DEALER:
        return
    told = record.told(2)
    for recipient, s in told.items():
        reshare.check_dealt(accused, recipient, opened, s)
    record.need_told(told, 2)


def _round3(record: Record) -> None:
    """Of a dealer [the signed c]; of a new holder [round 2 of all + the proofs], for psi^fac [+ the signed one]."""
    ctx, terms, accused, suite = record.ctx, _terms(record.session), record.accused, record.session.suite
    (value,) = record.said(3)
    opened = record.broadcasts(2)
    for party, broadcast in opened.items():
        kept = broadcast[0 if party.role == DEALER else 1]
        if kept is None or (party.role == DEALER and len(kept[0]) != terms.new_t):
            raise NotProven("one of the other parties opened something else than its role has")
    rid, X_new = reshare.rid_of(opened), reshare.new_public_shares(ctx, terms, opened)
    reshare.check_round3(ctx, accused, rid, opened[accused], X_new, value)
    told = {party: said if suite.has_aux else [said, None] for party, said in record.told(3).items()}
    if accused.role == DEALER:
        for said in told.values():
            reshare.check_chain_code(ctx, terms, accused, said[0])
    elif suite.has_aux:
        parameters = opened[accused][1][1:]
        aux_info.check_mod(ctx, accused, rid, parameters[0], value[0], kind=reshare.KIND)
        for recipient, said in told.items():
            psi_fac = reshare.checked_fac(accused, said)
            ring = RingPedersen(*opened[recipient][1][2:5])
            ring.check(suite.level)
            aux_info.check_fac(ctx, accused, recipient, rid, parameters[0], ring, psi_fac, reshare.KIND)
    if suite.has_aux or accused.role == DEALER:
        record.need_told(told, 3)


READER: Final = Reader(
    _rounds,
    {
        "r2": Step(_round2, "2.3", always((1, 2), told=(2,))),
        "r3": Step(_round3, "2.3", always((2, 3), (2,), told=(3,))),
    },
)
