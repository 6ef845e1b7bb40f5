"""What a party persisted, and what of it is in force: the rules of protocol.md 0.7, 0.8 and 3.5, as the node's store has them.

It keeps whatever it is given: that no two partial signatures of one presignature are ever made is not left to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tss.cggmp24.completion import DONE_ROUND, Certificate, NewState, check_certificate
from tss.cggmp24.identify import AbortMessage, Begun
from tss.cggmp24.sign import Answered
from tss.effects import Durable
from tss.encoding import Bytes, NoValue, Tuple, decode
from tss.envelope import Kind, PartyId, Signed
from tss.errors import SchemaViolation
from tss.records import AuxSet, KeyShare
from tss.setting import AllAccepted, SessionStarted

_DONE = Tuple(NoValue(), Bytes(32))


class Refused(Exception):
    """The disk does not take it."""


class Crash(BaseException):
    """The process is gone in a write. No Exception, so that nothing on its way takes it for one."""

    def __init__(self, *, durable: bool) -> None:
        super().__init__()
        self.durable = durable


@dataclass
class Account:
    """A key in force, and the aux set that it is used with."""

    share: KeyShare = field(repr=False)
    aux_id: bytes | None


@dataclass
class Pending:
    """State that waits for its certificate."""

    state: NewState = field(repr=False)
    account_id: str | None
    accounts: tuple[str, ...]
    """Accounts that move to a new aux set."""
    done: dict[PartyId, bytes] = field(repr=False)
    voided: bool = False


class Disk:
    """One party's. `refuses` and `crashes` hold the numbers of the writes at which it fails, counted from 1."""

    def __init__(self) -> None:
        self.sids: set[bytes] = set()
        self.accounts: dict[str, Account] = {}
        self.aux: dict[bytes, AuxSet] = {}
        self.current_aux: bytes | None = None
        self.pendings: dict[bytes, Pending] = {}
        self.certificates: dict[bytes, tuple[bytes, ...]] = {}
        self.kept: list[tuple[bytes, bytes]] = []
        """(scope, envelope) of what is sent again after a restart: complaints, aborts, partial signatures."""
        self.blocked: set[bytes] = set()
        """Runs whose signers are looked at (protocol.md 4.2)."""
        self.writes = 0
        self.refuses: set[int] = set()
        self.crashes: dict[int, bool] = {}
        """By write: whether it was durable before the process went."""

    def write(self, record: object, me: PartyId, account_id: str | None, accounts: tuple[str, ...]) -> None:
        """Make one record durable. Raises Refused, Crash."""
        self.writes += 1
        if self.writes in self.refuses:
            raise Refused("no space left on device")
        durable = self.crashes.get(self.writes)
        if durable is False:
            raise Crash(durable=False)
        self._take(record, me, account_id, accounts)
        if durable:
            raise Crash(durable=True)

    def _take(self, record: object, me: PartyId, account_id: str | None, accounts: tuple[str, ...]) -> None:
        match record:
            case AllAccepted():
                # Where only key generation and aux runs are, `_completed_later` is enough.
                pass
            case SessionStarted(sid=sid):
                if sid in self.sids:
                    raise Refused("this session is known")
                self.sids.add(sid)
            case Durable(record=NewState() as state, envelope=envelope):
                self._put_pending(Pending(state, account_id, accounts, {me: envelope}))
            case Durable(record=Answered(), envelope=envelope):
                self.kept.append((b"", envelope))
            case Durable(record=AbortMessage(sid=sid), envelope=envelope):
                self.kept.append((sid, envelope))
            case Begun(sid=sid):
                self.blocked.add(sid)
            case Certificate(sid=sid, envelopes=envelopes):
                self.activate(sid, envelopes)
            case _:
                raise Refused(f"{type(record).__name__} has no place here")

    def _put_pending(self, pending: Pending) -> None:
        account_id, share = pending.account_id, pending.state.share
        if share is not None and account_id is not None:
            if account_id in self.accounts:
                raise Refused("the account exists")
            if any(p.account_id == account_id and not p.voided for p in self.pendings.values()):
                raise Refused("the account is being made by another run")
        self.pendings[pending.state.sid] = pending

    def void(self, kind: str, account_id: str | None) -> None:
        """Give up what former runs of a kind left unfinished, before an acceptance of a new one."""
        for pending in self.pendings.values():
            if pending.state.kind == kind and pending.account_id in (None, account_id):
                pending.voided = True

    def take_done(self, signed: Signed, envelope: bytes, identities: Mapping[PartyId, bytes]) -> bytes | None:
        """A party's `done`, its signature checked: the sid that it completes, if it does."""
        body = signed.body
        pending = self.pendings.get(body.sid)
        if pending is None or body.round != DONE_ROUND or body.kind is not Kind.DONE:
            return None
        try:
            if decode(body.payload, _DONE)[1] != pending.state.done:
                return None
        except SchemaViolation:
            return None
        pending.done.setdefault(body.sender, envelope)
        if set(pending.done) < set(identities):
            return None
        envelopes = tuple(pending.done.values())
        check_certificate(
            pending.state.share.suite.proto if pending.state.share else body.proto,
            body.sid,
            pending.state.done,
            identities,
            envelopes,
        )
        self.activate(body.sid, envelopes)
        return body.sid

    def activate(self, sid: bytes, envelopes: tuple[bytes, ...]) -> None:
        """The certificate stored, the state in force. Raises Refused."""
        if sid in self.certificates:
            return
        pending = self.pendings[sid]
        share, aux = pending.state.share, pending.state.aux
        if share is not None and pending.account_id is not None:
            if pending.voided and self._completed_later(sid, pending.account_id):
                raise Refused("given up, and a later run for the account was completed here")
            known = self.accounts.get(pending.account_id)
            if known is not None and known.share.key_id != share.key_id:
                raise Refused("the account has another key")
            self.accounts[pending.account_id] = Account(share, pending.state.aux_id)
        if aux is not None:
            self.aux[aux.aux_id] = aux
            self.current_aux = aux.aux_id
            for account_id in pending.accounts:
                self.accounts[account_id].aux_id = aux.aux_id
        self.certificates[sid] = envelopes
        del self.pendings[sid]
        self._erase_given_up(pending)

    def _completed_later(self, sid: bytes, account_id: str) -> bool:
        """Whether this party said `done` to a later run: its certificate may exist, so the former one is dead here."""
        sids = list(self.pendings)
        return any(self.pendings[later].account_id == account_id for later in sids[sids.index(sid) + 1 :])

    def _erase_given_up(self, certified: Pending) -> None:
        for sid, pending in list(self.pendings.items()):
            same = pending.state.kind == certified.state.kind and pending.account_id == certified.account_id
            if pending.voided and same:
                del self.pendings[sid]

    def done_envelopes(self, sid: bytes) -> tuple[bytes, ...]:
        """What there is of a run's certificate."""
        if sid in self.certificates:
            return self.certificates[sid]
        return tuple(self.pendings[sid].done.values()) if sid in self.pendings else ()
