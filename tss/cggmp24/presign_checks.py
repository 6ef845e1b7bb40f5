"""The checks of presigning (protocol.md 3.2): what a signer verifies of a peer, and what a third party repeats.

Every value that they use is public: bound by the session's id, or in signed messages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gmpy2 import mpz

from tss.cggmp24.presignature import ENTROPY_BYTES, item_sid
from tss.effects import Echo, PublicContext, Receive
from tss.encoding import Bytes, Integer, ListOf, NoValue, PointOf, Schema, Tuple, Value
from tss.envelope import PartyId
from tss.errors import BadDecommit, BadPoint, OutOfDomain, blaming
from tss.groups import Point
from tss.paillier import PaillierPublic, PaillierSecret
from tss.params import Suite
from tss.zk import aff_g, elog, enc_elg
from tss.zk.common import PaillierKey, PedersenKey, natural
from tss.zk.equations import AT_ONCE, Equations

DELTA: Final = "delta"
CHI: Final = "chi"
"""The output conditions (a) and (b), by what they are about."""


@dataclass(frozen=True)
class Round1:
    """What a party broadcasts for one item in round 1."""

    K: mpz
    G: mpz
    Y: Point
    A1: Point
    A2: Point
    B1: Point
    B2: Point


@dataclass(frozen=True)
class Presigned:
    """What a presigning session's id binds: the key, the effective public shares and everybody's auxiliary data.

    Whoever owns a key or ring puts its secret form there and verifies the same, faster.
    """

    ctx: PublicContext
    X: Point
    X_eff: Mapping[PartyId, Point]
    keys: Mapping[PartyId, PaillierKey]
    rings: Mapping[PartyId, PedersenKey]

    def key(self, party: PartyId) -> PaillierPublic:
        """A signer's Paillier key in its public form."""
        key = self.keys[party]
        return key.public if isinstance(key, PaillierSecret) else key

    def isid(self, k: int) -> bytes:
        """See `item_sid`."""
        return item_sid(self.ctx, k)

    def recipients(self, sender: PartyId) -> list[PartyId]:
        """For whom `sender` draws masks, in the order of its lists."""
        return [party for party in self.ctx.parties if party != sender]

    def mask_hash(
        self, isid: bytes, sender: PartyId, recipient: PartyId, ciphertexts: Sequence[Value]
    ) -> bytes:
        """h_{recipient,sender} of [D, F, D^, F^]: makes their later opening binding."""
        return self.ctx.hc("mta-commit", isid, sender.index, recipient.index, *ciphertexts)


def rounds(suite: Suite, signers: int, batch: int, *, entropy: bool) -> tuple[Receive, Receive, Receive]:
    """What is received; everything but e once an item.

    [K, G, Y, A1, A2, B1, B2] with [psi0, psi1] to each; [Gamma, psi, [h]] with [D, F, D^, F^, psi, psi^] to each;
    [delta, Delta, S, psi'] and, in full signing, e.
    """
    number, point, proof = natural(suite), PointOf(suite.group), elog.schema(suite)
    said1 = Tuple(number, number, point, point, point, point, point)
    told1 = Tuple(enc_elg.schema(suite), enc_elg.schema(suite))
    said2 = Tuple(point, proof, ListOf(Bytes(32), signers - 1))
    told2 = Tuple(number, number, number, number, aff_g.schema(suite), aff_g.schema(suite))
    said3 = Tuple(Integer(suite.group.q.bit_length()), point, point, proof)
    e: Schema = Bytes(ENTROPY_BYTES) if entropy else NoValue()
    return (
        Receive(1, broadcast=ListOf(said1, batch), p2p=ListOf(told1, batch), echo=Echo.NEXT),
        Receive(2, broadcast=ListOf(said2, batch), p2p=ListOf(told2, batch), echo=Echo.NEXT),
        Receive(3, broadcast=Tuple(ListOf(said3, batch), e), echo=Echo.BLOCKING),
    )


# -- round 1 -----------------------------------------------------------------------------------------------------


def check_said1(case: Presigned, k: int, j: PartyId, value: Sequence[Value]) -> Round1:
    """Check 1: what j said to all about item k."""
    said, key, place = Round1(*value), case.key(j), f"presign.r1.item{k}"
    with blaming(j.index, place):
        for name, C in (("K", said.K), ("G", said.G)):
            with blaming(j.index, f"{place}.{name}"):
                key.check_ciphertext(C, name)
        for name, point in (("Y", said.Y), ("A1", said.A1), ("B1", said.B1)):
            if point.is_identity:
                raise BadPoint(f"{name} is the identity", check=name)
    return said


def check_told1(
    case: Presigned,
    k: int,
    j: PartyId,
    i: PartyId,
    said: Round1,
    proofs: Sequence[list[Value]],
    equations: Equations = AT_ONCE,
) -> None:
    """Checks 2 and 3: the proofs of j to i that K and G are well made; they hold when `equations` do."""
    ctx, suite, key, ring, place = case.ctx, case.ctx.suite, case.key(j), case.rings[i], f"presign.r1.item{k}"
    # 2
    with blaming(j.index, f"{place}.k"):
        enc_elg.verify(
            suite, ctx.proof("k", j, i, sid=case.isid(k)),
            enc_elg.Statement(key, said.K, said.Y, said.A1, said.A2, ring),
            enc_elg.Proof.from_value(proofs[0]), equations,
        )  # fmt: skip
    # 3
    with blaming(j.index, f"{place}.gamma"):
        enc_elg.verify(
            suite, ctx.proof("gamma", j, i, sid=case.isid(k)),
            enc_elg.Statement(key, said.G, said.Y, said.B1, said.B2, ring),
            enc_elg.Proof.from_value(proofs[1]), equations,
        )  # fmt: skip


# -- round 2 -----------------------------------------------------------------------------------------------------


def check_said2(case: Presigned, k: int, j: PartyId, said: Round1, value: Sequence[Value]) -> Point:
    """Checks 1 and 2: Gamma_j, proven to hold the gamma_j of round 1."""
    ctx, (Gamma_j, psi, _) = case.ctx, value
    with blaming(j.index, f"presign.r2.item{k}"):
        # 1
        if Gamma_j.is_identity:
            raise BadPoint("Gamma_j is the identity", check="Gamma")
        # 2
        elog.verify(
            ctx.suite, ctx.proof("gamma", j, sid=case.isid(k)),
            elog.Statement(L=said.B1, M=said.B2, X=said.Y, Y=Gamma_j, h=ctx.suite.group.G),
            elog.Proof.from_value(psi),
        )  # fmt: skip
    return Gamma_j  # type: ignore[no-any-return]


def check_told2(
    case: Presigned,
    k: int,
    j: PartyId,
    i: PartyId,
    K_i: mpz,
    said: Sequence[Value],
    told: Sequence[Value],
    equations: Equations = AT_ONCE,
) -> None:
    """Checks 3 to 6: the masks of j for i, against h and Gamma_j, which j said to all; they hold when `equations` do."""
    ctx, suite, place = case.ctx, case.ctx.suite, f"presign.r2.item{k}"
    Gamma_j, _, hashes = said
    D, F, D_hat, F_hat, psi, psi_hat = told
    N_i, N_j, ring = case.keys[i], case.key(j), case.rings[i]
    # 3
    with blaming(j.index, place):
        if hashes[case.recipients(j).index(i)] != case.mask_hash(case.isid(k), j, i, [D, F, D_hat, F_hat]):
            raise BadDecommit("D, F, D^, F^ do not match the hash that was broadcast", check="h")
    # 4
    own = case.key(i)
    for name, whose, C in (("D", own, D), ("F", N_j, F), ("D^", own, D_hat), ("F^", N_j, F_hat)):
        with blaming(j.index, f"{place}.{name}"):
            whose.check_ciphertext(C, name)
    # 5
    with blaming(j.index, f"{place}.gamma"):
        aff_g.verify(
            suite, ctx.proof("gamma", j, i, sid=case.isid(k)),
            aff_g.Statement(N_i, N_j, K_i, D, F, Gamma_j, ring), aff_g.Proof.from_value(psi), equations,
        )  # fmt: skip
    # 6
    with blaming(j.index, f"{place}.x"):
        aff_g.verify(
            suite, ctx.proof("x", j, i, sid=case.isid(k)),
            aff_g.Statement(N_i, N_j, K_i, D_hat, F_hat, case.X_eff[j], ring),
            aff_g.Proof.from_value(psi_hat), equations,
        )  # fmt: skip


# -- round 3 and the output --------------------------------------------------------------------------------------


def check_said3(
    case: Presigned, k: int, j: PartyId, said: Round1, Gamma: Point, value: Sequence[Value]
) -> None:
    """Checks 1 and 2 of round 3."""
    ctx, (delta_j, Delta_j, _, psi) = case.ctx, value
    with blaming(j.index, f"presign.r3.item{k}"):
        # 1
        if not delta_j < ctx.suite.group.q:
            raise OutOfDomain("delta_j is not reduced", check="delta")
        if Delta_j.is_identity:
            raise BadPoint("Delta_j is the identity", check="Delta")
        # 2
        elog.verify(
            ctx.suite, ctx.proof("delta", j, sid=case.isid(k)),
            elog.Statement(L=said.A1, M=said.A2, X=said.Y, Y=Delta_j, h=Gamma),
            elog.Proof.from_value(psi),
        )  # fmt: skip


def failed(case: Presigned, values: Sequence[Sequence[Value]]) -> str | None:
    """Which of the output conditions (a) and (b) of one item does not hold; (b) is looked at only if (a) holds.

    `values`: [delta, Delta, S, psi'] of all.
    """
    group = case.ctx.suite.group
    delta = sum(value[0] for value in values) % group.q
    if delta * group.G != group.sum([value[1] for value in values]):
        return DELTA
    if delta * case.X != group.sum([value[2] for value in values]):
        return CHI
    return None
