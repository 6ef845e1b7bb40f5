"""The messages of a session that belong to no protocol: acceptance, abort, complaint (protocol.md 0.7, 0.8, 4.1)."""

from __future__ import annotations

from typing import Final

from tss.encoding import Bytes, Schema, Text, Tuple, Value, decode
from tss.envelope import MAX_ENVELOPE_BYTES, PARTY_SCHEMA
from tss.mailbox import check_session_key

MAX_REASON: Final = 500
MAX_CHECK: Final = 128

ABORT_SCHEMA: Final = Tuple(Text(64), Text(MAX_REASON))
COMPLAINT_SCHEMA: Final = Tuple(PARTY_SCHEMA, Text(MAX_CHECK), Bytes(0, MAX_ENVELOPE_BYTES))


def read_acceptance(payload: bytes, enclosed: Schema | None = None) -> tuple[bytes, bytes, Value]:
    """(nonce, epk, what is enclosed or None), the first two of 32 bytes each.

    Raises SchemaViolation, also for an epk of small order, and BadPoint.
    """
    schemas = (Bytes(32), Bytes(32)) if enclosed is None else (Bytes(32), Bytes(32), enclosed)
    nonce, epk, *rest = decode(payload, Tuple(*schemas))
    check_session_key(epk)
    return nonce, epk, rest[0] if rest else None
