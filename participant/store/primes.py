"""The pool of safe primes, searched for while the node is idle."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from participant.sealing import SealBroken
from participant.store.errors import StoreConflict, StoreDamaged
from participant.store.vault import SealedValue, Vault

PRIME_ID_BYTES: Final = 16


class Primes:
    """Each prime is taken out once, durably, before anybody sees it: no modulus shares one with another."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._db = vault.database

    def add(self, prime: int) -> None:
        """Put a safe prime into the pool."""
        if prime < 3:
            raise StoreConflict("this is no prime for the pool")
        vault, bits = self._vault, int(prime).bit_length()
        prime_id = vault.rng(PRIME_ID_BYTES)
        content = int(prime).to_bytes((bits + 7) // 8, "big")
        with vault.transaction():
            sealed = vault.sealer.seal(content, self._place(prime_id, bits))
            self._db.execute("INSERT INTO prime VALUES (?, ?, ?, ?)", (prime_id, bits, sealed, vault.now()))

    def take(self, count: int, bits: int) -> list[int]:
        """Remove up to `count` primes of `bits` bits, oldest first, and return them when they are durably gone.

        One that does not open is dropped: it is of no use, and there are more.
        """
        taken: list[int] = []
        with self._vault.transaction():
            sql = "SELECT prime_id, sealed_prime FROM prime WHERE bits = ? ORDER BY rowid"
            for prime_id, sealed in self._db.rows(sql, (bits,)):
                if len(taken) == count:
                    break
                try:
                    content = self._vault.sealer.unseal(sealed, self._place(prime_id, bits))
                except SealBroken:
                    content = None
                if content is not None:
                    taken.append(int.from_bytes(content, "big"))
                self._db.execute("DELETE FROM prime WHERE prime_id = ?", (prime_id,))
        return taken

    def count(self, bits: int) -> int:
        """Number of primes of `bits` bits in the pool."""
        return int(self._db.row("SELECT count(*) FROM prime WHERE bits = ?", (bits,))[0])

    def check(self) -> None:
        """Open every one. Raises StoreDamaged."""
        for prime_id, bits, sealed in self._db.rows("SELECT prime_id, bits, sealed_prime FROM prime"):
            try:
                self._vault.sealer.unseal(sealed, self._place(prime_id, bits))
            except SealBroken as error:
                raise StoreDamaged(f"prime {prime_id.hex()} of the pool is damaged: {error}") from None

    def sealed(self) -> Iterator[SealedValue]:
        """Every sealed value of the pool."""
        for rowid, prime_id, bits in self._db.rows("SELECT rowid, prime_id, bits FROM prime"):
            yield SealedValue("prime", "sealed_prime", rowid, self._place(prime_id, bits))

    def _place(self, prime_id: bytes, bits: int) -> bytes:
        return self._vault.place("prime", "sealed_prime", [prime_id, bits])
