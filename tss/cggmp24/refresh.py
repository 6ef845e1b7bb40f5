"""Key refresh (protocol.md 2.2): new shares of keys that stay, and new auxiliary information, in one run.

Everybody deals a sharing of zero for each account and adds what it was dealt. Ed25519 accounts have no auxiliary
information: their runs leave that part out, and rid comes of random strings alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from tss.cggmp24 import aux_info
from tss.cggmp24.aux_info import TakePrimes
from tss.cggmp24.completion import complete, new_state
from tss.cggmp24.keygen import check_usable, share_epoch, xor
from tss.cggmp24.presignature import item_sid
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
from tss.encoding import Bytes, Integer, ListOf, PointOf, Schema, Tuple, Value
from tss.envelope import PartyId
from tss.errors import (
    BadDecommit,
    BadPoint,
    CallerError,
    Degenerate,
    InternalError,
    ProofInvalid,
    WrongLength,
    blaming,
)
from tss.groups import Point
from tss.params import MAX_PARTIES, Suite
from tss.proposal import MAX_REFRESHED
from tss.records import AuxSet, KeyShare
from tss.vss import Polynomial, check_share, commitment_at
from tss.zk import mod, sch

KIND: Final = "refresh"


@dataclass(frozen=True)
class Base:
    """What is public about an account before the run: its line in the session's id."""

    key_id: bytes
    X: Point
    t: int
    public_shares: Mapping[int, Point]


@dataclass(frozen=True)
class Refreshed:
    """The new shares, in the order of the old ones, and the aux set that all these accounts move to."""

    shares: tuple[KeyShare, ...] = field(repr=False)
    aux: AuxSet | None = field(repr=False)


def tail(shares: Sequence[KeyShare], aux_ids: Sequence[bytes | None]) -> list[Value]:
    """What protocol.md 0.7 lists: [key_id, X, c-hash, t, share_epoch, aux_id, [X_j]] for each account."""
    return [
        [
            [
                *(share.key_id, share.X, share.c_hash, share.t, share.share_epoch, aux_id),
                [share.public_shares[index] for index in share.indices],
            ]
            for share, aux_id in zip(shares, aux_ids, strict=True)
        ]
    ]


def rounds(suite: Suite, accounts: int, *, aux: bool) -> tuple[Receive, Receive, Receive]:
    """What is received of so many accounts, with new auxiliary information or without.

    V; the reveal of 2.1 (without: rho, u) and [[C_1..C_t-1], A] for each account, with d for each account to each; psi^mod
    (without: none) and psi^sch for each account, with psi^fac to each.
    """
    group = suite.group
    sharing = Tuple(ListOf(PointOf(group), 0, MAX_PARTIES), PointOf(group))
    nonces: tuple[Schema, ...] = (Bytes(32), Bytes(32))
    reveal = Tuple(*(aux_info.reveal_schema(suite) if aux else nonces), ListOf(sharing, accounts))
    proofs = ListOf(sch.schema(suite), accounts)
    dealt = ListOf(Integer(group.q.bit_length()), accounts)
    last = (
        Receive(3, Tuple(mod.schema(suite), proofs), aux_info.rounds(suite)[2].p2p, Echo.BLOCKING)
        if aux
        else Receive(3, Tuple(proofs), echo=Echo.BLOCKING)
    )
    return Receive(1, Bytes(32), echo=Echo.BLOCKING), Receive(2, reveal, dealt, Echo.NEXT), last


@dataclass(frozen=True)
class _Dealing:
    """One party's sharing of zero for one account, and the nonce of its proof."""

    g: Polynomial = field(repr=False)
    a: sch.Nonce = field(repr=False)
    com: sch.Commitment

    @property
    def revealed(self) -> list[Value]:
        """[[C_1..C_t-1], A]."""
        return [self.g.commit(first_power=1), self.com.A]


def refresh(
    ctx: SessionContext, shares: Sequence[KeyShare], take_primes: TakePrimes | None
) -> Protocol[Refreshed]:
    """Make new shares of all these keys, and new auxiliary information where the suite needs it.

    `take_primes` is None where it does not. Raises CallerError unless these are shares of this party, among exactly the
    session's parties; PeerFault (with the peer), SharedPrime, Degenerate, SessionMismatch.
    """
    suite, group, i = ctx.suite, ctx.suite.group, ctx.me.index
    _check_shares(ctx, shares)
    bases = [Base(share.key_id, share.X, share.t, share.public_shares) for share in shares]
    round1, round2, round3 = rounds(suite, len(shares), aux=suite.has_aux)

    # Round 1: commit to the sharings of zero and the nonces; with them to this party's parameters.
    keys, parameters = yield from aux_info.own_parameters_if_due(ctx, take_primes, KIND)
    dealings = [
        _Dealing(Polynomial.random(group, base.t, ctx.rng, constant=0), *sch.commit(suite, ctx.rng))
        for base in bases
    ]
    revealed_i: list[Value] = [*parameters, [dealing.revealed for dealing in dealings]]
    yield Send(1, broadcast=_commitment(ctx, i, revealed_i))
    committed = yield round1

    # Round 2: reveal; each party gets its point of each polynomial.
    yield Progress("refresh: sharing")
    yield Send(
        2,
        broadcast=revealed_i,
        p2p={j: [dealing.g.evaluate(j.index) for dealing in dealings] for j in ctx.others},
    )
    revealed = yield round2
    yield Progress("refresh: checking what the others deal")
    yield Compute(
        [partial(check_round2, ctx, bases, j, committed[j].broadcast, revealed[j]) for j in ctx.others]
    )
    reveals = {ctx.me: revealed_i} | {j: revealed[j].broadcast for j in ctx.others}
    (X_new,) = yield Compute([partial(new_public_shares, ctx, bases, reveals)])
    rid = rid_of(reveals)
    d_i = [
        dealing.g.evaluate(i) + sum(revealed[j].p2p[k] for j in ctx.others)
        for k, dealing in enumerate(dealings)
    ]
    new_shares = tuple(
        _new_share(ctx, share, X_new[k], (share.x + d_i[k]) % group.q) for k, share in enumerate(shares)
    )

    # Round 3: prove knowledge of the new shares; with them that the own moduli are sound.
    psi_sch = [
        _prove_share(ctx, k, rid, dealing, new_shares[k]).to_value() for k, dealing in enumerate(dealings)
    ]
    aux: AuxSet | None = None
    if keys is None:
        yield Send(3, broadcast=[psi_sch])
    else:
        paillier, pedersen = keys
        parties = aux_info.everybody(ctx.me, revealed_i, {j: revealed[j].broadcast for j in ctx.others})
        psi_mod, psi_fac = yield from aux_info.prove_moduli(ctx, ctx.others, rid, paillier, parties)
        yield Send(3, broadcast=[psi_mod, psi_sch], p2p=psi_fac)
        aux = AuxSet(suite, aux_info.aux_id(ctx, rid, parties), i, parties, paillier, pedersen)
    proofs = yield round3
    yield Progress("refresh: checking the others' proofs")
    for j in ctx.others:
        check_round3(ctx, j, rid, reveals[j][-1], X_new, proofs[j].broadcast[-1])
    if aux is not None and aux.pedersen is not None:
        about_moduli = {j: Received(proofs[j].broadcast[0], proofs[j].p2p) for j in ctx.others}
        yield from aux_info.check_moduli(ctx, rid, aux.parties, aux.pedersen, about_moduli, KIND)

    state = new_state(ctx, KIND, shares=new_shares, aux=aux, aux_id=None if aux is None else aux.aux_id)
    yield from complete(ctx, state)
    return Refreshed(new_shares, aux)


def _check_shares(ctx: SessionContext, shares: Sequence[KeyShare]) -> None:
    points = [party.index for party in ctx.parties]
    if not 1 <= len(shares) <= MAX_REFRESHED:
        raise CallerError(f"{len(shares)} accounts in one run, where 1 to {MAX_REFRESHED} are possible")
    if len({share.key_id for share in shares}) != len(shares):
        raise CallerError("an account occurs twice")
    for share in shares:
        if (share.suite, share.me, share.indices) != (ctx.suite, ctx.me.index, points):
            raise CallerError("a share is of another suite or place, or its parties are not the session's")


def _commitment(ctx: PublicContext, i: int, reveal: Sequence[Value]) -> bytes:
    """V_i over what 2.1 commits to (without aux: rho, u) and all sharings."""
    return ctx.hc("refresh-commit", ctx.sid, i, *reveal)


def rid_of(reveals: Mapping[PartyId, Sequence[Value]]) -> bytes:
    """The exclusive or of everybody's rho, which stands before u and the sharings."""
    return xor([reveal[-3] for reveal in reveals.values()])


def check_round2(ctx: SessionContext, bases: Sequence[Base], j: PartyId, V_j: bytes, said: Received) -> None:
    """The checks of round 2, in their order: what j revealed to all, and dealt to this party."""
    check_reveal(ctx, bases, j, V_j, said.broadcast)
    check_dealt(j, ctx.me, said.broadcast, said.p2p)


def check_reveal(
    ctx: PublicContext, bases: Sequence[Base], j: PartyId, V_j: bytes, reveal: Sequence[Value]
) -> None:
    """The commitment, the sharings, then checks 2-5 of protocol.md 2.1 where there are parameters."""
    with blaming(j.index, "refresh.r2"):
        if V_j != _commitment(ctx, j.index, reveal):
            raise BadDecommit("the reveal does not match the commitment of round 1", check="decommit")
        for base, (C_j, A_j) in zip(bases, reveal[-1], strict=True):
            if len(C_j) != base.t - 1:
                raise WrongLength(
                    f"{len(C_j)} coefficients are committed where {base.t - 1} are due", check="length"
                )
            if any(point.is_identity for point in C_j):
                raise BadPoint("a committed coefficient is the identity", check="coefficient")
            if A_j.is_identity:
                raise BadPoint("the Schnorr commitment is the identity", check="A")
    if len(reveal) > _WITHOUT_AUX:
        aux_info.check_parameters(ctx, j, reveal, KIND)


_WITHOUT_AUX: Final = 3
"""Values of a reveal that has rho, u and the sharings only."""


def check_dealt(j: PartyId, i: PartyId, reveal: Sequence[Value], dealt: Sequence[int]) -> None:
    """What j dealt to i. There is no k = 0 term: it was a sharing of zero, or this fails."""
    for (C_j, _), d_ji in zip(reveal[-1], dealt, strict=True):
        with blaming(j.index, "refresh.r2.share"):
            check_share(d_ji, C_j, i.index, first_power=1)


def new_public_shares(
    ctx: PublicContext, bases: Sequence[Base], reveals: Mapping[PartyId, Sequence[Value]]
) -> list[dict[int, Point]]:
    """X'_m = X_m + sum_j sum_k I_m^k*C_{j,k} for all m, of each account. Raises Degenerate when one is O."""
    group, found = ctx.suite.group, []
    for number, base in enumerate(bases):
        C = [reveal[-1][number][0] for reveal in reveals.values()]
        total = [group.sum([C_j[k] for C_j in C]) for k in range(base.t - 1)]
        X_m = {
            index: group.sum([point, commitment_at(total, index, first_power=1)])
            for index, point in base.public_shares.items()
        }
        if any(point.is_identity for point in X_m.values()):
            raise Degenerate("a new public share is the identity")
        found.append(X_m)
    return found


def _new_share(ctx: SessionContext, old: KeyShare, X_m: dict[int, Point], x: int) -> KeyShare:
    """Raises InternalError unless x'_i*G = X'_i, Degenerate when fewer than t shares would give the key."""
    if ctx.suite.group.mul_base(x) != X_m[ctx.me.index]:
        raise InternalError("x'_i*G is not X'_i")
    epoch = share_epoch(ctx, old.X, X_m)
    share = KeyShare(
        ctx.suite, old.key_id, epoch, old.t, old.me, old.X, X_m, chain_code=old.chain_code, x=x
    )  # fmt: skip
    check_usable(share)
    return share


def _prove_share(ctx: SessionContext, k: int, rid: bytes, dealing: _Dealing, share: KeyShare) -> sch.Proof:
    place = ctx.proof("refresh-share", ctx.me, rid=rid, sid=item_sid(ctx, k))
    statement = sch.Statement(share.public_shares[share.me])
    e = sch.challenge(ctx.suite, place, statement, dealing.com)
    return sch.respond(ctx.suite, sch.Witness(share.x), dealing.a, dealing.com, e)


def check_round3(
    ctx: PublicContext,
    j: PartyId,
    rid: bytes,
    sharings: Sequence[Sequence[Value]],
    X_new: Sequence[Mapping[int, Point]],
    values: Sequence[list[Value]],
) -> None:
    """The proofs of j that it knows its new shares, with the A_j of round 2."""
    for k, ((_, A_j), value) in enumerate(zip(sharings, values, strict=True)):
        with blaming(j.index, "refresh.r3"):
            psi_j = sch.Proof.from_value(value)
            if A_j != psi_j.commitment.A:
                raise ProofInvalid(sch.NAME, "A is the one of round 2")
            place = ctx.proof("refresh-share", j, rid=rid, sid=item_sid(ctx, k))
            sch.verify(ctx.suite, place, sch.Statement(X_new[k][j.index]), psi_j)
