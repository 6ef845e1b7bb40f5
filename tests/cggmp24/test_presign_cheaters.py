"""Presigning with one malicious signer (protocol.md 3.2, 7): a lie for every check of round 1 and every message, and who sees it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from cggmp24_cheating import MISPLACED, Cheat, assert_caught, changed, reports
from presign_cheating import (
    A1,
    ALL,
    B1,
    CHEATER,
    DELTA,
    DELTA_POINT,
    EE_S,
    EE_T,
    EE_W,
    EE_Z2,
    EE_Z3,
    G_I,
    GAMMA,
    KEY,
    LEVEL,
    N_HAT,
    OFF_CURVE,
    S_I,
    SIGNERS,
    D,
    G,
    H,
    K,
    N,
    O,
    Q,
    Y,
    cheating,
    elsewhere,
    fields,
    run,
    says1,
    says2,
    says3,
    tells1,
    tells2,
)
from session_testing import LEADING_ZERO, NEGATIVE_ZERO, Program, Tamper, says, tells
from tss_testing import TINY
from zk_cases import Case, forge

from tss.cggmp24 import presign
from tss.cggmp24.presign import Presigning
from tss.cggmp24.presign_prove import Item
from tss.effects import SessionContext
from tss.envelope import PartyId, holder
from tss.errors import (
    BadDecommit,
    BadPoint,
    Equivocation,
    OutOfDomain,
    ProofInvalid,
    SchemaViolation,
)
from tss.zk import enc_elg


class Drawing(Presigning):
    """Draws an item and changes it."""

    change: Callable[[Item], Item]

    def draw(self, k_: int) -> Item:
        return type(self).change(super().draw(k_))


def drawing(change: Callable[[Item], Item], proofs: Any = Presigning.prove_round1) -> Program:
    return cheating(type("Drawn", (Drawing,), {"change": staticmethod(change), "prove_round1": proofs}))


def large(name: str, value: int) -> Program:
    """k or gamma far out of range. All equations hold, mod q and in the ring-Pedersen commitment."""
    label, opening = ("k", "rho") if name == "k" else ("gamma", "nu")

    def change(item: Item) -> Item:
        if name == "k":
            return fields(item, K=KEY.enc(value, item.rho), A2=value * G + item.a * item.Y)
        return fields(item, G=KEY.enc(value, item.nu), B2=value * G + item.b * item.Y)

    def prove(self: Any, item: Item, j: PartyId, of: str) -> list[Any]:
        if of != label:
            return Presigning.prove_round1(self, changed_back(item), j, of)
        place = self.ctx.proof(label, self.ctx.me, j, sid=item.isid)
        ring, mine = self.rings[j], name == "k"
        points = (item.Y, item.A1, item.A2) if mine else (item.Y, item.B1, item.B2)
        statement = enc_elg.Statement(KEY.public, item.K if mine else item.G, *points, ring)
        wit = {"x": value, "rho": getattr(item, opening), "b": item.a if mine else item.b}
        return forge(Case("enc-elg", TINY, statement, wit, ctx=place))

    def changed_back(item: Item) -> Item:
        if name == "k":
            return fields(item, K=KEY.enc(item.k, item.rho), A2=item.k * G + item.a * item.Y)
        return fields(item, G=KEY.enc(item.gamma, item.nu), B2=item.gamma * G + item.b * item.Y)

    return drawing(change, prove)


def for_another_verifier(self: Any, item: Item, j: PartyId, label: str) -> list[Any]:
    """The right place, the wrong ring-Pedersen parameters."""
    rings = self.rings
    self.rings = {j: rings[holder(4 - j.index)]}
    try:
        return Presigning.prove_round1(self, item, j, label)
    finally:
        self.rings = rings


ROUND_1 = [
    # 1
    *(
        Cheat(f"{name} is {what}", OutOfDomain, f"presign.r1.item0.{name}", ALL, (says1(place, new),))
        for name, place in (("K", K), ("G", G_I))
        for what, new in (
            ("0", 0),
            ("N^2", N[2] ** 2),
            ("not reduced", lambda C: C + N[2] ** 2),
            ("no unit", 3 * int(KEY.p)),
        )
    ),
    *(
        Cheat(f"{name} is O", BadPoint, f"presign.r1.item0.{name}", ALL, (says1(place, O),))
        for name, place in (("Y", Y), ("A1", A1), ("B1", B1))
    ),
    # 2
    Cheat(
        "k out of range", ProofInvalid, "presign.r1.item0.k.enc-elg:z1 range", ALL,
        program=large("k", 1 << LEVEL.l + LEVEL.eps + 2),
    ),
    Cheat(
        "K encrypts k + 1", ProofInvalid, "presign.r1.item0.k.enc-elg:enc(z1; z2) = D*C^e", ALL,
        program=drawing(lambda item: fields(item, K=KEY.enc(item.k + 1, item.rho))),
    ),
    Cheat(
        "A2 commits to k + 1", ProofInvalid, "presign.r1.item0.k.enc-elg:w*A + z1*G = Y + e*X", ALL,
        program=drawing(lambda item: fields(item, A2=item.A2 + G)),
    ),
    Cheat(
        "A1 of another a", ProofInvalid, "presign.r1.item0.k.enc-elg:w*G = Z + e*B", ALL,
        program=drawing(lambda item: fields(item, A1=item.A1 + G)),
    ),
    *(
        Cheat(f"psi0 with {what}", error, f"presign.r1.item0.k.enc-elg:{check}", (1,), (tells1(0, place, new),))
        for what, error, check, place, new in (
            ("z2 = 0", OutOfDomain, "z2 unit", EE_Z2, 0),
            ("S + N^", OutOfDomain, "S unit", EE_S, lambda S: S + N_HAT[1]),
            ("w + q", OutOfDomain, "w range", EE_W, lambda w: w + Q),
            ("another z3", ProofInvalid, "s^z1 t^z3 = T*S^e", EE_Z3, lambda z: z + 1),
        )
    ),
    # 3
    Cheat(
        "gamma out of range", ProofInvalid, "presign.r1.item0.gamma.enc-elg:z1 range", ALL,
        program=large("gamma", 1 << LEVEL.l + LEVEL.eps + 2),
    ),
    Cheat(
        "G encrypts gamma + 1", ProofInvalid, "presign.r1.item0.gamma.enc-elg:enc(z1; z2) = D*C^e", ALL,
        program=drawing(lambda item: fields(item, G=KEY.enc(item.gamma + 1, item.nu))),
    ),
    Cheat(
        "B2 commits to gamma + 1", ProofInvalid, "presign.r1.item0.gamma.enc-elg:w*A + z1*G = Y + e*X", ALL,
        program=drawing(lambda item: fields(item, B2=item.B2 + G)),
    ),
    Cheat(
        "B1 of another b", ProofInvalid, "presign.r1.item0.gamma.enc-elg:w*G = Z + e*B", ALL,
        program=drawing(lambda item: fields(item, B1=item.B1 + G)),
    ),
    *(
        Cheat(f"psi1 with {what}", error, f"presign.r1.item0.gamma.enc-elg:{check}", (1,), (tells1(1, place, new),))
        for what, error, check, place, new in (
            ("z2 = 0", OutOfDomain, "z2 unit", EE_Z2, 0),
            ("T + N^", OutOfDomain, "T unit", EE_T, lambda T: T + N_HAT[1]),
            ("w + q", OutOfDomain, "w range", EE_W, lambda w: w + Q),
            ("another z3", ProofInvalid, "s^z1 t^z3 = T*S^e", EE_Z3, lambda z: z + 1),
        )
    ),
    Cheat(
        "psi0 and psi1 exchanged", ProofInvalid, "presign.r1.item0.k.enc-elg:enc(z1; z2) = D*C^e", (1,),
        (tells(1, lambda items: [items[0][::-1]], to=1),),
    ),
    *(
        Cheat(
            f"psi of {label} of {name}", ProofInvalid, f"presign.r1.item0.{label}.enc-elg:enc(z1; z2) = D*C^e", ALL,
            program=cheating(elsewhere("prove_round1", label, change)),
        )
        for label in ("k", "gamma")
        for name, change in MISPLACED.items()
    ),
]  # fmt: skip


def schema(
    what: str, round_: int, *tamper: Tamper, by: tuple[int, ...] = ALL, error: Any = SchemaViolation
) -> Cheat:
    return Cheat(what, error, f"presign.r{round_}.schema", by, tamper)


MESSAGES = [
    schema("no item", 1, says(1, lambda _: [])),
    schema("an item too many", 1, says(1, lambda items: items * 2)),
    schema("an item without B2", 1, says(1, lambda items: [items[0][:-1]])),
    schema("a negative K", 1, says1(K, lambda C: -C)),
    schema("K is negative zero", 1, says1(K, NEGATIVE_ZERO)),
    schema("G past the cap on integers", 1, says1(G_I, 1 << LEVEL.max_integer_bits)),
    schema("Y off the curve", 1, says1(Y, OFF_CURVE), error=BadPoint),
    schema("proofs of no item", 1, tells(1, lambda _: [], to=1), by=(1,)),
    schema("psi0 alone", 1, tells(1, lambda items: [items[0][:1]], to=1), by=(1,)),
    schema("z3 with a leading zero", 1, tells1(0, EE_Z3, LEADING_ZERO), by=(1,)),
    schema("a hash too few", 2, says2(H, lambda h: h[:1])),
    schema("a hash too many", 2, says2(H, lambda h: [*h, h[0]])),
    schema("a hash of 31 bytes", 2, says2(H, lambda h: [h[0], h[1][1:]])),
    schema("Gamma_i off the curve", 2, says2(GAMMA, OFF_CURVE), error=BadPoint),
    schema("masks without psi^", 2, tells(2, lambda items: [items[0][:-1]], to=1), by=(1,)),
    schema("a negative D", 2, tells2(D, lambda C: -C), by=(1,)),
    schema("delta of more bits than q", 3, says3(DELTA, 1 << 32)),
    schema("a negative delta", 3, says3(DELTA, -1)),
    schema("S_i off the curve", 3, says3(S_I, OFF_CURVE), error=BadPoint),
    schema("entropy in a presigning", 3, says(3, lambda value: [value[0], b"e" * 32])),
    schema("items of another number", 3, says(3, lambda value: [value[0] * 2, value[1]])),
]


@pytest.mark.attack("A4")
@pytest.mark.attack("B5")
@pytest.mark.attack("B8")
@pytest.mark.attack("C1")
@pytest.mark.parametrize("cheat", [*MESSAGES, *ROUND_1], ids=lambda cheat: cheat.id)
def test_every_lie_is_caught(cheat: Cheat) -> None:
    assert_caught(cheat, CHEATER, run)


@pytest.mark.attack("B5")
def test_a_proof_under_the_parameters_of_another_verifier() -> None:
    """Each verifies under its own, never under what the prover names. Which check fails first depends on the moduli."""
    program = drawing(lambda item: item, for_another_verifier)
    outcomes = run(programs={CHEATER: program}, drop=reports)
    outcomes.assert_blamed(CHEATER, (ProofInvalid, OutOfDomain), check="presign.r1.item0.k.enc-elg:", by=ALL)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rule", "check"),
    [
        pytest.param(says(1, lambda v: [v[0], changed(v[1], Y, O), v[2]]), "presign.r1.item1.Y", id="round 1"),
        pytest.param(says(2, lambda v: [v[0], changed(v[1], GAMMA, O), v[2]]), "presign.r2.item1.Gamma", id="round 2"),
        pytest.param(
            says(3, lambda v: [[v[0][0], changed(v[0][1], DELTA_POINT, O), v[0][2]], v[1]]),
            "presign.r3.item1.Delta", id="round 3",
        ),
        pytest.param(
            tells(1, lambda v: [v[0], v[2], v[1]], to=(1, 3)),
            "presign.r1.item1.k.enc-elg:enc(z1; z2) = D*C^e", id="proofs of two items exchanged",
        ),
        pytest.param(
            tells(2, lambda v: [v[0], v[2], v[1]], to=(1, 3)), "presign.r2.item1.h", id="masks of two items exchanged"
        ),
    ],
)  # fmt: skip
def test_the_item_of_a_batch_that_fails_is_named(rule: Tamper, check: str) -> None:
    """The whole batch ends: items share nothing but sid, S and the keys."""
    error = {"Y": BadPoint, "Gamma": BadPoint, "Delta": BadPoint, "h": BadDecommit}.get(
        check.rsplit(".", 1)[1], ProofInvalid
    )
    cheat = Cheat(check, error, check, ALL, (rule,))
    assert_caught(cheat, CHEATER, partial(SIGNERS.presign, batch=3))


class TwoFaces(Presigning):
    """Party 3 is shown another item than party 1, each with proofs that hold."""

    others_item: Item

    def draw(self, k_: int) -> Item:
        self.others_item = super().draw(k_)
        return super().draw(k_)

    def prove_round1(self, item: Item, j: PartyId, label: str) -> list[Any]:
        shown = self.others_item if j.index == 3 else item
        return super().prove_round1(shown, j, label)


@pytest.mark.attack("C11")
def test_two_versions_of_round_1_with_valid_proofs() -> None:
    """The echo of round 1 travels in round 2 and is compared before anything of round 3 is sent."""
    made: list[TwoFaces] = []

    def program(ctx: SessionContext) -> Any:
        made.append(SIGNERS.presigning(ctx, TwoFaces))
        return presign._rounds(made[0], 1, None)

    shown = says(1, lambda _: [made[0].others_item.round1_value()], only_to=3)
    outcomes = run(seed="faces", programs={CHEATER: program}, tamper={CHEATER: [shown]}, drop=reports)
    outcomes.assert_blamed(CHEATER, Equivocation, check="presign.r1.msg", by=ALL)
    for index in ALL:
        assert not [body for body in outcomes[index].bodies() if body.round == 3]
