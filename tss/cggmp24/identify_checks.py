"""The checks that find out who cheated (protocol.md 4.2): what every signer makes of the others, and a third party of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gmpy2 import mpz

from tss.cggmp24.presign_checks import DELTA, Presigned
from tss.effects import Echo, Receive
from tss.encoding import Integer, ListOf, Tuple, Value
from tss.envelope import PartyId
from tss.errors import BadDecommit, SchemaViolation, blaming
from tss.groups import Point
from tss.modexp import powmod
from tss.params import Suite
from tss.zk import aff_g_star, dec
from tss.zk.common import natural

ROUND: Final = 5
"""Of its own: sigma is in round 4 of full signing."""

Opened = Mapping[PartyId, Sequence[Value]]
"""[D, F, D^, F^] of one sender, by recipient."""


def receive(suite: Suite, signers: int) -> Receive:
    """[k, [[D, F, D^, F^] for each other], [psi* for each other], psi of dec]."""
    others, number = signers - 1, natural(suite)
    said = Tuple(
        Integer(16),
        ListOf(Tuple(number, number, number, number), others),
        ListOf(aff_g_star.schema(suite), others),
        dec.schema(suite),
    )
    return Receive(ROUND, broadcast=said, echo=Echo.BLOCKING)


@dataclass(frozen=True)
class Case:
    """What is looked at: (D, F, Gamma_i, gamma_i, delta) or (D^, F^, X_i, x_i, chi)."""

    signing: Presigned
    k: int
    """Which item of the batch."""
    name: str
    K: Mapping[PartyId, mpz]
    """K of round 1."""
    Gamma_j: Mapping[PartyId, Point]
    """Gamma_j of round 2."""
    Gamma: Point
    hashes: Mapping[PartyId, Sequence[bytes]]
    """h_{j,i} of round 2 by sender i, recipients in order."""
    round3: Mapping[PartyId, Sequence[Value]]
    """[delta, Delta, S, psi'] by sender."""

    @property
    def check(self) -> str:
        """Where a fault of this round is found."""
        return f"presign.abort-{self.name}.item{self.k}"

    def point(self, party: PartyId) -> Point:
        """X of the proofs: Gamma_i or X_i^eff."""
        return self.Gamma_j[party] if self.name == DELTA else self.signing.X_eff[party]

    def chosen(self, opened: Sequence[Value]) -> tuple[mpz, mpz]:
        """(D, F) or (D^, F^) of [D, F, D^, F^]."""
        return (opened[0], opened[1]) if self.name == DELTA else (opened[2], opened[3])

    def base_and_S(self, party: PartyId) -> tuple[Point, Point]:
        """delta: (G, delta_i*G); chi: (Gamma, S_i); with the delta_i and S_i that were sent."""
        delta, _, S, _ = self.round3[party]
        G = self.signing.ctx.suite.group.G
        return (G, delta * G) if self.name == DELTA else (self.Gamma, S)

    def affine(self, sender: PartyId, recipient: PartyId, opened: Sequence[Value]) -> aff_g_star.Statement:
        """D = K_j^x * enc_j(y), F = enc_i(y) for recipient j of sender i."""
        D, F = self.chosen(opened)
        keys = self.signing.key(recipient), self.signing.key(sender)
        return aff_g_star.Statement(*keys, self.K[recipient], D, F, self.point(sender))

    def decryption(self, party: PartyId, opened: Mapping[PartyId, Opened]) -> dec.Statement:
        """DD_i = prod_{j != i} D_{i,j} * F_{j,i}^-1 mod N_i^2; `opened` by sender and recipient."""
        key = self.signing.key(party)
        DD = mpz(1)
        for other in self.signing.recipients(party):
            D, _ = self.chosen(opened[other][party])
            _, F = self.chosen(opened[party][other])
            DD = DD * D % key.N2 * powmod(F, -1, key.N2) % key.N2
        base, S = self.base_and_S(party)
        signers = len(self.signing.ctx.parties)
        return dec.Statement(key, self.K[party], self.point(party), DD, S, base, signers)


def check_opening(
    signing: Presigned, at: str, i: PartyId, hashes: Sequence[bytes], value: Sequence[Value]
) -> Opened:
    """(i), of the item that i names: what it opens, by recipient, against the hashes of its round 2."""
    k, listed, _, _ = value
    opened = dict(zip(signing.recipients(i), listed, strict=True))
    with blaming(i.index, at):
        for h, (j, ciphertexts) in zip(hashes, opened.items(), strict=True):
            if h != signing.mask_hash(signing.isid(k), i, j, ciphertexts):
                raise BadDecommit("D, F, D^, F^ do not match the hash of round 2", check="open")
    return opened


def check_openings(case: Case, i: PartyId, value: Sequence[Value]) -> Opened:
    """(i): what sender i opens, by recipient, for the item that is looked at."""
    if value[0] != case.k:
        raise SchemaViolation("it speaks of another item", check="item").blame(i.index, case.check)
    return check_opening(case.signing, case.check, i, case.hashes[i], value)


def check_mask(case: Case, i: PartyId, j: PartyId, opened: Sequence[Value], value: Sequence[Value]) -> None:
    """(ii): the proof of i about what it made for j."""
    ctx, place = case.signing.ctx, case.signing.recipients(i).index(j)
    with blaming(i.index, case.check):
        aff_g_star.verify(
            ctx.suite, ctx.proof(f"abort-{case.name}", i, j, sid=case.signing.isid(case.k)),
            case.affine(i, j, opened), aff_g_star.Proof.from_value(value[2][place]),
        )  # fmt: skip


def check_dec(case: Case, i: PartyId, opened: Mapping[PartyId, Opened], value: Sequence[Value]) -> None:
    """(iii): the proof of i about the delta_i or S_i that it sent."""
    ctx = case.signing.ctx
    with blaming(i.index, case.check):
        dec.verify(
            ctx.suite, ctx.proof(f"abort-{case.name}", i, sid=case.signing.isid(case.k)),
            case.decryption(i, opened), dec.Proof.from_value(value[3]),
        )  # fmt: skip
