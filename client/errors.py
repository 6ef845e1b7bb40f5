"""How the command ends for each reason that a request can fail with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_SETTINGS: Final = 2
EXIT_REQUEST: Final = 3
EXIT_NO_SHARE: Final = 4
EXIT_THRESHOLD: Final = 5
EXIT_UNREACHABLE: Final = 6
EXIT_REFUSED: Final = 7
EXIT_PEER: Final = 8
EXIT_INTERRUPTED: Final = 130

EXIT_CODES_HELP: Final = f"""\b
Exit codes: {EXIT_OK} done, {EXIT_FAILED} failed, {EXIT_SETTINGS} wrong settings or usage,
{EXIT_REQUEST} the request cannot be meant, {EXIT_NO_SHARE} key share not found, {EXIT_THRESHOLD} threshold not met,
{EXIT_UNREACHABLE} service or gateway not reachable, {EXIT_REFUSED} refused (policy, permission, limits),
{EXIT_PEER} a participant misbehaved, {EXIT_INTERRUPTED} interrupted"""

_EXIT_CODES: Final[Mapping[str, int]] = {
    "INVALID_REQUEST": EXIT_REQUEST,
    "BAD_DIGEST": EXIT_REQUEST,
    "HARDENED_PATH": EXIT_REQUEST,
    "REQUEST_CONFLICT": EXIT_REQUEST,
    "ALREADY_EXISTS": EXIT_REQUEST,
    "ACCOUNT_EXISTS": EXIT_REQUEST,
    "COMMITTEE_UNKNOWN": EXIT_REQUEST,
    "WRONG_CHAIN": EXIT_REQUEST,
    "SESSION_NOT_FOUND": EXIT_REQUEST,
    "KEY_SHARE_NOT_FOUND": EXIT_NO_SHARE,
    "SHARE_DAMAGED": EXIT_NO_SHARE,
    "NEEDS_AUX": EXIT_NO_SHARE,
    "THRESHOLD_NOT_MET": EXIT_THRESHOLD,
    "PARTIES_MISSING": EXIT_THRESHOLD,
    "TIMEOUT": EXIT_THRESHOLD,
    "CONNECTION_REFUSED": EXIT_UNREACHABLE,
    "UNREACHABLE": EXIT_UNREACHABLE,
    "GATEWAY_UNREACHABLE": EXIT_UNREACHABLE,
    "NOT_READY": EXIT_UNREACHABLE,
    "BUSY": EXIT_REFUSED,
    "RATE_LIMITED": EXIT_REFUSED,
    "POLICY_REFUSED": EXIT_REFUSED,
    "PERMISSION_DENIED": EXIT_REFUSED,
    "UNAUTHENTICATED": EXIT_REFUSED,
    "ACCOUNT_FROZEN": EXIT_REFUSED,
    "PEER_FAULT": EXIT_PEER,
    "BAD_ANSWER": EXIT_PEER,
    "NOT_OFFERED": EXIT_SETTINGS,
    "SETTINGS": EXIT_SETTINGS,
}


def exit_code_of(reason: str) -> int:
    """The exit code for `RequestFailed.reason`; EXIT_FAILED for reasons that this version does not know."""
    return _EXIT_CODES.get(reason, EXIT_FAILED)
