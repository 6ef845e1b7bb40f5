"""Settings of the daemon: every key is honoured, the file in config/ says the defaults, wrong ones are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from kit.settings import SettingsError, load_settings
from participant.node.config import NodeConfig
from sign_service.opening import node_config_of
from sign_service.settings import DEFAULT_PATH, ENV_ALIASES, ENV_PREFIX, ServiceSettings

FILE = Path(__file__).parents[2] / "config" / "sign-service.yaml"


def load(path: Path | None, **environ: str) -> ServiceSettings:
    return load_settings(
        ServiceSettings,
        Path("/nonexistent"),
        path,
        ENV_PREFIX,
        env_aliases=ENV_ALIASES,
        environ=environ,
    )


def loaded(tmp_path: Path, tree: Any) -> ServiceSettings:
    path = tmp_path / "sign-service.yaml"
    path.write_text(yaml.safe_dump(tree))
    return load(path)


def keys(model: type[BaseModel], prefix: str = "") -> set[str]:
    """All keys of the settings below `prefix`; what stands in lists and mappings is the policy's business."""
    found: set[str] = set()
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found |= keys(kind, f"{prefix}{name}.")
        else:
            found.add(prefix + name)
    return found


def flat(tree: dict[str, Any], known: set[str], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in tree.items():
        key = prefix + name
        if key in known or not isinstance(value, dict):
            found[key] = value
        else:
            found |= flat(value, known, key + ".")
    return found


# What the quick start needs, and its comments say what the default is.
OF_THE_QUICK_START = {
    "server.index": None,
    "store.path": "store.db",
    "mpc.committee": None,
    "mpc.threshold": None,
    "mpc.total_participants": None,
    "mpc.key_share_file": None,
    "policy.note": "",
    "policy.rules": [],
    "policy.ceremonies": [],
}


def test_the_documented_file_names_every_key_with_its_default() -> None:
    known = keys(ServiceSettings)
    documented = flat(yaml.safe_load(FILE.read_text()), known)
    assert set(documented) == known
    defaults = flat(ServiceSettings().model_dump(mode="json"), known)
    for key, value in documented.items():
        if key in OF_THE_QUICK_START:
            assert defaults[key] == OF_THE_QUICK_START[key], key
        else:
            assert value == defaults[key], key


def test_every_key_has_a_word_for_it() -> None:
    def undescribed(model: type[BaseModel], prefix: str = "") -> list[str]:
        found = []
        for name, field in model.model_fields.items():
            kind = field.annotation
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                found += undescribed(kind, f"{prefix}{name}.")
            elif not field.description and prefix != "policy.":
                found.append(prefix + name)
        return found

    assert undescribed(ServiceSettings) == []


def test_the_seeds_file_is_taken_as_it_is(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config").mkdir()
    Path("service_key_shares.json").touch()
    text = """
gateway:
  url: "http://127.0.0.1:8080"
server:
  host: "127.0.0.1"
  port: 50051
  index: 0  # Participant index (0, 1, or 2)
mpc:
  threshold: 2
  total_participants: 3
  key_share_file: "service_key_shares.json"
"""
    path = Path("config/sign-service.yaml")
    path.write_text(text)
    settings = load(path)
    assert (settings.server.port, settings.server.index) == (50051, 0)
    assert (settings.mpc.threshold, settings.mpc.total_participants) == (2, 3)
    # Its users have the share file in the working directory.
    assert settings.mpc.key_share_file == Path("service_key_shares.json")
    Path("config/service_key_shares.json").touch()
    assert load(path).mpc.key_share_file == Path("config/service_key_shares.json")


def test_paths_are_relative_to_the_file(tmp_path) -> None:
    settings = loaded(
        tmp_path,
        {
            "store": {"password_file": "secret/password"},
            "mpc": {"committee": "../committee.yaml"},
            "callers": {"token_file": "/etc/tokens"},
        },
    )
    assert settings.store.path == tmp_path / "store.db"
    assert settings.store.password_file == tmp_path / "secret/password"
    assert settings.store.opened_by == tmp_path / "secret" / "password"
    assert settings.mpc.committee == tmp_path / "../committee.yaml"
    assert settings.callers.token_file == Path("/etc/tokens")
    assert settings.operator_socket == tmp_path / "operator.sock"
    assert loaded(tmp_path, {}).store.path == tmp_path / "store.db"
    assert loaded(tmp_path, {"operator": {"local": False}}).operator_socket is None
    assert loaded(tmp_path, {"operator": {"socket": "../s"}}).operator_socket == tmp_path.parent / "s"


def test_the_environment_wins_over_the_file(tmp_path) -> None:
    path = tmp_path / "sign-service.yaml"
    path.write_text(yaml.safe_dump({"server": {"port": 1}, "mpc": {"key_share_file": "/file.json"}}))
    settings = load(
        path,
        SIGN_SERVICE__SERVER__PORT="7",
        SIGN_SERVICE__SERVER__INDEX="2",
        SIGN_SERVICE__GATEWAY__URL="https://gateway.example/",
        SIGN_SERVICE__CALLERS__CERTIFICATES='{"app.example": ["main"], "ops": null}',
        SIGN_SERVICE__TLS__CERTIFICATE="/c",
        SIGN_SERVICE__TLS__KEY="/k",
        SIGN_SERVICE__TLS__CLIENT_CA="/a",
        SIGN_SERVICE__NODE__DEADLINES='{"presign.r2": 1.5}',
        SIGN_SERVICE_KEY_SHARE_FILE="/alias.json",
    )
    assert (settings.server.port, settings.server.index) == (7, 2)
    assert settings.gateway.url == "https://gateway.example"
    assert settings.callers.certificates == {"app.example": ["main"], "ops": None}
    assert settings.node.deadlines == {"presign.r2": 1.5}
    assert settings.mpc.key_share_file == Path("/alias.json")


@pytest.mark.parametrize(
    ("tree", "says"),
    [
        ({"server": {"prot": 1}}, "server.prot; did you mean server.port"),
        ({"mpc": {"key_share": "x"}}, "did you mean mpc.key_share_file"),
        ({"server": {"index": 16}}, "server.index"),
        ({"server": {"index": -1}}, "server.index"),
        ({"server": {"port": "x"}}, "server.port"),
        ({"gateway": {"url": "127.0.0.1:8080"}}, "gateway.url: expected a URL such as http://127.0.0.1:8080"),
        ({"gateway": {"url": "http://h:0"}}, "gateway.url: expected a URL"),
        ({"gateway": {"ca": "x"}}, "url is not https://"),
        ({"gateway": {"url": "https://g", "key": "x"}}, "certificate and key belong together"),
        ({"mpc": {"threshold": 1}}, "mpc.threshold"),
        ({"mpc": {"threshold": 3, "total_participants": 2}}, "threshold is larger than total_participants"),
        ({"mpc": {"total_participants": 17}}, "mpc.total_participants"),
        ({"mpc": {"key_share_password_file": "x"}}, "no key_share_file"),
        ({"store": {"key_file": "x", "password_file": "y"}}, "exclude each other"),
        ({"callers": {"rate": "often"}}, "callers.rate: rate limit 'often' is not of the form"),
        ({"callers": {"certificates": {"app": None}}}, "tls.client_ca"),
        ({"operator": {"certificates": ["ops"]}}, "tls.client_ca"),
        ({"operator": {"port": 1}}, "names no operator"),
        (
            {"tls": {"certificate": "c", "key": "k", "client_ca": "a"}},
            "neither callers.certificates nor operator.certificates",
        ),
        ({"tls": {"certificate": "c"}}, "certificate and key belong together"),
        ({"operator": {"socket": "x" * 120}}, "longer than the 107 bytes"),
        ({"policy": {"rules": [{"accounts": []}]}}, "policy.rules[0].accounts"),
        ({"policy": {"rules": [{"accounts": ["a"]}, {"accounts": ["a"]}]}}, "stands in two rules"),
        ({"logging": {"level": "loud"}}, "logging.level"),
        ({"node": {"phase_seconds": 0}}, "node.phase_seconds"),
        ({"stock": {"target": -1}}, "stock.target"),
    ],
)
def test_a_wrong_key_is_named_with_its_file_and_what_was_expected(tmp_path, tree, says) -> None:
    with pytest.raises(SettingsError) as caught:
        loaded(tmp_path, tree)
    assert says in str(caught.value)
    assert str(tmp_path / "sign-service.yaml") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_problems_are_said_at_once(tmp_path) -> None:
    with pytest.raises(SettingsError) as caught:
        loaded(tmp_path, {"server": {"prot": 1}, "stock": {"cap": "many"}})
    assert len(str(caught.value).splitlines()) == 2


def test_secrets_come_by_file_only() -> None:
    for key in keys(ServiceSettings):
        name = key.rpartition(".")[2]
        secret = any(word in name for word in ("password", "token", "identity", "secret"))
        assert not secret or name.endswith("_file"), key


def test_every_setting_reaches_the_node(tmp_path) -> None:
    settings = loaded(
        tmp_path,
        {
            "gateway": {"url": "http://g"},
            "stock": {
                "target": 1, "batch": 2, "sets": 3, "cap": 4, "recent_seconds": 5, "lifetime_seconds": 6, "idle_seconds": 7, "pool": 27,
            },
            "primes": {"target": 8, "processes": 9},
            "node": {
                "workers": 10, "max_sessions": 11, "max_signing": 12, "sign_seconds": 13, "gather_seconds": 14,
                "hello_seconds": 15, "away_seconds": 16, "proposal_seconds": 17, "clock_skew_seconds": 18,
                "phase_seconds": 19, "identification_seconds": 26, "deadlines": {"aux.r1": 20}, "ask_gather_seconds": 21, "ask_turn_seconds": 22,
                "ask_total_seconds": 23,
            },
        },
    )  # fmt: skip
    node = node_config_of(settings, None, "9")
    stock, ask = node.stock, node.ask
    assert (node.gateway_url, node.version) == ("http://g", "9")
    assert (stock.target, stock.batch, stock.sets, stock.cap) == (1, 2, 3, 4)
    assert (stock.recent, stock.lifetime, stock.idle, stock.pool) == (5, 6, 7, 27)
    assert (node.primes_target, node.prime_processes, node.workers) == (8, 9, 10)
    assert (node.max_sessions, node.max_signing, node.sign_total, node.gather) == (11, 12, 13, 14)
    assert (node.hello_interval, node.away_after) == (15, 16)
    assert (node.proposal_lifetime, node.max_clock_skew) == (17, 18)
    assert (node.deadlines.for_phase("keygen.r2"), node.deadlines.for_phase("aux.r1")) == (19, 20)
    assert node.deadlines.for_phase("presign.r5") == node.deadlines.for_phase("full-sign.r5.show") == 26
    assert node.deadlines.for_phase("sign.r0") == NodeConfig().deadlines.for_phase("sign.r0")
    assert (ask.gather, ask.turn, ask.total) == (21, 22, 23)


def test_the_defaults_are_the_nodes() -> None:
    assert node_config_of(ServiceSettings(), None, "0") == NodeConfig(gateway_url="http://127.0.0.1:8080")


def test_the_default_file_is_the_one_of_the_quick_start() -> None:
    assert Path("config/sign-service.yaml") == DEFAULT_PATH
