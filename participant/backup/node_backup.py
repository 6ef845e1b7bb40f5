"""A node's own backup, and a node from a backup. Blocking: for worker threads and command lines."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence

from participant.backup import backup
from participant.backup.errors import BackupError
from participant.backup.kem import RecoveryPublic
from participant.committee import Committee
from participant.store import AuditRecord, NewShare, Origin, Store
from tss.params import Suite
from tss.rand import Rng
from tss.records import KeyShare


def backup_of(
    store: Store,
    suites: Mapping[str, Suite],
    recipients: Sequence[RecoveryPublic],
    quorum: int,
    committee_id: bytes | None = None,
    rng: Rng = os.urandom,
) -> bytes:
    """The backup file of all accounts of a committee (None: the only one with accounts), noted in the audit log.

    Presignatures, nonces, primes and auxiliary data are never in it. Raises BackupError, StoreError, ShareCorrupt.
    """
    committee = _committee(store, committee_id)
    shares = {}
    for record in store.accounts.accounts(committee.committee_id):
        if record.curve not in suites:
            raise BackupError(f"account {record.account_id!r} is of unknown curve {record.curve!r}")
        share = KeyShare.from_bytes(suites[record.curve], store.accounts.share(record.account_id))
        shares[record.account_id] = (record.curve, share)
    keys, now = store.identity(), int(time.time())
    file = backup.make(keys, committee, shares, recipients, quorum, created_at=now, rng=rng)
    # What was made is what anybody will verify: a fault of this machine's memory shows now, not when it is needed.
    backup.read(file, suites).verify()
    to = ", ".join(recipient.fingerprint for recipient in recipients)
    with store.transaction():
        for account_id in shares:
            reason = f"to {quorum} of {to}"[:400]
            store.audit.append(AuditRecord("backup", "operator", "backed up", reason, account=account_id))
    return file


def put_into(store: Store, restored: backup.Restored) -> None:
    """Fill an empty store, in one transaction. Accounts sign again after a refresh. Raises StoreConflict."""
    with store.transaction():
        store.put_identity(restored.keys)
        store.accounts.put_committee(restored.committee)
        for account_id, share in restored.shares.items():
            new = NewShare.of(account_id, share)
            store.accounts.add(new, restored.committee.committee_id, Origin.IMPORT)
            store.accounts.mark_restored(account_id)
            store.audit.append(AuditRecord("backup", "operator", "restored", account=account_id))


def _committee(store: Store, committee_id: bytes | None) -> Committee:
    if committee_id is not None:
        return store.accounts.committee(committee_id)
    known = store.accounts.committees()
    # Committees that every account has left are still known, until nobody needs to hear of it any more.
    holding = [one for one in known if store.accounts.accounts(one.committee_id)]
    chosen = holding or known
    if len(chosen) != 1:
        raise BackupError(
            f"the node has accounts in {len(holding)} of its {len(known)} committees: name one of them, a backup is of one"
        )
    return chosen[0]
