"""What is kept of a presigning run in which somebody cheated, until it is known who (protocol.md 4.2). All of it is public."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tss.cggmp24.identify import Begun
from tss.cggmp24.identify_checks import ROUND
from tss.encoding import Bytes, Integer, ListOf, Text, Tuple, decode, encode
from tss.envelope import MAX_ENVELOPE_BYTES, SIGNED_SCHEMA, Kind, PartyId, unpack_broadcast
from tss.errors import ProtocolError, SchemaViolation
from tss.evidence import MAX_EVIDENCE_MESSAGES
from tss.params import Suite

_SCHEMA: Final = Tuple(
    Text(64),
    Bytes(1, MAX_ENVELOPE_BYTES),
    Text(16),
    Integer(16),
    ListOf(SIGNED_SCHEMA, 1, MAX_EVIDENCE_MESSAGES),
)


@dataclass(frozen=True)
class Run:
    """The run up to the identification."""

    proto: str
    preimage: bytes
    """ENC of the list whose hash is the sid."""
    case: str
    """"delta" or "chi"."""
    k: int
    """Which item of the batch."""
    messages: tuple[tuple[bytes, bytes], ...]
    """(encoded body, signature) of everybody's broadcasts and echoes of rounds 1 to 3."""

    @property
    def check(self) -> str:
        """The id of the identification's checks."""
        return f"presign.abort-{self.case}.item{self.k}"


def sender_of_opening(envelope: bytes) -> PartyId | None:
    """Whose abort message an envelope claims to be; None for anything else. Nothing is verified."""
    try:
        body, _, _ = unpack_broadcast(envelope)
    except SchemaViolation:
        return None
    return body.sender if (body.kind, body.round) == (Kind.MSG, ROUND) else None


def encode_run(suite: Suite, begun: Begun) -> bytes:
    """What `decode_run` reads."""
    transcript = begun.transcript
    shown = [signed.as_value() for signed in transcript.messages]
    return encode([suite.proto, encode(list(transcript.preimage)), begun.case, begun.k, shown])


def decode_run(data: bytes) -> Run:
    """Raises SchemaViolation."""
    try:
        proto, preimage, case, k, shown = decode(data, _SCHEMA)
    except ProtocolError as error:
        raise SchemaViolation(f"the record of a run is damaged: {error}") from None
    messages = tuple((bytes(encoded), bytes(signature)) for encoded, signature in shown)
    return Run(proto, bytes(preimage), case, int(k), messages)
