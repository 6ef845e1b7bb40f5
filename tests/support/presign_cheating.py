"""What the malicious signers of the presigning tests share: who they are, where a message holds what, how they lie."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from cggmp24_cheating import LyingContext, changed
from cggmp24_testing import Signers
from session_testing import Program, Raw, Tamper, says, tells
from tss_testing import TESTING_TINY, TINY

from tss.cggmp24 import presign
from tss.cggmp24.presign import Presigning
from tss.cggmp24.presign_prove import Item
from tss.cggmp24.sign import SignRequest
from tss.effects import SessionContext
from tss.params import SecurityLevel
from tss.transcript import Context

SIGNERS, CHEATER = Signers((1, 2, 3), 4), 2
ALL = (1, 3)
GROUP, Q, G = TINY.group, TINY.group.q, TINY.group.G
O = GROUP.identity  # noqa: E741 - the paper's symbol
LEVEL: SecurityLevel = TESTING_TINY
KEY = SIGNERS.aux[CHEATER].paillier
N = {j: int(SIGNERS.aux[1].parties[j].N) for j in (1, 2, 3)}
N_HAT = {j: int(SIGNERS.aux[1].parties[j].N_hat) for j in (1, 2, 3)}
REQUEST = SignRequest(hashlib.sha256(b"message").digest())
OFF_CURVE = Raw(bytes([4]) + (5).to_bytes(4, "big") + b"\x02\xff\xff\xff\xff")

# Round 1 to all; round 2 to all and to one; round 3 to all.
(K, G_I, Y, A1, A2, B1, B2), (GAMMA, ELOG, H), (D, F, D_HAT, F_HAT, PSI, PSI_HAT) = (
    range(7),
    range(3),
    range(6),
)
DELTA, DELTA_POINT, S_I, PSI3 = range(4)
# Fields of the proofs on the wire.
EE_S, EE_D, EE_Y, EE_Z, EE_T, EE_Z1, EE_W, EE_Z2, EE_Z3 = range(9)
AG_W_Y = 12


def run(**options: Any) -> Any:
    return SIGNERS.presign(**options)


def says1(place: int, new: Any) -> Tamper:
    return says(1, lambda items: [changed(items[0], place, new)])


def says2(place: int, new: Any) -> Tamper:
    return says(2, lambda items: [changed(items[0], place, new)])


def says3(place: int, new: Any) -> Tamper:
    return says(3, lambda value: [[changed(value[0][0], place, new)], value[1]])


def tells1(proof: int, place: int, new: Any) -> Tamper:
    return tells(1, lambda items: [changed(items[0], proof, lambda psi: changed(psi, place, new))], to=1)


def tells2(place: int, new: Any) -> Tamper:
    return tells(2, lambda items: [changed(items[0], place, new)], to=1)


def cheating(kind: type[Presigning], batch: int = 1) -> Program:
    """A party whose steps are those of `kind`."""
    return lambda ctx: presign._rounds(SIGNERS.presigning(ctx, kind), batch, None)


def elsewhere(step: str, label: str, change: Callable[[Context], Context]) -> type[Presigning]:
    """A party whose proofs of this label, made in this step, are bound to another place."""

    class Elsewhere(Presigning):
        pass

    def lie(self: Any, *args: Any) -> Any:
        ctx: SessionContext = self.ctx
        self.ctx = LyingContext(ctx.suite, ctx.sid, ctx.me, ctx.identities, ctx.rng, proofs={label: change})
        try:
            return getattr(super(Elsewhere, self), step)(*args)
        finally:
            self.ctx = ctx

    setattr(Elsewhere, step, lie)
    return Elsewhere


def fields(item: Item, **new: Any) -> Item:
    return replace(item, **new)
