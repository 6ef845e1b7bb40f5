"""`mpc-keygen` without a command: the quick start's keys, files and nodes."""

import json
import os
import signal
import stat
from itertools import combinations
from pathlib import Path

import pytest
import yaml
from keygen_testing import SUITES, assert_absent, fails, invoke, keygen_argv
from processes import Process, clean_environment
from tss_testing import SMALL_SECP

from client.settings import MpcConfig
from gateway.settings import load as load_gateway
from keygen.node_files import NodeFiles
from keygen.quickstart import MEMBERS
from participant.committee import read_committee
from participant.node.persistence import check_pending
from participant.sharefile import read_share_file
from participant.store import Origin, Pending
from sign_service.settings import load as load_service
from tss.envelope import holder
from tss.records import AuxSet, KeyShare
from tss.vss import lagrange

SHARE_FILES = {"service": 0, "client": 1, "backup": 2}


def entry_of(directory, member):
    entries = read_share_file(directory / f"{member}_key_shares.json", suites=SUITES)
    return entries["account1"]


def test_writes_the_three_share_files_by_index(quick):
    assert quick.code == 0, quick.output
    for member, index in SHARE_FILES.items():
        path = quick.directory / f"{member}_key_shares.json"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        entry = entry_of(quick.directory, member)
        assert entry.share.indices.index(entry.share.me) == index
        content = json.loads(path.read_text())
        assert set(content) == {"account1"}
        assert {"key_share", "public_key"} <= set(content["account1"])
        assert content["account1"]["key_share"]["i"] == index


def test_any_two_shares_give_the_key_and_one_does_not(quick):
    shares = [entry_of(quick.directory, member).share for member in MEMBERS]
    group, q = SMALL_SECP.group, SMALL_SECP.group.q
    for pair in combinations(shares, 2):
        points = [share.me for share in pair]
        x = sum(lagrange(points, share.me, 0, q) * share.x for share in pair) % q
        assert group.mul_base(x) == shares[0].X
    assert all(group.mul_base(share.x) != share.X for share in shares)
    assert len({share.x for share in shares}) == 3


def test_all_hold_one_key_and_one_set_of_auxiliary_data(quick):
    entries = [entry_of(quick.directory, member) for member in MEMBERS]
    for what in ("key_id", "share_epoch", "X", "public_shares", "chain_code", "t"):
        assert len({repr(getattr(entry.share, what)) for entry in entries}) == 1, what
    assert len({entry.aux.aux_id for entry in entries}) == 1
    assert [entry.aux.parties for entry in entries] == [entries[0].aux.parties] * 3
    primes = [p for entry in entries for p in (entry.aux.paillier.p, entry.aux.paillier.q_)]
    primes += [p for entry in entries for p in (entry.aux.pedersen.p, entry.aux.pedersen.q_)]
    assert len(set(primes)) == 12, "no two moduli share a prime"


def test_each_store_holds_its_own_share_with_a_certificate_of_all(quick, tmp_path):
    directory = quick.copy(tmp_path / "copy")
    committee = read_committee(directory / "committee.yaml")
    identities = {holder(index + 1): key for index, key in enumerate(committee.identities)}
    for index, member in enumerate(MEMBERS):
        with NodeFiles.of(directory / f"{member}_node").open() as store:
            assert committee.index_of(store.identity().identity) == index
            record = store.accounts.account("account1")
            assert (record.party, record.threshold, record.origin) == (index + 1, 2, Origin.KEYGEN)
            entry = entry_of(directory, member)
            assert KeyShare.from_bytes(SMALL_SECP, store.accounts.share("account1")) == entry.share
            assert (
                AuxSet.from_bytes(SMALL_SECP, store.accounts.aux_set(record.aux_id)).aux_id
                == entry.aux.aux_id
            )
            certificates = store.sessions.certificates()
            assert [certificate.kind for certificate in certificates] == ["aux", "keygen"]
            for found in certificates:
                # What the node itself checks when a peer forwards a certificate.
                pending = Pending(found.sid, found.kind, found.committee_id, None, found.public, {}, False, 0)
                check_pending(pending, identities, list(found.envelopes))
            assert store.check() == []
            # A process may find one more than was asked for before it is stopped; it is nobody's yet.
            own = {entry.aux.paillier.p, entry.aux.paillier.q_, entry.aux.pedersen.p, entry.aux.pedersen.q_}
            assert own.isdisjoint(store.primes.take(64, SMALL_SECP.level.pb))
            assert store.sessions.pending_sids() == []


def test_no_store_holds_anothers_share(quick, tmp_path):
    directory = quick.copy(tmp_path / "copy")
    scalars = {member: entry_of(directory, member).share.x for member in MEMBERS}
    for member in MEMBERS:
        for file in (directory / f"{member}_node").iterdir():
            data = file.read_bytes()
            for scalar in scalars.values():
                # Not even its own stands there in the clear.
                assert scalar.to_bytes(32, "big") not in data
                assert f"{scalar:064x}".encode() not in data


def test_the_settings_name_what_was_made(quick, monkeypatch):
    for name in list(os.environ):
        if name.startswith(("SIGN_", "MPC_CLIENT")):
            monkeypatch.delenv(name)
    config = quick.directory / "config"
    gateway, service = load_gateway(config / "sign-gateway.yaml"), load_service(config / "sign-service.yaml")
    assert (gateway.server.port, gateway.grpc.port, gateway.sign_service.url) == (
        8080,
        50050,
        "http://127.0.0.1:50051",
    )
    assert (service.server.port, service.server.index, service.gateway.url) == (
        50051,
        0,
        "http://127.0.0.1:8080",
    )
    client = MpcConfig.load(config / "client.yaml")
    assert (client.local_participant.port, client.local_participant.index) == (50052, 1)
    own = load_service(client.local_participant.settings)
    backup = load_service(quick.directory / "backup_node" / "sign-service.yaml")
    assert [own.server.index, backup.server.index] == [1, 2]
    for index, settings in enumerate((service, own, backup)):
        assert settings.store.path.exists()
        assert settings.store.opened_by.exists()
        assert settings.mpc.key_share_file.resolve() == quick.directory / f"{MEMBERS[index]}_key_shares.json"
        assert read_committee(settings.mpc.committee) == read_committee(quick.directory / "committee.yaml")


def test_the_settings_of_the_repository_name_the_same_files(quick):
    """`config/` of the repository is read in the place of what the quick start would write."""
    repository = Path(__file__).parents[2] / "config"
    for name in ("sign-service.yaml", "client.yaml"):
        ours, theirs = (
            yaml.safe_load((place / name).read_text()) for place in (quick.directory / "config", repository)
        )
        for section, key in (
            ("store", "path"), ("mpc", "key_share_file"),
            ("local_participant", "settings"), ("local_participant", "key_share_file"),
        ):  # fmt: skip
            if key in ours.get(section, {}):
                assert theirs[section][key] == ours[section][key], f"{name}: {section}.{key}"


def test_says_what_it_made_and_warns(quick):
    X = entry_of(quick.directory, "service").share.X.to_bytes().hex()
    assert X in quick.stdout
    assert "on one machine" in quick.output
    assert "plain text" in quick.output
    for member in MEMBERS:
        assert f"{member}_key_shares.json" in quick.stdout
    assert read_committee(quick.directory / "committee.yaml").committee_id.hex()[:4] in quick.stdout


def test_shows_progress_of_everything_that_takes_long(quick):
    assert "safe primes: 12 of 12" in quick.output
    assert "auxiliary information: done" in quick.output
    assert "key account1: done" in quick.output


def test_prints_no_secret(quick):
    secrets = []
    for member in MEMBERS:
        entry = entry_of(quick.directory, member)
        secrets += [entry.share.x, entry.share.chain_code, entry.aux.paillier.p, entry.aux.paillier.q_]
        secrets += [entry.aux.pedersen.p, entry.aux.pedersen.q_, entry.aux.pedersen.lam]
        secrets.append(bytes.fromhex((quick.directory / f"{member}_node" / "seal.key").read_text()))
    assert_absent([int(s) if not isinstance(s, bytes) else s for s in secrets], quick.output)


@pytest.mark.parametrize(
    "name",
    [
        "client_key_shares.json",
        "service_key_shares.json",
        "backup_key_shares.json",
        "committee.yaml",
        "client_node",
    ],
)
def test_overwrites_nothing(tmp_path, name):
    (tmp_path / name).write_text("mine")
    ran = fails(3, "quickstart", "--directory", tmp_path)
    assert name in ran.err
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_does_not_follow_a_link_that_leads_nowhere(tmp_path):
    (tmp_path / "client_key_shares.json").symlink_to(tmp_path / "elsewhere")
    fails(3, "quickstart", "--directory", tmp_path)
    assert not (tmp_path / "elsewhere").exists()


def test_refuses_an_impossible_account_id_before_it_works(tmp_path):
    ran = fails(5, "quickstart", "--directory", tmp_path, "--account", "x" * 600)
    assert "account id" in ran.err
    assert list(tmp_path.iterdir()) == []


def test_keeps_settings_that_are_there(quick, tmp_path):
    """The quick start wrote config/ because there was none; an existing file stays."""
    assert "wrote config/sign-service.yaml" in quick.stdout.replace(str(quick.directory) + "/", "")
    from keygen.quickstart import _write_configuration

    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "sign-service.yaml").write_text("mine")
    written = _write_configuration(tmp_path)
    assert {path.name for path in written} == {"sign-gateway.yaml", "client.yaml"}
    assert (tmp_path / "config" / "sign-service.yaml").read_text() == "mine"


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("safe primes: 0 of 12", signal.SIGINT),
        ("safe primes: 1 of 12", signal.SIGTERM),
        ("auxiliary information: round", signal.SIGHUP),
    ],
    ids=["SIGINT", "SIGTERM", "SIGHUP"],
)
def test_an_interrupted_run_leaves_nothing_behind(tmp_path, moment, number):
    with Process(keygen_argv(), env=clean_environment(), cwd=tmp_path) as process:
        process.wait_for(moment, timeout=120)
        (core,) = (
            line
            for line in Path(f"/proc/{process.pid}/limits").read_text().splitlines()
            if "core file" in line
        )
        assert core.split()[4:6] == ["0", "0"], "a crash would leave an image of all shares"
        process.send_signal(number)
        code = process.wait(60)
        output = process.output
    assert code == 130, output
    assert "interrupted" in output
    assert "Traceback" not in output
    assert list(tmp_path.iterdir()) == []


def test_a_second_run_changes_nothing(quick):
    before = {path: path.read_bytes() for path in quick.directory.iterdir() if path.is_file()}
    ran = invoke("quickstart", "--directory", quick.directory, "--json")
    assert (ran.code, ran.error["reason"]) == (3, "EXISTS")
    assert before == {path: path.read_bytes() for path in quick.directory.iterdir() if path.is_file()}
