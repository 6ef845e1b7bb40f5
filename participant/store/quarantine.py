"""Peers that this node does not work with until an operator clears them (security.md D8), and evidence against them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from participant.store.errors import StoreConflict
from participant.store.vault import Vault


@dataclass(frozen=True)
class QuarantineEntry:
    """One mark on a peer. `aux_id` None means that it holds for the whole committee."""

    number: int
    peer: bytes
    """Identity key, 32 bytes."""
    committee_id: bytes
    aux_id: bytes | None
    reason: str
    evidence_id: bytes | None
    added_at: int


class Quarantine:
    """Durable marks. Cleared ones stay in the store as history."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._db = vault.database

    def add(
        self,
        peer: bytes,
        committee_id: bytes,
        reason: str,
        *,
        aux_id: bytes | None = None,
        evidence: bytes | None = None,
    ) -> QuarantineEntry:
        """Mark a peer, with the evidence if there is any."""
        now = self._vault.now()
        with self._vault.transaction():
            evidence_id = None if evidence is None else self.put_evidence(evidence)
            self._db.execute(
                """INSERT INTO quarantine (peer, committee_id, aux_id, reason, evidence_id, added_at)
                   VALUES (?, ?, ?, ?, ?, ?)""",
                (peer, committee_id, aux_id, reason, evidence_id, now),
            )
            (number,) = self._db.row("SELECT last_insert_rowid()")
        return QuarantineEntry(number, peer, committee_id, aux_id, reason, evidence_id, now)

    def entries(self, committee_id: bytes | None = None) -> list[QuarantineEntry]:
        """The marks in force, oldest first."""
        rows = self._db.rows(
            """SELECT number, peer, committee_id, aux_id, reason, evidence_id, added_at FROM quarantine
               WHERE cleared_at IS NULL AND committee_id = coalesce(?, committee_id) ORDER BY number""",
            (committee_id,),
        )
        return [QuarantineEntry(*row) for row in rows]

    def peers(self, committee_id: bytes, aux_id: bytes | None) -> set[bytes]:
        """Identities that are not to be worked with in this committee under this aux set."""
        return {
            entry.peer
            for entry in self.entries(committee_id)
            if entry.aux_id is None or entry.aux_id == aux_id
        }

    def clear(self, number: int, by: str) -> None:
        """Lift one mark on an operator's word. Raises StoreConflict when there is none of this number in force."""
        with self._vault.transaction():
            sql = (
                "UPDATE quarantine SET cleared_at = ?, cleared_by = ? WHERE number = ? AND cleared_at IS NULL"
            )
            if self._db.execute(sql, (self._vault.now(), by, number)) != 1:
                raise StoreConflict(f"there is no quarantine entry {number} in force")

    def put_evidence(self, blob: bytes) -> bytes:
        """Keep evidence; its id is its SHA-256."""
        evidence_id = hashlib.sha256(blob).digest()
        with self._vault.transaction():
            values = (evidence_id, blob, self._vault.now())
            self._db.execute("INSERT OR IGNORE INTO evidence VALUES (?, ?, ?)", values)
        return evidence_id

    def evidence(self, evidence_id: bytes) -> bytes | None:
        """The blob of an evidence id."""
        found = self._db.first("SELECT blob FROM evidence WHERE evidence_id = ?", (evidence_id,))
        return None if found is None else found[0]

    def evidence_ids(self) -> list[bytes]:
        """All evidence, oldest first."""
        return [row[0] for row in self._db.rows("SELECT evidence_id FROM evidence ORDER BY added_at, rowid")]
