"""What is shown of accounts: views made from the store's records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from participant.callers import Caller
from participant.node.api import AccountStatus, AccountView, PublicKeyView
from participant.node.errors import AccountUnknown, NotAllowed, failure_of
from participant.node.records import Records
from participant.payloads import all_addresses, solana
from participant.policy import Action, Allow, Policy, PolicyRequest
from participant.store import AccountRecord, AccountState, KeyShareNotFound, Pending, Store
from tss.errors import ProtocolError
from tss.hd import format_path, parse_path

_NOTHING: Final[Mapping[str, str]] = {}


_STATUSES: Final = {
    AccountState.FROZEN: AccountStatus.FROZEN,
    AccountState.DELETING: AccountStatus.DELETING,
    AccountState.RESTORED: AccountStatus.NEEDS_REFRESH,
    AccountState.TOO_OLD: AccountStatus.NEEDS_REFRESH,
}


@lru_cache(maxsize=4096)
def addresses(curve: str, public_key: bytes) -> Mapping[str, str]:
    """The addresses of a key, where its curve has any."""
    if curve == "ed25519" and public_key:
        return MappingProxyType({"solana": solana.address(public_key)})
    if curve != "secp256k1" or len(public_key) != 33:
        return _NOTHING
    return MappingProxyType(all_addresses(public_key))


class Views:
    """Accounts as callers and operators see them. Quick enough for the event loop."""

    def __init__(self, store: Store, records: Records, policy: Policy) -> None:
        self._store = store
        self._records = records
        self._policy = policy

    def may_read(self, account_id: str, caller: Caller | None) -> bool:
        """Whether `caller` may know that the account exists; None is the operator."""
        if caller is None:
            return True
        if caller.accounts is not None and account_id not in caller.accounts:
            return False
        request = PolicyRequest(Action.READ, account_id=account_id, caller=caller.name)
        return isinstance(self._policy.decide(request), Allow)

    def check_read(self, account_id: str, caller: Caller | None) -> None:
        """Raises NotAllowed."""
        if caller is not None and not self.may_read(account_id, caller):
            raise NotAllowed(f"caller {caller.name!r} may not read account {account_id!r} on this node")

    def all(self, committee_id: bytes | None, caller: Caller | None) -> Sequence[AccountView]:
        """See NodeApi.accounts."""
        found = [self._view(record) for record in self._store.accounts.accounts(committee_id)]
        known = {view.account_id for view in found}
        for pending in self._store.sessions.pendings():
            if pending.voided or committee_id not in (None, pending.committee_id):
                continue
            found += [view for view in self._pending(pending) if view.account_id not in known]
        readable = [view for view in found if self.may_read(view.account_id, caller)]
        return sorted(readable, key=lambda view: view.account_id.encode())

    def ids(self, caller: Caller | None) -> list[str]:
        """The ids of `all`, for a node with many accounts."""
        found = set(self._store.accounts.ids())
        for pending in self._store.sessions.pendings():
            if not pending.voided:
                found.update(pending.state.account_ids)
        return sorted((name for name in found if self.may_read(name, caller)), key=str.encode)

    def one(self, account_id: str, caller: Caller | None = None) -> AccountView:
        """See NodeApi.account."""
        self.check_read(account_id, caller)
        try:
            return self._view(self._store.accounts.account(account_id))
        except KeyShareNotFound as error:
            for view in self.all(None, None):
                if view.account_id == account_id:
                    return view
            raise AccountUnknown(str(error)) from None

    def public_key(self, account_id: str, path: str, caller: Caller | None) -> PublicKeyView:
        """See NodeApi.public_key."""
        self.check_read(account_id, caller)
        try:
            steps = parse_path(path or "m")
            account = self._records.account(account_id)
            key = account.keys.public_key(steps)
        except (ProtocolError, KeyShareNotFound) as error:
            raise failure_of(error) from None
        curve = account.record.curve
        return PublicKeyView(account_id, format_path(steps), curve, key, addresses(curve, key))

    def _view(self, record: AccountRecord) -> AccountView:
        committee = self._store.accounts.committee(record.committee_id)
        return AccountView(
            account_id=record.account_id,
            curve=record.curve,
            threshold=record.threshold,
            parties=committee.n,
            committee_id=record.committee_id,
            key_id=record.key_id,
            public_key=record.public_key,
            addresses=addresses(record.curve, record.public_key),
            share_epoch=record.share_epoch,
            aux_id=record.aux_id,
            index=record.party - 1,
            status=self._status(record),
            created_at=record.created_at // 1000,
            last_signed_at=None if record.last_signed_at is None else record.last_signed_at // 1000,
        )

    def _status(self, record: AccountRecord) -> AccountStatus:
        if record.account_id in self._records.damaged:
            return AccountStatus.DAMAGED
        if record.state is not AccountState.ACTIVE:
            return _STATUSES[record.state]
        return AccountStatus.NEEDS_AUX if record.lacks_aux else AccountStatus.ACTIVE

    def _pending(self, pending: Pending) -> list[AccountView]:
        committee = self._store.accounts.committee(pending.committee_id)
        return [
            AccountView(
                account_id=share.account_id,
                curve=share.curve,
                threshold=share.threshold,
                parties=committee.n,
                committee_id=pending.committee_id,
                key_id=b"",
                public_key=b"",
                addresses=_NOTHING,
                share_epoch=b"",
                aux_id=None,
                index=share.party - 1,
                status=AccountStatus.PENDING,
                created_at=pending.created_at // 1000,
                last_signed_at=None,
            )
            for share in pending.state.shares
        ]
