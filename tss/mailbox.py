"""Where a session's messages are opened, authenticated and kept, one a slot (protocol.md 0.8)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from tss.encoding import ListOf, decode
from tss.envelope import (
    SIGNED_SCHEMA,
    Body,
    Kind,
    PartyId,
    Sealed,
    Signed,
    Slot,
    decode_body,
    unpack,
    unseal,
    verify_signature,
)
from tss.errors import SchemaViolation
from tss.params import MAX_SIGNERS
from tss.rand import Rng

MAX_EARLY_PER_PARTY: Final = 16
"""Envelopes of a sid that this party cannot compute yet; more from one room is noise."""

_SHOW_SCHEMA: Final = ListOf(SIGNED_SCHEMA, 1, 2 * MAX_SIGNERS)


class SessionKey:
    """This party's X25519 key of one session: peers seal their payloads to it. Lives in memory only."""

    def __init__(self, rng: Rng) -> None:
        self._secret = X25519PrivateKey.from_private_bytes(rng(32))

    @property
    def public(self) -> bytes:
        """epk, 32 bytes."""
        return self._secret.public_key().public_bytes_raw()

    def check_peer(self, epk: bytes) -> None:
        """Refuse a key of small order, to which nothing can be sealed. Raises SchemaViolation."""
        try:
            self._secret.exchange(X25519PublicKey.from_public_bytes(epk))
        except ValueError as error:
            raise SchemaViolation("session key of small order") from error

    def open(self, sealed: Sealed) -> tuple[bytes, bytes]:
        """(encoded body, signature) inside a sealed envelope. Raises SchemaViolation."""
        return unseal(sealed, self._secret)


class Mailbox:
    """All authenticated messages of one session. What does not belong here is dropped and counted by reason."""

    def __init__(self, proto: str, me: PartyId, identities: Mapping[PartyId, bytes], ph: bytes) -> None:
        self._proto = proto
        self._me = me
        self._identities = identities
        self._ph = ph
        self._early: list[bytes] = []
        self.sid: bytes | None = None
        self.key: SessionKey | None = None
        self.slots: dict[Slot, Signed] = {}
        self.shows: dict[tuple[bytes, int, PartyId], list[Signed]] = {}
        self.dropped: Counter[str] = Counter()

    def open(self, envelope: bytes) -> Signed | None:
        """Unpack an envelope, check that it belongs here and who signed it. None when it is dropped or kept for later."""
        try:
            return self._open(envelope)
        except SchemaViolation:
            self.dropped["malformed"] += 1
            return None

    def _open(self, envelope: bytes) -> Signed | None:
        parts = unpack(envelope)
        header = parts if isinstance(parts, Sealed) else decode_body(parts[0])
        reason = self._misplaced(header)
        if reason == "early" and len(self._early) < MAX_EARLY_PER_PARTY * len(self._identities):
            self._early.append(envelope)
            return None
        if reason:
            self.dropped[reason] += 1
            return None
        if isinstance(parts, Sealed):
            if self.key is None or parts.to != self._me:
                self.dropped["recipient"] += 1
                return None
            encoded, signature = self.key.open(parts)
            body = decode_body(encoded)
            header_slot = (parts.proto, parts.sid, parts.round, parts.kind, parts.sender, parts.to)
            if (body.proto, body.sid, body.round, body.kind, body.sender, body.to) != header_slot:
                self.dropped["header"] += 1
                return None
        else:
            encoded, signature = parts
            body = decode_body(encoded)
            if body.to is not None:
                self.dropped["unsealed"] += 1
                return None
        if not verify_signature(self._identities[body.sender], encoded, signature):
            self.dropped["signature"] += 1
            return None
        return Signed(body, encoded, signature)

    def _misplaced(self, header: Body | Sealed) -> str | None:
        """Why a message with this header is not for this session; None when it is."""
        if header.proto != self._proto or header.sender not in self._identities:
            return "stranger"
        if header.sender == self._me:
            return "own"
        if header.sid in (self._ph, self.sid):
            return None
        return "early" if self.sid is None else "sid"

    def take_early(self) -> list[bytes]:
        """Envelopes that came before the sid was known; they are handed out once."""
        early, self._early = self._early, []
        return early

    def get(
        self, sid: bytes, round_: int, kind: Kind, sender: PartyId, to: PartyId | None = None
    ) -> Signed | None:
        """The message of a slot."""
        return self.slots.get(Slot(sid, round_, kind, sender, to))

    def broadcasts(self, sid: bytes, round_: int) -> dict[PartyId, Signed]:
        """All [B] messages of a round, own included."""
        return {
            slot.sender: self.slots[slot]
            for slot in sorted(self.slots, key=lambda slot: slot.sender)
            if (slot.sid, slot.round, slot.kind, slot.to) == (sid, round_, Kind.MSG, None)
        }

    def put_show(self, signed: Signed) -> bool:
        """Keep the first show of a sender and round, validly signed broadcasts only. Raises SchemaViolation."""
        body = signed.body
        key = (body.sid, body.round, body.sender)
        if key in self.shows:
            return False
        self.shows[key] = list(self._shown(body, decode(body.payload, _SHOW_SCHEMA)))
        return True

    def _shown(self, show: Body, items: Sequence[list[bytes]]) -> Iterable[Signed]:
        for encoded, signature in items:
            body = decode_body(encoded)
            identity = self._identities.get(body.sender)
            belongs = (body.sid, body.round, body.kind, body.to) == (show.sid, show.round, Kind.MSG, None)
            if identity is not None and belongs and verify_signature(identity, encoded, signature):
                yield Signed(body, encoded, signature)
