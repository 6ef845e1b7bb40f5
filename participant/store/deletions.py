"""Accounts that are deleted: decided, waited for, erased. What stays is who approved, and that the id is taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from participant.store.accounts import Accounts
from participant.store.errors import StoreConflict, StoreDamaged
from participant.store.vault import Vault
from tss.encoding import Bytes, ListOf, decode, encode
from tss.errors import ProtocolError
from tss.params import MAX_PARTIES

_APPROVALS: Final = ListOf(Bytes(0, 4096), 0, MAX_PARTIES)
_ROW: Final = (
    "SELECT account_id, key_id, committee_id, approvals, decided_at, erase_at, erased_at FROM deletion"
)


@dataclass(frozen=True)
class Deletion:
    """One account's. Times are milliseconds since 1970."""

    account_id: str
    key_id: bytes
    committee_id: bytes
    approvals: tuple[bytes, ...]
    decided_at: int
    erase_at: int
    erased_at: int | None


class Deletions:
    """Decisions to delete."""

    def __init__(self, vault: Vault, accounts: Accounts) -> None:
        self._vault = vault
        self._db = vault.database
        self._accounts = accounts

    def decide(self, account_id: str, approvals: tuple[bytes, ...], grace: int) -> Deletion:
        """From now on the account signs no more, and after `grace` milliseconds `erase_due` erases it.

        Raises KeyShareNotFound; StoreConflict when it was decided before: the time of grace is not shortened.
        """
        with self._vault.transaction():
            record, now = self._accounts.account(account_id), self._vault.now()
            if self.get(account_id) is not None:
                raise StoreConflict(f"account {account_id!r} is being deleted already")
            values = (
                account_id,
                record.key_id,
                record.committee_id,
                encode(list(approvals)),
                now,
                now + grace,
            )
            self._db.execute("INSERT INTO deletion VALUES (?, ?, ?, ?, ?, ?, NULL)", values)
        return next(entry for entry in self.entries() if entry.account_id == account_id)

    def cancel(self, account_id: str) -> None:
        """Call it off. Raises StoreConflict when nothing was decided, or all is erased."""
        with self._vault.transaction():
            sql = "DELETE FROM deletion WHERE account_id = ? AND erased_at IS NULL"
            if not self._db.execute(sql, (account_id,)):
                raise StoreConflict(f"account {account_id!r} is not being deleted")

    def get(self, account_id: str) -> Deletion | None:
        """The decision on an account."""
        found = self._db.first(f"{_ROW} WHERE account_id = ?", (account_id,))
        return None if found is None else _deletion(found)

    def entries(self) -> list[Deletion]:
        """All, the oldest first, those that are done included."""
        return [_deletion(row) for row in self._db.rows(f"{_ROW} ORDER BY decided_at, rowid")]

    def erase_due(self) -> list[Deletion]:
        """Erase the accounts whose time of grace is over, durably and out of SQLite's log too; which ones.

        One that a run has pending state for waits until that is settled: it holds secrets of the account.
        """
        erased = []
        for entry in self.entries():
            if (
                entry.erased_at is None
                and entry.erase_at <= self._vault.now()
                and not self.held_up(entry.account_id)
            ):
                with self._vault.transaction():
                    self._accounts.erase(entry.account_id)
                    sql = "UPDATE deletion SET erased_at = ? WHERE account_id = ?"
                    self._db.execute(sql, (self._vault.now(), entry.account_id))
                erased.append(entry)
        if erased:
            self._db.truncate_log()
        return erased

    def held_up(self, account_id: str) -> bool:
        """Whether pending state of the account keeps it from being erased."""
        return self._db.first("SELECT 1 FROM pending_account WHERE account_id = ?", (account_id,)) is not None


def _deletion(row: tuple[Any, ...]) -> Deletion:
    account_id, key_id, committee_id, approvals, *times = row
    try:
        decoded = tuple(decode(approvals, _APPROVALS))
    except ProtocolError as error:
        raise StoreDamaged(f"the decision to delete account {account_id!r} is damaged: {error}") from None
    return Deletion(account_id, key_id, committee_id, decoded, *times)
