"""Evidence: what a third party needs to repeat a failing check (protocol.md 4.1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from tss.encoding import Bytes, ListOf, Optional, Text, Tuple, Value, decode, encode
from tss.envelope import MAX_ENVELOPE_BYTES, PARTY_SCHEMA, SIGNED_SCHEMA, PartyId, Signed, party_from_value

EVIDENCE_VERSION: Final = "evidence/v1"

MAX_EVIDENCE_MESSAGES: Final = 1024
"""More than all slots of the longest protocol among 16 parties; it bounds the signatures that a reader verifies."""

_SCHEMA: Final = Tuple(
    Text(64), Text(64), Optional(Bytes(0, MAX_ENVELOPE_BYTES)), PARTY_SCHEMA, Text(128),
    ListOf(SIGNED_SCHEMA, 0, MAX_EVIDENCE_MESSAGES),
)  # fmt: skip


@dataclass(frozen=True)
class Evidence:
    """A claim against one party, with the signed messages that show it.

    `sid_preimage` is the list whose hash is the sid (none when the run ended before round 1). `messages` holds the
    accused's own messages (the one to the accuser opened), the context broadcasts, and all echoes: the accused's own
    signed echo ties the context to what the accused saw.
    """

    proto: str
    sid_preimage: Sequence[Value] | None
    accused: PartyId
    check: str
    messages: tuple[Signed, ...]

    @classmethod
    def collect(
        cls,
        *,
        proto: str,
        sid_preimage: Sequence[Value] | None,
        accused: PartyId,
        check: str,
        messages: Iterable[Signed],
    ) -> Evidence:
        """Build evidence from messages in any order; each is kept once."""
        unique = {(signed.encoded, signed.signature): signed for signed in messages}
        return cls(proto, sid_preimage, accused, check, tuple(unique[key] for key in sorted(unique)))

    def encode(self) -> bytes:
        """ENC of [version, PROTO, sid preimage or none, accused, check, [[body, signature]...]]."""
        preimage = None if self.sid_preimage is None else encode(list(self.sid_preimage))
        shown = [signed.as_value() for signed in self.messages]
        return encode([EVIDENCE_VERSION, self.proto, preimage, self.accused.as_list(), self.check, shown])


def messages_in(evidence: bytes) -> list[list[bytes]]:
    """The [body, signature] that encoded evidence holds; nothing is verified. Raises SchemaViolation."""
    *_, shown = decode(evidence, _SCHEMA)
    return list(shown)


def claim_in(evidence: bytes) -> tuple[PartyId, str]:
    """The accused and the check that encoded evidence is about; nothing is verified. Raises SchemaViolation."""
    _, _, _, accused, check, _ = decode(evidence, _SCHEMA)
    return party_from_value(accused), check
