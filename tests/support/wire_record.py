"""What may never be found in a record of everything that was said, whatever was done to the messages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from tss.cggmp24 import sign
from tss.envelope import Body, Kind, Slot, decode_body, holder, unpack_broadcast, verify_signature
from tss.errors import SchemaViolation
from tss.params import Suite
from tss.proposal import decode_proposal
from tss.session import session_id

SLOTS = frozenset({Kind.MSG, Kind.ECHO, Kind.DONE})


def signed_bodies(envelopes: Iterable[bytes], identities: Sequence[bytes]) -> set[bytes]:
    """The broadcasts that members of the committee have signed, as their ENC bodies; copies count once."""
    found = set()
    for envelope in envelopes:
        try:
            body, *parts = unpack_broadcast(envelope)
        except SchemaViolation:
            continue
        members = {holder(index + 1): identity for index, identity in enumerate(identities)}
        if body.sender in members and verify_signature(members[body.sender], *parts):
            found.add(parts[0])
    return found


def check_record(
    envelopes: Iterable[bytes], identities: Sequence[bytes], suite: Suite, rolled_back: Sequence[int] = ()
) -> dict[str, int]:
    """Fail unless everybody said one thing in each slot, and no presignature was proposed for two requests.

    A partial signature is the message of one slot, in a session that belongs to one proposal, which names the
    presignature: so no presignature has two partial signatures of one signer. Nodes whose store went back to a former
    state (`rolled_back`, by index) may have accepted a proposal twice, but that holds for them too. Returns how much was
    looked at.
    """
    bodies = [decode_body(encoded) for encoded in signed_bodies(envelopes, identities)]
    slots: dict[Slot, set[bytes]] = defaultdict(set)
    proposals: dict[bytes, set[bytes]] = defaultdict(set)
    for body in bodies:
        if body.kind in SLOTS:
            slots[body.slot].add(body.payload)
        elif body.kind is Kind.PROPOSE:
            _count_proposal(body, suite, proposals)
    signing = {stock_sid(suite, ph) for phs in proposals.values() for ph in phs}
    forgetful = {holder(index + 1) for index in rolled_back}
    twice = [slot for slot, payloads in slots.items() if len(payloads) > 1]
    assert not [s for s in twice if s.sid in signing or s.sender not in forgetful], "two messages in one slot"
    assert not [one for one, phs in proposals.items() if len(phs) > 1], "a presignature was promised twice"
    return {"slots": len(slots), "presignatures": len(proposals)}


def stock_sid(suite: Suite, ph: bytes) -> bytes:
    """The session of a proposal to sign from stock (protocol.md 0.7)."""
    return session_id([suite.proto, "sid", sign.KIND, suite.group.name, ph])


def _count_proposal(body: Body, suite: Suite, proposals: dict[bytes, set[bytes]]) -> None:
    proposal = decode_proposal(suite, body)
    if proposal.kind == sign.KIND:
        proposals[proposal.tail[0]].add(body.sid)
