"""Distributed key generation for FROST (protocol.md 6.2): Pedersen's, with proofs of possession behind commit and reveal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from tss.cggmp24.completion import complete, new_state
from tss.cggmp24.keygen import key_id, public_key, share_epoch
from tss.effects import Compute, Echo, Progress, Protocol, PublicContext, Receive, Send, SessionContext
from tss.encoding import Bytes, Integer, ListOf, PointOf, Tuple, Value
from tss.envelope import PartyId
from tss.errors import (
    BadDecommit,
    BadPoint,
    CallerError,
    InternalError,
    OutOfDomain,
    ProofInvalid,
    WrongLength,
    blaming,
)
from tss.frost.ciphersuite import ED25519_SHA512
from tss.groups import Point
from tss.params import MAX_PARTIES, Suite
from tss.rand import Rng, scalar
from tss.records import KeyShare
from tss.vss import Polynomial, check_share

KIND: Final = "frost-keygen"
POP: Final = "pop"


@dataclass(frozen=True)
class Possession:
    """A proof that its maker knows f_{i,0}: R_i = k*B and mu_i = k + f_{i,0}*c_i."""

    R: Point
    mu: int


def tail(n: int, t: int) -> list[Value]:
    """What protocol.md 0.7 lists for key generation."""
    return [n, t]


def rounds(suite: Suite) -> tuple[Receive, Receive, Receive]:
    """What is received: the commitment; (C, R, mu, u); f(j) to each."""
    group = suite.group
    scalar_ = Integer(group.q.bit_length())
    reveal = Tuple(ListOf(PointOf(group), 0, MAX_PARTIES), PointOf(group), scalar_, Bytes(32))
    return (
        Receive(1, broadcast=Bytes(32), echo=Echo.BLOCKING),
        Receive(2, broadcast=reveal, echo=Echo.BLOCKING),
        Receive(3, p2p=scalar_, echo=Echo.NONE),
    )


def dkg(ctx: SessionContext, t: int) -> Protocol[KeyShare]:
    """Make a key that any `t` or more of the session's parties can use; the result is this party's share.

    Raises CallerError unless 2 <= t <= n, PeerFault (with the peer), Degenerate, SessionMismatch.
    """
    suite, group, i = ctx.suite, ctx.suite.group, ctx.me.index
    n = len(ctx.parties)
    round1, round2, round3 = rounds(suite)
    if not 2 <= t <= n <= MAX_PARTIES:
        raise CallerError(f"threshold {t} of {n} parties is not 2 <= t <= n <= {MAX_PARTIES}")

    # Round 1: commit to the polynomial and to the proof that its constant term is known.
    f = Polynomial.random(group, t, ctx.rng)
    C_i = f.commit()
    pop_i = prove_possession(ctx, i, f.coefficients[0], C_i[0], ctx.rng)
    reveal_i = [C_i, pop_i.R, pop_i.mu, ctx.rng(32)]
    yield Send(1, broadcast=_commitment(ctx, i, reveal_i))
    committed = yield round1

    # Round 2: reveal.
    yield Progress("keygen: sharing")
    yield Send(2, broadcast=reveal_i)
    revealed = yield round2
    yield Compute(
        [partial(check_reveal, ctx, t, j, committed[j].broadcast, revealed[j].broadcast) for j in ctx.others]
    )

    # Round 3: everybody saw the same polynomials; each party gets its point of them.
    yield Send(3, p2p={j: f.evaluate(j.index) for j in ctx.others})
    told = yield round3
    yield Compute([partial(check_told, j, ctx.me, revealed[j].broadcast, told[j].p2p) for j in ctx.others])
    C = [C_i, *(revealed[j].broadcast[0] for j in ctx.others)]
    ((PK, PK_j),) = yield Compute([partial(public_key, ctx, t, C)])
    s_i = (f.evaluate(i) + sum(told[j].p2p for j in ctx.others)) % group.q
    if group.mul_base(s_i) != PK_j[i]:
        raise InternalError("s_i*B is not PK_i")

    share = KeyShare(
        suite=suite,
        key_id=key_id(ctx, PK),
        share_epoch=share_epoch(ctx, PK, PK_j),
        t=t, me=i, X=PK, public_shares=PK_j, chain_code=b"", x=s_i,
    )  # fmt: skip
    yield from complete(ctx, new_state(ctx, KIND, shares=[share]))
    return share


def prove_possession(ctx: PublicContext, i: int, f_0: int, C_0: Point, rng: Rng) -> Possession:
    """R = k*B and mu = k + f_0*c with a fresh nonce k, which is not 0."""
    group = ctx.suite.group
    k = 1 + scalar(rng, group.q - 1)
    R = group.mul_base(k)
    c = ED25519_SHA512.pop_challenge(ctx.sid, i, C_0, R)
    return Possession(R, group.combine_secrets([(1, k), (c, f_0)]))


def _commitment(ctx: PublicContext, i: int, reveal: Sequence[Value]) -> bytes:
    """Hc("frost-commit", sid, i, C_i, R_i, mu_i, u_i), 32 bytes."""
    return ctx.hc("frost-commit", ctx.sid, i, *reveal)


def check_reveal(ctx: PublicContext, t: int, j: PartyId, committed: bytes, reveal: Sequence[Value]) -> None:
    """What j revealed in round 2: the hash, t points, valid ones, the proof of possession."""
    C_j, R_j, mu_j, _ = reveal
    group = ctx.suite.group
    with blaming(j.index, f"{KIND}.r2"):
        if committed != _commitment(ctx, j.index, reveal):
            raise BadDecommit("the reveal does not match the commitment of round 1", check="decommit")
        if len(C_j) != t:
            raise WrongLength(f"{len(C_j)} coefficients are committed where {t} are due", check="length")
        if any(point.is_identity for point in C_j):
            raise BadPoint("a committed coefficient is the identity", check="coefficient")
        if R_j.is_identity:
            raise BadPoint("R of the proof of possession is the identity", check="R")
        if mu_j >= group.q:
            raise OutOfDomain("mu is not reduced", check="mu")
        c_j = ED25519_SHA512.pop_challenge(ctx.sid, j.index, C_j[0], R_j)
        if mu_j * group.G != R_j + c_j * C_j[0]:
            raise ProofInvalid(POP, "mu*B = R + c*C_0")


def check_told(j: PartyId, i: PartyId, reveal: Sequence[Value], f_ji: int) -> None:
    """What j told i in round 3, against what it revealed to all: f_j(i)*B = sum of i^k*C_{j,k}."""
    with blaming(j.index, f"{KIND}.r3.share"):
        check_share(f_ji, reveal[0], i.index)
