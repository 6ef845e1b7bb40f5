"""Committees, accounts, their shares and aux sets.

An account points to a pair: the epoch of its share and an aux set, which many accounts of a committee may use
(protocol.md 2.1). A share that a newer epoch replaced stays, marked, until `erase_superseded`; an aux set goes when
nothing points to it any more. What a plain column says about a share is part of the share's associated data, so a
changed or exchanged row does not open, and only that account stops working.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, Self

from participant.committee import BadCommittee, Committee
from participant.sealing import SealBroken
from participant.store.errors import (
    AccountExists,
    AuxSetNotFound,
    CommitteeUnknown,
    KeyShareNotFound,
    StoreConflict,
    StoreDamaged,
)
from participant.store.vault import SealedValue, Vault
from tss.encoding import Value
from tss.errors import ShareCorrupt
from tss.records import AuxSet, KeyShare

MAX_ACCOUNT_ID: Final = 512
"""Bytes of UTF-8."""


class AccountState(StrEnum):
    """Whether an account may sign."""

    ACTIVE = "active"
    FROZEN = "frozen"
    DELETING = "deleting"
    """Its secrets are erased after a time of grace."""
    RESTORED = "restored"
    """Its share came from a backup, of which others may hold copies: a refresh makes it active."""
    TOO_OLD = "too-old"
    """Its share is older than this node's settings allow: a refresh makes it active."""


WITHOUT_AUX: Final = frozenset({"ed25519"})
"""Curves whose accounts sign without auxiliary data."""


class Origin(StrEnum):
    """Where an account came from."""

    KEYGEN = "keygen"
    IMPORT = "import"


@dataclass(frozen=True)
class AccountRecord:
    """What is stored in plain about an account."""

    account_id: str
    """Free text; never parsed, never a path."""
    key_id: bytes
    committee_id: bytes
    curve: str
    threshold: int
    party: int
    """This node's evaluation point."""
    public_key: bytes
    share_epoch: bytes
    aux_id: bytes | None
    """None until the committee has made auxiliary data (an imported share): the account cannot sign yet."""
    state: AccountState
    origin: Origin
    created_at: int
    """Milliseconds since 1970, like every time in the store."""
    last_signed_at: int | None
    activated_at: int
    """When the share came into force here."""

    @property
    def lacks_aux(self) -> bool:
        """Whether it cannot sign before its committee has made auxiliary data."""
        return self.aux_id is None and self.curve not in WITHOUT_AUX


@dataclass(frozen=True)
class NewShare:
    """A share that is about to be stored, with what its record needs in plain."""

    account_id: str
    key_id: bytes
    share_epoch: bytes
    curve: str
    threshold: int
    party: int
    public_key: bytes
    chain_code: bytes = field(repr=False)
    share: bytes = field(repr=False)
    """KeyShare.to_bytes()."""

    @classmethod
    def of(cls, account_id: str, share: KeyShare) -> Self:
        """For a key share of the protocols."""
        return cls(
            account_id=account_id,
            key_id=share.key_id,
            share_epoch=share.share_epoch,
            curve=share.suite.group.name,
            threshold=share.t,
            party=share.me,
            public_key=share.X.to_bytes(),
            chain_code=share.chain_code,
            share=share.to_bytes(),
        )


@dataclass(frozen=True)
class NewAux:
    """An aux set that is about to be stored. `accounts` move to it, whatever they used before."""

    aux_id: bytes
    party: int
    aux: bytes = field(repr=False)
    """AuxSet.to_bytes()."""
    accounts: tuple[str, ...] = ()

    @classmethod
    def of(cls, aux: AuxSet, accounts: tuple[str, ...] = ()) -> Self:
        """For an aux set of the protocols."""
        return cls(aux_id=aux.aux_id, party=aux.me, aux=aux.to_bytes(), accounts=accounts)


@dataclass(frozen=True)
class StoredShare:
    """One epoch's share of an account."""

    share_epoch: bytes
    aux_id: bytes | None
    superseded: bool
    share: bytes = field(repr=False)


_RECORD: Final = """
    SELECT a.account_id, a.key_id, a.committee_id, a.curve, a.threshold, a.party, a.public_key, a.share_epoch,
           s.aux_id, a.state, a.origin, a.created_at, a.last_signed_at, s.activated_at,
           EXISTS (SELECT 1 FROM deletion AS d WHERE d.account_id = a.account_id),
           EXISTS (SELECT 1 FROM restored_share AS r
                   WHERE r.account_id = a.account_id AND r.share_epoch = a.share_epoch)
    FROM account AS a JOIN share AS s ON s.account_id = a.account_id AND s.share_epoch = a.share_epoch
"""


def check_account_id(account_id: str) -> None:
    """Raise StoreConflict for a text that cannot name an account: empty, too long, or not Unicode text."""
    try:
        size = len(account_id.encode())
    except UnicodeEncodeError:
        size = 0
    if not 1 <= size <= MAX_ACCOUNT_ID or "\x00" in account_id:
        raise StoreConflict(f"an account id is a text of 1 to {MAX_ACCOUNT_ID} bytes without NUL")


class Accounts:
    """Reads and writes of committees, accounts, shares and aux sets."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._db = vault.database
        self.max_share_age: int | None = None
        """Milliseconds after which a share is too old to sign with; None = never."""

    # Committees

    def put_committee(self, committee: Committee) -> None:
        """Remember a committee; one that is known stays as it is."""
        values = (committee.committee_id, committee.to_yaml(), self._vault.now())
        with self._vault.transaction():
            self._db.execute("INSERT OR IGNORE INTO committee VALUES (?, ?, ?, NULL)", values)

    def committee(self, committee_id: bytes) -> Committee:
        """Raises CommitteeUnknown, StoreDamaged."""
        found = self._db.first("SELECT description FROM committee WHERE committee_id = ?", (committee_id,))
        if found is None:
            raise CommitteeUnknown(f"committee {committee_id.hex()} is not known to this node")
        return _committee(committee_id, found[0])

    def committees(self) -> list[Committee]:
        """All, in the order in which they came."""
        rows = self._db.rows("SELECT committee_id, description FROM committee ORDER BY added_at, rowid")
        return [_committee(*row) for row in rows]

    # Accounts

    def account(self, account_id: str) -> AccountRecord:
        """Raises KeyShareNotFound."""
        found = self._db.first(_RECORD + "WHERE a.account_id = ?", (account_id,))
        if found is None:
            if (moved_to := self._moved_to(account_id)) is not None:
                raise KeyShareNotFound(
                    f"Key share not found: account {account_id!r} went to committee {moved_to.hex()}, and this node's share "
                    "of it is destroyed"
                )
            if self._was_deleted(account_id):
                raise KeyShareNotFound(
                    f"Key share not found: account {account_id!r} was deleted on this node"
                )
            raise KeyShareNotFound(
                f"Key share not found: this node has no account {account_id!r}. List its accounts, create the account, "
                "or import its share file"
            )
        return self._record(found)

    def accounts(self, committee_id: bytes | None = None) -> list[AccountRecord]:
        """All accounts, or those of one committee, in the order in which they came."""
        if committee_id is None:
            return [self._record(row) for row in self._db.rows(_RECORD + "ORDER BY a.rowid")]
        rows = self._db.rows(_RECORD + "WHERE a.committee_id = ? ORDER BY a.rowid", (committee_id,))
        return [self._record(row) for row in rows]

    def _record(self, row: tuple[Any, ...]) -> AccountRecord:
        *plain, deleting, restored = row
        try:
            plain[9], plain[10] = AccountState(plain[9]), Origin(plain[10])
        except ValueError as error:
            raise StoreDamaged(f"the record of account {row[0]!r} is damaged: {error}") from None
        record = AccountRecord(*plain)
        age = self._vault.now() - record.activated_at
        if deleting:
            state = AccountState.DELETING
        elif record.state is not AccountState.ACTIVE:
            state = record.state
        elif restored:
            state = AccountState.RESTORED
        else:
            too_old = self.max_share_age is not None and age >= self.max_share_age
            state = AccountState.TOO_OLD if too_old else AccountState.ACTIVE
        return replace(record, state=state)

    def _moved_to(self, account_id: str) -> bytes | None:
        sql = "SELECT new_committee_id FROM moved_account WHERE account_id = ? ORDER BY moved_at DESC LIMIT 1"
        found = self._db.first(sql, (account_id,))
        return None if found is None else found[0]

    def _was_deleted(self, account_id: str) -> bool:
        return self._db.first("SELECT 1 FROM deletion WHERE account_id = ?", (account_id,)) is not None

    def ids(self) -> list[str]:
        """The ids of all accounts."""
        return [row[0] for row in self._db.rows("SELECT account_id FROM account")]

    def has_account(self, account_id: str) -> bool:
        """Whether the account id is taken."""
        return self._db.first("SELECT 1 FROM account WHERE account_id = ?", (account_id,)) is not None

    def has_current_share(self, account_id: str) -> bool:
        """Whether the share of the account's epoch is there, as it always should be."""
        return self._db.first(_RECORD + "WHERE a.account_id = ?", (account_id,)) is not None

    def of_old_shares(self, committee_id: bytes, before: int) -> list[str]:
        """The committee's accounts whose share is in force since `before` or longer, oldest first."""
        sql = """SELECT a.account_id FROM account AS a JOIN share AS s
                 ON s.account_id = a.account_id AND s.share_epoch = a.share_epoch
                 WHERE a.committee_id = ? AND s.activated_at <= ? ORDER BY s.activated_at, a.rowid"""
        return [row[0] for row in self._db.rows(sql, (committee_id, before))]

    def set_state(self, account_id: str, state: AccountState) -> None:
        """Freeze or unfreeze. Raises KeyShareNotFound."""
        with self._vault.transaction():
            self.account(account_id)
            self._db.execute("UPDATE account SET state = ? WHERE account_id = ?", (str(state), account_id))

    def add(
        self, share: NewShare, committee_id: bytes, origin: Origin, *, aux_id: bytes | None = None
    ) -> None:
        """A new account, which points to `aux_id`, or else to the committee's current aux set if there is one.

        Raises AccountExists.
        """
        check_account_id(share.account_id)
        vault, now = self._vault, self._vault.now()
        with vault.transaction():
            if self.has_account(share.account_id):
                raise AccountExists(f"account {share.account_id!r} exists already on this node")
            if self._was_deleted(share.account_id):
                raise AccountExists(
                    f"an account {share.account_id!r} was deleted on this node; its id is not used again"
                )
            self.committee(committee_id)
            place = self._place_of_chain_code(share.account_id, share.key_id, share.public_key)
            sealed_chain_code = vault.sealer.seal(share.chain_code, place)
            self._db.execute(
                "INSERT INTO account VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'active', ?, ?, NULL)",
                (
                    *(
                        share.account_id,
                        share.key_id,
                        committee_id,
                        share.curve,
                        share.threshold,
                        share.party,
                    ),
                    *(share.public_key, sealed_chain_code, share.share_epoch, str(origin), now),
                ),
            )
            if aux_id is None and share.curve not in WITHOUT_AUX:
                aux_id = self.current_aux_id(committee_id)
            self._insert_share(share, committee_id, aux_id)

    def move(self, share: NewShare, committee_id: bytes) -> None:
        """An account goes to another committee of this node, which destroys its shares from before.

        Raises StoreConflict when the public key is another one.
        """
        with self._vault.transaction():
            old = self.account(share.account_id)
            if (old.public_key, old.curve) != (share.public_key, share.curve):
                raise StoreConflict(f"the new share of account {share.account_id!r} belongs to another key")
            sql = "SELECT state, origin, created_at, last_signed_at FROM account WHERE account_id = ?"
            kept = self._db.row(sql, (share.account_id,))
            self.erase(share.account_id)
            self.add(share, committee_id, Origin.KEYGEN)
            sql = """UPDATE account SET state = ?, origin = ?, created_at = ?, last_signed_at = ?
                     WHERE account_id = ?"""
            self._db.execute(sql, (*kept, share.account_id))

    def replace_share(self, share: NewShare, committee_id: bytes | None = None) -> None:
        """A new epoch of an account whose key stays; the share before it is marked superseded.

        `committee_id`: of the committee that made it, when that is another one with the same places. Raises StoreConflict when
        the key is another one.
        """
        with self._vault.transaction():
            old = self.account(share.account_id)
            if (old.key_id, old.public_key, old.curve) != (share.key_id, share.public_key, share.curve):
                raise StoreConflict(f"the new share of account {share.account_id!r} belongs to another key")
            if (old.threshold, old.party) != (share.threshold, share.party):
                raise StoreConflict(
                    f"the new share of account {share.account_id!r} has another threshold or place"
                )
            # An account that never signs keeps one former share, and not all of them.
            self.erase_superseded(share.account_id)
            if committee_id not in (None, old.committee_id):
                self._take_along(old, committee_id)
            self._insert_share(share, committee_id or old.committee_id, old.aux_id)
            self._db.execute(
                "UPDATE share SET superseded_at = ? WHERE account_id = ? AND share_epoch = ?",
                (self._vault.now(), share.account_id, old.share_epoch),
            )
            self._db.execute(
                "UPDATE account SET share_epoch = ? WHERE account_id = ?",
                (share.share_epoch, share.account_id),
            )

    def _take_along(self, record: AccountRecord, committee_id: bytes) -> None:
        """The account and its present share to another committee; one that nothing is left in needs no aux set any more."""
        share = self.share(record.account_id)
        self._db.execute("DELETE FROM share WHERE account_id = ?", (record.account_id,))
        self._db.execute(
            "UPDATE account SET committee_id = ? WHERE account_id = ?", (committee_id, record.account_id)
        )
        place = self._place_of_share(
            *(record.account_id, record.share_epoch, record.party, record.key_id, committee_id),
            *(record.curve, record.threshold, record.public_key),
        )
        sealed = self._vault.sealer.seal(share, place)
        values = (record.account_id, record.share_epoch, record.party, record.aux_id, sealed)
        self._db.execute("INSERT INTO share VALUES (?, ?, ?, ?, ?, ?, NULL)", (*values, record.activated_at))
        if not self.accounts(record.committee_id):
            sql = "UPDATE committee SET current_aux_id = NULL WHERE committee_id = ?"
            self._db.execute(sql, (record.committee_id,))

    def _insert_share(self, share: NewShare, committee_id: bytes, aux_id: bytes | None) -> None:
        place = self._place_of_share(
            *(share.account_id, share.share_epoch, share.party, share.key_id, committee_id),
            *(share.curve, share.threshold, share.public_key),
        )
        sealed = self._vault.sealer.seal(share.share, place)
        values = (share.account_id, share.share_epoch, share.party, aux_id, sealed, self._vault.now())
        self._db.execute("INSERT INTO share VALUES (?, ?, ?, ?, ?, ?, NULL)", values)

    def share(self, account_id: str, share_epoch: bytes | None = None) -> bytes:
        """The account's KeyShare bytes, of its current epoch unless another is named.

        Raises KeyShareNotFound; ShareCorrupt when the stored share or its record was changed.
        """
        record = self.account(account_id)
        epoch = record.share_epoch if share_epoch is None else share_epoch
        sql = "SELECT sealed_share FROM share WHERE account_id = ? AND share_epoch = ?"
        found = self._db.first(sql, (account_id, epoch))
        if found is None:
            raise KeyShareNotFound(
                f"Key share not found: account {account_id!r} has no share of epoch {epoch.hex()}"
            )
        return self._open_share(record, epoch, found[0])

    def shares(self, account_id: str) -> list[StoredShare]:
        """Every epoch's share that is still there, oldest first. Raises KeyShareNotFound, ShareCorrupt."""
        record = self.account(account_id)
        sql = """SELECT share_epoch, aux_id, superseded_at, sealed_share FROM share
                 WHERE account_id = ? ORDER BY activated_at, rowid"""
        return [
            StoredShare(epoch, aux_id, superseded_at is not None, self._open_share(record, epoch, sealed))
            for epoch, aux_id, superseded_at, sealed in self._db.rows(sql, (account_id,))
        ]

    def erase_superseded(self, account_id: str, share_epoch: bytes | None = None) -> int:
        """Erase the shares of former epochs, after t parties signed in the new one (protocol.md 0.8); their number.

        With `share_epoch`, only when that is the account's epoch.
        """
        sql = "SELECT 1 FROM share WHERE account_id = ? AND superseded_at IS NOT NULL"
        if self._db.first(sql, (account_id,)) is None:
            return 0
        with self._vault.transaction():
            if share_epoch not in (None, self.account(account_id).share_epoch):
                return 0
            sql = "DELETE FROM share WHERE account_id = ? AND superseded_at IS NOT NULL"
            erased = self._db.execute(sql, (account_id,))
            self.drop_unused_aux()
        return erased

    def chain_code(self, account_id: str) -> bytes:
        """32 bytes, not public. Raises KeyShareNotFound, ShareCorrupt."""
        record = self.account(account_id)
        (sealed,) = self._db.row("SELECT sealed_chain_code FROM account WHERE account_id = ?", (account_id,))
        place = self._place_of_chain_code(account_id, record.key_id, record.public_key)
        return self._open(sealed, place, f"the chain code of account {account_id!r}")

    def mark_restored(self, account_id: str) -> None:
        """Note that the share of the account's epoch came from a backup. Raises KeyShareNotFound."""
        with self._vault.transaction():
            values = (account_id, self.account(account_id).share_epoch, self._vault.now())
            self._db.execute("INSERT OR REPLACE INTO restored_share VALUES (?, ?, ?)", values)

    def erase(self, account_id: str) -> None:
        """Erase all secrets of an account, and what is known of it besides its deletion."""
        with self._vault.transaction():
            self._db.execute("DELETE FROM share WHERE account_id = ?", (account_id,))
            self._db.execute("DELETE FROM account WHERE account_id = ?", (account_id,))
            self.drop_unused_aux()

    def mark_signed(self, account_id: str) -> None:
        """Note that the account signed now."""
        with self._vault.transaction():
            sql = "UPDATE account SET last_signed_at = ? WHERE account_id = ?"
            self._db.execute(sql, (self._vault.now(), account_id))

    # Aux sets

    def put_aux(self, committee_id: bytes, new: NewAux) -> None:
        """Make `new` the committee's current aux set.

        The accounts that it names move to it, and with them those of the committee that had none. Sets that nothing
        points to any more are destroyed.
        """
        vault = self._vault
        with vault.transaction():
            self.committee(committee_id)
            place = self._place_of_aux(new.aux_id, committee_id, new.party)
            values = (new.aux_id, committee_id, new.party, vault.sealer.seal(new.aux, place), vault.now())
            self._db.execute("INSERT INTO aux_set VALUES (?, ?, ?, ?, ?)", values)
            self._db.execute(
                "UPDATE committee SET current_aux_id = ? WHERE committee_id = ?", (new.aux_id, committee_id)
            )
            for account_id in new.accounts:
                if self.account(account_id).committee_id != committee_id:
                    raise StoreConflict(
                        f"account {account_id!r} belongs to another committee than the aux set"
                    )
                self._db.execute(
                    "UPDATE share SET aux_id = ? WHERE account_id = ? AND superseded_at IS NULL",
                    (new.aux_id, account_id),
                )
            self._db.execute(
                """UPDATE share SET aux_id = ? WHERE aux_id IS NULL AND superseded_at IS NULL
                   AND account_id IN (SELECT account_id FROM account WHERE committee_id = ?)""",
                (new.aux_id, committee_id),
            )
            self.drop_unused_aux()

    def aux_set(self, aux_id: bytes) -> bytes:
        """AuxSet bytes. Raises AuxSetNotFound; ShareCorrupt when it was changed."""
        sql = "SELECT committee_id, party, sealed_set FROM aux_set WHERE aux_id = ?"
        found = self._db.first(sql, (aux_id,))
        if found is None:
            raise AuxSetNotFound(f"this node has no auxiliary data {aux_id.hex()}")
        committee_id, party, sealed = found
        return self._open(sealed, self._place_of_aux(aux_id, committee_id, party), f"aux set {aux_id.hex()}")

    def check_aux(self, aux_id: bytes) -> None:
        """Raise AuxSetNotFound unless it is there."""
        if self._db.first("SELECT 1 FROM aux_set WHERE aux_id = ?", (aux_id,)) is None:
            raise AuxSetNotFound(f"this node has no auxiliary data {aux_id.hex()}")

    def aux_ids(self) -> list[bytes]:
        """All aux sets that are there, oldest first."""
        return [row[0] for row in self._db.rows("SELECT aux_id FROM aux_set ORDER BY activated_at, rowid")]

    def current_aux_id(self, committee_id: bytes) -> bytes | None:
        """The aux set that new accounts of the committee use; None before its first aux run."""
        found = self._db.first("SELECT current_aux_id FROM committee WHERE committee_id = ?", (committee_id,))
        return None if found is None else found[0]

    def current_aux(self, committee_id: bytes) -> bytes | None:
        """AuxSet bytes of `current_aux_id`."""
        aux_id = self.current_aux_id(committee_id)
        return None if aux_id is None else self.aux_set(aux_id)

    def drop_unused_aux(self) -> None:
        """Destroy the sets that no share, committee or pending state points to."""
        self._db.execute(
            """DELETE FROM aux_set WHERE aux_id NOT IN (SELECT aux_id FROM share WHERE aux_id IS NOT NULL)
               AND aux_id NOT IN (SELECT aux_id FROM pending WHERE aux_id IS NOT NULL)
               AND aux_id NOT IN (SELECT current_aux_id FROM committee WHERE current_aux_id IS NOT NULL)"""
        )

    # Places

    def sealed(self) -> Iterator[SealedValue]:
        """Every sealed value of accounts, shares and aux sets."""
        sql = "SELECT rowid, account_id, key_id, public_key FROM account"
        for rowid, account_id, key_id, public_key in self._db.rows(sql):
            place = self._place_of_chain_code(account_id, key_id, public_key)
            yield SealedValue("account", "sealed_chain_code", rowid, place)
        sql = """SELECT s.rowid, a.account_id, s.share_epoch, a.party, a.key_id, a.committee_id, a.curve, a.threshold,
                 a.public_key FROM share AS s JOIN account AS a ON a.account_id = s.account_id"""
        for rowid, *fields in self._db.rows(sql):
            yield SealedValue("share", "sealed_share", rowid, self._place_of_share(*fields))
        for rowid, *fields in self._db.rows("SELECT rowid, aux_id, committee_id, party FROM aux_set"):
            yield SealedValue("aux_set", "sealed_set", rowid, self._place_of_aux(*fields))

    def _place_of_share(
        self, account_id: str, epoch: bytes, party: int, key_id: bytes, committee_id: bytes, *public: Value
    ) -> bytes:
        row = [key_id, committee_id, *public]
        return self._vault.place("share", "sealed_share", row, account=account_id, epoch=epoch, party=party)

    def _place_of_chain_code(self, account_id: str, key_id: bytes, public_key: bytes) -> bytes:
        return self._vault.place("account", "sealed_chain_code", [key_id, public_key], account=account_id)

    def _place_of_aux(self, aux_id: bytes, committee_id: bytes, party: int) -> bytes:
        return self._vault.place("aux_set", "sealed_set", committee_id, epoch=aux_id, party=party)

    def _open_share(self, record: AccountRecord, epoch: bytes, sealed: bytes) -> bytes:
        place = self._place_of_share(
            *(record.account_id, epoch, record.party, record.key_id, record.committee_id),
            *(record.curve, record.threshold, record.public_key),
        )
        return self._open(sealed, place, f"the key share of account {record.account_id!r}")

    def _open(self, sealed: bytes, place: bytes, what: str) -> bytes:
        try:
            return self._vault.sealer.unseal(sealed, place)
        except SealBroken as error:
            raise ShareCorrupt(f"{what} is damaged: {error}") from None


@lru_cache(maxsize=64)
def _committee(committee_id: bytes, description: str) -> Committee:
    # Kept, for reading YAML takes milliseconds; what was read decides, so a record that was changed is read anew.
    try:
        committee = Committee.from_yaml(description)
    except BadCommittee as error:
        raise StoreDamaged(f"the record of committee {committee_id.hex()} is damaged: {error}") from None
    if committee.committee_id != committee_id:
        raise StoreDamaged(f"the record of committee {committee_id.hex()} describes another one")
    return committee
