from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field

from kit.settings import PathBesideFile, Section, SettingsError, load_settings, read_secret, settings_file


class Peer(Section):
    url: str
    index: int = 0


class Mpc(Section):
    threshold: int = Field(default=2, ge=2, le=16)
    key_share_file: Path | None = None
    seal_key: PathBesideFile | None = None
    peers: list[Peer] = Field(default_factory=list)
    names: list[str] = Field(default_factory=list)
    limits: dict[str, int] = Field(default_factory=dict)
    strict: bool = False


class Server(Section):
    host: str = "127.0.0.1"
    port: int = Field(default=1, ge=0, le=65535)


class Root(Section):
    server: Server = Server()
    mpc: Mpc = Mpc()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "daemon.yaml"


def read(file: Path, env: dict[str, str] | None = None, **kwargs: object) -> Root:
    return load_settings(Root, Path("never.yaml"), file, "DAEMON", environ=env or {}, **kwargs)  # type: ignore[arg-type]


def problems(file: Path, env: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        read(file, env)
    return str(caught.value).splitlines()


def test_defaults_file_environment_in_this_order(file: Path) -> None:
    file.write_text("server: {host: a, port: 2}\n")
    assert read(file).server == Server(host="a", port=2)
    assert read(file).mpc == Mpc()
    assert read(file, {"DAEMON__SERVER__PORT": "3", "OTHER__SERVER__PORT": "x"}).server == Server(
        host="a", port=3
    )


def test_the_default_path_may_be_missing_a_named_one_may_not(tmp_path: Path) -> None:
    assert load_settings(Root, tmp_path / "none.yaml", None, "DAEMON", environ={}) == Root()
    assert settings_file(tmp_path / "none.yaml", None) is None
    assert problems(tmp_path / "none.yaml") == [f"{tmp_path}/none.yaml: there is no such settings file"]


@pytest.mark.parametrize("text", ["", "# only a comment\n", "server:\n"])
def test_empty_files_and_sections(file: Path, text: str) -> None:
    file.write_text(text)
    if text.startswith("server"):
        assert "server: expected a valid dictionary" in problems(file)[0]
    else:
        assert read(file) == Root()


def test_structured_values_from_the_environment(file: Path) -> None:
    file.write_text("mpc: {names: [x]}\n")
    env = {
        "DAEMON__MPC__NAMES": "a, b,c",
        "DAEMON__MPC__PEERS": '[{"url": "u", "index": 4}]',
        "DAEMON__MPC__LIMITS__ALICE": "7",
        "DAEMON__MPC__STRICT": "true",
    }
    mpc = read(file, env).mpc
    assert (mpc.names, mpc.peers, mpc.limits, mpc.strict) == (
        ["a", "b", "c"],
        [Peer(url="u", index=4)],
        {"alice": 7},
        True,
    )
    assert read(file, {"DAEMON__MPC__NAMES": '["a,b"]'}).mpc.names == ["a,b"]
    assert problems(file, {"DAEMON__MPC__LIMITS": "a"})[0].startswith(
        "DAEMON__MPC__LIMITS: expected a list or mapping"
    )


def test_every_problem_is_listed_with_its_source(file: Path) -> None:
    file.write_text("server: {prt: 1}\nmpc: {threshold: 1, peers: [{index: 1}]}\n")
    lines = problems(file, {"DAEMON__SERVER__PORT": "abc", "DAEMON__MCP__THRESHOLD": "2"})
    assert sorted(lines) == sorted(
        [
            "DAEMON__MCP__THRESHOLD: unknown key mcp.threshold; did you mean mpc.threshold?",
            "DAEMON__SERVER__PORT: server.port: expected a valid integer, unable to parse string as an integer; found 'abc'",
            f"{file}: unknown key server.prt; did you mean server.port?",
            f"{file}: mpc.threshold: expected greater than or equal to 2; found 1",
            f"{file}: mpc.peers[0].url: is required and has no default",
        ]
    )


def test_a_right_key_in_the_wrong_place_is_found(file: Path) -> None:
    file.write_text("key_share_file: x\n")
    assert problems(file) == [f"{file}: unknown key key_share_file; did you mean mpc.key_share_file?"]


def test_a_key_like_none_lists_what_there_is(file: Path) -> None:
    file.write_text("server: {zzzzzzzz: 1}\n")
    assert problems(file) == [f"{file}: unknown key server.zzzzzzzz; below server there are: host, port"]


def test_values_that_may_be_secret_are_not_shown(file: Path) -> None:
    class Auth(Section):
        password: int = 0

    file.write_text("password: hunter2\n")
    with pytest.raises(SettingsError) as caught:
        load_settings(Auth, Path("never.yaml"), file, "DAEMON", environ={})
    assert "hunter2" not in str(caught.value)
    file.write_text("passwrd: hunter2\n")
    with pytest.raises(SettingsError) as caught:
        load_settings(Auth, Path("never.yaml"), file, "DAEMON", environ={})
    assert "hunter2" not in str(caught.value)
    assert "did you mean password?" in str(caught.value)


def test_aliases_win_over_the_file_and_lose_to_the_prefix(file: Path) -> None:
    file.write_text("mpc: {key_share_file: from-file}\n")
    alias = {"SHARE_FILE": "mpc.key_share_file"}
    assert read(file, {"SHARE_FILE": "from-alias"}, env_aliases=alias).mpc.key_share_file == Path(
        "from-alias"
    )
    env = {"SHARE_FILE": "from-alias", "DAEMON__MPC__KEY_SHARE_FILE": "from-prefix"}
    assert read(file, env, env_aliases=alias).mpc.key_share_file == Path("from-prefix")


def test_paths_beside_the_file(file: Path) -> None:
    file.write_text("mpc: {seal_key: keys/seal.key, key_share_file: shares.json}\n")
    mpc = read(file).mpc
    assert mpc.seal_key == file.parent / "keys" / "seal.key"
    assert mpc.key_share_file == Path("shares.json")
    file.write_text("mpc: {seal_key: /run/seal.key}\n")
    assert read(file).mpc.seal_key == Path("/run/seal.key")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a: 1\na: 2\n", "key 'a' stands twice"),
        (b"- 1\n", "expected keys and values"),
        (b"\xff", "it is not UTF-8 text"),
        (b"a: !!python/object/apply:os.system [x]\n", "not valid YAML"),
        (b"a: [\n", "not valid YAML"),
    ],
)
def test_files_that_are_no_settings(file: Path, content: bytes, expected: str) -> None:
    file.write_bytes(content)
    (line,) = problems(file)
    assert line.startswith(str(file))
    assert expected in line


def test_settings_never_change(file: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        Root().server.port = 5  # type: ignore[misc]


def test_secrets_come_from_files_that_others_cannot_read(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.touch(mode=0o600)
    path.write_bytes(b"hunter2\n")
    assert read_secret(path, "the password") == b"hunter2"
    path.chmod(0o640)
    assert read_secret(path, "the password") == b"hunter2"
    for mode in (0o604, 0o602, 0o601):
        path.chmod(mode)
        with pytest.raises(
            SettingsError, match=r"the password may be read by every user .* chmod 600"
        ) as caught:
            read_secret(path, "the password")
        assert "hunter2" not in str(caught.value)
    path.chmod(0o600)
    path.write_bytes(b"\n")
    with pytest.raises(SettingsError, match="the password is empty"):
        read_secret(path, "the password")
    with pytest.raises(SettingsError, match="cannot read the password: No such file"):
        read_secret(tmp_path / "none", "the password")
