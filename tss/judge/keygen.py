"""Key generation (protocol.md 1), and the completion of any run that makes new state (0.8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tss.cggmp24 import keygen
from tss.cggmp24.completion import DONE
from tss.effects import Receive
from tss.judge.reader import Reader, Step, always
from tss.judge.record import NotProven, Preimage, Record


def _rounds(session: Preimage) -> Sequence[Receive]:
    n, t = session.tail
    if not 2 <= t <= n == len(session.members):
        raise NotProven(f"a key generation of {t} of {n} by {len(session.members)} parties")
    return *keygen.rounds(session.suite), DONE


def _round2(record: Record) -> None:
    """[V + reveal + the signed share]."""
    _, t = record.session.tail
    V, reveal = record.said(1), record.said(2)
    keygen.check_reveal(record.ctx, t, record.accused, V, reveal)
    told = record.told(2)
    for recipient, private in told.items():
        keygen.check_private(record.ctx, record.accused, recipient, reveal, private)
    record.need_told(told, 2)


def _round3(record: Record) -> None:
    """[the reveals of all, to rebuild rid and X_j, + the proof]."""
    accused, (_, t) = record.accused, record.session.tail
    psi = record.said(3)
    revealed = record.broadcasts(2)
    if any(len(reveal[1]) != t for reveal in revealed.values()):
        raise NotProven("one of the other parties revealed another number of coefficients")
    rid = keygen.xor([reveal[0] for reveal in revealed.values()])
    _, X_j = keygen.public_key(record.ctx, t, [reveal[1] for reveal in revealed.values()])
    keygen.check_round3(record.ctx, accused, rid, revealed[accused][2], X_j[accused.index], psi)


READER: Final = Reader(
    _rounds,
    {
        "r2": Step(_round2, "1", always((1, 2), told=(2,))),
        "r3": Step(_round3, "1", always((2, 3), (2,))),
    },
)
