"""Requests of callers, and the answers that presignatures gave: each exactly once."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from participant.store.accounts import Accounts
from participant.store.audit import AuditLog, AuditRecord
from participant.store.errors import AlreadyAnswered, RequestConflict, StoreConflict
from participant.store.sessions import Kept, Sessions
from participant.store.vault import Vault

REQUEST_ID_BYTES: Final = 16


class RequestStatus(StrEnum):
    """What `begin` found."""

    NEW = "new"
    """First time, or the attempts before failed: go on."""
    INTERRUPTED = "interrupted"
    """A former process began it and is gone: go on, as with NEW."""
    IN_PROGRESS = "in-progress"
    """This process works on it."""
    FINISHED = "finished"
    """Its result is here."""


@dataclass(frozen=True)
class RequestState:
    """Status, and the stored result of a finished request."""

    status: RequestStatus
    result: bytes | None = None


class Requests:
    """Idempotence of signing: one request id, one content, one signature."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._db = vault.database

    def begin(self, request_id: bytes, caller: str, content_hash: bytes) -> RequestState:
        """Claim a request id (16 bytes) for a content (a hash of everything that decides the signature).

        Durable no later than the first answer that is given for it: a claim that is lost together with its process never
        led to a signature. Raises RequestConflict when the id was used for another content.
        """
        if len(request_id) != REQUEST_ID_BYTES:
            raise StoreConflict(f"a request id has {REQUEST_ID_BYTES} bytes, not {len(request_id)}")
        vault = self._vault
        with vault.transaction(durable=False):
            sql = "SELECT content_hash, run, state, result FROM request WHERE request_id = ?"
            found = self._db.first(sql, (request_id,))
            if found is None:
                values = (request_id, caller, content_hash, vault.run, vault.now())
                self._db.execute("INSERT INTO request VALUES (?, ?, ?, ?, 'open', NULL, ?, NULL)", values)
                return RequestState(RequestStatus.NEW)
            known_hash, run, state, result = found
            if known_hash != content_hash:
                raise RequestConflict(
                    f"request {request_id.hex()} was used for another content; take a new id for a new request"
                )
            if state == "finished":
                return RequestState(RequestStatus.FINISHED, result)
            if state == "open" and run == vault.run:
                return RequestState(RequestStatus.IN_PROGRESS)
            sql = "UPDATE request SET state = 'open', run = ?, ended_at = NULL WHERE request_id = ?"
            self._db.execute(sql, (vault.run, request_id))
            return RequestState(RequestStatus.NEW if state == "failed" else RequestStatus.INTERRUPTED)

    def finish(self, request_id: bytes, result: bytes) -> None:
        """Store the result, which every later `begin` returns. Raises StoreConflict when there is another one."""
        with self._vault.transaction():
            found = self._db.first("SELECT state, result FROM request WHERE request_id = ?", (request_id,))
            if found is None:
                raise StoreConflict(f"request {request_id.hex()} was never begun")
            state, known = found
            if state == "finished":
                if known != result:
                    raise StoreConflict(f"request {request_id.hex()} has another result already")
                return
            sql = "UPDATE request SET state = 'finished', result = ?, ended_at = ? WHERE request_id = ?"
            self._db.execute(sql, (result, self._vault.now(), request_id))

    def fail(self, request_id: bytes) -> None:
        """The attempt ended without a signature: the same request may be tried again. A finished one stays finished."""
        with self._vault.transaction():
            sql = "UPDATE request SET state = 'failed', ended_at = ? WHERE request_id = ? AND state = 'open'"
            self._db.execute(sql, (self._vault.now(), request_id))


@dataclass(frozen=True)
class Answer:
    """What a presignature was used for: the hash of the request it answered, and the signed sigma."""

    presignature_id: bytes
    req: bytes
    envelope: bytes
    audit_seq: int


class Answers:
    """(req, sigma_i) of protocol.md 3.5, stored with its audit record before sigma_i leaves."""

    def __init__(self, vault: Vault, audit: AuditLog, accounts: Accounts, sessions: Sessions) -> None:
        self._vault = vault
        self._db = vault.database
        self._audit = audit
        self._accounts = accounts
        self._sessions = sessions

    def put(
        self,
        presignature_id: bytes,
        req: bytes,
        envelope: bytes,
        record: AuditRecord,
        *,
        sid: bytes | None = None,
    ) -> Answer:
        """Store an answer and its audit record in one transaction; only then may the envelope be sent.

        The same answer again gives the stored one and no second record. Another answer raises AlreadyAnswered. Any
        failure, that of the audit log included, means that nothing was stored and nothing may be sent.
        With `sid` (a remembered session) the envelope is among its durable envelopes.
        """
        vault = self._vault
        with vault.transaction():
            known = self.get(presignature_id)
            if known is not None:
                if (known.req, known.envelope) != (req, envelope):
                    raise AlreadyAnswered(
                        f"presignature {presignature_id.hex()} has answered another request; it never answers again"
                    )
                return known
            seq = self._audit.append(record)
            values = (presignature_id, req, envelope, seq, vault.now())
            self._db.execute("INSERT INTO answer VALUES (?, ?, ?, ?, ?)", values)
            if record.account is not None:
                self._accounts.mark_signed(record.account)
            if sid is not None:
                self._sessions.keep(sid, Kept.SIGMA, envelope)
        return Answer(presignature_id, req, envelope, seq)

    def get(self, presignature_id: bytes) -> Answer | None:
        """The stored answer of a presignature."""
        sql = "SELECT presignature_id, req, envelope, audit_seq FROM answer WHERE presignature_id = ?"
        found = self._db.first(sql, (presignature_id,))
        return None if found is None else Answer(*found)
