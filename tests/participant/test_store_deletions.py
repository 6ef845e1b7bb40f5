"""Deletion, restored shares and the age of shares, in the store."""

from pathlib import Path

import pytest
from node_testing import (
    SEAL_KEY,
    aux_sets,
    committee_of,
    deal,
    new_store,
    next_epoch,
    node_keys,
    share_state,
    sid_of,
)

from participant.sealing import KeyFileWrapper
from participant.store import (
    AccountExists,
    AccountState,
    KeyShareNotFound,
    NewAux,
    NewShare,
    Origin,
    Store,
    StoreConflict,
)

CID = committee_of().committee_id
APPROVALS = (b"one", b"two")


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(tmp_path, clock):
    store = Store.create(tmp_path / "store.db", KeyFileWrapper(SEAL_KEY), clock=clock)
    store.put_identity(node_keys()[0])
    store.accounts.put_committee(committee_of())
    store.accounts.add(NewShare.of("a", deal()[0]), CID, Origin.KEYGEN)
    store.accounts.put_aux(CID, NewAux.of(aux_sets()[0]))
    yield store
    store.close()


def state(store: Store, account_id: str = "a") -> AccountState:
    return store.accounts.account(account_id).state


def test_a_deleted_account_signs_no_more_and_is_erased_after_the_time_of_grace(store, clock):
    sealed = store._database.rows("SELECT sealed_share FROM share")[0][0]
    entry = store.deletions.decide("a", APPROVALS, grace=5000)
    assert (entry.account_id, entry.approvals, entry.erased_at) == ("a", APPROVALS, None)
    assert entry.erase_at - entry.decided_at == 5000
    assert state(store) is AccountState.DELETING
    clock.now += 4.999
    assert store.deletions.erase_due() == []
    assert store.accounts.share("a")
    clock.now += 0.001
    assert [erased.account_id for erased in store.deletions.erase_due()] == ["a"]
    with pytest.raises(KeyShareNotFound, match="was deleted"):
        store.accounts.account("a")
    assert store.deletions.erase_due() == []
    assert store.deletions.get("a").erased_at is not None
    # Nothing of the share is left in the file or its log, not even sealed.
    for path in Path(store.path).parent.iterdir():
        assert sealed not in path.read_bytes()
    assert store.check() == []
    with pytest.raises(AccountExists, match="was deleted"):
        store.accounts.add(NewShare.of("a", deal(seed=2)[0]), CID, Origin.IMPORT)


def test_a_deletion_can_be_called_off_until_it_is_done(store, clock):
    store.deletions.decide("a", APPROVALS, grace=5000)
    with pytest.raises(StoreConflict, match="already"):
        store.deletions.decide("a", APPROVALS, grace=0)
    store.deletions.cancel("a")
    assert state(store) is AccountState.ACTIVE
    with pytest.raises(StoreConflict, match="not being deleted"):
        store.deletions.cancel("a")
    store.accounts.set_state("a", AccountState.FROZEN)
    store.deletions.decide("a", APPROVALS, grace=0)
    assert state(store) is AccountState.DELETING
    store.deletions.cancel("a")
    assert state(store) is AccountState.FROZEN
    store.deletions.decide("a", APPROVALS, grace=0)
    store.deletions.erase_due()
    with pytest.raises(StoreConflict, match="not being deleted"):
        store.deletions.cancel("a")
    with pytest.raises(KeyShareNotFound):
        store.deletions.decide("b", APPROVALS, grace=0)
    assert [entry.account_id for entry in store.deletions.entries()] == ["a"]


def test_an_account_with_pending_state_is_erased_when_that_is_settled(store):
    store.sessions.remember(sid_of(1), "refresh", CID, bytes(32))
    share = next_epoch(deal()[0])
    store.sessions.put_pending(sid_of(1), "refresh", CID, share_state("a", share), b"", b"done", party=1)
    store.deletions.decide("a", APPROVALS, grace=0)
    assert store.deletions.held_up("a")
    assert store.deletions.erase_due() == []
    store.sessions.void_pending(sid_of(1))
    store.sessions.erase_voided(sid_of(1))
    assert [entry.account_id for entry in store.deletions.erase_due()] == ["a"]
    assert store.check() == []


def test_a_restored_share_waits_for_a_later_epoch(store):
    store.accounts.mark_restored("a")
    assert state(store) is AccountState.RESTORED
    store.accounts.set_state("a", AccountState.FROZEN)
    assert state(store) is AccountState.FROZEN
    store.accounts.set_state("a", AccountState.ACTIVE)
    assert state(store) is AccountState.RESTORED
    store.accounts.replace_share(NewShare.of("a", next_epoch(deal()[0])))
    assert state(store) is AccountState.ACTIVE
    with pytest.raises(KeyShareNotFound):
        store.accounts.mark_restored("b")


def test_a_share_grows_too_old_and_a_new_epoch_is_young(store, clock):
    store.accounts.max_share_age = 10_000
    clock.now += 9.999
    assert state(store) is AccountState.ACTIVE
    clock.now += 0.001
    assert state(store) is AccountState.TOO_OLD
    assert [record.state for record in store.accounts.accounts()] == [AccountState.TOO_OLD]
    store.accounts.replace_share(NewShare.of("a", next_epoch(deal()[0])))
    assert state(store) is AccountState.ACTIVE
    clock.now += 1e9
    store.accounts.max_share_age = None
    assert state(store) is AccountState.ACTIVE


def test_restored_and_deleted_survive_a_restart(tmp_path, clock):
    with new_store(tmp_path) as store:
        for name in "ab":
            store.accounts.add(NewShare.of(name, deal(seed=name)[0]), CID, Origin.KEYGEN)
        store.accounts.mark_restored("a")
        store.deletions.decide("b", APPROVALS, grace=1 << 40)
    with Store.open(store.path, KeyFileWrapper(SEAL_KEY)) as again:
        assert (state(again), state(again, "b")) == (AccountState.RESTORED, AccountState.DELETING)
        assert again.check() == []
