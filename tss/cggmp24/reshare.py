"""Resharing to another committee and threshold, public key kept (protocol.md 2.3).

Dealers, an agreed subset of the old holders, share their shares out again; new holders add what they get, and make their
auxiliary information in the same rounds. Both take part in all echoes. A party that is in both committees runs both
sides, each under its own role and evaluation point.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Self

from tss.cggmp24 import aux_info
from tss.cggmp24.aux_info import TakePrimes
from tss.cggmp24.completion import Certificate, complete, done_from, new_state
from tss.cggmp24.keygen import check_usable, key_id, share_epoch, xor
from tss.effects import (
    Compute,
    Echo,
    Progress,
    Protocol,
    PublicContext,
    Receive,
    Received,
    Send,
    SessionContext,
)
from tss.encoding import Bytes, Integer, ListOf, Optional, PointOf, Schema, Tuple, Value
from tss.envelope import PartyId, pack
from tss.errors import (
    BadDecommit,
    BadPoint,
    CallerError,
    Degenerate,
    InternalError,
    ProofInvalid,
    SchemaViolation,
    SessionMismatch,
    WrongChainCode,
    WrongDealer,
    WrongLength,
    blaming,
)
from tss.groups import Point
from tss.params import MAX_PARTIES, Suite
from tss.records import AuxSet, KeyShare, chain_code_hash
from tss.vss import Polynomial, check_share, commitment_at, lagrange
from tss.zk import fac, mod, sch

KIND: Final = "reshare"
DEALER: Final = "dealer"
NEW: Final = "new"


@dataclass(frozen=True)
class Terms:
    """What a resharing is about, as the session's id has it; a new holder knows it from its operator."""

    key_id: bytes
    X: Point
    c_hash: bytes | None
    t: int
    share_epoch: bytes
    dealers: Mapping[int, Point]
    """D: X_i by old evaluation point."""
    new_t: int
    committee_id: bytes
    """Of the new committee."""

    @classmethod
    def of(cls, share: KeyShare, dealers: Sequence[int], new_t: int, committee_id: bytes) -> Self:
        """As a dealer knows it. Raises CallerError for dealers that hold no share."""
        if not set(dealers) <= set(share.public_shares):
            raise CallerError("a dealer is no holder of the account")
        points = {i: share.public_shares[i] for i in sorted(dealers)}
        return cls(
            *(share.key_id, share.X, share.c_hash, share.t, share.share_epoch, points, new_t, committee_id)
        )

    @classmethod
    def from_tail(cls, tail: Sequence[Any]) -> Self:
        """The inverse of `tail`. Raises SchemaViolation for dealers without their public shares."""
        key_id, X, c_hash, t, epoch, D, X_i, new_t, committee_id = tail
        if len(D) != len(X_i) or sorted(set(D)) != list(D):
            raise SchemaViolation("the dealers are not listed once each, in order, with a public share each")
        return cls(
            key_id,
            X,
            c_hash,
            int(t),
            epoch,
            dict(zip(map(int, D), X_i, strict=True)),
            int(new_t),
            committee_id,
        )

    def tail(self) -> list[Value]:
        """What protocol.md 0.7 lists: key_id, X, c-hash, t, share_epoch, dealers, [X_i] of them, t', new committee id."""
        return [
            *(self.key_id, self.X, self.c_hash, self.t, self.share_epoch),
            *(list(self.dealers), list(self.dealers.values()), self.new_t, self.committee_id),
        ]

    def C_0(self, i: int) -> Point:
        """lam_i(D)*X_i: what a dealer's polynomial has to begin with."""
        return lagrange(self.dealers.keys(), i, 0, self.X.group.q) * self.dealers[i]

    def check(self, parties: Sequence[PartyId]) -> None:
        """Raise CallerError unless these are at least t dealers of X, and 2 <= t' <= n' new holders."""
        group = self.X.group
        dealers = [party.index for party in parties if party.role == DEALER]
        new = [party.index for party in parties if party.role == NEW]
        if len(dealers) + len(new) != len(parties) or dealers != list(self.dealers):
            raise CallerError("the session's parties are not its dealers and new holders")
        if not 2 <= self.t <= len(dealers):
            raise CallerError(f"{len(dealers)} dealers, where {self.t} hold enough")
        if not 2 <= self.new_t <= len(new) <= MAX_PARTIES or new != list(range(1, len(new) + 1)):
            raise CallerError(f"{self.new_t} of {len(new)} new holders is no threshold")
        if group.sum([self.C_0(i) for i in dealers]) != self.X:
            raise CallerError("the dealers' public shares do not give the public key")


def rounds(suite: Suite, parties: Sequence[PartyId], me: PartyId | None) -> tuple[Receive, Receive, Receive]:
    """What is received: by `me`, or by a new holder when it is None.

    V; [C, u] of a dealer or [A, what 2.1 reveals (without aux: rid, u)] of a new holder, with s to new holders; nothing
    of a dealer or [psi^mod (without aux: none), psi^sch] of a new holder, with c of a dealer and psi^fac to new holders.
    """
    group = suite.group
    point, points = PointOf(group), ListOf(PointOf(group), 0, MAX_PARTIES)
    nonces: tuple[Schema, ...] = (Bytes(32), Bytes(32))
    dealt, opened = (
        Tuple(points, Bytes(32)),
        Tuple(point, *(aux_info.reveal_schema(suite) if suite.has_aux else nonces)),
    )
    proofs = Tuple(mod.schema(suite), sch.schema(suite)) if suite.has_aux else Tuple(sch.schema(suite))
    told = Tuple(Optional(Bytes(32)), Optional(fac.schema(suite))) if suite.has_aux else Optional(Bytes(32))
    dealers = [party for party in parties if party.role == DEALER]
    new = [party for party in parties if party.role == NEW and party != me]
    private = me is None or me.role == NEW
    return (
        Receive(1, Bytes(32), echo=Echo.BLOCKING),
        Receive(
            2,
            Tuple(Optional(dealt), Optional(opened)),
            Integer(group.q.bit_length()) if private else None,
            Echo.NEXT,
            p2p_from=dealers,
        ),
        Receive(
            3,
            Tuple(Optional(proofs)),
            told if private else None,
            Echo.BLOCKING,
            p2p_from=[*(dealers if suite.chain_code_bytes else []), *(new if suite.has_aux else [])],
        ),
    )


# -- dealers -----------------------------------------------------------------------------------------------------


def deal(ctx: SessionContext, terms: Terms, share: KeyShare) -> Protocol[Certificate]:
    """A dealer's side. Returns the new holders' certificate: the key is theirs.

    Raises CallerError unless this share is one of `terms`; PeerFault (with the peer), Degenerate, SessionMismatch.
    """
    suite, group, i = ctx.suite, ctx.suite.group, ctx.me.index
    terms.check(ctx.parties)
    own = (share.suite, share.me, share.key_id, share.X, share.c_hash, share.share_epoch)
    if own != (suite, i, terms.key_id, terms.X, terms.c_hash, terms.share_epoch):
        raise CallerError("the share is not one of the account that is reshared")
    new = [party for party in ctx.parties if party.role == NEW]
    round1, round2, round3 = rounds(suite, ctx.parties, ctx.me)

    # Round 1
    w_i = lagrange(terms.dealers.keys(), i, 0, group.q) * share.x % group.q
    f_i = Polynomial.random(group, terms.new_t, ctx.rng, constant=w_i)
    dealt_i: list[Value] = [f_i.commit(), ctx.rng(32)]
    yield Send(1, broadcast=_commitment(ctx, ctx.me, dealt_i))
    committed = yield round1

    # Round 2
    yield Progress("reshare: sharing")
    yield Send(2, broadcast=[dealt_i, None], p2p={j: f_i.evaluate(j.index) for j in new})
    opened = yield round2
    yield Compute(
        [
            partial(check_opened, ctx, terms, j, committed[j].broadcast, opened[j].broadcast)
            for j in ctx.others
        ]
    )

    # Round 3: the chain code is for the new holders alone.
    told = [share.chain_code or None, None] if suite.has_aux else share.chain_code or None
    yield Send(3, broadcast=[None], p2p=dict.fromkeys(new, told) if share.chain_code else {})
    proofs = yield round3
    said = {ctx.me: [dealt_i, None]} | {j: opened[j].broadcast for j in ctx.others}
    X_new = new_public_shares(ctx, terms, said)
    rid = rid_of(said)
    for j in ctx.others:
        check_round3(ctx, j, rid, said[j], X_new, proofs[j].broadcast[0])
    done = yield done_from(new)
    if len({done[j].broadcast for j in new}) != 1:
        raise SessionMismatch("the new holders ended with different results")
    return Certificate(ctx.sid, tuple(pack(done[j].signed_broadcast) for j in new))


# -- new holders -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reshared:
    """A new holder's share, and the new committee's aux set."""

    share: KeyShare = field(repr=False)
    aux: AuxSet | None = field(repr=False)


def hold(ctx: SessionContext, terms: Terms, take_primes: TakePrimes | None) -> Protocol[Reshared]:
    """A new holder's side.

    `take_primes` is None where the suite needs no auxiliary information. Raises CallerError for terms that cannot be;
    PeerFault (with the peer), SharedPrime, Degenerate, SessionMismatch.
    """
    suite, group, me = ctx.suite, ctx.suite.group, ctx.me
    terms.check(ctx.parties)
    dealers = [party for party in ctx.parties if party.role == DEALER]
    others = [party for party in ctx.others if party.role == NEW]
    round1, round2, round3 = rounds(suite, ctx.parties, me)

    # Round 1
    keys, parameters = yield from aux_info.own_parameters_if_due(ctx, take_primes, KIND)
    a_j, com_j = sch.commit(suite, ctx.rng)
    opened_j: list[Value] = [com_j.A, *parameters]
    yield Send(1, broadcast=_commitment(ctx, me, opened_j))
    committed = yield round1

    # Round 2
    yield Send(2, broadcast=[None, opened_j])
    opened = yield round2
    yield Progress("reshare: checking what is dealt")
    yield Compute(
        [partial(check_round2, ctx, terms, j, me, committed[j].broadcast, opened[j]) for j in ctx.others]
    )

    # Round 3
    said = {me: [None, opened_j]} | {j: opened[j].broadcast for j in ctx.others}
    X_new = new_public_shares(ctx, terms, said)
    rid = rid_of(said)
    x_j = sum(opened[i].p2p for i in dealers) % group.q
    if group.mul_base(x_j) != X_new[me.index]:
        raise InternalError("x'_j*G is not X'_j")
    place, statement = ctx.proof("reshare-share", me, rid=rid), sch.Statement(X_new[me.index])
    e = sch.challenge(suite, place, statement, com_j)
    psi_j = sch.respond(suite, sch.Witness(x_j), a_j, com_j, e).to_value()
    aux: AuxSet | None = None
    if keys is None:
        yield Send(3, broadcast=[[psi_j]])
    else:
        paillier, pedersen = keys
        reveals = {j: opened[j].broadcast[1][1:] for j in others}
        parties = aux_info.everybody(me, parameters, reveals)
        psi_mod, psi_fac = yield from aux_info.prove_moduli(ctx, others, rid, paillier, parties)
        yield Send(3, broadcast=[[psi_mod, psi_j]], p2p={j: [None, psi] for j, psi in psi_fac.items()})
        aux = AuxSet(suite, aux_info.aux_id(ctx, rid, parties), me.index, parties, paillier, pedersen)
    proofs = yield round3
    yield Progress("reshare: checking the others' proofs")
    for j in ctx.others:
        check_round3(ctx, j, rid, said[j], X_new, proofs[j].broadcast[0])
    for i in dealers:
        check_chain_code(ctx, terms, i, _told(suite, proofs[i])[0])
    if aux is not None and aux.pedersen is not None:
        about = {
            j: Received(proofs[j].broadcast[0][0], checked_fac(j, _told(suite, proofs[j]))) for j in others
        }
        yield from aux_info.check_moduli(ctx, rid, aux.parties, aux.pedersen, about, KIND)

    share = KeyShare(
        suite,
        key_id=key_id(ctx, terms.X),
        share_epoch=share_epoch(ctx, terms.X, X_new),
        t=terms.new_t, me=me.index, X=terms.X, public_shares=X_new,
        chain_code=_told(suite, proofs[dealers[0]])[0] or b"", x=x_j,
    )  # fmt: skip
    check_usable(share)
    state = new_state(ctx, KIND, shares=[share], aux=aux, aux_id=None if aux is None else aux.aux_id)
    yield from complete(ctx, state, others)
    return Reshared(share, aux)


def _told(suite: Suite, received: Received) -> Sequence[Any]:
    """[c or none, psi^fac or none] that somebody told in round 3."""
    if suite.has_aux:
        return received.p2p or (None, None)
    return received.p2p, None


# -- checks ------------------------------------------------------------------------------------------------------


def _commitment(ctx: PublicContext, j: PartyId, opened: Sequence[Value]) -> bytes:
    """V of a dealer over C, u; of a new holder over A and what 2.1 commits to (without aux: rid, u)."""
    tag = "reshare-commit" if j.role == DEALER else "reshare-nonce"
    return ctx.hc(tag, ctx.sid, j.index, *opened)


def check_round2(
    ctx: SessionContext, terms: Terms, j: PartyId, me: PartyId, V_j: bytes, said: Received
) -> None:
    """The checks of round 2, in their order: what j opened to all, and dealt to this party."""
    check_opened(ctx, terms, j, V_j, said.broadcast)
    if j.role == DEALER:
        check_dealt(j, me, said.broadcast, said.p2p)


def check_opened(
    ctx: PublicContext, terms: Terms, j: PartyId, V_j: bytes, broadcast: Sequence[Value]
) -> None:
    """What j opened to all."""
    dealt, opened = broadcast
    with blaming(j, "reshare.r2"):
        if (dealt is None) == (j.role == DEALER) or (opened is None) == (j.role == NEW):
            raise SchemaViolation("a dealer opens its polynomial, a new holder its nonce", check="role")
        if j.role == DEALER:
            _check_dealing(ctx, terms, j, V_j, dealt)
            return
        if V_j != _commitment(ctx, j, opened):
            raise BadDecommit("what is opened does not match the commitment of round 1", check="decommit")
        if opened[0].is_identity:
            raise BadPoint("the Schnorr commitment is the identity", check="A")
    if ctx.suite.has_aux:
        aux_info.check_parameters(ctx, j, opened[1:], KIND)


def _check_dealing(ctx: PublicContext, terms: Terms, i: PartyId, V_i: bytes, dealt: Sequence[Value]) -> None:
    C_i, _ = dealt
    if len(C_i) != terms.new_t:
        raise WrongLength(
            f"{len(C_i)} coefficients are committed where {terms.new_t} are due", check="length"
        )
    if any(point.is_identity for point in C_i):
        raise BadPoint("a committed coefficient is the identity", check="coefficient")
    if V_i != _commitment(ctx, i, dealt):
        raise BadDecommit("what is opened does not match the commitment of round 1", check="decommit")
    if C_i[0] != terms.C_0(i.index):
        raise WrongDealer("the polynomial does not begin with the dealer's share", check="constant")


def check_dealt(i: PartyId, j: PartyId, broadcast: Sequence[Value], s_ij: int) -> None:
    """What dealer i told new holder j."""
    with blaming(i, "reshare.r2.share"):
        check_share(s_ij, broadcast[0][0], j.index)


def new_public_shares(
    ctx: PublicContext, terms: Terms, said: Mapping[PartyId, Sequence[Value]]
) -> dict[int, Point]:
    """X'_m = sum_i sum_k I'_m^k*C_{i,k} for all new holders m. Raises Degenerate when one is O."""
    group = ctx.suite.group
    C = [broadcast[0][0] for party, broadcast in said.items() if party.role == DEALER]
    total = [group.sum([C_i[k] for C_i in C]) for k in range(terms.new_t)]
    X_new = {party.index: commitment_at(total, party.index) for party in ctx.parties if party.role == NEW}
    if any(point.is_identity for point in X_new.values()):
        raise Degenerate("a new public share is the identity")
    return X_new


def rid_of(said: Mapping[PartyId, Sequence[Value]]) -> bytes:
    """The exclusive or of the new holders' rid_j (rho_j), which stands before the last u."""
    return xor([broadcast[1][-2] for party, broadcast in said.items() if party.role == NEW])


def check_round3(
    ctx: PublicContext,
    j: PartyId,
    rid: bytes,
    opened: Sequence[Value],
    X_new: Mapping[int, Point],
    value: Sequence[Any] | None,
) -> None:
    """The proof of new holder j that it knows its share, with the A_j of round 2; a dealer has nothing to prove."""
    with blaming(j, "reshare.r3"):
        if (value is None) != (j.role == DEALER):
            raise SchemaViolation("new holders prove their shares, dealers nothing", check="role")
        if value is None:
            return
        psi_j = sch.Proof.from_value(value[-1])
        if opened[1][0] != psi_j.commitment.A:
            raise ProofInvalid(sch.NAME, "A is the one of round 2")
        place = ctx.proof("reshare-share", j, rid=rid)
        sch.verify(ctx.suite, place, sch.Statement(X_new[j.index]), psi_j)


def check_chain_code(ctx: PublicContext, terms: Terms, i: PartyId, c: bytes | None) -> None:
    """What dealer i told as the chain code, against the c-hash that everybody agreed to."""
    with blaming(i, "reshare.r3"):
        told = None if c is None else chain_code_hash(ctx.suite, terms.X, c)
        if told != terms.c_hash:
            raise WrongChainCode("the chain code is not the account's", check="chain code")


def checked_fac(j: PartyId, told: Sequence[Any]) -> Any:
    """Psi^fac of new holder j."""
    if told[1] is None or told[0] is not None:
        with blaming(j, "reshare.r3"):
            raise SchemaViolation(
                "a new holder tells its proof about its modulus, and no chain code", check="role"
            )
    return told[1]
