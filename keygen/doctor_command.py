"""`mpc-keygen doctor`: what is wrong with a node's files and store, and what to do."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keygen.console import json_option, output
from keygen.errors import EXIT_CODES_HELP, Exit
from keygen.node_files import OPERATOR_SOCKET, NodeFiles, node_options
from keygen.reach import Daemon, operator_option
from participant.identity import BadCard, Card
from participant.store import Store, StoreLocked, StoreMissing
from participant.store.database import StoreLock

if TYPE_CHECKING:
    from participant.doctor import Diagnosis
    from participant.grpc_client import ServiceClient


@click.command(epilog=EXIT_CODES_HELP, short_help="Look at a node's whole store, and say what is wrong.")
@node_options
@operator_option
@json_option
@click.pass_context
def doctor(ctx: click.Context, files: NodeFiles, operator: str | None) -> None:
    """Look at everything of the node in DIR, and say in words what is wrong and what to do.

    File modes, the file itself, every sealed value in its place, every share against its public key, auxiliary data, epochs,
    pending state, committees, quarantine, the audit log. Changes nothing: it opens a copy. When the daemon of DIR runs, that
    looks at its store itself. Exit code 3 when something is wrong; remarks alone are 0.
    """
    out = output()
    found = list(_files(files))
    if operator is not None:
        found += _asked(Daemon(operator, operator=True))
    else:
        try:
            found += _examined(files)
        except StoreLocked:
            socket = files.store.with_name(OPERATOR_SOCKET)
            if not socket.is_socket():
                raise
            out.say(f"a daemon holds the store: it looks at it itself, asked through {socket}")
            found += _asked(Daemon.at_socket(socket))
    found.sort(key=lambda one: not one.error)
    errors = sum(one.error for one in found)
    lines = [
        f"{'WRONG' if one.error else 'note'}  {one.what}: {one.text}. To do: {one.advice}" for one in found
    ]
    summary = f"{errors} things are wrong" if errors else "nothing is wrong"
    out.result({"sound": not errors, "findings": [asdict(one) for one in found]}, [*lines, summary])
    if errors:
        ctx.exit(Exit.FILES)


def _examined(files: NodeFiles) -> list[Diagnosis]:
    """By a copy, made under the store's lock: opening a store may write to it."""
    # Not before it is used: it brings the protocols with it.
    from participant.doctor import diagnose

    if not files.store.exists():
        raise StoreMissing(f"there is no store at {files.store}: name a node's directory")
    wrapper = files.outer_key()
    lock = StoreLock(files.store.resolve())
    try:
        with tempfile.TemporaryDirectory(prefix="wallet-mpc-doctor-") as scratch:
            copy = Path(scratch) / files.store.name
            for suffix in ("", "-wal"):
                source = files.store.with_name(files.store.name + suffix)
                if source.exists():
                    target = copy.with_name(copy.name + suffix)
                    shutil.copyfile(source, target)
                    target.chmod(0o600)
            with Store.open(copy, wrapper) as store:
                return list(diagnose(store, output().suites))
    finally:
        lock.release()


def _asked(daemon: Daemon) -> list[Diagnosis]:
    from participant.doctor import RESTORE, Diagnosis

    async def ask(client: ServiceClient, pb: Any) -> Any:
        return await client.call(client.operator.CheckStore, pb.CheckStoreRequest(deep=True))

    advice = f"stop the node and run mpc-keygen doctor again, which says more; else {RESTORE}"
    return [Diagnosis(one.error, *_split(one.text), advice) for one in daemon.ask(ask).findings]


def _split(text: str) -> tuple[str, str]:
    what, _, rest = text.partition(": ")
    return what, rest


def _files(files: NodeFiles) -> Iterator[Diagnosis]:
    from participant.doctor import Diagnosis

    directory = files.store.absolute().parent
    secret = [
        files.store,
        files.seal_key,
        files.password_file,
        files.store.with_name(files.store.name + "-wal"),
    ]
    for path in secret:
        if path is not None and path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077:
            mode = f"{stat.S_IMODE(path.stat().st_mode):04o}"
            yield Diagnosis(
                True, "mode", f"{path} has mode {mode}: others may read or write it", f"chmod 600 {path}"
            )
    if directory.exists():
        status = directory.stat()
        if stat.S_IMODE(status.st_mode) & 0o022 or status.st_uid not in (os.geteuid(), 0):
            yield Diagnosis(
                True,
                "mode",
                f"others may change what is in {directory}",
                f"chmod 700 {directory}, and look who owns it",
            )
    if files.card.exists():
        try:
            Card.from_json(files.card.read_bytes())
        except BadCard as error:
            yield Diagnosis(
                False, "card", f"{files.card}: {error}", "mpc-keygen identity writes it anew from the store"
            )


COMMANDS = (doctor,)
