from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from client.local import environment
from client.settings import DEFAULT_SERVICE, MpcConfig
from kit.settings import SettingsError

FILE = Path(__file__).parents[2] / "config" / "client.yaml"


def keys(model: object, prefix: str = "") -> set[str]:
    found = set()
    for name, info in type(model).model_fields.items():
        value = getattr(model, name)
        found |= keys(value, f"{prefix}{name}.") if hasattr(value, "model_fields_set") else {prefix + name}
        del info
    return found


def flat(tree: dict[str, object], prefix: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in tree.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return found


def defaults() -> dict[str, object]:
    return flat(MpcConfig().model_dump(mode="json"))


def test_the_documented_file_names_every_key_and_marks_what_is_no_default():
    text = FILE.read_text()
    documented = flat(yaml.safe_load(text))
    assert set(documented) == keys(MpcConfig())
    marked = {
        name
        for name in documented
        if re.search(rf"^ *{name.rsplit('.', 1)[-1]}:.*Default: null", text, re.MULTILINE)
    }
    different = {name for name, value in documented.items() if value != defaults()[name]}
    assert different == marked


def test_the_documented_file_is_the_quick_starts_client():
    config = MpcConfig.load(FILE)
    assert config.holds_share
    assert config.local_participant.settings == FILE.parent / "../client_node/sign-service.yaml"
    assert (config.local_participant.port, config.local_participant.index) == (50052, 1)


def test_without_anything_a_client_calls_the_service_of_this_machine():
    config = MpcConfig()
    assert not config.holds_share
    assert config.targets == (DEFAULT_SERVICE,)


def test_keys_of_wallet_mpc_are_taken(tmp_path: Path):
    file = tmp_path / "client.yaml"
    (tmp_path / "participant.yaml").write_text("{}")
    file.write_text(
        """
gateway: {url: "http://10.0.0.1:8080/"}
local_participant: {host: 127.0.0.1, port: 50099, index: 1, key_share_file: shares.json, settings: participant.yaml}
remote_services: {sign_gateway: {participant_host: 10.0.0.1, participant_port: 50050}}
ethereum: {provider_url: "https://node.example/v3/key", chain_id: 11155111}
mpc: {threshold: 2, total_participants: 3}
logging: {level: info, format: pretty}
"""
    )
    config = MpcConfig.load(file)
    assert config.gateway.url == "http://10.0.0.1:8080"
    assert config.remote_services.sign_gateway is not None
    assert config.remote_services.sign_gateway.target == "http://10.0.0.1:50050"
    assert config.ethereum.chain_id == 11155111
    child = environment(config, {"MPC_CLIENT__X": "1", "HOME": "/h"})
    assert child["HOME"] == "/h"
    assert "MPC_CLIENT__X" not in child
    ours = {name: value for name, value in child.items() if name.startswith("SIGN_SERVICE__")}
    assert ours == {
        "SIGN_SERVICE__SERVER__HOST": "127.0.0.1",
        "SIGN_SERVICE__SERVER__PORT": "50099",
        "SIGN_SERVICE__SERVER__INDEX": "1",
        "SIGN_SERVICE__MPC__KEY_SHARE_FILE": str(tmp_path / "shares.json"),
        "SIGN_SERVICE__MPC__THRESHOLD": "2",
        "SIGN_SERVICE__MPC__TOTAL_PARTICIPANTS": "3",
        "SIGN_SERVICE__GATEWAY__URL": "http://10.0.0.1:8080",
        "SIGN_SERVICE__LOGGING__LEVEL": "info",
        "SIGN_SERVICE__LOGGING__FORMAT": "pretty",
    }


def test_what_a_file_leaves_open_does_not_overrule_the_participants_own_settings(tmp_path: Path):
    file = tmp_path / "client.yaml"
    file.write_text("local_participant: {settings: participant.yaml}\n")
    ours = {name for name in environment(MpcConfig.load(file), {}) if name.startswith("SIGN_SERVICE__")}
    assert ours == {
        "SIGN_SERVICE__SERVER__HOST",
        "SIGN_SERVICE__SERVER__PORT",
        "SIGN_SERVICE__LOGGING__LEVEL",
        "SIGN_SERVICE__LOGGING__FORMAT",
    }


def test_the_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "client.yaml"
    file.write_text('service: {targets: ["http://127.0.0.1:1"], timeout_seconds: 9}\n')
    monkeypatch.setenv("MPC_CLIENT__SERVICE__TARGETS", "https://a.example:1, https://b.example:2")
    monkeypatch.setenv("MPC_CLIENT__LOGGING__LEVEL", "debug")
    config = MpcConfig.load(file)
    assert config.service.targets == ["https://a.example:1", "https://b.example:2"]
    assert (config.service.timeout_seconds, config.logging.level) == (9, "debug")


def test_a_path_is_beside_the_file_and_a_share_file_may_be_where_we_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "config").mkdir()
    file = tmp_path / "config" / "client.yaml"
    file.write_text("local_participant: {settings: p.yaml, key_share_file: client_key_shares.json}\n")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "client_key_shares.json").write_text("{}")
    assert MpcConfig.load(file).local_participant.key_share_file == Path("client_key_shares.json")
    (file.parent / "client_key_shares.json").write_text("{}")
    found = MpcConfig.load(file).local_participant
    assert found.key_share_file == file.parent / "client_key_shares.json"
    assert found.settings == file.parent / "p.yaml"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("service: {target: x}", "unknown key service.target; did you mean service.targets?"),
        ("service: {targets: [node]}", "expected http://host:port"),
        ("service: {timeout_seconds: 0}", "greater than 0"),
        ('service: {targets: ["http://10.0.0.1:5"], token_file: t}', "in plain text"),
        ('service: {targets: ["http://127.0.0.1:5"], ca: ca.pem}', "write https://"),
        ("service: {ca: ca.pem}", "write https://"),
        ("service: {certificate: c.pem}", "belong together"),
        ("local_participant: {key_share_file: s.json}", "mpc-keygen init --client"),
        (
            '{service: {targets: ["http://127.0.0.1:5"]}, local_participant: {settings: s.yaml}}',
            "exclude each",
        ),
        (
            "remote_services: {sign_gateway: {participant_host: h}}",
            "asks a second participant beside our own",
        ),
        ("mpc: {threshold: 3, total_participants: 2}", "larger than total_participants"),
        ("gateway: {url: nonsense}", "expected a URL"),
        ("logging: {level: loud}", "expected 'trace', 'debug'"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_key(tmp_path: Path, text: str, says: str):
    file = tmp_path / "client.yaml"
    file.write_text(text + "\n")
    with pytest.raises(SettingsError) as caught:
        MpcConfig.load(file)
    assert str(file) in str(caught.value)
    assert says in str(caught.value)
