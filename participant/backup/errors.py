"""What reading, verifying and opening backups raises."""

from __future__ import annotations

from participant.errors import NodeError


class BackupError(NodeError):
    """Base."""


class BadRecoveryKey(BackupError):
    """Not a recovery key, or one that is not taken."""


class BackupInvalid(BackupError):
    """The file is not a backup, was changed, or does not contain what it says."""


class BackupLocked(BackupError):
    """The recovery keys at hand do not open the backup."""
