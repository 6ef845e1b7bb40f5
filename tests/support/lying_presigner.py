"""Malicious signers whose lies need more than another message: they go through the protocol with them, at any level."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from zk_cases import Case, forge

from tss.cggmp24.presign import Presigning
from tss.cggmp24.presign_prove import Item, Mask
from tss.envelope import PartyId
from tss.zk import aff_g, enc_elg


class LargeK(Presigning):
    """k = 2^(l+eps+2): every equation holds, mod q and in the ring-Pedersen commitment; only the range does not."""

    def draw(self, k_: int) -> Item:
        item = super().draw(k_)
        value = 1 << self.suite.level.l + self.suite.level.eps + 2
        K, A2 = self.own.enc(value, item.rho), value % self.group.q * self.group.G + item.a * item.Y
        return replace(item, K=K, A2=A2)

    def prove_round1(self, item: Item, j: PartyId, label: str) -> list[Any]:
        value = 1 << self.suite.level.l + self.suite.level.eps + 2
        if label == "gamma":
            return super().prove_round1(item, j, label)
        statement = enc_elg.Statement(self.own.public, item.K, item.Y, item.A1, item.A2, self.rings[j])
        place = self.ctx.proof("k", self.ctx.me, j, sid=item.isid)
        wit = {"x": value, "rho": int(item.rho), "b": item.a}
        return forge(Case("enc-elg", self.suite, statement, wit, ctx=place))


class AnotherGammaInD(Presigning):
    """D holds gamma + 1, with a proof that tries to say that it holds the gamma of Gamma_i."""

    def mask(self, item: Item, j: PartyId) -> Mask:
        mask, key, K_j = super().mask(item, j), self.keys[j], item.round1[j].K
        D = key.oplus(key.otimes(item.gamma + 1, K_j), key.enc(mask.y, mask.s))
        statement = aff_g.Statement(key, self.own, K_j, D, mask.F, item.Gamma_j[self.ctx.me], self.rings[j])
        place = self.ctx.proof("gamma", self.ctx.me, j, sid=item.isid)
        witness = aff_g.Witness(item.gamma + 1, mask.y, mask.s, mask.r)
        psi = aff_g.prove(self.suite, place, statement, witness, self.ctx.rng)
        return replace(mask, D=D, psi=psi.to_value())


class AnotherDelta(Presigning):
    """Sends delta_i + 1."""

    def open_masks(self, item: Item, received: Any) -> list[Any]:
        delta, *rest = super().open_masks(item, received)
        return [(delta + 1) % self.group.q, *rest]


class AnotherChi(Presigning):
    """Sends S_i + G."""

    def open_masks(self, item: Item, received: Any) -> list[Any]:
        delta, Delta, S, psi = super().open_masks(item, received)
        item.S_j[self.ctx.me] = S + self.group.G
        return [delta, Delta, S + self.group.G, psi]
