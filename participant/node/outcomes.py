"""How a session ended, in the words of this node's callers."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from participant.node.errors import (
    Aborted,
    AccountAlreadyExists,
    AccountDeleted,
    AccountIsFrozen,
    AccountUnknown,
    Busy,
    CeremonyFailed,
    InternalFailure,
    InvalidRequest,
    NeedsAux,
    NodeFailure,
    NotReady,
    PeerAtFault,
    PeerQuarantined,
    PolicyRefused,
    RefreshNeeded,
    ShareDamaged,
    ShareTooOld,
    SignerSetBlocked,
    StoreFailed,
    TimedOut,
    failure_of,
)
from participant.node.plan import Decline, Declined
from participant.node.proposals import PolicyDeclined
from participant.policy import Reason
from tss.errors import AbortedByPeer, NoBlame, NotStored, PeerFault, Refused, Timeout

POLICY_CODES: Final = frozenset(map(str, Reason))

_FAILURES: Final[dict[str, type[NodeFailure]]] = {
    Decline.KEY_SHARE_NOT_FOUND: AccountUnknown,
    Decline.ACCOUNT_EXISTS: AccountAlreadyExists,
    Decline.NEEDS_AUX: NeedsAux,
    Decline.ACCOUNT_FROZEN: AccountIsFrozen,
    Decline.ACCOUNT_DELETED: AccountDeleted,
    Decline.REFRESH_NEEDED: RefreshNeeded,
    Decline.SHARE_TOO_OLD: ShareTooOld,
    Decline.SHARE_DAMAGED: ShareDamaged,
    Decline.BAD_PAYLOAD: InvalidRequest,
    Decline.BAD_SIGNER_SET: InvalidRequest,
    Decline.OTHER_COMMITTEE: InvalidRequest,
    Decline.UNREADABLE: InvalidRequest,
    Decline.BUSY: Busy,
    Decline.STOPPING: NotReady,
    Decline.STORE_FAILED: StoreFailed,
    Decline.QUARANTINED: PeerQuarantined,
    Decline.SET_BLOCKED: SignerSetBlocked,
}

_UNHEARD: Final = re.compile(r"no message from ([1-9]\d{0,2}(?:, [1-9]\d{0,2})*) in ([\w.-]{1,64})", re.ASCII)
"""What a peer says whose deadline is over (tss.errors.Timeout)."""


class OperatorAbort(NoBlame):
    """An operator or caller of this node ended the session."""


def refusal_of(error: Refused | AbortedByPeer) -> tuple[str, str]:
    """(code, text) of what a peer said."""
    code, separator, text = error.reason.partition(": ")
    return (code, text) if separator else ("", error.reason)


def failure_of_own(declined: Declined) -> NodeFailure:
    """For a proposal that this node itself does not take part in."""
    if isinstance(declined, PolicyDeclined):
        return PolicyRefused.of(declined.decision)
    return _FAILURES.get(declined.code, CeremonyFailed)(str(declined))


def failure_of_session(error: BaseException) -> NodeFailure:
    """For whatever a session's outcome raises."""
    match error:
        case Declined():
            return failure_of_own(error)
        case PeerFault():
            evidence = error.evidence or b""
            peer = -1 if error.peer is None else error.peer - 1
            return PeerAtFault(
                f"index {peer} sent what fails a check ({error.what} [{error.check}]); it is in quarantine until this "
                "node's operator clears it",
                peer=peer,
                check=error.check,
                evidence_id=hashlib.sha256(evidence).hexdigest() if evidence else "",
            )
        case Refused():
            code, text = refusal_of(error)
            if code in POLICY_CODES:
                return PolicyRefused(f"index {error.by - 1} refuses: {text}", by=error.by - 1, rule=code)
            told = f"index {error.by - 1} refuses: {text} ({code})"
            if code == Decline.ACCOUNT_EXISTS:
                return AccountAlreadyExists(told, by=error.by - 1)
            if code == Decline.QUARANTINED:
                return PeerQuarantined(told)
            return CeremonyFailed(told, by=error.by - 1, code=code)
        case AbortedByPeer():
            code, text = refusal_of(error)
            unheard = _UNHEARD.fullmatch(text) if code == Timeout.__name__ else None
            if unheard is not None:
                # It named evaluation points, as sessions do; and its deadline was over before ours.
                silent = failure_of(Timeout(map(int, unheard[1].split(", ")), unheard[2]))
                return TimedOut(f"index {error.by - 1} ended the session: {silent}", **silent.metadata)
            return CeremonyFailed(f"index {error.by - 1} ended the session: {text} ({code})", by=error.by - 1)
        case OperatorAbort():
            return Aborted(str(error))
        case NotStored():
            cause = f": {error.__cause__}" if error.__cause__ is not None else ""
            return StoreFailed(f"{error}{cause}")
        case Timeout():
            return failure_of(error)
        case NoBlame():
            return CeremonyFailed(f"{error}. Try again")
        case Exception():
            return failure_of(error)
        case _:
            return InternalFailure(f"stopped: {type(error).__name__}")
