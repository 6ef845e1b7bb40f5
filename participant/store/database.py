"""One SQLite file, one process, one writer.

WAL with synchronous=FULL: a transaction that `transaction` has left without an exception is on the disk. Whoever holds
the lock file holds the store, so nothing outside this process writes to it.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.resources
import os
import re
import sqlite3
import threading
import urllib.parse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from participant.files import PRIVATE_MODE, check_private, sync_directory
from participant.store.errors import (
    StoreConflict,
    StoreDamaged,
    StoreError,
    StoreLocked,
    StoreMissing,
    StoreUnavailable,
    StoreVersion,
)

APPLICATION_ID: Final = 0x574D5043
"""Marks an SQLite file as ours."""

BUSY_TIMEOUT_MS: Final = 5000
"""How long a foreign reader (a backup, the sqlite3 tool) may hold us up."""

OLDEST_SQLITE: Final = (3, 37)
"""STRICT tables."""

_UNAVAILABLE: Final = {
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PERM, sqlite3.SQLITE_PROTOCOL,
}  # fmt: skip
_DAMAGED: Final = {
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_SCHEMA,
    sqlite3.SQLITE_FORMAT,
}

_SYNCHRONOUS: Final = "PRAGMA synchronous = FULL"

_PRAGMAS: Final = (
    "PRAGMA journal_mode = WAL",
    _SYNCHRONOUS,
    "PRAGMA foreign_keys = ON",
    # Deleted secrets are overwritten, not left in free pages.
    "PRAGMA secure_delete = ON",
    # A manipulated file cannot run functions through its schema, nor crash us by impossible pages.
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
    f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}",
)


def upgrades() -> list[tuple[int, str]]:
    """The numbered upgrade scripts: (version that the script leads to, SQL), ascending and without a gap."""
    folder = importlib.resources.files("participant.store").joinpath("upgrades")
    found = sorted(
        (int(match[1]), entry.read_text(encoding="utf-8"))
        for entry in folder.iterdir()
        if (match := re.fullmatch(r"(\d{4})_\w+\.sql", entry.name))
    )
    if [number for number, _ in found] != list(range(1, len(found) + 1)):
        raise StoreError("the installation is incomplete: the store's upgrade scripts have a gap")
    return found


def translate(error: sqlite3.Error, path: Path) -> StoreError:
    """The store's error for one of SQLite's."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        if isinstance(error, sqlite3.ProgrammingError) and "closed" in str(error):
            return StoreUnavailable(f"the store {path} is closed")
        # Python's own complaint about a column that is no UTF-8 has no code either.
        return StoreDamaged(f"the store {path} is damaged: {error}")
    primary = code & 0xFF
    if primary in _UNAVAILABLE:
        hint = "is the disk full, read-only or failing?"
        return StoreUnavailable(f"the store {path} cannot be used now ({error}): {hint} Nothing was changed")
    if primary in _DAMAGED:
        return StoreDamaged(f"the store {path} is damaged: {error}. Restore it from a backup")
    if primary == sqlite3.SQLITE_CONSTRAINT:
        return StoreConflict(f"{path}: {error}")
    return StoreError(f"{path}: {error}")


class StoreLock:
    """The right to be the one process that uses a store: an exclusive flock on `<store>.lock`."""

    def __init__(self, store: Path) -> None:
        self.path = store.with_name(store.name + ".lock")
        try:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_MODE)
        except OSError as error:
            raise StoreUnavailable(f"cannot open the lock file {self.path}: {error.strerror}") from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._descriptor)
            raise StoreLocked(
                f"the store {store} is in use by another process ({holder}): a second daemon on the same store is "
                "refused. Stop the other one first, or give this one a store of its own"
            ) from None
        except OSError as error:
            os.close(self._descriptor)
            raise StoreUnavailable(f"cannot lock {self.path}: {error.strerror}") from None
        # The pid is a courtesy to the reader of the message above.
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"pid {os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let the next process in. The file stays: removing it would let two processes lock two files."""
        os.close(self._descriptor)


class Database:
    """The connection. Methods may be called from any thread; one thread at a time is inside."""

    def __init__(self, path: Path, *, create: bool) -> None:
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise StoreError(f"SQLite {sqlite3.sqlite_version} is too old; 3.37 or newer is needed")
        self.path = path.resolve()
        self._mutex = threading.RLock()
        self._depth = 0
        self.is_settled = True
        """Whether everything that is stored is on the disk, too."""
        lock = StoreLock(self.path)
        try:
            _prepare_file(self.path, create=create)
            self._connection = self._connect()
        except BaseException:
            lock.release()
            raise
        self._lock: StoreLock | None = lock

    def _connect(self) -> sqlite3.Connection:
        uri = f"file:{urllib.parse.quote(str(self.path))}?mode=rw"
        with self._translated():
            connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        try:
            with self._translated():
                for pragma in _PRAGMAS:
                    connection.execute(pragma).fetchall()
        except BaseException:
            connection.close()
            raise
        return connection

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise translate(error, self.path) from error
        except UnicodeDecodeError:
            # A damaged text, or SQLite's message about a damaged schema.
            raise StoreDamaged(f"the store {self.path} is damaged: a text in it is not UTF-8") from None
        except MemoryError:
            # What SQLite makes of a record whose length was damaged.
            text = f"the store {self.path} is damaged (a record of impossible length), or this machine is out of memory"
            raise StoreDamaged(text) from None

    @property
    def version(self) -> int:
        """Number of upgrade scripts that the file has seen; 0 for a new one."""
        return int(self.row("PRAGMA user_version")[0])

    def upgrade(self) -> None:
        """Bring the schema up to date, inside `transaction`. Raises StoreVersion, StoreDamaged."""
        application, version, known = int(self.row("PRAGMA application_id")[0]), self.version, upgrades()
        if version and application != APPLICATION_ID:
            raise StoreDamaged(f"{self.path} is a database, but not a store of wallet-mpc")
        if version > len(known):
            raise StoreVersion(
                f"the store {self.path} was written by a newer release; install that release again"
            )
        for number, script in known[version:]:
            with self._translated():
                for statement in _statements(script):
                    self._connection.execute(statement)
                self._connection.execute(f"PRAGMA user_version = {number}")
                self._connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")

    @contextlib.contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[None]:
        """All or nothing. Durable when the outermost one is left; an inner one alone can fail and be undone.

        Without `durable` the outermost one is only in its place: on the disk no later than whatever is written after it.
        Raises StoreUnavailable when the disk refuses; then nothing of it is stored.
        """
        with self._mutex:
            if self._depth:
                with self._transaction():
                    yield
                return
            before = self._changes()
            if durable:
                with self._transaction():
                    yield
                # What changes nothing is not synced either.
                self.is_settled |= self._changes() != before
                return
            self.execute("PRAGMA synchronous = NORMAL")
            try:
                with self._transaction():
                    yield
            finally:
                self.is_settled &= self._changes() == before
                self.execute(_SYNCHRONOUS)

    def _changes(self) -> int:
        """Rows that were changed so far, also those of transactions that were undone."""
        with self._translated():
            return self._connection.total_changes

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._mutex:
            level, name = self._depth, f"level_{self._depth}"
            self.execute(f"SAVEPOINT {name}" if level else "BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
            except BaseException:
                self._depth -= 1
                self._undo(level, name)
                raise
            self._depth -= 1
            try:
                self._still_open(level + 1)
                self.execute(f"RELEASE {name}" if level else "COMMIT")
            except BaseException:
                self._undo(level, name)
                raise

    @contextlib.contextmanager
    def steady(self) -> Iterator[None]:
        """What is read inside belongs together: nobody writes between two reads."""
        with self._mutex:
            yield

    def _undo(self, level: int, name: str) -> None:
        """Roll back. SQLite may have done it by itself when the disk failed."""
        if not self._connection.in_transaction:
            return
        with contextlib.suppress(StoreError):
            if level:
                self.execute(f"ROLLBACK TO {name}")
                self.execute(f"RELEASE {name}")
            else:
                self.execute("ROLLBACK")

    def _still_open(self, depth: int) -> None:
        if depth and not self._connection.in_transaction:
            raise StoreUnavailable(
                f"the disk failed earlier in this transaction on {self.path}; nothing was stored"
            )

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run one statement; the number of rows that it changed."""
        with self._mutex, self._translated():
            self._still_open(self._depth)
            return self._connection.execute(sql, parameters).rowcount

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        with self._mutex, self._translated():
            return self._connection.execute(sql, parameters).fetchall()

    def first(self, sql: str, parameters: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        """The first row of a query, or None."""
        rows = self.rows(sql, parameters)
        return rows[0] if rows else None

    def row(self, sql: str, parameters: Sequence[Any] = ()) -> tuple[Any, ...]:
        """The row of a query that always has one. Raises StoreDamaged."""
        found = self.first(sql, parameters)
        if found is None:
            raise StoreDamaged(f"the store {self.path} is damaged: a record that always exists is missing")
        return found

    def truncate_log(self) -> None:
        """Copy SQLite's log into the file and empty it: former contents of pages are in neither any more.

        A foreign reader may hold it up; then they go with the next time that the log is copied.
        """
        self.rows("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Release file and lock. Idempotent."""
        with self._mutex:
            if self._lock is not None:
                self._connection.close()
                self._lock.release()
                self._lock = None


def _prepare_file(path: Path, *, create: bool) -> None:
    """Make the file with its mode before SQLite could make it with another; check the mode of one that is there."""
    flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
    existed = path.exists()
    try:
        descriptor = os.open(path, flags, PRIVATE_MODE)
    except FileNotFoundError:
        raise StoreMissing(f"there is no store at {path}") from None
    except OSError as error:
        raise StoreUnavailable(f"cannot open the store {path}: {error.strerror}") from None
    try:
        if existed:
            check_private(path, descriptor)
        else:
            os.fchmod(descriptor, PRIVATE_MODE)
            sync_directory(path.parent)
    except OSError as error:
        raise StoreUnavailable(f"cannot open the store {path}: {error.strerror}") from None
    finally:
        os.close(descriptor)


def _statements(script: str) -> Iterator[str]:
    """The statements of a script, each ending at a line's end. SQLite's own way to run one would commit first."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
