"""What a proposer may propose: its own runs, and each of its own presignatures for one request (protocol.md 3.3, 3.5).

Anything else is refused, and is evidence, which is judged here as anybody would judge it before it counts. What a
presignature was first proposed for is remembered also when the presignature is gone, while there is room.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NoReturn

from participant.node.membership import Membership
from participant.node.plan import Decline, Declined, Misused
from participant.node.stock import Stocked
from tss.cggmp24 import presign, sign
from tss.encoding import Value, encode
from tss.envelope import Signed, holder
from tss.judge import judge
from tss.judge.proposals import OWNER, REQUEST, proposal_evidence
from tss.params import Suite
from tss.proposal import Proposal

MAX_BYTES: Final = 4 << 20
"""Of what is remembered of one owner's presignatures: some hundreds of the usual size, or a single one of the largest."""

_OWNED: Final = frozenset({presign.KIND, presign.FULL_KIND})
"""Kinds of sessions whose proposal names an owner."""

_TEXTS: Final = {
    Decline.NOT_THE_OWNER: "the proposer is not the owner",
    Decline.SECOND_REQUEST: "the presignature was proposed for another request before",
}


@dataclass(frozen=True)
class Use:
    """The first proposal that a presignature's owner made with it."""

    owner: int
    """Evaluation point."""
    preimage: Sequence[Value] = field(repr=False)
    """What the id of the session that made the presignature is the hash of."""
    proposal: Signed = field(repr=False)
    tail: bytes
    """Of the proposal, ENC: the request, of which nothing may be another one in a second proposal."""

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.proposal.encoded) + len(encode(list(self.preimage)))


@dataclass
class _Owners:
    """What is remembered of one owner, the oldest first."""

    order: deque[tuple[bytes, bytes]] = field(default_factory=deque)
    size: int = 0


class FirstUses:
    """First uses by committee and presignature id. Thread-safe. An owner's oldest go when there are too many bytes of its."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._uses: dict[tuple[bytes, bytes], Use] = {}
        self._owners: dict[tuple[bytes, int], _Owners] = {}

    def find(self, committee_id: bytes, presignature_id: bytes) -> Use | None:
        """What was put first."""
        with self._lock:
            return self._uses.get((committee_id, presignature_id))

    def put(self, committee_id: bytes, presignature_id: bytes, use: Use) -> Use:
        """Remember a use unless there was one before; the first one."""
        place = (committee_id, presignature_id)
        with self._lock:
            first = self._uses.setdefault(place, use)
            if first is use:
                kept = self._owners.setdefault((committee_id, use.owner), _Owners())
                kept.order.append(place)
                kept.size += use.size
                while kept.size > self._max_bytes and len(kept.order) > 1:
                    kept.size -= self._uses.pop(kept.order.popleft()).size
        return first


class Ownership:
    """Thread-safe. `check` judges, so it is for worker threads."""

    def __init__(self, find_presignature: Callable[[bytes], Stocked | None]) -> None:
        self._find_presignature = find_presignature
        self._first_uses = FirstUses()

    def check(self, membership: Membership, suite: Suite, proposal: Proposal, signed: Signed) -> None:
        """Look at `signed`, another member's proposal. Raises Misused with the fault of its signer, Declined without proof."""
        if proposal.kind == sign.KIND:
            self._check_presignature(membership, suite, proposal, signed)
        elif proposal.kind in _OWNED and proposal.initiator != holder(int(proposal.tail[7])):
            evidence = proposal_evidence(proposal.kind, OWNER, [signed])
            _refuse(membership, suite, Decline.NOT_THE_OWNER, evidence)

    def note(self, membership: Membership, proposal: Proposal, signed: Signed) -> None:
        """Remember this node's own proposal: others may try what it was made with."""
        if proposal.kind == sign.KIND and (use := self._use(proposal, signed)) is not None:
            self._first_uses.put(membership.committee_id, proposal.tail[0], use)

    def _check_presignature(
        self, membership: Membership, suite: Suite, proposal: Proposal, signed: Signed
    ) -> None:
        committee_id, presignature_id = membership.committee_id, proposal.tail[0]
        use = self._first_uses.find(committee_id, presignature_id) or self._use(proposal, signed)
        if use is None:
            return
        if proposal.initiator != holder(use.owner):
            evidence = proposal_evidence(proposal.kind, OWNER, [signed], use.preimage)
            _refuse(membership, suite, Decline.NOT_THE_OWNER, evidence)
        # Of two at the same moment one is the first.
        first = self._first_uses.put(committee_id, presignature_id, use)
        if first.tail != encode(proposal.tail):
            evidence = proposal_evidence(proposal.kind, REQUEST, [first.proposal, signed])
            _refuse(membership, suite, Decline.SECOND_REQUEST, evidence)

    def _use(self, proposal: Proposal, signed: Signed) -> Use | None:
        """What it would be a use of; None when this node knows nothing of the presignature."""
        presignature = self._find_presignature(proposal.tail[0])
        if presignature is None or presignature.transcript is None:
            return None
        preimage = presignature.transcript.preimage
        return Use(presignature.public.owner, preimage, signed, encode(proposal.tail))


def _refuse(membership: Membership, suite: Suite, code: Decline, evidence: bytes) -> NoReturn:
    """Raise Misused when the evidence proves guilt to whoever knows the committee, else Declined."""
    verdict = judge(evidence, membership.identities, {suite.proto: suite})
    if verdict.fault is None:
        raise Declined(code, _TEXTS[code])
    verdict.fault.evidence = evidence
    raise Misused(code, f"{_TEXTS[code]}; the proposal is kept as evidence", verdict.fault)
