"""Recovery of one lost share in its own place (protocol.md 2.4).

t helpers give the recipient what adds up to its share. Pairwise keys blind each contribution, so that the recipient learns
the sum and nothing else. The recipient must make new auxiliary information, and whoever may have the lost device still has
the old share: a refresh follows (2.2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Self

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
from tss.encoding import Bytes, Integer, ListOf, Optional, PointOf, Tuple, Value
from tss.envelope import PartyId
from tss.errors import (
    BadShare,
    CallerError,
    InternalError,
    SchemaViolation,
    WrongChainCode,
    WrongLength,
    WrongRecord,
    blaming,
)
from tss.groups import Point
from tss.params import MAX_PARTIES, Suite
from tss.rand import scalar
from tss.records import KeyShare, chain_code_hash
from tss.vss import lagrange

KIND: Final = "recover"
HELPER: Final = "helper"
RECIPIENT: Final = "recipient"


@dataclass(frozen=True)
class Terms:
    """What a recovery is about, as the session's id has it; the recipient knows key and places from its operator."""

    key_id: bytes
    X: Point
    c_hash: bytes | None
    t: int
    share_epoch: bytes
    helpers: tuple[int, ...]
    """H."""
    public_shares: Mapping[int, Point]
    """X_j of all holders, r among them."""
    r: int
    """The place whose share was lost."""
    identity: bytes
    """The identity key of whoever gets it."""

    @classmethod
    def of(cls, share: KeyShare, helpers: Sequence[int], r: int, identity: bytes) -> Self:
        """As a helper knows it."""
        public = {j: share.public_shares[j] for j in share.indices}
        return cls(
            *(share.key_id, share.X, share.c_hash, share.t, share.share_epoch),
            *(tuple(sorted(helpers)), public, r, identity),
        )

    @classmethod
    def from_tail(cls, tail: Sequence[Any]) -> Self:
        """The inverse of `tail`."""
        key_id, X, c_hash, t, epoch, H, X_j, r, identity = tail
        public = dict(enumerate(X_j, start=1))
        return cls(key_id, X, c_hash, int(t), epoch, tuple(map(int, H)), public, int(r), identity)

    @property
    def record(self) -> list[Value]:
        """The account's record, which every helper sends: key_id, X, c-hash, t, share_epoch, [X_j] of all."""
        return [self.key_id, self.X, self.c_hash, self.t, self.share_epoch, list(self.public_shares.values())]

    def tail(self) -> list[Value]:
        """What protocol.md 0.7 lists: key_id, X, c-hash, t, share_epoch, helper list, [X_j] of all, r, idkey_r."""
        *account, X_j = self.record
        return [*account, list(self.helpers), X_j, self.r, self.identity]

    def lam(self, i: int, z: int) -> int:
        """lam_i(H, z)."""
        return lagrange(self.helpers, i, z, self.X.group.q)

    def check(self, identities: Mapping[PartyId, bytes]) -> None:
        """Raise CallerError unless t others help r, whose identity is the one named, and their shares give X and X_r."""
        group, H = self.X.group, self.helpers
        parties = {PartyId(HELPER, i) for i in H} | {PartyId(RECIPIENT, self.r)}
        if set(identities) != parties or list(H) != sorted(set(H)):
            raise CallerError("the session's parties are not its helpers and the recipient")
        if identities[PartyId(RECIPIENT, self.r)] != self.identity:
            raise CallerError("the recipient has another identity than the one that was approved")
        if len(H) != self.t or not 2 <= self.t <= len(self.public_shares) <= MAX_PARTIES:
            raise CallerError(f"{len(H)} helpers, where exactly {self.t} are needed")
        if list(self.public_shares) != list(range(1, len(self.public_shares) + 1)):
            raise CallerError("the holders are not numbered from 1")
        if self.r in H or not {self.r, *H} <= set(self.public_shares):
            raise CallerError("helpers and recipient are different holders of the account")
        for z, expected in ((0, self.X), (self.r, self.public_shares[self.r])):
            if group.sum([self.lam(i, z) * self.public_shares[i] for i in H]) != expected:
                raise CallerError("the helpers' public shares do not give the key and the recipient's")


def rounds(suite: Suite, terms: Terms, me: PartyId | None) -> tuple[Receive, Receive]:
    """What is received: by `me`, or by the recipient when it is None.

    [record, [Z_ij for j > i]] of a helper and nothing of the recipient, with z_ij to j and c to the recipient; m_i.
    """
    group = suite.group
    point, points = PointOf(group), ListOf(PointOf(group), 0, MAX_PARTIES)
    number, name = Integer(group.q.bit_length()), Bytes(32)
    record = Tuple(name, point, Optional(name), Integer(16), name, points)
    helpers = [PartyId(HELPER, i) for i in terms.helpers]
    if me is None or me.role == RECIPIENT:
        private = helpers if terms.c_hash is not None else []
    else:
        private = [j for j in helpers if j.index < me.index]
    return (
        Receive(
            1,
            Tuple(Optional(Tuple(record, points))),
            Tuple(Optional(number), Optional(name)),
            Echo.BLOCKING,
            p2p_from=private,
        ),
        Receive(2, p2p=number, echo=Echo.NONE, senders=helpers),
    )


def help_recover(ctx: SessionContext, terms: Terms, share: KeyShare) -> Protocol[None]:
    """A helper's side. Raises CallerError unless this share is one of `terms`; PeerFault (with the peer)."""
    group, i = ctx.suite.group, ctx.me.index
    terms.check(ctx.identities)
    own = Terms.of(share, terms.helpers, terms.r, terms.identity)
    if own != terms or (share.suite, share.me) != (ctx.suite, i):
        raise CallerError("the share is not one of the account whose share was lost")
    round1, _ = rounds(ctx.suite, terms, ctx.me)
    recipient = PartyId(RECIPIENT, terms.r)

    # Round 1: a key for each pair.
    z_i = {j: scalar(ctx.rng, group.q) for j in terms.helpers if j > i}
    Z_i: list[Value] = [group.mul_base(z) for z in z_i.values()]
    p2p: dict[PartyId, Value] = {PartyId(HELPER, j): [z, None] for j, z in z_i.items()}
    if share.chain_code:
        p2p[recipient] = [None, share.chain_code]
    yield Send(1, broadcast=[[terms.record, Z_i]], p2p=p2p)
    said = yield round1
    yield Progress("recover: checking the helpers")
    yield Compute([partial(check_round1, ctx, terms, j, ctx.me, said[j]) for j in ctx.others])

    # Round 2
    z_of = {j: said[PartyId(HELPER, j)].p2p[0] for j in terms.helpers if j < i}
    m_i = (terms.lam(i, terms.r) * share.x + sum(z_i.values()) - sum(z_of.values())) % group.q
    yield Send(2, p2p={recipient: m_i})


def recover(ctx: SessionContext, terms: Terms) -> Protocol[KeyShare]:
    """The recipient's side; its share.

    Raises CallerError for terms that cannot be, PeerFault (with the peer). The share is of no use before the recipient has
    auxiliary information, and it is known to whoever has the lost device.
    """
    suite, group, r = ctx.suite, ctx.suite.group, ctx.me.index
    terms.check(ctx.identities)
    round1, round2 = rounds(suite, terms, ctx.me)
    yield Send(1, broadcast=[None])
    said = yield round1
    yield Progress("recover: checking the helpers")
    yield Compute([partial(check_round1, ctx, terms, i, ctx.me, said[i]) for i in ctx.others])
    given = yield round2
    Z = pair_keys(terms, {i: said[i].broadcast for i in ctx.others})
    for i in ctx.others:
        check_contribution(terms, i, Z, given[i].p2p)
    x_r = sum(given[i].p2p for i in ctx.others) % group.q
    if group.mul_base(x_r) != terms.public_shares[r]:
        raise InternalError("x_r*G is not X_r")
    chain_code = said[ctx.others[0]].p2p[1] if terms.c_hash is not None else b""
    share = KeyShare(
        suite, terms.key_id, terms.share_epoch, terms.t, r, terms.X, dict(terms.public_shares),
        chain_code=chain_code, x=x_r,
    )  # fmt: skip
    share.check()
    return share


def check_round1(ctx: PublicContext, terms: Terms, j: PartyId, me: PartyId, said: Received) -> None:
    """What j said to all, and told this party."""
    check_said(terms, j, said.broadcast)
    if said.p2p is not None:
        check_told(ctx, terms, j, me, said.broadcast, said.p2p)


def check_said(terms: Terms, j: PartyId, broadcast: Sequence[Any]) -> None:
    """A helper's record and Z_jk for all k > j."""
    (value,) = broadcast
    with blaming(j, "recover.r1"):
        if (value is None) != (j.role == RECIPIENT):
            raise SchemaViolation("helpers say what they have, the recipient has nothing", check="role")
        if value is None:
            return
        record, Z_j = value
        if record != terms.record:
            raise WrongRecord("it has agreed to another record of the account", check="record")
        above = [k for k in terms.helpers if k > j.index]
        if len(Z_j) != len(above):
            raise WrongLength(f"{len(Z_j)} pairwise keys where {len(above)} are due", check="length")


def check_told(
    ctx: PublicContext, terms: Terms, i: PartyId, j: PartyId, broadcast: Sequence[Any], told: Sequence[Any]
) -> None:
    """What helper i told j: z_ij against Z_ij, or to the recipient the chain code against its hash."""
    z, c = told
    with blaming(i, "recover.r1"):
        if j.role == RECIPIENT:
            if z is not None or c is None or chain_code_hash(ctx.suite, terms.X, c) != terms.c_hash:
                raise WrongChainCode("the chain code is not the account's", check="chain code")
            return
        above = [k for k in terms.helpers if k > i.index]
        fits = j.index in above and z is not None and c is None and z < ctx.suite.group.q
        if not fits or ctx.suite.group.mul_base(z) != broadcast[0][1][above.index(j.index)]:
            raise BadShare("the pairwise key does not match what was said to all", check="z")


def pair_keys(terms: Terms, said: Mapping[PartyId, Sequence[Any]]) -> dict[tuple[int, int], Point]:
    """Z_ij by (i, j), i < j, out of what the helpers said to all."""
    keys: dict[tuple[int, int], Point] = {}
    for i, broadcast in said.items():
        above = [k for k in terms.helpers if k > i.index]
        keys |= {(i.index, j): Z for j, Z in zip(above, broadcast[0][1], strict=True)}
    return keys


def check_contribution(terms: Terms, i: PartyId, Z: Mapping[tuple[int, int], Point], m_i: int) -> None:
    """m_i*G = lam_i(H,r)*X_i + sum_{j>i} Z_ij - sum_{j<i} Z_ji."""
    group = terms.X.group
    expected = group.sum(
        [
            terms.lam(i.index, terms.r) * terms.public_shares[i.index],
            *(point for (low, _), point in Z.items() if low == i.index),
            *(-point for (_, high), point in Z.items() if high == i.index),
        ]
    )
    with blaming(i, "recover.r2"):
        if not 0 <= m_i < group.q or group.mul_base(m_i) != expected:
            raise BadShare("the contribution does not match what was said in round 1", check="share")
