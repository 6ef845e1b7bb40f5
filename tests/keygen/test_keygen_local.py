"""The committee in one process, with the tiny scheme; and the quick start's files when something fails."""

import os
import pty
import select
import subprocess
import time
from contextlib import ExitStack
from itertools import combinations
from types import SimpleNamespace

import pytest
from keygen_testing import assert_absent, fails, keygen_argv, succeeds
from node_testing import aux_sets, committee_of, deal, node_keys
from processes import clean_environment
from tss_testing import SMALL_SECP, TINY, safe_primes

from keygen import quickstart
from keygen.development import make_node
from keygen.local_committee import LocalCommittee, _Relay, arithmetic
from keygen.node_files import NodeFiles
from participant.committee import write_committee
from participant.sharefile import ShareEntry, encode_share_file, write_share_file
from tss.envelope import holder
from tss.errors import AbortedByPeer, NotStored, SharedPrime
from tss.vss import lagrange


@pytest.fixture
def committee(tmp_path):
    """A function: n, t, and each member's primes by index -> LocalCommittee, its stores open."""
    with ExitStack() as stack:
        pool = stack.enter_context(arithmetic())

        def make(n, t, primes):
            known = committee_of(n, t)
            stores = []
            for index, keys in enumerate(node_keys(n)):
                make_node(tmp_path / str(index), keys, known)
                store = stack.enter_context(NodeFiles.of(tmp_path / str(index)).open())
                for prime in primes[index]:
                    store.primes.add(prime)
                stores.append(store)
            return LocalCommittee(known, stores, TINY, pool), stores

        yield make


def pools(n):
    primes = safe_primes(TINY.level, 4 * n)
    return [primes[4 * index : 4 * index + 4] for index in range(n)]


def nothing(*_):
    pass


@pytest.mark.parametrize(("n", "t"), [(2, 2), (3, 2), (5, 3)])
def test_any_t_shares_give_the_key(committee, n, t):
    local, stores = committee(n, t, pools(n))
    sets = local.make_aux(nothing)
    shares = local.make_key("main", sets[0].aux_id, nothing)
    group = TINY.group
    for chosen in combinations(shares, t):
        points = [share.me for share in chosen]
        x = sum(lagrange(points, share.me, 0, group.q) * share.x for share in chosen) % group.q
        assert group.mul_base(x) == shares[0].X
    for store in stores:
        assert store.accounts.account("main").aux_id == sets[0].aux_id
        assert store.primes.count(TINY.level.pb) == 0
        assert store.check() == []


def test_several_keys_use_one_set_of_auxiliary_information(committee):
    local, stores = committee(3, 2, pools(3))
    sets = local.make_aux(nothing)
    keys = {name: local.make_key(name, sets[0].aux_id, nothing)[0].X for name in ("a", "b", "c")}
    assert len(set(keys.values())) == 3
    assert {record.aux_id for record in stores[2].accounts.accounts()} == {sets[0].aux_id}


def test_progress_never_goes_back_and_ends_at_its_total(committee):
    local, _ = committee(3, 2, pools(3))
    seen = []
    local.make_aux(lambda done, total, text, detail: seen.append((done, total, text, detail)))
    done = [step[0] for step in seen]
    assert done == sorted(done)
    assert seen[-1][:3] == (15, 15, "done")
    assert {step[2] for step in seen} >= {"agreeing", "round 1", "done"}


@pytest.mark.parametrize("order", [1, -1])
def test_the_error_of_whoever_found_it_is_told(order):
    """In which order they end depends on which computation is done first."""
    ended = [AbortedByPeer(2, "the moduli share a factor"), SharedPrime("the moduli share a factor")]
    sessions = [
        SimpleNamespace(me=holder(point), start=list, finished=True, error=error)
        for point, error in enumerate(ended[::order], 1)
    ]
    with pytest.raises(SharedPrime):
        _Relay(sessions, None, nothing).run()


def test_a_prime_that_two_members_share_ends_the_run(committee):
    """Only a broken source of randomness brings it about. Nothing of the run comes into force."""
    primes = pools(3)
    primes[1][0] = primes[0][0]
    local, stores = committee(3, 2, primes)
    with pytest.raises(SharedPrime):
        local.make_aux(nothing)
    for store in stores:
        assert store.accounts.aux_ids() == []
        assert store.sessions.certificates() == []


def test_an_account_that_a_member_has_already_ends_the_run(committee):
    local, _ = committee(3, 2, pools(3))
    sets = local.make_aux(nothing)
    local.make_key("main", sets[0].aux_id, nothing)
    with pytest.raises(NotStored, match="AccountExists"):
        local.make_key("main", sets[0].aux_id, nothing)


# The quick start's files


@pytest.fixture
def dealt(monkeypatch):
    """The quick start without its ceremony."""
    sets = aux_sets(SMALL_SECP)
    entries = [
        [ShareEntry("account1", share, sets[i], foreign=False)] for i, share in enumerate(deal(SMALL_SECP))
    ]
    monkeypatch.setattr(quickstart, "_make_keys", lambda *_: entries)
    return entries


def test_the_quick_start_places_everything_at_the_end(tmp_path, dealt, monkeypatch):
    during = []
    monkeypatch.setattr(quickstart, "_make_keys", lambda *_: during.extend(tmp_path.iterdir()) or dealt)
    succeeds("quickstart", "--directory", tmp_path)
    assert [path.name.startswith(".mpc-keygen.") for path in during] == [True], (
        "nothing stands under its name before"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "backup_key_shares.json", "backup_node", "client_key_shares.json", "client_node", "committee.yaml", "config",
        "service_key_shares.json", "service_node",
    ]  # fmt: skip


@pytest.mark.parametrize("at", range(7))
def test_a_quick_start_that_fails_while_it_places_files_leaves_nothing(tmp_path, dealt, monkeypatch, at):
    placed = []
    really = quickstart._place

    def failing(source, target):
        if len(placed) == at:
            raise OSError(28, "No space left on device", str(target))
        placed.append(target)
        really(source, target)

    monkeypatch.setattr(quickstart, "_place", failing)
    ran = fails(3, "quickstart", "--directory", tmp_path)
    assert "No space left on device" in ran.err
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path, dealt, monkeypatch):
    mine = tmp_path / "client_key_shares.json"
    monkeypatch.setattr(quickstart, "_make_keys", lambda *_: mine.write_text("mine") and dealt)
    fails(3, "quickstart", "--directory", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["client_key_shares.json"]
    assert mine.read_text() == "mine"


def test_the_quick_start_as_one_object(tmp_path, dealt):
    ran = succeeds("quickstart", "--directory", tmp_path, "--json")
    assert ran.json["accounts"] == {"account1": dealt[0][0].share.X.to_bytes().hex()}
    assert len(ran.json["warnings"]) == 2
    assert_absent([entries[0].share.x for entries in dealt], ran.out, ran.err)


# On a terminal


def on_terminal(argv, answers=()):
    """Run a command on a terminal of its own, answering prompts; exit code and everything that it showed."""
    parent, child = pty.openpty()
    environment = clean_environment({"TERM": "xterm", "COLUMNS": "100", "LINES": "30"})
    with subprocess.Popen(
        argv, stdin=child, stdout=child, stderr=child, env=environment, start_new_session=True
    ) as process:
        os.close(child)
        shown, left, deadline = b"", list(answers), time.monotonic() + 120
        try:
            while time.monotonic() < deadline:
                if not select.select([parent], [], [], 1.0)[0]:
                    continue
                try:
                    data = os.read(parent, 4096)
                except OSError:
                    break
                if not data:
                    break
                shown += data
                if left and left[0][0].encode() in shown:
                    os.write(parent, left.pop(0)[1].encode() + b"\n")
        finally:
            if process.poll() is None and time.monotonic() >= deadline:
                process.kill()
            code = process.wait(60)
            os.close(parent)
    return code, shown.decode("utf-8", "replace")


def test_progress_is_a_bar_on_a_terminal(tmp_path):
    make_node(tmp_path / "node", node_keys()[0], committee_of())
    code, shown = on_terminal(keygen_argv("primes", tmp_path / "node", "--count", "1"))
    assert code == 0, shown
    assert "safe primes: 1 of 1" in shown
    assert "\x1b[" in shown, "it moves"
    assert "━" in shown
    assert " safe primes in the pool" in shown


def test_the_password_is_asked_for_and_not_shown(tmp_path):
    file = tmp_path / "s.age"
    write_share_file(
        file, [ShareEntry("main", deal(SMALL_SECP)[0], None, foreign=False)], password="correct horse"
    )
    code, shown = on_terminal(keygen_argv("inspect", file), [("Password of", "correct horse")])
    assert code == 0, shown
    assert "sound" in shown
    assert "correct horse" not in shown
    code, shown = on_terminal(keygen_argv("inspect", file), [("Password of", "wrong one")])
    assert code == 3, shown
    assert "wrong password" in shown
    assert "wrong one" not in shown


def test_a_key_that_is_typed_in_is_not_shown(tmp_path):
    write_committee(tmp_path / "c.yaml", committee_of())
    key = f"{0x123456789ABCDEF << 128:064x}"
    argv = keygen_argv(
        "deal",
        "-",
        "--account",
        "old",
        "--committee",
        tmp_path / "c.yaml",
        "-o",
        tmp_path / "out",
        "--plaintext",
    )
    code, shown = on_terminal(argv, [("Private key", key)])
    assert code == 0, shown
    assert key not in shown
    assert (tmp_path / "out" / "index-2.json").exists()


def test_several_files_at_once(tmp_path):
    files = []
    for index, share in enumerate(deal(SMALL_SECP)):
        files.append(tmp_path / f"{index}.json")
        files[-1].write_bytes(encode_share_file([ShareEntry("main", share, None, foreign=False)]))
        files[-1].chmod(0o600)
    ran = succeeds("inspect", *files)
    assert ran.out.count("sound, 1 account") == 3
