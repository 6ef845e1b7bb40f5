import pytest
from node_testing import new_store, raw, reopen, wrapper

from participant.store import AuditRecord, Store, StoreConflict, StoreDamaged

FULL = AuditRecord(
    kind="sign", caller="alice", decision="refuse", reason="POLICY_REFUSED: limit", account="m/44'", request_id=bytes(16),
    digest=bytes(32), path="m/0/1", signers=(0, 2), session=bytes(range(32)),
)  # fmt: skip
BARE = AuditRecord("operator", "root", "allow")


def filled(tmp_path, count=5):
    store = new_store(tmp_path)
    for number in range(count):
        store.audit.append(AuditRecord("sign", "alice", "allow", reason=f"number {number}"))
    return store


def test_append_and_export(tmp_path):
    times = iter(range(1_700_000_000, 1_800_000_000))
    store = Store.create(tmp_path / "s.db", wrapper(), clock=lambda: next(times))
    assert [store.audit.append(record) for record in (FULL, BARE)] == [1, 2]
    store = reopen(store)
    assert store.audit.append(BARE) == 3
    entries = list(store.audit.export())
    assert [entry.record for entry in entries] == [FULL, BARE, BARE]
    assert [entry.seq for entry in entries] == [1, 2, 3]
    assert entries[0].previous == bytes(32)
    assert entries[1].previous == entries[0].hash
    assert 1_700_000_000_000 <= entries[0].time_ms < entries[1].time_ms
    assert list(store.audit.export(3)) == entries[2:]
    assert list(store.audit.export(4)) == []
    assert store.audit.verify_chain() == 3
    shown = entries[0].as_dict()
    assert shown["session"] == bytes(range(32)).hex()
    assert shown["signers"] == [0, 2]
    assert entries[1].as_dict()["account"] is None


def test_export_goes_on_over_many_batches(tmp_path):
    store = new_store(tmp_path)
    with store.transaction():
        for _ in range(1203):
            store.audit.append(BARE)
    assert [entry.seq for entry in store.audit.export()] == list(range(1, 1204))
    assert store.audit.verify_chain() == 1203


def test_two_equal_decisions_are_two_records_with_two_hashes(tmp_path):
    store = filled(tmp_path, 0)
    store.audit.append(BARE)
    store.audit.append(BARE)
    first, second = store.audit.export()
    assert first.hash != second.hash


TAMPERING = {
    "a record changed": "UPDATE audit SET record = (SELECT record FROM audit WHERE seq = 2) WHERE seq = 3",
    "a hash changed": "UPDATE audit SET hash = zeroblob(32) WHERE seq = 3",
    "a link changed": "UPDATE audit SET previous = zeroblob(32) WHERE seq = 3",
    "one removed from the middle": "DELETE FROM audit WHERE seq = 3",
    "the first removed": "DELETE FROM audit WHERE seq = 1",
    "the last removed": "DELETE FROM audit WHERE seq = 5",
    "all removed": "DELETE FROM audit",
    "one repeated": "INSERT INTO audit SELECT 6, record, previous, hash FROM audit WHERE seq = 5",
    "renumbered": "UPDATE audit SET seq = seq + 1 WHERE seq = 5",
    "the head damaged": "UPDATE audit_head SET sealed_head = zeroblob(60)",
}


@pytest.mark.parametrize("what", TAMPERING)
def test_tampering_is_found(tmp_path, what):
    store = filled(tmp_path)
    store.close()
    raw(store.path, "DROP TRIGGER audit_is_never_changed")
    raw(store.path, "DROP TRIGGER audit_is_never_cut")
    raw(store.path, TAMPERING[what])
    store = Store.open(store.path, wrapper())
    with pytest.raises(StoreDamaged):
        store.audit.verify_chain()
    assert [finding.what for finding in store.check()] == ["audit"]


@pytest.mark.parametrize(
    "what", ["the last removed", "all removed", "one repeated", "renumbered", "the head damaged"]
)
def test_nothing_is_appended_to_a_log_whose_end_was_tampered_with(tmp_path, what):
    store = filled(tmp_path)
    store.close()
    raw(store.path, "DROP TRIGGER audit_is_never_changed")
    raw(store.path, "DROP TRIGGER audit_is_never_cut")
    raw(store.path, TAMPERING[what])
    store = Store.open(store.path, wrapper())
    with pytest.raises(StoreDamaged):
        store.audit.append(BARE)


def test_a_log_rewritten_from_the_start_is_found(tmp_path):
    # Without the sealing key, somebody computes a whole consistent chain of other records.
    store = filled(tmp_path, 3)
    other = Store.create(tmp_path / "other.db", wrapper())
    for _ in range(3):
        other.audit.append(BARE)
    rows = raw(other.path, "SELECT * FROM audit")
    store.close()
    raw(store.path, "DROP TRIGGER audit_is_never_cut")
    raw(store.path, "DELETE FROM audit")
    for row in rows:
        raw(store.path, "INSERT INTO audit VALUES (?, ?, ?, ?)", *row)
    with pytest.raises(StoreDamaged):
        Store.open(store.path, wrapper()).audit.verify_chain()


def test_the_head_of_an_earlier_time_does_not_fit(tmp_path):
    store = filled(tmp_path, 2)
    (old,) = store._database.row("SELECT sealed_head FROM audit_head")
    store.audit.append(BARE)
    store._database.execute("UPDATE audit_head SET sealed_head = ?", (old,))
    with pytest.raises(StoreDamaged, match="cut or changed at its end"):
        store.audit.append(BARE)


def test_the_log_cannot_be_changed_through_our_own_connection(tmp_path):
    store = filled(tmp_path)
    for sql in ("UPDATE audit SET record = x'00'", "DELETE FROM audit"):
        with pytest.raises(StoreConflict, match="append-only"):
            store._database.execute(sql)
    assert store.audit.verify_chain() == 5


def test_a_record_in_an_open_transaction_goes_with_it(tmp_path):
    store = filled(tmp_path, 1)

    def fails():
        with store.transaction():
            assert store.audit.append(BARE) == 2
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert store.audit.append(BARE) == 2
    assert store.audit.verify_chain() == 2
