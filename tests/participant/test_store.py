import multiprocessing
import os
import sqlite3
import stat
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest
from node_testing import SEAL_KEY, new_store, node_keys, raw, reopen, wrapper

from participant.files import SecretFileExposed
from participant.sealing import (
    CHEAPEST_ONLY_FOR_TESTS,
    KeyFileWrapper,
    PasswordWrapper,
    SealError,
    WrongSealingKey,
)
from participant.store import (
    AuditRecord,
    Store,
    StoreConflict,
    StoreDamaged,
    StoreError,
    StoreExists,
    StoreLocked,
    StoreMissing,
    StoreUnavailable,
    StoreVersion,
)
from participant.store.database import upgrades

ROOT = Path(__file__).parents[2]

# Every column that there is. A presignature secret, a nonce or presigning randomness has no place to go; whoever adds a
# column decides here that it is none of these.
COLUMNS = {
    "store": {"one", "store_id", "created_at", "probe"},
    "sealing_key": {"slot", "number", "form", "note", "wrapped", "added_at"},
    "identity": {"one", "identity", "sealed_keys"},
    "committee": {"committee_id", "description", "added_at", "current_aux_id"},
    "aux_set": {"aux_id", "committee_id", "party", "sealed_set", "activated_at"},
    "account": {
        "account_id", "key_id", "committee_id", "curve", "threshold", "party", "public_key", "sealed_chain_code",
        "share_epoch", "state", "origin", "created_at", "last_signed_at",
    },
    "share": {
        "account_id", "share_epoch", "party", "aux_id", "sealed_share", "activated_at", "superseded_at",
    },
    "session": {"sid", "kind", "committee_id", "ph", "began_at", "ended_at", "outcome"},
    "pending": {"sid", "kind", "committee_id", "sealed_state", "public", "created_at", "voided_at", "aux_id"},
    "pending_account": {"sid", "account_id"},
    "done": {"sid", "party", "envelope"},
    "certificate": {"sid", "kind", "committee_id", "public", "envelopes", "activated_at"},
    "certificate_account": {"sid", "account_id"},
    "kept_envelope": {"number", "sid", "kind", "envelope"},
    "prime": {"prime_id", "bits", "sealed_prime", "made_at"},
    "request": {
        "request_id", "caller", "content_hash", "run", "state", "result", "began_at", "ended_at",
    },
    "answer": {"presignature_id", "req", "envelope", "audit_seq", "answered_at"},
    "evidence": {"evidence_id", "blob", "added_at"},
    "quarantine": {
        "number", "peer", "committee_id", "aux_id", "reason", "evidence_id", "added_at", "cleared_at", "cleared_by",
    },
    "blocked_set": {
        "sid", "committee_id", "signers", "run", "reason", "blocked_at", "lifted_at", "lifted_by",
    },
    "opening": {"sid", "party", "envelope"},
    "deletion": {"account_id", "key_id", "committee_id", "approvals", "decided_at", "erase_at", "erased_at"},
    "restored_share": {"account_id", "share_epoch", "restored_at"},
    "reshare_run": {"sid", "request_id"},
    "reshare_certificate": {"request_id", "sid", "envelopes", "certified_at"},
    "moved_account": {
        "key_id", "account_id", "committee_id", "new_committee_id", "request_id", "share_epoch", "moved_at",
    },
    "destroyed_share": {"key_id", "party", "word"},
    "approval": {"request_id", "kind", "account_id", "request", "approved_at", "ended_at", "outcome"},
    "recovery": {
        "request_id", "account_id", "key_id", "share_epoch", "lost", "sealed_share", "settled_at",
    },
    "audit": {"seq", "record", "previous", "hash"},
    "audit_head": {"one", "sealed_head"},
}  # fmt: skip


def test_schema_has_these_columns_and_no_others(tmp_path):
    store = new_store(tmp_path)
    store.close()
    tables = [row[0] for row in raw(store.path, "SELECT name FROM sqlite_master WHERE type = 'table'")]
    found = {name: {row[1] for row in raw(store.path, f"PRAGMA table_info({name})")} for name in tables}
    found.pop("sqlite_sequence", None)
    assert found == COLUMNS


def test_pragmas_that_make_a_write_durable(tmp_path):
    store = new_store(tmp_path)
    read = {name: store._database.row(f"PRAGMA {name}")[0] for name in ("journal_mode", "synchronous")}
    assert read == {"journal_mode": "wal", "synchronous": 2}
    assert store._database.row("PRAGMA foreign_keys")[0] == 1
    assert store._database.row("PRAGMA secure_delete")[0] == 1


def test_files_have_mode_0600_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        store = new_store(tmp_path)
        store.probe()
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert set(modes) == {"store.db", "store.db-wal", "store.db-shm", "store.db.lock"}
    assert set(modes.values()) == {0o600}


@pytest.mark.fault(8)
@pytest.mark.parametrize("mode", [0o644, 0o660, 0o602])
def test_a_store_that_others_may_touch_is_not_opened(tmp_path, mode):
    store = new_store(tmp_path)
    store.close()
    store.path.chmod(mode)
    with pytest.raises(SecretFileExposed, match="chmod 600"):
        Store.open(store.path, wrapper())
    store.path.chmod(0o600)
    Store.open(store.path, wrapper()).close()


def test_identity_survives_and_is_never_replaced(tmp_path):
    store = new_store(tmp_path)
    store_id = store.store_id
    store.put_identity(node_keys()[0])
    with pytest.raises(StoreConflict, match="another identity"):
        store.put_identity(node_keys()[1])
    store = reopen(store)
    assert store.identity().identity == node_keys()[0].identity
    assert store.identity().sign(b"m") == node_keys()[0].sign(b"m")
    assert store.store_id == store_id


def test_store_without_identity(tmp_path):
    with (
        Store.create(tmp_path / "s.db", wrapper()) as store,
        pytest.raises(StoreError, match="no identity yet"),
    ):
        store.identity()


def test_create_and_open_errors(tmp_path):
    with pytest.raises(StoreMissing, match="no store at"):
        Store.open(tmp_path / "none.db", wrapper())
    assert not (tmp_path / "none.db").exists()
    store = new_store(tmp_path)
    store.close()
    with pytest.raises(StoreExists):
        Store.create(store.path, wrapper())
    with pytest.raises(StoreUnavailable, match="lock file"):
        Store.create(tmp_path / "no" / "directory.db", wrapper())
    Store.open(store.path, wrapper()).close()


def test_an_interrupted_creation_can_be_repeated(tmp_path):
    path = tmp_path / "store.db"

    class Fails(KeyFileWrapper):
        def wrap(self, *_):
            raise SealError("the key is gone")

    with pytest.raises(SealError):
        Store.create(path, Fails(SEAL_KEY))
    with pytest.raises(StoreDamaged, match="interrupted"):
        Store.open(path, wrapper())
    Store.create(path, wrapper()).close()
    Store.open(path, wrapper()).close()


def test_files_that_are_no_store(tmp_path):
    path = tmp_path / "store.db"
    path.touch(0o600)
    path.write_bytes(b"definitely not a database, but long enough to look at" * 50)
    with pytest.raises(StoreDamaged, match="damaged"):
        Store.open(path, wrapper())
    other = tmp_path / "other.db"
    connection = sqlite3.connect(other)
    connection.executescript("CREATE TABLE t (a); PRAGMA user_version = 1;")
    connection.close()
    other.chmod(0o600)
    with pytest.raises(StoreDamaged, match="not a store of wallet-mpc"):
        Store.open(other, wrapper())


def test_a_store_of_a_newer_release_is_left_alone(tmp_path):
    store = new_store(tmp_path)
    store.close()
    raw(store.path, f"PRAGMA user_version = {len(upgrades()) + 1}")
    with pytest.raises(StoreVersion, match="newer release"):
        Store.open(store.path, wrapper())


def test_wrong_key_and_wrong_password(tmp_path):
    store = new_store(tmp_path)
    store.close()
    with pytest.raises(WrongSealingKey, match="wrong key file"):
        Store.open(store.path, KeyFileWrapper(bytes(32)))
    with pytest.raises(SealError, match="not wrapped by a password"):
        Store.open(store.path, PasswordWrapper(b"pw", CHEAPEST_ONLY_FOR_TESTS))
    password = PasswordWrapper(b"pw", CHEAPEST_ONLY_FOR_TESTS)
    Store.create(tmp_path / "pw.db", password).close()
    with pytest.raises(WrongSealingKey, match="wrong password"):
        Store.open(tmp_path / "pw.db", PasswordWrapper(b"pW", CHEAPEST_ONLY_FOR_TESTS))
    Store.open(tmp_path / "pw.db", password).close()


def test_a_data_key_of_another_store_does_not_open_this_one(tmp_path):
    first, second = new_store(tmp_path, "a.db"), new_store(tmp_path, "b.db")
    first.close()
    second.close()
    (foreign,) = raw(first.path, "SELECT wrapped FROM sealing_key")[0]
    raw(second.path, "UPDATE sealing_key SET wrapped = ?", foreign)
    with pytest.raises(WrongSealingKey):
        Store.open(second.path, wrapper())


SECOND_DAEMON = """
import sys
from pathlib import Path
from node_testing import wrapper
from participant.store import Store, StoreLocked
try:
    Store.open(Path(sys.argv[1]), wrapper())
except StoreLocked as error:
    print("refused:", error)
else:
    print("opened")
"""


def _second_daemon(path):
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests' / 'support'}"}
    command = [sys.executable, "-c", SECOND_DAEMON, str(path)]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True, timeout=60
    ).stdout


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path):
    store = new_store(tmp_path)
    (tmp_path / "alias.db").symlink_to(store.path)
    for path in (store.path, tmp_path / "alias.db"):
        answer = _second_daemon(path)
        assert answer.startswith("refused:")
        assert "a second daemon on the same store" in answer
        assert f"pid {os.getpid()}" in answer
    store.probe()
    store.close()
    assert _second_daemon(store.path) == "opened\n"


def test_a_second_open_in_one_process_is_refused(tmp_path):
    store = new_store(tmp_path)
    with pytest.raises(StoreLocked):
        Store.open(store.path, wrapper())
    store.close()
    store.close()
    with Store.open(store.path, wrapper()) as again:
        again.probe()


def test_an_open_that_fails_leaves_no_lock(tmp_path):
    store = new_store(tmp_path)
    store.close()
    with pytest.raises(WrongSealingKey):
        Store.open(store.path, KeyFileWrapper(bytes(32)))
    Store.open(store.path, wrapper()).close()


def test_a_child_process_does_not_inherit_the_lock(tmp_path):
    store = new_store(tmp_path)
    with subprocess.Popen(["sleep", "60"]) as child:
        try:
            store.close()
            Store.open(store.path, wrapper()).close()
        finally:
            child.kill()


def test_a_closed_store_says_so(tmp_path):
    store = new_store(tmp_path)
    store.close()
    for use in (store.probe, store.identity, store.accounts.accounts, store.check):
        with pytest.raises(StoreUnavailable, match="closed"):
            use()


def test_transactions_are_all_or_nothing_and_nest(tmp_path):
    store = new_store(tmp_path)

    def fail_after(*writes):
        with store.transaction():
            for write in writes:
                write()
            raise RuntimeError

    with store.transaction():
        store.primes.add(101)
        with pytest.raises(RuntimeError):
            fail_after(lambda: store.primes.add(103))
        store.primes.add(107)
    assert store.primes.count(7) == 2
    with pytest.raises(RuntimeError):
        fail_after(
            lambda: store.primes.take(2, 7), lambda: store.audit.append(AuditRecord("sign", "me", "allow"))
        )
    assert store.primes.count(7) == 2
    assert store.audit.verify_chain() == 0
    assert sorted(store.primes.take(5, 7)) == [101, 107]


def test_a_write_may_wait_for_the_next_one_to_be_durable(tmp_path):
    store = new_store(tmp_path)
    pragma = "PRAGMA synchronous"

    def synced() -> bool:
        return store._database.row(pragma)[0] == 2

    with store.transaction(durable=False):
        assert not synced()
        store.primes.add(101)
        with store.transaction():
            assert not synced(), "the outermost one decides"
            store.primes.add(103)
    assert synced()

    def add_and_fail() -> None:
        with store.transaction(durable=False):
            store.primes.add(107)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        add_and_fail()
    assert synced()
    assert store.primes.count(7) == 2
    with store.transaction(), store.transaction(durable=False):
        assert synced(), "an inner one makes nothing of an outer one less durable"
        store.primes.add(109)

    def probes() -> int:
        return store._database.row("SELECT probe FROM store")[0]

    before = probes()
    store.settle()
    assert probes() == before, "a durable write has taken what was before it to the disk"
    with store.transaction(durable=False):
        store.primes.add(113)
    with store.transaction(), store.transaction(durable=False):
        pass
    store.settle()
    assert probes() == before + 1
    store.settle()
    with store.transaction(durable=False):
        pass
    store.settle()
    assert probes() == before + 1, "nothing was stored meanwhile"
    store = reopen(store)
    assert sorted(store.primes.take(5, 7)) == [101, 103, 109, 113]
    store.close()


def test_many_threads_write_at_once(tmp_path):
    store = new_store(tmp_path)
    failures = []

    def work(number):
        try:
            for i in range(10):
                with store.transaction():
                    store.audit.append(AuditRecord("sign", f"thread {number}", "allow", reason=str(i)))
                    store.primes.add(1000 + number)
                store.accounts.committees()
        except Exception as error:  # noqa: BLE001 - whatever it is, the test shall fail with it
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert store.audit.verify_chain() == 80
    assert store.primes.count(10) == 80
    for number in range(8):
        mine = [e.record.reason for e in store.audit.export() if e.record.caller == f"thread {number}"]
        assert mine == [str(i) for i in range(10)]


def test_a_sound_store_has_no_findings(tmp_path):
    store = new_store(tmp_path)
    assert store.check() == []
    assert reopen(store).check() == []


def test_upgrade_scripts_are_numbered_and_shipped():
    numbers = [number for number, _ in upgrades()]
    assert numbers == list(range(1, len(numbers) + 1))
    assert all(sqlite3.complete_statement(script.strip().splitlines()[-1]) for _, script in upgrades())


def test_upgrade_scripts_are_in_the_wheel(tmp_path):
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    assert "participant/store/upgrades/0001_first.sql" in zipfile.ZipFile(wheel).namelist()


def test_spawned_workers_do_not_hold_the_store(tmp_path):
    store = new_store(tmp_path)
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        pool.apply(os.getpid)
        store.close()
        Store.open(store.path, wrapper()).close()
