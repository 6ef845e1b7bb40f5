"""Target: evidence before the judge, who shares no state with any session. Whoever signed nothing wrong is never guilty."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from fuzz_target import OK, Target, need
from fuzz_tss import behind_a_byte
from judging_testing import CASES, CHEATER, SUITES, write
from session_testing import identity_of

from tss.envelope import decode_body, holder, verify_signature
from tss.errors import SchemaViolation
from tss.evidence import Claim, read_claim
from tss.judge import judge

IDENTITIES = {holder(index): identity_of(holder(index)).public for index in (1, 2, 3)}
CHOSEN = (
    "keygen.r2.share",
    "keygen.r3.sch",
    "keygen.r2.echo",
    "keygen.r1.msg",
    "aux.r3.fac",
    "presign.r3.item0.elog",
)


def _signed_anew(claim: Claim) -> tuple[Claim, set[int]]:
    """The claim with every message signed by whom it names, and who signed what they did not sign in their run."""
    messages, lied = [], set()
    for encoded, signature in claim.messages:
        try:
            sender = decode_body(encoded).sender
        except SchemaViolation:
            messages.append((encoded, signature))
            continue
        if sender in IDENTITIES and not verify_signature(IDENTITIES[sender], encoded, signature):
            lied.add(sender.index)
            messages.append((encoded, identity_of(sender).sign(encoded)))
        else:
            messages.append((encoded, signature))
    return replace(claim, messages=tuple(messages)), lied


def _judge(data: bytes) -> str:
    """The first byte says whether whoever is named has signed what the evidence holds of it."""
    evidence, lied = data[1:], set[int]()
    try:
        if data[:1] > b"\x7f":
            claim, lied = _signed_anew(read_claim(evidence))
            evidence = write(claim)
        verdict = judge(evidence, IDENTITIES, SUITES)
    except SchemaViolation:
        return "SchemaViolation"
    if verdict.guilty:
        need(
            verdict.accused.index in lied | {CHEATER},
            f"party {verdict.accused.index} is guilty of {verdict.check}",
        )
        need(bool(verdict.section) and bool(verdict.check), "guilty of nothing in particular")
        return "guilty"
    return "cleared" if verdict.cleared else OK


def _evidence() -> Iterator[bytes]:
    for check in CHOSEN:
        evidence = CASES[check].evidence
        yield b"\0" + evidence
        yield b"\xff" + evidence


TARGETS = [Target("judge", _judge, _evidence, mutate=behind_a_byte, max_len=1 << 15, share=0.1)]
