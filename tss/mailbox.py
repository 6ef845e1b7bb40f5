"""Where a session's messages are opened, authenticated and kept, one a slot (protocol.md 0.8)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from tss.echo import MAX_SHOWS, SAID_ONCE
from tss.encoding import ListOf, decode
from tss.envelope import (
    MAX_BROADCAST_BYTES,
    MAX_ENVELOPE_BYTES,
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
"""Messages of a sid that this party cannot compute yet; nobody honest is further ahead than one round."""

MAX_KEPT_BYTES_PER_PARTY: Final = 2 * MAX_ENVELOPE_BYTES
"""All that is kept of one member. The largest honest sender shows a round and opens one in an abort, an envelope each."""

_SHOW_SCHEMA: Final = ListOf(SIGNED_SCHEMA, 1, 2 * MAX_SIGNERS)
_IN_SESSION: Final = (Kind.MSG, Kind.ECHO, Kind.DONE, Kind.SHOW, Kind.COMPLAINT, Kind.ABORT)


class SessionKey:
    """This party's X25519 key of one session: peers seal their payloads to it. Lives in memory only."""

    def __init__(self, rng: Rng) -> None:
        self._secret = X25519PrivateKey.from_private_bytes(rng(32))

    @property
    def public(self) -> bytes:
        """epk, 32 bytes."""
        return self._secret.public_key().public_bytes_raw()

    def open(self, sealed: Sealed) -> tuple[Body, bytes]:
        """(body, signature) of a sealed envelope, the signature not yet checked. Raises SchemaViolation."""
        return unseal(sealed, self._secret)


_ANY_SECRET: Final = X25519PrivateKey.from_private_bytes(bytes(32))


def check_session_key(epk: bytes) -> None:
    """Refuse a peer's key (32 bytes) of small order, to which nothing can be sealed. Raises SchemaViolation."""
    try:
        _ANY_SECRET.exchange(X25519PublicKey.from_public_bytes(epk))
    except ValueError as error:
        raise SchemaViolation("session key of small order") from error


@dataclass(frozen=True)
class Show:
    """A signed show, and the broadcasts of its round that it holds, each signed by its sender."""

    signed: Signed
    messages: tuple[Signed, ...]


def read_show(body: Body, identities: Mapping[PartyId, bytes]) -> tuple[Signed, ...]:
    """The broadcasts that a show holds. Raises SchemaViolation unless all are of its round and signed by members."""
    found = []
    for encoded, signature in decode(body.payload, _SHOW_SCHEMA):
        shown = decode_body(encoded)
        place = (shown.proto, shown.sid, shown.round, shown.kind, shown.to)
        identity = identities.get(shown.sender)
        fits = place == (body.proto, body.sid, body.round, Kind.MSG, None)
        if identity is None or not fits or not verify_signature(identity, encoded, signature):
            raise SchemaViolation("a show of what is no broadcast of its round by a member")
        found.append(Signed(shown, encoded, signature))
    return tuple(found)


class Mailbox:
    """All authenticated messages of one session. What does not belong here is dropped and counted by reason."""

    def __init__(self, proto: str, me: PartyId, identities: Mapping[PartyId, bytes], ph: bytes) -> None:
        self._proto = proto
        self._me = me
        self._identities = identities
        self._ph = ph
        self._early: dict[bytes, Signed] = {}
        self._kept_bytes: Counter[PartyId] = Counter()
        self.sid: bytes | None = None
        self.key: SessionKey | None = None
        self.slots: dict[Slot, Signed] = {}
        self.shows: dict[tuple[bytes, int, PartyId], list[Show]] = {}
        self.dropped: Counter[str] = Counter()

    def open(self, envelope: bytes) -> Signed | None:
        """Unpack an envelope, check that it belongs here and who signed it. None when it is dropped or kept for later."""
        try:
            opened = self._open(envelope)
        except SchemaViolation:
            opened = "malformed"
        if isinstance(opened, str):
            self.dropped[opened] += 1
            return None
        if opened.body.sid in (self._ph, self.sid):
            return opened
        self._keep_early(opened)
        return None

    def _open(self, envelope: bytes) -> Signed | str:
        """The authenticated message in an envelope, or why it is dropped."""
        parts = unpack(envelope)
        if isinstance(parts, Sealed):
            return self._misplaced(parts) or self._unsealed(parts)
        encoded, signature = parts
        body = decode_body(encoded)
        too_large = body.kind in SAID_ONCE and len(encoded) > MAX_BROADCAST_BYTES
        return (
            self._misplaced(body)
            or ("size" if too_large else None)
            or self._authentic(Signed(body, encoded, signature))
        )

    def _unsealed(self, sealed: Sealed) -> Signed | str:
        if self.key is None:
            return "recipient"
        body, signature = self.key.open(sealed)
        return self._authentic(Signed(body, body.encode(), signature))

    def _authentic(self, claimed: Signed) -> Signed | str:
        identity = self._identities[claimed.body.sender]
        return claimed if verify_signature(identity, claimed.encoded, claimed.signature) else "signature"

    def _misplaced(self, header: Body | Sealed) -> str | None:
        """Why a message with this header is not for this session; None when it is, or may turn out to be."""
        sealed = isinstance(header, Sealed)
        if header.proto != self._proto or header.sender not in self._identities:
            return "stranger"
        if header.sender == self._me:
            return "own"
        if header.kind not in ((Kind.MSG,) if sealed else _IN_SESSION):
            return "kind"
        if sealed and header.to != self._me:
            return "recipient"
        if not sealed and header.to is not None:
            return "unsealed"
        if header.sid == self._ph:
            return None if header.round == 0 else "round"
        return None if self.sid in (None, header.sid) else "sid"

    def room_for(self, signed: Signed) -> bool:
        """Count a message that is about to be kept; False, and dropped, when its sender has filled its part."""
        sender, size = signed.body.sender, len(signed.encoded)
        if self._kept_bytes[sender] + size > MAX_KEPT_BYTES_PER_PARTY:
            self.dropped["flood"] += 1
            return False
        self._kept_bytes[sender] += size
        return True

    def _keep_early(self, signed: Signed) -> None:
        """Keep a member's message of another sid, which may be the one that this party will compute."""
        if signed.encoded in self._early:
            return
        ahead = sum(other.body.sender == signed.body.sender for other in self._early.values())
        if ahead >= MAX_EARLY_PER_PARTY:
            self.dropped["early"] += 1
        elif self.room_for(signed):
            self._early[signed.encoded] = signed

    def take_early(self) -> list[Signed]:
        """Messages of this sid that came before it was known, in order; they are handed out once."""
        early, self._early = self._early, {}
        for signed in early.values():
            self._kept_bytes[signed.body.sender] -= len(signed.encoded)
            if signed.body.sid != self.sid:
                self.dropped["sid"] += 1
        return [signed for signed in early.values() if signed.body.sid == self.sid]

    def keep(self, signed: Signed) -> Signed | None:
        """Keep the first message of a slot. Returns the one that is there already when it is another one."""
        known = self.slots.get(signed.body.slot)
        if known is not None:
            return None if known.encoded == signed.encoded else known
        if self.room_for(signed):
            self.slots[signed.body.slot] = signed
        return None

    def get(
        self, sid: bytes, round_: int, kind: Kind, sender: PartyId, to: PartyId | None = None
    ) -> Signed | None:
        """The message of a slot."""
        return self.slots.get(Slot(sid, round_, kind, sender, to))

    def keep_show(self, signed: Signed) -> Show | None:
        """Keep a show; None when it is a copy or one too many.

        Raises SchemaViolation unless all that it holds are broadcasts of its round that members signed.
        """
        body = signed.body
        key = (body.sid, body.round, body.sender)
        known = self.shows.get(key, [])
        if any(show.signed.encoded == signed.encoded for show in known):
            return None
        if len(known) >= MAX_SHOWS:
            self.dropped["show"] += 1
            return None
        if not self.room_for(signed):
            return None
        show = Show(signed, read_show(body, self._identities))
        self.shows[key] = [*known, show]
        return show

    def authentic(self, items: Iterable[Sequence[bytes]]) -> list[Signed]:
        """Those [body, signature] that members of this session signed in it. Raises SchemaViolation."""
        found = []
        for encoded, signature in items:
            body = decode_body(encoded)
            identity = self._identities.get(body.sender)
            here = body.proto == self._proto and body.sid in (self._ph, self.sid)
            if here and identity is not None and verify_signature(identity, encoded, signature):
                found.append(Signed(body, encoded, signature))
        return found

    def close(self) -> None:
        """Forget the session's key and all messages; the counts stay."""
        self.key = None
        self._early = {}
        self.slots = {}
        self.shows = {}
