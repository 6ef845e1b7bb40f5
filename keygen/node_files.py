"""A node's directory: where its commands find store, sealing key and card.

    DIR/store.db     sealed store, identity keys inside
    DIR/seal.key     what opens it (mode 0600), unless a password does, or seal.yaml is there and names something else
    DIR/identity     the public card

`init` puts more beside them: sign-service.yaml, committee.yaml, tls/, and with TLS the callers' `tokens`. Nobody but the owner may look into a directory that was made here.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from participant.files import sync_directory
from participant.identity import Card, NodeKeys
from participant.seal_file import SEAL_FILE, SEAL_KEY, outer_key
from participant.sealing import KeyFileWrapper, KeyWrapper
from participant.store import Store, StoreMissing

STORE: Final = "store.db"
CARD: Final = "identity"
COMMITTEE: Final = "committee.yaml"
SETTINGS: Final = "sign-service.yaml"
OPERATOR_SOCKET: Final = "operator.sock"
TOKENS: Final = "tokens"
TLS: Final = "tls"

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class NodeFiles:
    """Paths of one node."""

    store: Path
    seal_key: Path
    """Made with a new store where nothing else is named."""
    card: Path
    password_file: Path | None = None
    seal_file: Path | None = None
    """What opens the store, unless `password_file` does or it is the key."""

    @classmethod
    def of(
        cls,
        directory: Path,
        *,
        store: Path | None = None,
        seal_key: Path | None = None,
        password_file: Path | None = None,
        seal_file: Path | None = None,
    ) -> NodeFiles:
        """The usual names in `directory`, except for what is named."""
        beside = directory / SEAL_FILE
        if seal_file is None and password_file is None and seal_key is None and beside.exists():
            seal_file = beside
        key = seal_key or directory / SEAL_KEY
        return cls(store or directory / STORE, key, directory / CARD, password_file, seal_file)

    def outer_key(self) -> KeyWrapper:
        """What opens the store. Raises SettingsError, SecretFileError, SealError."""
        named = self.seal_file or self.password_file
        return outer_key(
            self.store,
            seal_file=self.seal_file,
            password_file=self.password_file,
            key_file=None if named else self.seal_key,
        )

    def open(self) -> Store:
        """The store, under its lock. Raises StoreError, SealError, SecretFileError."""
        if not self.store.exists():
            # Before the key is asked for: a wrong directory is the likelier mistake.
            raise StoreMissing(
                f"there is no store at {self.store}: name a node's directory, or make one with mpc-keygen identity DIR"
            )
        return Store.open(self.store, self.outer_key())

    def make(self, keys: NodeKeys | None = None) -> Card:
        """Make whatever of store, sealing key, identity and card is missing; the card.

        `keys` None: fresh ones. What is there already stays, so that an interrupted call can be repeated.
        """
        directory = self.store.parent
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.store.exists():
            store = self.open()
        else:
            if self.password_file is None and self.seal_file is None and not self.seal_key.exists():
                KeyFileWrapper.create_file(self.seal_key)
            store = Store.create(self.store, self.outer_key())
        with store:
            if not store.has_identity():
                store.put_identity(keys or NodeKeys.generate())
            card = store.identity().card()
        self._write_card(card)
        return card

    def _write_card(self, card: Card) -> None:
        partial = self.card.with_name(self.card.name + ".partial")
        with partial.open("w", encoding="utf-8") as file:
            file.write(card.to_json() + "\n")
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.card)
        sync_directory(self.card.parent)


def password_option(command: F) -> F:
    """Adds --store-password-file."""
    return click.option(
        "--store-password-file",
        type=click.Path(path_type=Path, dir_okay=False),
        help="File (mode 0600) with the password that seals the store, instead of DIR/seal.key.",
    )(command)


def node_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the argument DIR and the options that name its files one by one; the command gets `files`, NodeFiles."""

    @functools.wraps(command)
    def with_files(
        *arguments: Any,
        directory: Path,
        store: Path | None,
        seal_key: Path | None,
        seal_file: Path | None,
        store_password_file: Path | None,
        **options: Any,
    ) -> Any:
        if sum(named is not None for named in (seal_key, seal_file, store_password_file)) > 1:
            raise click.UsageError("--seal-key, --seal-file and --store-password-file exclude each other")
        files = NodeFiles.of(
            directory, store=store, seal_key=seal_key, password_file=store_password_file, seal_file=seal_file
        )
        return command(*arguments, files=files, **options)

    decorated = password_option(with_files)
    decorated = click.option(
        "--seal-file",
        type=click.Path(path_type=Path, dir_okay=False),
        help="YAML file that says what opens the store; DIR/seal.yaml where there is one.",
    )(decorated)
    decorated = click.option(
        "--seal-key",
        type=click.Path(path_type=Path, dir_okay=False),
        help="File with the sealing key; DIR/seal.key by default.",
    )(decorated)
    decorated = click.option(
        "--store",
        type=click.Path(path_type=Path, dir_okay=False),
        help="The store; DIR/store.db by default.",
    )(decorated)
    return click.argument(
        "directory", metavar="DIR", type=click.Path(path_type=Path, file_okay=False), default="."
    )(decorated)
