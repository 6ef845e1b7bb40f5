"""A node's durable state: one SQLite file, secrets sealed, one process (see `Store`)."""

from participant.store.accounts import (
    WITHOUT_AUX,
    AccountRecord,
    AccountState,
    NewAux,
    NewShare,
    Origin,
    StoredShare,
    check_account_id,
)
from participant.store.audit import AuditEntry, AuditRecord
from participant.store.blocked import BlockedSet
from participant.store.errors import (
    AccountExists,
    AlreadyAnswered,
    AuxSetNotFound,
    CommitteeUnknown,
    KeyShareNotFound,
    PendingNotFound,
    RequestConflict,
    SessionKnown,
    StoreConflict,
    StoreDamaged,
    StoreError,
    StoreExists,
    StoreLocked,
    StoreMissing,
    StoreUnavailable,
    StoreVersion,
)
from participant.store.quarantine import QuarantineEntry
from participant.store.requests import Answer, RequestState, RequestStatus
from participant.store.sessions import Certificate, Kept, NewState, Pending
from participant.store.store import Finding, ShareHook, Store

__all__ = [
    "WITHOUT_AUX",
    "AccountExists",
    "AccountRecord",
    "AccountState",
    "AlreadyAnswered",
    "Answer",
    "AuditEntry",
    "AuditRecord",
    "AuxSetNotFound",
    "BlockedSet",
    "Certificate",
    "CommitteeUnknown",
    "Finding",
    "Kept",
    "KeyShareNotFound",
    "NewAux",
    "NewShare",
    "NewState",
    "Origin",
    "Pending",
    "PendingNotFound",
    "QuarantineEntry",
    "RequestConflict",
    "RequestState",
    "RequestStatus",
    "SessionKnown",
    "ShareHook",
    "Store",
    "StoreConflict",
    "StoreDamaged",
    "StoreError",
    "StoreExists",
    "StoreLocked",
    "StoreMissing",
    "StoreUnavailable",
    "StoreVersion",
    "StoredShare",
    "check_account_id",
]
