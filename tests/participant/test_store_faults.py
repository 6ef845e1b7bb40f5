"""Full, failing and read-only disks; a process that is killed in the middle of its writes."""

import contextlib
import os
import resource
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from node_testing import committee_of, deal, new_store, raw, share_state, sid_of, wrapper

from participant.store import AuditRecord, NewShare, Origin, Store, StoreError, StoreUnavailable

ROOT = Path(__file__).parents[2]
CID = committee_of().committee_id
RECORD = AuditRecord("sign", "alice", "signed")
ENVIRONMENT = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests' / 'support'}", "PYTHONUNBUFFERED": "1"}


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MiB."""
    directory = tmp_path / "small"
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m,mode=0700", "tmpfs", str(directory)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a tmpfs cannot be mounted here; test_a_file_that_may_not_grow covers the same code")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


@contextlib.contextmanager
def full(directory):
    """Take all space that is left."""
    filler = directory / "filler"
    descriptor = os.open(filler, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    for size in (4096, 512, 1):
        with contextlib.suppress(OSError):
            while True:
                os.write(descriptor, b"x" * size)
    os.close(descriptor)
    try:
        yield
    finally:
        filler.unlink()


def exhaust(store, limit=2000):
    """Write until the disk refuses; how many writes succeeded."""
    for number in range(limit):
        try:
            store.sessions.keep(sid_of(0), "sigma", number.to_bytes(4, "big") + b"x" * 4000)
        except StoreUnavailable:
            return number
    raise AssertionError("the disk never refused")


def snapshot(store):
    return (
        store.audit.verify_chain(),
        [(a.account_id, a.share_epoch) for a in store.accounts.accounts()],
        store.primes.count(10),
        [pending.sid for pending in store.sessions.pendings()],
        len(store.sessions.durable_envelopes(sid_of(0))),
        len(store.sessions.certificates()),
    )


def prepared(directory):
    store = new_store(directory)
    store.sessions.remember(sid_of(0), "sign", CID, bytes(32))
    store.sessions.remember(sid_of(1), "keygen", CID, bytes(32))
    store.sessions.put_pending(
        sid_of(1), "keygen", CID, share_state("new", deal(seed=1)[0]), b"public" * 3000, b"done", party=1
    )
    store.accounts.add(NewShare.of("a", deal()[0]), CID, Origin.IMPORT)
    store.primes.add(1019)
    store.audit.append(RECORD)
    return store


BIG = b"e" * 20_000
WRITES = {
    "answer": lambda s: s.answers.put(bytes(32), b"req", BIG, RECORD),
    "audit": lambda s: s.audit.append(AuditRecord("sign", "x" * 20_000, "allow")),
    "activate": lambda s: s.sessions.activate(sid_of(1), [BIG, BIG]),
    "pending": lambda s: s.sessions.keep(sid_of(1), "done", BIG),
    "quarantine": lambda s: s.quarantine.add(b"p" * 32, CID, "proof", evidence=BIG),
    "request": lambda s: s.requests.begin(bytes(16), "alice" * 4000, b"content"),
}


@pytest.mark.fault(7)
@pytest.mark.parametrize("what", WRITES)
def test_a_full_disk_refuses_loses_nothing_and_recovers(small_disk, what):
    store = prepared(small_disk)
    with full(small_disk):
        exhaust(store)
        before = snapshot(store)
        with pytest.raises(StoreUnavailable, match="disk full"):
            WRITES[what](store)
        with pytest.raises(StoreUnavailable):
            WRITES[what](store)
        assert snapshot(store) == before
        assert store.answers.get(bytes(32)) is None
    WRITES[what](store)
    store.probe()
    store.close()
    with Store.open(store.path, wrapper()) as again:
        assert again.check() == []


@pytest.mark.fault(7)
def test_a_full_disk_can_still_be_opened_or_says_so(small_disk):
    store = prepared(small_disk)
    with full(small_disk):
        exhaust(store)
        before = snapshot(store)
        store.close()
        with contextlib.suppress(StoreUnavailable):
            Store.open(store.path, wrapper()).close()
    with Store.open(store.path, wrapper()) as again:
        assert snapshot(again) == before
        assert again.check() == []


@pytest.mark.fault(7)
def test_no_store_is_left_half_made_on_a_full_disk(small_disk):
    with full(small_disk), pytest.raises(StoreUnavailable):
        Store.create(small_disk / "store.db", wrapper())
    Store.create(small_disk / "store.db", wrapper()).close()


@pytest.mark.fault(7)
def test_a_file_that_may_not_grow(tmp_path):
    """EFBIG from write(2), which SQLite reports as an I/O error."""
    store = prepared(tmp_path)
    store.close()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        store = Store.open(store.path, wrapper())
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, before[1]))
        exhaust(store)
        expected = snapshot(store)
        with pytest.raises(StoreUnavailable):
            store.answers.put(bytes(32), b"req", BIG, RECORD)
        assert snapshot(store) == expected
        assert store.answers.get(bytes(32)) is None
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    store.answers.put(bytes(32), b"req", BIG, RECORD)
    assert store.check() == []


@pytest.mark.fault(7)
def test_a_disk_that_becomes_read_only(small_disk):
    store = prepared(small_disk)
    before = snapshot(store)
    remount = ["mount", "-o", "remount,ro", str(small_disk)]
    store.close()
    subprocess.run(remount, check=True)
    with pytest.raises(StoreUnavailable, match=r"(?i)read-only"):
        Store.open(store.path, wrapper())
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    with Store.open(store.path, wrapper()) as again:
        assert snapshot(again) == before
        again.probe()


def test_a_reader_from_outside_cannot_block_us_for_long_nor_hurt(tmp_path):
    store = prepared(tmp_path)
    raw(store.path, "SELECT count(*) FROM audit")
    store.probe()
    assert store.check() == []


WRITER = """
import sys
from pathlib import Path
from node_testing import *
from participant.store import *

store = Store.open(Path(sys.argv[1]), wrapper())
start, CID = int(sys.argv[2]), committee_of().committee_id
for number in range(start, start + 100000):
    name = f"account {number}"
    sid, share = sid_of(number), deal(seed=number % 7)[0]
    store.sessions.remember(sid, "keygen", CID, bytes(32))
    print("remembered", number)
    store.sessions.put_pending(sid, "keygen", CID, share_state(name, share), b"p", b"done", party=1)
    print("pending", number)
    store.sessions.activate(sid, [b"1", b"2", b"3"])
    print("activated", number)
    store.answers.put(sid, b"req", b"sigma", AuditRecord("sign", "alice", "signed", account=name))
    print("answered", number)
    store.primes.add(2**40 + number)
    print("prime", number)
    print("taken", number, *store.primes.take(1, 41))
"""


def kill_after(path, start, lines):
    """Run WRITER until it has said `lines` lines, kill it with SIGKILL, and return everything that it said."""
    command = [sys.executable, "-c", WRITER, str(path), str(start)]
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        said = b""
        while said.count(b"\n") < lines:
            assert select.select([child.stdout], [], [], 120)[0], "the writer is stuck"
            chunk = os.read(child.stdout.fileno(), 65536)
            assert chunk, child.stderr.read().decode()
            said += chunk
        child.kill()
        said += child.stdout.read()
    # A line that was cut in half was not an acknowledgement.
    return [line.split() for line in said.decode().split("\n")[:-1]]


@pytest.mark.fault(2)
def test_kill_9_in_the_middle_of_writes_loses_nothing_that_was_acknowledged(tmp_path):
    new_store(tmp_path).close()
    path = tmp_path / "store.db"
    said = []
    for run in range(12):
        said += kill_after(path, 1000 * run, 3 + 5 * run)
        with Store.open(path, wrapper()) as store:
            assert store.check() == []
            for what, number, *_ in said:
                name, sid = f"account {number}", sid_of(int(number))
                if what == "remembered":
                    assert store.sessions.known(sid)
                    assert not store.sessions.is_open(sid)
                elif what == "pending":
                    activated = store.sessions.certificate(sid) is not None
                    assert activated == store.accounts.has_account(name)
                    assert activated or store.sessions.pending(sid).state.account_ids == [name]
                elif what == "activated":
                    assert store.accounts.share(name) == deal(seed=int(number) % 7)[0].to_bytes()
                    assert store.sessions.certificate(sid).envelopes == (b"1", b"2", b"3")
                elif what == "answered":
                    assert store.answers.get(sid).envelope == b"sigma"
            answers = store._database.row("SELECT count(*) FROM answer")[0]
            assert store.audit.verify_chain() == answers
    # Given away once: a prime may be lost with the process, but is never given again.
    taken = [more[0] for what, _, *more in said if what == "taken"]
    assert taken
    assert len(taken) == len(set(taken))
    with Store.open(path, wrapper()) as store:
        left = store.primes.take(10_000, 41)
        assert not {str(prime) for prime in left} & set(taken)


def test_a_killed_creation_is_repeated(tmp_path):
    path = tmp_path / "store.db"
    program = """
import os, sys
from pathlib import Path
from node_testing import wrapper
from participant.store import Store
Store.create(Path(sys.argv[1]), wrapper(), rng=lambda n: os.kill(os.getpid(), 9))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], env=ENVIRONMENT, check=False, timeout=60
    )
    assert done.returncode == -signal.SIGKILL
    with pytest.raises(StoreError, match="interrupted"):
        Store.open(path, wrapper())
    Store.create(path, wrapper()).close()
    Store.open(path, wrapper()).close()
