# ruff: noqa: S608, ISC004 - the SQL of these tests is built from constants of their own
"""Somebody with the file, but without the sealing key, changes or exchanges what is in it."""

import pytest
from node_testing import (
    aux_sets,
    committee_of,
    deal,
    new_store,
    next_epoch,
    raw,
    share_state,
    sid_of,
    wrapper,
)
from tss_testing import TINY

from participant.errors import NodeError
from participant.store import AuditRecord, NewAux, NewShare, Origin, PendingNotFound, Store, StoreDamaged
from participant.store.recoveries import RecoveredShare, Recovery
from tss.errors import LocalFault, ShareCorrupt
from tss.records import AuxSet, KeyShare

CID = committee_of().committee_id


def filled(tmp_path):
    """A closed store with accounts a and b (a in its second epoch), two aux sets, pending state, primes, a share that came back, audit."""
    store = new_store(tmp_path)
    shares = {name: deal(seed=name)[0] for name in ("a", "b")}
    for name, share in shares.items():
        store.accounts.add(NewShare.of(name, share), CID, Origin.IMPORT)
    store.accounts.put_aux(CID, NewAux.of(aux_sets()[0]))
    store.accounts.replace_share(NewShare.of("a", next_epoch(shares["a"])))
    store.accounts.put_aux(CID, NewAux.of(aux_sets(seed=1)[0], ("b",)))
    for number in (1, 2):
        store.sessions.remember(sid_of(number), "keygen", CID, bytes(32))
        state = share_state(f"pending {number}", deal(seed=number)[0])
        store.sessions.put_pending(sid_of(number), "keygen", CID, state, b"public", b"done", party=1)
        store.primes.add(1019 + 168 * number)
        store.audit.append(AuditRecord("sign", "alice", "allow"))
    request_id, lost = bytes(32), shares["b"]
    store.approvals.put(request_id, "recover", "b", b"request")
    store.recoveries.put([Recovery(request_id, "b", lost.key_id, lost.share_epoch, lost.me)])
    store.recoveries.put_share(RecoveredShare(request_id, "b", lost.to_bytes()))
    assert store.check() == []
    store.close()
    return store.path


SEALED = {
    ("identity", "sealed_keys"): "identity",
    ("account", "sealed_chain_code"): "share",
    ("share", "sealed_share"): "share",
    ("aux_set", "sealed_set"): "aux",
    ("pending", "sealed_state"): "pending",
    ("prime", "sealed_prime"): "primes",
    ("recovery", "sealed_share"): "recovery",
    ("audit_head", "sealed_head"): "audit",
}


def test_the_list_of_sealed_columns_is_complete(tmp_path):
    path = filled(tmp_path)
    tables = [row[0] for row in raw(path, "SELECT name FROM sqlite_master WHERE type = 'table'")]
    columns = {(name, row[1]) for name in tables for row in raw(path, f"PRAGMA table_info({name})")}
    assert {column for column in columns if column[1].startswith("sealed_")} == set(SEALED)


def _findings(path):
    with Store.open(path, wrapper()) as store:
        return [finding.what for finding in store.check()]


@pytest.mark.fault(8)
@pytest.mark.attack("E4")
@pytest.mark.parametrize(("table", "column"), SEALED)
def test_every_sealed_column_notices_flips_truncation_and_removal(tmp_path, table, column):
    path = filled(tmp_path)
    rowid, sealed = raw(path, f"SELECT rowid, {column} FROM {table} ORDER BY rowid LIMIT 1")[0]
    positions = {0, 1, 4, 5, 16, 17, len(sealed) // 2, len(sealed) - 17, len(sealed) - 1}
    changes = [sealed[:p] + bytes([sealed[p] ^ 0x80]) + sealed[p + 1 :] for p in sorted(positions)]
    changes += [sealed[:-1], sealed[:10], b"", sealed + b"\0"]
    for changed in changes:
        raw(path, f"UPDATE {table} SET {column} = ? WHERE rowid = ?", changed, rowid)
        assert _findings(path) == [SEALED[table, column]]
    raw(path, f"UPDATE {table} SET {column} = ? WHERE rowid = ?", sealed, rowid)
    assert _findings(path) == []


SWAPS = {
    "shares of two accounts": (
        "share",
        "UPDATE share SET sealed_share = CASE account_id"
        " WHEN 'a' THEN (SELECT sealed_share FROM share WHERE account_id = 'b')"
        " ELSE (SELECT sealed_share FROM share WHERE account_id = 'a' AND superseded_at IS NULL) END",
    ),
    "shares of two epochs of one account": (
        "share",
        "UPDATE share SET sealed_share = (SELECT sealed_share FROM share WHERE account_id = 'a'"
        " AND superseded_at IS NOT NULL) WHERE account_id = 'a'",
    ),
    "an older epoch made current": (
        "share",
        "UPDATE share SET share_epoch = zeroblob(32) WHERE account_id = 'a' AND superseded_at IS NULL",
    ),
    "chain codes of two accounts": (
        "share",
        "UPDATE account SET sealed_chain_code = (SELECT sealed_chain_code FROM account WHERE account_id = 'b')",
    ),
    "public keys of two accounts": (
        "share",
        "UPDATE account SET public_key = (SELECT public_key FROM account WHERE account_id = 'b')",
    ),
    "another key id": ("share", "UPDATE account SET key_id = zeroblob(32) WHERE account_id = 'b'"),
    "another threshold": ("share", "UPDATE account SET threshold = 3 WHERE account_id = 'b'"),
    "another party": ("share", "UPDATE account SET party = 2 WHERE account_id = 'b'"),
    "another curve": ("share", "UPDATE account SET curve = 'secp256k1' WHERE account_id = 'b'"),
    "aux sets": (
        "aux",
        "UPDATE aux_set SET sealed_set = (SELECT sealed_set FROM aux_set ORDER BY rowid LIMIT 1)",
    ),
    "another party of an aux set": (
        "aux",
        "UPDATE aux_set SET party = 2 WHERE rowid = (SELECT max(rowid) FROM aux_set)",
    ),
    "a share in the place of an aux set": (
        "aux",
        "UPDATE aux_set SET sealed_set = (SELECT sealed_share FROM share LIMIT 1)"
        " WHERE rowid = (SELECT max(rowid) FROM aux_set)",
    ),
    "pending states": (
        "pending",
        "UPDATE pending SET sealed_state = (SELECT sealed_state FROM pending ORDER BY rowid LIMIT 1)",
    ),
    "the kind of pending state": (
        "pending",
        "UPDATE pending SET kind = 'refresh' WHERE rowid = (SELECT max(rowid) FROM pending)",
    ),
    "the accounts of pending state": (
        "pending",
        "UPDATE pending_account SET account_id = 'evil' WHERE account_id = 'pending 1'",
    ),
    "primes": (
        "primes",
        "UPDATE prime SET sealed_prime = (SELECT sealed_prime FROM prime ORDER BY rowid LIMIT 1)",
    ),
}


@pytest.mark.fault(8)
@pytest.mark.attack("E4")
@pytest.mark.parametrize("what", SWAPS)
def test_exchanged_rows_do_not_open(tmp_path, what):
    path = filled(tmp_path)
    expected, sql = SWAPS[what]
    raw(path, sql)
    findings = _findings(path)
    assert findings
    assert set(findings) <= {expected, "references"}


def test_values_of_another_store_with_the_same_key_do_not_open(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    source, target = filled(first), filled(second)
    (foreign,) = raw(source, "SELECT sealed_share FROM share WHERE account_id = 'b'")[0]
    raw(target, "UPDATE share SET sealed_share = ? WHERE account_id = 'b'", foreign)
    assert _findings(target) == ["share"]


@pytest.mark.fault(8)
@pytest.mark.attack("E4")
def test_only_the_damaged_account_stops_working(tmp_path):
    path = filled(tmp_path)
    raw(path, "UPDATE share SET sealed_share = zeroblob(100) WHERE account_id = 'a'")
    with Store.open(path, wrapper()) as store:
        with pytest.raises(ShareCorrupt, match="the key share of account 'a' is damaged"):
            store.accounts.share("a")
        KeyShare.from_bytes(TINY, store.accounts.share("b"))
        AuxSet.from_bytes(TINY, store.accounts.aux_set(store.accounts.account("b").aux_id))
        assert [record.account_id for record in store.accounts.accounts()] == ["a", "b"]
        (finding,) = store.check()
        assert "account 'a'" in finding.text


def test_damaged_pending_state_does_not_stop_a_node(tmp_path):
    path = filled(tmp_path)
    raw(path, "UPDATE pending SET sealed_state = zeroblob(100) WHERE sid = ?", sid_of(1))
    with Store.open(path, wrapper()) as store:
        assert [pending.sid for pending in store.sessions.pendings()] == [sid_of(2)]
        with pytest.raises(StoreDamaged, match="is damaged"):
            store.sessions.pending(sid_of(1))
        with pytest.raises(StoreDamaged):
            store.sessions.activate(sid_of(1), [b"e"])
        with pytest.raises(PendingNotFound):
            store.sessions.pending(sid_of(3))
        assert not store.accounts.has_account("pending 1")


def test_a_damaged_prime_is_dropped_and_the_others_are_given(tmp_path):
    path = filled(tmp_path)
    raw(path, "UPDATE prime SET sealed_prime = zeroblob(40) WHERE rowid = 1")
    with Store.open(path, wrapper()) as store:
        assert store.primes.take(2, 11) == [1019 + 168 * 2]
        assert store.primes.count(11) == 0


def test_a_committee_of_other_members_is_noticed(tmp_path):
    path = filled(tmp_path)
    raw(path, "UPDATE committee SET description = ?", committee_of(n=4, t=2, seed=1).to_yaml())
    assert "committees" in _findings(path)
    raw(path, "UPDATE committee SET description = 'x'")
    assert "committees" in _findings(path)


def test_an_account_whose_share_row_is_gone_is_reported(tmp_path):
    path = filled(tmp_path)
    raw(path, "DELETE FROM share WHERE account_id = 'b'")
    with Store.open(path, wrapper()) as store:
        assert [finding.text for finding in store.check()] == ["account 'b' has lost the share of its epoch"]


def test_the_share_hook_reports_in_words(tmp_path):
    path = filled(tmp_path)

    def hook(record, share, chain_code):
        found = KeyShare.from_bytes(TINY, share)
        assert found.chain_code == chain_code
        if record.account_id == "b":
            raise LocalFault("it does not fit")

    with Store.open(path, wrapper()) as store:
        assert [(f.what, f.text) for f in store.check(hook)] == [("share", "it does not fit")]


def test_random_damage_to_the_file_raises_typed_errors_only(tmp_path):
    path = filled(tmp_path)
    raw(path, "PRAGMA wal_checkpoint(TRUNCATE)")
    content = path.read_bytes()
    for offset in range(100, len(content), max(1, len(content) // 300)):
        path.write_bytes(content[:offset] + bytes([content[offset] ^ 0xFF]) * 40 + content[offset + 40 :])
        try:
            with Store.open(path, wrapper()) as store:
                store.check()
        except (NodeError, LocalFault):
            pass
        except Exception as error:  # noqa: BLE001 - the seed of a failure is the offset
            pytest.fail(f"offset {offset}: {error!r}")
