"""Auxiliary information (protocol.md 2.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tss.cggmp24 import aux_info
from tss.cggmp24.completion import DONE
from tss.cggmp24.keygen import xor
from tss.effects import Receive
from tss.judge.reader import Reader, Step, always
from tss.judge.record import Preimage, Record
from tss.ring_pedersen import RingPedersen


def _rounds(session: Preimage) -> Sequence[Receive]:
    return *aux_info.rounds(session.suite), DONE


def _round2(record: Record) -> None:
    """[V + the reveal]."""
    V, reveal = record.said(1), record.said(2)
    aux_info.check_reveal(record.ctx, record.accused, V, reveal)


def _round3(record: Record) -> None:
    """[round 2 of all + psi^mod], [round 2 of all + the signed psi^fac]."""
    ctx, accused, psi = record.ctx, record.accused, record.said(3)
    revealed = record.broadcasts(2)
    rid = xor([reveal[5] for reveal in revealed.values()])
    N = revealed[accused][0]
    told = record.told(3)
    aux_info.check_mod(ctx, accused, rid, N, psi)
    for recipient, psi_fac in told.items():
        ring = RingPedersen(*revealed[recipient][1:4])
        ring.check(ctx.suite.level)
        aux_info.check_fac(ctx, accused, recipient, rid, N, ring, psi_fac)
    record.need_told(told, 3)


READER: Final = Reader(
    _rounds,
    {
        "r2": Step(_round2, "2.1", always((1, 2))),
        "r3": Step(_round3, "2.1", always((2, 3), (2,), told=(3,))),
    },
)
