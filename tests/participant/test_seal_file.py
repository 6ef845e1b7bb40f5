"""seal.yaml: what opens a store."""

import threading

import pytest
from node_testing import node_keys
from seal_testing import AWS, MODULE, PIN, kms_client, kms_server, tokens_here

from kit.settings import SettingsError
from participant.agent import Agent
from participant.files import SecretFileError, SecretFileExposed, create_private
from participant.seal_file import SEAL_FILE, outer_key, read_seal_file
from participant.seal_pkcs11 import Pkcs11Wrapper
from participant.sealing import KeyFileWrapper, PasswordWrapper
from participant.store import Store


def write(path, text, mode=0o600):
    path.write_text(text)
    path.chmod(mode)
    return path


def opens(directory, store):
    with Store.open(store, outer_key(store)) as opened:
        assert opened.identity().identity == node_keys()[0].identity
    return (directory / SEAL_FILE).unlink()


def test_every_way_opens_a_store_that_it_was_added_to(tmp_path, monkeypatch):
    """Without arguments what opens is seal.key, with seal.yaml beside the store what that names, relative to itself."""
    for name, value in AWS.items():
        monkeypatch.setenv(name, value)
    path, seal = tmp_path / "store.db", tmp_path / SEAL_FILE
    KeyFileWrapper.create_file(tmp_path / "seal.key")
    KeyFileWrapper.create_file(tmp_path / "other.key")
    create_private(tmp_path / "password", b"of a file\n")
    create_private(tmp_path / "pin", PIN + b"\n")
    agent = Agent(tmp_path / "agent.sock", b"of an agent\n")
    threading.Thread(target=agent.serve, daemon=True).start()
    with tokens_here(tmp_path / "hsm", "wallet"), kms_server() as url:
        key = kms_client(url).create_key()["KeyMetadata"]["KeyId"]
        ways = [
            "key_file: other.key",
            "password_agent: agent.sock",
            f"pkcs11: {{module: {MODULE}, token: wallet, pin_file: pin}}",
            f"kms: {{key: {key}, region: eu-central-1, endpoint: '{url}', context: {{node: n0}}}}",
        ]
        with Store.create(path, outer_key(path)) as store:
            store.put_identity(node_keys()[0])
            for way in ways:
                wrapper = read_seal_file(write(tmp_path / "new.yaml", way)).wrapper()
                if isinstance(wrapper, Pkcs11Wrapper):
                    wrapper.create_key()
                store.seals.add(wrapper)
            notes = [slot.note for slot in store.seals.slots()]
        assert notes == [
            str(tmp_path / "seal.key"), str(tmp_path / "other.key"),
            f"agent {tmp_path / 'agent.sock'}", "token wallet, key wallet-mpc", key,
        ]  # fmt: skip
        for way in ways:
            write(seal, way)
            opens(tmp_path, path)
        create_private(tmp_path / "agent-pin", b"")
        pin_agent = Agent(tmp_path / "pin.sock", PIN)
        threading.Thread(target=pin_agent.serve, daemon=True).start()
        write(seal, f"pkcs11: {{module: {MODULE}, token: wallet, pin_agent: pin.sock}}")
        opens(tmp_path, path)
    Store.open(path, outer_key(path)).close()


def test_what_is_named_wins_over_what_stands_beside_the_store(tmp_path):
    store = tmp_path / "store.db"
    write(tmp_path / SEAL_FILE, "password_file: password")
    create_private(tmp_path / "password", b"x")
    KeyFileWrapper.create_file(tmp_path / "a.key")
    other = write(tmp_path / "other.yaml", "key_file: a.key")
    assert isinstance(outer_key(store), PasswordWrapper)
    assert isinstance(outer_key(store, seal_file=other), KeyFileWrapper)
    assert isinstance(outer_key(store, key_file=tmp_path / "a.key"), KeyFileWrapper)
    assert isinstance(outer_key(store, password_file=tmp_path / "password"), PasswordWrapper)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "exactly one"),
        ("{key_file: a, password_file: b}", "exactly one"),
        ("password: secret", "password"),
        ("{pkcs11: {module: /m.so, token: t}}", "pin_file or from pin_agent"),
        ("{pkcs11: {module: /m.so, token: t, pin_file: a, pin_agent: b}}", "pin_file or from pin_agent"),
        ("{pkcs11: {module: m.so, token: t, pin_file: a}}", "absolute path"),
        ("{pkcs11: {module: /m.so, token: t, pin: 1234}}", "pin"),
        ("{kms: {}}", "key"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(tmp_path, text, complaint):
    with pytest.raises(SettingsError, match=complaint):
        read_seal_file(write(tmp_path / SEAL_FILE, text))


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_change_is_refused(tmp_path, mode):
    with pytest.raises(SecretFileExposed, match="changed by others"):
        read_seal_file(write(tmp_path / SEAL_FILE, "key_file: a", mode))


def test_missing_and_empty_secrets_are_said(tmp_path):
    with pytest.raises(SecretFileError, match="cannot read"):
        read_seal_file(tmp_path / SEAL_FILE)
    create_private(tmp_path / "pin", b"\n")
    seal = write(tmp_path / SEAL_FILE, f"pkcs11: {{module: {MODULE}, token: wallet, pin_file: pin}}")
    with pytest.raises(SecretFileError, match="empty"):
        read_seal_file(seal).wrapper()
