from dataclasses import replace

import pytest
from node_testing import aux_sets, committee_of, deal, new_store, next_epoch, node_keys, raw, reopen
from tss_testing import TINY

from participant.store import (
    AccountExists,
    AccountState,
    AuxSetNotFound,
    CommitteeUnknown,
    KeyShareNotFound,
    NewAux,
    NewShare,
    Origin,
    StoreConflict,
)
from tss.records import AuxSet, KeyShare

CID = committee_of().committee_id


def imported(store, account_id="a", seed=0, party=0):
    share = deal(seed=seed)[party]
    store.accounts.add(NewShare.of(account_id, share), CID, Origin.IMPORT)
    return share


def test_committees(tmp_path):
    store = new_store(tmp_path)
    other = committee_of(n=4, t=3, seed=1)
    store.accounts.put_committee(other)
    store.accounts.put_committee(committee_of())
    store = reopen(store)
    assert store.accounts.committees() == [committee_of(), other]
    assert store.accounts.committee(CID) == committee_of()
    assert store.accounts.committee(CID).index_of(node_keys()[0].identity) == 0
    with pytest.raises(CommitteeUnknown, match="not known"):
        store.accounts.committee(bytes(32))


FREE_TEXT = [
    "m/44'/60'/0'/0/0", "../../etc/passwd", "/", " ", "a'; DROP TABLE account; --", "日本語", "%s{}\\", "a\nb", "x" * 512, "*",
]  # fmt: skip


def test_account_ids_are_free_text(tmp_path):
    store = new_store(tmp_path)
    shares = {account_id: imported(store, account_id, seed=i) for i, account_id in enumerate(FREE_TEXT)}
    store = reopen(store)
    assert [record.account_id for record in store.accounts.accounts()] == FREE_TEXT
    for account_id, share in shares.items():
        assert KeyShare.from_bytes(TINY, store.accounts.share(account_id)) == share
        assert store.accounts.chain_code(account_id) == share.chain_code
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("store.db")) == []


@pytest.mark.parametrize("account_id", ["", "x" * 513, "é" * 257, "a\0b", "\ud800"])
def test_impossible_account_ids(tmp_path, account_id):
    store = new_store(tmp_path)
    with pytest.raises(StoreConflict, match="an account id is"):
        imported(store, account_id)


def test_an_imported_account_waits_for_aux_data(tmp_path):
    store = new_store(tmp_path)
    share = imported(store)
    record = reopen(store).accounts.account("a")
    assert record.aux_id is None
    assert (record.key_id, record.share_epoch) == (share.key_id, share.share_epoch)
    assert (record.curve, record.threshold, record.party) == ("toy32", 2, 1)
    assert (record.public_key, record.committee_id) == (share.X.to_bytes(), CID)
    assert (record.state, record.origin) == (AccountState.ACTIVE, Origin.IMPORT)
    assert record.created_at > 0
    assert record.last_signed_at is None
    assert share.chain_code.hex() not in repr(record)


def test_unknown_and_existing_accounts(tmp_path):
    store = new_store(tmp_path)
    imported(store)
    with pytest.raises(AccountExists, match="'a' exists already"):
        imported(store, seed=1)
    for ask in (
        store.accounts.account,
        store.accounts.share,
        store.accounts.chain_code,
        store.accounts.shares,
    ):
        with pytest.raises(KeyShareNotFound, match="Key share not found: this node has no account 'b'"):
            ask("b")
    with pytest.raises(KeyShareNotFound, match="no share of epoch"):
        store.accounts.share("a", bytes(32))
    with pytest.raises(CommitteeUnknown):
        store.accounts.add(NewShare.of("c", deal()[0]), bytes(32), Origin.IMPORT)
    assert not store.accounts.has_account("c")
    with pytest.raises(KeyShareNotFound):
        store.accounts.set_state("b", AccountState.FROZEN)


def test_freezing(tmp_path):
    store = new_store(tmp_path)
    imported(store)
    store.accounts.set_state("a", AccountState.FROZEN)
    store = reopen(store)
    assert store.accounts.account("a").state is AccountState.FROZEN
    store.accounts.set_state("a", AccountState.ACTIVE)
    assert store.accounts.account("a").state is AccountState.ACTIVE


def test_many_accounts_share_one_aux_set(tmp_path):
    store = new_store(tmp_path)
    for i in range(5):
        imported(store, f"account {i}", seed=i)
    aux = aux_sets()[0]
    store.accounts.put_aux(CID, NewAux.of(aux))
    imported(store, "later", seed=9)
    store = reopen(store)
    assert {record.aux_id for record in store.accounts.accounts()} == {aux.aux_id}
    assert AuxSet.from_bytes(TINY, store.accounts.aux_set(aux.aux_id)).to_bytes() == aux.to_bytes()
    assert store.accounts.current_aux(CID) == aux.to_bytes()
    assert store.accounts.current_aux_id(CID) == aux.aux_id
    with pytest.raises(AuxSetNotFound):
        store.accounts.aux_set(bytes(32))
    assert store.accounts.current_aux(bytes(32)) is None


def test_a_new_aux_set_takes_only_the_accounts_on_its_list(tmp_path):
    store = new_store(tmp_path)
    first, second, third = (aux_sets(seed=seed)[0] for seed in range(3))
    store.accounts.put_aux(CID, NewAux.of(first))
    for name in ("a", "b"):
        imported(store, name, seed=name)
    store.accounts.put_aux(CID, NewAux.of(second, ("a",)))
    assert store.accounts.account("a").aux_id == second.aux_id
    assert store.accounts.account("b").aux_id == first.aux_id
    assert set(store.accounts.aux_ids()) == {first.aux_id, second.aux_id}
    # The first set goes with the last account that points to it.
    store.accounts.put_aux(CID, NewAux.of(third, ("a", "b")))
    assert store.accounts.aux_ids() == [third.aux_id]
    with pytest.raises(KeyShareNotFound):
        store.accounts.put_aux(CID, NewAux.of(aux_sets(seed=3)[0], ("none",)))
    assert store.accounts.current_aux_id(CID) == third.aux_id


def test_an_aux_set_takes_no_account_of_another_committee(tmp_path):
    store = new_store(tmp_path)
    other = committee_of(n=3, t=3, seed=1)
    store.accounts.put_committee(other)
    imported(store)
    store.accounts.add(NewShare.of("other", deal(seed=4)[0]), other.committee_id, Origin.IMPORT)
    with pytest.raises(StoreConflict, match="another committee"):
        store.accounts.put_aux(CID, NewAux.of(aux_sets()[0], ("other",)))
    store.accounts.put_aux(CID, NewAux.of(aux_sets()[0]))
    assert store.accounts.account("other").aux_id is None
    assert [record.account_id for record in store.accounts.accounts(other.committee_id)] == ["other"]


def test_a_new_epoch_supersedes_and_keeps_the_old_pair(tmp_path):
    store = new_store(tmp_path)
    share = imported(store)
    first, second = aux_sets()[0], aux_sets(seed=1)[0]
    store.accounts.put_aux(CID, NewAux.of(first))
    newer = next_epoch(share)
    with store.transaction():
        store.accounts.replace_share(NewShare.of("a", newer))
        store.accounts.put_aux(CID, NewAux.of(second, ("a",)))
    store = reopen(store)
    record = store.accounts.account("a")
    assert (record.share_epoch, record.aux_id) == (newer.share_epoch, second.aux_id)
    old, new = store.accounts.shares("a")
    assert (old.share_epoch, old.aux_id, old.superseded) == (share.share_epoch, first.aux_id, True)
    assert (new.share_epoch, new.aux_id, new.superseded) == (newer.share_epoch, second.aux_id, False)
    assert store.accounts.share("a") == newer.to_bytes()
    assert store.accounts.share("a", share.share_epoch) == share.to_bytes()
    assert set(store.accounts.aux_ids()) == {first.aux_id, second.aux_id}
    assert store.accounts.erase_superseded("a") == 1
    assert store.accounts.aux_ids() == [second.aux_id]
    assert [s.share_epoch for s in store.accounts.shares("a")] == [newer.share_epoch]
    assert store.accounts.erase_superseded("a") == 0


def test_a_new_epoch_of_another_key_is_refused(tmp_path):
    store = new_store(tmp_path)
    share = imported(store)
    for other in (
        next_epoch(deal(seed=5)[0]),
        replace(next_epoch(share), key_id=bytes(32)),
        replace(next_epoch(share), me=2),
        replace(next_epoch(share), t=3),
    ):
        with pytest.raises(StoreConflict):
            store.accounts.replace_share(NewShare.of("a", other))
    assert store.accounts.account("a").share_epoch == share.share_epoch
    assert store.check() == []


def test_nothing_secret_stands_in_the_files_or_in_repr(tmp_path):
    store = new_store(tmp_path)
    share, aux = imported(store), aux_sets()[0]
    store.accounts.put_aux(CID, NewAux.of(aux))
    seeds = store.identity()._seeds
    store.primes.add(int(aux.paillier.p))
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    store.close()
    content += b"".join(path.read_bytes() for path in tmp_path.iterdir())
    big = [aux.paillier.p, aux.paillier.q_, aux.pedersen.p, aux.pedersen.lam]
    secrets = [share.chain_code, *seeds, *(int(n).to_bytes(40, "big").lstrip(b"\0") for n in big)]
    for secret in secrets:
        for form in (secret, secret[::-1], secret.hex().encode(), secret.hex().upper().encode()):
            assert form not in content
    assert share.X.to_bytes() in content
    shown = repr(NewShare.of("a", share)) + repr(NewAux.of(aux))
    assert share.chain_code.hex() not in shown
    assert repr(share.chain_code) not in shown
    assert raw(store.path, "SELECT count(*) FROM share") == [(1,)]
