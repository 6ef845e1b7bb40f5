"""Signer sets that do not work together: durable, until they are lifted."""

import pytest
from node_testing import committee_of, new_store, raw, reopen, sid_of, wrapper

from participant.store import Store, StoreConflict, StoreDamaged, StoreError

CID = committee_of().committee_id


def blocked(store, number=1, signers=(1, 3)):
    store.sessions.remember(sid_of(number), "presign", CID, sid_of(number + 100))
    store.blocked.block(sid_of(number), CID, signers, b"run", "failed delta")
    return sid_of(number)


def test_a_block_outlives_the_process_and_ends_with_its_lifting(tmp_path):
    store = new_store(tmp_path)
    sid, other = blocked(store), blocked(store, 2, (1, 2))
    store = reopen(store)
    first, second = store.blocked.entries()
    assert (first.sid, first.signers, first.run, first.reason) == (sid, (1, 3), b"run", "failed delta")
    assert (second.sid, second.committee_id) == (other, CID)
    assert store.blocked.signer_sets(CID) == {(1, 3), (1, 2)}
    assert store.blocked.signer_sets(sid_of(9)) == set()
    store.blocked.lift(sid, "operator")
    store = reopen(store)
    assert store.blocked.signer_sets(CID) == {(1, 2)}
    assert store.blocked.find(sid) is None
    with pytest.raises(StoreConflict, match="blocks no signer set"):
        store.blocked.lift(sid, "operator")


def test_abort_messages_are_kept_byte_for_byte_the_first_of_each(tmp_path):
    store = new_store(tmp_path)
    sid = blocked(store)
    entry = store.blocked.find(sid)
    assert entry is not None
    assert entry.lacking == (1, 3)
    store.blocked.add_opening(sid, 3, b"three")
    store.blocked.add_opening(sid, 3, b"another")
    store = reopen(store)
    assert store.blocked.openings(sid) == {3: b"three"}
    entry = store.blocked.find(sid)
    assert entry is not None
    assert (entry.opened, entry.lacking) == ((3,), (1,))
    store.blocked.set_reason(sid, "still failed delta " + "x" * 1000)
    entry = store.blocked.find(sid)
    assert entry is not None
    assert len(entry.reason) == 400


def test_only_a_remembered_session_blocks_and_once(tmp_path):
    store = new_store(tmp_path)
    with pytest.raises(StoreConflict):
        store.blocked.block(sid_of(1), CID, (1, 2), b"", "")
    sid = blocked(store)
    with pytest.raises(StoreConflict):
        store.blocked.block(sid, CID, (1, 2), b"", "")
    with pytest.raises(StoreError):
        store.blocked.add_opening(sid_of(7), 1, b"x")


def test_a_damaged_block_is_found(tmp_path):
    store = new_store(tmp_path)
    blocked(store)
    store.close()
    raw(store.path, "UPDATE blocked_set SET signers = x'00'")
    with Store.open(store.path, wrapper()) as store:
        with pytest.raises(StoreDamaged):
            store.blocked.signer_sets(CID)
        assert [finding.what for finding in store.check()] == ["blocked sets"]
