"""Accounts of which a member lost its share, until all members have new ones (protocol.md 2.4).

The share that came back is kept sealed, apart from the accounts: it signs nothing, and goes when new shares come into force.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from participant.sealing import SealBroken
from participant.store.errors import StoreConflict, StoreDamaged
from participant.store.vault import SealedValue, Vault

COMPLETE: Final = "complete"
"""Outcome of an approval whose accounts all have new shares."""

_ROW: Final = """SELECT request_id, account_id, key_id, share_epoch, lost, sealed_share IS NOT NULL, settled_at IS NOT NULL
                 FROM recovery"""


@dataclass(frozen=True)
class Recovery:
    """One account of one approved request."""

    request_id: bytes
    account_id: str
    key_id: bytes
    share_epoch: bytes
    lost: int
    """The evaluation point whose share was lost."""
    is_back: bool = False
    """Whether this node is the one that lost it and has it again."""
    is_settled: bool = False
    """Whether all members have new shares."""


@dataclass(frozen=True)
class RecoveredShare:
    """A share that came back, for its record."""

    request_id: bytes
    account_id: str
    share: bytes = field(repr=False)
    """KeyShare.to_bytes()."""


class Recoveries:
    """What is durable of them besides pending state."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._db = vault.database

    def put(self, entries: Sequence[Recovery]) -> None:
        """Note what an approved request is about; what is there stays."""
        with self._vault.transaction():
            for entry in entries:
                values = (entry.request_id, entry.account_id, entry.key_id, entry.share_epoch, entry.lost)
                self._db.execute("INSERT OR IGNORE INTO recovery VALUES (?, ?, ?, ?, ?, NULL, NULL)", values)

    def entries(self, request_id: bytes) -> list[Recovery]:
        """The accounts of a request, by name."""
        rows = self._db.rows(f"{_ROW} WHERE request_id = ? ORDER BY account_id", (request_id,))
        return [_recovery(row) for row in rows]

    def lost_places(self, account_id: str, share_epoch: bytes) -> set[int]:
        """The evaluation points whose shares of this epoch somebody else may hold, or that are only just back."""
        sql = "SELECT lost FROM recovery WHERE account_id = ? AND share_epoch = ? AND settled_at IS NULL"
        return {row[0] for row in self._db.rows(sql, (account_id, share_epoch))}

    def put_share(self, new: RecoveredShare) -> None:
        """The share is back. Raises StoreConflict when nobody asked for it any more."""
        with self._vault.transaction():
            found = [e for e in self.entries(new.request_id) if e.account_id == new.account_id]
            if not found or found[0].is_settled:
                raise StoreConflict(f"the recovery of account {new.account_id!r} is over on this node")
            sealed = self._vault.sealer.seal(new.share, self._place(found[0]))
            sql = "UPDATE recovery SET sealed_share = ? WHERE request_id = ? AND account_id = ?"
            self._db.execute(sql, (sealed, new.request_id, new.account_id))

    def share(self, request_id: bytes, account_id: str) -> bytes | None:
        """The KeyShare bytes that came back; None while they have not. Raises StoreDamaged."""
        found = next((e for e in self.entries(request_id) if e.account_id == account_id), None)
        if found is None or not found.is_back:
            return None
        sql = "SELECT sealed_share FROM recovery WHERE request_id = ? AND account_id = ?"
        (sealed,) = self._db.row(sql, (request_id, account_id))
        try:
            return self._vault.sealer.unseal(sealed, self._place(found))
        except SealBroken as error:
            raise StoreDamaged(f"the recovered share of account {account_id!r} is damaged: {error}") from None

    def check(self) -> None:
        """Open every share that came back. Raises StoreDamaged."""
        for row in self._db.rows(
            "SELECT request_id, account_id FROM recovery WHERE sealed_share IS NOT NULL"
        ):
            self.share(*row)

    def is_back(self, account_id: str, key_id: bytes) -> bool:
        """Whether this node lost its share of the account and has it again."""
        sql = """SELECT 1 FROM recovery WHERE account_id = ? AND key_id = ? AND sealed_share IS NOT NULL
                 AND settled_at IS NULL"""
        return self._db.first(sql, (account_id, key_id)) is not None

    def settle(self, account_id: str, key_id: bytes) -> None:
        """New shares of all members are in force. A request all of whose accounts are settled is complete."""
        sql = "SELECT request_id FROM recovery WHERE account_id = ? AND key_id = ? AND settled_at IS NULL"
        found = [row[0] for row in self._db.rows(sql, (account_id, key_id))]
        now = self._vault.now()
        with self._vault.transaction():
            for request_id in found:
                sql = """UPDATE recovery SET settled_at = ?, sealed_share = NULL
                         WHERE request_id = ? AND account_id = ?"""
                self._db.execute(sql, (now, request_id, account_id))
                if all(entry.is_settled for entry in self.entries(request_id)):
                    sql = """UPDATE approval SET ended_at = ?, outcome = ?
                             WHERE request_id = ? AND ended_at IS NULL"""
                    self._db.execute(sql, (now, COMPLETE, request_id))

    def forget(self, request_id: bytes) -> None:
        """The request was withdrawn: a share that came back goes."""
        with self._vault.transaction():
            sql = "DELETE FROM recovery WHERE request_id = ? AND settled_at IS NULL"
            self._db.execute(sql, (request_id,))

    def sealed(self) -> Iterator[SealedValue]:
        """Every sealed value."""
        sql = f"{_ROW.replace('SELECT', 'SELECT rowid,', 1)} WHERE sealed_share IS NOT NULL"
        for rowid, *row in self._db.rows(sql):
            yield SealedValue("recovery", "sealed_share", rowid, self._place(_recovery(row)))

    def _place(self, entry: Recovery) -> bytes:
        return self._vault.place(
            *("recovery", "sealed_share", [entry.request_id, entry.key_id]),
            account=entry.account_id,
            epoch=entry.share_epoch,
            party=entry.lost,
        )


def _recovery(row: Sequence[Any]) -> Recovery:
    request_id, account_id, key_id, share_epoch, lost, is_back, is_settled = row
    return Recovery(
        request_id, account_id, key_id, share_epoch, lost, is_back=bool(is_back), is_settled=bool(is_settled)
    )
