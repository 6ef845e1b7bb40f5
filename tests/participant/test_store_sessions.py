from concurrent.futures import ThreadPoolExecutor

import pytest
from node_testing import (
    aux_sets,
    aux_state,
    committee_of,
    deal,
    new_store,
    next_epoch,
    raw,
    reopen,
    share_state,
    sid_of,
)

from participant.store import (
    AccountExists,
    AuxSetNotFound,
    CommitteeUnknown,
    Kept,
    NewAux,
    NewShare,
    NewState,
    Origin,
    PendingNotFound,
    SessionKnown,
    StoreConflict,
)
from participant.store.database import Database

CID = committee_of().committee_id
PH = bytes(32)


def begin(store, number, kind="keygen"):
    sid = sid_of(number)
    store.sessions.remember(sid, kind, CID, PH)
    return sid


def make_pending(store, number, state, kind="keygen"):
    sid = begin(store, number, kind)
    store.sessions.put_pending(sid, kind, CID, state, b"public", b"done of 1", party=1)
    return sid


@pytest.mark.attack("A5")
def test_a_sid_is_remembered_once_and_for_ever(tmp_path):
    store = new_store(tmp_path)
    sid = begin(store, 1)
    assert store.sessions.known(sid)
    assert store.sessions.is_open(sid)
    with pytest.raises(SessionKnown, match="does not speak in it again"):
        begin(store, 1)
    store.sessions.end(sid, "finished")
    assert not store.sessions.is_open(sid)
    with pytest.raises(SessionKnown):
        begin(store, 1)
    store = reopen(store)
    with pytest.raises(SessionKnown):
        begin(store, 1)
    assert store.sessions.outcome(sid) == "finished"
    with pytest.raises(CommitteeUnknown):
        store.sessions.remember(sid_of(2), "keygen", bytes(32), PH)
    assert not store.sessions.known(sid_of(2))
    assert store.sessions.outcome(sid_of(2)) is None


def test_sessions_that_were_open_are_over_after_a_restart(tmp_path):
    store = new_store(tmp_path)
    first, second = begin(store, 1), begin(store, 2)
    store.sessions.end(first, "finished")
    store = reopen(store)
    assert not store.sessions.is_open(second)
    assert store.sessions.outcome(second) == "lost"
    assert store.sessions.outcome(first) == "finished"
    store.sessions.end(second, "later")
    assert store.sessions.outcome(second) == "lost"


def test_pending_state_survives_and_becomes_an_account(tmp_path):
    store = new_store(tmp_path)
    share = deal()[0]
    sid = make_pending(store, 1, share_state("a", share))
    assert not store.accounts.has_account("a")
    store = reopen(store)
    (pending,) = store.sessions.pendings()
    assert (pending.sid, pending.kind, pending.committee_id, pending.public) == (
        sid,
        "keygen",
        CID,
        b"public",
    )
    assert pending.state == share_state("a", share)
    assert pending.done == {1: b"done of 1"}
    assert not pending.voided
    assert share.chain_code.hex() not in repr(pending)
    assert store.sessions.durable_envelopes(sid) == [(Kept.DONE, b"done of 1")]
    assert store.sessions.add_done(sid, 3, b"done of 3") == {1: b"done of 1", 3: b"done of 3"}
    assert store.sessions.add_done(sid, 3, b"done of 3") == {1: b"done of 1", 3: b"done of 3"}
    with pytest.raises(StoreConflict, match="point 3 sent two different done"):
        store.sessions.add_done(sid, 3, b"other")
    assert store.sessions.add_done(sid, 2, b"done of 2").keys() == {1, 2, 3}
    envelopes = [b"done of 1", b"done of 2", b"done of 3"]
    certificate = store.sessions.activate(sid, envelopes)
    assert certificate.envelopes == tuple(envelopes)
    assert certificate.accounts == ("a",)
    assert store.sessions.pendings() == []
    with pytest.raises(PendingNotFound):
        store.sessions.pending(sid)
    store = reopen(store)
    assert store.accounts.share("a") == share.to_bytes()
    assert store.accounts.account("a").origin is Origin.KEYGEN
    assert store.sessions.certificate(sid) == certificate
    assert store.sessions.certificates("a") == [certificate] == store.sessions.certificates()
    assert store.sessions.certificates("b") == []
    assert store.sessions.certificate(sid_of(9)) is None
    kept = store.sessions.durable_envelopes(sid)
    assert kept == [
        (Kept.DONE, b"done of 1"),
        (Kept.CERTIFICATE, b"done of 2"),
        (Kept.CERTIFICATE, b"done of 3"),
    ]


def test_nobody_writes_between_the_reads_of_pending_state(tmp_path, monkeypatch):
    """Else what is listed first and opened then may have come into force in between, and is not found."""
    store = new_store(tmp_path)
    for number, name in enumerate("ab"):
        make_pending(store, number, share_state(name, deal(seed=number)[0]))
    free: list[bool] = []

    class Reads(Database):
        def rows(self, sql, parameters=()):
            found = super().rows(sql, parameters)
            free.append(self._is_free())
            return found

        def _is_free(self) -> bool:
            with ThreadPoolExecutor(1) as pool:
                free = pool.submit(self._mutex.acquire, blocking=False).result()
                if free:
                    pool.submit(self._mutex.release).result()
            return free

    monkeypatch.setattr(store._database, "__class__", Reads)
    assert len(store.sessions.pendings()) == 2
    # Of each: its row, its accounts, its done envelopes, how its session ended.
    assert free == [False] * 9
    store.accounts.accounts()
    assert free[-1], "a single read keeps nobody waiting"


def test_activating_twice_changes_nothing(tmp_path):
    store = new_store(tmp_path)
    sid = make_pending(store, 1, share_state("a", deal()[0]))
    first = store.sessions.activate(sid, [b"1", b"2"])
    assert store.sessions.activate(sid, [b"1", b"2"]) == first
    assert store.sessions.outcome(sid) == "activated"
    with pytest.raises(PendingNotFound):
        store.sessions.activate(sid_of(7), [b"1"])


def test_keygen_then_aux_and_aux_then_keygen_end_alike(tmp_path):
    aux = aux_sets()[0]
    found = []
    for name, order in (("x.db", ("key", "aux")), ("y.db", ("aux", "key"))):
        store = new_store(tmp_path, name)
        for number, what in enumerate(order):
            state = share_state("a", deal()[0]) if what == "key" else aux_state(aux)
            store.sessions.activate(make_pending(store, number, state, what), [b"e"])
        found.append((store.accounts.account("a").aux_id, store.accounts.current_aux_id(CID)))
    assert found == [(aux.aux_id, aux.aux_id)] * 2


def test_an_account_points_to_the_set_that_its_done_bound_whatever_comes_in_between(tmp_path):
    """Else nodes to which two certificates come in two orders have different pairs, and cannot sign together."""
    first, second = aux_sets()[0], aux_sets(seed=1)[0]
    found = []
    for name, order in (("x.db", ("key", "aux")), ("y.db", ("aux", "key"))):
        store = new_store(tmp_path, name)
        store.accounts.put_aux(CID, NewAux.of(first))
        key, aux = begin(store, 0), begin(store, 1, "aux")
        pend = store.sessions.put_pending
        pend(key, "keygen", CID, share_state("a", deal()[0]), b"", b"done", party=1, aux_id=first.aux_id)
        pend(aux, "aux", CID, aux_state(second), b"", b"done", party=1, aux_id=second.aux_id)
        store = reopen(store)
        for what in order:
            store.sessions.activate(key if what == "key" else aux, [b"done"])
        record = store.accounts.account("a")
        found.append((record.aux_id, store.accounts.current_aux_id(CID), store.accounts.aux_ids()))
    assert found == [(first.aux_id, second.aux_id, [first.aux_id, second.aux_id])] * 2


def test_a_set_stays_while_pending_state_needs_it_and_no_longer(tmp_path):
    store = new_store(tmp_path)
    first, second = aux_sets()[0], aux_sets(seed=1)[0]
    store.accounts.put_aux(CID, NewAux.of(first))
    sid, late = begin(store, 1), begin(store, 2)
    state = share_state("a", deal()[0])
    store.sessions.put_pending(sid, "keygen", CID, state, b"", b"done", party=1, aux_id=first.aux_id)
    store.accounts.put_aux(CID, NewAux.of(second))
    assert store.accounts.aux_ids() == [first.aux_id, second.aux_id]
    store.sessions.void_pending(sid)
    store.sessions.erase_voided(sid)
    assert store.accounts.aux_ids() == [second.aux_id]
    # A run that began with what is gone by now makes no account that could never sign.
    with pytest.raises(AuxSetNotFound):
        store.sessions.put_pending(late, "keygen", CID, state, b"", b"done", party=1, aux_id=first.aux_id)
    assert store.sessions.pending_sids() == []


def test_a_refresh_moves_share_and_aux_in_one_transaction(tmp_path):
    store = new_store(tmp_path)
    old_aux, new_aux = aux_sets()[0], aux_sets(seed=1)[0]
    shares = {name: deal(seed=name)[0] for name in ("a", "b")}
    store.accounts.put_aux(CID, NewAux.of(old_aux))
    for name, share in shares.items():
        store.accounts.add(NewShare.of(name, share), CID, Origin.KEYGEN)
    fresh = {name: next_epoch(share) for name, share in shares.items()}
    state = NewState(
        tuple(NewShare.of(name, share) for name, share in fresh.items()), NewAux.of(new_aux, ("a", "b"))
    )
    sid = make_pending(store, 1, state, "refresh")
    assert store.accounts.share("a") == shares["a"].to_bytes()
    certificate = store.sessions.activate(sid, [b"e"])
    assert certificate.accounts == ("a", "b")
    for name in ("a", "b"):
        record = store.accounts.account(name)
        assert (record.share_epoch, record.aux_id) == (fresh[name].share_epoch, new_aux.aux_id)
        old, _ = store.accounts.shares(name)
        assert (old.share, old.aux_id, old.superseded) == (shares[name].to_bytes(), old_aux.aux_id, True)
    for name in ("a", "b"):
        assert store.accounts.erase_superseded(name) == 1
    assert store.accounts.aux_ids() == [new_aux.aux_id]
    assert reopen(store).check() == []


def test_an_activation_that_fails_leaves_everything_as_it_was(tmp_path):
    store = new_store(tmp_path)
    sid = make_pending(
        store, 1, NewState((NewShare.of("a", deal()[0]),), NewAux.of(aux_sets()[0], ("nobody",)))
    )
    with pytest.raises(Exception, match="Key share not found"):
        store.sessions.activate(sid, [b"e"])
    assert store.accounts.accounts() == []
    assert store.accounts.aux_ids() == []
    assert store.sessions.certificates() == []
    assert [pending.sid for pending in store.sessions.pendings()] == [sid]


def test_an_account_id_is_taken_once(tmp_path):
    store = new_store(tmp_path)
    first = make_pending(store, 1, share_state("a", deal()[0]))
    with pytest.raises(AccountExists, match="being made by another run"):
        make_pending(store, 2, share_state("a", deal(seed=1)[0]))
    store.sessions.activate(first, [b"e"])
    with pytest.raises(AccountExists, match="exists already on this node with another key"):
        make_pending(store, 3, share_state("a", deal(seed=1)[0]))
    with pytest.raises(StoreConflict, match="an account id is"):
        make_pending(store, 4, share_state("", deal(seed=1)[0]))


def test_pending_state_that_was_given_up(tmp_path):
    store = new_store(tmp_path)
    sid = make_pending(store, 1, share_state("a", deal()[0]))
    with pytest.raises(StoreConflict, match="was not given up"):
        store.sessions.erase_voided(sid)
    store.sessions.void_pending(sid)
    store = reopen(store)
    assert store.sessions.pending(sid).voided
    # The id is free for the run that takes its place.
    other = make_pending(store, 2, share_state("a", deal(seed=1)[0]))
    store.sessions.erase_voided(sid)
    assert [pending.sid for pending in store.sessions.pendings()] == [other]
    for use in (store.sessions.void_pending, store.sessions.erase_voided, store.sessions.pending):
        with pytest.raises(PendingNotFound):
            use(sid)


def test_a_certificate_is_stronger_than_giving_up(tmp_path):
    store = new_store(tmp_path)
    sid = make_pending(store, 1, share_state("a", deal()[0]))
    store.sessions.void_pending(sid)
    store.sessions.activate(sid, [b"e"])
    assert store.accounts.has_account("a")


def test_a_later_run_that_is_complete_here_is_stronger_than_a_late_certificate(tmp_path):
    """Or a member that hands out its done messages late, and not to all, gives one account two keys."""
    store = new_store(tmp_path)
    former = make_pending(store, 1, share_state("a", deal()[0]))
    store.sessions.void_pending(former)
    unrelated = make_pending(store, 2, share_state("b", deal(seed=2)[0]))
    later = make_pending(store, 3, share_state("a", deal(seed=1)[0]))
    for _ in range(2):
        with pytest.raises(StoreConflict, match="a later one is complete here"):
            store.sessions.activate(former, [b"e"])
        assert store.sessions.pending(former).voided
        assert store.sessions.certificate(former) is None
        store = reopen(store)
    assert not store.accounts.has_account("a")
    store.sessions.activate(unrelated, [b"e"])
    store.sessions.activate(later, [b"e"])
    assert store.accounts.account("a").key_id == deal(seed=1)[0].key_id


def test_kept_envelopes_come_back_byte_for_byte_in_order(tmp_path):
    store = new_store(tmp_path)
    sid = begin(store, 1)
    blobs = [(Kept.COMPLAINT, b"\x00\xff complaint"), (Kept.ABORT, b"abort"), (Kept.SIGMA, b"sigma" * 10000)]
    for kind, blob in [*blobs, blobs[0]]:
        store.sessions.keep(sid, kind, blob)
    assert reopen(store).sessions.durable_envelopes(sid) == blobs


def test_kept_envelopes_belong_to_a_remembered_session(tmp_path):
    store = new_store(tmp_path)
    with pytest.raises(StoreConflict):
        store.sessions.keep(sid_of(5), Kept.ABORT, b"abort")


def test_pending_secrets_are_sealed(tmp_path):
    store = new_store(tmp_path)
    share = deal()[0]
    make_pending(store, 1, share_state("a", share))
    store.close()
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert share.chain_code not in content
    assert raw(store.path, "SELECT count(*) FROM pending") == [(1,)]


def test_last_words_are_those_of_sessions_that_were_open(tmp_path):
    store = new_store(tmp_path)
    for number, kind in enumerate((Kept.SIGMA, Kept.ABORT, Kept.COMPLAINT, Kept.DONE, Kept.CERTIFICATE)):
        store.sessions.remember(sid_of(number), "sign", CID, sid_of(number))
        store.sessions.keep(sid_of(number), kind, bytes([number]))
    store.sessions.remember(sid_of(9), "sign", CID, sid_of(9))
    store.sessions.keep(sid_of(9), Kept.SIGMA, b"of a session that ended")
    store.sessions.end(sid_of(9), "done")
    assert store.sessions.lost_words(CID) == []
    store = reopen(store)
    assert sorted(store.sessions.lost_words(CID)) == [b"\x00", b"\x01", b"\x02"]
    assert store.sessions.lost_words(sid_of(1)) == []
    assert reopen(store).sessions.lost_words(CID) == [], "once"
