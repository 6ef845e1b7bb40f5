"""Targets: `Session.receive` in every phase of the protocols that move keys, and of FROST (fuzz_session.py has the manner)."""

from __future__ import annotations

from collections.abc import Callable

from cggmp24_testing import dealt_key, primes_of, refresh_program
from frost_testing import FrostSigners
from fuzz_session import Scene, committee_of, targets_of
from reshare_testing import Loss, Move, dealer, helper, new, recipient
from session_testing import Committee, Program
from tss_testing import TINY

from tss.cggmp24 import recover, refresh, reshare
from tss.envelope import PartyId, holder
from tss.frost import dkg, sign
from tss.frost.nonces import enclosed, enclosed_schema
from tss.params import FROST_ED25519, Suite
from tss.session import Round0
from tss.setting import Enclosed

POINTS = (1, 2, 3)
SIGNERS = FrostSigners(POINTS)
MESSAGE = b"fuzz"


def _dkg() -> Committee:
    program: Program = lambda ctx: dkg.dkg(ctx, 2)  # noqa: E731 - one expression
    return committee_of(dict.fromkeys(POINTS, program), dkg.KIND, dkg.tail(3, 2), suite=FROST_ED25519)


def _frost(ahead: int) -> Callable[[], Committee]:
    """Pairs exchanged ahead, so many, or a signature in two rounds for 0: both begin inside the acceptances."""
    owner = holder(SIGNERS.S[0])

    def make() -> Committee:
        pairs = SIGNERS.pairs("fuzz", ahead or 1)
        if ahead:
            kind, tail = sign.PREPARE_KIND, sign.prepare_tail(SIGNERS.share, SIGNERS.S, owner.index, ahead)
        else:
            kind, tail = sign.FULL_KIND, sign.full_tail(SIGNERS.share, SIGNERS.S, MESSAGE)

        def program(j: int) -> Program:
            share = SIGNERS.shares[j]
            if ahead:
                return lambda ctx: sign.prepare(ctx, share, pairs[j], owner)
            return lambda ctx: sign.full_sign(ctx, share, pairs[j][0], MESSAGE)

        schema = enclosed_schema(FROST_ED25519)
        inside = {j: Enclosed(enclosed(own), schema) for j, own in pairs.items()}
        programs = {j: program(j) for j in SIGNERS.S}
        return committee_of(programs, kind, tail, Round0.WITH_ROUND_1, suite=FROST_ED25519, enclosed=inside)

    return make


def _frost_sign() -> Committee:
    parts = SIGNERS.prepared("fuzz")

    def program(j: int) -> Program:
        return lambda ctx: sign.sign(ctx, SIGNERS.shares[j], parts[j], MESSAGE)

    tail = sign.tail(SIGNERS.share, parts[1].public, MESSAGE)
    proposed = SIGNERS.proposal(tail)
    return committee_of(
        {j: program(j) for j in SIGNERS.S}, sign.KIND, tail, Round0.NONE,
        suite=FROST_ED25519, ph=proposed.body.sid, background=(proposed,),
    )  # fmt: skip


def _refresh(suite: Suite, thresholds: tuple[int, ...]) -> Callable[[], Committee]:
    keys = [
        dealt_key(suite, 3, t, ("fuzz", k), None, None if suite.has_aux else b"")
        for k, t in enumerate(thresholds)
    ]
    primes = primes_of(suite, 3) if suite.has_aux else {}
    aux_id = b"\xaa" * 32 if suite.has_aux else None
    tail = refresh.tail([key[1] for key in keys], [aux_id] * len(keys))
    programs = {j: refresh_program([key[j] for key in keys], primes.get(j)) for j in POINTS}
    return lambda: committee_of(programs, refresh.KIND, tail, suite=suite)


MOVE, LOSS = Move(), Loss()


def _reshare() -> Committee:
    programs: dict[PartyId, Program] = {party: MOVE.program(party) for party in MOVE.parties}
    return committee_of(programs, reshare.KIND, MOVE.terms.tail())


def _recover() -> Committee:
    parties = [*map(helper, LOSS.helpers), recipient(LOSS.r)]
    programs: dict[PartyId, Program] = {party: LOSS.program(party.index) for party in parties}
    return committee_of(programs, recover.KIND, LOSS.terms.tail())


SCENES = {
    "frost-keygen": Scene(_dkg, suite=FROST_ED25519),
    "frost-pairs": Scene(_frost(2), me=2, suite=FROST_ED25519),
    "frost-full-sign": Scene(_frost(0), me=3, suite=FROST_ED25519),
    "frost-sign-owner": Scene(_frost_sign, suite=FROST_ED25519),
    "frost-sign": Scene(_frost_sign, me=2, suite=FROST_ED25519),
    "refresh": Scene(_refresh(TINY, (2, 3)), me=2),
    "refresh-ed25519": Scene(_refresh(FROST_ED25519, (2,)), suite=FROST_ED25519),
    "reshare-dealer": Scene(_reshare, me=dealer(4)),
    "reshare-new": Scene(_reshare, me=new(1)),
    "recover-helper": Scene(_recover, me=helper(3)),
    "recover-recipient": Scene(_recover, me=recipient(2)),
}
SHARES = {
    "frost-pairs": 0.05,
    "frost-full-sign": 0.03,
    "frost-sign-owner": 0.05,
    "frost-sign": 0.05,
    "recover-helper": 0.03,
    "recover-recipient": 0.03,
}
TARGETS = targets_of(SCENES, SHARES)
