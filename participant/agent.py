"""Passphrases and PINs that stand in no file: an agent on this machine gives them to whoever may have them, at start.

An agent is a unix socket of mode 0600: a process of the same user (or root) connects, gets the secret and the end of the
stream. `mpc-keygen agent` is one; `systemd-ask-password | socat - UNIX-LISTEN:PATH,mode=600` is another.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

from participant.files import MAX_SECRET_FILE, SecretFileError, SecretFileExposed

SECONDS: Final = 300.0
"""A person may have to type it first."""

_BACKLOG: Final = 8
_CREDENTIALS: Final = struct.Struct("3i")


def ask_agent(path: Path) -> bytes:
    """The secret of the agent at `path`, without the newline at its end.

    Raises SecretFileError when nobody listens there or it gives nothing, SecretFileExposed when others than this user and
    root could be the agent, or could ask it.
    """
    try:
        status = path.lstat()
    except OSError as error:
        raise SecretFileError(f"there is no passphrase agent at {path}: {error.strerror}") from None
    if not stat.S_ISSOCK(status.st_mode):
        raise SecretFileError(f"{path} is no socket: a passphrase agent is expected there")
    if status.st_uid not in (os.geteuid(), 0) or stat.S_IMODE(status.st_mode) & 0o077:
        raise SecretFileExposed(
            f"{path} does not belong to this user alone (mode {stat.S_IMODE(status.st_mode):04o}): make the agent's "
            "socket with mode 0600"
        )
    try:
        secret = _exchange(path)
    except OSError as error:
        what = error.strerror or str(error)
        raise SecretFileError(f"the passphrase agent at {path} does not answer: {what}") from None
    secret = secret.removesuffix(b"\n").removesuffix(b"\r")
    if not secret:
        raise SecretFileError(f"the passphrase agent at {path} gave nothing")
    return secret


def _exchange(path: Path) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(SECONDS)
        connection.connect(str(path))
        if not _trusted(connection):
            raise SecretFileExposed(f"the passphrase agent at {path} is another user's process")
        found = b""
        while len(found) <= MAX_SECRET_FILE:
            part = connection.recv(MAX_SECRET_FILE)
            if not part:
                return found
            found += part
    raise SecretFileError(f"the passphrase agent at {path} gave more than {MAX_SECRET_FILE} bytes")


class Agent:
    """An agent for one secret."""

    def __init__(self, path: Path, secret: bytes) -> None:
        """Listen at `path`, which must not be in use. Raises SecretFileError."""
        self._secret = secret
        self.path = path
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        former = os.umask(0o177)
        try:
            self._bind()
            self._listener.listen(_BACKLOG)
        except OSError as error:
            self._listener.close()
            raise SecretFileError(f"cannot listen at {path}: {error.strerror or error}") from None
        finally:
            os.umask(former)

    def _bind(self) -> None:
        try:
            self._listener.bind(str(self.path))
        except OSError:
            # A socket that nobody listens at is what an agent left that was killed.
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                if not self.path.is_socket() or probe.connect_ex(str(self.path)) == 0:
                    raise
            self.path.unlink()
            self._listener.bind(str(self.path))

    def serve(self, *, once: bool = False, said: Callable[[str], None] = lambda _: None) -> None:
        """Give the secret to whoever of this user asks, for ever or to the first one."""
        while True:
            connection, _ = self._listener.accept()
            with connection:
                if not _trusted(connection):
                    said("refused a process of another user")
                    continue
                # Whoever hung up did not get it.
                with contextlib.suppress(OSError):
                    connection.settimeout(SECONDS)
                    connection.sendall(self._secret)
                    said("gave the secret to a process of this user")
                    if once:
                        return

    def close(self) -> None:
        """Listen no more. Idempotent."""
        self._listener.close()
        self.path.unlink(missing_ok=True)

    def __repr__(self) -> str:
        return f"Agent({self.path})"


def _trusted(connection: socket.socket) -> bool:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return _CREDENTIALS.unpack(credentials)[1] in (os.geteuid(), 0)
