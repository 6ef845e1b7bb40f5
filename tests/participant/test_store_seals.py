# ruff: noqa: ARG002 - what is not used is the interface's
"""Slots and data keys of a store."""

import threading

import pytest
from node_testing import (
    aux_sets,
    committee_of,
    deal,
    new_store,
    node_keys,
    raw,
    reopen,
    share_state,
    sid_of,
    wrapper,
)

from participant.sealing import (
    CHEAPEST_ONLY_FOR_TESTS,
    EnvelopeSealer,
    KeyFileWrapper,
    KeyWrapper,
    PasswordWrapper,
    Place,
    WrongSealingKey,
    wrap_place,
)
from participant.store import NewAux, NewShare, Origin, Store, StoreConflict, StoreDamaged
from participant.store.audit import GENESIS
from participant.store.database import APPLICATION_ID, _statements, upgrades
from participant.store.seals import BATCH, MAX_SLOTS
from tss.encoding import encode

CID = committee_of().committee_id
OTHER = KeyFileWrapper(bytes(32))


def password(text: bytes) -> PasswordWrapper:
    return PasswordWrapper(text, CHEAPEST_ONLY_FOR_TESTS)


def filled(tmp_path) -> Store:
    """A store with something sealed in every column that can hold it."""
    store = new_store(tmp_path)
    for name in ("a", "b"):
        store.accounts.add(NewShare.of(name, deal(seed=name)[0]), CID, Origin.IMPORT)
    store.accounts.put_aux(CID, NewAux.of(aux_sets()[0]))
    store.sessions.remember(sid_of(1), "keygen", CID, bytes(32))
    state = share_state("pending", deal(seed="p")[0])
    store.sessions.put_pending(sid_of(1), "keygen", CID, state, b"public", b"done", party=1)
    for number in range(BATCH + 3):
        store.primes.add(1019 + 2 * number)
    return store


def sealed_values(store: Store) -> dict[tuple[str, str, int], int]:
    """The data key of every sealed value in the file, found through the schema and not through the store's own list."""
    tables = [row[0] for row in store._database.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
    found = {}
    for table in tables:
        for column in (row[1] for row in store._database.rows(f"PRAGMA table_info({table})")):
            if column.startswith("sealed_"):
                for rowid, blob in store._database.rows(f"SELECT rowid, {column} FROM {table}"):  # noqa: S608 - from the schema
                    found[table, column, rowid] = int.from_bytes(blob[1:5], "big")
    return found


def test_any_slot_opens_a_store_and_a_removed_one_does_not(tmp_path):
    store = filled(tmp_path)
    before = store._database.rows("SELECT sealed_keys FROM identity")
    added = store.seals.add(password(b"one"), "the first")
    assert (added.number, added.form, added.note, added.in_use) == (2, "password", "the first", False)
    store.seals.add(password(b"two"))
    store.seals.add(OTHER)
    assert [(slot.number, slot.form, slot.in_use) for slot in store.seals.slots()] == [
        (1, "key-file", True), (2, "password", False), (3, "password", False), (4, "key-file", False),
    ]  # fmt: skip
    assert store._database.rows("SELECT sealed_keys FROM identity") == before
    store.close()
    for number, outer in enumerate((wrapper(), password(b"one"), password(b"two"), OTHER), 1):
        with Store.open(store.path, outer) as opened:
            assert [slot.number for slot in opened.seals.slots() if slot.in_use] == [number]
            assert opened.check() == []
    with Store.open(store.path, OTHER) as opened:
        opened.seals.remove(1)
        opened.seals.remove(2)
    for outer in (wrapper(), password(b"one"), password(b"three")):
        with pytest.raises(WrongSealingKey):
            Store.open(store.path, outer)
    with Store.open(store.path, password(b"two")) as opened:
        assert opened.identity().identity == node_keys()[0].identity


def test_the_last_slot_and_unknown_slots_stay_and_slots_are_bounded(tmp_path):
    with new_store(tmp_path) as store:
        for number in (1, 2, 0, -1):
            with pytest.raises(StoreConflict, match="only one" if number == 1 else "has no slot"):
                store.seals.remove(number)
        for _ in range(MAX_SLOTS - 1):
            store.seals.add(OTHER)
        with pytest.raises(StoreConflict, match="remove one first"):
            store.seals.add(OTHER)
        assert len(store.seals.slots()) == MAX_SLOTS


class Forgetful(KeyWrapper):
    """An outer key that does not give back what it was given."""

    form = "forgetful"

    def wrap(self, data_key, associated_data):
        return b"wrapped"

    def unwrap(self, wrapped, associated_data):
        return bytes(32)


def test_an_outer_key_that_does_not_give_back_the_data_key_is_not_added(tmp_path):
    with new_store(tmp_path) as store:
        with pytest.raises(WrongSealingKey, match="does not give back"):
            store.seals.add(Forgetful())
        assert len(store.seals.slots()) == 1


def test_renewal_seals_every_value_under_a_new_data_key(tmp_path):
    store = filled(tmp_path)
    before = sealed_values(store)
    assert set(before.values()) == {1}
    assert {(table, column) for table, column, _ in before} == {
        ("identity", "sealed_keys"), ("account", "sealed_chain_code"), ("share", "sealed_share"),
        ("aux_set", "sealed_set"), ("pending", "sealed_state"), ("prime", "sealed_prime"), ("audit_head", "sealed_head"),
    }  # fmt: skip
    (old,) = raw(store.path, "SELECT wrapped FROM sealing_key")[0]
    assert store.seals.renew() == len(before)
    assert sealed_values(store) == dict.fromkeys(before, 2)
    assert store.seals.data_keys() == [2]
    assert store.check() == []
    # Neither the file nor its log keeps the old data key.
    files = [path.read_bytes() for path in tmp_path.iterdir()]
    assert not any(old in content for content in files)
    store = reopen(store)
    assert store.check() == []
    assert store.seals.renew() == len(before)
    assert store.seals.data_keys() == [3]
    store.close()


def test_renewal_needs_the_outer_keys_of_all_slots(tmp_path):
    store = new_store(tmp_path)
    store.seals.add(password(b"one"))
    # Just added: its key is here.
    store.seals.renew()
    store = reopen(store)
    with pytest.raises(StoreConflict, match=r"slot 2 \(password\)"):
        store.seals.renew()
    assert store.seals.data_keys() == [2]
    store.seals.remove(2)
    store.seals.renew()
    store.seals.add(OTHER)
    store.seals.remove(1)
    store.seals.renew()
    store.close()
    with Store.open(store.path, OTHER) as opened:
        assert opened.seals.data_keys() == [4]
        assert opened.check() == []


def test_an_interrupted_renewal_goes_on(tmp_path, monkeypatch):
    store = filled(tmp_path)
    total = len(sealed_values(store))

    def interrupted(*_: object) -> int:
        raise InterruptedError

    with monkeypatch.context() as patch:
        patch.setattr(store.seals, "_reseal", interrupted)
        with pytest.raises(InterruptedError):
            store.seals.renew()
    assert store.seals.data_keys() == [1, 2]
    store.primes.add(2039)
    assert sorted(sealed_values(store).values()) == [1] * total + [2]
    store = reopen(store)
    assert store.check() == []
    added = store.seals.add(password(b"meanwhile"))
    store.seals.remove(added.number)
    assert store.seals.renew() == total
    assert store.seals.data_keys() == [2]
    assert store.check() == []
    store.close()


def test_a_value_that_does_not_open_keeps_the_old_data_key(tmp_path):
    store = filled(tmp_path)
    store.close()
    raw(store.path, "UPDATE share SET sealed_share = (SELECT sealed_share FROM share WHERE account_id = 'a')")
    with Store.open(store.path, wrapper()) as store:
        with pytest.raises(StoreDamaged, match="table share"):
            store.seals.renew()
        assert store.seals.data_keys() == [1, 2]
        assert [finding.what for finding in store.check()] == ["share"]


def test_the_store_is_used_while_it_is_renewed(tmp_path):
    store = filled(tmp_path)
    stop, failures, added = threading.Event(), [], 0

    def use() -> None:
        nonlocal added
        while not stop.is_set():
            try:
                assert store.accounts.share("a") == deal(seed="a")[0].to_bytes()
                store.primes.add(4099 + 2 * added)
                added += 1
            except Exception as error:  # noqa: BLE001 - whatever it is fails the test
                failures.append(error)
                return

    users = [threading.Thread(target=use) for _ in range(2)]
    for user in users:
        user.start()
    for _ in range(3):
        store.seals.renew()
    stop.set()
    for user in users:
        user.join()
    assert failures == []
    assert store.seals.data_keys() == [4]
    assert set(sealed_values(store).values()) == {4}
    assert store.check() == []
    store.close()


def former_store(path) -> None:
    """What a release without slots made."""
    store_id, data_key = bytes(range(16)), bytes(range(32, 64))
    path.touch(mode=0o600)
    for _, script in upgrades()[:2]:
        for statement in _statements(script):
            raw(path, statement)
    raw(path, "PRAGMA user_version = 2")
    raw(path, f"PRAGMA application_id = {APPLICATION_ID}")
    raw(path, "INSERT INTO store VALUES (1, ?, 5, 0)", store_id)
    raw(
        path,
        "INSERT INTO sealing_key VALUES (1, 'key-file', ?)",
        wrapper().wrap(data_key, wrap_place(store_id, 1)),
    )
    place = Place(store_id, "audit_head", "sealed_head").to_bytes()
    head = EnvelopeSealer({1: data_key}).seal(encode([0, GENESIS]), place)
    raw(path, "INSERT INTO audit_head VALUES (1, ?)", head)


def test_a_store_of_the_former_schema_opens_and_has_one_slot(tmp_path):
    former_store(tmp_path / "store.db")
    for _ in range(2):
        with Store.open(tmp_path / "store.db", wrapper()) as opened:
            (slot,) = opened.seals.slots()
            assert (slot.number, slot.form, slot.note, slot.added_at, slot.in_use) == (
                1,
                "key-file",
                "",
                5,
                True,
            )
            assert opened.check() == []
            opened.put_identity(node_keys()[0])
    with pytest.raises(WrongSealingKey):
        Store.open(tmp_path / "store.db", OTHER)
