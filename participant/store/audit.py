"""The audit log: one record a decision, each hashed with the one before.

A changed, removed or inserted record breaks the chain; a log that was cut at its end contradicts the sealed head. What
the log cannot show is that the whole store was replaced by an older copy of itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Self

from participant.sealing import SealBroken
from participant.store.errors import StoreDamaged
from participant.store.vault import SealedValue, Vault
from tss.encoding import Bytes, Integer, ListOf, Optional, Text, Tuple, decode, encode
from tss.errors import ProtocolError
from tss.transcript import hash_commit

GENESIS: Final = bytes(32)
EXPORT_BATCH: Final = 500
_MAX_TEXT: Final = 1 << 20
_DOMAIN: Final = "wallet-mpc/v1"


@dataclass(frozen=True)
class AuditRecord:
    """One decision. Nothing in it is secret."""

    kind: str
    """What was decided about: "sign", "keygen", "aux", "operator"..."""
    caller: str
    """Who asked: a caller's name, or a proposing node."""
    decision: str
    """ "allow", "refuse", "signed"..."""
    reason: str = ""
    account: str | None = None
    request_id: bytes | None = None
    digest: bytes | None = None
    path: str | None = None
    signers: tuple[int, ...] | None = None
    """Party indices, counted from 0."""
    session: bytes | None = None

    def to_bytes(self, time_ms: int) -> bytes:
        """ENC of the time and all fields."""
        signers = None if self.signers is None else list(self.signers)
        return encode(
            [
                *(time_ms, self.kind, self.caller, self.decision, self.reason),
                *(self.account, self.request_id, self.digest, self.path, signers, self.session),
            ]
        )


_TEXT: Final = Text(_MAX_TEXT)
_BYTES: Final = Optional(Bytes(0, 64))
_SCHEMA: Final = Tuple(
    Integer(64), _TEXT, _TEXT, _TEXT, _TEXT, Optional(_TEXT), _BYTES, _BYTES, Optional(_TEXT),
    Optional(ListOf(Integer(16), 0, 64)), _BYTES,
)  # fmt: skip


@dataclass(frozen=True)
class AuditEntry:
    """A stored record with its place in the chain. `hash` = Hc("audit", store id, seq, previous, record bytes)."""

    seq: int
    time_ms: int
    record: AuditRecord
    previous: bytes
    hash: bytes

    @classmethod
    def decode(cls, seq: int, data: bytes, previous: bytes, digest: bytes) -> Self:
        """Raises StoreDamaged."""
        try:
            (
                time_ms,
                kind,
                caller,
                decision,
                reason,
                account,
                request_id,
                digest_signed,
                path,
                signers,
                session,
            ) = decode(data, _SCHEMA)
        except ProtocolError as error:
            raise StoreDamaged(f"audit record {seq} is damaged: {error}") from None
        record = AuditRecord(
            kind=kind,
            caller=caller,
            decision=decision,
            reason=reason,
            account=account,
            request_id=request_id,
            digest=digest_signed,
            path=path,
            signers=None if signers is None else tuple(int(signer) for signer in signers),
            session=session,
        )
        return cls(seq, int(time_ms), record, previous, digest)

    def as_dict(self) -> dict[str, Any]:
        """For an export: bytes in hexadecimal."""

        def plain(value: bytes | None) -> str | None:
            return None if value is None else value.hex()

        record = self.record
        return {
            "seq": self.seq,
            "time_ms": self.time_ms,
            "kind": record.kind,
            "caller": record.caller,
            "decision": record.decision,
            "reason": record.reason,
            "account": record.account,
            "request_id": plain(record.request_id),
            "digest": plain(record.digest),
            "path": record.path,
            "signers": None if record.signers is None else list(record.signers),
            "session": plain(record.session),
            "previous": self.previous.hex(),
            "hash": self.hash.hex(),
        }


class AuditLog:
    """Append, verify, export."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._place = vault.place("audit_head", "sealed_head", None)

    def append(self, record: AuditRecord) -> int:
        """Add a record, durably or as part of the transaction that is open; its number in the chain.

        Raises StoreDamaged when the log's end is not the one that was written last: then nothing may be signed.
        """
        vault = self._vault
        with vault.transaction():
            seq, previous = self._head()
            if (seq, previous) != self._last():
                raise StoreDamaged(
                    "the audit log was cut or changed at its end; signing stops until it is examined"
                )
            data = record.to_bytes(vault.now())
            digest = self._link(seq + 1, previous, data)
            vault.database.execute("INSERT INTO audit VALUES (?, ?, ?, ?)", (seq + 1, data, previous, digest))
            self.write_head(seq + 1, digest)
        return seq + 1

    def write_head(self, seq: int, digest: bytes) -> None:
        """Seal the end of the chain."""
        sealed = self._vault.sealer.seal(encode([seq, digest]), self._place)
        self._vault.database.execute("INSERT OR REPLACE INTO audit_head VALUES (1, ?)", (sealed,))

    def sealed(self) -> Iterator[SealedValue]:
        """The sealed end of the chain."""
        yield SealedValue("audit_head", "sealed_head", 1, self._place)

    def verify_chain(self) -> int:
        """Recompute every hash and compare the end with the sealed head; the number of records. Raises StoreDamaged."""
        expected_seq, previous = 1, GENESIS
        for seq, data, stored_previous, digest in self._batches(1):
            if seq != expected_seq:
                raise StoreDamaged(f"audit record {expected_seq} is missing")
            if stored_previous != previous or digest != self._link(seq, previous, data):
                raise StoreDamaged(f"audit record {seq} was changed, or does not follow the one before it")
            AuditEntry.decode(seq, data, stored_previous, digest)
            expected_seq, previous = seq + 1, digest
        if self._head() != (expected_seq - 1, previous):
            raise StoreDamaged(f"the audit log was cut: it ends at record {expected_seq - 1}")
        return expected_seq - 1

    def export(self, start: int = 1) -> Iterator[AuditEntry]:
        """The records from number `start` on. Records that are appended meanwhile are included."""
        for seq, data, previous, digest in self._batches(start):
            yield AuditEntry.decode(seq, data, previous, digest)

    def _batches(self, start: int) -> Iterator[tuple[Any, ...]]:
        sql = "SELECT seq, record, previous, hash FROM audit WHERE seq >= ? ORDER BY seq LIMIT ?"
        while rows := self._vault.database.rows(sql, (start, EXPORT_BATCH)):
            yield from rows
            start = rows[-1][0] + 1

    def _link(self, seq: int, previous: bytes, data: bytes) -> bytes:
        return hash_commit(_DOMAIN, "audit", self._vault.store_id, seq, previous, data)

    def _last(self) -> tuple[int, bytes]:
        found = self._vault.database.first("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")
        return (0, GENESIS) if found is None else (int(found[0]), found[1])

    def _head(self) -> tuple[int, bytes]:
        (sealed,) = self._vault.database.row("SELECT sealed_head FROM audit_head")
        try:
            head = self._vault.sealer.unseal(sealed, self._place)
        except SealBroken:
            raise StoreDamaged("the sealed end of the audit log was changed") from None
        seq, digest = decode(head, Tuple(Integer(64), Bytes(32)))
        return int(seq), digest
