"""How a share file is opened and how a new one is protected: options and what they mean."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from keygen.console import Output
from keygen.errors import Misuse
from participant.age_files import ShareFileLocked, Unlock, read_age_identities
from participant.files import SecretFileError, read_private
from participant.sharefile import ShareEntry, read_share_file, write_share_file

F = TypeVar("F", bound=Callable[..., Any])

FILE: Final = click.Path(path_type=Path, dir_okay=False)

PLAIN_WARNING: Final = "the file is plain text (mode 0600): whoever reads it has these shares"


@dataclass(frozen=True)
class Protection:
    """What a new share file is encrypted to: exactly one of the three."""

    recipients: tuple[str, ...] = ()
    password_file: Path | None = None
    plaintext: bool = False

    def check(self) -> None:
        """Raise Misuse unless exactly one way is chosen."""
        chosen = [bool(self.recipients), self.password_file is not None, self.plaintext]
        if chosen.count(True) != 1:
            raise Misuse(
                "say how the file is protected, in one way: --recipient age1... (as often as needed), --password-file FILE, "
                "or --plaintext"
            )

    def password(self) -> str | None:
        """The password, where one is used. Raises SecretFileError."""
        return None if self.password_file is None else read_password(self.password_file)

    def write(self, path: Path, entries: Iterable[ShareEntry], out: Output) -> None:
        """Write a new share file of mode 0600. Raises ShareFileError, SecretFileError."""
        write_share_file(
            path,
            entries,
            recipients=self.recipients,
            password=self.password(),
            plaintext=self.plaintext,
        )
        if self.plaintext:
            out.warn(f"{path}: {PLAIN_WARNING}")


def protection_options(command: F) -> F:
    """Adds --recipient, --password-file, --plaintext; `protection_of` reads them."""
    command = click.option("--plaintext", is_flag=True, help="Do not encrypt. Think twice.")(command)
    command = click.option(
        "--password-file", type=FILE, help="Encrypt with the password in this file (mode 0600)."
    )(command)
    return click.option(
        "-r", "--recipient", "recipients", multiple=True, metavar="AGE1...",
        help="Encrypt to this age X25519 key, readable with the age tool; may be given several times.",
    )(command)  # fmt: skip


def unlock_options(command: F) -> F:
    """Adds --password-file and --age-identity; `opened` reads them."""
    command = click.option(
        "--age-identity",
        type=FILE,
        help="File (mode 0600) with the age secret keys that open the share file.",
    )(command)
    return click.option(
        "--password-file", type=FILE, help="File (mode 0600) with the password that opens the share file."
    )(command)


def read_password(path: Path) -> str:
    """A password from a file of mode 0600, without the newline at its end. Raises SecretFileError."""
    try:
        password = read_private(path).decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise SecretFileError(f"{path} holds no password: it is not UTF-8 text") from None
    if not password:
        raise SecretFileError(f"{path} is empty where a password is expected")
    return password


def opened(
    path: Path, password_file: Path | None, age_identity: Path | None, out: Output
) -> dict[str, ShareEntry]:
    """The entries of a share file, each checked whole; the password is asked for where nothing opens the file.

    Raises ShareFileError, SecretFileError.
    """
    unlock = Unlock(
        () if age_identity is None else tuple(read_age_identities(age_identity)),
        None if password_file is None else read_password(password_file),
    )
    try:
        return read_share_file(path, unlock, out.suites)
    except ShareFileLocked:
        if password_file is not None or age_identity is not None or not sys.stdin.isatty():
            raise
    password = click.prompt(f"Password of {path}", hide_input=True, err=True)
    return read_share_file(path, Unlock(password=str(password)), out.suites)
