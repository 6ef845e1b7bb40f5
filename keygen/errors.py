"""How a command ends: exit codes, and what an error of any layer means to whoever typed the command."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from kit.settings import SettingsError
from participant.age_files import ShareFileError
from participant.backup.errors import BackupError
from participant.committee import BadCommittee, NotAMember
from participant.errors import NodeError
from participant.files import SecretFileError
from participant.identity import BadCard
from participant.sealing import SealError
from participant.store import AccountExists, StoreConflict, StoreError
from tss.errors import CallerError, LocalFault, PeerFault, ProtocolError, ShareCorrupt


class Exit(IntEnum):
    """Exit codes of mpc-keygen."""

    DONE = 0
    FAILED = 1
    """It did not work out, or an error of ours; the text says which."""
    USAGE = 2
    """The command line or what it names cannot be meant."""
    FILES = 3
    """A file, share or store is missing, there already, in use, exposed, damaged, or does not open."""
    UNREACHABLE = 4
    """The daemon, the gateway or a member of the committee does not answer."""
    REFUSED = 5
    """A node said no: its policy, its rights, or what it holds already."""
    PEER = 6
    """A peer signed something that fails a check."""
    NOT_PROVEN = 7
    """Evidence that does not prove what it claims."""
    INTERRUPTED = 130
    """Ctrl-C."""


EXIT_CODES_HELP: Final = """\b
Exit codes: 0 done - 1 failed, try again or see the text - 2 wrong command line or argument
  3 a file, share or store is missing, there already, in use, exposed or damaged, or the password is wrong
  4 daemon, gateway or members of the committee do not answer - 5 refused by a node - 6 a peer cheated or is broken
  7 evidence proves nothing - 130 interrupted"""


class KeygenError(NodeError):
    """An error of the command line itself. `reason` is stable and for programs."""

    def __init__(self, text: str, *, exit_code: Exit = Exit.FAILED, reason: str = "") -> None:
        super().__init__(text)
        self.exit_code = exit_code
        self.reason = reason or type(self).__name__


class Misuse(KeygenError):
    """Arguments that contradict each other or cannot be meant."""

    def __init__(self, text: str) -> None:
        super().__init__(text, exit_code=Exit.USAGE, reason="USAGE")


_BY_TYPE: Final[tuple[tuple[type[Exception], Exit], ...]] = (
    (SettingsError, Exit.USAGE),
    (BadCard, Exit.FILES),
    (BadCommittee, Exit.FILES),
    (NotAMember, Exit.USAGE),
    (SecretFileError, Exit.FILES),
    (SealError, Exit.FILES),
    (ShareFileError, Exit.FILES),
    (BackupError, Exit.FILES),
    (AccountExists, Exit.REFUSED),
    (StoreConflict, Exit.REFUSED),
    (StoreError, Exit.FILES),
    (ShareCorrupt, Exit.FILES),
    (CallerError, Exit.USAGE),
    (PeerFault, Exit.PEER),
    (LocalFault, Exit.FAILED),
    (ProtocolError, Exit.FAILED),
    (NodeError, Exit.FAILED),
    (OSError, Exit.FILES),
)

EXPECTED: Final = tuple(kind for kind, _ in _BY_TYPE)
"""What commands raise on purpose; anything else is a bug."""


_BY_REASON: Final[Mapping[str, Exit]] = {
    "INVALID_REQUEST": Exit.USAGE,
    "COMMITTEE_UNKNOWN": Exit.USAGE,
    "SESSION_NOT_FOUND": Exit.USAGE,
    "NOT_OFFERED": Exit.USAGE,
    "ACCOUNT_EXISTS": Exit.REFUSED,
    "ALREADY_EXISTS": Exit.REFUSED,
    "POLICY_REFUSED": Exit.REFUSED,
    "PERMISSION_DENIED": Exit.REFUSED,
    "UNAUTHENTICATED": Exit.REFUSED,
    "RATE_LIMITED": Exit.REFUSED,
    "KEY_SHARE_NOT_FOUND": Exit.FILES,
    "ACCOUNT_FROZEN": Exit.REFUSED,
    "ACCOUNT_DELETED": Exit.REFUSED,
    "REFRESH_NEEDED": Exit.REFUSED,
    "SHARE_TOO_OLD": Exit.REFUSED,
    "SHARE_DAMAGED": Exit.FILES,
    "EVIDENCE_NOT_FOUND": Exit.FILES,
    "STORE_FAILED": Exit.FILES,
    "CONNECTION_REFUSED": Exit.UNREACHABLE,
    "UNREACHABLE": Exit.UNREACHABLE,
    "TLS_FAILED": Exit.UNREACHABLE,
    "GATEWAY_UNREACHABLE": Exit.UNREACHABLE,
    "GATEWAY_REFUSED": Exit.UNREACHABLE,
    "PARTIES_MISSING": Exit.UNREACHABLE,
    "THRESHOLD_NOT_MET": Exit.UNREACHABLE,
    "TIMEOUT": Exit.UNREACHABLE,
    "NOT_READY": Exit.UNREACHABLE,
    "PEER_FAULT": Exit.PEER,
    "PEER_QUARANTINED": Exit.PEER,
    "SIGNER_SET_BLOCKED": Exit.PEER,
}
"""For what a node answers: the reason of its ErrorInfo (participant.node.errors, participant.grpc_client)."""


def exit_code_of(error: Exception) -> Exit:
    """The exit code that an error ends a command with."""
    if isinstance(error, KeygenError):
        return error.exit_code
    reason = _said_reason(error)
    if reason is not None:
        return _BY_REASON.get(reason, Exit.FAILED)
    return next((code for kind, code in _BY_TYPE if isinstance(error, kind)), Exit.FAILED)


def reason_of(error: Exception) -> str:
    """A stable name such as STORE_LOCKED, from the node's ErrorInfo where it came from there."""
    return _upper(_said_reason(error) or type(error).__name__)


def _said_reason(error: Exception) -> str | None:
    reason = getattr(error, "reason", None)
    return reason if isinstance(error, NodeError) and isinstance(reason, str) and reason else None


def text_of(error: Exception) -> str:
    """One paragraph for people."""
    if isinstance(error, OSError) and error.strerror:
        name = f"{error.filename}: " if error.filename else ""
        return f"{name}{error.strerror}"
    return str(error)


def _upper(name: str) -> str:
    return name if name.isupper() else re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).upper()
