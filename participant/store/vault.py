"""What every part of the store shares: the database, the sealer, the clock and the store's own identity."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from participant.sealing import EnvelopeSealer, Place
from participant.store.database import Database
from tss.encoding import Value
from tss.rand import Rng

Clock = Callable[[], float]
"""Seconds since 1970."""


@dataclass(frozen=True)
class SealedValue:
    """Where a sealed value stands, and its associated data."""

    table: str
    column: str
    rowid: int
    place: bytes


@dataclass
class Vault:
    """Handed to the parts of one open store. `run` is 16 random bytes, new each time the store is opened.

    Values are sealed inside the transaction that stores them: another data key may come between two transactions.
    """

    database: Database
    sealer: EnvelopeSealer
    store_id: bytes
    rng: Rng
    run: bytes
    clock: Clock = field(default=time.time)

    def now(self) -> int:
        """Milliseconds since 1970."""
        return int(self.clock() * 1000)

    def transaction(self, *, durable: bool = True) -> contextlib.AbstractContextManager[None]:
        """See `Database.transaction`."""
        return self.database.transaction(durable=durable)

    def place(
        self,
        table: str,
        column: str,
        row: Value,
        *,
        account: str | None = None,
        epoch: bytes | None = None,
        party: int | None = None,
    ) -> bytes:
        """The associated data of a value in this store."""
        return Place(self.store_id, table, column, row, account, epoch, party).to_bytes()
