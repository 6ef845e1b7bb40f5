"""What a store raises. All are NodeError; those under StoreUnavailable mean "try again when the cause is gone"."""

from __future__ import annotations

from participant.errors import NodeError


class StoreError(NodeError):
    """Base of the store's errors."""


class StoreLocked(StoreError):
    """Another process holds the store."""


class StoreUnavailable(StoreError):
    """The disk does not take or give data now. What was stored before is intact; nothing of this call was stored."""


class StoreDamaged(StoreError):
    """The file is not a store of ours, or its content was changed behind our back."""


class StoreVersion(StoreError):
    """The store was written by a newer release than this one."""


class StoreExists(StoreError):
    """There is a store already where one was to be made."""


class StoreMissing(StoreError):
    """There is no store at this path."""


class StoreConflict(StoreError):
    """What was asked contradicts what is stored."""


class SessionKnown(StoreConflict):
    """The session id was remembered before: this node never speaks again in it (protocol.md 0.7)."""


class RequestConflict(StoreConflict):
    """A request id that was used for another content (ALREADY_EXISTS on the wire)."""


class AlreadyAnswered(StoreConflict):
    """The presignature answered another request: a second partial signature would give the key away."""


class AccountExists(StoreConflict):
    """The account id is taken."""


class CommitteeUnknown(StoreError):
    """No committee of this id is in the store."""


class KeyShareNotFound(StoreError):
    """No account of this id, or no share of this epoch (NOT_FOUND on the wire)."""


class AuxSetNotFound(StoreError):
    """No auxiliary data of this id."""


class PendingNotFound(StoreError):
    """No pending state for this session, or it was given up."""
