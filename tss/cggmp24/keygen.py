"""Distributed key generation, t-of-n (protocol.md 1): Feldman sharing behind commit and reveal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from tss.cggmp24.completion import complete, new_state
from tss.effects import Compute, Echo, Progress, Protocol, PublicContext, Receive, Send, SessionContext
from tss.encoding import Bytes, Integer, ListOf, PointOf, Tuple, Value
from tss.envelope import PartyId
from tss.errors import (
    BadDecommit,
    BadPoint,
    CallerError,
    Degenerate,
    InternalError,
    ProofInvalid,
    ShareCorrupt,
    WrongLength,
    blaming,
)
from tss.groups import Point
from tss.params import MAX_PARTIES, Suite
from tss.records import KeyShare
from tss.vss import Polynomial, check_share, commitment_at
from tss.zk import sch

KIND: Final = "keygen"


def tail(n: int, t: int) -> list[Value]:
    """What protocol.md 0.7 lists for key generation."""
    return [n, t]


def rounds(suite: Suite) -> tuple[Receive, Receive, Receive]:
    """What is received: V; (rid, S, A, cc, u) with (sigma, c, w) to each; psi."""
    group = suite.group
    points = ListOf(PointOf(group), 0, MAX_PARTIES)
    reveal = Tuple(Bytes(32), points, PointOf(group), Bytes(32), Bytes(32))
    private = Tuple(Integer(group.q.bit_length()), Bytes(32), Bytes(32))
    return (
        Receive(1, broadcast=Bytes(32), echo=Echo.BLOCKING),
        Receive(2, broadcast=reveal, p2p=private, echo=Echo.NEXT),
        Receive(3, broadcast=sch.schema(suite), echo=Echo.BLOCKING),
    )


def xor(values: Sequence[bytes]) -> bytes:
    """The exclusive or of 32-byte strings."""
    total = 0
    for value in values:
        total ^= int.from_bytes(value, "big")
    return total.to_bytes(32, "big")


def keygen(ctx: SessionContext, t: int, aux_id: bytes | None = None) -> Protocol[KeyShare]:
    """Make a key that any `t` of the session's parties can use; the result is this party's share.

    `aux_id` names the aux set that the new account will point to; parties that name different ones do not complete.
    Raises CallerError unless 2 <= t <= n, PeerFault (with the peer), Degenerate, SessionMismatch.
    """
    suite, group, i = ctx.suite, ctx.suite.group, ctx.me.index
    n = len(ctx.parties)
    round1, round2, round3 = rounds(suite)
    if not 2 <= t <= n <= MAX_PARTIES:
        raise CallerError(f"threshold {t} of {n} parties is not 2 <= t <= n <= {MAX_PARTIES}")

    # Round 1: commit to everything that is revealed in round 2.
    f = Polynomial.random(group, t, ctx.rng)
    S_i = f.commit()
    rid_i, c_i, u_i, w_i = (ctx.rng(32) for _ in range(4))
    cc_i = ctx.hc("cc", ctx.sid, i, c_i, w_i)
    a_i, com_i = sch.commit(suite, ctx.rng)
    V_i = _commitment(ctx, i, rid_i, S_i, com_i.A, cc_i, u_i)
    yield Send(1, broadcast=V_i)
    committed = yield round1

    # Round 2: reveal; each party gets its point of the polynomial, and the chain-code share, which is not for the relay.
    yield Progress("keygen: sharing")
    yield Send(
        2,
        broadcast=[rid_i, S_i, com_i.A, cc_i, u_i],
        p2p={j: [f.evaluate(j.index), c_i, w_i] for j in ctx.others},
    )
    revealed = yield round2
    yield Compute(
        [
            partial(
                check_round2,
                ctx,
                t,
                j,
                ctx.me,
                committed[j].broadcast,
                revealed[j].broadcast,
                revealed[j].p2p,
            )
            for j in ctx.others
        ]
    )

    # Round 3: prove knowledge of the share.
    rid = xor([rid_i, *(revealed[j].broadcast[0] for j in ctx.others)])
    chain_code = xor([c_i, *(revealed[j].p2p[1] for j in ctx.others)])
    S = [S_i, *(revealed[j].broadcast[1] for j in ctx.others)]
    ((X, X_j),) = yield Compute([partial(public_key, ctx, t, S)])
    x_i = (f.evaluate(i) + sum(revealed[j].p2p[0] for j in ctx.others)) % group.q
    if group.mul_base(x_i) != X_j[i]:
        raise InternalError("x_i*G is not X_i")
    challenge = sch.challenge(suite, ctx.proof("keygen-share", ctx.me, rid=rid), sch.Statement(X_j[i]), com_i)
    psi_i = sch.respond(suite, sch.Witness(x_i), a_i, com_i, challenge)
    yield Send(3, broadcast=psi_i.to_value())
    proofs = yield round3
    for j in ctx.others:
        check_round3(ctx, j, rid, revealed[j].broadcast[2], X_j[j.index], proofs[j].broadcast)

    share = KeyShare(
        suite=suite,
        key_id=key_id(ctx, X),
        share_epoch=share_epoch(ctx, X, X_j),
        t=t, me=i, X=X, public_shares=X_j, chain_code=chain_code, x=x_i,
    )  # fmt: skip
    yield from complete(ctx, new_state(ctx, KIND, shares=[share], aux_id=aux_id))
    return share


def key_id(ctx: PublicContext, X: Point) -> bytes:
    """Hc("key", sid, X) of the run that made the key (protocol.md 2.1)."""
    return ctx.hc("key", ctx.sid, X)


def share_epoch(ctx: SessionContext, X: Point, X_j: dict[int, Point]) -> bytes:
    """Hc("share-epoch", sid, X, [X_j]) of the run that made the shares (protocol.md 2.1)."""
    return ctx.hc("share-epoch", ctx.sid, X, [X_j[index] for index in sorted(X_j)])


def check_usable(share: KeyShare) -> None:
    """Of what was dealt when all checks have passed: only the sum can be unlucky. Raises Degenerate."""
    try:
        share.check()
    except ShareCorrupt as error:
        raise Degenerate(f"the new shares would be of no use: {error}") from None


def _commitment(
    ctx: PublicContext, i: int, rid: bytes, S: Sequence[Point], A: Point, cc: bytes, u: bytes
) -> bytes:
    return ctx.hc("keygen-commit", ctx.sid, i, rid, S, A, cc, u)


def check_round2(
    ctx: PublicContext,
    t: int,
    j: PartyId,
    i: PartyId,
    V_j: bytes,
    reveal: Sequence[Value],
    private: Sequence[Value],
) -> None:
    """The checks of protocol.md 1 round 2, in their order: what j revealed to all, and told i."""
    check_reveal(ctx, t, j, V_j, reveal)
    check_private(ctx, j, i, reveal, private)


def check_reveal(ctx: PublicContext, t: int, j: PartyId, V_j: bytes, reveal: Sequence[Value]) -> None:
    """Checks 1 and 2."""
    rid_j, S_j, A_j, cc_j, u_j = reveal
    with blaming(j.index, "keygen.r2"):
        # 1
        if len(S_j) != t:
            raise WrongLength(f"{len(S_j)} coefficients are committed where {t} are due", check="length")
        if any(point.is_identity for point in S_j):
            raise BadPoint("a committed coefficient is the identity", check="coefficient")
        if A_j.is_identity:
            raise BadPoint("the Schnorr commitment is the identity", check="A")
        # 2
        if V_j != _commitment(ctx, j.index, rid_j, S_j, A_j, cc_j, u_j):
            raise BadDecommit("the reveal does not match the commitment of round 1", check="decommit")


def check_private(
    ctx: PublicContext, j: PartyId, i: PartyId, reveal: Sequence[Value], private: Sequence[Value]
) -> None:
    """Check 3: what j told i, against what it revealed to all."""
    _, S_j, _, cc_j, _ = reveal
    sigma_ji, c_j, w_j = private
    with blaming(j.index, "keygen.r2"):
        # 3
        with blaming(j.index, "keygen.r2.share"):
            check_share(sigma_ji, S_j, i.index)
        if cc_j != ctx.hc("cc", ctx.sid, j.index, c_j, w_j):
            raise BadDecommit("the chain-code share does not match its commitment", check="chain code")


def check_round3(
    ctx: PublicContext, j: PartyId, rid: bytes, A_j: Point, X_j: Point, value: list[Value]
) -> None:
    """The proof of j that it knows its share, with the A_j of round 2."""
    with blaming(j.index, "keygen.r3"):
        psi_j = sch.Proof.from_value(value)
        if A_j != psi_j.commitment.A:
            raise ProofInvalid(sch.NAME, "A is the one of round 2")
        sch.verify(ctx.suite, ctx.proof("keygen-share", j, rid=rid), sch.Statement(X_j), psi_j)


def public_key(ctx: PublicContext, t: int, S: Sequence[Sequence[Point]]) -> tuple[Point, Mapping[int, Point]]:
    """X = sum_j S_{j,0} and X_m = sum_j sum_k I_m^k*S_{j,k} for all m.

    Raises Degenerate when one is O, and when the highest coefficient is: then fewer than t parties could sign.
    """
    group = ctx.suite.group
    total = [group.sum([S_j[k] for S_j in S]) for k in range(t)]
    X_j = {party.index: commitment_at(total, party.index) for party in ctx.parties}
    if any(point.is_identity for point in (total[0], total[-1], *X_j.values())):
        raise Degenerate("the public key, a public share or the highest coefficient is the identity")
    return total[0], X_j
