"""What this node's operator approved: the requests for operations that no machine accepts because a peer asks for them.

Resharing and recovery (protocol.md 2.3, 2.4) move shares to other hands. A node takes part only in what its own operator
approved, and knows the particulars from that alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from participant.store.errors import StoreConflict
from participant.store.vault import Vault

WITHDRAWN: Final = "withdrawn"
"""Outcome of an approval that the operator took back."""

_ROW: Final = "SELECT request_id, kind, account_id, request, approved_at, ended_at, outcome FROM approval"


@dataclass(frozen=True)
class Approval:
    """One request, as it was approved. Times are milliseconds since 1970."""

    request_id: bytes
    """32 bytes, a hash of all that is asked for."""
    kind: str
    """Of the session: "reshare", "recover"."""
    account_id: str
    request: bytes
    """The text that was approved."""
    approved_at: int
    ended_at: int | None
    outcome: str | None

    @property
    def is_open(self) -> bool:
        """Whether this node may still take part."""
        return self.ended_at is None


class Approvals:
    """The operator's own."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._db = vault.database

    def put(self, request_id: bytes, kind: str, account_id: str, request: bytes) -> Approval:
        """Approve; again after it was withdrawn. One that is there already stays as it is."""
        with self._vault.transaction():
            values = (request_id, kind, account_id, request, self._vault.now())
            self._db.execute("INSERT OR IGNORE INTO approval VALUES (?, ?, ?, ?, ?, NULL, NULL)", values)
            sql = """UPDATE approval SET ended_at = NULL, outcome = NULL, approved_at = ?
                     WHERE request_id = ? AND outcome = ?"""
            self._db.execute(sql, (self._vault.now(), request_id, WITHDRAWN))
        approval = self.get(request_id)
        if approval is None:  # pragma: no cover - it was just written
            raise StoreConflict("the approval is not there")
        return approval

    def get(self, request_id: bytes) -> Approval | None:
        """One approval, ended or not."""
        found = self._db.first(f"{_ROW} WHERE request_id = ?", (request_id,))
        return None if found is None else _approval(found)

    def entries(self, kind: str | None = None, *, ended: bool = True) -> list[Approval]:
        """All, or those of one kind, the oldest first."""
        rows = map(_approval, self._db.rows(f"{_ROW} ORDER BY approved_at, rowid"))
        return [entry for entry in rows if kind in (None, entry.kind) and (ended or entry.is_open)]

    def end(self, request_id: bytes, outcome: str) -> None:
        """What was approved is done, or withdrawn. Raises StoreConflict when it is not open."""
        with self._vault.transaction():
            sql = "UPDATE approval SET ended_at = ?, outcome = ? WHERE request_id = ? AND ended_at IS NULL"
            if not self._db.execute(sql, (self._vault.now(), outcome, request_id)):
                raise StoreConflict(f"no request {request_id.hex()} is approved and open on this node")


def _approval(row: tuple[Any, ...]) -> Approval:
    return Approval(*row)
