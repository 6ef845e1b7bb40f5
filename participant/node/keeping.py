"""What only operators ask for: extended keys, deletions, the keys that open the store."""

from __future__ import annotations

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from kit.settings import SettingsError
from participant.node.api import AccountView, DeletionView, ExtendedKeyView, SealsView
from participant.node.config import NodeConfig
from participant.node.deletion import approve, approved_by, check_quorum
from participant.node.errors import InvalidRequest
from participant.node.records import Records
from participant.node.stock import Stock
from participant.node.views import addresses
from participant.payloads.extended import ExtendedPublicKey
from participant.store import AuditRecord, Store
from participant.store.deletions import Deletion
from tss.hd import format_path, parse_path

ERASE_SECONDS: Final = 60.0
"""How often a node looks for accounts whose time of grace is over."""

T = TypeVar("T")
log = logging.getLogger(__name__)


class Keeping(ABC):
    """A part of the facade."""

    _config: NodeConfig
    _store: Store
    _records: Records
    _stock: Stock

    @abstractmethod
    def account(self, account_id: str) -> AccountView:
        """See NodeApi."""

    @abstractmethod
    def _refresh(self, committee_id: bytes) -> None: ...

    @abstractmethod
    async def _step(self, function: Callable[..., T], *arguments: Any) -> T: ...

    # Extended keys

    async def extended_key(
        self, account_id: str, path: str = "m", *, testnet: bool = False
    ) -> ExtendedKeyView:
        """See NodeApi."""
        return await self._step(self._extended_key, account_id, path, testnet)

    def _extended_key(self, account_id: str, path: str, testnet: bool) -> ExtendedKeyView:  # noqa: FBT001 - passed on
        steps = parse_path(path or "m")
        account = self._records.account(account_id)
        key = ExtendedPublicKey.of(account.share.X, account.share.chain_code, steps)
        text = format_path(steps)
        self._audit("extended key given out", account=account_id, path=text)
        return ExtendedKeyView(
            account_id, text, key.to_text(testnet=testnet), addresses(account.record.curve, key.key)
        )

    # Deletion

    async def approve_deletion(self, account_id: str, reason: str = "") -> bytes:
        """See NodeApi."""
        return await self._step(self._approve, account_id, reason)

    def _approve(self, account_id: str, reason: str) -> bytes:
        with self._store.transaction():
            word = approve(self._store.accounts.account(account_id), self._store.identity(), int(time.time()))
            self._audit("deletion approved", reason, account=account_id)
        return word

    async def delete_account(self, account_id: str, approvals: Sequence[bytes]) -> DeletionView:
        """See NodeApi."""
        view = await self._step(self._decide, account_id, tuple(approvals))
        self._changed(account_id)
        return view

    def _decide(self, account_id: str, approvals: tuple[bytes, ...]) -> DeletionView:
        store = self._store
        record = store.accounts.account(account_id)
        committee = store.accounts.committee(record.committee_id)
        found = check_quorum(approvals, record, committee, int(time.time()))
        with store.transaction():
            decided = store.deletions.decide(account_id, approvals, int(self._config.deletion_grace * 1000))
            self._audit("deletion decided", f"approved by {found}", account=account_id)
        return DeletionView(
            account_id, record.key_id, decided.erase_at // 1000, erased=False, approved_by=tuple(found)
        )

    async def cancel_deletion(self, account_id: str) -> AccountView:
        """See NodeApi."""
        await self._step(self._cancel, account_id)
        self._changed(account_id)
        return self.account(account_id)

    def _cancel(self, account_id: str) -> None:
        with self._store.transaction():
            self._store.deletions.cancel(account_id)
            self._audit("deletion called off", account=account_id)

    def _changed(self, account_id: str) -> None:
        self._stock.drop_account(account_id)
        self._refresh(self._store.accounts.account(account_id).committee_id)

    async def deletions(self) -> Sequence[DeletionView]:
        """See NodeApi."""
        return await self._step(lambda: [self._deletion(entry) for entry in self._store.deletions.entries()])

    def _deletion(self, entry: Deletion) -> DeletionView:
        found: tuple[int, ...] = ()
        if entry.erased_at is None:
            record = self._store.accounts.account(entry.account_id)
            committee = self._store.accounts.committee(entry.committee_id)
            found = tuple(approved_by(entry.approvals, record, committee, None))
        return DeletionView(
            entry.account_id,
            entry.key_id,
            entry.erase_at // 1000,
            erased=entry.erased_at is not None,
            approved_by=found,
        )

    async def erase_deleted(self) -> None:
        """Erase what is due, for ever: a standing task."""
        while True:
            for entry in await self._step(self._erase_due):
                log.warning("account %r was deleted: its share is erased", entry.account_id)
                self._stock.drop_account(entry.account_id)
                self._refresh(entry.committee_id)
            await asyncio.sleep(ERASE_SECONDS)

    def _erase_due(self) -> list[Deletion]:
        erased = self._store.deletions.erase_due()
        if erased:
            self._records.forget()
        for entry in erased:
            self._audit("deleted", account=entry.account_id)
        return erased

    # Backup

    async def make_backup(
        self, recovery_keys: Sequence[str], quorum: int, committee_id: bytes | None = None
    ) -> bytes:
        """See NodeApi."""
        # In a thread of its own, for it takes a second.
        return await asyncio.to_thread(self._make_backup, tuple(recovery_keys), quorum, committee_id)

    def _make_backup(self, recovery_keys: tuple[str, ...], quorum: int, committee_id: bytes | None) -> bytes:
        # Loaded where it is used: most nodes never do.
        from participant.backup.kem import read_public
        from participant.backup.node_backup import backup_of

        recipients = [read_public(text) for text in recovery_keys]
        return backup_of(self._store, self._records.suites, recipients, quorum, committee_id)

    # What opens the store

    async def seals(self) -> SealsView:
        """See NodeApi."""
        return await self._step(self._seals)

    def _seals(self) -> SealsView:
        return SealsView(tuple(self._store.seals.slots()), tuple(self._store.seals.data_keys()))

    async def add_seal(self, seal_file: Path, *, make_token_key: bool = False) -> SealsView:
        """See NodeApi."""
        # In a thread of its own: an agent may wait for a person, a service for the network.
        return await asyncio.to_thread(self._add_seal, seal_file, make_token_key)

    def _add_seal(self, seal_file: Path, make_token_key: bool) -> SealsView:  # noqa: FBT001 - passed on
        # Loaded where it is used: most nodes never do.
        from participant.seal_file import wrapper_of

        if not seal_file.is_absolute():
            raise InvalidRequest("name the seal file by its absolute path on the daemon's machine")
        try:
            wrapper = wrapper_of(seal_file, make_token_key=make_token_key)
        except SettingsError as error:
            raise InvalidRequest(str(error)) from None
        slot = self._store.seals.add(wrapper)
        self._audit("sealing key added", f"slot {slot.number}: {slot.form}, {slot.note}"[:400])
        return self._seals()

    async def remove_seal(self, number: int) -> SealsView:
        """See NodeApi."""
        return await self._step(self._remove_seal, number)

    def _remove_seal(self, number: int) -> SealsView:
        self._store.seals.remove(number)
        self._audit("sealing key removed", f"slot {number}")
        return self._seals()

    async def renew_data_key(self) -> int:
        """See NodeApi."""
        count = await asyncio.to_thread(self._store.seals.renew)
        await self._step(self._audit, "data key renewed", f"{count} values sealed anew")
        return count

    def _audit(self, decision: str, reason: str = "", **about: Any) -> None:
        self._store.audit.append(AuditRecord("operator", "operator", decision, reason[:400], **about))
