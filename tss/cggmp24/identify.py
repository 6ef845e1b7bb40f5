"""Finding out who cheated when the presigning outputs do not fit together (protocol.md 4.2).

"Failed nonce" (delta) and "failed chi" (chi): every signer opens what it sent in round 2 and proves, to everybody, that it
and the value that it broadcast in round 3 are right. Nothing secret is published. An honest party is never blamed, and of
those who cheated at least one is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, NoReturn

from gmpy2 import mpz

from tss.effects import Compute, Echo, Progress, Protocol, Receive, Received, Send
from tss.encoding import Integer, ListOf, Schema, Tuple, Value
from tss.envelope import PartyId
from tss.errors import BadDecommit, InternalError, PeerFault, SchemaViolation, Unattributable, blaming
from tss.groups import Point
from tss.modexp import powmod
from tss.paillier import PaillierPublic
from tss.zk import aff_g_star, dec
from tss.zk.common import natural

if TYPE_CHECKING:
    from tss.cggmp24.presign import Item, Mask, Presigning

ROUND: Final = 5
"""Of its own: sigma is in round 4 of full signing."""

DELTA: Final = "delta"
CHI: Final = "chi"


@dataclass(frozen=True)
class Case:
    """What is looked at: (D, F, Gamma_i, gamma_i, delta) or (D^, F^, X_i, x_i, chi)."""

    run: Presigning
    item: Item = field(repr=False)
    k: int
    """Which item of the batch."""
    name: str
    hashes: Mapping[PartyId, Sequence[bytes]]
    """h_{j,i} of round 2 by sender i, recipients in order."""
    round3: Mapping[PartyId, Sequence[Value]]
    """[delta, Delta, S, psi'] by sender, this party's own included."""

    @property
    def check(self) -> str:
        """Where a fault of this round is found."""
        return f"presign.abort-{self.name}.item{self.k}"

    def recipients(self, sender: PartyId) -> list[PartyId]:
        """For whom `sender` drew masks, in the order of its lists."""
        return [party for party in self.run.ctx.parties if party != sender]

    def chosen(self, opened: Sequence[Value]) -> tuple[mpz, mpz]:
        """(D, F) or (D^, F^) of [D, F, D^, F^]."""
        return (opened[0], opened[1]) if self.name == DELTA else (opened[2], opened[3])

    def secret(self) -> int:
        """X of the proofs: gamma_i or x_i."""
        return self.item.gamma if self.name == DELTA else self.run.x

    def point(self, party: PartyId) -> Point:
        """X of the proofs: Gamma_i or X_i^eff."""
        return self.item.Gamma_j[party] if self.name == DELTA else self.run.X_eff[party.index]

    def K(self, party: PartyId) -> mpz:
        """K of round 1."""
        return self.item.K if party == self.run.ctx.me else self.item.round1[party].K

    def key(self, party: PartyId) -> PaillierPublic:
        """A signer's Paillier key."""
        return self.run.own.public if party == self.run.ctx.me else self.run.keys[party]

    def base_and_S(self, party: PartyId) -> tuple[Point, Point]:
        """delta: (G, delta_i*G); chi: (Gamma, S_i); with the delta_i and S_i that were sent."""
        delta, _, S, _ = self.round3[party]
        group = self.run.group
        if self.name == DELTA:
            return group.G, delta * group.G
        if self.item.Gamma is None:
            raise InternalError("identification begins before Gamma is known")
        return self.item.Gamma, S

    def affine(self, sender: PartyId, recipient: PartyId, opened: Sequence[Value]) -> aff_g_star.Statement:
        """D = K_j^x * enc_j(y), F = enc_i(y) for recipient j of sender i."""
        D, F = self.chosen(opened)
        return aff_g_star.Statement(
            self.key(recipient), self.key(sender), self.K(recipient), D, F, self.point(sender)
        )

    def decryption(
        self, party: PartyId, opened: Mapping[PartyId, Mapping[PartyId, Sequence[Value]]]
    ) -> dec.Statement:
        """DD_i = prod_{j != i} D_{i,j} * F_{j,i}^-1 mod N_i^2; `opened` by sender and recipient."""
        key = self.key(party)
        DD = mpz(1)
        for other in self.recipients(party):
            D, _ = self.chosen(opened[other][party])
            _, F = self.chosen(opened[party][other])
            DD = DD * D % key.N2 * powmod(F, -1, key.N2) % key.N2
        base, S = self.base_and_S(party)
        return dec.Statement(key, self.K(party), self.point(party), DD, S, base, len(self.run.S))


def schema(run: Presigning) -> Schema:
    """[k, [[D, F, D^, F^] for each other], [psi* for each other], psi of dec]."""
    others, number = len(run.S) - 1, natural(run.suite)
    return Tuple(
        Integer(16),
        ListOf(Tuple(number, number, number, number), others),
        ListOf(aff_g_star.schema(run.suite), others),
        dec.schema(run.suite),
    )


def identify(case: Case, received: Mapping[PartyId, Received]) -> Protocol[NoReturn]:
    """Prove, hear the others' proofs, and raise the fault that they show. `received`: round 2, with its [P] part.

    Raises PeerFault, or Unattributable when nobody can be blamed.
    """
    run, item, ctx = case.run, case.item, case.run.ctx
    yield Progress(f"presign: failed {case.name}, finding out who is at fault")
    own = {j: item.masks[j].ciphertexts() for j in ctx.others}
    # What the others sent to this party stands for their openings: it matched the hashes of round 2.
    sent_to_me = {j: {ctx.me: received[j].p2p[case.k][:4]} for j in ctx.others}
    statement = case.decryption(ctx.me, {**sent_to_me, ctx.me: own})
    *psi_star, psi_dec = yield Compute(
        [
            *(partial(_prove_mask, case, j, item.masks[j]) for j in ctx.others),
            partial(_prove_dec, case, statement),
        ]
    )
    mine = [case.k, [own[j] for j in ctx.others], psi_star, psi_dec]
    yield Send(ROUND, broadcast=mine)
    said = yield Receive(ROUND, broadcast=schema(run), echo=Echo.BLOCKING)
    values: dict[PartyId, list[Value]] = {**{j: said[j].broadcast for j in ctx.others}, ctx.me: mine}
    # 4.2, step i
    opened = {}
    for i in ctx.parties:
        with blaming(i.index, case.check):
            opened[i] = _openings(case, i, values[i])
    # 4.2, step ii
    pairs = [(i, j) for i in ctx.others for j in case.recipients(i)]
    faults = yield Compute([partial(_check_mask, case, i, j, opened[i][j], values[i]) for i, j in pairs])
    _raise_first(faults)
    # 4.2, step iii
    faults = yield Compute([partial(_check_dec, case, i, opened, values[i][3]) for i in ctx.others])
    _raise_first(faults)
    raise Unattributable(f"failed {case.name}: every opening and every proof of every signer holds")


def _prove_mask(case: Case, j: PartyId, mask: Mask) -> list[Value]:
    run, ctx = case.run, case.run.ctx
    y, rho, rho_y = (mask.y, mask.s, mask.r) if case.name == DELTA else (mask.y_hat, mask.s_hat, mask.r_hat)
    return aff_g_star.prove(
        run.suite, ctx.proof(f"abort-{case.name}", ctx.me, j, sid=case.item.isid),
        case.affine(ctx.me, j, mask.ciphertexts()),
        aff_g_star.Witness(case.secret(), y, rho, rho_y), ctx.rng,
    ).to_value()  # fmt: skip


def _prove_dec(case: Case, statement: dec.Statement) -> list[Value]:
    run, ctx, own = case.run, case.run.ctx, case.run.own
    y = case.item.delta if case.name == DELTA else case.item.chi
    combined = own.public.oplus(own.public.otimes_secret(case.secret(), case.item.K), statement.D)
    rho = own.extract_nonce(combined)
    return dec.prove(
        run.suite, ctx.proof(f"abort-{case.name}", ctx.me, sid=case.item.isid), statement,
        dec.Witness(case.secret(), y, rho), ctx.rng,
    ).to_value()  # fmt: skip


def _openings(case: Case, i: PartyId, value: Sequence[Value]) -> dict[PartyId, Sequence[Value]]:
    """(i): what sender i opens, by recipient."""
    k, listed, _, _ = value
    if k != case.k:
        raise SchemaViolation("it speaks of another item", check="item")
    opened = dict(zip(case.recipients(i), listed, strict=True))
    for place, (j, ciphertexts) in enumerate(opened.items()):
        if case.hashes[i][place] != case.run.commit_mask(case.item, i, j, list(ciphertexts)):
            raise BadDecommit("D, F, D^, F^ do not match the hash of round 2", check="open")
    return opened


def _check_mask(
    case: Case, i: PartyId, j: PartyId, opened: Sequence[Value], value: Sequence[Value]
) -> PeerFault | None:
    """(ii): the proof of i about what it made for j."""
    ctx, place = case.run.ctx, case.recipients(i).index(j)
    try:
        with blaming(i.index, case.check):
            aff_g_star.verify(
                case.run.suite, ctx.proof(f"abort-{case.name}", i, j, sid=case.item.isid),
                case.affine(i, j, opened), aff_g_star.Proof.from_value(value[2][place]),
            )  # fmt: skip
    except PeerFault as fault:
        return fault
    return None


def _check_dec(
    case: Case,
    i: PartyId,
    opened: Mapping[PartyId, Mapping[PartyId, Sequence[Value]]],
    proof: list[Value],
) -> PeerFault | None:
    """(iii): the proof of i about the delta_i or S_i that it sent."""
    ctx = case.run.ctx
    try:
        with blaming(i.index, case.check):
            statement = case.decryption(i, opened)
            dec.verify(
                case.run.suite, ctx.proof(f"abort-{case.name}", i, sid=case.item.isid), statement,
                dec.Proof.from_value(proof),
            )  # fmt: skip
    except PeerFault as fault:
        return fault
    return None


def _raise_first(faults: Sequence[PeerFault | None]) -> None:
    found = [fault for fault in faults if fault is not None]
    if found:
        raise found[0]
