"""Evidence: what a third party needs to repeat a failing check (protocol.md 4.1). `tss.judge` repeats it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from tss.encoding import TAG_LIST, Bytes, ListOf, Reader, Text, Tuple, Value, decode, encode
from tss.envelope import MAX_ENVELOPE_BYTES, PARTY_SCHEMA, SIGNED_SCHEMA, PartyId, Signed, party_from_value
from tss.errors import SchemaViolation

EVIDENCE_VERSION: Final = "evidence/v1"

MAX_EVIDENCE_MESSAGES: Final = 1024
"""More than all slots of the longest protocol among 16 parties; it bounds the signatures that a reader verifies."""

MAX_PREIMAGES: Final = 4
"""Of the claim's own session, of those that it rests on, and of a request."""

REQUEST_TAGS: Final = frozenset({"req", "pkg"})
"""Of the lists whose hash a signer signs beside its partial signature."""

MAX_EVIDENCE_BYTES: Final = 256 << 20
"""Of a file: what 16 signers open in an identification, with everything before it, is about 100 MB."""

_SCHEMA: Final = Tuple(
    Text(64), Text(64), ListOf(Bytes(0, MAX_ENVELOPE_BYTES), 0, MAX_PREIMAGES), PARTY_SCHEMA, Text(128),
    ListOf(SIGNED_SCHEMA, 0, MAX_EVIDENCE_MESSAGES),
)  # fmt: skip


@dataclass(frozen=True)
class Evidence:
    """A claim against one party, with the signed messages that show it.

    `sid_preimages` are the lists whose hashes are session ids, the claim's own session first (none when the run ended
    before round 1). `messages` holds the accused's own messages (the one to the accuser opened) and the context
    broadcasts that the failing check needs: the accused's own signed echo ties the context to what the accused saw.
    """

    proto: str
    sid_preimages: tuple[Sequence[Value], ...]
    accused: PartyId
    check: str
    messages: tuple[Signed, ...]

    @classmethod
    def collect(
        cls,
        *,
        proto: str,
        sid_preimages: Iterable[Sequence[Value]],
        accused: PartyId,
        check: str,
        messages: Iterable[Signed],
    ) -> Evidence:
        """Build evidence from messages in any order; each is kept once."""
        unique = {(signed.encoded, signed.signature): signed for signed in messages}
        listed = tuple(unique[key] for key in sorted(unique))
        return cls(proto, tuple(sid_preimages), accused, check, listed)

    def encode(self) -> bytes:
        """ENC of [version, PROTO, [sid preimage...], accused, check, [[body, signature]...]]."""
        preimages = [encode(list(preimage)) for preimage in self.sid_preimages]
        shown = [signed.as_value() for signed in self.messages]
        return encode([EVIDENCE_VERSION, self.proto, preimages, self.accused.as_list(), self.check, shown])


@dataclass(frozen=True)
class Claim:
    """Evidence as it was read: nothing in it is verified yet."""

    proto: str
    preimages: tuple[bytes, ...]
    accused: PartyId
    check: str
    messages: tuple[tuple[bytes, bytes], ...]
    """(encoded body, signature)."""

    def encode(self) -> bytes:
        """What `read_claim` reads."""
        shown = [[encoded, signature] for encoded, signature in self.messages]
        preimages = list(self.preimages)
        return encode([EVIDENCE_VERSION, self.proto, preimages, self.accused.as_list(), self.check, shown])


def read_claim(evidence: bytes) -> Claim:
    """Decode evidence. Raises SchemaViolation for bytes that are none."""
    version, proto, preimages, accused, check, shown = decode(evidence, _SCHEMA)
    if version != EVIDENCE_VERSION:
        raise SchemaViolation(f"evidence of version {version!r}, this release reads {EVIDENCE_VERSION!r}")
    messages = tuple((bytes(encoded), bytes(signature)) for encoded, signature in shown)
    return Claim(proto, tuple(preimages), party_from_value(accused), check, messages)


def messages_in(evidence: bytes) -> list[tuple[bytes, bytes]]:
    """The (body, signature) that encoded evidence holds; nothing is verified. Raises SchemaViolation."""
    return list(read_claim(evidence).messages)


def claim_in(evidence: bytes) -> tuple[PartyId, str]:
    """The accused and the check that encoded evidence is about; nothing is verified. Raises SchemaViolation."""
    claim = read_claim(evidence)
    return claim.accused, claim.check


def session_preimages(preimages: Sequence[bytes]) -> tuple[bytes, ...]:
    """Those of session ids; a partial signature's evidence also holds the list whose hash is the accused's req or pkg."""
    return tuple(encoded for encoded in preimages if _tag(encoded) not in REQUEST_TAGS)


def request_preimages(preimages: Sequence[bytes], req: bytes) -> list[bytes]:
    """Those whose hash is `req`."""
    return [
        encoded
        for encoded in preimages
        if _tag(encoded) in REQUEST_TAGS and hashlib.sha256(encoded).digest() == req
    ]


def _tag(encoded: bytes) -> str:
    """The second item of an encoded list; empty for anything else."""
    reader = Reader(encoded, 0, len(encoded))
    try:
        reader.header(TAG_LIST, "list")
        reader.take(4)
        Text(64).read(reader, 2)
        return str(Text(16).read(reader, 2))
    except SchemaViolation:
        return ""
