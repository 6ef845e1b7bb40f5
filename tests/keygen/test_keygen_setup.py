"""identity, committee, init."""

import json
import os
import ssl
import stat

import pytest
import yaml
from cryptography import x509
from keygen_testing import assert_absent, fails, succeeds
from node_testing import node_keys

from client.settings import MpcConfig
from gateway.settings import load as load_gateway
from keygen.node_files import NodeFiles
from kit.tls import TlsSettings, client_context, server_context
from participant.callers import Tokens
from participant.committee import Committee, read_committee
from participant.identity import Card
from participant.policy import PERMISSIVE_NOTE
from participant.store import Store
from sign_service.settings import load as load_service


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("SIGN_", "MPC_CLIENT")):
            monkeypatch.delenv(name)


WILDCARD = "0.0.0.0"  # noqa: S104 - written into a file, nothing listens


# identity


def test_identity_makes_a_sealed_store_and_prints_its_public_card(tmp_path):
    ran = succeeds("identity", tmp_path / "node")
    card = Card.from_json(ran.out)
    assert (tmp_path / "node" / "identity").read_text() == ran.out
    assert stat.S_IMODE((tmp_path / "node").stat().st_mode) == 0o700
    for name in ("store.db", "seal.key"):
        assert stat.S_IMODE((tmp_path / "node" / name).stat().st_mode) == 0o600
    with NodeFiles.of(tmp_path / "node").open() as store:
        assert store.identity().card() == card


def test_identity_shows_the_same_one_again_and_never_makes_another(tmp_path):
    first = succeeds("identity", tmp_path)
    key = (tmp_path / "seal.key").read_bytes()
    (tmp_path / "identity").unlink()
    second = succeeds("identity", tmp_path)
    assert second.out == first.out
    assert (tmp_path / "identity").read_text() == first.out
    assert (tmp_path / "seal.key").read_bytes() == key


def test_identity_goes_on_where_it_was_interrupted(tmp_path):
    files = NodeFiles.of(tmp_path)
    files.make()
    with files.open() as store:
        identity = store.identity().identity
    for name in ("store.db", "store.db.lock"):
        (tmp_path / name).unlink()
    key = files.seal_key.read_bytes()
    card = Card.from_json(succeeds("identity", tmp_path).out)
    assert card.identity != identity
    assert files.seal_key.read_bytes() == key, "a sealing key is never replaced"


def test_identity_sealed_by_a_password(tmp_path):
    password = tmp_path / "password"
    password.write_text("correct horse\n")
    password.chmod(0o600)
    ran = succeeds("identity", tmp_path / "node", "--store-password-file", password)
    assert not (tmp_path / "node" / "seal.key").exists()
    assert succeeds("identity", tmp_path / "node", "--store-password-file", password).out == ran.out
    password.write_text("wrong\n")
    assert "wrong password" in fails(3, "identity", tmp_path / "node", "--store-password-file", password).err


def test_identity_refuses_a_sealing_key_that_others_may_read(tmp_path):
    succeeds("identity", tmp_path)
    (tmp_path / "seal.key").chmod(0o640)
    ran = fails(3, "identity", tmp_path)
    assert "chmod 600" in ran.err


def test_identity_of_a_store_that_is_in_use(tmp_path):
    succeeds("identity", tmp_path)
    with NodeFiles.of(tmp_path).open():
        ran = fails(3, "identity", tmp_path, "--json")
    assert ran.error["reason"] == "STORE_LOCKED"
    assert str(os.getpid()) in ran.error["text"]


def test_identity_prints_no_secret(tmp_path):
    ran = succeeds("identity", tmp_path, "--json")
    with NodeFiles.of(tmp_path).open() as store:
        seeds = store.identity()._seeds
    key = bytes.fromhex((tmp_path / "seal.key").read_text())
    assert_absent([*seeds, key], ran.out, ran.err, (tmp_path / "identity").read_text())


# committee


def cards(tmp_path, n=3):
    paths = []
    for number, keys in enumerate(node_keys(n)):
        path = tmp_path / f"card-{number}"
        path.write_text(keys.card().to_json())
        paths.append(path)
    return paths


def test_committee_does_not_depend_on_the_order_of_the_cards(tmp_path):
    paths = cards(tmp_path)
    expected = Committee.of([keys.card() for keys in node_keys(3)], 2)
    for number, order in enumerate((paths, paths[::-1])):
        file = tmp_path / f"committee-{number}.yaml"
        ran = succeeds("committee", *order, "-t", "2", "-o", file, "--json")
        assert ran.json["committee_id"] == expected.committee_id.hex()
        assert ran.json["members"] == [identity.hex() for identity in expected.identities]
        assert read_committee(file) == expected


def test_committee_prints_its_id_to_be_read_out(tmp_path):
    ran = succeeds("committee", *cards(tmp_path), "-t", "2", "-o", tmp_path / "c.yaml")
    groups = ran.out.splitlines()[0].removeprefix("committee ").split(" ")
    assert "".join(groups) == read_committee(tmp_path / "c.yaml").committee_id.hex()
    assert {len(group) for group in groups} == {4}


def test_committee_takes_nodes_directories_and_writes_to_standard_output(tmp_path):
    for number in range(3):
        succeeds("identity", tmp_path / f"node-{number}")
    directories = [tmp_path / f"node-{number}" for number in range(3)]
    ran = succeeds("committee", *directories, "-t", "3", "-o", "-")
    assert Committee.from_yaml(ran.out).threshold == 3
    assert not (tmp_path / "committee.yaml").exists()


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (lambda paths: paths[:1], 3, "2 to 16 members"),
        (lambda paths: [*paths, paths[0]], 3, "duplicate identity"),
        (lambda paths: [*paths[:2], paths[0].parent / "missing"], 3, "missing"),
    ],
    ids=["one card", "a card twice", "a missing card"],
)
def test_committee_refuses_members_that_cannot_be(tmp_path, change, code, said):
    file = tmp_path / "c.yaml"
    ran = fails(code, "committee", *change(cards(tmp_path)), "-t", "2", "-o", file)
    assert said in ran.err
    assert not file.exists()


def test_committee_refuses_a_card_that_was_changed(tmp_path):
    paths = cards(tmp_path)
    content = json.loads(paths[1].read_text())
    content["gateway_access"] = node_keys(4)[3].gateway_access.hex()
    paths[1].write_text(json.dumps(content))
    ran = fails(3, "committee", *paths, "-t", "2", "-o", tmp_path / "c.yaml")
    assert str(paths[1]) in ran.err
    assert "not signed" in ran.err


def test_committee_refuses_a_threshold_above_its_size(tmp_path):
    ran = fails(3, "committee", *cards(tmp_path), "-t", "4", "-o", tmp_path / "c.yaml")
    assert "threshold 4" in ran.err


def test_committee_overwrites_nothing(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("mine")
    fails(3, "committee", *cards(tmp_path), "-t", "2", "-o", file)
    assert file.read_text() == "mine"


# init


def services(directory):
    return [load_service(path) for path in sorted(directory.glob("*/sign-service.yaml"))]


def test_init_makes_the_setting_that_the_documents_promise(tmp_path):
    directory = tmp_path / "dev"
    ran = succeeds("init", directory, "--json")
    committee = read_committee(directory / "committee.yaml")
    assert ran.json["committee_id"] == committee.committee_id.hex()
    assert (committee.n, committee.threshold) == (3, 2)
    gateway = load_gateway(directory / "sign-gateway.yaml")
    assert (gateway.server.port, gateway.grpc.port) == (8080, 50050)
    assert gateway.sign_service.url == "http://127.0.0.1:50051"
    for index, (port, metrics) in enumerate([(50051, 9451), (50061, 9461), (50071, 9471)]):
        node = directory / f"node-{index}"
        assert {"sign-service.yaml", "identity", "seal.key", "store.db", "tls"} <= {
            path.name for path in node.iterdir()
        }
        settings = load_service(node / "sign-service.yaml")
        assert (settings.server.host, settings.server.port, settings.server.index) == (
            "127.0.0.1",
            port,
            index,
        )
        assert (settings.metrics.host, settings.metrics.port) == ("127.0.0.1", metrics)
        assert settings.gateway.url == "http://127.0.0.1:8080"
        assert read_committee(settings.mpc.committee) == committee
        with NodeFiles.of(node).open() as store:
            assert committee.index_of(store.identity().identity) == index
            assert store.accounts.committees() == [committee]
        assert Card.from_json((node / "identity").read_text()) == committee.members[index]
    client = MpcConfig.load(directory / "client.yaml")
    assert client.targets == tuple(f"http://127.0.0.1:{port}" for port in (50051, 50061, 50071))
    assert not client.holds_share


def test_init_says_that_its_policy_is_permissive(tmp_path):
    ran = succeeds("init", tmp_path / "dev")
    assert PERMISSIVE_NOTE in ran.err
    for settings in services(tmp_path / "dev"):
        assert settings.policy.note == PERMISSIVE_NOTE
    assert "for development only" in ran.err


def test_init_with_a_client_that_holds_a_share(tmp_path):
    directory = tmp_path / "dev"
    succeeds("init", directory, "--client")
    assert sorted(path.name for path in directory.iterdir() if path.is_dir()) == [
        "client",
        "node-0",
        "node-2",
        "tls",
    ]
    client = MpcConfig.load(directory / "client.yaml")
    local = client.local_participant
    assert (client.holds_share, local.port, local.index) == (True, 50052, 1)
    settings = load_service(local.settings)
    assert (settings.server.port, settings.server.index, settings.metrics.port) == (50052, 1, None)
    with NodeFiles.of(directory / "client").open() as store:
        assert read_committee(directory / "committee.yaml").index_of(store.identity().identity) == 1


def test_init_in_a_block_of_ports(tmp_path):
    succeeds("init", tmp_path / "dev", "--base-port", "21000", "-n", "5", "-t", "3")
    gateway = load_gateway(tmp_path / "dev" / "sign-gateway.yaml")
    found = [gateway.server.port, gateway.grpc.port]
    for settings in services(tmp_path / "dev"):
        found += [settings.server.port, settings.metrics.port]
        assert settings.gateway.url == "http://127.0.0.1:21000"
        assert (settings.mpc.threshold, settings.mpc.total_participants) == (3, 5)
    assert sorted(found) == sorted({21000, 21001, *range(21010, 21060, 10), *range(21011, 21061, 10)})


def test_init_with_single_ports(tmp_path):
    succeeds(
        "init", tmp_path / "dev", "--base-port", "21000", "--gateway-port", "18080", "--grpc-port", "22000"
    )
    gateway = load_gateway(tmp_path / "dev" / "sign-gateway.yaml")
    assert (gateway.server.port, gateway.grpc.port) == (18080, 21001)
    assert [settings.server.port for settings in services(tmp_path / "dev")] == [22000, 22010, 22020]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--gateway-port", "50051"], "used twice"),
        (["--grpc-port", "65530"], "not one of 1 to 65535"),
        (["-t", "4"], "2 <= t <= n"),
        (["--host", WILDCARD], "--tls"),
        (["--host", WILDCARD, "--tls"], "--gateway-name"),
    ],
)
def test_init_refuses_what_cannot_be_meant(tmp_path, arguments, said):
    ran = fails(2, "init", tmp_path / "dev", *arguments)
    assert said in ran.err
    assert list(tmp_path.iterdir()) == []


def test_init_overwrites_nothing(tmp_path):
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "mine").write_text("mine")
    ran = fails(3, "init", tmp_path / "dev", "--json")
    assert ran.error["reason"] == "EXISTS"
    assert [path.name for path in (tmp_path / "dev").iterdir()] == ["mine"]
    assert [path.name for path in tmp_path.iterdir()] == ["dev"], "nothing half-made is left behind"


def test_init_leaves_nothing_behind_when_it_fails(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Store, "put_identity", full)
    ran = fails(3, "init", tmp_path / "dev")
    assert "No space left" in ran.err
    assert list(tmp_path.iterdir()) == []


def test_init_leaves_out_sockets_whose_path_would_be_too_long(tmp_path):
    directory = tmp_path / ("x" * 100) / "dev"
    ran = succeeds("init", directory)
    assert "operator socket" in ran.err
    assert all(not settings.operator.local for settings in services(directory))


def test_init_can_be_moved_as_a_whole(tmp_path):
    succeeds("init", tmp_path / "dev")
    (tmp_path / "dev").rename(tmp_path / "moved")
    for settings in services(tmp_path / "moved"):
        assert settings.store.path.exists()
        assert settings.mpc.committee.exists()


def test_init_with_tls_gives_certificates_that_verify_and_a_token(tmp_path):
    directory = tmp_path / "dev"
    names = ["--gateway-name", "gateway", "--node-name", "node-{index}"]
    ran = succeeds("init", directory, "--tls", "--host", WILDCARD, *names)
    client = MpcConfig.load(directory / "client.yaml")
    assert client.targets == ("https://node-0:50051", "https://node-1:50061", "https://node-2:50071")
    credentials = client.service.credentials()
    for index, settings in enumerate(services(directory)):
        assert settings.gateway.url == "https://gateway:8080"
        assert settings.metrics.host == "127.0.0.1"
        assert server_context(settings.tls) is not None
        assert Tokens.load(settings.callers.token_file).find(credentials.token).name == "client"
        assert handshake(settings.tls, settings.gateway.ca, f"node-{index}")
    gateway = load_gateway(directory / "sign-gateway.yaml")
    assert gateway.sign_service.url == "https://node-0:50051"
    assert handshake(gateway.tls, services(directory)[0].gateway.ca, "gateway")
    with pytest.raises(ssl.SSLError):
        handshake(gateway.tls, services(directory)[0].gateway.ca, "node-0")
    assert credentials.token not in ran.out + ran.err
    assert stat.S_IMODE((directory / "client.token").stat().st_mode) == 0o600


def handshake(tls: TlsSettings, ca, name: str) -> bool:
    """A TLS handshake in memory between a server with these files and a client that trusts `ca`."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context(tls).wrap_bio(to_server, to_client, server_side=True)
    client = client_context(ca).wrap_bio(to_client, to_server, server_hostname=name)
    done = set()
    for _ in range(10):
        for side in (client, server):
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                pass
    return len(done) == 2


def test_init_keeps_no_key_that_could_issue_certificates(tmp_path):
    directory = tmp_path / "dev"
    succeeds("init", directory, "--tls")
    ca = x509.load_pem_x509_certificate((directory / "tls" / "ca.pem").read_bytes())
    for path in directory.rglob("*.key"):
        if path.parent.name == "tls":
            key = ssl_key(path)
            assert key.public_numbers() != ca.public_key().public_numbers()
    pairs = [path.with_suffix(".pem").read_bytes() for path in directory.rglob("tls/*.key")]
    assert len(pairs) == len(set(pairs)) == 4


def ssl_key(path):
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    return load_pem_private_key(path.read_bytes(), None).public_key()


def test_init_prints_no_secret(tmp_path):
    directory = tmp_path / "dev"
    ran = succeeds("init", directory, "--tls", "--json")
    secrets = []
    for index in range(3):
        node = directory / f"node-{index}"
        secrets.append(bytes.fromhex((node / "seal.key").read_text()))
        with NodeFiles.of(node).open() as store:
            secrets += store.identity()._seeds
    texts = [path.read_text() for path in directory.rglob("*.yaml")]
    assert_absent(secrets, ran.out, ran.err, *texts)
    assert (directory / "client.token").read_text().strip() not in ran.out + ran.err + "".join(texts)


# the commands themselves


@pytest.mark.parametrize(
    "command",
    [
        [], ["quickstart"], ["identity"], ["committee"], ["init"], ["create"], ["aux"], ["refresh"], ["primes"], ["export"], ["import"],
        ["inspect"], ["deal"], ["status"], ["quarantine"], ["quarantine", "list"], ["quarantine", "clear"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_help_of_every_command(command):
    ran = succeeds(*command, "--help")
    assert ran.out.startswith("Usage: mpc-keygen")
    assert "Exit codes:" in ran.out
    for line in ran.out.splitlines():
        assert "\b" not in line


def test_an_unknown_command_is_a_usage_error():
    ran = fails(2, "crate")
    assert "create" in ran.err, "the nearest command is named"


def test_settings_files_hold_no_secret_but_name_the_files_that_do(tmp_path):
    succeeds("init", tmp_path / "dev", "--tls")
    for path in (tmp_path / "dev").rglob("*.yaml"):
        assert isinstance(yaml.safe_load(path.read_text()), dict)
        assert "wmpc_" not in path.read_text()
