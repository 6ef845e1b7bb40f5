"""From proposals about lost shares to this node's part in them: compared with what its operator approved, and with its records."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import partial

from participant.node.gathering import Gathering
from participant.node.membership import Membership
from participant.node.plan import Decline, Declined, Program
from participant.node.records import Account, Records
from participant.node.refresh_plan import MOVING, still_in_force, touched
from participant.node.requests import recover_requests
from participant.node.reshare_plan import HOW_TO_APPROVE, Seat
from participant.payloads import AccountKeys
from participant.recover_request import LostAccount, RecoverRequest
from participant.store import AccountRecord, AccountState, Origin, Store
from participant.store.recoveries import RecoveredShare
from tss.cggmp24 import recover
from tss.cggmp24.recover import HELPER, Terms
from tss.effects import Persist, Protocol, SessionContext
from tss.encoding import encode
from tss.errors import SessionMismatch
from tss.params import Suite
from tss.proposal import Proposal
from tss.records import KeyShare


@dataclass(frozen=True)
class Coming(Account):
    """An account that a refresh brings to this committee, or back to this node."""

    request_id: bytes = b""
    is_back: bool = False
    """Whether the share is the one that came back."""


class RecoverPlanner:
    """Blocking, for worker threads."""

    def __init__(self, store: Store, records: Records) -> None:
        self._store = store
        self._records = records
        self._requests = recover_requests(store, records.suites)

    # One lost share

    def seat(self, gathering: Gathering, suite: Suite, proposal: Proposal) -> Seat:
        """This node's. Raises Declined, KeyShareNotFound, ShareCorrupt."""
        approval = self._store.approvals.get(gathering.request_id)
        request = self._requests.get(gathering.request_id)
        if approval is None or request is None or not approval.is_open:
            raise Declined(Decline.NOT_APPROVED, f"this node takes no part: {HOW_TO_APPROVE}")
        lost = request.account(proposal.account_id or "")
        if lost is None or lost.suite is not suite or encode(lost.terms.tail()) != encode(proposal.tail):
            raise Declined(
                Decline.RECORDS_DIFFER,
                "the proposal is not what this node's operator approved: account, key, place, identity or helpers differ",
            )
        (party,) = gathering.own_seats
        if party.role == HELPER:
            account = self.known(request, lost)
            program: Program = partial(recover.help_recover, terms=lost.terms, share=account.share)
            return Seat(party, program, partial(still_in_force, self._store, [account]))
        self.check_place(lost)
        return Seat(party, partial(_recover_durably, lost=lost, request_id=request.request_id), lambda: None)

    def known(self, request: RecoverRequest, lost: LostAccount) -> Account:
        """The account, when it is what the request says, as a member has it. Raises Declined, KeyShareNotFound, ShareCorrupt."""
        account = self._records.account(lost.account_id)
        name, terms = f"account {lost.account_id!r}", lost.terms
        if account.record.committee_id != request.old.committee_id:
            raise Declined(Decline.OTHER_COMMITTEE, f"{name} is not of the committee that the request names")
        if account.record.state is AccountState.DELETING:
            raise Declined(Decline.ACCOUNT_DELETED, f"{name} is being deleted on this node")
        own = Terms.of(account.share, terms.helpers, terms.r, terms.identity)
        pairs: dict[str, tuple[object, object]] = {
            "public key": (terms.X, own.X),
            "share epoch (it was refreshed since: make a new request)": (terms.share_epoch, own.share_epoch),
            "auxiliary information (it was made anew since: make a new request)": (
                lost.aux_id,
                account.record.aux_id,
            ),
        }
        for what, (asked, has) in pairs.items():
            if asked != has:
                raise Declined(
                    Decline.RECORDS_DIFFER, f"the request's {what} is not what this node has of {name}"
                )
        if terms != own:
            raise Declined(Decline.RECORDS_DIFFER, f"the request's record of {name} is not this node's")
        for pending in self._store.sessions.pendings():
            # A refresh that was interrupted is given up by the next one, which is the end of every recovery.
            if pending.kind not in MOVING and lost.account_id in touched(pending) and not pending.voided:
                raise Declined(
                    Decline.PENDING,
                    f"a run ({pending.kind}) for {name} waits for its certificate on this node",
                )
        return account

    def check_place(self, lost: LostAccount) -> None:
        """Whether the node that lost its share has room for it. Raises Declined."""
        accounts = self._store.accounts
        if accounts.has_account(lost.account_id):
            record = accounts.account(lost.account_id)
            if (record.key_id, record.public_key) != (lost.terms.key_id, lost.terms.X.to_bytes()):
                raise Declined(
                    Decline.ACCOUNT_EXISTS,
                    f"this node has account {lost.account_id!r} with another public key",
                )

    # All members' new shares

    def coming(self, membership: Membership, suite: Suite, key_ids: Collection[bytes]) -> Iterator[Coming]:
        """Those of the keys that a refresh in this committee brings into force here for the first time.

        At the lost place with the share that came back, elsewhere with the record of the committee before it. Raises
        Declined, KeyShareNotFound, ShareCorrupt.
        """
        for request in self._requests.open():
            if request.new.committee_id != membership.committee_id:
                continue
            for lost in request.accounts:
                if lost.suite is suite and lost.terms.key_id in key_ids:
                    account = self._coming(membership, request, lost)
                    if account is not None:
                        yield account

    def _coming(self, membership: Membership, request: RecoverRequest, lost: LostAccount) -> Coming | None:
        request_id, accounts = request.request_id, self._store.accounts
        if membership.me.index == request.r:
            stored = self._store.recoveries.share(request_id, lost.account_id)
            if stored is None:
                raise Declined(
                    Decline.PENDING, f"this node's share of account {lost.account_id!r} has not come back yet"
                )
            share = KeyShare.from_bytes(lost.suite, stored)
            keys = AccountKeys(share.X, share.chain_code)
            return Coming(_record(request, lost, share), share, keys, request_id, is_back=True)
        if (
            request.new == request.old
            or accounts.account(lost.account_id).committee_id != request.old.committee_id
        ):
            return None
        account = self.known(request, lost)
        return Coming(account.record, account.share, account.keys, request_id)

    def still_there(self, account: Coming) -> None:
        """Raise SessionMismatch when what came back is gone: its recovery was withdrawn, or is complete."""
        if self._store.recoveries.share(account.request_id, account.record.account_id) is None:
            raise SessionMismatch(f"the recovery of account {account.record.account_id!r} is over")


def _record(request: RecoverRequest, lost: LostAccount, share: KeyShare) -> AccountRecord:
    return AccountRecord(
        account_id=lost.account_id,
        key_id=share.key_id,
        committee_id=request.new.committee_id,
        curve=lost.suite.group.name,
        threshold=share.t,
        party=share.me,
        public_key=share.X.to_bytes(),
        share_epoch=share.share_epoch,
        aux_id=lost.aux_id,
        state=AccountState.RESTORED,
        origin=Origin.KEYGEN,
        created_at=0,
        last_signed_at=None,
        activated_at=0,
    )


def _recover_durably(ctx: SessionContext, lost: LostAccount, request_id: bytes) -> Protocol[KeyShare]:
    """The recipient's side; its share is stored before the session ends."""
    share = yield from recover.recover(ctx, lost.terms)
    yield Persist(RecoveredShare(request_id, lost.account_id, share.to_bytes()))
    return share
