"""The store's secrets, opened once: decoding a share or an aux set checks it whole, which takes a while."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from gmpy2 import mpz

from participant.node.errors import (
    AccountDeleted,
    AccountIsFrozen,
    InvalidRequest,
    NeedsAux,
    RefreshNeeded,
    ShareTooOld,
)
from participant.payloads import AccountKeys
from participant.store import AccountRecord, AccountState, KeyShareNotFound, Store
from tss.errors import ShareCorrupt
from tss.params import Suite, spoken
from tss.records import AuxSet, KeyShare

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Account:
    """An account's record, share and keys."""

    record: AccountRecord
    share: KeyShare = field(repr=False)
    keys: AccountKeys = field(repr=False)

    @property
    def suite(self) -> Suite:
        """The suite of its curve."""
        return self.share.suite

    def check_active(self) -> None:
        """Raise AccountIsFrozen, AccountDeleted, RefreshNeeded, ShareTooOld, NeedsAux."""
        name, state = f"account {self.record.account_id!r}", self.record.state
        if state is AccountState.FROZEN:
            raise AccountIsFrozen(f"{name} is frozen on this node; its operator can unfreeze it")
        if state is AccountState.DELETING:
            raise AccountDeleted(
                f"{name} is being deleted on this node; until its secrets are erased its operator can call that off "
                "(mpc-keygen delete cancel)"
            )
        if state is AccountState.RESTORED:
            raise RefreshNeeded(
                f"{name} was restored from a backup, of which others may hold copies: refresh it (mpc-keygen refresh), "
                "then it signs again"
            )
        if state is AccountState.TOO_OLD:
            raise ShareTooOld(
                f"the share of {name} is older than this node's accounts.max_share_seconds allows: refresh it "
                "(mpc-keygen refresh), then it signs again"
            )
        if self.record.lacks_aux:
            raise NeedsAux(
                f"account {self.record.account_id!r} cannot sign yet: its committee has made no auxiliary information "
                "since it came. Run it (Operator.RunAux, mpc-keygen aux)"
            )


class Records:
    """Shares by account, aux sets by id. Thread-safe and blocking: for worker threads."""

    def __init__(self, store: Store, suites: Mapping[str, Suite]) -> None:
        self._store = store
        self._suites = dict(suites)
        self._by_proto = spoken(suites.values())
        self._lock = threading.Lock()
        self._shares: dict[str, tuple[bytes, KeyShare, AccountKeys]] = {}
        self._aux: dict[bytes, AuxSet] = {}
        self.damaged: dict[str, str] = {}
        """Accounts whose share does not open or contradicts its record, and what is wrong with it."""

    @property
    def protos(self) -> frozenset[str]:
        """The PROTO strings of all suites."""
        return frozenset(self._by_proto)

    @property
    def default(self) -> Suite:
        """The suite that hellos are written in."""
        return next(iter(self._suites.values()))

    @property
    def suites(self) -> Mapping[str, Suite]:
        """By curve."""
        return self._suites

    @property
    def curves(self) -> tuple[str, ...]:
        """The curves that this node knows, the usual one first."""
        return tuple(self._suites)

    def suite(self, curve: str) -> Suite:
        """Raises InvalidRequest."""
        if curve not in self._suites:
            raise InvalidRequest(f"unknown curve {curve[:40]!r}; known: {', '.join(sorted(self._suites))}")
        return self._suites[curve]

    def suite_of(self, proto: str) -> Suite:
        """The suite of a PROTO that `protos` lists."""
        return self._by_proto[proto]

    def account(self, account_id: str) -> Account:
        """Raises KeyShareNotFound, ShareCorrupt."""
        record = self._store.accounts.account(account_id)
        with self._lock:
            known = self._shares.get(account_id)
            if known is None or known[0] != record.share_epoch:
                share = self._open(record)
                known = (record.share_epoch, share, AccountKeys(share.X, share.chain_code))
                self._shares[account_id] = known
        return Account(record, known[1], known[2])

    def _open(self, record: AccountRecord) -> KeyShare:
        try:
            share = KeyShare.from_bytes(
                self.suite(record.curve), self._store.accounts.share(record.account_id)
            )
            _check_record(record, share)
        except ShareCorrupt as error:
            self.damaged[record.account_id] = str(error)
            raise
        self.damaged.pop(record.account_id, None)
        return share

    def check_share(self, record: AccountRecord, share: bytes, chain_code: bytes) -> None:
        """For `Store.check`: recompute what the record says about its share. Raises ShareCorrupt."""
        if record.curve not in self._suites:
            raise ShareCorrupt(f"account {record.account_id!r} is of unknown curve {record.curve!r}")
        found = KeyShare.from_bytes(self._suites[record.curve], share)
        _check_record(record, found)
        if found.chain_code != chain_code:
            raise ShareCorrupt(f"the chain code of account {record.account_id!r} is not its share's")

    def open_all(self) -> None:
        """Open every account's share once, so that damage is known before somebody wants to sign."""
        for record in self._store.accounts.accounts():
            try:
                self.account(record.account_id)
            except (ShareCorrupt, KeyShareNotFound, InvalidRequest) as error:
                log.error("account %r cannot be used: %s", record.account_id, error)  # noqa: TRY400 - written to be read

    def aux(self, aux_id: bytes, suite: Suite) -> AuxSet:
        """Raises AuxSetNotFound, ShareCorrupt."""
        with self._lock:
            known = self._aux.get(aux_id)
            if known is None:
                known = AuxSet.from_bytes(suite, self._store.accounts.aux_set(aux_id))
                self._aux[aux_id] = known
        return known

    def aux_of(self, account: Account) -> AuxSet:
        """The set that an account points to. Raises AuxSetNotFound, ShareCorrupt."""
        return self.aux(account.record.aux_id or b"", account.suite)

    def moduli(self) -> set[mpz]:
        """Every N and N^ of the aux sets that are open."""
        with self._lock:
            parties = [party for aux in self._aux.values() for party in aux.parties.values()]
        return {modulus for party in parties for modulus in (party.N, party.N_hat)}

    def forget(self) -> None:
        """Drop what the store may have replaced."""
        alive = set(self._store.accounts.aux_ids())
        with self._lock:
            self._shares.clear()
            self._aux = {aux_id: aux for aux_id, aux in self._aux.items() if aux_id in alive}


def _check_record(record: AccountRecord, share: KeyShare) -> None:
    if (share.X.to_bytes(), share.me) != (record.public_key, record.party):
        raise ShareCorrupt(f"the share of account {record.account_id!r} contradicts its record")
