"""FROST on a node, for Ed25519 accounts and for BIP-340: what a proposal comes to, and what this node proposes (protocol.md 6.2)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from participant.node.plan import Decline, Declined, Program
from participant.node.records import Account
from participant.node.stock import Points, Stocked
from participant.payloads import Decoded, DigestToSign
from tss.cggmp24.presignature import State
from tss.encoding import Value
from tss.envelope import holder
from tss.frost import sign as frost
from tss.frost.bip340 import Tweaks, signing_share, tweaks_from
from tss.frost.nonces import MAX_BATCH, NoncePair, Prepared, enclosed, enclosed_schema
from tss.params import FROST_BIP340, Suite
from tss.proposal import Proposal
from tss.rand import Rng
from tss.records import KeyShare
from tss.setting import Enclosed


@dataclass(frozen=True)
class FrostPlan:
    """A proposal rebuilt from this node's own records: its tail, and this node's part in it."""

    tail: list[Value]
    program: Program
    prepared: Prepared | None = None
    enclosed: Enclosed | None = None


class FrostPlanner:
    """Blocking, for worker threads. Nonce pairs are drawn here, and live in the program that uses them."""

    def __init__(self, find: Callable[[bytes], Stocked | None], rng: Rng) -> None:
        """`find`: what the stock holds under an id."""
        self._find = find
        self._rng = rng

    def plan(
        self, account: Account, proposal: Proposal, points: Points, due: DigestToSign | None, suite: Suite
    ) -> FrostPlan:
        """`due`: what is to be signed, None for exchanging pairs ahead. Raises Declined, BadMessage."""
        share = share_for(account.share, due, suite)
        if due is None:
            return self._prepare(share, proposal, points)
        content = due.message or b""
        frost.check_message(content)
        if proposal.kind == frost.KIND:
            return self._sign(share, proposal, points, due)
        pair = NoncePair.draw(share, self._rng)
        program: Program = partial(frost.full_sign, share=share, pair=pair, message=content)
        _, tail = _signing_tail(share, points, due, None)
        return FrostPlan(tail, program, enclosed=_enclosed(share, [pair]))

    def _prepare(self, share: KeyShare, proposal: Proposal, points: Points) -> FrostPlan:
        owner, batch = (int(value) for value in proposal.tail[4:6])
        if not 1 <= batch <= MAX_BATCH:
            raise Declined(Decline.UNREADABLE, f"a batch of {batch}, 1 to {MAX_BATCH} are made at a time")
        _check_owner(proposal, owner)
        pairs = [NoncePair.draw(share, self._rng) for _ in range(batch)]
        program: Program = partial(frost.prepare, share=share, pairs=pairs, owner=holder(owner))
        tail = frost.prepare_tail(share, points, owner, batch)
        return FrostPlan(tail, program, enclosed=_enclosed(share, pairs))

    def _sign(self, share: KeyShare, proposal: Proposal, points: Points, due: DigestToSign) -> FrostPlan:
        prepared = self._find(pair_id(proposal))
        if not isinstance(prepared, Prepared) or prepared.state is not State.FRESH:
            raise Declined(
                Decline.PRESIGNATURE_UNKNOWN,
                "this node does not hold the nonce pair, or has used it: it started anew since, or the pair has expired",
            )
        public = prepared.public
        if (public.key_id, public.share_epoch, public.signers) != (share.key_id, share.share_epoch, points):
            raise Declined(
                Decline.RECORDS_DIFFER, "the nonce pair is not one of this account, epoch and signer set"
            )
        _check_owner(proposal, public.owner)
        program: Program = partial(frost.sign, share=share, prepared=prepared, message=due.message or b"")
        _, tail = _signing_tail(share, points, due, prepared)
        return FrostPlan(tail, program, prepared=prepared)


def _enclosed(share: KeyShare, pairs: list[NoncePair]) -> Enclosed:
    return Enclosed(enclosed(pairs), enclosed_schema(share.suite))


def _check_owner(proposal: Proposal, owner: int) -> None:
    if proposal.initiator != holder(owner):
        raise Declined(Decline.NOT_THE_OWNER, "the proposer is not the owner")


def pair_id(proposal: Proposal) -> bytes:
    """The id under which the stock has what a proposal to sign with pairs exchanged ahead uses."""
    (_, named, *_), *_ = proposal.tail[6]
    return bytes(named)


def suite_for(account: Account, due: DigestToSign | None) -> Suite:
    """In which suite an account signs it; None for ECDSA or Ed25519, whichever is the account's."""
    return account.suite if due is None or due.tweaks is None else FROST_BIP340


def share_for(share: KeyShare, due: DigestToSign | None, suite: Suite) -> KeyShare:
    """This node's share of the key that signs: by BIP-340 the account's, tweaked."""
    if suite is share.suite:
        return share
    return signing_share(share, Tweaks() if due is None or due.tweaks is None else due.tweaks)


def signing_tail(
    account: Account, points: Sequence[int], due: DigestToSign, prepared: Prepared | None
) -> tuple[str, list[Value]]:
    """(kind, tail) of this node's own proposal to sign."""
    return _signing_tail(share_for(account.share, due, suite_for(account, due)), points, due, prepared)


def _signing_tail(
    share: KeyShare, points: Sequence[int], due: DigestToSign, prepared: Prepared | None
) -> tuple[str, list[Value]]:
    content = due.message or b""
    listed = [] if due.tweaks is None else due.tweaks.as_list()
    if prepared is not None:
        return frost.KIND, [*frost.tail(share, prepared.public, content), *listed]
    return frost.FULL_KIND, [*frost.full_tail(share, points, content), *listed]


def named(decoded: Decoded, proposal: Proposal, tweaks: Tweaks | None) -> DigestToSign | None:
    """Which of a payload's digests a proposal of FROST asks for, by tweaks and hash; None for none of them."""
    for due in decoded.digests:
        if due.tweaks == tweaks and hashlib.sha512(due.message or b"").digest() == proposal.tail[5]:
            return due
    return None


def tweaks_in(suite: Suite, proposal: Proposal) -> Tweaks | None:
    """What a proposal to sign by BIP-340 names; None in other suites. Raises CallerError."""
    return None if suite.own_keys else tweaks_from(*proposal.tail[-2:])
