import threading

import pytest
from node_testing import committee_of, deal, new_store, reopen, sid_of
from tss_testing import TINY

from participant.store import (
    AlreadyAnswered,
    AuditRecord,
    Kept,
    NewShare,
    Origin,
    RequestConflict,
    RequestStatus,
    StoreConflict,
    StoreDamaged,
)
from tss.records import KeyShare

RID = bytes(range(16))
RECORD = AuditRecord(
    "sign", "alice", "signed", account="a", request_id=RID, digest=bytes(32), path="m/0", signers=(0, 2)
)


def test_the_same_request_gives_the_same_signature(tmp_path):
    store = new_store(tmp_path)
    assert store.requests.begin(RID, "alice", b"content").status is RequestStatus.NEW
    assert store.requests.begin(RID, "alice", b"content").status is RequestStatus.IN_PROGRESS
    store.requests.finish(RID, b"signature")
    for _ in range(2):
        state = store.requests.begin(RID, "alice", b"content")
        assert (state.status, state.result) == (RequestStatus.FINISHED, b"signature")
        store = reopen(store)
    store.requests.finish(RID, b"signature")
    with pytest.raises(StoreConflict, match="another result already"):
        store.requests.finish(RID, b"another signature")
    store.requests.fail(RID)
    assert store.requests.begin(RID, "alice", b"content").result == b"signature"


def test_another_content_is_a_conflict_in_every_state(tmp_path):
    store = new_store(tmp_path)
    store.requests.begin(RID, "alice", b"content")
    for prepare in (lambda: None, lambda: store.requests.fail(RID), lambda: store.requests.finish(RID, b"s")):
        prepare()
        with pytest.raises(RequestConflict, match="used for another content"):
            store.requests.begin(RID, "alice", b"other")
    assert store.requests.begin(RID, "alice", b"content").result == b"s"


def test_a_failed_request_may_be_tried_again(tmp_path):
    store = new_store(tmp_path)
    store.requests.begin(RID, "alice", b"content")
    store.requests.fail(RID)
    assert store.requests.begin(RID, "alice", b"content").status is RequestStatus.NEW
    assert store.requests.begin(RID, "alice", b"content").status is RequestStatus.IN_PROGRESS


def test_a_request_of_a_former_process_was_interrupted(tmp_path):
    store = new_store(tmp_path)
    store.requests.begin(RID, "alice", b"content")
    store = reopen(store)
    assert store.requests.begin(RID, "alice", b"content").status is RequestStatus.INTERRUPTED
    assert store.requests.begin(RID, "alice", b"content").status is RequestStatus.IN_PROGRESS


def test_request_errors(tmp_path):
    store = new_store(tmp_path)
    with pytest.raises(StoreConflict, match="16 bytes, not 15"):
        store.requests.begin(RID[:15], "alice", b"content")
    with pytest.raises(StoreConflict, match="never begun"):
        store.requests.finish(RID, b"s")


def test_of_many_threads_one_gets_the_request(tmp_path):
    store = new_store(tmp_path)
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(store.requests.begin(RID, "alice", b"content").status))
        for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [RequestStatus.IN_PROGRESS] * 15 + [RequestStatus.NEW]


def test_an_answer_and_its_record_are_one(tmp_path):
    store = new_store(tmp_path)
    share = deal()[0]
    store.accounts.add(NewShare.of("a", share), committee_of().committee_id, Origin.IMPORT)
    sid = sid_of(1)
    store.sessions.remember(sid, "sign", committee_of().committee_id, bytes(32))
    answer = store.answers.put(bytes(32), b"req", b"sigma", RECORD, sid=sid)
    assert answer.audit_seq == 1
    store = reopen(store)
    assert store.answers.get(bytes(32)) == answer
    (entry,) = store.audit.export()
    assert entry.record == RECORD
    assert store.sessions.durable_envelopes(sid) == [(Kept.SIGMA, b"sigma")]
    assert store.accounts.account("a").last_signed_at is not None
    assert KeyShare.from_bytes(TINY, store.accounts.share("a")) == share


@pytest.mark.attack("D3")
def test_a_presignature_answers_once(tmp_path):
    store = new_store(tmp_path)
    answer = store.answers.put(bytes(32), b"req", b"sigma", RECORD)
    assert store.answers.put(bytes(32), b"req", b"sigma", RECORD) == answer
    for req, sigma in ((b"req", b"other"), (b"other", b"sigma"), (b"other", b"other")):
        with pytest.raises(AlreadyAnswered, match="never answers again"):
            store.answers.put(bytes(32), req, sigma, RECORD)
    store = reopen(store)
    with pytest.raises(AlreadyAnswered):
        store.answers.put(bytes(32), b"other", b"other", RECORD)
    assert store.audit.verify_chain() == 1
    assert store.answers.get(b"\x01" * 32) is None


def test_no_record_no_answer(tmp_path):
    store = new_store(tmp_path)
    store.audit.append(AuditRecord("sign", "alice", "allow"))
    store._database.execute("UPDATE audit_head SET sealed_head = x'00'")
    with pytest.raises(StoreDamaged):
        store.answers.put(bytes(32), b"req", b"sigma", RECORD)
    assert store.answers.get(bytes(32)) is None


def test_an_answer_whose_transaction_fails_leaves_nothing(tmp_path):
    store = new_store(tmp_path)

    def fails():
        with store.transaction():
            store.answers.put(bytes(32), b"req", b"sigma", RECORD)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert store.answers.get(bytes(32)) is None
    assert store.audit.verify_chain() == 0


def test_answers_cannot_be_changed_or_removed_through_sql(tmp_path):
    store = new_store(tmp_path)
    store.answers.put(bytes(32), b"req", b"sigma", RECORD)
    for sql in ("UPDATE answer SET req = x'00'", "DELETE FROM answer"):
        with pytest.raises(StoreConflict, match="never"):
            store._database.execute(sql)
    assert store.answers.get(bytes(32)).req == b"req"


def test_primes_leave_the_pool_before_anybody_sees_them(tmp_path):
    store = new_store(tmp_path)
    for prime in (1019, 1187, 1283, 23):
        store.primes.add(prime)
    assert (store.primes.count(10), store.primes.count(11), store.primes.count(5)) == (1, 2, 1)
    assert store.primes.take(0, 11) == []
    assert store.primes.take(5, 11) == [1187, 1283]
    store = reopen(store)
    assert store.primes.take(5, 11) == []
    assert store.primes.take(1, 10) == [1019]
    with pytest.raises(StoreConflict):
        store.primes.add(1)


def test_of_many_threads_each_gets_other_primes(tmp_path):
    store = new_store(tmp_path)
    for prime in range(2**20, 2**20 + 40):
        store.primes.add(prime)
    taken = []
    threads = [threading.Thread(target=lambda: taken.extend(store.primes.take(5, 21))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(2**20, 2**20 + 40))


@pytest.mark.attack("D8")
def test_quarantine(tmp_path):
    store = new_store(tmp_path)
    committee_id, peer, other = committee_of().committee_id, b"p" * 32, b"q" * 32
    first = store.quarantine.add(peer, committee_id, "proof mod", aux_id=b"x" * 32, evidence=b"evidence")
    second = store.quarantine.add(other, committee_id, "partial")
    store = reopen(store)
    assert store.quarantine.entries() == [first, second] == store.quarantine.entries(committee_id)
    assert store.quarantine.entries(bytes(32)) == []
    assert store.quarantine.peers(committee_id, b"x" * 32) == {peer, other}
    assert store.quarantine.peers(committee_id, b"y" * 32) == {other}
    assert store.quarantine.peers(committee_id, None) == {other}
    assert first.evidence_id is not None
    assert store.quarantine.evidence(first.evidence_id) == b"evidence"
    assert store.quarantine.evidence(bytes(32)) is None
    assert store.quarantine.put_evidence(b"evidence") == first.evidence_id
    assert store.quarantine.evidence_ids() == [first.evidence_id]
    store.quarantine.clear(first.number, "operator")
    for number in (first.number, 99):
        with pytest.raises(StoreConflict, match="no quarantine entry"):
            store.quarantine.clear(number, "operator")
    assert reopen(store).quarantine.entries() == [second]
