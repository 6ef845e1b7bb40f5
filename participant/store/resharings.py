"""Accounts that go to another committee (protocol.md 2.3): certificates, destroyed shares, the old holders' signed words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from participant.store.accounts import Accounts
from participant.store.errors import StoreDamaged
from participant.store.vault import Vault
from tss.encoding import Bytes, ListOf, decode, encode
from tss.envelope import MAX_ENVELOPE_BYTES
from tss.errors import ProtocolError
from tss.params import MAX_PARTIES

_ENVELOPES: Final = ListOf(Bytes(0, MAX_ENVELOPE_BYTES), 1, MAX_PARTIES)
_MOVED: Final = """SELECT key_id, account_id, committee_id, new_committee_id, request_id, share_epoch, moved_at
                   FROM moved_account"""


@dataclass(frozen=True)
class ReshareCertificate:
    """All new holders' done, byte for byte: with it the account is theirs."""

    request_id: bytes
    sid: bytes
    envelopes: tuple[bytes, ...]


@dataclass(frozen=True)
class MovedAccount:
    """A share that this node had, and destroyed."""

    key_id: bytes
    account_id: str
    committee_id: bytes
    """Of the committee that had the account."""
    new_committee_id: bytes
    request_id: bytes
    share_epoch: bytes
    moved_at: int = 0


class Resharings:
    """What is durable of them besides pending state."""

    def __init__(self, vault: Vault, accounts: Accounts) -> None:
        self._vault = vault
        self._db = vault.database
        self._accounts = accounts

    # Runs and certificates

    def began(self, sid: bytes, request_id: bytes) -> None:
        """This node takes part in a run for an approved request."""
        with self._vault.transaction():
            self._db.execute("INSERT OR IGNORE INTO reshare_run VALUES (?, ?)", (sid, request_id))

    def request_of(self, sid: bytes) -> bytes | None:
        """The request that a run is for."""
        found = self._db.first("SELECT request_id FROM reshare_run WHERE sid = ?", (sid,))
        return None if found is None else found[0]

    def runs(self, request_id: bytes) -> list[bytes]:
        """The runs for a request, oldest first."""
        sql = "SELECT sid FROM reshare_run WHERE request_id = ? ORDER BY rowid"
        return [row[0] for row in self._db.rows(sql, (request_id,))]

    def certify(self, request_id: bytes, sid: bytes, envelopes: tuple[bytes, ...]) -> None:
        """Keep a certificate, whose signatures the caller has checked; the first one stays."""
        with self._vault.transaction():
            values = (request_id, sid, encode(list(envelopes)), self._vault.now())
            self._db.execute("INSERT OR IGNORE INTO reshare_certificate VALUES (?, ?, ?, ?)", values)

    def certificate(self, request_id: bytes) -> ReshareCertificate | None:
        """Raises StoreDamaged."""
        sql = "SELECT sid, envelopes FROM reshare_certificate WHERE request_id = ?"
        found = self._db.first(sql, (request_id,))
        if found is None:
            return None
        try:
            return ReshareCertificate(request_id, found[0], tuple(decode(found[1], _ENVELOPES)))
        except ProtocolError as error:
            raise StoreDamaged(f"the certificate of request {request_id.hex()} is damaged: {error}") from None

    # Destroyed shares

    def destroy(self, moved: MovedAccount) -> bool:
        """Erase this node's share of a key, and remember where the account went; whether that is new.

        An account of the name whose key_id is another stays: it has come (back) already.
        """
        with self._vault.transaction():
            if self.moved(moved.key_id) is not None:
                return False
            if self._accounts.has_account(moved.account_id):
                record = self._accounts.account(moved.account_id)
                if record.key_id == moved.key_id:
                    self._accounts.erase(moved.account_id)
            self._db.execute(
                "INSERT INTO moved_account VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    *(moved.key_id, moved.account_id, moved.committee_id, moved.new_committee_id),
                    *(moved.request_id, moved.share_epoch, self._vault.now()),
                ),
            )
        return True

    def truncate_log(self) -> None:
        """Take what was erased out of SQLite's log, too. Not within a transaction."""
        self._db.truncate_log()

    def moved(self, key_id: bytes) -> MovedAccount | None:
        """The share of this key that was destroyed here."""
        found = self._db.first(f"{_MOVED} WHERE key_id = ?", (key_id,))
        return None if found is None else MovedAccount(*found)

    def moved_from(self, committee_id: bytes) -> list[MovedAccount]:
        """What a committee had and this node, a member of it, destroyed its shares of; oldest first."""
        rows = self._db.rows(f"{_MOVED} WHERE committee_id = ? ORDER BY moved_at, rowid", (committee_id,))
        return [MovedAccount(*row) for row in rows]

    # The old holders' words

    def add_word(self, key_id: bytes, party: int, word: bytes) -> bool:
        """Keep an old holder's signed word, which the caller has checked; whether it is the first of this holder."""
        with self._vault.transaction():
            sql = "INSERT OR IGNORE INTO destroyed_share VALUES (?, ?, ?)"
            return bool(self._db.execute(sql, (key_id, party, word)))

    def words(self, key_id: bytes) -> dict[int, bytes]:
        """By evaluation point in the old committee."""
        sql = "SELECT party, word FROM destroyed_share WHERE key_id = ? ORDER BY party"
        rows: list[tuple[Any, ...]] = list(self._db.rows(sql, (key_id,)))
        return dict(rows)
