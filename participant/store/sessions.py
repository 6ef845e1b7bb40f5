"""Sessions across restarts: which sids are spent, what waits for its certificate, what is sent again byte for byte.

The order in a run that makes new state (protocol.md 0.8): `remember`, the protocol, `put_pending`, send the own done
envelope, `add_done` as the others' arrive, `activate` with the full set. Pending state leaves by activation, or after
`void_pending`, never by a timeout.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Self

from participant.sealing import SealBroken
from participant.store.accounts import Accounts, NewAux, NewShare, Origin, check_account_id
from participant.store.errors import (
    AccountExists,
    PendingNotFound,
    SessionKnown,
    StoreConflict,
    StoreDamaged,
)
from participant.store.recoveries import Recoveries
from participant.store.vault import SealedValue, Vault
from tss.encoding import Bytes, Integer, ListOf, Optional, Text, Tuple, decode, encode
from tss.errors import ProtocolError
from tss.params import MAX_PARTIES

GIVEN_UP: Final = "given up"
"""Outcome of a session whose new state was given up for a run that everybody accepted."""

LOST: Final = "lost"
"""Outcome of a session that was open when the process ended."""

_ID: Final = Bytes(32)
_BLOB: Final = Bytes(0, 1 << 26)
_STATE_SCHEMA: Final = Tuple(
    ListOf(
        Tuple(Text(512), _ID, _ID, Text(32), Integer(8), Integer(32), _BLOB, Bytes(0, 32), _BLOB), 0, 1 << 16
    ),
    Optional(Tuple(_ID, Integer(32), _BLOB, ListOf(Text(512), 0, 1 << 16))),
)
_CERTIFICATE_SCHEMA: Final = ListOf(_BLOB, 1, 2 * MAX_PARTIES)


REFRESH: Final = "refresh"
"""The kind of run whose accounts exist before it."""

RESHARE: Final = "reshare"
"""The kind of run that brings an account to another committee."""


class Kept(StrEnum):
    """Kinds of envelopes that are sent again after a restart."""

    DONE = "done"
    CERTIFICATE = "certificate"
    COMPLAINT = "complaint"
    ABORT = "abort"
    SIGMA = "sigma"


@dataclass(frozen=True)
class NewState:
    """What a finished run has made and its certificate will activate: shares, an aux set, or both."""

    shares: tuple[NewShare, ...] = ()
    aux: NewAux | None = None

    @property
    def account_ids(self) -> list[str]:
        """The accounts that get a share."""
        return [share.account_id for share in self.shares]

    def to_bytes(self) -> bytes:
        """ENC with all secrets, to be sealed."""
        shares = [
            [
                *(
                    share.account_id,
                    share.key_id,
                    share.share_epoch,
                    share.curve,
                    share.threshold,
                    share.party,
                ),
                *(share.public_key, share.chain_code, share.share),
            ]
            for share in self.shares
        ]
        aux = self.aux
        return encode([shares, None if aux is None else [aux.aux_id, aux.party, aux.aux, list(aux.accounts)]])

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The inverse of `to_bytes`. Raises StoreDamaged."""
        try:
            shares, aux = decode(data, _STATE_SCHEMA)
        except ProtocolError as error:
            raise StoreDamaged(f"pending state is damaged: {error}") from None
        new_aux = None if aux is None else NewAux(aux[0], int(aux[1]), aux[2], tuple(aux[3]))
        return cls(tuple(NewShare(*share) for share in shares), new_aux)


@dataclass(frozen=True)
class Pending:
    """State that is durable and waits for its certificate."""

    sid: bytes
    kind: str
    committee_id: bytes
    state: NewState = field(repr=False)
    public: bytes
    """What `done` was computed from: enough to answer a peer that asks."""
    done: dict[int, bytes]
    """Done envelopes by evaluation point, own one included."""
    voided: bool
    created_at: int
    fenced: bool = False
    """Everybody accepted the run for which this was given up: what came of that, this node may not know."""
    aux_id: bytes | None = None
    """The aux set, of a former run, that its new accounts will point to."""


@dataclass(frozen=True)
class Certificate:
    """The full set of done envelopes of a run: whoever holds it can bring a peer up to date."""

    sid: bytes
    kind: str
    committee_id: bytes
    public: bytes
    envelopes: tuple[bytes, ...]
    accounts: tuple[str, ...]
    activated_at: int


class Sessions:
    """Sids, pending state, certificates, kept envelopes."""

    def __init__(self, vault: Vault, accounts: Accounts, recoveries: Recoveries) -> None:
        self._vault = vault
        self._db = vault.database
        self._accounts = accounts
        self._recoveries = recoveries
        self._lost: tuple[bytes, ...] = ()

    # Sids

    def remember(self, sid: bytes, kind: str, committee_id: bytes, ph: bytes) -> None:
        """Store a sid before the first message in it. Raises SessionKnown when it is not the first time."""
        with self._vault.transaction():
            if self.known(sid):
                raise SessionKnown(f"session {sid.hex()} is known: this node does not speak in it again")
            self._accounts.committee(committee_id)
            values = (sid, kind, committee_id, ph, self._vault.now())
            self._db.execute("INSERT INTO session VALUES (?, ?, ?, ?, ?, NULL, NULL)", values)

    def known(self, sid: bytes) -> bool:
        """Whether the sid was ever remembered."""
        return self._db.first("SELECT 1 FROM session WHERE sid = ?", (sid,)) is not None

    def is_open(self, sid: bytes) -> bool:
        """Whether the session began in this process and has not ended."""
        return self._db.first("SELECT 1 FROM session WHERE sid = ? AND ended_at IS NULL", (sid,)) is not None

    def end(self, sid: bytes, outcome: str) -> None:
        """Close a session; one that is closed keeps its first outcome."""
        with self._vault.transaction():
            sql = "UPDATE session SET ended_at = ?, outcome = ? WHERE sid = ? AND ended_at IS NULL"
            self._db.execute(sql, (self._vault.now(), outcome, sid))

    def outcome(self, sid: bytes) -> str | None:
        """How a session ended; None while it is open or when it is unknown."""
        found = self._db.first("SELECT outcome FROM session WHERE sid = ?", (sid,))
        return None if found is None else found[0]

    def end_lost(self) -> list[bytes]:
        """At start: the sessions of the former process are over. Their sids."""
        with self._vault.transaction():
            lost = [row[0] for row in self._db.rows("SELECT sid FROM session WHERE ended_at IS NULL")]
            for sid in lost:
                self.end(sid, LOST)
        self._lost = tuple(lost)
        return lost

    # Pending state

    def put_pending(
        self,
        sid: bytes,
        kind: str,
        committee_id: bytes,
        state: NewState,
        public: bytes,
        done_envelope: bytes,
        *,
        party: int,
        aux_id: bytes | None = None,
    ) -> None:
        """Make new state durable, together with the own done envelope, which may be sent afterwards.

        `aux_id`: the set that its accounts will point to. One of a former run must be there, and stays until this is settled.
        Raises AccountExists when the run would make an account whose id is taken, also by other pending state, and
        AuxSetNotFound.
        """
        vault = self._vault
        with vault.transaction():
            for share in state.shares:
                check_account_id(share.account_id)
                self._check_place(share, kind)
            former = None if state.aux is not None else aux_id
            if former is not None:
                self._accounts.check_aux(former)
            sealed = vault.sealer.seal(
                state.to_bytes(), self._place(sid, kind, committee_id, state.account_ids)
            )
            self._db.execute(
                "INSERT INTO pending VALUES (?, ?, ?, ?, ?, ?, NULL, ?)",
                (sid, kind, committee_id, sealed, public, vault.now(), former),
            )
            for account_id in state.account_ids:
                self._db.execute("INSERT INTO pending_account VALUES (?, ?)", (sid, account_id))
            self._db.execute("INSERT INTO done VALUES (?, ?, ?)", (sid, party, done_envelope))
            self.keep(sid, Kept.DONE, done_envelope)

    def _check_place(self, share: NewShare, kind: str) -> None:
        account_id = share.account_id
        if self._accounts.has_account(account_id):
            known = self._accounts.account(account_id)
            # A resharing gives the same key a new key_id.
            same = known.public_key == share.public_key if kind == RESHARE else known.key_id == share.key_id
            if not same:
                raise AccountExists(f"account {account_id!r} exists already on this node with another key")
            return
        sql = """SELECT 1 FROM pending_account AS a JOIN pending AS p ON p.sid = a.sid
                 WHERE a.account_id = ? AND p.voided_at IS NULL"""
        if self._db.first(sql, (account_id,)) is not None:
            raise AccountExists(f"account {account_id!r} is being made by another run already")

    def pending(self, sid: bytes) -> Pending:
        """Raises PendingNotFound, StoreDamaged."""
        sql = """SELECT kind, committee_id, sealed_state, public, created_at, voided_at, aux_id FROM pending
                 WHERE sid = ?"""
        if not isinstance(sid, bytes):
            # SQLite takes NULL as the key of a row that was damaged so.
            raise StoreDamaged("a row of pending state has lost its session")
        with self._db.steady():
            found = self._db.first(sql, (sid,))
            if found is None:
                raise PendingNotFound(f"session {sid.hex()} has no pending state")
            return self._pending(sid, found)

    def pending_sids(self) -> list[bytes]:
        """The sessions that have pending state, oldest first."""
        return [row[0] for row in self._db.rows("SELECT sid FROM pending ORDER BY created_at, rowid")]

    def pendings(self) -> list[Pending]:
        """All pending state, oldest first, what was given up included.

        State that is damaged is left out, so that one bad row does not stop a node: `pending` says what is wrong with
        it, and so does `Store.check`.
        """
        found = []
        with self._db.steady():
            for sid in self.pending_sids():
                with contextlib.suppress(StoreDamaged):
                    found.append(self.pending(sid))
        return found

    def _pending(self, sid: bytes, row: tuple[Any, ...]) -> Pending:
        kind, committee_id, sealed, public, created_at, voided_at, aux_id = row
        account_sql = "SELECT account_id FROM pending_account WHERE sid = ? ORDER BY rowid"
        account_ids = [found[0] for found in self._db.rows(account_sql, (sid,))]
        try:
            data = self._vault.sealer.unseal(sealed, self._place(sid, kind, committee_id, account_ids))
        except SealBroken as error:
            raise StoreDamaged(f"the pending state of session {sid.hex()} is damaged: {error}") from None
        done = dict(self._db.rows("SELECT party, envelope FROM done WHERE sid = ? ORDER BY party", (sid,)))
        state = NewState.from_bytes(data)
        voided, fenced = voided_at is not None, self.outcome(sid) == GIVEN_UP
        return Pending(sid, kind, committee_id, state, public, done, voided, created_at, fenced, aux_id)

    def add_done(self, sid: bytes, party: int, envelope: bytes) -> dict[int, bytes]:
        """Keep a party's done envelope; all that are there. Raises StoreConflict when it sent another one before."""
        with self._vault.transaction():
            known = dict(self._db.rows("SELECT party, envelope FROM done WHERE sid = ?", (sid,)))
            if known.setdefault(party, envelope) != envelope:
                raise StoreConflict(
                    f"evaluation point {party} sent two different done envelopes in {sid.hex()}"
                )
            self._db.execute("INSERT OR IGNORE INTO done VALUES (?, ?, ?)", (sid, party, envelope))
        return dict(sorted(known.items()))

    def void_pending(self, sid: bytes) -> None:
        """Give up pending state irrevocably, before an acceptance of a new run from the base epoch is sent.

        The state stays, in case the others hold its certificate. Raises PendingNotFound.
        """
        with self._vault.transaction():
            self.pending(sid)
            sql = "UPDATE pending SET voided_at = ? WHERE sid = ? AND voided_at IS NULL"
            self._db.execute(sql, (self._vault.now(), sid))

    def fence(self, committee_id: bytes, kinds: Collection[str]) -> None:
        """Before the echo of everybody's acceptances of a new run leaves: what was given up for it is given up by all.

        Another member may take the new run to its end from now on, whatever becomes of it here.
        """
        with self._vault.transaction():
            for pending in self.pendings():
                if pending.committee_id == committee_id and pending.kind in kinds and pending.voided:
                    self.end(pending.sid, GIVEN_UP)
                    self._db.execute("UPDATE session SET outcome = ? WHERE sid = ?", (GIVEN_UP, pending.sid))

    def erase_voided(self, sid: bytes) -> None:
        """Erase pending state that was given up, once the rule of protocol.md 0.8 allows it. Raises PendingNotFound."""
        with self._vault.transaction():
            if not self.pending(sid).voided:
                raise StoreConflict(f"the pending state of session {sid.hex()} was not given up")
            self._forget_pending(sid)

    def activate(self, sid: bytes, certificate: list[bytes], *, in_force: bool = False) -> Certificate:
        """Certificate stored, new state in force, what it replaces marked: in one transaction.

        The caller has verified the certificate. State that this node gave up is activated all the same: a certificate
        is stronger. But once this node has completed a later run for the same account, that one may have a certificate
        too, and an account never has two keys: then what was given up stays so. The same holds once everybody accepted a
        later run, unless a member says that it has this state in force (`in_force`): it did not accept that run, so nobody
        could complete it. Doing it twice changes nothing. Raises PendingNotFound, StoreConflict.
        """
        with self._vault.transaction():
            known = self.certificate(sid)
            if known is not None:
                return known
            pending = self.pending(sid)
            if pending.voided:
                self._check_last_word(pending)
            if pending.fenced and not in_force:
                raise StoreConflict(
                    f"the run {sid.hex()} was given up, and everybody accepted a later one: its state is kept and not used"
                )
            values = (sid, pending.kind, pending.committee_id, pending.public, encode(list(certificate)))
            sql = "INSERT INTO certificate VALUES (?, ?, ?, ?, ?, ?)"
            self._db.execute(sql, (*values, self._vault.now()))
            state = pending.state
            for share in state.shares:
                if self._accounts.has_account(share.account_id) and pending.kind == RESHARE:
                    self._accounts.move(share, pending.committee_id)
                elif self._accounts.has_account(share.account_id):
                    self._accounts.replace_share(share, pending.committee_id)
                elif pending.kind != REFRESH or self._recoveries.is_back(share.account_id, share.key_id):
                    # What was deleted while it was refreshed stays so.
                    self._accounts.add(share, pending.committee_id, Origin.KEYGEN, aux_id=pending.aux_id)
            if state.aux is not None:
                # Behind the shares: a share of a former epoch keeps the aux set that it was used with.
                self._accounts.put_aux(pending.committee_id, state.aux)
            if pending.kind == REFRESH:
                for share in state.shares:
                    self._recoveries.settle(share.account_id, share.key_id)
            touched = {*state.account_ids, *(state.aux.accounts if state.aux else ())}
            for account_id in sorted(touched):
                self._db.execute("INSERT INTO certificate_account VALUES (?, ?)", (sid, account_id))
            for envelope in certificate:
                self.keep(sid, Kept.CERTIFICATE, envelope)
            self._forget_pending(sid)
            self.end(sid, "activated")
        return self._certificates("WHERE sid = ?", (sid,))[0]

    def _check_last_word(self, given_up: Pending) -> None:
        """No later run for the same accounts may be pending here: this node has said done to it."""
        sql = """SELECT a.account_id FROM pending_account AS a JOIN pending AS p ON p.sid = a.sid
                 WHERE p.rowid > (SELECT rowid FROM pending WHERE sid = ?)"""
        later = {row[0] for row in self._db.rows(sql, (given_up.sid,))}
        for account_id in given_up.state.account_ids:
            if account_id in later:
                raise StoreConflict(
                    f"the run {given_up.sid.hex()} for account {account_id!r} was given up, and a later one is complete here: "
                    "its state is kept and not used"
                )

    def sealed(self) -> Iterator[SealedValue]:
        """Every sealed value of pending state."""
        account_sql = "SELECT account_id FROM pending_account WHERE sid = ?"
        for rowid, sid, kind, committee_id in self._db.rows(
            "SELECT rowid, sid, kind, committee_id FROM pending"
        ):
            account_ids = [row[0] for row in self._db.rows(account_sql, (sid,))]
            place = self._place(sid, kind, committee_id, account_ids)
            yield SealedValue("pending", "sealed_state", rowid, place)

    def _forget_pending(self, sid: bytes) -> None:
        self._db.execute("DELETE FROM pending WHERE sid = ?", (sid,))
        self._db.execute("DELETE FROM done WHERE sid = ?", (sid,))
        self._accounts.drop_unused_aux()

    # Certificates

    def certificate(self, sid: bytes) -> Certificate | None:
        """The certificate of one run."""
        found = self._certificates("WHERE sid = ?", (sid,))
        return found[0] if found else None

    def certificate_sids(self, committee_id: bytes, limit: int) -> list[bytes]:
        """The runs of a committee that are complete, the newest first, at most `limit`."""
        sql = "SELECT sid FROM certificate WHERE committee_id = ? ORDER BY activated_at DESC, rowid DESC LIMIT ?"
        return [row[0] for row in self._db.rows(sql, (committee_id, limit))]

    def had_accounts(self, committee_id: bytes) -> bool:
        """Whether a run of this committee has made, changed or brought an account here."""
        sql = "SELECT 1 FROM certificate JOIN certificate_account USING (sid) WHERE committee_id = ? LIMIT 1"
        return self._db.first(sql, (committee_id,)) is not None

    def certificates(self, account_id: str | None = None) -> list[Certificate]:
        """All, or those that made or changed one account, oldest first."""
        if account_id is None:
            return self._certificates("", ())
        where = "WHERE sid IN (SELECT sid FROM certificate_account WHERE account_id = ?)"
        return self._certificates(where, (account_id,))

    def _certificates(self, where: str, parameters: tuple[Any, ...]) -> list[Certificate]:
        sql = f"""SELECT sid, kind, committee_id, public, envelopes, activated_at FROM certificate {where}
                  ORDER BY activated_at, rowid"""  # noqa: S608 - `where` is one of three constants above
        account_sql = "SELECT account_id FROM certificate_account WHERE sid = ? ORDER BY account_id"
        return [
            Certificate(
                sid,
                kind,
                committee_id,
                public,
                _envelopes(sid, envelopes),
                tuple(row[0] for row in self._db.rows(account_sql, (sid,))),
                activated_at,
            )
            for sid, kind, committee_id, public, envelopes, activated_at in self._db.rows(sql, parameters)
        ]

    # Envelopes that are sent again

    def keep(self, sid: bytes, kind: Kept, envelope: bytes) -> None:
        """Store an own envelope (or a certificate's) before it is sent, so that it can be sent again unchanged."""
        with self._vault.transaction():
            sql = "INSERT OR IGNORE INTO kept_envelope (sid, kind, envelope) VALUES (?, ?, ?)"
            self._db.execute(sql, (sid, str(kind), envelope))

    def durable_envelopes(self, sid: bytes) -> list[tuple[Kept, bytes]]:
        """Everything that may still be sent in a session whose process is gone, in the order in which it was kept."""
        sql = "SELECT kind, envelope FROM kept_envelope WHERE sid = ? ORDER BY number"
        return [(Kept(kind), envelope) for kind, envelope in self._db.rows(sql, (sid,))]

    def lost_words(self, committee_id: bytes) -> list[bytes]:
        """What this node had said, or was about to say, in sessions that its former process left open, byte for byte.

        The others may still be in them. New state is not among it: its holders ask for that.
        """
        mine = [
            sid
            for sid in self._lost
            if self._db.first("SELECT 1 FROM session WHERE sid = ? AND committee_id = ?", (sid, committee_id))
        ]
        wanted = (Kept.COMPLAINT, Kept.ABORT, Kept.SIGMA)
        return [envelope for sid in mine for kind, envelope in self.durable_envelopes(sid) if kind in wanted]

    def _place(self, sid: bytes, kind: str, committee_id: bytes, account_ids: list[str]) -> bytes:
        return self._vault.place("pending", "sealed_state", [sid, kind, committee_id, sorted(account_ids)])


def _envelopes(sid: bytes, encoded: bytes) -> tuple[bytes, ...]:
    try:
        return tuple(decode(encoded, _CERTIFICATE_SCHEMA))
    except ProtocolError as error:
        raise StoreDamaged(f"the certificate of session {sid.hex()} is damaged: {error}") from None
