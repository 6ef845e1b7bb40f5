"""What opens a store, and how that is changed while the store is in use.

A store has **slots**: each is an outer key (`KeyWrapper`) that wraps every data key, so that any one of them opens the
store. A new outer key is added beside the old one, tried, and the old one removed: at no moment, whatever ends the
process, does nothing open the store.

`renew` replaces the data key itself, for when somebody may have read it from this machine's memory: every sealed value
is sealed anew, a few rows a transaction, while the node works. Interrupted, it goes on where it was: values under either
data key open, and the old one is removed when no value needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from participant.sealing import KEY_BYTES, KeyWrapper, SealBroken, WrongSealingKey, wrap_place
from participant.store.database import Database
from participant.store.errors import StoreConflict, StoreDamaged
from participant.store.vault import SealedValue, Vault

MAX_SLOTS: Final = 8
"""Each slot of the tried kind costs a start one derivation of a password, or one call to a service."""

BATCH: Final = 64
"""Values sealed anew in one transaction: signing waits for no more than that."""


@dataclass(frozen=True)
class Slot:
    """One outer key of a store."""

    number: int
    form: str
    note: str
    """Which key it is, for people."""
    added_at: int
    in_use: bool
    """It opened the store this time."""


class Seals:
    """The slots and data keys of an open store. `sealed` lists every sealed value in it."""

    def __init__(
        self,
        vault: Vault,
        slot: int,
        wrapper: KeyWrapper,
        sealed: Iterable[Callable[[], Iterator[SealedValue]]],
    ) -> None:
        """`wrapper` opened the store, in `slot`."""
        self._vault = vault
        self._db = vault.database
        self._slot = slot
        self._wrappers = {slot: wrapper}
        self._sealed = tuple(sealed)

    def slots(self) -> list[Slot]:
        """By number."""
        sql = "SELECT slot, form, note, min(added_at) FROM sealing_key GROUP BY slot ORDER BY slot"
        return [
            Slot(number, form, note, added_at, number == self._slot)
            for number, form, note, added_at in self._db.rows(sql)
        ]

    def data_keys(self) -> list[int]:
        """Numbers of the data keys, ascending: two of them while a renewal is unfinished."""
        return [row[0] for row in self._db.rows("SELECT DISTINCT number FROM sealing_key ORDER BY number")]

    def add(self, wrapper: KeyWrapper, note: str = "") -> Slot:
        """Let another outer key open the store, from now on. It is tried before anything is stored.

        `note` says which key it is; the wrapper's own where it is empty.

        Raises SealError when it does not open what it wrapped, StoreConflict when all slots are taken.
        """
        keys = self._vault.sealer.data_keys
        # Before the transaction: a token or service takes its time, and others want to write.
        wrapped = {number: _wrap(wrapper, self._vault.store_id, number, key) for number, key in keys.items()}
        with self._vault.transaction():
            if self.data_keys() != sorted(wrapped):
                raise StoreConflict("the data keys were changed at the same time; try again")
            slots = self.slots()
            if len(slots) >= MAX_SLOTS:
                raise StoreConflict(f"the store has {MAX_SLOTS} slots already: remove one first")
            slot = max(existing.number for existing in slots) + 1
            _insert(self._db, slot, wrapper.form, note or wrapper.note, wrapped, self._vault.now())
        self._wrappers[slot] = wrapper
        return next(existing for existing in self.slots() if existing.number == slot)

    def remove(self, slot: int) -> None:
        """Let an outer key open the store no more. Raises StoreConflict for an unknown one, and for the last.

        Copies of the file that were made before still open with it: renew the data key when the outer key is in
        foreign hands.
        """
        with self._vault.transaction():
            numbers = [existing.number for existing in self.slots()]
            if slot not in numbers:
                raise StoreConflict(f"the store has no slot {slot}; it has {', '.join(map(str, numbers))}")
            if numbers == [slot]:
                raise StoreConflict(f"slot {slot} is the only one: nothing would open the store any more")
            self._db.execute("DELETE FROM sealing_key WHERE slot = ?", (slot,))
        self._wrappers.pop(slot, None)
        self._db.truncate_log()

    def renew(self) -> int:
        """Seal everything under a new data key, wrapped by every slot's outer key; how many values.

        Goes on with a renewal that was interrupted. Raises StoreConflict while there are slots whose outer keys this
        process does not have (it has the one that opened the store, and those that it added); StoreDamaged when a value
        does not open: then the old data key stays, and what was sealed anew stays so.
        """
        if len(self.data_keys()) == 1:
            self._begin()
        newest = self.data_keys()[-1]
        count = sum(self._reseal(values, newest) for values in self._batches())
        self._finish(newest)
        return count

    def _begin(self) -> None:
        vault, slots = self._vault, self.slots()
        absent = [f"{slot.number} ({slot.form})" for slot in slots if slot.number not in self._wrappers]
        if absent:
            raise StoreConflict(
                f"the new data key has to be wrapped in every slot, and the outer keys of slot {', '.join(absent)} are not "
                "here: remove these first, and add them again, before or afterwards"
            )
        number, key = self.data_keys()[-1] + 1, vault.rng(KEY_BYTES)
        wrapped = {
            slot.number: _wrap(self._wrappers[slot.number], vault.store_id, number, key) for slot in slots
        }
        with vault.transaction():
            if [slot.number for slot in self.slots()] != list(wrapped) or number in self.data_keys():
                raise StoreConflict("the slots were changed at the same time; try again")
            for slot in slots:
                blob = {number: wrapped[slot.number]}
                _insert(self._db, slot.number, slot.form, slot.note, blob, vault.now())
        # Behind the commit: nothing may be sealed under a key that is not on the disk.
        vault.sealer.add(number, key)

    def _batches(self) -> Iterator[list[SealedValue]]:
        for values in self._sealed:
            found = list(values())
            for start in range(0, len(found), BATCH):
                yield found[start : start + BATCH]

    def _reseal(self, values: list[SealedValue], newest: int) -> int:
        sealer, count = self._vault.sealer, 0
        with self._vault.transaction():
            for value in values:
                where = f"FROM {value.table} WHERE rowid = ?"
                found = self._db.first(f"SELECT {value.column} {where}", (value.rowid,))
                if found is None or sealer.number_of(found[0]) == newest:
                    continue
                try:
                    fresh = sealer.seal(sealer.unseal(found[0], value.place), value.place)
                except SealBroken:
                    # It stays under its key for whoever examines it; `_finish` says so.
                    continue
                sql = f"UPDATE {value.table} SET {value.column} = ? WHERE rowid = ?"  # noqa: S608 - names of our own
                count += self._db.execute(sql, (fresh, value.rowid))
        return count

    def _finish(self, newest: int) -> None:
        sealer = self._vault.sealer
        with self._vault.transaction():
            for values in self._batches():
                for value in values:
                    sql = f"SELECT {value.column} FROM {value.table} WHERE rowid = ?"  # noqa: S608 - names of our own
                    found = self._db.first(sql, (value.rowid,))
                    if found is not None and sealer.number_of(found[0]) != newest:
                        raise StoreDamaged(
                            f"a value of table {value.table} does not open: the old data key is kept. See what "
                            "mpc-keygen doctor says about it, then renew again"
                        )
            self._db.execute("DELETE FROM sealing_key WHERE number <> ?", (newest,))
        sealer.keep_only(newest)
        self._db.truncate_log()


def first_slot(database: Database, wrapper: KeyWrapper, store_id: bytes, data_key: bytes, now: int) -> int:
    """For a new store: slot 1, in which `wrapper` wraps data key 1."""
    _insert(
        database, 1, wrapper.form, wrapper.note, {1: wrapper.wrap(data_key, wrap_place(store_id, 1))}, now
    )
    return 1


def unlock(database: Database, wrapper: KeyWrapper, store_id: bytes) -> tuple[int, dict[int, bytes]]:
    """The slot that `wrapper` opens, and the data keys by number. Raises WrongSealingKey, SealError, StoreDamaged."""
    rows = database.rows("SELECT DISTINCT slot, form FROM sealing_key ORDER BY slot")
    if not rows:
        raise StoreDamaged(f"the store {database.path} is damaged: its data key is missing")
    fitting = [slot for slot, form in rows if form == wrapper.form]
    if not fitting:
        forms = ", ".join(sorted({form for _, form in rows}))
        raise WrongSealingKey(
            f"the store's data key is not wrapped by a {wrapper.form}; this store opens with: {forms}"
        )
    for slot in fitting[:-1]:
        try:
            return slot, _unwrap_slot(database, wrapper, store_id, slot)
        except WrongSealingKey:
            continue
    return fitting[-1], _unwrap_slot(database, wrapper, store_id, fitting[-1])


def _unwrap_slot(database: Database, wrapper: KeyWrapper, store_id: bytes, slot: int) -> dict[int, bytes]:
    rows = database.rows("SELECT number, wrapped FROM sealing_key WHERE slot = ?", (slot,))
    return {number: wrapper.unwrap(wrapped, wrap_place(store_id, number)) for number, wrapped in rows}


def _wrap(wrapper: KeyWrapper, store_id: bytes, number: int, key: bytes) -> bytes:
    place = wrap_place(store_id, number)
    wrapped = wrapper.wrap(key, place)
    if wrapper.unwrap(wrapped, place) != key:
        raise WrongSealingKey(f"the {wrapper.form} does not give back what it wrapped: it is not used")
    return wrapped


def _insert(database: Database, slot: int, form: str, note: str, wrapped: dict[int, bytes], now: int) -> None:
    for number, blob in wrapped.items():
        values = (slot, number, form, note, blob, now)
        database.execute("INSERT INTO sealing_key VALUES (?, ?, ?, ?, ?, ?)", values)
