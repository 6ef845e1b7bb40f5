"""The passphrase agent, over its real socket."""

import os
import socket
import threading

import pytest

from participant.agent import Agent, ask_agent
from participant.files import MAX_SECRET_FILE, SecretFileError, SecretFileExposed


@pytest.fixture
def path(tmp_path):
    return tmp_path / "agent.sock"


def serve(agent: Agent, times: int) -> threading.Thread:
    def answer() -> None:
        for _ in range(times):
            agent.serve(once=True)

    thread = threading.Thread(target=answer)
    thread.start()
    return thread


def test_the_secret_goes_to_whoever_of_this_user_asks(path):
    agent = Agent(path, b"two words")
    assert path.stat().st_mode & 0o777 == 0o600
    thread = serve(agent, 2)
    assert [ask_agent(path) for _ in range(2)] == [b"two words"] * 2
    thread.join()
    assert "two words" not in repr(agent)
    agent.close()
    agent.close()
    assert not path.exists()


@pytest.mark.parametrize(
    ("given", "taken"), [(b"secret\n", b"secret"), (b"secret\r\n", b"secret"), (b" a\nb \n", b" a\nb ")]
)
def test_one_newline_at_the_end_does_not_count(path, given, taken):
    agent = Agent(path, given)
    thread = serve(agent, 1)
    assert ask_agent(path) == taken
    thread.join()
    agent.close()


@pytest.mark.parametrize("given", [b"", b"\n", b"x" * (MAX_SECRET_FILE + 1)])
def test_nothing_and_too_much_are_no_secret(path, given):
    agent = Agent(path, given)
    thread = serve(agent, 1)
    with pytest.raises(SecretFileError, match=r"gave (nothing|more than)"):
        ask_agent(path)
    thread.join()
    agent.close()


@pytest.mark.parametrize("mode", [0o666, 0o660, 0o604])
def test_a_socket_that_others_may_use_is_refused(path, mode):
    agent = Agent(path, b"secret")
    path.chmod(mode)
    with pytest.raises(SecretFileExposed, match="mode 0600"):
        ask_agent(path)
    agent.close()


def test_a_socket_or_process_of_another_user_is_refused(path, monkeypatch):
    agent = Agent(path, b"secret")
    me = os.geteuid()
    if me == 0:
        os.chown(path, 1234, -1)
    with monkeypatch.context() as patch:
        if me != 0:
            patch.setattr(os, "geteuid", lambda: me + 1)
        with pytest.raises(SecretFileExposed):
            ask_agent(path)
    with monkeypatch.context() as patch:
        # What the kernel says of the other end.
        patch.setattr("participant.agent._trusted", lambda _: False)
        os.chown(path, me, -1)
        with pytest.raises(SecretFileExposed, match="another user"):
            ask_agent(path)
    agent.close()


def test_nobody_there(path, tmp_path):
    with pytest.raises(SecretFileError, match="there is no passphrase agent"):
        ask_agent(path)
    path.write_text("x")
    with pytest.raises(SecretFileError, match="no socket"):
        ask_agent(path)
    with pytest.raises(SecretFileError, match="cannot listen"):
        Agent(path, b"secret")
    left = tmp_path / "left.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(left))
    left.chmod(0o600)
    with pytest.raises(SecretFileError, match="does not answer"):
        ask_agent(left)
    # What a killed agent left is taken over, a living one is not.
    agent = Agent(left, b"secret")
    with pytest.raises(SecretFileError, match="cannot listen"):
        Agent(left, b"other")
    agent.close()
