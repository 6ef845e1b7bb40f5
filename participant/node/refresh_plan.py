"""From a proposal to refresh to the accounts behind it: what the proposer says of them is compared with this node's records."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from participant.node.membership import Membership
from participant.node.plan import Decline, Declined
from participant.node.records import Account, Records
from participant.store import Pending, Store
from tss.cggmp24 import aux_info, refresh
from tss.encoding import Value, encode
from tss.errors import SessionMismatch
from tss.params import Suite
from tss.proposal import Proposal

MOVING: Final = frozenset({aux_info.KIND, refresh.KIND})
"""Runs that move accounts to another pair (share_epoch, aux_id)."""


def gives_up(proposal: Proposal, accounts: Collection[str], pending: Pending) -> bool:
    """Whether taking part in a new run for `accounts` gives up what a former one of the same committee left unfinished.

    A refresh names the pair of each of its accounts. So that everybody takes part shows that nobody has another pair of
    them in force, and none may come into force any more. Of other accounts it shows nothing: their state stays.
    """
    if proposal.kind == refresh.KIND:
        return pending.kind in MOVING and not touched(pending).isdisjoint(accounts)
    return pending.kind == proposal.kind and pending.state.account_ids in ([], [proposal.account_id])


def touched(pending: Pending) -> set[str]:
    """The accounts that get a share or another aux set by it."""
    state = pending.state
    return {*state.account_ids, *(state.aux.accounts if state.aux is not None else ())}


class Behind(Declined):
    """The proposer has an older pair of an account than this node: `envelopes` are a certificate that brings it here."""

    def __init__(self, account_id: str, envelopes: Sequence[bytes]) -> None:
        super().__init__(
            Decline.BEHIND, f"account {account_id!r} has moved on since; here is its certificate"
        )
        self.envelopes = envelopes


def tail_of(accounts: Sequence[Account]) -> list[Value]:
    """What a proposal says of these accounts, in the order of their keys."""
    ordered = sorted(accounts, key=lambda account: account.record.key_id)
    return refresh.tail([a.share for a in ordered], [a.record.aux_id for a in ordered])


def refreshed_accounts(
    store: Store,
    records: Records,
    membership: Membership,
    suite: Suite,
    proposal: Proposal,
    coming: Sequence[Account] = (),
) -> tuple[Account, ...]:
    """The accounts behind a proposal, each as this node has it. Raises Declined, KeyShareNotFound, ShareCorrupt.

    `coming`: those that a recovery brings here.
    """
    (lines,) = proposal.tail
    new = {account.record.key_id: account for account in coming}
    by_key = {
        record.key_id: record.account_id
        for record in store.accounts.accounts(membership.committee_id)
        if record.curve == suite.group.name
    }
    pendings = store.sessions.pendings()
    refuse_unfinished(membership, pendings, but=refresh.KIND)
    found = []
    for line in lines:
        account_id = by_key.get(line[0])
        if line[0] in new:
            account_id = new[line[0]].record.account_id
        if account_id is None:
            raise Declined(Decline.RECORDS_DIFFER, f"this node has no account with key {line[0].hex()}")
        account = new.get(line[0]) or records.account(account_id)
        ((own,),) = tail_of([account])
        if encode(own) != encode(line):
            raise _other_records(store, account, line, pendings)
        found.append(account)
    if encode(tail_of(found)) != encode(proposal.tail):
        raise Declined(
            Decline.RECORDS_DIFFER, "the accounts of a refresh are listed once each, by their keys"
        )
    return tuple(found)


def refuse_unfinished(membership: Membership, pendings: Sequence[Pending], but: str = "") -> None:
    """Shares that wait for their certificate are bound to the aux set of their beginning. Raises Declined.

    `but` is a kind of run that may be unfinished.
    """
    for pending in pendings:
        unfinished = pending.kind != but and bool(pending.state.shares) and not pending.voided
        if pending.committee_id == membership.committee_id and unfinished:
            raise Declined(
                Decline.PENDING,
                f"a run ({pending.kind}) for account {pending.state.account_ids[0]!r} waits for its certificate; start it "
                "again, or wait until all nodes are back",
            )


def _other_records(
    store: Store, account: Account, line: Sequence[Value], pendings: Sequence[Pending]
) -> Declined:
    """Why this node and the proposer differ about an account."""
    account_id, epoch = account.record.account_id, line[4]
    coming = {share.share_epoch for pending in pendings for share in pending.state.shares}
    if epoch in coming:
        return Declined(
            Decline.PENDING, f"this node waits for the certificate of a refresh of account {account_id!r}"
        )
    same = (account.share.X, account.share.t, account.share.c_hash) == (line[1], line[3], line[2])
    certificates = store.sessions.certificates(account_id)
    if same and certificates and (epoch, line[5]) != (account.record.share_epoch, account.record.aux_id):
        return Behind(account_id, certificates[-1].envelopes)
    return Declined(
        Decline.RECORDS_DIFFER, f"this node's records of account {account_id!r} are not those of the proposal"
    )


def still_in_force(store: Store, accounts: Sequence[Account]) -> None:
    """Raise SessionMismatch when an account has moved on since this node accepted to refresh it."""
    for account in accounts:
        record = account.record
        current = [
            (now.share_epoch, now.aux_id)
            for now in store.accounts.accounts(record.committee_id)
            if now.account_id == record.account_id
        ]
        if current != [(record.share_epoch, record.aux_id)]:
            raise SessionMismatch(f"account {record.account_id!r} has another share or aux set by now")
