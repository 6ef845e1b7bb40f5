from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cggmp24_testing import dealt_presignature
from node_testing import aux_sets, committee_of, deal, new_store, next_epoch
from tss_testing import TINY, SeededRng

from participant.node.config import StockSettings
from participant.node.hello import account_tag
from participant.node.stock import Stock
from participant.store import AccountRecord, NewAux, NewShare, Origin, Store
from tss.cggmp24.presignature import Presignature, State

CID = committee_of().committee_id
SHARES = deal(TINY)
AUX = aux_sets(TINY)[0]


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with new_store(tmp_path) as opened:
        opened.accounts.put_aux(CID, NewAux.of(AUX))
        opened.accounts.add(NewShare.of("alice", SHARES[0]), CID, Origin.KEYGEN)
        yield opened


@pytest.fixture
def record(store: Store) -> AccountRecord:
    return store.accounts.account("alice")


def presignature(signers: tuple[int, ...] = (1, 2), owner: int = 1, seed: object = 0) -> Presignature:
    """Index 0's part."""
    made = dealt_presignature(
        {share.me: share for share in SHARES}, signers, owner, seed=(signers, owner, seed)
    )[1]
    return Presignature(TINY, 1, replace(made.public, aux_id=AUX.aux_id), 1, 1)


def stock(clock: Clock | None = None, **settings: object) -> Stock:
    return Stock(StockSettings(**settings), clock or Clock())  # type: ignore[arg-type]


def test_the_oldest_of_ones_own_for_these_signers_is_taken_once(record):
    held = stock()
    mine = [presignature(seed=number) for number in range(2)]
    held.add("alice", CID, [*mine, presignature((1, 3)), presignature(owner=2)])
    assert held.take(record, (1, 2)) is mine[0]
    assert held.take(record, (1, 2)) is mine[1]
    assert held.take(record, (1, 2)) is None, "the third is another's"
    assert held.take(record, (2, 3)) is None
    assert held.find(mine[0].id) is mine[0], "the others' messages about it still come"
    assert held.find(bytes(32)) is None


def test_only_what_fits_the_accounts_pair_and_name_is_taken(record):
    held = stock()
    held.add("alice", CID, [presignature()])
    for other in (
        replace(record, account_id="bob"),
        replace(record, share_epoch=bytes(32)),
        replace(record, aux_id=bytes(32)),
        replace(record, key_id=bytes(32)),
    ):
        assert held.take(other, (1, 2)) is None
        assert not held.fresh(other)
    assert held.fresh(record) == {(1, 2): 1}


def test_what_was_promised_is_not_taken(record):
    held, one = stock(), presignature()
    held.add("alice", CID, [one])
    one.promise(bytes(32), (), 0, SeededRng(1))
    assert held.take(record, (1, 2)) is None
    assert not held.fresh(record)


def test_what_leaves_is_destroyed(record):
    held = stock()
    made = {name: presignature(seed=name) for name in ("used", "account", "party", "all")}
    held.add("alice", CID, [made["used"]])
    held.discard(made["used"])
    assert made["used"].state is State.DESTROYED
    assert held.find(made["used"].id) is None
    held.add("alice", CID, [made["account"]])
    assert held.drop_account("bob") == 0
    assert held.drop_account("alice") == 1
    held.add("alice", CID, [made["party"]])
    assert held.drop_party(bytes(32), 2) == held.drop_party(CID, 3) == 0
    assert held.drop_party(CID, 2) == 1
    held.add("alice", CID, [made["all"]])
    assert held.drop_all() == 1
    assert {one.state for one in made.values()} == {State.DESTROYED}
    held.discard(made["all"])


def test_nothing_lives_for_ever(record):
    clock = Clock()
    held, one = stock(clock, lifetime=100.0), presignature()
    held.add("alice", CID, [one])
    clock.now += 99.0
    assert held.drop_expired() == 0
    assert held.fresh(record) == {(1, 2): 1}
    clock.now += 1.0
    assert not held.fresh(record)
    assert held.take(record, (1, 2)) is None
    assert held.drop_expired() == 1
    assert one.state is State.DESTROYED


def test_a_new_epoch_and_a_vanished_account_end_their_stock(store, record):
    held = stock()
    fitting, other = presignature(), presignature(seed="bob")
    held.add("alice", CID, [fitting])
    held.add("bob", CID, [other])
    assert held.drop_outdated(store.accounts.accounts()) == 1
    assert (fitting.state, other.state) == (State.FRESH, State.DESTROYED)
    store.accounts.replace_share(NewShare.of("alice", next_epoch(SHARES[0])))
    assert held.drop_outdated(store.accounts.accounts()) == 1
    assert fitting.state is State.DESTROYED


def test_counts(record):
    held = stock()
    held.add("alice", CID, [presignature(seed=n) for n in range(3)])
    held.add("alice", CID, [presignature((1, 3)), presignature(owner=2)])
    held.take(record, (1, 2))
    assert held.fresh(record) == {(1, 2): 2, (1, 3): 1}
    assert held.owned_by(CID, 1) == 4
    assert held.owned_by(CID, 2) == 1
    assert held.owned_by(bytes(32), 1) == 0


def test_operators_see_indices_and_ages(record):
    clock = Clock()
    held = stock(clock)
    held.add("alice", CID, [presignature(seed=1)])
    clock.now += 5.0
    held.add("alice", CID, [presignature(seed=2), presignature(owner=2)])
    held.take(record, (1, 2))
    clock.now += 2.0
    view = held.view("alice", lambda _, owner: 7 if owner == 1 else 0)
    seen = [(e.signers, e.owner, e.fresh, e.promised, e.target, e.oldest_seconds) for e in view.entries]
    assert seen == [((0, 1), 0, 1, 1, 7, 7.0), ((0, 1), 1, 1, 0, 0, 2.0)]
    assert held.view("bob", lambda *_: 0).entries == ()


def test_hellos_tell_what_is_available_by_tag(record):
    held = stock()
    held.add("alice", CID, [presignature(seed=1), presignature(seed=2), presignature(owner=2)])
    held.add("hidden", CID, [presignature(seed=3)])
    held.take(record, (1, 2))
    notes = held.notes([record])
    tag = account_tag(CID, "alice", record.share_epoch, record.aux_id)
    assert [(note.tag, note.signers, note.owner, note.count) for note in notes] == [
        (tag, (1, 2), 1, 1),
        (tag, (1, 2), 2, 1),
    ]
