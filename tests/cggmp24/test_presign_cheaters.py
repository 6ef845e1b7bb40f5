"""Presigning with one malicious signer (protocol.md 3.2, 7): a lie for every check, and who sees it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from cggmp24_testing import (
    MISPLACED,
    Cheat,
    LyingContext,
    Signers,
    assert_caught,
    changed,
    durable,
    reports,
)
from session_testing import LEADING_ZERO, NEGATIVE_ZERO, Program, Raw, Tamper, says, tells
from tss_testing import TESTING_TINY, TINY
from zk_cases import Case, forge

from tss.cggmp24 import presign
from tss.cggmp24.presign import Item, Mask, Presigning
from tss.cggmp24.sign import SignRequest
from tss.effects import SessionContext
from tss.envelope import PartyId, holder
from tss.errors import (
    BadDecommit,
    BadPoint,
    Equivocation,
    InternalError,
    OutOfDomain,
    ProofInvalid,
    SchemaViolation,
    Unattributable,
)
from tss.paillier import PaillierPublic
from tss.params import SecurityLevel
from tss.transcript import Context
from tss.zk import aff_g, elog, enc_elg

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
AG_Z1, AG_W_Y = 7, 12


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


# -- round 1 -----------------------------------------------------------------------------------------------------


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

    def prove(self: Any, item: Item, j: PartyId) -> list[Any]:
        honest = Presigning.prove_round1(self, changed_back(self, item), j)
        place = self.ctx.proof(label, self.ctx.me, j, sid=item.isid)
        ring, mine = self.rings[j], name == "k"
        points = (item.Y, item.A1, item.A2) if mine else (item.Y, item.B1, item.B2)
        statement = enc_elg.Statement(KEY.public, item.K if mine else item.G, *points, ring)
        wit = {"x": value, "rho": getattr(item, opening), "b": item.a if mine else item.b}
        honest[0 if mine else 1] = forge(Case("enc-elg", TINY, statement, wit, ctx=place))
        return honest

    def changed_back(_self: Any, item: Item) -> Item:
        if name == "k":
            return fields(item, K=KEY.enc(item.k, item.rho), A2=item.k * G + item.a * item.Y)
        return fields(item, G=KEY.enc(item.gamma, item.nu), B2=item.gamma * G + item.b * item.Y)

    return drawing(change, prove)


def for_another_verifier(self: Any, item: Item, j: PartyId) -> list[Any]:
    """The right place, the wrong ring-Pedersen parameters."""
    rings = self.rings
    self.rings = {j: rings[holder(4 - j.index)]}
    try:
        return Presigning.prove_round1(self, item, j)
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


# -- round 2 -----------------------------------------------------------------------------------------------------


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

    def change(self: Any, item: Item, j: PartyId, mask: Mask) -> Mask:
        rings = self.rings
        self.rings = {j: rings[holder(4 - j.index)]}
        try:
            other = Presigning.mask(self, item, j)
        finally:
            self.rings = rings
        if label == "gamma":
            return replace(mask, D=other.D, F=other.F, psi=other.psi)
        return replace(mask, D_hat=other.D_hat, F_hat=other.F_hat, psi_hat=other.psi_hat)

    return masking(change)


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
            ALL, program=cheating(elsewhere("mask", label, change)),
        )
        for label in ("gamma", "x")
        for name, change in MISPLACED.items()
    ),
]  # fmt: skip


# -- round 3 -----------------------------------------------------------------------------------------------------


class AnotherDelta(Presigning):
    """Delta_i of k + 1, with a proof that tries to say that A2 holds it."""

    def open_masks(self, item: Item, received: Any) -> list[Any]:
        delta, Delta, S, _ = super().open_masks(item, received)
        Delta = Delta + item.Gamma
        statement = elog.Statement(L=item.A1, M=item.A2, X=item.Y, Y=Delta, h=item.Gamma)
        place = self.ctx.proof("delta", self.ctx.me, sid=item.isid)
        psi = elog.prove(TINY, place, statement, elog.Witness(y=item.k + 1, lam=item.a), self.ctx.rng)
        return [delta, Delta, S, psi.to_value()]


ROUND_3 = [
    # 1
    Cheat("delta is q", OutOfDomain, "presign.r3.item0.delta", ALL, (says3(DELTA, Q),)),
    Cheat("delta past q", OutOfDomain, "presign.r3.item0.delta", ALL, (says3(DELTA, (1 << 32) - 1),)),
    Cheat("Delta_i is O", BadPoint, "presign.r3.item0.Delta", ALL, (says3(DELTA_POINT, O),)),
    # 2
    Cheat(
        "Delta_i with another k", ProofInvalid, "presign.r3.item0.elog:u*G + z*X = N + e*M", ALL,
        program=cheating(AnotherDelta),
    ),
    Cheat(
        "elog with z + 1 in round 3", ProofInvalid, "presign.r3.item0.elog:z*G = A + e*L", ALL,
        (says3(PSI3, lambda psi: changed(psi, 3, lambda z: (z + 1) % Q)),),
    ),
    Cheat(
        "elog with z + q in round 3", OutOfDomain, "presign.r3.item0.elog:z range", ALL,
        (says3(PSI3, lambda psi: changed(psi, 3, lambda z: z + Q)),),
    ),
    *(
        Cheat(
            f"elog of {name} in round 3", ProofInvalid, "presign.r3.item0.elog:z*G = A + e*L", ALL,
            program=cheating(elsewhere("open_masks", "delta", change)),
        )
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


@pytest.mark.parametrize("cheat", [*MESSAGES, *ROUND_1, *ROUND_2, *ROUND_3], ids=lambda cheat: cheat.id)
def test_every_lie_is_caught(cheat: Cheat) -> None:
    assert_caught(cheat, CHEATER, run)


@pytest.mark.attack("B5")
@pytest.mark.parametrize(
    ("program", "check"),
    [
        pytest.param(
            drawing(lambda item: item, for_another_verifier), "presign.r1.item0.k.enc-elg:", id="enc-elg"
        ),
        pytest.param(
            masks_for_another_verifier("gamma"), "presign.r2.item0.gamma.aff-g:", id="aff-g of gamma"
        ),
        pytest.param(masks_for_another_verifier("x"), "presign.r2.item0.x.aff-g:", id="aff-g of x"),
    ],
)
def test_a_proof_under_the_parameters_of_another_verifier(program: Program, check: str) -> None:
    """Each verifies under its own, never under what the prover names. Which check fails first depends on the moduli."""
    outcomes = run(seed=check, programs={CHEATER: program}, drop=reports)
    outcomes.assert_blamed(CHEATER, (ProofInvalid, OutOfDomain), check=check, by=ALL)  # type: ignore[arg-type]


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

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.others_item: Item | None = None

    def prove_round1(self, item: Item, j: PartyId) -> list[Any]:
        if j.index != 3:
            return super().prove_round1(item, j)
        self.others_item = self.draw(0)
        return super().prove_round1(self.others_item, j)


@pytest.mark.attack("C11")
def test_two_versions_of_round_1_with_valid_proofs() -> None:
    """The echo of round 1 travels in round 2 and is compared before anything of round 3 is sent."""
    made: list[TwoFaces] = []

    def program(ctx: SessionContext) -> Any:
        made.append(SIGNERS.presigning(ctx, TwoFaces))
        return presign._rounds(made[0], 1, None)

    shown = says(1, lambda _: [made[0].others_item.round1_value()], only_to=3)  # type: ignore[union-attr]
    outcomes = run(seed="faces", programs={CHEATER: program}, tamper={CHEATER: [shown]}, drop=reports)
    outcomes.assert_blamed(CHEATER, Equivocation, check="presign.r1.msg", by=ALL)
    for index in ALL:
        assert not [body for body in outcomes[index].bodies() if body.round == 3]


@pytest.mark.attack("C11")
@pytest.mark.parametrize(
    ("round_", "change"),
    [
        # h of party 1 is nobody else's business: only the echo shows that party 3 got another one.
        pytest.param(2, lambda items: [changed(items[0], H, lambda h: [b"h" * 32, h[1]])], id="h"),
        pytest.param(3, lambda value: [[changed(value[0][0], S_I, lambda S: S + G)], value[1]], id="S"),
        pytest.param(
            3, lambda value: [[changed(value[0][0], DELTA, lambda d: (d + 1) % Q)], value[1]], id="delta"
        ),
    ],
)
def test_two_versions_of_rounds_2_and_3(round_: int, change: Any) -> None:
    outcomes = run(seed=round_, tamper={CHEATER: [says(round_, change, only_to=3)]}, drop=reports)
    outcomes.assert_blamed(CHEATER, Equivocation, check=f"presign.r{round_}.msg", by=ALL)


@pytest.mark.attack("C11")
def test_two_entropies_in_full_signing() -> None:
    """The blocking echo of round 3 fixes all e_j before any sigma is made (protocol.md 3.4)."""
    rule = says(3, lambda value: [value[0], b"e" * 32], only_to=3)
    outcomes = SIGNERS.full_sign(REQUEST, tamper={CHEATER: [rule]}, drop=reports)
    outcomes.assert_blamed(CHEATER, Equivocation, check="full-sign.r3.msg", by=ALL)
    assert not any(durable(node) for node in outcomes.honest)


class TestOutput:
    """Conditions (a) and (b) are nobody's fault until the identification rounds: no result, no blame."""

    def ends(self, rule: Tamper, what: str) -> None:
        outcomes = run(seed=what, tamper={CHEATER: [rule]}, drop=reports)
        outcomes.assert_no_blame(Unattributable)
        assert all(str(error).startswith(what) for error in outcomes.errors().values())

    def test_failed_nonce(self) -> None:
        self.ends(says3(DELTA, lambda delta: (delta + 1) % Q), "failed nonce")

    def test_failed_chi(self) -> None:
        self.ends(says3(S_I, lambda S: S + G), "failed chi")

    def test_chi_is_looked_at_only_if_delta_holds(self) -> None:
        self.ends(
            says(3, lambda v: [[[v[0][0][0] ^ 1, v[0][0][1], v[0][0][2] + G, v[0][0][3]]], v[1]]),
            "failed nonce",
        )

    def test_in_the_second_item_of_a_batch(self) -> None:
        rule = says(3, lambda v: [[v[0][0], changed(v[0][1], S_I, O)], v[1]])
        outcomes = SIGNERS.presign(batch=2, tamper={CHEATER: [rule]}, drop=reports)
        outcomes.assert_no_blame(Unattributable)

    def test_in_full_signing_no_sigma_is_made(self) -> None:
        outcomes = SIGNERS.full_sign(REQUEST, tamper={CHEATER: [says3(S_I, lambda S: S + G)]}, drop=reports)
        outcomes.assert_no_blame(Unattributable)
        for node in outcomes.honest:
            assert not durable(node)
            assert not [body for body in node.bodies() if body.round == 4]


class TestBugsOfOurs:
    """Identities that honest values always satisfy are checked all the same; nobody is blamed for them."""

    def test_k_that_changes_on_the_way(self) -> None:
        class Forgetful(Presigning):
            def finish(self, item: Item, *rest: Any) -> Any:
                item.k += 1
                return super().finish(item, *rest)

        outcomes = run(programs={CHEATER: cheating(Forgetful)})
        assert isinstance(outcomes[CHEATER].error, InternalError)
        assert "Delta" in str(outcomes[CHEATER].error)

    def test_rounds_out_of_order(self) -> None:
        seen: list[InternalError] = []

        class Hasty(Presigning):
            def open_masks(self, item: Item, received: Any) -> Any:
                for step in (
                    lambda: self.check_round3(item, 0, holder(1), [1, G, G, [G, G, G, 1, 1]]),
                    lambda: self.finish(item, [1], ()),
                ):
                    with pytest.raises(InternalError) as caught:
                        step()
                    seen.append(caught.value)
                return super().open_masks(item, received)

        run(programs={CHEATER: cheating(Hasty)}).results()
        assert len(seen) == 2
