"""Resharing with one malicious party (protocol.md 2.3, 7): a lie for every check, and who sees it.

Dealers are 4 and 5, new holders 1 to 3: an evaluation point names one party, as everywhere below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from cggmp24_cheating import MISPLACED, Cheat, assert_caught, changed, durable, loaded, lying, meddling
from cggmp24_testing import secret_of
from reshare_testing import Move, dealer, new
from session_testing import LEADING_ZERO, Raw, assert_judged, says, tells
from tss_testing import TINY, TINY_WITHOUT_AUX

from tss.cggmp24 import reshare
from tss.effects import Effect, Send, SessionContext
from tss.errors import (
    BadDecommit,
    BadModulusSize,
    BadPoint,
    BadShare,
    Degenerate,
    Equivocation,
    InternalError,
    OutOfDomain,
    ProofInvalid,
    SchemaViolation,
    WrongChainCode,
    WrongDealer,
    WrongLength,
)
from tss.zk import sch

Q, G = TINY.group.q, TINY.group.G
PLAIN, WITH_AUX = Move(TINY_WITHOUT_AUX), Move(TINY)
DEALER, HOLDER = 4, 2
NEW = (1, 2, 3)
TO_DEALER, TO_HOLDER = (1, 2, 3, 5), (1, 3, 4, 5)
"""Who sees what a dealer, or a new holder, says to all."""
OFF_CURVE = Raw(bytes([4]) + (5).to_bytes(4, "big") + b"\x02\xff\xff\xff\xff")

deals, holds = PLAIN.program(dealer(DEALER)), PLAIN.program(new(HOLDER))
holds_aux = WITH_AUX.program(new(HOLDER))

# A dealer draws the coefficients above the constant one, then u. A new holder without aux: rid, u, its nonce.
C_1, NONCE = 0, 2


def word(value: int) -> bytes:
    return value.to_bytes(4, "big")


def other_byte(value: bytes) -> bytes:
    return bytes([value[0] ^ 1]) + value[1:]


def in_dealing(place: int, new_value: Any) -> Callable[[Any], Any]:
    return lambda v: [changed(v[0], place, new_value), None]


def in_opening(place: int, new_value: Any) -> Callable[[Any], Any]:
    return lambda v: [None, changed(v[1], place, new_value)]


def announced(change: Callable[[Any], Any], tag: str, program: Any, party: int) -> dict[str, Any]:
    """Commits to a false value in round 1 and opens it in round 2: the hash holds."""
    part = 0 if tag == "reshare-commit" else 1

    def hashed(values: tuple[Any, ...]) -> Any:
        if values[1] != party:
            return values
        opened: list[Any] = [None, None]
        opened[part] = list(values[2:])
        return [*values[:2], *change(opened)[part]]

    return {"tamper": (says(2, change),), "program": lying(program, hashes={tag: hashed})}


def dealt(change: Callable[[Any], Any]) -> dict[str, Any]:
    return announced(change, "reshare-commit", deals, DEALER)


def another_secret(ctx: SessionContext) -> Any:
    """Shares out another share than its own: the sum would be another key."""
    share = PLAIN.key[DEALER]
    return reshare.deal(ctx, PLAIN.terms, replace(share, x=(share.x + 1) % Q))


def shares_of_others(effect: Effect, _own: Mapping[str, Any]) -> Effect:
    if not (isinstance(effect, Send) and effect.round == 2):
        return effect
    return replace(effect, p2p={**effect.p2p, new(1): effect.p2p[new(3)], new(3): effect.p2p[new(1)]})


def another_nonce(effect: Effect, own: Mapping[str, Any]) -> Effect:
    if not (isinstance(effect, Send) and effect.round == 3):
        return effect
    ctx: SessionContext = own["ctx"]
    place = ctx.proof("reshare-share", ctx.me, rid=own["rid"])
    proof = sch.prove(PLAIN.suite, place, own["statement"], sch.Witness(own["x_j"]), ctx.rng)
    return replace(effect, broadcast=[[proof.to_value()]])


def of_dealer(
    what: str, error: Any, check: str, *tamper: Any, by: tuple[int, ...] = TO_DEALER, **more: Any
) -> Cheat:
    return Cheat(what, error, f"reshare.{check}", by, tamper or more.pop("tamper", ()), **more)


def of_holder(
    what: str, error: Any, check: str, *tamper: Any, by: tuple[int, ...] = TO_HOLDER, **more: Any
) -> Cheat:
    return Cheat(what, error, f"reshare.{check}", by, tamper or more.pop("tamper", ()), **more)


def tells_share(new_value: Any, to: int = 3) -> Any:
    return tells(2, new_value, to=to)


DEALERS = [
    of_dealer("V of 31 bytes", SchemaViolation, "r1.schema", says(1, lambda V: V[1:])),
    of_dealer("u of 33 bytes", SchemaViolation, "r2.schema", says(2, in_dealing(1, b"u" * 33))),
    of_dealer("a coefficient off the curve", BadPoint, "r2.schema", says(2, in_dealing(0, [G, OFF_CURVE]))),
    of_dealer("a share with a leading zero", SchemaViolation, "r2.schema", tells_share(lambda _: LEADING_ZERO), by=(3,)),
    of_dealer("a negative share", SchemaViolation, "r2.schema", tells_share(lambda s: s - Q), by=(3,)),
    of_dealer("a chain code of 31 bytes", SchemaViolation, "r3.schema", tells(3, lambda c: c[1:], to=1), by=(1,)),
    of_dealer("a dealer opens nothing", SchemaViolation, "r2.role", says(2, lambda _: [None, None])),
    of_dealer("a dealer opens a nonce", SchemaViolation, "r2.role", says(2, lambda _: [None, [G, b"r" * 32, b"u" * 32]])),
    of_dealer("a dealer opens both", SchemaViolation, "r2.role", says(2, lambda v: [v[0], [G, b"r" * 32, b"u" * 32]])),
    of_dealer("V of something else", BadDecommit, "r2.decommit", says(1, lambda _: b"V" * 32)),
    of_dealer("another u", BadDecommit, "r2.decommit", says(2, in_dealing(1, other_byte))),
    of_dealer("another coefficient", BadDecommit, "r2.decommit", says(2, in_dealing(0, lambda C: [C[0], C[1] + G]))),
    of_dealer(
        "V of another dealer", BadDecommit, "r2.decommit",
        program=lying(deals, hashes={"reshare-commit": lambda v: (v[0], 5, *v[2:]) if v[1] == DEALER else v}),
    ),
    of_dealer(
        "V of another session", BadDecommit, "r2.decommit",
        program=lying(deals, hashes={"reshare-commit": lambda v: (bytes(32), *v[1:]) if v[1] == DEALER else v}),
    ),
    of_dealer("t'-1 points", WrongLength, "r2.length", **dealt(in_dealing(0, lambda C: C[:1]))),
    of_dealer("t'+1 points", WrongLength, "r2.length", **dealt(in_dealing(0, lambda C: [*C, G]))),
    of_dealer("no points", WrongLength, "r2.length", **dealt(in_dealing(0, []))),
    of_dealer("C_1 is O", BadPoint, "r2.coefficient", program=lying(deals, rng=loaded({C_1: word(0)}))),
    of_dealer("C_0 is O", BadPoint, "r2.coefficient", **dealt(in_dealing(0, lambda C: [C[0] - C[0], C[1]]))),
    of_dealer("C_0 is not lam_i X_i", WrongDealer, "r2.constant", **dealt(in_dealing(0, lambda C: [C[0] + G, C[1]]))),
    of_dealer("another secret is dealt", WrongDealer, "r2.constant", program=another_secret),
    of_dealer("a share off by one", BadShare, "r2.share", tells_share(lambda s: (s + 1) % Q), by=(3,)),
    of_dealer("the share 0", BadShare, "r2.share", tells_share(lambda _: 0, to=1), by=(1,)),
    of_dealer("shares of another index", BadShare, "r2.share", by=(1, 3), program=meddling(deals, shares_of_others)),
    of_dealer("a dealer proves something", SchemaViolation, "r3.role", says(3, lambda _: [[[G, 1]]])),
    of_dealer("another chain code for one", WrongChainCode, "r3.chain code", tells(3, other_byte, to=1), by=(1,)),
    of_dealer("another chain code", WrongChainCode, "r3.chain code", tells(3, other_byte), by=NEW),
    of_dealer("no chain code", WrongChainCode, "r3.chain code", tells(3, lambda _: None, to=2), by=(2,)),
]  # fmt: skip

HOLDERS = [
    of_holder("rid of 31 bytes", SchemaViolation, "r2.schema", says(2, in_opening(1, b"r" * 31))),
    of_holder("A off the curve", BadPoint, "r2.schema", says(2, in_opening(0, OFF_CURVE))),
    of_holder("z with a leading zero", SchemaViolation, "r3.schema", says(3, lambda v: [[[v[0][0][0], LEADING_ZERO]]])),
    of_holder("a holder opens nothing", SchemaViolation, "r2.role", says(2, lambda _: [None, None])),
    of_holder("a holder deals", SchemaViolation, "r2.role", says(2, lambda _: [[[G, G], b"u" * 32], None])),
    of_holder("V of something else", BadDecommit, "r2.decommit", says(1, lambda _: b"V" * 32)),
    of_holder("another A", BadDecommit, "r2.decommit", says(2, in_opening(0, lambda A: A + G))),
    of_holder("another rid", BadDecommit, "r2.decommit", says(2, in_opening(1, other_byte))),
    of_holder("another u", BadDecommit, "r2.decommit", says(2, in_opening(2, other_byte))),
    of_holder(
        "V of another holder", BadDecommit, "r2.decommit",
        program=lying(holds, hashes={"reshare-nonce": lambda v: (v[0], 1, *v[2:]) if v[1] == HOLDER else v}),
    ),
    of_holder("A is O", BadPoint, "r2.A", program=lying(holds, rng=loaded({NONCE: word(0)}))),
    of_holder("a holder proves nothing", SchemaViolation, "r3.role", says(3, lambda _: [None])),
    of_holder("A is not the one of round 2", ProofInvalid, "r3.sch:A is the one of round 2", program=meddling(holds, another_nonce)),
    of_holder("z + 1", ProofInvalid, "r3.sch:z*G = A + e*X", says(3, lambda v: [[[v[0][0][0], (v[0][0][1] + 1) % Q]]])),
    of_holder("z + q", OutOfDomain, "r3.sch:z range", says(3, lambda v: [[[v[0][0][0], v[0][0][1] + Q]]])),
    *(
        of_holder(
            f"the proof is of {name}", ProofInvalid, "r3.sch:z*G = A + e*X",
            program=lying(holds, proofs={"reshare-share": change}),
        )
        for name, change in MISPLACED.items()
    ),
]  # fmt: skip

AUX = [
    of_holder("another N", BadDecommit, "r2.decommit", says(2, in_opening(1, lambda N: N + 2))),
    of_holder(
        "N is even", BadModulusSize, "r2.N",
        **announced(in_opening(1, lambda N: N + 1), "reshare-nonce", holds_aux, HOLDER),
    ),
    of_holder("w is 0", ProofInvalid, "r3.mod:w unit", says(3, lambda v: [[[0, v[0][0][1]], v[0][1]]]), by=(1, 3)),
    of_holder("P of fac is 0", OutOfDomain, "r3.fac:P unit", tells(3, lambda v: [None, changed(v[1], 0, 0)], to=1), by=(1,)),
    of_holder("no fac", SchemaViolation, "r3.role", tells(3, lambda _: [None, None], to=1), by=(1,)),
    of_holder("a chain code of a holder", SchemaViolation, "r3.role", tells(3, lambda v: [b"c" * 32, v[1]], to=1), by=(1,)),
    of_holder(
        "mod of another rid", ProofInvalid, "r3.mod:z^N = y", by=(1, 3),
        program=lying(holds_aux, proofs={"mod": MISPLACED["another rid"]}),
    ),
    of_holder(
        "fac of another role", ProofInvalid, "r3.fac:s^z1 t^w1 = A*P^e", by=(1, 3),
        program=lying(holds_aux, proofs={"fac": MISPLACED["another role"]}),
    ),
]  # fmt: skip


def caught(cheat: Cheat, cheater: int, move: Move) -> None:
    outcomes = assert_caught(cheat, cheater, move.run)
    for index in cheat.by:
        assert not durable(outcomes[new(index) if index < DEALER else dealer(index)])


@pytest.mark.attack("C4")
@pytest.mark.attack("C5")
@pytest.mark.attack("C6")
@pytest.mark.parametrize("cheat", DEALERS, ids=lambda cheat: cheat.id)
def test_every_lie_of_a_dealer_is_caught(cheat: Cheat) -> None:
    caught(cheat, DEALER, PLAIN)


@pytest.mark.attack("A4")
@pytest.mark.attack("C7")
@pytest.mark.parametrize("cheat", HOLDERS, ids=lambda cheat: cheat.id)
def test_every_lie_of_a_new_holder_is_caught(cheat: Cheat) -> None:
    caught(cheat, HOLDER, PLAIN)


@pytest.mark.attack("B1")
@pytest.mark.parametrize("cheat", AUX, ids=lambda cheat: cheat.id)
def test_every_lie_about_new_parameters_is_caught(cheat: Cheat) -> None:
    caught(cheat, HOLDER, WITH_AUX)


@pytest.mark.parametrize("to", [1, 5], ids=["to a new holder", "to a dealer"])
def test_two_versions_of_a_dealing(to: int) -> None:
    """Dealers and new holders echo together."""
    lie = says(1, lambda _: b"V" * 32, only_to=to)
    outcomes = PLAIN.run(("echo", to), tamper={DEALER: [lie]})
    blaming = [node for node in outcomes.honest if node.blamed is not None]
    assert blaming
    assert all(node.blamed == DEALER and isinstance(node.error, Equivocation) for node in blaming)


def test_parties_of_one_evaluation_point_are_told_apart() -> None:
    """Dealer 2 lies, and new holder 2 does not: the evidence and everybody's verdict are about the dealer."""
    move = Move(TINY_WITHOUT_AUX, 3, 2, (2, 3), 3, 2)
    lie = says(2, lambda v: v if v[0] is None else in_dealing(1, other_byte)(v))
    outcomes = move.run("one point", tamper={2: [lie]})
    for node in outcomes.honest:
        error = node.error
        assert isinstance(error, BadDecommit), error
        assert (error.peer, error.role) == (2, "dealer")
        assert assert_judged(outcomes, node).accused == dealer(2)


@pytest.mark.parametrize("place", NEW)
def test_a_new_share_of_zero_ends_the_run_without_blame(place: int) -> None:
    """The new polynomial is 0 at a new holder's point."""
    slope = -secret_of(PLAIN.key) * pow(place, -1, Q)
    dice = {dealer(4): {C_1: word(7)}, dealer(5): {C_1: word((slope - 7) % Q)}}
    outcomes = PLAIN.run("degenerate", dice=dice)
    outcomes.assert_no_blame(Degenerate)
    assert not any(durable(node) for node in outcomes.honest)


def test_a_lie_that_no_check_sees_still_gives_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reshare, "check_share", lambda *_: None)
    outcomes = PLAIN.run("unseen", tamper={DEALER: [tells(2, lambda s: (s + 1) % Q, to=3)]})
    assert type(outcomes[new(3)].error) is InternalError
    assert not durable(outcomes[new(3)])
