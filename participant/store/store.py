"""A node's durable state, opened and checked."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Self

from participant.identity import SEED_BYTES, NodeKeys
from participant.sealing import KEY_BYTES, EnvelopeSealer, KeyWrapper, SealBroken
from participant.store.accounts import AccountRecord, Accounts
from participant.store.approvals import Approvals
from participant.store.audit import GENESIS, AuditLog
from participant.store.blocked import BlockedSets
from participant.store.database import Database
from participant.store.deletions import Deletions
from participant.store.errors import StoreConflict, StoreDamaged, StoreError, StoreExists
from participant.store.primes import Primes
from participant.store.quarantine import Quarantine
from participant.store.recoveries import Recoveries
from participant.store.requests import Answers, Requests
from participant.store.resharings import Resharings
from participant.store.seals import Seals, first_slot, unlock
from participant.store.sessions import Sessions
from participant.store.vault import Clock, SealedValue, Vault
from tss.errors import LocalFault
from tss.rand import Rng

STORE_ID_BYTES: Final = 16
RUN_BYTES: Final = 16

ShareHook = Callable[[AccountRecord, bytes, bytes], None]
"""(record, KeyShare bytes, chain code) -> None; raises LocalFault when they contradict each other."""


@dataclass(frozen=True)
class Finding:
    """Something wrong with a store, in words. `what` is a short stable name."""

    what: str
    text: str


class Store:
    """Everything that a node keeps on disk. Thread-safe, synchronous; a write that returned is durable, but for two.

    Those two are what is done in a `transaction(durable=False)`, and `requests.begin`.

    Use `create` once and `open` afterwards; one process at a time. Parts: `accounts` (committees, shares, aux sets),
    `sessions` (sids, pending state, certificates), `requests`, `answers`, `primes`, `quarantine`, `blocked`, `audit`,
    `seals` (what opens the store), `deletions`.
    Several writes become one by `with store.transaction():`.

    There is no place for presignatures, pools or nonces (protocol.md 3.3): they live and die with the process.
    """

    def __init__(self, database: Database, vault: Vault, slot: int, wrapper: KeyWrapper) -> None:
        self._database = database
        self._vault = vault
        self.path = database.path
        self.store_id = vault.store_id
        self.accounts = Accounts(vault)
        self.recoveries = Recoveries(vault)
        self.sessions = Sessions(vault, self.accounts, self.recoveries)
        self.audit = AuditLog(vault)
        self.requests = Requests(vault)
        self.answers = Answers(vault, self.audit, self.accounts, self.sessions)
        self.primes = Primes(vault)
        self.quarantine = Quarantine(vault)
        self.blocked = BlockedSets(vault)
        self.deletions = Deletions(vault, self.accounts)
        self.approvals = Approvals(vault)
        self.resharings = Resharings(vault, self.accounts)
        parts = (self.accounts, self.sessions, self.primes, self.audit, self.recoveries)
        self.seals = Seals(vault, slot, wrapper, [self._sealed_identity, *(part.sealed for part in parts)])

    @classmethod
    def create(
        cls, path: Path, wrapper: KeyWrapper, *, rng: Rng = os.urandom, clock: Clock = time.time
    ) -> Self:
        """Make a new store of mode 0600, whose data key `wrapper` protects. Raises StoreExists, StoreUnavailable."""
        database = Database(path, create=True)
        try:
            with database.transaction():
                vault, slot = _initialise(database, wrapper, rng, clock)
            return cls(database, vault, slot, wrapper)
        except BaseException:
            database.close()
            raise

    @classmethod
    def open(
        cls, path: Path, wrapper: KeyWrapper, *, rng: Rng = os.urandom, clock: Clock = time.time
    ) -> Self:
        """Open a store, bring its schema up to date, and end the sessions that a former process left open.

        Raises StoreMissing, StoreLocked, StoreVersion, StoreDamaged, StoreUnavailable, WrongSealingKey, SealError, and
        SecretFileExposed when others may read the file.
        """
        database = Database(path, create=False)
        try:
            store = cls(database, *_unlock(database, wrapper, rng, clock), wrapper)
            store.sessions.end_lost()
        except BaseException:
            database.close()
            raise
        return store

    def close(self) -> None:
        """Release the store for another process."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def transaction(self, *, durable: bool = True) -> contextlib.AbstractContextManager[None]:
        """Make several writes one: all durable when the block is left, none of them when it raises.

        Without `durable` they are stored in their order and are durable no later than what is written after them, or when
        `settle` returns.
        """
        return self._vault.transaction(durable=durable)

    def settle(self) -> None:
        """Make durable whatever was written before. Raises StoreUnavailable."""
        if not self._database.is_settled:
            self.probe()

    def probe(self) -> None:
        """Write and sync a few bytes, for readiness checks. Raises StoreUnavailable."""
        with self.transaction():
            self._database.execute("UPDATE store SET probe = probe + 1")

    # Identity

    def put_identity(self, keys: NodeKeys) -> None:
        """Store the node's keys, once. Raises StoreConflict when there are others already."""
        with self.transaction():
            known = self._database.first("SELECT identity FROM identity")
            if known is not None and known[0] != keys.identity:
                raise StoreConflict("this store has another identity; an identity is never replaced")
            sealed = self._vault.sealer.seal(keys.to_bytes(), self._identity_place(keys.identity))
            self._database.execute("INSERT OR IGNORE INTO identity VALUES (1, ?, ?)", (keys.identity, sealed))

    def renew_gateway_access(self, rng: Rng = os.urandom) -> NodeKeys:
        """Replace the gateway-access key by a fresh one, durably; the keys now. Raises as `identity`."""
        keys = self.identity().with_gateway_access(rng(SEED_BYTES))
        sealed = self._vault.sealer.seal(keys.to_bytes(), self._identity_place(keys.identity))
        with self.transaction():
            self._database.execute("UPDATE identity SET sealed_keys = ?", (sealed,))
        return keys

    def has_identity(self) -> bool:
        """Whether the node's keys were made."""
        return self._database.first("SELECT 1 FROM identity") is not None

    def identity(self) -> NodeKeys:
        """The node's keys. Raises StoreError when there are none, StoreDamaged when they were changed."""
        found = self._database.first("SELECT identity, sealed_keys FROM identity")
        if found is None:
            raise StoreError(f"the store {self.path} has no identity yet; make one with mpc-keygen identity")
        identity, sealed = found
        try:
            return NodeKeys.from_bytes(self._vault.sealer.unseal(sealed, self._identity_place(identity)))
        except (SealBroken, ValueError) as error:
            raise StoreDamaged(f"the node's identity is damaged: {error}") from None

    def _sealed_identity(self) -> Iterator[SealedValue]:
        for rowid, identity in self._database.rows("SELECT rowid, identity FROM identity"):
            yield SealedValue("identity", "sealed_keys", rowid, self._identity_place(identity))

    def _identity_place(self, identity: bytes) -> bytes:
        return self._vault.place("identity", "sealed_keys", identity)

    # Check

    def check(self, share_hook: ShareHook | None = None) -> list[Finding]:
        """Look at everything: file, chain, every sealed value, every share. An empty list means sound."""
        found: list[Finding] = []
        try:
            for finding in self._findings(share_hook):
                found.append(finding)  # noqa: PERF402 - what was found before the file gave up is kept
        except StoreDamaged as error:
            found.append(Finding("file", str(error)))
        return found

    def _findings(self, share_hook: ShareHook | None) -> Iterator[Finding]:
        database = self._database
        problems = [row[0] for row in database.rows("PRAGMA integrity_check")]
        if problems != ["ok"]:
            yield Finding("file", "; ".join(map(str, problems)))
        for row in database.rows("PRAGMA foreign_key_check"):
            yield Finding("references", f"a row of table {row[0]} points to nothing")
        yield from _try("audit", self.audit.verify_chain)
        if self.has_identity():
            yield from _try("identity", self.identity)
        yield from _try("committees", self.accounts.committees)
        yield from _try("primes", self.primes.check)
        yield from _try("certificates", self.sessions.certificates)
        yield from _try("blocked sets", self.blocked.entries)
        for sid in self.sessions.pending_sids():
            yield from _try("pending", partial(self.sessions.pending, sid))
        yield from _try("recovery", self.recoveries.check)
        for aux_id in self.accounts.aux_ids():
            yield from _try("aux", partial(self.accounts.aux_set, aux_id))
        for (account_id,) in database.rows("SELECT account_id FROM account"):
            yield from _try("share", partial(self._check_account, account_id, share_hook))

    def _check_account(self, account_id: str, share_hook: ShareHook | None) -> None:
        if not self.accounts.has_current_share(account_id):
            raise StoreDamaged(f"account {account_id!r} has lost the share of its epoch")
        record = self.accounts.account(account_id)
        chain_code = self.accounts.chain_code(account_id)
        share = self.accounts.share(account_id)
        self.accounts.shares(account_id)
        if share_hook is not None:
            share_hook(record, share, chain_code)


def _try(what: str, look: Callable[[], object]) -> Iterator[Finding]:
    try:
        look()
    except (StoreError, LocalFault) as error:
        yield Finding(what, str(error))


def _initialise(database: Database, wrapper: KeyWrapper, rng: Rng, clock: Clock) -> tuple[Vault, int]:
    if database.version:
        raise StoreExists(f"there is a store at {database.path} already")
    database.upgrade()
    store_id, data_key = rng(STORE_ID_BYTES), rng(KEY_BYTES)
    now = int(clock() * 1000)
    database.execute("INSERT INTO store VALUES (1, ?, ?, 0)", (store_id, now))
    slot = first_slot(database, wrapper, store_id, data_key, now)
    vault = Vault(database, EnvelopeSealer({1: data_key}, rng), store_id, rng, rng(RUN_BYTES), clock)
    AuditLog(vault).write_head(0, GENESIS)
    return vault, slot


def _unlock(database: Database, wrapper: KeyWrapper, rng: Rng, clock: Clock) -> tuple[Vault, int]:
    if not database.version:
        raise StoreDamaged(
            f"{database.path} is not a store, or one whose making was interrupted: make it again"
        )
    with database.transaction():
        database.upgrade()
    (store_id,) = database.row("SELECT store_id FROM store")
    slot, keys = unlock(database, wrapper, store_id)
    return Vault(database, EnvelopeSealer(keys, rng), store_id, rng, rng(RUN_BYTES), clock), slot
