"""Shares that come in by file and go out into one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from participant.age_files import ShareFileError
from participant.committee import Committee
from participant.node.api import AccountStatus, AccountView, ImportedShare
from participant.node.errors import failure_of
from participant.node.records import Records
from participant.node.views import Views
from participant.sharefile import ShareEntry
from participant.store import AccountExists, AuditRecord, NewAux, NewShare, Origin, Store, StoreError
from tss.errors import ProtocolError


class Shares:
    """Import and export. Blocking: for worker threads."""

    def __init__(self, store: Store, records: Records, views: Views) -> None:
        self._store = store
        self._records = records
        self._views = views

    def import_entries(
        self, entries: Iterable[ShareEntry], committee: Committee, identity: bytes
    ) -> tuple[ImportedShare, ...]:
        """See NodeApi.import_share."""
        return tuple(self._import(entry, committee, identity) for entry in entries)

    def _import(self, entry: ShareEntry, committee: Committee, identity: bytes) -> ImportedShare:
        account_id = entry.account_id
        try:
            entry.check_place(committee, identity)
            self._add(entry, committee)
        except AccountExists:
            text = "exists already on this node, whose own share stays as it is"
            known = self._view(account_id)
            if known is not None and known.public_key not in (b"", entry.share.X.to_bytes()):
                text += "; THE FILE HOLDS A SHARE OF ANOTHER KEY"
            return ImportedShare(account_id, imported=False, text=text, account=known)
        except (ShareFileError, StoreError) as error:
            return ImportedShare(account_id, imported=False, text=str(error), account=None)
        view = self._view(account_id)
        ready = view is not None and view.status is not AccountStatus.NEEDS_AUX
        text = "imported" if ready else "imported; run aux with the whole committee before it can sign"
        return ImportedShare(account_id, imported=True, text=text, account=view)

    def _add(self, entry: ShareEntry, committee: Committee) -> None:
        accounts = self._store.accounts
        with self._store.transaction():
            if accounts.has_account(entry.account_id):
                raise AccountExists(entry.account_id)
            accounts.put_committee(committee)
            accounts.add(NewShare.of(entry.account_id, entry.share), committee.committee_id, Origin.IMPORT)
            fresh = accounts.current_aux_id(committee.committee_id) is None
            if entry.aux is not None and fresh:
                accounts.put_aux(committee.committee_id, NewAux.of(entry.aux, (entry.account_id,)))
            record = AuditRecord("import", "operator", "imported", account=entry.account_id)
            self._store.audit.append(record)

    def _view(self, account_id: str) -> AccountView | None:
        return self._views.one(account_id) if self._store.accounts.has_account(account_id) else None

    def export(self, account_ids: Sequence[str]) -> tuple[ShareEntry, ...]:
        """See NodeApi.export_shares."""
        names = account_ids or [record.account_id for record in self._store.accounts.accounts()]
        try:
            entries = tuple(self._entry(account_id) for account_id in names)
            for account_id in names:
                self._store.audit.append(AuditRecord("export", "operator", "exported", account=account_id))
        except (StoreError, ProtocolError) as error:
            raise failure_of(error) from None
        return entries

    def _entry(self, account_id: str) -> ShareEntry:
        account = self._records.account(account_id)
        aux_id = account.record.aux_id
        aux = None if aux_id is None else self._records.aux(aux_id, account.suite)
        return ShareEntry(account_id, account.share, aux, foreign=False)
