"""The presignatures in this node's memory, where they live and die (protocol.md 3.3, 3.5)."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from participant.node.api import StockEntry, StockView
from participant.node.config import StockSettings
from participant.node.hello import MAX_STOCK, StockNote, account_tag
from participant.store import AccountRecord
from tss.cggmp24.presignature import Presignature, State
from tss.frost.nonces import Prepared
from tss.params import FROST_BIP340

Points = tuple[int, ...]
Stocked = Presignature | Prepared
"""What makes a signature quick: a presignature, or of FROST nonce pairs that were exchanged ahead."""


@dataclass
class Held:
    """One presignature and whose it is."""

    presignature: Stocked
    account_id: str
    committee_id: bytes
    made_at: float
    reserved: bool = field(default=False)
    """Handed out by `take`: nobody else gets it."""

    @property
    def own(self) -> bool:
        """Whether this node may propose with it."""
        return self.presignature.public.owner == self.presignature.me

    @property
    def available(self) -> bool:
        """Whether it may still be promised to somebody."""
        return not self.reserved and self.presignature.state is State.FRESH

    def fits(self, record: AccountRecord) -> bool:
        """Whether it was made under the account's present pair."""
        public = self.presignature.public
        # FROST's have nothing to do with auxiliary information.
        fits_aux = isinstance(self.presignature, Prepared) or public.aux_id == record.aux_id
        return (public.key_id, public.share_epoch) == (record.key_id, record.share_epoch) and fits_aux

    @property
    def bip340(self) -> bool:
        """Whether it makes signatures by BIP-340, and not by the account's own scheme."""
        return isinstance(self.presignature, Prepared) and self.presignature.suite is FROST_BIP340


class Stock:
    """All presignatures of this process, own and others'. Thread-safe.

    What leaves the stock is destroyed: there is no way back, and none to the disk.
    """

    def __init__(self, settings: StockSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._held: dict[bytes, Held] = {}

    # In and out

    def add(self, account_id: str, committee_id: bytes, presignatures: Iterable[Stocked]) -> None:
        """Take what a presigning session has made."""
        now = self._clock()
        with self._lock:
            for presignature in presignatures:
                self._held[presignature.id] = Held(presignature, account_id, committee_id, now)

    def find(self, presignature_id: bytes) -> Stocked | None:
        """The presignature of an id, own or another's."""
        with self._lock:
            held = self._held.get(presignature_id)
            return None if held is None else held.presignature

    def take(self, record: AccountRecord, signers: Points, *, bip340: bool = False) -> Stocked | None:
        """The oldest fresh one of this node's own for the account's present pair and these signers; it is reserved."""
        with self._lock:
            for held in self._held.values():
                if (
                    held.own
                    and held.available
                    and held.account_id == record.account_id
                    and held.presignature.public.signers == signers
                    and held.fits(record)
                    and held.bip340 == bip340
                    and not self._expired(held)
                ):
                    held.reserved = True
                    return held.presignature
        return None

    def discard(self, presignature: Stocked) -> None:
        """It was used, or will never be: destroy and forget it."""
        self._drop(lambda held: held.presignature is presignature)

    def drop_account(self, account_id: str) -> int:
        """Destroy all of an account; how many."""
        return self._drop(lambda held: held.account_id == account_id)

    def drop_all(self) -> int:
        """Destroy everything; how many."""
        return self._drop(lambda _: True)

    def drop_party(self, committee_id: bytes, point: int) -> int:
        """A member started anew: what it made with us is of no use any more, but where it may have answered already."""
        return self._drop(
            lambda held: (
                held.committee_id == committee_id
                and point in held.presignature.public.signers
                and held.available
            )
        )

    def drop_expired(self) -> int:
        """Destroy what has lived too long; how many."""
        return self._drop(self._expired)

    def drop_outdated(self, records: Iterable[AccountRecord]) -> int:
        """Destroy what does not fit the pair of its account any more; how many."""
        current = {record.account_id: record for record in records}
        return self._drop(
            lambda held: held.account_id not in current or not held.fits(current[held.account_id])
        )

    def _drop(self, condition: Callable[[Held], bool]) -> int:
        with self._lock:
            dropped = [held for held in self._held.values() if condition(held)]
            for held in dropped:
                del self._held[held.presignature.id]
        for held in dropped:
            held.presignature.destroy()
        return len(dropped)

    def _expired(self, held: Held) -> bool:
        return self._clock() - held.made_at >= self._settings.lifetime

    # Counting

    def fresh(self, record: AccountRecord, *, bip340: bool = False) -> Counter[Points]:
        """How many `take` would give for the account, by signer set."""
        with self._lock:
            return Counter(
                held.presignature.public.signers
                for held in self._held.values()
                if held.own
                and held.available
                and held.account_id == record.account_id
                and held.fits(record)
                and held.bip340 == bip340
                and not self._expired(held)
            )

    def owned_by(self, committee_id: bytes, owner: int) -> int:
        """How many there are of one owner in a committee."""
        with self._lock:
            return sum(
                held.committee_id == committee_id and held.presignature.public.owner == owner
                for held in self._held.values()
            )

    def view(self, account_id: str, targets: Callable[[Points, int], int]) -> StockView:
        """The stock of one account, as operators see it. `targets(signers, owner)` = what it is filled up to."""
        return self.views([account_id], targets)[0]

    def views(self, account_ids: Sequence[str], targets: Callable[[Points, int], int]) -> list[StockView]:
        """The same of many accounts."""
        by_account: dict[str, list[Held]] = {account_id: [] for account_id in account_ids}
        with self._lock:
            for held in self._held.values():
                if held.account_id in by_account:
                    by_account[held.account_id].append(held)
        return [self._view(account_id, mine, targets) for account_id, mine in by_account.items()]

    def _view(
        self, account_id: str, mine: Sequence[Held], targets: Callable[[Points, int], int]
    ) -> StockView:
        groups: dict[tuple[Points, int, bool], list[Held]] = {}
        for held in mine:
            public = held.presignature.public
            groups.setdefault((public.signers, public.owner, held.bip340), []).append(held)
        now = self._clock()
        entries = tuple(
            StockEntry(
                signers=tuple(point - 1 for point in signers),
                owner=owner - 1,
                fresh=sum(held.available for held in group),
                promised=sum(not held.available for held in group),
                target=targets(signers, owner),
                oldest_seconds=now - min(held.made_at for held in group),
                bip340=bip340,
            )
            for (signers, owner, bip340), group in sorted(groups.items())
        )
        return StockView(account_id, entries)

    def notes(self, records: Sequence[AccountRecord]) -> tuple[StockNote, ...]:
        """What a hello says of it, for these accounts."""
        tags = {
            record.account_id: account_tag(
                record.committee_id, record.account_id, record.share_epoch, record.aux_id
            )
            for record in records
        }
        with self._lock:
            counts = Counter(
                (tags[held.account_id], held.presignature.public.signers, held.presignature.public.owner)
                for held in self._held.values()
                if held.available and held.account_id in tags and not held.bip340
            )
        return tuple(StockNote(*place, count) for place, count in sorted(counts.items())[:MAX_STOCK])
