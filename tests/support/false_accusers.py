"""Parties that accuse honest ones: of each step, with all that a session shows for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from cggmp24_testing import (
    aux_program,
    dealt_key,
    primes_of,
    refresh_program,
    run_aux,
    run_keygen,
    run_refresh,
)
from judging_testing import CHEATER, SIGNERS
from session_testing import Program
from tss_testing import TINY

from tss.cggmp24 import keygen, presign
from tss.effects import Compute, Effect, Protocol, Send, SendDurably, SessionContext
from tss.errors import BadShare


def accuses(program: Program, when: Callable[[Effect], bool], accused: int, check: str) -> Program:
    """`program`, which says at some point that a peer failed a check, and shows what there is."""

    def start(ctx: SessionContext) -> Protocol[Any]:
        generator = program(ctx)
        result: Any = None
        while True:
            effect = generator.send(result)
            if when(effect):
                raise BadShare("so it says").blame(accused, check)
            result = yield effect

    return start


def sends(round_: int) -> Callable[[Effect], bool]:
    return lambda effect: isinstance(effect, Send) and effect.round == round_


def ends(effect: Effect) -> bool:
    return isinstance(effect, SendDurably)


def honest_keygen(ctx: SessionContext) -> Protocol[Any]:
    return keygen.keygen(ctx, 2)


def honest_presign(ctx: SessionContext) -> Protocol[Any]:
    return presign._rounds(SIGNERS.presigning(ctx), 1, None)


def checks_round_3(effect: Effect) -> bool:
    """The last thing that is computed for a presignature."""
    return isinstance(effect, Compute) and "check_round3" in repr([*effect.jobs[:1]])


KEYGEN = partial(run_keygen, 3, 2)
AUX = partial(run_aux, 3)
PRESIGN = SIGNERS.presign
KEYS = [dealt_key(TINY, 3, 2), dealt_key(TINY, 3, 3)]
REFRESH = partial(run_refresh, KEYS)
HONEST_REFRESH = refresh_program([key[CHEATER] for key in KEYS], primes_of(TINY, 3)[CHEATER])
HONEST_AUX = aux_program(primes_of(TINY, 3)[CHEATER])

FALSE = [
    pytest.param(KEYGEN, honest_keygen, sends(3), "keygen.r2.share", id="keygen round 2"),
    pytest.param(KEYGEN, honest_keygen, sends(3), "keygen.r2.schema", id="keygen schema"),
    pytest.param(KEYGEN, honest_keygen, ends, "keygen.r3.sch:z*G = A + e*X", id="keygen round 3"),
    pytest.param(AUX, HONEST_AUX, sends(3), "aux.r2.prm:A unit", id="aux round 2"),
    pytest.param(AUX, HONEST_AUX, ends, "aux.r3.fac:P unit", id="aux round 3"),
    pytest.param(REFRESH, HONEST_REFRESH, sends(3), "refresh.r2.share", id="refresh round 2"),
    pytest.param(REFRESH, HONEST_REFRESH, ends, "refresh.r3.fac:P unit", id="refresh round 3"),
    pytest.param(PRESIGN, honest_presign, sends(2), "presign.r1.item0.K", id="presign round 1"),
    pytest.param(PRESIGN, honest_presign, sends(3), "presign.r2.item0.h", id="presign round 2"),
    pytest.param(PRESIGN, honest_presign, checks_round_3, "presign.r3.item0.delta", id="presign round 3"),
]
