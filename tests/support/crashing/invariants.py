"""What has to hold of a store after a crash, whatever its moment (security.md 5.1, protocol.md 0.8 and 3.5)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from crashing.steps import ACCOUNT, RECORD, Answer, AuditAppend, Completion, Erasure, Refresh, Resealing
from node_testing import aux_sets, committee_of, deal, wrapper
from session_testing import holder, identity_of
from tss_testing import TINY

from participant.node.catchup import CatchUp
from participant.node.membership import Membership
from participant.node.workers import Workers
from participant.sealing import WrongSealingKey
from participant.store import AlreadyAnswered, Certificate, Kept, PendingNotFound, SessionKnown, Store
from tss.envelope import Kind, routing
from tss.records import AuxSet, KeyShare

OTHER = b"\x0f" * 32


def open_store(directory: Path) -> Store:
    """What a restarted daemon opens."""
    return Store.open(directory / "store.db", wrapper())


def check_answer(step: Answer, directory: Path, sent: Sequence[bytes]) -> None:
    """The answer, its audit record and the kept envelope are all there or none is; what left is what is stored."""
    session = step.recorded[0][step.party].session
    presignature_id, sid = step.signers.stock()[step.party].id, session.sid
    assert sid is not None
    with open_store(directory) as store:
        assert store.check() == []
        answer = store.answers.get(presignature_id)
        records = [entry.record for entry in store.audit.export() if entry.record.decision == "signed"]
        kept = store.sessions.durable_envelopes(sid)
        assert len(records) == len(kept) == (answer is not None)
        assert (store.accounts.account(ACCOUNT).last_signed_at is not None) == (answer is not None)
        assert not store.sessions.is_open(sid)
        if answer is None:
            assert not sent, "something left that is not stored"
            return
        assert set(sent) <= {answer.envelope}
        assert kept == [(Kept.SIGMA, answer.envelope)]
        # Asked again: the stored bytes, or nothing.
        chain = store.audit.verify_chain()
        assert store.answers.put(presignature_id, answer.req, answer.envelope, RECORD, sid=sid) == answer
        for req, envelope in ((OTHER, answer.envelope), (answer.req, OTHER), (OTHER, OTHER)):
            with pytest.raises(AlreadyAnswered):
                store.answers.put(presignature_id, req, envelope, RECORD, sid=sid)
        with pytest.raises(SessionKnown):
            store.sessions.remember(sid, "sign", committee_of().committee_id, bytes(32))
        assert store.audit.verify_chain() == chain


def check_audit(_: AuditAppend, directory: Path, sent: Sequence[bytes]) -> None:
    """The chain verifies, and holds what was said to be in it."""
    with open_store(directory) as store:
        assert store.check() == []
        assert store.audit.verify_chain() >= max((int(number) for number in sent), default=1)


def check_seals(step: Resealing, directory: Path, sent: Sequence[bytes]) -> None:
    """Some outer key opens the store at every moment, one that was said to be removed does not, and all is readable."""
    said = max((int(number) for number in sent), default=0)
    path = directory / "store.db"
    try:
        opened = Store.open(path, step.new)
    except WrongSealingKey:
        assert said == 0, "the key that was added does not open the store"
        opened = open_store(directory)
    with opened as store:
        assert store.check() == []
        if said >= 2:
            assert [slot.number for slot in store.seals.slots()] == [2]
        if said >= 3:
            assert store.seals.data_keys() == [2]
        for slot in store.seals.slots():
            if not slot.in_use:
                store.seals.remove(slot.number)
        # Whatever was done of it, the rest is done now.
        store.seals.renew()
        assert len(store.seals.data_keys()) == 1
        assert store.check() == []
    if said >= 2:
        with pytest.raises(WrongSealingKey):
            open_store(directory)


def check_completion(step: Completion, directory: Path, sent: Sequence[bytes]) -> None:
    """A certificate and what it brought into force are one; who said done has the state; the others' done finish it."""
    session = step.recorded[0][step.party].session
    sid, committee_id = session.sid, committee_of().committee_id
    assert sid is not None
    said = [envelope for envelope in sent if routing(envelope)[1] is Kind.DONE]
    with open_store(directory) as store:
        assert store.check() == []
        certificate, pending = store.sessions.certificate(sid), store.sessions.pending_sids()
        assert pending == ([sid] if _pending(store, sid) else [])
        assert not (certificate and pending), "both active and pending"
        assert in_force(step, store) == (certificate is not None), "half of a completion"
        if said:
            assert certificate or pending, "done has left and the state is lost"
            (own,) = said
            stored = certificate.envelopes if certificate else list(store.sessions.pending(sid).done.values())
            assert own in stored
            assert (Kept.DONE, own) in store.sessions.durable_envelopes(sid)
        with pytest.raises(SessionKnown):
            store.sessions.remember(sid, step.kind, committee_id, bytes(32))
        if pending:
            bring_forward(step, store, sid)
    with open_store(directory) as store:
        assert store.check() == []
        assert in_force(step, store) == bool(certificate or pending)
        assert (store.sessions.certificate(sid) is not None) == bool(certificate or pending)


def _pending(store: Store, sid: bytes) -> bool:
    try:
        store.sessions.pending(sid)
    except PendingNotFound:
        return False
    return True


def check_erasure(step: Erasure, directory: Path, sent: Sequence[bytes]) -> None:
    """The share in use is there; the one before it, with its aux set, is there or gone, and gone when that was said."""
    with open_store(directory) as store:
        assert store.check() == []
        kept = {stored.share_epoch: stored.superseded for stored in store.accounts.shares(ACCOUNT)}
        now, former = step.share.share_epoch, deal()[0].share_epoch
        assert kept in ({former: True, now: False}, {now: False})
        assert (former in kept) == (aux_sets()[0].aux_id in store.accounts.aux_ids())
        assert not (sent and former in kept), "it was said that the former share is erased"
        assert store.accounts.share(ACCOUNT) == step.share.to_bytes()
        assert store.accounts.current_aux(committee_of().committee_id) == step.aux.to_bytes()
        assert store.accounts.erase_superseded(ACCOUNT) == (former in kept)


def _refreshed(step: Refresh, store: Store) -> bool:
    """Share, aux set and the marks on what they replaced move together; the key is the same."""
    record, stored = store.accounts.account(ACCOUNT), store.accounts.shares(ACCOUNT)
    share, (old_epoch, old_aux) = KeyShare.from_bytes(TINY, store.accounts.share(ACCOUNT)), step.before
    assert (share.X, share.chain_code, share.key_id) == (deal()[0].X, deal()[0].chain_code, deal()[0].key_id)
    share.check()
    now = (record.share_epoch, record.aux_id)
    assert record.aux_id == store.accounts.current_aux_id(committee_of().committee_id)
    if now == step.before:
        assert [(one.share_epoch, one.superseded) for one in stored] == [(old_epoch, False)]
        assert store.accounts.aux_ids() == [old_aux]
        return False
    made = step.recorded[0][step.party].result
    assert made.aux is not None
    assert now == (made.shares[0].share_epoch, made.aux.aux_id)
    marks = {one.share_epoch: (one.aux_id, one.superseded) for one in stored}
    assert marks == {old_epoch: (old_aux, True), now[0]: (now[1], False)}
    assert set(store.accounts.aux_ids()) == {old_aux, now[1]}
    assert AuxSet.from_bytes(TINY, store.accounts.aux_set(now[1])).aux_id == now[1]
    return True


def in_force(step: Completion, store: Store) -> bool:
    """Whether the run's result is in use, and whole."""
    if isinstance(step, Refresh):
        return _refreshed(step, store)
    if step.account_id is None:
        aux_id = store.accounts.current_aux_id(committee_of().committee_id)
        assert store.accounts.account(ACCOUNT).aux_id == aux_id, "the account did not move with its committee"
        assert store.accounts.aux_ids() == ([] if aux_id is None else [aux_id])
        if aux_id is not None:
            assert AuxSet.from_bytes(TINY, store.accounts.aux_set(aux_id)).aux_id == aux_id
        return aux_id is not None
    if not store.accounts.has_account(step.account_id):
        return False
    share = KeyShare.from_bytes(TINY, store.accounts.share(step.account_id))
    record = store.accounts.account(step.account_id)
    assert (record.share_epoch, record.public_key) == (share.share_epoch, share.X.to_bytes())
    assert store.accounts.chain_code(step.account_id) == share.chain_code
    return True


def bring_forward(step: Completion, store: Store, sid: bytes) -> None:
    """The others' done arrive, as they do when members hear what this one lacks."""
    me = holder(step.party)
    membership = Membership(committee_of(), me, identity_of(me).sign, frozenset({TINY.proto}))
    identities = [identity_of(holder(i)).public for i in (1, 2, 3)]
    membership.committee = SimpleNamespace(identities=identities)  # type: ignore[assignment]
    membership.identities = {holder(i): identity for i, identity in enumerate(identities, 1)}
    activated: list[Certificate] = []

    async def hear() -> None:
        workers = Workers(1)
        catchup = CatchUp(store, workers, activated.append)
        for envelope in step.recorded[1]:
            if routing(envelope)[1] is Kind.DONE:
                await catchup.take(membership, sid, envelope)
        await asyncio.to_thread(workers.close)

    asyncio.run(hear())
    assert [one.sid for one in activated] == [sid]
