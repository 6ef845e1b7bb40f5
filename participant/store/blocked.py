"""Signer sets in which somebody cheated and it is not known yet who (protocol.md 4.2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from participant.store.errors import StoreConflict, StoreDamaged
from participant.store.vault import Vault
from tss.encoding import Integer, ListOf, decode, encode
from tss.errors import ProtocolError
from tss.params import MAX_SIGNERS

MAX_REASON: Final = 400
_POINTS: Final = ListOf(Integer(32), 2, MAX_SIGNERS)


@dataclass(frozen=True)
class BlockedSet:
    """One signer set that this node does not work in."""

    sid: bytes
    """The session in which the presigning outputs did not fit together."""
    committee_id: bytes
    signers: tuple[int, ...]
    """Evaluation points, ascending."""
    run: bytes = field(repr=False)
    """What the identification began with, encoded by whoever blocked the set; public."""
    reason: str
    blocked_at: int
    opened: tuple[int, ...]
    """Whose abort message is here."""

    @property
    def lacking(self) -> tuple[int, ...]:
        """Whose abort message is not here."""
        return tuple(point for point in self.signers if point not in self.opened)


class BlockedSets:
    """Durable blocks. Those that were lifted stay in the store as history."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._db = vault.database

    def block(
        self, sid: bytes, committee_id: bytes, signers: tuple[int, ...], run: bytes, reason: str
    ) -> None:
        """Block a set, before this node's part in the identification is sent. Once a session."""
        values = (sid, committee_id, encode(sorted(signers)), run, reason[:MAX_REASON], self._vault.now())
        with self._vault.transaction():
            sql = "INSERT INTO blocked_set VALUES (?, ?, ?, ?, ?, ?, NULL, NULL)"
            self._db.execute(sql, values)

    def entries(self, committee_id: bytes | None = None) -> list[BlockedSet]:
        """The blocks in force, oldest first."""
        rows = self._db.rows(
            """SELECT sid, committee_id, signers, run, reason, blocked_at FROM blocked_set
               WHERE lifted_at IS NULL AND committee_id = coalesce(?, committee_id) ORDER BY blocked_at, rowid""",
            (committee_id,),
        )
        return [
            BlockedSet(sid, committee, _points(signers), run, reason, at, tuple(self.openings(sid)))
            for sid, committee, signers, run, reason, at in rows
        ]

    def find(self, sid: bytes) -> BlockedSet | None:
        """The block of a session, if it is in force."""
        return next((entry for entry in self.entries() if entry.sid == sid), None)

    def signer_sets(self, committee_id: bytes) -> set[tuple[int, ...]]:
        """The sets that do not work together in this committee."""
        sql = "SELECT signers FROM blocked_set WHERE lifted_at IS NULL AND committee_id = ?"
        return {_points(signers) for (signers,) in self._db.rows(sql, (committee_id,))}

    def set_reason(self, sid: bytes, reason: str) -> None:
        """What has become known about a block since."""
        with self._vault.transaction():
            self._db.execute("UPDATE blocked_set SET reason = ? WHERE sid = ?", (reason[:MAX_REASON], sid))

    def lift(self, sid: bytes, by: str) -> None:
        """The set may work again. Raises StoreConflict when its session blocks nothing."""
        with self._vault.transaction():
            sql = "UPDATE blocked_set SET lifted_at = ?, lifted_by = ? WHERE sid = ? AND lifted_at IS NULL"
            if self._db.execute(sql, (self._vault.now(), by, sid)) != 1:
                raise StoreConflict(f"session {sid.hex()} blocks no signer set")

    # Abort messages

    def add_opening(self, sid: bytes, party: int, envelope: bytes) -> None:
        """Keep a signer's abort message; the first one stays."""
        with self._vault.transaction():
            self._db.execute("INSERT OR IGNORE INTO opening VALUES (?, ?, ?)", (sid, party, envelope))

    def openings(self, sid: bytes) -> dict[int, bytes]:
        """The abort messages that are here, by evaluation point."""
        sql = "SELECT party, envelope FROM opening WHERE sid = ? ORDER BY party"
        return dict(self._db.rows(sql, (sid,)))


def _points(encoded: bytes) -> tuple[int, ...]:
    try:
        return tuple(int(point) for point in decode(encoded, _POINTS))
    except ProtocolError as error:
        raise StoreDamaged(f"a blocked signer set is damaged: {error}") from None
