"""What a proposal comes to on this node, and why one is declined."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from participant.domain import DOMAIN
from participant.node.membership import Membership
from participant.node.stock import Stocked
from participant.node.workers import Urgency
from participant.store import AuditRecord
from tss.cggmp24 import aux_info, keygen, presign, refresh, reshare
from tss.effects import Protocol, SessionContext
from tss.envelope import Signed
from tss.errors import PeerFault
from tss.frost import dkg
from tss.frost import sign as frost
from tss.proposal import Proposal
from tss.setting import Setup
from tss.transcript import hash_commit

_URGENCY: Final = {
    keygen.KIND: Urgency.CEREMONY,
    aux_info.KIND: Urgency.CEREMONY,
    refresh.KIND: Urgency.CEREMONY,
    reshare.KIND: Urgency.CEREMONY,
    presign.KIND: Urgency.STOCK,
    dkg.KIND: Urgency.CEREMONY,
    frost.PREPARE_KIND: Urgency.STOCK,
}

Program = Callable[[SessionContext], Protocol[Any]]
StoreResult = Callable[[Any, bytes], None]
"""(the protocol's result, sid), in a worker thread."""


class Decline(StrEnum):
    """Why a node takes no part: the codes that travel in a refusal. A policy's own codes may stand there too."""

    UNREADABLE = "UNREADABLE"
    EXPIRED = "EXPIRED"
    OTHER_COMMITTEE = "OTHER_COMMITTEE"
    RECORDS_DIFFER = "RECORDS_DIFFER"
    KEY_SHARE_NOT_FOUND = "KEY_SHARE_NOT_FOUND"
    NEEDS_AUX = "NEEDS_AUX"
    ACCOUNT_EXISTS = "ACCOUNT_EXISTS"
    ACCOUNT_FROZEN = "ACCOUNT_FROZEN"
    ACCOUNT_DELETED = "ACCOUNT_DELETED"
    REFRESH_NEEDED = "REFRESH_NEEDED"
    SHARE_TOO_OLD = "SHARE_TOO_OLD"
    SHARE_DAMAGED = "SHARE_DAMAGED"
    BAD_SIGNER_SET = "BAD_SIGNER_SET"
    PRESIGNATURE_UNKNOWN = "PRESIGNATURE_UNKNOWN"
    NOT_THE_OWNER = "NOT_THE_OWNER"
    SECOND_REQUEST = "SECOND_REQUEST"
    BAD_PAYLOAD = "BAD_PAYLOAD"
    QUARANTINED = "QUARANTINED"
    SET_BLOCKED = "SET_BLOCKED"
    BUSY = "BUSY"
    PENDING = "PENDING"
    BEHIND = "BEHIND"
    NOT_ASKED = "NOT_ASKED"
    NOT_APPROVED = "NOT_APPROVED"
    STORE_FAILED = "STORE_FAILED"
    STOPPING = "STOPPING"


class Declined(Exception):
    """This node takes no part. `code` is stable, the text is for the reader at the other end."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = str(code)


class Misused(Declined):
    """The proposal itself is a fault of its signer; `fault` has the evidence."""

    def __init__(self, code: str, text: str, fault: PeerFault) -> None:
        super().__init__(code, text)
        self.fault = fault


@dataclass(frozen=True)
class Plan:
    """A session that this node is ready to take part in."""

    membership: Membership
    proposal: Proposal
    setup: Setup
    program: Program = field(repr=False)
    audit: AuditRecord
    """What the store appends when a signature of this session is answered; its `session` is filled in then."""
    presignature: Stocked | None = None
    """The one that signing from stock uses."""
    accounts: tuple[str, ...] = ()
    """Accounts that the outcome of a ceremony is for, in the order of the tail."""
    check_base: Callable[[], None] = field(default=lambda: None, repr=False)
    """Whether what a ceremony starts from is still so, when everybody has accepted it. Raises SessionMismatch."""
    store_result: StoreResult | None = field(default=None, repr=False)
    """Stores what signing from stock gives, together with this node's answer and before that leaves."""

    also: tuple[Plan, ...] = ()
    """The same session from this node's other seats in it (a dealer that is a new holder, too)."""
    is_second: bool = False
    """Whether this is such another seat. What the store keeps of it stands under ids of its own."""

    def row(self, scope: bytes) -> bytes:
        """The id under which the store keeps what this seat does in `scope` (the proposal's hash, or the session's id)."""
        return hash_commit(DOMAIN, "second seat", scope) if self.is_second else scope

    def backed_by(self, proposal: Signed) -> Plan:
        """The plan with what evidence from signing from stock needs: the signed proposal, and how the presignature was made."""
        if self.presignature is None:
            return self
        made = self.presignature.transcript
        setup = replace(
            self.setup,
            preimages=() if made is None else (made.preimage,),
            background=(proposal, *(() if made is None else made.messages)),
        )
        return replace(self, setup=setup)

    @property
    def ph(self) -> bytes:
        """The proposal's hash."""
        return self.setup.ph

    @property
    def kind(self) -> str:
        """The session's kind."""
        return self.setup.kind

    @property
    def urgency(self) -> Urgency:
        """Whether somebody waits for it."""
        return _URGENCY.get(self.kind, Urgency.SIGNING)

    @property
    def points(self) -> tuple[int, ...]:
        """The evaluation points of all who take part."""
        return tuple(member.party.index for member in self.setup.members)
