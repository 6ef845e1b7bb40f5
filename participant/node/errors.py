"""What a node answers when it cannot do what it was asked for: one class a reason, each with a stable code.

Services put `reason` into google.rpc.ErrorInfo, `metadata` beside it, and the text where people read it. Whatever else
is raised below this package becomes one of these by `failure_of`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar, Self

from participant.callers import AccountNotAllowed, RateLimited, Unauthenticated
from participant.committee import BadCommittee, NotAMember
from participant.errors import NodeError
from participant.policy import Refuse
from participant.room_refusals import RoomError, RoomForbidden
from participant.store import (
    AccountExists,
    AuxSetNotFound,
    CommitteeUnknown,
    KeyShareNotFound,
    RequestConflict,
    StoreConflict,
    StoreDamaged,
    StoreError,
)
from tss.errors import (
    BadDigest,
    CallerError,
    HardenedPath,
    LocalFault,
    NoBlame,
    ProtocolError,
    ShareCorrupt,
    Timeout,
)


class NodeFailure(NodeError):
    """Base. `reason` is stable; `metadata` holds the details that a program may want, as text."""

    reason: ClassVar[str] = "INTERNAL"

    def __init__(self, text: str, **metadata: object) -> None:
        super().__init__(text)
        self.metadata: Mapping[str, str] = {key: str(value) for key, value in metadata.items()}


class InvalidRequest(NodeFailure):
    """The request cannot be meant: the caller's mistake."""

    reason = "INVALID_REQUEST"


class NotASigner(NodeFailure):
    """The request names its signers, and the node that was asked is not one of them."""

    reason = "NOT_A_SIGNER"


class HardenedPathRequested(NodeFailure):
    """A hardened index needs the private key, which nobody holds."""

    reason = "HARDENED_PATH"


class BadDigestGiven(NodeFailure):
    """The digest is not exactly 32 bytes."""

    reason = "BAD_DIGEST"


class AccountUnknown(NodeFailure):
    """This node has no share of the account ("Key share not found")."""

    reason = "KEY_SHARE_NOT_FOUND"


class AccountAlreadyExists(NodeFailure):
    """The account id is taken."""

    reason = "ACCOUNT_EXISTS"


class CommitteeNotFound(NodeFailure):
    """The node does not know this committee, or must be told which of several is meant."""

    reason = "COMMITTEE_UNKNOWN"


class RequestIdUsed(NodeFailure):
    """The request id was used for another content (ALREADY_EXISTS on the wire)."""

    reason = "REQUEST_CONFLICT"


class ThresholdNotMet(NodeFailure):
    """Too few parties answer. The text begins with "Threshold not met" and names who is missing, and why.

    metadata: `needed`, `missing` (indices with commas).
    """

    reason = "THRESHOLD_NOT_MET"

    def __init__(self, text: str, *, needed: int, missing: Iterable[int] = ()) -> None:
        self.missing = tuple(sorted(missing))
        super().__init__(
            f"Threshold not met: {text}", needed=needed, missing=",".join(map(str, self.missing))
        )


class PartiesMissing(NodeFailure):
    """A ceremony needs every member of the committee. metadata: `missing`."""

    reason = "PARTIES_MISSING"

    def __init__(self, text: str, missing: Iterable[int]) -> None:
        self.missing = tuple(sorted(missing))
        super().__init__(text, missing=",".join(map(str, self.missing)))


class PeerAtFault(NodeFailure):
    """A peer signed something that fails a check; it is in quarantine now. metadata: `peer`, `check`, `evidence_id`."""

    reason = "PEER_FAULT"

    def __init__(self, text: str, *, peer: int, check: str, evidence_id: str) -> None:
        self.peer = peer
        super().__init__(text, peer=peer, check=check, evidence_id=evidence_id)


class PeerQuarantined(NodeFailure):
    """Somebody failed a check earlier, and it does not go without it. metadata: `peers` (indices with commas)."""

    reason = "PEER_QUARANTINED"

    def __init__(self, text: str, peers: Iterable[int] = ()) -> None:
        self.peers = tuple(sorted(peers))
        super().__init__(text, peers=",".join(map(str, self.peers)))


class SignerSetBlocked(NodeFailure):
    """Somebody in each set that could sign cheated, and it is not known yet who. metadata: `signers` (indices)."""

    reason = "SIGNER_SET_BLOCKED"


class PolicyRefused(NodeFailure):
    """This node's own policy says no. metadata: `by` (this node's index where it is known), `rule` (the policy's code)."""

    reason = "POLICY_REFUSED"

    @classmethod
    def of(cls, decision: Refuse) -> PolicyRefused:
        """For a decision of the policy."""
        return cls(decision.text, rule=decision.code)


class CeremonyFailed(NodeFailure):
    """A ceremony ended without a result and nobody is at fault: try again. metadata: `session` in hexadecimal."""

    reason = "CEREMONY_FAILED"


class TimedOut(NodeFailure):
    """No answer in time. Silence is nobody's guilt. metadata: `silent` (indices with commas)."""

    reason = "TIMEOUT"


class Busy(NodeFailure):
    """Too much is under way; try again later."""

    reason = "BUSY"


class GatewayUnreachable(NodeFailure):
    """The gateway does not answer ("Connection refused")."""

    reason = "GATEWAY_UNREACHABLE"

    @classmethod
    def at(cls, url: str) -> Self:
        """What to say about the gateway at `url`."""
        return cls(
            f"Connection refused: the gateway {url} does not answer. Start it, or correct gateway.url; this node goes on "
            "trying"
        )


class GatewayRefused(GatewayUnreachable):
    """The gateway answers, and does not let this node in: key set, certificates, addresses or clocks."""

    reason = "GATEWAY_REFUSED"

    @classmethod
    def because(cls, refused: Exception) -> Self:
        """What to say of a room's refusal."""
        return cls(f"the gateway refuses this node: {refused}")


class NotReady(NodeFailure):
    """The node is starting, stopping, or in a state in which it takes no work; the text says which."""

    reason = "NOT_READY"


class NeedsAux(NodeFailure):
    """The committee has made no auxiliary information that this account could sign with."""

    reason = "NEEDS_AUX"


class AccountIsFrozen(NodeFailure):
    """An operator of this node froze the account."""

    reason = "ACCOUNT_FROZEN"


class AccountDeleted(NodeFailure):
    """The account is being deleted on this node."""

    reason = "ACCOUNT_DELETED"


class RefreshNeeded(NodeFailure):
    """The share came from a backup and signs after a refresh."""

    reason = "REFRESH_NEEDED"


class ShareTooOld(NodeFailure):
    """The share is older than the settings allow and signs after a refresh."""

    reason = "SHARE_TOO_OLD"


class ShareDamaged(NodeFailure):
    """The stored share of this account is damaged and is not used; other accounts are not concerned."""

    reason = "SHARE_DAMAGED"


class StoreFailed(NodeFailure):
    """The store does not take or give data; nothing was signed."""

    reason = "STORE_FAILED"


class SessionUnknown(NodeFailure):
    """No session of this id is under way."""

    reason = "SESSION_NOT_FOUND"


class Aborted(NodeFailure):
    """An operator or caller ended the session."""

    reason = "ABORTED"


class NotAllowed(NodeFailure):
    """The caller is known, but not for this account."""

    reason = "PERMISSION_DENIED"


class NotAuthenticated(NodeFailure):
    """The caller is not known."""

    reason = "UNAUTHENTICATED"


class TooManyRequests(NodeFailure):
    """The caller asked too often. metadata: `retry_after` in seconds."""

    reason = "RATE_LIMITED"


class InternalFailure(NodeFailure):
    """A bug of ours."""

    reason = "INTERNAL"


_BY_TYPE: tuple[tuple[type[Exception], type[NodeFailure]], ...] = (
    (KeyShareNotFound, AccountUnknown),
    (AccountExists, AccountAlreadyExists),
    (CommitteeUnknown, CommitteeNotFound),
    (RequestConflict, RequestIdUsed),
    (AuxSetNotFound, NeedsAux),
    (StoreConflict, InvalidRequest),
    (StoreDamaged, StoreFailed),
    (StoreError, StoreFailed),
    (Unauthenticated, NotAuthenticated),
    (AccountNotAllowed, NotAllowed),
    (BadCommittee, InvalidRequest),
    (NotAMember, InvalidRequest),
    (RoomForbidden, GatewayRefused),
    (RoomError, GatewayUnreachable),
    (HardenedPath, HardenedPathRequested),
    (BadDigest, BadDigestGiven),
    (CallerError, InvalidRequest),
    (ShareCorrupt, ShareDamaged),
    (NoBlame, CeremonyFailed),
    (LocalFault, InternalFailure),
    (ProtocolError, InternalFailure),
    (NodeError, InvalidRequest),
)


def failure_of(error: Exception) -> NodeFailure:
    """The failure for anything that was raised below; one that is a NodeFailure already is returned as it is."""
    if isinstance(error, NodeFailure):
        return error
    if isinstance(error, RateLimited):
        return TooManyRequests(str(error), retry_after=f"{error.retry_after:.1f}")
    if isinstance(error, Timeout):
        silent = [point - 1 for point in error.silent]
        names = ", ".join(map(str, silent)) or "nobody"
        return TimedOut(f"no message from index {names} in {error.phase}", silent=",".join(map(str, silent)))
    for kind, failure in _BY_TYPE:
        if isinstance(error, kind):
            return failure(str(error))
    return InternalFailure(f"internal error: {type(error).__name__}")
