"""Lost shares on their way back, in the store; and accounts that go to a committee with the same places."""

from __future__ import annotations

import pytest
from node_testing import aux_sets, committee_of, deal, new_store, next_epoch, raw, reopen, sid_of

from participant.replacement import keys_for_place, with_member
from participant.store import NewAux, NewShare, NewState, Origin, StoreConflict, StoreDamaged
from participant.store.recoveries import COMPLETE, RecoveredShare, Recovery

CID = committee_of().committee_id
SHARE = deal()[0]
REQUEST = b"r" * 32


def approved(store, *names: str):
    """An open request for these accounts; at this node's place."""
    store.approvals.put(REQUEST, "recover", "", b"the file")
    entries = [
        Recovery(REQUEST, name, deal(seed=name)[0].key_id, SHARE.share_epoch, SHARE.me) for name in names
    ]
    store.recoveries.put(entries)
    return entries


def refresh(store, number: int, committee_id: bytes, **shares):
    """The certificate of a refresh of these accounts."""
    sid = sid_of(number)
    store.sessions.remember(sid, "refresh", committee_id, bytes(32))
    state = NewState(tuple(NewShare.of(name, share) for name, share in shares.items()))
    store.sessions.put_pending(sid, "refresh", committee_id, state, b"", b"done", party=1)
    store.sessions.activate(sid, [b"done"])


def test_a_share_that_is_back_is_sealed_apart_and_goes_when_new_ones_come(tmp_path):
    store = new_store(tmp_path)
    a, b = approved(store, "a", "b")
    share = deal(seed="a")[0]
    assert store.recoveries.share(REQUEST, "a") is None
    assert not store.recoveries.is_back("a", a.key_id)
    store.recoveries.put_share(RecoveredShare(REQUEST, "a", share.to_bytes()))
    store = reopen(store)
    assert store.recoveries.share(REQUEST, "a") == share.to_bytes()
    assert store.recoveries.is_back("a", a.key_id)
    assert not store.recoveries.is_back("a", b.key_id)
    assert not store.accounts.has_account("a"), "it signs nothing"
    assert share.to_bytes() not in store.path.read_bytes()
    assert store.recoveries.lost_places("a", SHARE.share_epoch) == {SHARE.me}
    assert store.recoveries.lost_places("a", bytes(32)) == set()
    # A refresh brings what is back into force, and nothing that was never here.
    refresh(store, 1, CID, a=next_epoch(share), b=next_epoch(deal(seed="b")[0]))
    assert store.accounts.account("a").share_epoch == next_epoch(share).share_epoch
    assert not store.accounts.has_account("b")
    assert [entry.is_settled for entry in store.recoveries.entries(REQUEST)] == [True, True]
    assert store.recoveries.share(REQUEST, "a") is None
    assert store.recoveries.lost_places("a", SHARE.share_epoch) == set()
    approval = store.approvals.get(REQUEST)
    assert (approval.is_open, approval.outcome) == (False, COMPLETE)
    with pytest.raises(StoreConflict, match="is over on this node"):
        store.recoveries.put_share(RecoveredShare(REQUEST, "a", share.to_bytes()))


def test_a_request_is_complete_when_all_its_accounts_are(tmp_path):
    store = new_store(tmp_path)
    approved(store, "a", "b")
    for name in ("a", "b"):
        share = deal(seed=name)[0]
        assert store.approvals.get(REQUEST).is_open
        store.recoveries.put_share(RecoveredShare(REQUEST, name, share.to_bytes()))
        refresh(store, ord(name), CID, **{name: next_epoch(share)})
    assert store.approvals.get(REQUEST).outcome == COMPLETE


def test_what_is_withdrawn_is_forgotten(tmp_path):
    store = new_store(tmp_path)
    approved(store, "a")
    store.recoveries.put_share(RecoveredShare(REQUEST, "a", b"a share"))
    store.recoveries.forget(REQUEST)
    assert store.recoveries.entries(REQUEST) == []
    assert store.recoveries.share(REQUEST, "a") is None
    with pytest.raises(StoreConflict, match="is over on this node"):
        store.recoveries.put_share(RecoveredShare(REQUEST, "a", b"a share"))


def test_a_share_of_another_place_in_the_store_does_not_open(tmp_path):
    store = new_store(tmp_path)
    approved(store, "a", "b")
    for name in ("a", "b"):
        store.recoveries.put_share(RecoveredShare(REQUEST, name, name.encode()))
    assert {value.table for value in store.recoveries.sealed()} == {"recovery"}
    store.seals.renew()
    assert store.recoveries.share(REQUEST, "b") == b"b", "it is sealed anew with everything else"
    store.close()
    raw(
        store.path,
        "UPDATE recovery SET sealed_share = (SELECT sealed_share FROM recovery ORDER BY account_id LIMIT 1)",
    )
    store = reopen(store)
    assert store.recoveries.share(REQUEST, "a") == b"a"
    with pytest.raises(StoreDamaged, match="recovered share of account 'b' is damaged"):
        store.recoveries.share(REQUEST, "b")


def test_accounts_go_to_the_committee_with_the_new_identity_and_take_their_shares_along(tmp_path):
    store = new_store(tmp_path)
    new = with_member(committee_of(), 2, keys_for_place(committee_of(), 2).card())
    store.accounts.put_committee(new)
    old_aux, new_aux = aux_sets()[0], aux_sets(seed=1)[0]
    store.accounts.put_aux(CID, NewAux.of(old_aux))
    for name in ("a", "b"):
        store.accounts.add(NewShare.of(name, deal(seed=name)[0]), CID, Origin.KEYGEN)
    store.accounts.mark_signed("a")
    before = store.accounts.account("a")
    sid = sid_of(1)
    store.sessions.remember(sid, "refresh", new.committee_id, bytes(32))
    fresh = {name: next_epoch(deal(seed=name)[0]) for name in ("a", "b")}
    state = NewState(
        tuple(NewShare.of(name, share) for name, share in fresh.items()), NewAux.of(new_aux, ("a", "b"))
    )
    store.sessions.put_pending(sid, "refresh", new.committee_id, state, b"", b"d", party=1)
    store.sessions.activate(sid, [b"d"])
    assert store.accounts.accounts(CID) == []
    assert store.accounts.current_aux_id(CID) is None, "nothing is left there"
    store = reopen(store)
    now = store.accounts.account("a")
    assert (now.committee_id, now.aux_id) == (new.committee_id, new_aux.aux_id)
    assert (now.created_at, now.last_signed_at) == (before.created_at, before.last_signed_at)
    former, current = store.accounts.shares("a")
    assert (former.superseded, former.share, former.aux_id) == (
        True,
        deal(seed="a")[0].to_bytes(),
        old_aux.aux_id,
    )
    assert (current.superseded, current.share) == (False, next_epoch(deal(seed="a")[0]).to_bytes())
    assert store.check() == []
    for name in ("a", "b"):
        store.accounts.erase_superseded(name)
    assert store.accounts.aux_ids() == [new_aux.aux_id]
