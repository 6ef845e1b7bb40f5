"""What may never be found in a record of everything that was said, whatever was done to the messages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from tss.cggmp24 import sign
from tss.envelope import Body, Kind, Sealed, decode_body, holder, unpack, verify_signature
from tss.errors import SchemaViolation
from tss.params import Suite
from tss.proposal import decode_proposal

SLOTS = frozenset({Kind.MSG, Kind.ECHO, Kind.DONE})


def signed_bodies(envelopes: Iterable[bytes], identities: Sequence[bytes]) -> set[bytes]:
    """The broadcasts that members of the committee have signed, as their ENC bodies; copies count once."""
    found = set()
    for envelope in envelopes:
        try:
            parts = unpack(envelope)
            if isinstance(parts, Sealed):
                continue
            sender = decode_body(parts[0]).sender
        except SchemaViolation:
            continue
        members = {holder(index + 1): identity for index, identity in enumerate(identities)}
        if sender in members and verify_signature(members[sender], *parts):
            found.add(parts[0])
    return found


def check_record(envelopes: Iterable[bytes], identities: Sequence[bytes], suite: Suite) -> dict[str, int]:
    """Fail unless everybody said one thing in each slot, and no presignature was proposed for two requests.

    A partial signature is the message of one slot, in a session that belongs to one proposal, which names the
    presignature: so no presignature has two partial signatures of one signer. Returns how much was looked at.
    """
    bodies = [decode_body(encoded) for encoded in signed_bodies(envelopes, identities)]
    slots: dict[object, set[bytes]] = defaultdict(set)
    proposals: dict[bytes, set[bytes]] = defaultdict(set)
    for body in bodies:
        if body.kind in SLOTS:
            slots[body.slot].add(body.payload)
        elif body.kind is Kind.PROPOSE:
            _count_proposal(body, suite, proposals)
    assert not [slot for slot, payloads in slots.items() if len(payloads) > 1], "two messages in one slot"
    assert not [one for one, phs in proposals.items() if len(phs) > 1], "a presignature was promised twice"
    return {"slots": len(slots), "presignatures": len(proposals)}


def _count_proposal(body: Body, suite: Suite, proposals: dict[bytes, set[bytes]]) -> None:
    proposal = decode_proposal(suite, body)
    if proposal.kind == sign.KIND:
        proposals[proposal.tail[0]].add(body.sid)
