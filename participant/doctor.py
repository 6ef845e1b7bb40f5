"""Looks at a node's whole store and says what is wrong, in words, and what to do about it. Changes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from participant.committee import Committee, NotAMember
from participant.node.records import Records
from participant.store import AccountRecord, AccountState, AuxSetNotFound, Pending, Store, StoreError
from tss.errors import LocalFault, ProtocolError
from tss.params import Suite
from tss.records import AuxSet, KeyShare

STUCK_SECONDS: Final = 3600
"""Pending state that is older waits for somebody who does not come by itself."""


@dataclass(frozen=True)
class Diagnosis:
    """One thing that an operator should know."""

    error: bool
    """False: a remark; the store is sound."""
    what: str
    """A short stable name."""
    text: str
    advice: str


RESTORE: Final = "restore the node from its backup (mpc-keygen restore), or replace it by a resharing"
_ADVICE: Final = {
    "file": "stop the node, keep the file, and " + RESTORE,
    "references": "stop the node, keep the file, and " + RESTORE,
    "audit": "somebody or something changed or cut the log: keep the file for whoever examines it; the node does not sign",
    "identity": RESTORE,
    "committees": RESTORE,
    "primes": "nothing: damaged primes are passed over, and idle nodes search new ones",
    "certificates": "nothing is lost for this node; a member that is behind gets them from another one",
    "blocked sets": "clear the signer set when its members are trusted (mpc-keygen quarantine clear)",
    "pending": "start the members that are away; if the account is not in force then, run the ceremony again",
    "aux": "make new auxiliary data with the whole committee (mpc-keygen aux)",
    "share": "this account does not sign here: refresh it where the others can, else " + RESTORE,
}
"""What to do about a finding of `Store.check`, by its name."""


def diagnose(store: Store, suites: Mapping[str, Suite]) -> Iterator[Diagnosis]:
    """Everything that can be said about an open store."""
    records = Records(store, suites)
    for finding in store.check(records.check_share):
        yield Diagnosis(True, finding.what, finding.text, _ADVICE.get(finding.what, RESTORE))
    for look in (
        _identity,
        partial(_accounts, suites=suites),
        partial(_aux_sets, suites=suites),
        _waiting,
        _peers,
        _seals,
    ):
        yield from _guarded(look, store)


def _guarded(look: Callable[[Store], Iterator[Diagnosis]], store: Store) -> Iterator[Diagnosis]:
    """What cannot be read was said by `Store.check` or `_identity`; the rest of the examination goes on."""
    try:
        yield from look(store)
    except (StoreError, ProtocolError, NotAMember):
        return


def _identity(store: Store) -> Iterator[Diagnosis]:
    if not store.has_identity():
        yield _wrong("identity", "the store has no identity", "make one (mpc-keygen identity)")
        return
    identity = store.identity().identity
    committees = store.accounts.committees()
    if not committees:
        yield _remark(
            "committee", "the node is a member of no committee", "name its committee file in mpc.committee"
        )
    for committee in committees:
        try:
            committee.index_of(identity)
        except NotAMember:
            yield _wrong(
                "committee",
                f"this node's identity {identity.hex()} is no member of committee {committee.committee_id.hex()} in its store",
                "the store or the committee file is another node's: put the right ones together",
            )


def _accounts(store: Store, suites: Mapping[str, Suite]) -> Iterator[Diagnosis]:
    for record in store.accounts.accounts():
        yield from _guarded(partial(_account, record=record, suites=suites), store)


def _account(store: Store, record: AccountRecord, suites: Mapping[str, Suite]) -> Iterator[Diagnosis]:
    name = f"account {record.account_id!r}"
    if record.curve in suites:
        share = KeyShare.from_bytes(suites[record.curve], store.accounts.share(record.account_id))
        yield from _record(name, record, share, store.accounts.committee(record.committee_id), store)
    former = [stored for stored in store.accounts.shares(record.account_id) if stored.superseded]
    if former:
        yield _remark(
            "former shares",
            f"{name} keeps {len(former)} share(s) of former epochs",
            "sign once with it through this node: then t parties have shown that the new epoch works, and the old ones go",
        )
    if record.state is AccountState.FROZEN:
        yield _remark(
            "frozen", f"{name} is frozen on this node", "mpc-keygen unfreeze, when the reason is gone"
        )
    if record.state in (AccountState.RESTORED, AccountState.TOO_OLD):
        why = "came from a backup" if record.state is AccountState.RESTORED else "is older than allowed"
        yield _remark("refresh", f"the share of {name} {why}: it does not sign", "mpc-keygen refresh")
    if record.lacks_aux:
        yield _remark(
            "aux", f"{name} has no auxiliary data and cannot sign", "mpc-keygen aux with the whole committee"
        )


def _record(
    name: str, record: AccountRecord, share: KeyShare, committee: Committee, store: Store
) -> Iterator[Diagnosis]:
    plain = (record.key_id, record.share_epoch, record.threshold, record.party, record.public_key)
    if plain != (share.key_id, share.share_epoch, share.t, share.me, share.X.to_bytes()):
        yield _wrong("share", f"the record of {name} contradicts its share", RESTORE)
    place = committee.index_of(store.identity().identity) + 1
    if record.party != place:
        yield _wrong(
            "share", f"the share of {name} is of index {record.party - 1}, this node has {place - 1}", RESTORE
        )
    if share.indices != list(range(1, committee.n + 1)):
        yield _wrong("share", f"the parties of {name} are not the members of its committee", RESTORE)
    if record.aux_id is not None and record.curve:
        aux = AuxSet.from_bytes(share.suite, store.accounts.aux_set(record.aux_id))
        if (aux.me, aux.indices) != (share.me, share.indices):
            yield _wrong("aux", f"the auxiliary data of {name} is of other parties", _ADVICE["aux"])


def _aux_sets(store: Store, suites: Mapping[str, Suite]) -> Iterator[Diagnosis]:
    with_aux = [suite for suite in suites.values() if suite.has_aux]
    for aux_id in store.accounts.aux_ids():
        try:
            data = store.accounts.aux_set(aux_id)
        except (StoreError, LocalFault):
            continue
        problems = []
        for suite in with_aux:
            try:
                found = AuxSet.from_bytes(suite, data)
            except ProtocolError as error:
                problems.append(str(error))
            else:
                problems = [] if found.aux_id == aux_id else ["it has another id than its row"]
                break
        if problems:
            yield _wrong("aux", f"aux set {aux_id.hex()}: {problems[0]}", _ADVICE["aux"])
    for committee in store.accounts.committees():
        current = store.accounts.current_aux_id(committee.committee_id)
        if current is not None and current not in store.accounts.aux_ids():
            raise AuxSetNotFound(current.hex())


def _waiting(store: Store) -> Iterator[Diagnosis]:
    now = time.time() * 1000
    for pending in store.sessions.pendings():
        if not pending.voided and now - pending.created_at > STUCK_SECONDS * 1000:
            yield _remark("pending", _pending_text(store, pending), _ADVICE["pending"])
    for entry in store.deletions.entries():
        if entry.erased_at is None:
            held = " and is held up by pending state" if store.deletions.held_up(entry.account_id) else ""
            yield _remark(
                "deletion",
                f"account {entry.account_id!r} is being deleted{held}",
                "mpc-keygen delete list, or delete cancel",
            )


def _pending_text(store: Store, pending: Pending) -> str:
    members = store.accounts.committee(pending.committee_id).n
    lacking = [str(point - 1) for point in range(1, members + 1) if point not in pending.done]
    names = ", ".join(map(repr, pending.state.account_ids)) or "auxiliary data"
    return f"the {pending.kind} of {names} waits for its certificate; no word of index {', '.join(lacking) or 'nobody'}"


def _peers(store: Store) -> Iterator[Diagnosis]:
    for entry in store.quarantine.entries():
        yield _remark(
            "quarantine",
            f"peer {entry.peer.hex()} is in quarantine: {entry.reason}",
            "look at the evidence, talk to its operator, then mpc-keygen quarantine clear",
        )
    for blocked in store.blocked.entries():
        signers = ", ".join(str(point - 1) for point in blocked.signers)
        yield _remark(
            "signer set", f"indices {signers} do not sign together: {blocked.reason}", _ADVICE["blocked sets"]
        )


def _seals(store: Store) -> Iterator[Diagnosis]:
    if len(store.seals.data_keys()) > 1:
        yield _remark(
            "seal", "a renewal of the data key is unfinished", "mpc-keygen seal renew goes on with it"
        )
    slots = store.seals.slots()
    if len(slots) > 1:
        names = ", ".join(f"{slot.number} ({slot.form})" for slot in slots)
        yield _remark(
            "seal",
            f"several keys open the store: slots {names}",
            "mpc-keygen seal remove those that are not needed",
        )


def _wrong(what: str, text: str, advice: str) -> Diagnosis:
    return Diagnosis(True, what, text, advice)


def _remark(what: str, text: str, advice: str) -> Diagnosis:
    return Diagnosis(False, what, text, advice)
