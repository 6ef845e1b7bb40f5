"""Others' complaints in one session: kept, one a sender, and judged one after the other (protocol.md 4.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from tss.effects import Job
from tss.encoding import Value, encode
from tss.envelope import PartyId, Signed, decode_body
from tss.errors import FalseAccusation, InternalError, SchemaViolation
from tss.evidence import Evidence, read_claim, session_preimages
from tss.judge import Verdict, judge
from tss.judge.generic import FALSE_COMPLAINT
from tss.params import Suite


@dataclass(frozen=True)
class Complaint:
    """A peer's signed complaint, read."""

    signed: Signed
    accused: PartyId
    check: str
    evidence: bytes = field(repr=False)

    @property
    def by(self) -> PartyId:
        """Who complains."""
        return self.signed.body.sender

    @property
    def reason(self) -> str:
        """Why the session ends where the complaint proves nothing."""
        return f"complains about party {self.accused.index}: {self.check}"


class Complaints:
    """What is to be judged. Judging verifies proofs, so it is a job, and a peer is listened to once."""

    def __init__(self, suite: Suite, identities: Mapping[PartyId, bytes]) -> None:
        self._suite = suite
        self._identities = identities
        self._heard: set[PartyId] = set()
        self._waiting: list[Complaint] = []
        self.first: Complaint | None = None
        """With which the run ended."""
        self.judging: Complaint | None = None

    def listens_to(self, sender: PartyId) -> bool:
        """Whether this is a peer's first complaint: what more it says costs us nothing."""
        first = sender not in self._heard
        self._heard.add(sender)
        return first

    def take(self, complaint: Complaint) -> None:
        """Put a complaint behind those that are there."""
        self.first = self.first or complaint
        self._waiting.append(complaint)

    def next_job(self, preimages: Sequence[Sequence[Value]], scopes: Sequence[bytes]) -> Job | None:
        """Begin with the next complaint whose evidence is of this session: the job gives its Verdict. None: there is none."""
        own = tuple(encode(list(preimage)) for preimage in preimages)
        while self._waiting:
            complaint = self._waiting.pop(0)
            if _of_this_session(complaint, own, scopes):
                self.judging = complaint
                return partial(_verdict, complaint, self._identities, {self._suite.proto: self._suite})
        self.judging = None
        return None

    def false_accusation(self, kind: str, preimages: Sequence[Sequence[Value]]) -> FalseAccusation:
        """The fault of whoever signed the complaint that was judged last; the complaint is the evidence."""
        complaint = self.judging
        if complaint is None:
            raise InternalError("no complaint was judged")
        fault = FalseAccusation(f"it {complaint.reason}, where every check passes")
        fault.blame(complaint.by, f"{kind}.{FALSE_COMPLAINT}")
        same_session = preimages if read_claim(complaint.evidence).preimages else ()
        fault.evidence = Evidence.collect(
            proto=self._suite.proto,
            sid_preimages=same_session,
            accused=complaint.by,
            check=fault.check,
            messages=[complaint.signed],
        ).encode()
        return fault


def _of_this_session(complaint: Complaint, own: tuple[bytes, ...], scopes: Sequence[bytes]) -> bool:
    """Whether the evidence is about what the complaint says, and this session's; what it holds is not verified yet."""
    try:
        claim = read_claim(complaint.evidence)
        said = {decode_body(encoded).sid for encoded, _ in claim.messages}
    except SchemaViolation:
        return False
    same = (claim.accused, claim.check) == (complaint.accused, complaint.check)
    return same and session_preimages(claim.preimages) in ((), own) and said <= set(scopes)


def _verdict(
    complaint: Complaint, identities: Mapping[PartyId, bytes], suites: Mapping[str, Suite]
) -> Verdict:
    return judge(complaint.evidence, identities, suites)
