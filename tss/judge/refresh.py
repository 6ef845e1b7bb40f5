"""Key refresh (protocol.md 2.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tss.cggmp24 import aux_info, refresh
from tss.cggmp24.completion import DONE
from tss.cggmp24.refresh import Base
from tss.effects import Receive
from tss.judge.reader import Reader, Step, always
from tss.judge.record import NotProven, Preimage, Record
from tss.ring_pedersen import RingPedersen


def _bases(session: Preimage) -> list[Base]:
    """What the session's id says of its accounts. Raises NotProven."""
    points = sorted(party.index for party in session.members)
    bases = []
    for key_id, X, _, t, _, _, X_j in session.tail[0]:
        if not 2 <= t <= len(points) == len(X_j):
            raise NotProven(f"a refresh of {t} of {len(X_j)} by {len(points)} parties")
        bases.append(Base(key_id, X, int(t), dict(zip(points, X_j, strict=True))))
    return bases


def _rounds(session: Preimage) -> Sequence[Receive]:
    suite = session.suite
    return *refresh.rounds(suite, len(_bases(session)), aux=suite.has_aux), DONE


def _round2(record: Record) -> None:
    """[V + the reveal + the signed shares]."""
    bases, V, reveal = _bases(record.session), record.said(1), record.said(2)
    refresh.check_reveal(record.ctx, bases, record.accused, V, reveal)
    told = record.told(2)
    for recipient, dealt in told.items():
        refresh.check_dealt(record.accused, recipient, reveal, dealt)
    record.need_told(told, 2)


def _round3(record: Record) -> None:
    """[round 2 of all + the proofs], for psi^fac [+ the signed one]."""
    ctx, accused, psi = record.ctx, record.accused, record.said(3)
    bases, reveals = _bases(record.session), record.broadcasts(2)
    for reveal in reveals.values():
        if any(len(C) != base.t - 1 for base, (C, _) in zip(bases, reveal[-1], strict=True)):
            raise NotProven("one of the other parties revealed another number of coefficients")
    rid = refresh.rid_of(reveals)
    X_new = refresh.new_public_shares(ctx, bases, reveals)
    refresh.check_round3(ctx, accused, rid, reveals[accused][-1], X_new, psi[-1])
    if not ctx.suite.has_aux:
        return
    N, told = reveals[accused][0], record.told(3)
    aux_info.check_mod(ctx, accused, rid, N, psi[0], kind=refresh.KIND)
    for recipient, psi_fac in told.items():
        ring = RingPedersen(*reveals[recipient][1:4])
        ring.check(ctx.suite.level)
        aux_info.check_fac(ctx, accused, recipient, rid, N, ring, psi_fac, refresh.KIND)
    record.need_told(told, 3)


READER: Final = Reader(
    _rounds,
    {
        "r2": Step(_round2, "2.2", always((1, 2), told=(2,))),
        "r3": Step(_round3, "2.2", always((2, 3), (2,), told=(3,))),
    },
)
