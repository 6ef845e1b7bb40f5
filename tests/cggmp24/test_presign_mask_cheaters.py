"""Presigning with one malicious signer (protocol.md 3.2, 7): a lie for every check of round 2, and who sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from cggmp24_cheating import MISPLACED, Cheat, assert_caught, changed, reports
from presign_cheating import (
    AG_W_Y,
    ALL,
    CHEATER,
    D_HAT,
    ELOG,
    F_HAT,
    GAMMA,
    KEY,
    LEVEL,
    PSI,
    PSI_HAT,
    D,
    F,
    G,
    H,
    N,
    O,
    Q,
    cheating,
    elsewhere,
    run,
    says2,
    tells2,
)
from session_testing import Program, tells
from tss_testing import TINY
from zk_cases import Case, forge

from tss.cggmp24.presign import Presigning
from tss.cggmp24.presign_prove import Half, Item, Mask
from tss.envelope import PartyId, holder
from tss.errors import (
    BadDecommit,
    BadPoint,
    OutOfDomain,
    ProofInvalid,
)
from tss.paillier import PaillierPublic
from tss.zk import aff_g, elog


class Masking(Presigning):
    """Makes the masks and changes them; the hashes are those of what it sends."""

    change: Callable[[Any, Item, PartyId, Mask], Mask]

    def mask(self, item: Item, j: PartyId) -> Mask:
        return type(self).change(self, item, j, super().mask(item, j))


def masking(change: Callable[[Any, Item, PartyId, Mask], Mask]) -> Program:
    return cheating(type("Masked", (Masking,), {"change": staticmethod(change)}))


def with_ciphertext(name: str, new: Callable[[PartyId, int], int]) -> Program:
    return masking(lambda _self, _item, j, mask: replace(mask, **{name: new(j, int(getattr(mask, name)))}))


def affine(
    self: Any,
    item: Item,
    j: PartyId,
    label: str,
    D_: Any,
    F_: Any,
    wit: Mapping[str, Any],
    *,
    forged: bool = False,
) -> list[Any]:
    """A proof about D_ and F_ by a prover who claims this witness."""
    X = item.Gamma_j[self.ctx.me] if label == "gamma" else self.X_eff[CHEATER]
    place = self.ctx.proof(label, self.ctx.me, j, sid=item.isid)
    statement = aff_g.Statement(self.keys[j], KEY.public, item.round1[j].K, D_, F_, X, self.rings[j])
    if forged:
        return forge(Case("aff-g", TINY, statement, dict(wit), ctx=place))
    return aff_g.prove(TINY, place, statement, aff_g.Witness(**wit), self.ctx.rng).to_value()


def false_affine(label: str, lie: str) -> Program:
    """D, F and the proof of one kind made anew, with one lie in them."""

    def change(self: Any, item: Item, j: PartyId, mask: Mask) -> Mask:
        key: PaillierPublic = self.keys[j]
        x = item.gamma if label == "gamma" else self.x
        y, rho, rho_y = 12345, 7, 11
        wit = {"x": x, "y": y, "rho": rho, "rho_y": rho_y}
        y_F, enc_F = y, KEY.enc
        if lie == "x + 1":
            wit["x"] = x = x + 1
        elif lie == "another share":
            wit["x"] = x = self.share.x
        elif lie == "y of F":
            y_F = y + 1
        elif lie == "large y":
            y = y_F = wit["y"] = 1 << LEVEL.l_prime + LEVEL.eps + 2
        elif lie == "modulus of F":
            enc_F = key.enc
        D_ = key.oplus(key.otimes(x, item.round1[j].K), key.enc(y, rho))
        F_ = enc_F(y_F, rho_y)
        while lie == "modulus of F" and not F_ < KEY.public.N2:
            wit["rho_y"] = rho_y = rho_y + 1
            F_ = enc_F(y_F, rho_y)
        psi = affine(self, item, j, label, D_, F_, wit, forged=lie == "large y")
        if label == "gamma":
            return replace(mask, D=D_, F=F_, psi=psi)
        return replace(mask, D_hat=D_, F_hat=F_, psi_hat=psi)

    return masking(change)


def masks_for_another_verifier(label: str) -> Program:
    """The right place, the wrong ring-Pedersen parameters."""

    class Mistaken(Presigning):
        def half_mask(self, item: Item, j: PartyId, of: str) -> Half:
            rings = self.rings
            if of == label:
                self.rings = {j: rings[holder(4 - j.index)]}
            try:
                return super().half_mask(item, j, of)
            finally:
                self.rings = rings

    return cheating(Mistaken)


class AnotherGamma(Presigning):
    """Gamma_i of gamma + 1, with a proof that tries to say that B2 holds it."""

    def gamma_proof(self, item: Item) -> Any:
        other = (item.gamma + 1) % Q
        Gamma = other * G
        statement = elog.Statement(L=item.B1, M=item.B2, X=item.Y, Y=Gamma, h=G)
        place = self.ctx.proof("gamma", self.ctx.me, sid=item.isid)
        psi = elog.prove(TINY, place, statement, elog.Witness(y=other, lam=item.b), self.ctx.rng)
        return Gamma, psi.to_value()


def committing(change: Callable[[Sequence[Any]], Sequence[Any]]) -> Program:
    """Hashes of its own masks that are of something else."""

    class Committing(Presigning):
        def commit_mask(
            self, item: Item, sender: PartyId, recipient: PartyId, ciphertexts: list[Any]
        ) -> bytes:
            values = (item.isid, sender.index, recipient.index, *ciphertexts)
            return self.ctx.hc("mta-commit", *(change(values) if sender == self.ctx.me else values))

    return cheating(Committing)


H_CHECK, GAMMA_CHECK, X_CHECK = (f"presign.r2.item0.{name}" for name in ("h", "gamma.aff-g:", "x.aff-g:"))
FIRST_EQUATION = "C^z1*enc0(z2; w) = A*D^e"

ROUND_2 = [
    # 1
    Cheat("Gamma_i is O", BadPoint, "presign.r2.item0.Gamma", ALL, (says2(GAMMA, O),)),
    # 2
    Cheat(
        "Gamma_i is not in B2", ProofInvalid, "presign.r2.item0.elog:u*G + z*X = N + e*M", ALL,
        program=cheating(AnotherGamma),
    ),
    Cheat(
        "elog with z + 1", ProofInvalid, "presign.r2.item0.elog:z*G = A + e*L", ALL,
        (says2(ELOG, lambda psi: changed(psi, 3, lambda z: (z + 1) % Q)),),
    ),
    Cheat(
        "elog with u + q", OutOfDomain, "presign.r2.item0.elog:u range", ALL,
        (says2(ELOG, lambda psi: changed(psi, 4, lambda u: u + Q)),),
    ),
    *(
        Cheat(
            f"elog of {name}", ProofInvalid, "presign.r2.item0.elog:z*G = A + e*L", ALL,
            program=cheating(elsewhere("gamma_proof", "gamma", change)),
        )
        for name, change in MISPLACED.items()
    ),
    # 3
    Cheat("another h for one", BadDecommit, H_CHECK, (1,), (says2(H, lambda h: [b"h" * 32, h[1]]),)),
    Cheat("another h for the other", BadDecommit, H_CHECK, (3,), (says2(H, lambda h: [h[0], b"h" * 32]),)),
    Cheat("the hashes exchanged", BadDecommit, H_CHECK, ALL, (says2(H, lambda h: h[::-1]),)),
    *(
        Cheat(f"{name} is not the one in h", BadDecommit, H_CHECK, (1,), (tells2(place, lambda C: C + 1),))
        for name, place in (("D", D), ("F", F), ("D^", D_HAT), ("F^", F_HAT))
    ),
    Cheat("h of another item", BadDecommit, H_CHECK, ALL, program=committing(lambda v: (b"\0" * 32, *v[1:]))),
    Cheat("h of another sender", BadDecommit, H_CHECK, ALL, program=committing(lambda v: (v[0], 9, *v[2:]))),
    Cheat("h for another recipient", BadDecommit, H_CHECK, ALL, program=committing(lambda v: (*v[:2], 9, *v[3:]))),
    # 4
    *(
        Cheat(
            f"{name} is {what}", OutOfDomain, f"presign.r2.item0.{name}", ALL,
            program=with_ciphertext(field, new),
        )
        for name, field, owner in (
            ("D", "D", lambda j: j.index),
            ("F", "F", lambda _j: CHEATER),
            ("D^", "D_hat", lambda j: j.index),
            ("F^", "F_hat", lambda _j: CHEATER),
        )
        for what, new in (
            ("0", lambda _j, _C: 0),
            ("not reduced", lambda j, C, owner=owner: C + N[owner(j)] ** 2),
            ("no unit", lambda j, _C, owner=owner: 5 * N[owner(j)]),
        )
    ),
    # 5
    Cheat(
        "D with gamma + 1", ProofInvalid, GAMMA_CHECK + "z1*G = Bx + e*X", ALL, program=false_affine("gamma", "x + 1")
    ),
    Cheat(
        "D and F with different y", ProofInvalid, GAMMA_CHECK + "enc1(z2; w_y) = By*Y^e", ALL,
        program=false_affine("gamma", "y of F"),
    ),
    Cheat("y out of range", ProofInvalid, GAMMA_CHECK + "z2 range", ALL, program=false_affine("gamma", "large y")),
    Cheat(
        "F under the recipient's modulus", ProofInvalid, GAMMA_CHECK + "enc1(z2; w_y) = By*Y^e", ALL,
        program=false_affine("gamma", "modulus of F"),
    ),
    Cheat(
        "another w_y", ProofInvalid, GAMMA_CHECK + "enc1(z2; w_y) = By*Y^e", (1,),
        (tells2(PSI, lambda psi: changed(psi, AG_W_Y, lambda w: 2 * w % N[2])),),
    ),
    # 6
    Cheat(
        "the share itself instead of its Lagrange multiple", ProofInvalid, X_CHECK + "z1*G = Bx + e*X", ALL,
        program=false_affine("x", "another share"),
    ),
    Cheat(
        "D^ and F^ with different y", ProofInvalid, X_CHECK + "enc1(z2; w_y) = By*Y^e", ALL,
        program=false_affine("x", "y of F"),
    ),
    Cheat("y^ out of range", ProofInvalid, X_CHECK + "z2 range", ALL, program=false_affine("x", "large y")),
    Cheat(
        "F^ under the recipient's modulus", ProofInvalid, X_CHECK + "enc1(z2; w_y) = By*Y^e", ALL,
        program=false_affine("x", "modulus of F"),
    ),
    Cheat(
        "another w_y in psi^", ProofInvalid, X_CHECK + "enc1(z2; w_y) = By*Y^e", (1,),
        (tells2(PSI_HAT, lambda psi: changed(psi, AG_W_Y, lambda w: 2 * w % N[2])),),
    ),
    Cheat(
        "psi and psi^ exchanged", ProofInvalid, GAMMA_CHECK + FIRST_EQUATION, (1,),
        (tells(2, lambda items: [[*items[0][:4], items[0][5], items[0][4]]], to=1),),
    ),
    *(
        Cheat(
            f"affine proof of {label} of {name}", ProofInvalid, f"presign.r2.item0.{label}.aff-g:{FIRST_EQUATION}",
            ALL, program=cheating(elsewhere("half_mask", label, change)),
        )
        for label in ("gamma", "x")
        for name, change in MISPLACED.items()
    ),
]  # fmt: skip


@pytest.mark.attack("A4")
@pytest.mark.attack("B5")
@pytest.mark.attack("B8")
@pytest.mark.attack("C1")
@pytest.mark.attack("D15")
@pytest.mark.parametrize("cheat", ROUND_2, ids=lambda cheat: cheat.id)
def test_every_lie_is_caught(cheat: Cheat) -> None:
    assert_caught(cheat, CHEATER, run)


@pytest.mark.attack("B5")
@pytest.mark.parametrize("label", ["gamma", "x"])
def test_a_proof_under_the_parameters_of_another_verifier(label: str) -> None:
    """Each verifies under its own, never under what the prover names. Which check fails first depends on the moduli."""
    outcomes = run(seed=label, programs={CHEATER: masks_for_another_verifier(label)}, drop=reports)
    check = f"presign.r2.item0.{label}.aff-g:"
    outcomes.assert_blamed(CHEATER, (ProofInvalid, OutOfDomain), check=check, by=ALL)  # type: ignore[arg-type]
