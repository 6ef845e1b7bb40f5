"""Proposals that nobody honest signs: with what is another party's, or with one presignature for two requests.

They are refused, so no session stands behind them. The signed proposals alone are the evidence, and where a presignature
is used by another than its owner, also what the id of the session that made it is the hash of: the owner is in it, and the
presignature's id is its hash (protocol.md 3.3).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tss.cggmp24 import presign, sign
from tss.cggmp24.presignature import item_of
from tss.encoding import Value, encode
from tss.envelope import Kind, PartyId, Signed, holder
from tss.errors import BadProposal, PeerFault
from tss.evidence import Evidence
from tss.judge.record import Bystander, NotProven, Preimage
from tss.params import Suite
from tss.proposal import Proposal, decode_proposal

OWNER: Final = "proposal.owner"
REQUEST: Final = "proposal.request"
"""Checks, behind the kind of session."""


def proposal_evidence(
    kind: str, check: str, proposals: Sequence[Signed], *preimages: Sequence[Value]
) -> bytes:
    """Evidence against the signer of `proposals`. `preimages`: of the session that made the presignature."""
    first, *_ = proposals
    return Evidence.collect(
        proto=first.body.proto,
        sid_preimages=preimages,
        accused=first.body.sender,
        check=f"{kind}.{check}",
        messages=proposals,
    ).encode()


def _named_owner(proposals: Sequence[Proposal], _: Sequence[Preimage]) -> None:
    """[the proposal]: who begins a batch, or signs in full, is the owner that it names."""
    (proposal,) = proposals
    _check_owner(proposal, int(proposal.tail[7]))


def _owner_of_presignature(proposals: Sequence[Proposal], preimages: Sequence[Preimage]) -> None:
    """[the proposal; what the presigning's session id is the hash of]."""
    (proposal,) = proposals
    if [preimage.kind for preimage in preimages] != [presign.KIND]:
        raise NotProven("the presigning's session id is missing, with what it is the hash of")
    (made,) = preimages
    ctx = Bystander(made.suite, made.sid, made.members)
    if item_of(ctx, int(made.tail[8]), proposal.tail[0]) is None:
        raise NotProven("the presigning did not make the presignature of the proposal")
    _check_owner(proposal, int(made.tail[7]))


def _check_owner(proposal: Proposal, owner: int) -> None:
    if proposal.initiator != holder(owner):
        fault = BadProposal("it proposes what only another party may propose, the owner")
        raise fault.blame(proposal.initiator.index, f"{proposal.kind}.{OWNER}")


def _one_request(proposals: Sequence[Proposal], _: Sequence[Preimage]) -> None:
    """[two proposals with one presignature]: digest, path, tau, S and e_owner are the same in both."""
    one, other = proposals
    if one.tail[0] != other.tail[0]:
        raise NotProven("the proposals are with two presignatures")
    if encode(one.tail) != encode(other.tail):
        fault = BadProposal("it proposes one presignature for two requests")
        raise fault.blame(other.initiator.index, f"{other.kind}.{REQUEST}")


@dataclass(frozen=True)
class Rule:
    """One check of proposals."""

    kind: str
    """Of the session that they propose."""
    count: int
    """How many proposals the evidence holds."""
    judge: Callable[[Sequence[Proposal], Sequence[Preimage]], None]
    """Raises the fault of the accused, or NotProven; returns when it passes."""
    section: str
    """Of protocol.md."""

    def check(
        self, suite: Suite | None, accused: PartyId, messages: Sequence[Signed], preimages: Sequence[Preimage]
    ) -> None:
        """Repeat it on authentic messages. Raises the fault of the accused, or NotProven; returns when it passes."""
        if suite is None:
            raise NotProven("the proposal's suite is not one that is accepted here")
        if len(messages) != self.count:
            raise NotProven(f"it holds {len(messages)} messages, the check is of {self.count}")
        self.judge([self._read(suite, accused, signed) for signed in messages], preimages)

    def _read(self, suite: Suite, accused: PartyId, signed: Signed) -> Proposal:
        if signed.body.sender != accused or signed.body.kind is not Kind.PROPOSE:
            raise NotProven("it holds something else than proposals of the accused")
        try:
            proposal = decode_proposal(suite, signed.body)
        except PeerFault as error:
            raise NotProven(f"the proposal cannot be read: {error.what}") from None
        if proposal.kind != self.kind:
            raise NotProven("the proposal is for a session of another kind")
        return proposal


RULES: Final[Mapping[str, Rule]] = {
    f"{presign.KIND}.{OWNER}": Rule(presign.KIND, 1, _named_owner, "3.3"),
    f"{presign.FULL_KIND}.{OWNER}": Rule(presign.FULL_KIND, 1, _named_owner, "3.4"),
    f"{sign.KIND}.{OWNER}": Rule(sign.KIND, 1, _owner_of_presignature, "3.3"),
    f"{sign.KIND}.{REQUEST}": Rule(sign.KIND, 2, _one_request, "3.5"),
}
"""By the check's whole id."""
