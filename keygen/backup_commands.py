"""Backups: make recovery keys, back up, verify, restore."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keygen.console import json_option, moment, output
from keygen.errors import EXIT_CODES_HELP, Misuse
from keygen.node_files import COMMITTEE, NodeFiles, node_options
from keygen.reach import FILE, Daemon, node_or_daemon, operator_option
from participant.committee import read_committee, write_committee
from participant.files import SecretFileError, create_private, read_private, sync_directory
from participant.identity import hex_field

if TYPE_CHECKING:
    from participant.backup.backup import Backup
    from participant.backup.kem import RecoveryPrivate, RecoveryPublic
    from participant.grpc_client import ServiceClient

MAX_KEY = 1 << 16


@click.command("recovery-key", epilog=EXIT_CODES_HELP, short_help="Make a key that backups are encrypted to.")
@click.option(
    "-o",
    "--out",
    "target",
    type=FILE,
    required=True,
    help="New file of the private key; .pub is added for the public one.",
)
@click.option(
    "--kind",
    type=click.Choice(["mlkem768-x25519", "x25519", "p256", "rsa"]),
    default="mlkem768-x25519",
    show_default=True,
    help="The first is safe against quantum computers, too.",
)
@json_option
def recovery_key(target: Path, kind: str) -> None:
    """Make a recovery key. Keep the private file away from every node; a node needs the public one only.

    Keys of other tools do as well: X25519, P-256 and RSA in PEM.
    """
    from participant.backup import kem

    key = kem.generate(kind, os.urandom)
    public = target.with_name(target.name + ".pub")
    create_private(target, key.to_text().encode())
    create_private(public, key.public.to_text().encode())
    found = {
        "kind": kind,
        "fingerprint": key.public.fingerprint,
        "private": str(target),
        "public": str(public),
    }
    output().result(
        found, [f"{kind} {key.public.fingerprint}", f"private key: {target}", f"public key: {public}"]
    )


@click.command(epilog=EXIT_CODES_HELP, short_help="Write a node's backup, encrypted to recovery keys.")
@node_options
@click.option("-o", "--out", "target", type=FILE, required=True, help="New file.")
@click.option(
    "-r",
    "--recovery-key",
    "keys",
    type=FILE,
    multiple=True,
    required=True,
    help="Public recovery key; may be given several times.",
)
@click.option(
    "--quorum", type=click.IntRange(1, 16), default=1, show_default=True, help="How many of them restore."
)
@click.option(
    "--committee", metavar="ID", help="Its id (hexadecimal), where the node has accounts in several."
)
@operator_option
@json_option
def backup(
    files: NodeFiles,
    target: Path,
    keys: tuple[Path, ...],
    quorum: int,
    committee: str | None,
    operator: str | None,
) -> None:
    """Write the backup of the node in DIR: identity, committee, and its share of every account of that committee.

    The file is encrypted so that QUORUM of the recovery keys open it, and so that anybody can verify that (verify-backup).
    Presignatures and nonces are never in it. Make one after every refresh: older ones hold shares that are of no use any
    more. When the daemon of DIR runs, asks it through its operator socket; otherwise opens DIR's store itself.
    """
    out = output()
    texts = [_text(path) for path in keys]
    recipients = [_public(text, path) for text, path in zip(texts, keys, strict=True)]
    try:
        committee_id = None if committee is None else hex_field(committee, 32, "--committee")
    except ValueError as error:
        raise Misuse(str(error)) from None
    if target.exists():
        raise SecretFileError(f"{target} exists already and is not overwritten")
    with node_or_daemon(files, operator, out) as node:
        if isinstance(node, Daemon):

            async def ask(client: ServiceClient, pb: Any) -> Any:
                request = pb.MakeBackupRequest(
                    recovery_keys=texts, quorum=quorum, committee_id=committee_id or b""
                )
                return await client.call(client.operator.MakeBackup, request)

            file = bytes(node.ask(ask).file)
        else:
            from participant.backup.node_backup import backup_of

            file = backup_of(node, out.suites, recipients, quorum, committee_id)
    found = _read(file)
    found.verify()
    create_private(target, file)
    out.result({"file": str(target), **_public_part(found)}, [f"{target}: verified", *_lines(found)])


@click.command(
    "verify-backup", epilog=EXIT_CODES_HELP, short_help="Verify a backup, without any private key."
)
@click.argument("file", type=FILE)
@click.option("--committee", type=FILE, help="committee.yaml: the backup has to be of a member of it.")
@click.option(
    "--public-key",
    "expected",
    multiple=True,
    metavar="ACCOUNT=HEX",
    help="An account that has to be in it, with this key.",
)
@json_option
def verify_backup(file: Path, committee: Path | None, expected: tuple[str, ...]) -> None:
    """Verify that FILE holds, for its recovery keys, the shares of the node and accounts that it names.

    It says nothing of the identity keys and chain codes in it, which only restoring shows. What it names is what its node
    signed: compare committee and public keys with what you know from elsewhere, with the options or by eye.
    """
    found = _read(_bytes(file))
    if committee is not None and read_committee(committee).committee_id != found.committee.committee_id:
        raise _differs(f"{file} is a backup of another committee than {committee}")
    keys = {account.account_id: account.X.to_bytes().hex() for account in found.accounts}
    for text in expected:
        name, _, key = text.rpartition("=")
        if keys.get(name) != key:
            raise _differs(f"{file} has no account {name!r} with the public key {key}")
    found.verify()
    output().result({"verified": True, **_public_part(found)}, [f"{file}: verified", *_lines(found)])


@click.command(epilog=EXIT_CODES_HELP, short_help="Make a node from its backup and recovery keys.")
@click.argument("file", type=FILE)
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "-k",
    "--key",
    "keys",
    type=FILE,
    multiple=True,
    required=True,
    help="Private recovery key (mode 0600); a quorum of them.",
)
@json_option
def restore(file: Path, directory: Path, keys: tuple[Path, ...]) -> None:
    """Make the node of the backup FILE in DIR, which must not exist or be empty: store, sealing key, card, committee.yaml.

    Everything is verified before anything is written. Its accounts sign again after a refresh by the whole committee. Never
    run it beside the node that the backup was made of.
    """
    out = output()
    found = _read(_bytes(file))
    private = [_private(path) for path in keys]
    restored = found.open(private)
    if directory.exists() and any(directory.iterdir()):
        raise SecretFileError(f"{directory} is not empty: a node is restored into an empty directory")
    _make(directory, found, restored)
    out.warn("the accounts sign again when they are refreshed (mpc-keygen refresh, on a running committee)")
    out.result(
        {"directory": str(directory), **_public_part(found)}, [f"{directory}: restored", *_lines(found)]
    )


def _make(directory: Path, found: Backup, restored: Any) -> None:
    """Whole or not at all: in a directory beside it, which gets its name in the end."""
    import shutil

    from participant.backup.node_backup import put_into

    partial = directory.with_name(directory.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    files = NodeFiles.of(partial)
    try:
        files.make(restored.keys)
        with files.open() as store:
            put_into(store, restored)
        write_committee(partial / COMMITTEE, found.committee)
        sync_directory(partial)
        partial.rename(directory)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    sync_directory(directory.absolute().parent)


def _read(data: bytes) -> Backup:
    # Not before it is used: the kinds of keys take their time to load.
    from participant.backup import backup as files

    return files.read(data, output().suites)


def _bytes(path: Path) -> bytes:
    from participant.backup.backup import MAX_FILE_BYTES

    with path.open("rb") as file:
        return file.read(MAX_FILE_BYTES + 1)


def _text(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(MAX_KEY).decode("ascii", "replace")


def _public(text: str, path: Path) -> RecoveryPublic:
    from participant.backup import kem
    from participant.backup.errors import BadRecoveryKey

    try:
        return kem.read_public(text)
    except BadRecoveryKey as error:
        raise BadRecoveryKey(f"{path}: {error}") from None


def _private(path: Path) -> RecoveryPrivate:
    from participant.backup import kem
    from participant.backup.errors import BadRecoveryKey

    try:
        return kem.read_private(read_private(path, MAX_KEY).decode("ascii", "replace"))
    except BadRecoveryKey as error:
        raise BadRecoveryKey(f"{path}: {error}") from None


def _differs(text: str) -> Exception:
    from participant.backup.errors import BackupInvalid

    return BackupInvalid(text)


def _public_part(found: Backup) -> dict[str, Any]:
    return {
        "identity": found.identity.hex(),
        "index": found.committee.index_of(found.identity),
        "committee_id": found.committee.committee_id.hex(),
        "created_at": found.created_at,
        "quorum": found.quorum,
        "recovery_keys": [{"kind": key.kind, "fingerprint": key.fingerprint} for key in found.recipients],
        "accounts": [
            {
                "account_id": account.account_id,
                "public_key": account.X.to_bytes().hex(),
                "share_epoch": account.share_epoch.hex(),
                "threshold": account.t,
            }
            for account in found.accounts
        ],
    }


def _lines(found: Backup) -> list[str]:
    keys = ", ".join(f"{key.kind} {key.fingerprint}" for key in found.recipients)
    index = found.committee.index_of(found.identity)
    return [
        f"of index {index} ({found.identity.hex()}), made {moment(found.created_at)}",
        f"opens with {found.quorum} of: {keys}",
        *(
            f"account {account.account_id!r}: public key {account.X.to_bytes().hex()}"
            for account in found.accounts
        ),
    ]


COMMANDS = (recovery_key, backup, verify_backup, restore)
