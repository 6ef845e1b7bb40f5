"""Random numbers made ahead by an idle node: when, for which accounts, and when they are gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from node_testing import aux_sets, committee_of, deal, new_store
from tss_testing import SMALL_SECP, TINY, SeededRng

from participant.node.blame import Blame
from participant.node.config import StockSettings
from participant.node.pools import Filling, Pools
from participant.node.records import Records
from participant.node.stock import Stock
from participant.node.workers import Workers
from participant.store import AccountState, NewAux, NewShare, Origin, Store
from tss.envelope import holder
from tss.errors import ProofInvalid, ShareCorrupt
from tss.randomizers import PLAIN

CID = committee_of().committee_id
SHARES = deal(TINY)
AUX = aux_sets(TINY)[0]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with new_store(tmp_path) as opened:
        opened.accounts.put_aux(CID, NewAux.of(AUX))
        opened.accounts.add(NewShare.of("alice", SHARES[0]), CID, Origin.KEYGEN)
        yield opened


class World:
    """What fills pools, with clocks of its own."""

    def __init__(self, store: Store, **settings: Any) -> None:
        self.now = 100.0
        self.wall = 0.0
        self.since: float | None = 0.0
        self.store = store
        self.records = Records(store, {"toy32": TINY})
        self.pools = Pools()
        self.workers = Workers(1)
        self.filling = Filling(
            settings=StockSettings(**{"idle": 2.0, "pool": 2, **settings}),
            store=store,
            records=self.records,
            pools=self.pools,
            workers=self.workers,
            idle_since=lambda: self.since,
            rng=SeededRng("pools"),
            clock=lambda: self.now,
            wall=lambda: self.wall,
        )

    def signed(self, account_id: str = "alice") -> None:
        """It signed just now."""
        self.store.accounts.mark_signed(account_id)
        self.wall = (self.store.accounts.account(account_id).last_signed_at or 0) / 1000

    def want(self) -> None:
        self.filling._want()

    async def fill(self) -> None:
        while await self.filling._one():
            pass


@pytest.fixture
def world(store: Store) -> Iterator[Callable[..., World]]:
    made: list[World] = []

    def build(**settings: Any) -> World:
        made.append(World(store, **settings))
        return made[-1]

    yield build
    for one in made:
        one.workers.close()


PAIRS = 2 * 8 + 2 * (2 * 4 + 2 * 6 + 2 * 6)
"""Of two presignatures of two signers, with either of two peers."""


async def test_pools_are_filled_for_accounts_that_signed_lately(world) -> None:
    one = world()
    one.want()
    assert not await one.filling._one(), "alice has not signed"
    one.signed()
    one.want()
    await one.fill()
    assert len(one.pools) == PAIRS
    assert isinstance(
        one.pools.of(TINY).nonce(AUX.paillier, SeededRng(1)), type(PLAIN.nonce(AUX.paillier, SeededRng(1)))
    )
    assert len(one.pools) == PAIRS - 1


async def test_neither_for_accounts_of_long_ago_nor_for_those_that_cannot_sign(world, store) -> None:
    one = world(recent=50.0)
    one.signed()
    one.wall += 50.0
    one.want()
    assert not await one.filling._one()
    one.wall -= 1.0
    store.accounts.set_state("alice", AccountState.FROZEN)
    one.want()
    assert not await one.filling._one()
    store.accounts.set_state("alice", AccountState.ACTIVE)
    one.records.damaged["alice"] = "for the test"
    one.want()
    assert not await one.filling._one()
    del one.records.damaged["alice"]
    one.want()
    assert await one.filling._one()


async def test_a_share_that_does_not_open_is_passed_over(world, monkeypatch) -> None:
    one = world()
    one.signed()

    def damaged(_: object) -> object:
        raise ShareCorrupt("for the test")

    monkeypatch.setattr(one.records, "account", damaged)
    one.want()
    assert not await one.filling._one()


async def test_a_node_that_has_work_makes_nothing_and_waits_a_while_after_it(world) -> None:
    one = world(idle=2.0)
    for since, now, idle in ((None, 100.0, False), (99.0, 100.9, False), (99.0, 101.0, True)):
        one.since, one.now = since, now
        assert one.filling._is_idle() is idle


async def test_the_loop_fills_and_stops_for_work(world, monkeypatch) -> None:
    one = world(idle=0.0)
    one.signed()
    steps = 0
    step = one.pools.step

    def counted(rng: Any) -> bool:
        nonlocal steps
        steps += 1
        if steps == 5:
            one.since = None
        return step(rng)

    monkeypatch.setattr(one.pools, "step", counted)
    looks = 0
    asleep = asyncio.sleep

    async def sleep(seconds: float) -> None:
        nonlocal looks
        looks += 1
        assert seconds == 0.05
        if looks == 3:
            raise asyncio.CancelledError
        await asleep(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await one.filling.run()
    assert (steps, looks) == (5, 3)


async def test_a_target_of_0_makes_nothing(world) -> None:
    await world(pool=0).filling.run()


async def test_what_fails_is_told_without_its_secrets_and_ends_no_loop(world, monkeypatch, caplog) -> None:
    one = world()

    def fails(_: object) -> bool:
        raise ValueError("secret 12345")

    monkeypatch.setattr(one.pools, "step", fails)
    assert not await one.filling._one()
    assert "ValueError" in caplog.text
    assert "12345" not in caplog.text


async def test_when_pairs_and_tables_go(world) -> None:
    one = world()
    one.signed()
    one.want()
    await one.fill()
    pool = one.pools.of(TINY)
    one.pools.drop_pairs()
    assert len(one.pools) == 0
    await one.fill()
    assert len(one.pools) == PAIRS
    one.pools.renew(one.records.moduli())
    assert len(one.pools) == 0
    await one.fill()
    assert len(one.pools) == PAIRS, "tables of the same moduli stay"
    one.pools.renew(set())
    await one.fill()
    assert len(one.pools) == 0
    one.pools.drop_all()
    assert one.pools.of(TINY) is not pool
    assert one.pools.of(TINY) is one.pools.of(TINY)
    assert one.pools.of(SMALL_SECP) is not one.pools.of(TINY)


async def test_a_failed_check_empties_the_pools(world) -> None:
    one = world()
    one.signed()
    one.want()
    await one.fill()
    membership: Any = SimpleNamespace(
        committee_id=CID, identities={holder(2): bytes(32)}, committee_of=lambda _: committee_of()
    )
    blame = Blame(one.store, Stock(StockSettings()), one.pools)
    blame.mark(membership, [ProofInvalid("aff-g", "for the test").blame(2, "presign.r2.item0.x")], None)
    assert len(one.pools) == 0
