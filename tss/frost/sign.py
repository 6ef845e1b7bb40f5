"""FROST signing (protocol.md 6.2): commitments, then one signature share from everybody, every share checked.

Commitments travel inside the acceptances of round 0 (`full_sign`), or were exchanged ahead (`prepare`), and then a
signature needs one message each way (`sign`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from tss.cggmp24.sign import Answered
from tss.effects import Compute, Echo, Progress, Protocol, Receive, SendDurably, SessionContext
from tss.encoding import Bytes, Integer, Schema, Tuple, Value
from tss.envelope import PartyId
from tss.errors import BadMessage, BadSignerSet, NonceUsed, PeerFault, SessionMismatch, blaming
from tss.frost.nonces import Commitments, NoncePair, Prepared, PreparedPublic
from tss.frost.terms import (
    Signature,
    Terms,
    check_share_of_signature,
    check_signers,
    combine,
    signature_share,
    terms,
)
from tss.groups import Point
from tss.params import Suite
from tss.records import KeyShare

PREPARE_KIND: Final = "frost-pairs"
FULL_KIND: Final = "frost-full-sign"
KIND: Final = "frost-sign"

Z_ROUND: Final = 1
"""Of `full_sign`; with pairs exchanged ahead it is round 0."""

MAX_MESSAGE_BYTES: Final = 1 << 16

PKG_TAG: Final = "pkg"


def check_message(message: bytes) -> None:
    """Raise BadMessage for a message that is too long; the empty one is a message."""
    if len(message) > MAX_MESSAGE_BYTES:
        raise BadMessage(f"the message has {len(message)} bytes, at most {MAX_MESSAGE_BYTES} are signed")


# -- what session ids bind (protocol.md 0.7) ---------------------------------------------------------------------


def _key(share: KeyShare, signers: Sequence[int]) -> list[Value]:
    """[key_id, X, share_epoch, S]."""
    return [share.key_id, share.X, share.share_epoch, sorted(signers)]


def prepare_tail(share: KeyShare, signers: Sequence[int], owner: int, batch: int) -> list[Value]:
    """Of exchanging `batch` pairs ahead, with which `owner` alone proposes."""
    return [*_key(share, signers), owner, batch]


def full_tail(share: KeyShare, signers: Sequence[int], message: bytes) -> list[Value]:
    """Of signing in two rounds. PK_j of S stand in it, so that a third party can judge a signature share."""
    points = [share.public_shares[j] for j in sorted(signers)]
    return [*_key(share, signers), points, hashlib.sha512(message).digest()]


def tail(share: KeyShare, public: PreparedPublic, message: bytes) -> list[Value]:
    """Of signing with pairs that were exchanged ahead."""
    listed = [[j, public.id, *public.commitments[j]] for j in public.signers]
    return [*full_tail(share, public.signers, message), listed]


# -- protocols ---------------------------------------------------------------------------------------------------


def prepare(
    ctx: SessionContext, share: KeyShare, pairs: Sequence[NoncePair], owner: PartyId
) -> Protocol[list[Prepared]]:
    """What the acceptances carried, put together: as many `Prepared` as this party's own `pairs`. Raises PeerFault."""
    yield Progress("frost: nonce pairs")
    for party in ctx.parties:
        if len(ctx.accepted[party]) != len(pairs):
            raise SessionMismatch(f"party {party.index} sent another number of nonce pairs")
    signers = tuple(party.index for party in ctx.parties)
    check_signers(signers, share.t, share.indices, share.me)
    made = []
    for k, pair in enumerate(pairs):
        D_E = {party.index: _commitments(ctx.accepted[party][k]) for party in ctx.parties}
        _check_own(D_E, share.me, pair)
        public = PreparedPublic(
            id=ctx.hc("pair", ctx.sid, k), sid=ctx.sid, key_id=share.key_id, share_epoch=share.share_epoch,
            aux_id=None, owner=owner.index, signers=signers, commitments=D_E,
        )  # fmt: skip
        made.append(Prepared(share.me, public, pair, share.suite))
    return made


def full_sign(ctx: SessionContext, share: KeyShare, pair: NoncePair, message: bytes) -> Protocol[Signature]:
    """Sign `message` with the commitments of the acceptances: two rounds. Raises PeerFault, SessionMismatch, NonceUsed."""
    D_E = {party.index: _commitments(ctx.accepted[party][0]) for party in ctx.parties}
    pair_id = ctx.hc("pair", ctx.sid, 0)
    return (yield from _exchange(ctx, Z_ROUND, share, pair, pair_id, D_E, message, FULL_KIND))


def sign(ctx: SessionContext, share: KeyShare, prepared: Prepared, message: bytes) -> Protocol[Signature]:
    """Sign `message` with pairs exchanged ahead: one message each way. Raises PeerFault, SessionMismatch, NonceUsed."""
    public = prepared.public
    if [party.index for party in ctx.parties] != list(public.signers):
        raise BadSignerSet("the nonce pairs belong to another signer set")
    made_for = (public.key_id, public.share_epoch, prepared.suite)
    if made_for != (share.key_id, share.share_epoch, share.suite):
        raise NonceUsed("the nonce pairs are of another key, share epoch or scheme")
    run = _exchange(ctx, 0, share, prepared.pair, public.id, public.commitments, message, KIND)
    try:
        return (yield from run)
    finally:
        if prepared.state is not prepared.state.ANSWERED:
            prepared.destroy()


def rounds(suite: Suite, round_: int) -> tuple[Receive, ...]:
    """What is received: (z, pkg)."""
    return (Receive(round_, broadcast=z_schema(suite), echo=Echo.NONE),)


def z_schema(suite: Suite) -> Schema:
    """[z_j, pkg]."""
    return Tuple(Integer(suite.group.q.bit_length()), Bytes(32))


def pkg_preimage(
    proto: str, sid: bytes, message: bytes, commitments: Mapping[int, Commitments]
) -> list[Value]:
    """The list whose hash is pkg = Hc("pkg", sid, msg, [[j, D_j, E_j] sorted])."""
    return [proto, PKG_TAG, sid, message, [[j, *D_E] for j, D_E in sorted(commitments.items())]]


def _exchange(
    ctx: SessionContext,
    round_: int,
    share: KeyShare,
    pair: NoncePair,
    pair_id: bytes,
    commitments: Mapping[int, Commitments],
    message: bytes,
    kind: str,
) -> Protocol[Signature]:
    """Send (z_i, pkg), check everybody's, combine."""
    check_message(message)
    check_signers([party.index for party in ctx.parties], share.t, share.indices, share.me)
    _check_own(commitments, share.me, pair)
    at = terms(share.X, message, commitments)
    preimage = pkg_preimage(ctx.suite.proto, ctx.sid, message, commitments)
    pkg = ctx.hc(*preimage[1:])
    # The pair has lost its secrets before they are used.
    z_i = signature_share(at, share.me, share.x, *pair.spend())
    yield SendDurably(round_, broadcast=[z_i, pkg], record=Answered(pair_id, pkg))
    said = yield rounds(ctx.suite, round_)[0]
    agreed = [j for j in ctx.others if said[j].broadcast[1] == pkg]
    faults = yield Compute(
        [
            partial(_faults, at, j, share.public_shares[j.index], said[j].broadcast[0], kind, preimage)
            for j in agreed
        ],
        brief=True,
    )
    found = [fault for of_one in faults for fault in of_one]
    if found:
        first, *others = found
        first.also = tuple(others)
        raise first
    for j in ctx.others:
        if j not in agreed:
            # It says nothing about z_j: another message, or another list (protocol.md 6.2).
            raise SessionMismatch(f"party {j.index} signed another package")
    return combine(at, [z_i, *(said[j].broadcast[0] for j in ctx.others)])


def _faults(
    at: Terms, j: PartyId, PK_j: Point, z_j: int, kind: str, preimage: Sequence[Value]
) -> list[PeerFault]:
    """What is wrong with j's signature share, if anything; pkg, which it signed, is the hash of `preimage`."""
    try:
        check_partial(at, j, PK_j, z_j, kind)
    except PeerFault as fault:
        fault.preimages = (preimage,)
        return [fault]
    return []


def check_partial(at: Terms, j: PartyId, PK_j: Point, z_j: int, kind: str) -> None:
    """Blames j for a signature share that fails."""
    with blaming(j.index, f"{kind}.partial"):
        check_share_of_signature(at, j.index, PK_j, z_j)


def _commitments(value: Sequence[Point]) -> Commitments:
    D, E = value
    return D, E


def _check_own(commitments: Mapping[int, Commitments], me: int, pair: NoncePair) -> None:
    """Raise NonceUsed unless this party's own pair stands in the list unchanged."""
    if commitments.get(me) != pair.commitments:
        raise NonceUsed("the list does not hold this party's own nonce commitments as it sent them")
