from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from node_testing import aux_sets, committee_of, deal, new_store, next_epoch, raw, wrapper
from tss_testing import SMALL_SECP, TINY

from participant.node.errors import AccountIsFrozen, InvalidRequest, NeedsAux
from participant.node.records import Records
from participant.store import (
    AccountState,
    AuxSetNotFound,
    KeyShareNotFound,
    NewAux,
    NewShare,
    Origin,
    Store,
)
from tss.errors import ShareCorrupt
from tss.params import FROST_BIP340

SUITES = {"secp256k1": SMALL_SECP, "toy32": TINY}
CID = committee_of().committee_id
SHARE = deal(SMALL_SECP)[0]
AUX = aux_sets(SMALL_SECP)[0]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with new_store(tmp_path) as opened:
        opened.accounts.put_aux(CID, NewAux.of(AUX))
        opened.accounts.add(NewShare.of("alice", SHARE), CID, Origin.KEYGEN)
        yield opened


def test_suites_by_curve_and_proto(store):
    records = Records(store, SUITES)
    assert records.default is SMALL_SECP
    assert records.protos == {SMALL_SECP.proto, TINY.proto, FROST_BIP340.proto}
    assert records.suite_of(FROST_BIP340.proto) is FROST_BIP340
    assert Records(store, {"toy32": TINY}).protos == {TINY.proto}
    assert records.suite("toy32") is TINY is records.suite_of(TINY.proto)
    assert records.curves == ("secp256k1", "toy32")
    with pytest.raises(InvalidRequest, match="unknown curve 'p256'; known: secp256k1, toy32"):
        records.suite("p256")


def test_an_account_is_opened_once_and_by_all_threads_alike(store):
    records = Records(store, SUITES)
    with ThreadPoolExecutor(8) as threads:
        accounts = list(threads.map(lambda _: records.account("alice"), range(32)))
    assert all(account.share is accounts[0].share for account in accounts)
    assert accounts[0].share == SHARE
    assert accounts[0].suite is SMALL_SECP
    assert accounts[0].keys.public_key(()) == SHARE.X.to_bytes()
    assert records.aux(AUX.aux_id, SMALL_SECP) is records.aux(AUX.aux_id, SMALL_SECP)


def test_what_is_not_there(store):
    records = Records(store, SUITES)
    with pytest.raises(KeyShareNotFound, match="Key share not found"):
        records.account("bob")
    with pytest.raises(AuxSetNotFound):
        records.aux(bytes(32), SMALL_SECP)


def test_the_record_is_always_the_stores(store):
    records = Records(store, SUITES)
    records.account("alice").check_active()
    store.accounts.set_state("alice", AccountState.FROZEN)
    with pytest.raises(AccountIsFrozen, match="'alice' is frozen"):
        records.account("alice").check_active()


def test_an_account_without_auxiliary_information_cannot_sign(tmp_path):
    with new_store(tmp_path, "other.db") as store:
        store.accounts.add(NewShare.of("imported", SHARE), CID, Origin.IMPORT)
        with pytest.raises(NeedsAux, match="auxiliary information"):
            Records(store, SUITES).account("imported").check_active()


def test_a_new_epoch_is_opened_anew(store):
    records = Records(store, SUITES)
    first = records.account("alice").share
    later = next_epoch(SHARE)
    store.accounts.replace_share(NewShare.of("alice", later))
    assert records.account("alice").share.share_epoch == later.share_epoch != first.share_epoch


def test_what_was_replaced_is_forgotten(store):
    records = Records(store, SUITES)
    share, aux = records.account("alice").share, records.aux(AUX.aux_id, SMALL_SECP)
    records.forget()
    assert records.account("alice").share is not share
    assert records.aux(AUX.aux_id, SMALL_SECP) is aux, "it is in the store still"
    assert records.account("alice").share == share


def test_damage_is_found_once_and_said(store, tmp_path, caplog):
    store.accounts.add(NewShare.of("bob", deal(SMALL_SECP, seed="bob")[0]), CID, Origin.KEYGEN)
    store.close()
    raw(store.path, "UPDATE share SET sealed_share = zeroblob(80) WHERE account_id = 'alice'")
    with Store.open(store.path, wrapper()) as damaged:
        records = Records(damaged, SUITES)
        records.open_all()
        assert set(records.damaged) == {"alice"}
        assert "'alice' cannot be used" in caplog.text
        with pytest.raises(ShareCorrupt):
            records.account("alice")
        assert records.account("bob").record.account_id == "bob"


def test_a_share_that_contradicts_its_record_is_not_used(store):
    store.close()
    other = deal(SMALL_SECP, seed="other")[0].X.to_bytes()
    raw(store.path, "UPDATE account SET public_key = ?", other)
    with Store.open(store.path, wrapper()) as changed:
        records = Records(changed, SUITES)
        with pytest.raises(ShareCorrupt):
            records.account("alice")
        assert "alice" in records.damaged


def test_the_deep_check_recomputes_share_and_chain_code(store):
    records = Records(store, SUITES)
    record = store.accounts.account("alice")
    records.check_share(record, SHARE.to_bytes(), SHARE.chain_code)
    for changed in (
        (record, SHARE.to_bytes()[:-1], SHARE.chain_code),
        (record, SHARE.to_bytes(), bytes(32)),
        (replace(record, party=2), SHARE.to_bytes(), SHARE.chain_code),
        (replace(record, public_key=bytes(33)), SHARE.to_bytes(), SHARE.chain_code),
        (replace(record, curve="p256"), SHARE.to_bytes(), SHARE.chain_code),
    ):
        with pytest.raises(ShareCorrupt):
            records.check_share(*changed)


def test_no_secret_is_shown(store):
    text = repr(Records(store, SUITES).account("alice"))
    assert str(SHARE.x) not in text
    assert SHARE.chain_code.hex() not in text
    assert repr(SHARE.chain_code) not in text
