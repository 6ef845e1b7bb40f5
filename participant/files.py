"""Files that only their owner may read or write: keys, passwords, stores, share files."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import Final

from participant.errors import NodeError

PRIVATE_MODE: Final = 0o600
MAX_SECRET_FILE: Final = 4096


class SecretFileError(NodeError):
    """A key or password file that is missing, empty, malformed, too long or already there."""


class SecretFileExposed(SecretFileError):
    """A file with a secret that others than its owner may read or write."""


def check_private(path: Path, descriptor: int) -> None:
    """Raise SecretFileExposed unless the open file is a regular one that belongs to its owner alone."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise SecretFileError(f"{path} is not a regular file")
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        raise SecretFileExposed(
            f"{path} has mode {mode:04o}: others may read or write it. Set it right with: chmod 600 {path}"
        )


def read_private(path: Path, maximum: int = MAX_SECRET_FILE) -> bytes:
    """The content of a file of mode 0600 (or 0400), at most `maximum` bytes.

    Raises SecretFileError when it is missing, unreadable or longer, SecretFileExposed for a wider mode.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise SecretFileError(f"cannot read {path}: {error.strerror}") from None
    try:
        check_private(path, descriptor)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(maximum + 1)
    except OSError as error:
        raise SecretFileError(f"cannot read {path}: {error.strerror}") from None
    finally:
        os.close(descriptor)
    if len(data) > maximum:
        raise SecretFileError(f"{path} is longer than {maximum} bytes")
    return data


def create_private(path: Path, data: bytes) -> None:
    """Write a new file of mode 0600, durable on return. Raises SecretFileError when it exists or cannot be written.

    A file that could be written only in part is removed again.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags, PRIVATE_MODE)
    except FileExistsError:
        raise SecretFileError(f"{path} exists already and is not overwritten; move it away first") from None
    except OSError as error:
        raise SecretFileError(f"cannot create {path}: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            # The umask may have taken bits away; nothing may have added any.
            os.fchmod(descriptor, PRIVATE_MODE)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        sync_directory(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            path.unlink()
        raise SecretFileError(f"cannot write {path}: {error.strerror}") from None


def sync_directory(path: Path) -> None:
    """Make the creation, renaming or removal of a file in `path` durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
