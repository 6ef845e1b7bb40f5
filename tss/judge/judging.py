"""The judge: evidence and a committee's public record in, a verdict out (protocol.md 4.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tss.control import COMPLAINT_SCHEMA
from tss.encoding import decode
from tss.envelope import Kind, PartyId, Signed, Slot, party_from_value
from tss.errors import FalseAccusation, PeerFault, ProtocolError, SchemaViolation
from tss.evidence import Claim, read_claim, session_preimages
from tss.judge import generic
from tss.judge.proposals import RULES
from tss.judge.readers import READERS
from tss.judge.record import NotProven, Preimage, Record, authentic, read_preimage
from tss.judge.signing import proposed
from tss.params import CGGMP24_SECP256K1, FROST_BIP340, FROST_ED25519, Suite
from tss.proposal import WITHOUT_ROUND_0

PRODUCTION_SUITES: Final[Mapping[str, Suite]] = {
    suite.proto: suite for suite in (CGGMP24_SECP256K1, FROST_ED25519, FROST_BIP340)
}

MAX_NESTING: Final = 3
"""Complaints about complaints: nobody honest is further from the message that it is all about."""

_NAME: Final = re.compile(r"[a-z-]{1,16}")
_TRANSPORT, _BLAME = "0.8", "4.1"


@dataclass(frozen=True)
class Verdict:
    """What evidence is worth. `guilty` rests on signatures and public data alone; anything else is "not proven"."""

    guilty: bool
    accused: PartyId
    check: str
    """The failing check's id; when nothing is proven, the one that was claimed."""
    section: str
    """Of protocol.md; empty when nothing is proven."""
    reason: str
    """What is wrong with the message, or what is missing."""
    cleared: bool = False
    """The evidence is complete and every check passes: whoever signed this complaint accuses falsely."""
    fault: PeerFault | None = field(default=None, repr=False, compare=False)
    """What a party that judges for itself raises."""


def judge(
    evidence: bytes, identities: Mapping[PartyId, bytes], suites: Mapping[str, Suite] = PRODUCTION_SUITES
) -> Verdict:
    """Repeat the check that `evidence` claims to fail, from nothing but it and the committee's identity keys.

    `identities` are Ed25519 keys, 32 bytes each; `suites` by PROTO, at the only level accepted for each. Raises
    SchemaViolation for bytes that are no evidence, and nothing else.
    """
    return _judge(read_claim(evidence), identities, suites, MAX_NESTING)


def _judge(
    claim: Claim, identities: Mapping[PartyId, bytes], suites: Mapping[str, Suite], depth: int
) -> Verdict:
    case = _Case(claim, identities, suites, depth)
    try:
        case.examine()
    except NotProven as lack:
        return Verdict(False, claim.accused, _plain(claim.check), "", str(lack))
    except PeerFault as fault:
        if fault.is_of(claim.accused):
            return Verdict(True, claim.accused, fault.check, case.section, fault.what, fault=fault)
        return _unjudged(claim, fault)
    except ProtocolError as error:
        return _unjudged(claim, error)
    return Verdict(False, claim.accused, _plain(claim.check), "", "the check passes", cleared=True)


def _unjudged(claim: Claim, error: ProtocolError) -> Verdict:
    return Verdict(False, claim.accused, _plain(claim.check), "", f"the check cannot be made: {error}")


def _plain(text: str) -> str:
    """What somebody else wrote, fit for a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


class _Case:
    """One claim under examination; `section` says where in protocol.md the check stands that is being made."""

    def __init__(
        self, claim: Claim, identities: Mapping[PartyId, bytes], suites: Mapping[str, Suite], depth: int
    ) -> None:
        self._claim = claim
        self._identities = identities
        self._suites = suites
        self._depth = depth
        self.section = _TRANSPORT

    def examine(self) -> None:
        """Raises the fault of the accused, or NotProven; returns when the evidence is complete and all checks pass."""
        claim = self._claim
        name, _, rest = claim.check.partition(".")
        step, _, rest = rest.partition(".")
        messages, wrong = authentic(claim.messages, claim.proto, self._identities)
        own = [signed for signed in messages if signed.body.sender == claim.accused]
        kind = name if _NAME.fullmatch(name) else "session"
        generic.check_versions(kind, own)
        if wrong:
            raise NotProven(wrong)
        preimages = [
            read_preimage(encoded, claim.proto, self._suites, self._identities)
            for encoded in session_preimages(claim.preimages)
        ]
        rule = RULES.get(claim.check)
        if rule is not None:
            self.section = rule.section
            rule.check(self._suites.get(claim.proto), claim.accused, messages, preimages)
            return
        preimages[:1] = [proposed(session, messages, self._identities) for session in preimages[:1]]
        self._same_session(messages, preimages)
        record = _record(claim, preimages, messages) if preimages else None
        kind = record.session.kind if record is not None else kind
        round_ = generic.round_of(step)
        if rest == "schema" and step in (Kind.ABORT, Kind.COMPLAINT, Kind.SHOW):
            generic.check_control(kind, Kind(step), own, self._identities, record)
        elif f"{step}.{rest}" == generic.FALSE_COMPLAINT:
            self._false_complaint(kind, own)
        elif round_ is not None and rest == "echo":
            generic.check_echo(kind, claim.proto, round_, own, self._identities, record)
        elif round_ == 0 and rest == "schema" and kind not in WITHOUT_ROUND_0:
            generic.check_acceptance(kind, self._suites.get(claim.proto), own)
        elif record is None:
            raise NotProven("the session's id is missing, with what it is the hash of")
        elif round_ is not None and rest == "schema":
            self._schema(record, round_)
        else:
            self._step(record, step)

    def _same_session(self, messages: Sequence[Signed], preimages: Sequence[Preimage]) -> None:
        scopes = {scope for preimage in preimages for scope in (preimage.sid, preimage.ph)}
        said = {signed.body.sid for signed in messages}
        if not (said <= scopes if preimages else len(said) <= 1):
            raise NotProven("it holds messages of another session")

    def _schema(self, record: Record, round_: int) -> None:
        """A message of a round that cannot be read."""
        for slot in record.own:
            if (slot.sid, slot.round) == (record.session.sid, round_) and slot.kind in (Kind.MSG, Kind.DONE):
                _ = record.said(round_, slot.kind) if slot.to is None else record.told(round_)
        due = [receive for receive in record.rounds if receive.round == round_]
        if not due:
            raise NotProven(f"{record.session.kind} has no round {round_}")
        for receive in due:
            record.signed(round_, kind=receive.kind)
            if receive.p2p is not None:
                record.need_told(record.told(round_), round_)

    def _step(self, record: Record, step: str) -> None:
        found = READERS[record.session.kind].steps.get(step)
        if found is None:
            raise NotProven(f"{record.session.kind} has no check of this name")
        self.section = found.section
        found.check(record)

    def _false_complaint(self, kind: str, own: Sequence[Signed]) -> None:
        """A complaint whose own evidence is complete, and whose check passes. Raises FalseAccusation."""
        self.section = _BLAME
        complaints = [signed for signed in own if signed.body.kind is Kind.COMPLAINT]
        if not complaints:
            raise NotProven("the accused's complaint is missing")
        if self._depth == 0:
            raise NotProven("it is about complaints about complaints, too many of them")
        for signed in complaints:
            self._complaint(kind, signed)

    def _complaint(self, kind: str, signed: Signed) -> None:
        try:
            accused, check, evidence = decode(signed.body.payload, COMPLAINT_SCHEMA)
            inner = read_claim(evidence)
        except SchemaViolation:
            raise NotProven("the complaint holds no evidence that can be read") from None
        if (inner.accused, inner.check, inner.proto) != (party_from_value(accused), check, self._claim.proto):
            raise NotProven("the complaint's evidence is about something else than it says")
        if session_preimages(inner.preimages) != self._claim.preimages:
            raise NotProven("the complaint's evidence is of another session")
        verdict = _judge(inner, self._identities, self._suites, self._depth - 1)
        if verdict.guilty:
            return
        if not verdict.cleared:
            raise NotProven(
                f"the complaint is not proven, but its evidence is not complete: {verdict.reason}"
            )
        fault = FalseAccusation(
            f"it accuses party {inner.accused.index} of what did not happen: every check passes"
        )
        raise fault.blame(signed.body.sender, f"{kind}.{generic.FALSE_COMPLAINT}")


def _record(claim: Claim, preimages: Sequence[Preimage], messages: Sequence[Signed]) -> Record:
    reader = READERS[preimages[0].kind]
    own = {signed.body.slot: signed for signed in messages if signed.body.sender == claim.accused}
    others: dict[Slot, list[Signed]] = {}
    for signed in messages:
        if signed.body.sender != claim.accused:
            others.setdefault(signed.body.slot, []).append(signed)
    return Record(claim, tuple(preimages), reader.rounds(preimages[0]), own, others)
