"""From a proposal to a plan: everything in it is rebuilt from this node's own records and compared.

The initiator's word is never enough: tails are recomputed, payloads decoded here, digests derived here. Blocking, for
worker threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from participant.node.frost import FrostPlanner, named, pair_id, tweaks_in
from participant.node.gathering import Gathering
from participant.node.membership import Membership
from participant.node.ownership import Ownership
from participant.node.plan import Decline, Declined, Plan, Program
from participant.node.records import Account, Records
from participant.node.recover_plan import Coming, RecoverPlanner
from participant.node.refresh_plan import refreshed_accounts, refuse_unfinished, still_in_force
from participant.node.reshare_plan import HOW_TO_APPROVE, ResharePlanner
from participant.node.stock import Stocked
from participant.payloads import SCHEMA, Decoded, DigestToSign, Payload, PayloadError, decode, from_value
from participant.policy import Action, PayloadKind, PolicyRequest
from participant.store import (
    AccountState,
    AuditRecord,
    AuxSetNotFound,
    KeyShareNotFound,
    Store,
    StoreConflict,
    check_account_id,
)
from tss.cggmp24 import aux_info, keygen, presign, recover, refresh, reshare, sign
from tss.cggmp24.presignature import Presignature
from tss.cggmp24.sign import SignRequest
from tss.encoding import Value, encode
from tss.encoding import decode as decode_value
from tss.envelope import PartyId, Signed, holder
from tss.errors import CallerError, PeerFault, ShareCorrupt
from tss.frost import dkg
from tss.frost import sign as frost
from tss.hd import derive, format_path
from tss.params import Suite
from tss.proposal import Proposal, signers_in
from tss.rand import Rng
from tss.randomizers import PLAIN, Randomizers
from tss.records import AuxSet
from tss.setting import Enclosed, Round0, Setup

ROUND_0: Final = {
    keygen.KIND: Round0.BLOCKING,
    aux_info.KIND: Round0.BLOCKING,
    refresh.KIND: Round0.BLOCKING,
    reshare.KIND: Round0.BLOCKING,
    recover.KIND: Round0.BLOCKING,
    presign.KIND: Round0.WITH_ROUND_1,
    presign.FULL_KIND: Round0.WITH_ROUND_1,
    sign.KIND: Round0.NONE,
    dkg.KIND: Round0.BLOCKING,
    frost.PREPARE_KIND: Round0.WITH_ROUND_1,
    frost.FULL_KIND: Round0.WITH_ROUND_1,
    frost.KIND: Round0.NONE,
}

ACTIONS: Final = {
    keygen.KIND: Action.KEYGEN,
    aux_info.KIND: Action.AUX,
    refresh.KIND: Action.REFRESH,
    reshare.KIND: Action.RESHARE,
    recover.KIND: Action.RECOVERY,
    presign.KIND: Action.PRESIGN,
    presign.FULL_KIND: Action.SIGN,
    sign.KIND: Action.SIGN,
    dkg.KIND: Action.KEYGEN,
    frost.PREPARE_KIND: Action.PRESIGN,
    frost.FULL_KIND: Action.SIGN,
    frost.KIND: Action.SIGN,
}

CEREMONIES: Final = frozenset(
    {keygen.KIND, dkg.KIND, aux_info.KIND, refresh.KIND, reshare.KIND, recover.KIND}
)
"""Kinds that every member takes part in, one at a time."""

SIGNING: Final = frozenset({presign.FULL_KIND, sign.KIND, frost.FULL_KIND, frost.KIND})

PRESIGNING: Final = frozenset({presign.KIND, frost.PREPARE_KIND})
"""Kinds that make stock."""


_NOT_ACTIVE: Final = {
    AccountState.FROZEN: (Decline.ACCOUNT_FROZEN, "the account is frozen on this node"),
    AccountState.DELETING: (Decline.ACCOUNT_DELETED, "the account is being deleted on this node"),
    AccountState.RESTORED: (
        Decline.REFRESH_NEEDED,
        "this node's share was restored from a backup: refresh the account",
    ),
    AccountState.TOO_OLD: (Decline.SHARE_TOO_OLD, "this node's share is too old: refresh the account"),
}


def signer_points(proposal: Proposal) -> tuple[int, ...] | None:
    """The signer set that a proposal names; None where all members take part."""
    return signers_in(proposal.kind, proposal.tail)


def used_ahead(proposal: Proposal) -> bytes | None:
    """The id of what a proposal uses of the stock; None for kinds that use nothing."""
    if proposal.kind == sign.KIND:
        return bytes(proposal.tail[0])
    return pair_id(proposal) if proposal.kind == frost.KIND else None


@dataclass(frozen=True)
class Content:
    """What a proposal asks to sign: one digest of a payload, and the payload."""

    due: DigestToSign
    payload: Payload
    decoded: Decoded


class Planner:
    """Makes plans of proposals, one's own and the others'."""

    def __init__(
        self,
        store: Store,
        records: Records,
        find_presignature: Callable[[bytes], Stocked | None],
        take_primes: Callable[[int], tuple[int, int, int, int]],
        randomizers: Callable[[Suite], Randomizers] = lambda _: PLAIN,
        rng: Rng = os.urandom,
    ) -> None:
        """`take_primes(bits)` hands out four unused safe primes and may block for minutes."""
        self._store = store
        self._records = records
        self._find_presignature = find_presignature
        self.ownership = Ownership(find_presignature)
        self._take_primes = take_primes
        self._randomizers = randomizers
        self._frost = FrostPlanner(find_presignature, rng)
        self.resharing = ResharePlanner(store, records, take_primes)
        self.recovering = RecoverPlanner(store, records)

    def plan(
        self,
        membership: Membership,
        suite: Suite,
        proposal: Proposal,
        who: str,
        signed: Signed | None = None,
    ) -> tuple[Plan, PolicyRequest]:
        """The session behind `proposal`, and what a policy is to be asked. `who` proposes, for the audit log.

        `signed` is the proposal as another member signed it. Raises Declined, and Misused for one that nobody honest signs.
        """
        points = signer_points(proposal)
        self._check_members(membership, proposal, points)
        if signed is not None:
            self.ownership.check(membership, suite, proposal, signed)
        try:
            if proposal.kind in (keygen.KIND, dkg.KIND):
                return self._keygen(membership, suite, proposal, who)
            if proposal.kind == aux_info.KIND:
                return self._aux(membership, suite, proposal, who)
            if proposal.kind == refresh.KIND:
                return self._refresh(membership, suite, proposal, who)
            if proposal.kind == recover.KIND:
                return self._recover(membership, suite, proposal, who)
            if proposal.kind == reshare.KIND:
                return self._reshare(membership, suite, proposal, who)
            return self._with_account(membership, suite, proposal, who)
        except (KeyShareNotFound, AuxSetNotFound) as error:
            raise Declined(Decline.KEY_SHARE_NOT_FOUND, str(error)) from None
        except ShareCorrupt as error:
            raise Declined(Decline.SHARE_DAMAGED, str(error)) from None
        except PayloadError as error:
            raise Declined(Decline.BAD_PAYLOAD, str(error)) from None
        except CallerError as error:
            raise Declined(Decline.BAD_SIGNER_SET, str(error)) from None

    def _check_members(
        self, membership: Membership, proposal: Proposal, points: tuple[int, ...] | None
    ) -> None:
        if proposal.committee_id != membership.committee_id:
            raise Declined(Decline.OTHER_COMMITTEE, "the proposal is for another committee than this room's")
        known = {party.index for party in membership.parties}
        if points is not None and (not set(points) <= known or proposal.initiator.index not in points):
            raise Declined(
                Decline.BAD_SIGNER_SET, "the signer set is not one of members with the initiator among them"
            )
        if points is not None and tuple(sorted(points)) in self._store.blocked.signer_sets(
            membership.committee_id
        ):
            raise Declined(
                Decline.SET_BLOCKED,
                "somebody in this signer set has cheated, and it is not known yet who: this node does not work in it until "
                "everybody's proofs are there or its operator clears it",
            )
        marked = set[bytes]().union(
            *(self._store.quarantine.peers(known, None) for known in membership.touches)
        )
        for party in membership.parties:
            if (points is None or party.index in points) and membership.identities[party] in marked:
                raise Declined(
                    Decline.QUARANTINED,
                    f"index {party.index - 1} failed a check earlier and is in this node's quarantine until its operator "
                    "clears it",
                )

    def _setup(
        self,
        membership: Membership,
        suite: Suite,
        proposal: Proposal,
        points: tuple[int, ...] | None = None,
        enclosed: Enclosed | None = None,
    ) -> Setup:
        return Setup(
            suite=suite,
            kind=proposal.kind,
            me=membership.me,
            members=membership.members(points),
            ph=proposal.hash(suite),
            tail=proposal.tail,
            round0=ROUND_0[proposal.kind],
            enclosed=enclosed,
        )

    # Ceremonies

    def _keygen(
        self, membership: Membership, suite: Suite, proposal: Proposal, who: str
    ) -> tuple[Plan, PolicyRequest]:
        account_id, committee = proposal.account_id, membership.committee
        if account_id is None:
            raise Declined(Decline.UNREADABLE, "a key generation names its account")
        try:
            check_account_id(account_id)
        except StoreConflict as error:
            raise Declined(Decline.UNREADABLE, str(error)) from None
        n, t = (int(value) for value in proposal.tail)
        if n != committee.n or not 2 <= t <= n:
            raise Declined(
                Decline.RECORDS_DIFFER, f"{t} of {n} is no threshold for a committee of {committee.n} members"
            )
        if self._store.accounts.has_account(account_id):
            raise Declined(Decline.ACCOUNT_EXISTS, f"account {account_id!r} exists already")
        aux_id = self._store.accounts.current_aux_id(membership.committee_id)
        program: Program
        if not suite.has_aux:
            program = partial(dkg.dkg, t=t)
        elif aux_id is None:
            raise Declined(Decline.NEEDS_AUX, "this node has no auxiliary information of the committee")
        else:
            program = partial(keygen.keygen, t=t, aux_id=aux_id)
        return self._ceremony(membership, suite, proposal, who, program, (account_id,))

    def _aux(
        self, membership: Membership, suite: Suite, proposal: Proposal, who: str
    ) -> tuple[Plan, PolicyRequest]:
        (listed,) = proposal.tail
        refuse_unfinished(membership, self._store.sessions.pendings())
        by_key = {
            record.key_id: record.account_id
            for record in self._store.accounts.accounts(membership.committee_id)
        }
        unknown = [key_id for key_id in listed or () if key_id not in by_key]
        if unknown:
            raise Declined(Decline.RECORDS_DIFFER, f"this node has no account with key {unknown[0].hex()}")
        bits = suite.level.pb
        program: Program = partial(aux_info.aux_info, take_primes=partial(self._take_primes, bits))
        accounts = tuple(by_key[key_id] for key_id in listed or ())
        return self._ceremony(membership, suite, proposal, who, program, accounts)

    def _refresh(
        self, membership: Membership, suite: Suite, proposal: Proposal, who: str
    ) -> tuple[Plan, PolicyRequest]:
        key_ids = {line[0] for line in proposal.tail[0]}
        coming = list(self.recovering.coming(membership, suite, key_ids))
        accounts = refreshed_accounts(self._store, self._records, membership, suite, proposal, coming)
        take = partial(self._take_primes, suite.level.pb) if suite.has_aux else None
        program: Program = partial(
            refresh.refresh, shares=[account.share for account in accounts], take_primes=take
        )
        names = tuple(account.record.account_id for account in accounts)
        plan, request = self._ceremony(membership, suite, proposal, who, program, names)
        return replace(plan, check_base=partial(self._check_refreshed, accounts)), request

    def _check_refreshed(self, accounts: Sequence[Account]) -> None:
        back = [account for account in accounts if isinstance(account, Coming) and account.is_back]
        still_in_force(self._store, [account for account in accounts if account not in back])
        for account in back:
            self.recovering.still_there(account)

    def _recover(
        self, membership: Membership, suite: Suite, proposal: Proposal, who: str
    ) -> tuple[Plan, PolicyRequest]:
        if not isinstance(membership, Gathering):
            raise Declined(Decline.NOT_APPROVED, f"this node takes no part: {HOW_TO_APPROVE}")
        seat = self.recovering.seat(membership, suite, proposal)
        plan, request = self._ceremony(membership, suite, proposal, who, seat.program)
        setup = replace(plan.setup, me=seat.party, members=membership.session_members)
        return replace(plan, setup=setup, check_base=seat.check_base), request

    def _reshare(
        self, membership: Membership, suite: Suite, proposal: Proposal, who: str
    ) -> tuple[Plan, PolicyRequest]:
        if not isinstance(membership, Gathering):
            raise Declined(Decline.NOT_APPROVED, f"this node takes no part: {HOW_TO_APPROVE}")
        plans: list[Plan] = []
        for seat in self.resharing.seats(membership, suite, proposal):
            plan, request = self._ceremony(
                membership, suite, proposal, who, seat.program, (proposal.account_id or "",)
            )
            setup = replace(plan.setup, me=seat.party, members=membership.session_members)
            plans.append(replace(plan, setup=setup, check_base=seat.check_base, is_second=bool(plans)))
        return replace(plans[0], also=tuple(plans[1:])), request

    def _ceremony(
        self,
        membership: Membership,
        suite: Suite,
        proposal: Proposal,
        who: str,
        program: Program,
        accounts: tuple[str, ...] = (),
    ) -> tuple[Plan, PolicyRequest]:
        setup = self._setup(membership, suite, proposal)
        audit = AuditRecord(
            proposal.kind, who, "allow", account=proposal.account_id, request_id=proposal.request_id
        )
        request = PolicyRequest(
            ACTIONS[proposal.kind], account_id=proposal.account_id, committee_id=membership.committee_id
        )
        return Plan(membership, proposal, setup, program, audit, accounts=accounts), request

    # Presigning and signing

    def _with_account(
        self, membership: Membership, suite: Suite, proposal: Proposal, who: str
    ) -> tuple[Plan, PolicyRequest]:
        if proposal.account_id is None:
            raise Declined(Decline.UNREADABLE, "the proposal names no account")
        account = self._records.account(proposal.account_id)
        if account.record.committee_id != membership.committee_id or not suite.signs_for(account.suite):
            raise Declined(Decline.OTHER_COMMITTEE, "the account belongs to another committee or curve")
        if account.record.lacks_aux:
            raise Declined(Decline.NEEDS_AUX, "this node has no auxiliary information for the account")
        if account.record.state is not AccountState.ACTIVE:
            raise Declined(*_NOT_ACTIVE[account.record.state])
        points = signer_points(proposal) or ()
        lost = self._store.recoveries.lost_places(proposal.account_id, account.record.share_epoch)
        if not lost.isdisjoint(points):
            names = ", ".join(f"index {point - 1}" for point in sorted(lost.intersection(points)))
            raise Declined(
                Decline.REFRESH_NEEDED,
                f"the share of {names} was lost, and somebody else may have it: it signs again when its recovery has given "
                "all members new shares",
            )
        content = self._content(account, suite, proposal) if proposal.kind in SIGNING else None
        presignature: Stocked | None = None
        enclosed: Enclosed | None = None
        if not suite.has_aux:
            due = None if content is None else content.due
            planned = self._frost.plan(account, proposal, points, due, suite)
            tail, program = planned.tail, planned.program
            presignature, enclosed = planned.prepared, planned.enclosed
        elif proposal.kind == presign.KIND:
            tail, program = self._presign(account, self._records.aux_of(account), proposal, points)
        elif proposal.kind == presign.FULL_KIND:
            tail, program = self._full_sign(account, self._records.aux_of(account), proposal, points)
        else:
            tail, program, presignature = self._stock_sign(account, proposal, points)
        if encode(tail) != encode(proposal.tail):
            raise Declined(
                Decline.RECORDS_DIFFER, "this node's records of the account are not those of the proposal"
            )
        indices = tuple(point - 1 for point in points)
        digest, path = (
            (None, None) if content is None else (content.due.digest, format_path(content.due.path))
        )
        audit = AuditRecord(
            kind=str(ACTIONS[proposal.kind]),
            caller=who,
            decision="signed" if proposal.kind in SIGNING else "allow",
            account=proposal.account_id,
            request_id=proposal.request_id,
            digest=digest,
            path=path,
            signers=indices,
        )
        request = PolicyRequest(
            action=ACTIONS[proposal.kind],
            account_id=proposal.account_id,
            committee_id=membership.committee_id,
            payload=None if content is None else PayloadKind(content.payload.kind),
            digest=digest,
            path=path,
            signers=indices,
            content=None if content is None else content.decoded.summary,
        )
        setup = self._setup(membership, suite, proposal, points, enclosed)
        return Plan(membership, proposal, setup, program, audit, presignature), request

    def _owner(self, proposal: Proposal, owner: int) -> PartyId:
        if owner != proposal.initiator.index:
            raise Declined(Decline.NOT_THE_OWNER, "the proposer is not the owner")
        return holder(owner)

    def _presign(
        self, account: Account, aux: AuxSet, proposal: Proposal, points: tuple[int, ...]
    ) -> tuple[list[Value], Program]:
        owner, batch = int(proposal.tail[7]), int(proposal.tail[8])
        if not 1 <= batch <= presign.MAX_BATCH:
            raise Declined(
                Decline.UNREADABLE, f"a batch of {batch}, 1 to {presign.MAX_BATCH} are made at a time"
            )
        tail = presign.tail(account.share, aux, points, owner, batch)
        party = self._owner(proposal, owner)
        program: Program = partial(
            presign.presign,
            share=account.share,
            aux=aux,
            owner=party,
            batch=batch,
            randomizers=self._randomizers(account.suite),
        )
        return tail, program

    def _full_sign(
        self, account: Account, aux: AuxSet, proposal: Proposal, points: tuple[int, ...]
    ) -> tuple[list[Value], Program]:
        owner, request = int(proposal.tail[7]), _request(proposal)
        tail = presign.full_tail(account.share, aux, points, owner, request)
        party = self._owner(proposal, owner)
        program: Program = partial(
            presign.full_sign,
            share=account.share,
            aux=aux,
            owner=party,
            request=request,
            randomizers=self._randomizers(account.suite),
        )
        return tail, program

    def _stock_sign(
        self, account: Account, proposal: Proposal, points: tuple[int, ...]
    ) -> tuple[list[Value], Program, Presignature]:
        presignature_id, e_owner, request = proposal.tail[0], proposal.tail[5], _request(proposal)
        presignature = self._find_presignature(presignature_id)
        if not isinstance(presignature, Presignature):
            raise Declined(
                Decline.PRESIGNATURE_UNKNOWN,
                "this node does not hold the presignature: it started anew since, or it has expired",
            )
        public, record = presignature.public, account.record
        pair = (public.key_id, public.share_epoch, public.aux_id, public.signers)
        if pair != (record.key_id, record.share_epoch, record.aux_id, points):
            raise Declined(
                Decline.RECORDS_DIFFER, "the presignature is not one of this account, pair and signer set"
            )
        owner = self._owner(proposal, public.owner)
        share = account.share
        tau = derive(share.X, share.chain_code, request.path).tau
        tail = sign.tail(presignature_id, request, tau, points, e_owner)
        program: Program = partial(
            sign.stock_sign,
            presignature=presignature,
            chain_code=share.chain_code,
            owner=owner,
            request=request,
            e_owner=e_owner,
        )
        return tail, program, presignature

    def _content(self, account: Account, suite: Suite, proposal: Proposal) -> Content:
        """What is to be signed, decoded here; it must be what the tail names. Raises PayloadError, CallerError.

        What is due by ECDSA is never signed by BIP-340, nor the other way round, whatever its digest.
        """
        request = _request(proposal) if suite.has_aux else None
        tweaks = None if suite.has_aux else tweaks_in(suite, proposal)
        path = () if (place := request or tweaks) is None else place.path
        if proposal.message is None:
            raise PayloadError("the proposal does not say what its digest was made from")
        try:
            payload = from_value(decode_value(proposal.message, SCHEMA))
        except PeerFault as error:
            raise PayloadError(f"the payload is unreadable: {error.what}") from None
        decoded = decode(payload, account.keys, path)
        due = named(decoded, proposal, tweaks) if request is None else _by_ecdsa(decoded, request)
        if due is None:
            raise PayloadError("what the proposal is to sign is not in its payload at this path")
        return Content(due, payload, decoded)


def _by_ecdsa(decoded: Decoded, request: SignRequest) -> DigestToSign | None:
    for due in decoded.digests:
        if (due.digest, due.path, due.tweaks) == (request.digest, request.path, None):
            return due
    return None


def _request(proposal: Proposal) -> SignRequest:
    digest, path = (
        proposal.tail[9:11] if proposal.kind == presign.FULL_KIND else (proposal.tail[1], proposal.tail[2])
    )
    return SignRequest(digest, tuple(int(index) for index in path))
