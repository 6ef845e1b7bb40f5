"""The quick start: a committee of service, client and backup on this machine, and keys that its members made together.

Beside the three share files of the seed there are three nodes, which are what a sign-service needs to use a share: an
identity that the others know, a sealed store, and what opens it.

    client_key_shares.json  service_key_shares.json  backup_key_shares.json
    client_node/  service_node/  backup_node/   as `mpc-keygen init` makes them
    committee.yaml                              public
    config/*.yaml                               each written only when there is none
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from keygen.console import Output
from keygen.development import DirectoryTaken, make_node, new_members
from keygen.local_committee import LocalCommittee, arithmetic
from keygen.node_files import COMMITTEE, SETTINGS, NodeFiles
from keygen.prime_pool import fill_pool
from keygen.templates import ClientFile, GatewayFile, NodeFile, client_yaml, gateway_yaml, node_yaml
from participant.committee import Committee, write_committee
from participant.files import sync_directory
from participant.node.api import Progress
from participant.sharefile import ShareEntry, write_share_file
from participant.store import Store, check_account_id
from tss.params import Suite
from tss.records import AuxSet

CONFIG: Final = "config"
MEMBERS: Final = ("service", "client", "backup")
"""By index."""

THRESHOLD: Final = 2
PRIMES_EACH: Final = 4

GATEWAY_URL: Final = "http://127.0.0.1:8080"
PORTS: Final = {"service": (50051, 9451), "client": (50052, None), "backup": (50061, 9461)}
"""gRPC, and health and metrics."""


@dataclass(frozen=True)
class Made:
    """What the quick start made."""

    committee: Committee
    share_files: tuple[Path, ...]
    public_keys: dict[str, bytes]
    configuration: tuple[Path, ...]
    """Settings files that were written because there were none."""


def share_file(member: str) -> str:
    """As the seed names them."""
    return f"{member}_key_shares.json"


def node_directory(member: str) -> str:
    """Where a member's identity and store are."""
    return f"{member}_node"


def quick_start(directory: Path, accounts: Sequence[str], suite: Suite, out: Output) -> Made:
    """Make committee, nodes, keys and files in `directory`. Nothing is overwritten, and a failure leaves nothing behind.

    Raises DirectoryTaken, StoreError, ProtocolError, OSError.
    """
    for account_id in accounts:
        check_account_id(account_id)
    names = [*map(share_file, MEMBERS), *map(node_directory, MEMBERS), COMMITTEE]
    for name in names:
        if os.path.lexists(directory / name):
            raise DirectoryTaken(directory / name)
    members = new_members(len(MEMBERS))
    committee = Committee.of([keys.card() for keys in members], THRESHOLD)
    partial = Path(tempfile.mkdtemp(prefix=".mpc-keygen.", dir=directory))
    placed: list[Path] = []
    try:
        write_committee(partial / COMMITTEE, committee)
        for index, (member, keys) in enumerate(zip(MEMBERS, members, strict=True)):
            node = partial / node_directory(member)
            make_node(node, keys, committee)
            (node / SETTINGS).write_text(node_yaml(_node_file(index, "..")), encoding="utf-8")
        with ExitStack() as stack:
            stores = [
                stack.enter_context(NodeFiles.of(partial / node_directory(member)).open())
                for member in MEMBERS
            ]
            entries = _make_keys(committee, stores, accounts, suite, out)
        for member, entries_of_one in zip(MEMBERS, entries, strict=True):
            write_share_file(partial / share_file(member), entries_of_one, plaintext=True)
        for name in names:
            _place(partial / name, directory / name)
            placed.append(directory / name)
        sync_directory(directory)
    except BaseException:
        # What was not there before is not there after a failure either: half a committee is of no use.
        for path in placed:
            _remove(path)
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Made(
        committee,
        tuple(directory / share_file(member) for member in MEMBERS),
        {entry.account_id: entry.share.X.to_bytes() for entry in entries[0]},
        _write_configuration(directory),
    )


def _place(source: Path, target: Path) -> None:
    """Move, without ever replacing a file; an empty directory is no loss."""
    if source.is_dir():
        source.rename(target)
    else:
        target.hardlink_to(source)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _make_keys(
    committee: Committee, stores: Sequence[Store], accounts: Sequence[str], suite: Suite, out: Output
) -> list[list[ShareEntry]]:
    """Each member's entries, by index."""
    _find_primes(stores, suite, out)
    with arithmetic() as pool:
        local = LocalCommittee(committee, stores, suite, pool)
        with out.progress("auxiliary information") as bar:
            sets: list[AuxSet] = local.make_aux(bar.update)
        shares = {}
        for account_id in accounts:
            with out.progress(f"key {account_id}") as bar:
                shares[account_id] = local.make_key(account_id, sets[0].aux_id, bar.update)
    return [
        [ShareEntry(account_id, shares[account_id][index], aux, foreign=False) for account_id in accounts]
        for index, aux in enumerate(sets)
    ]


def _find_primes(stores: Sequence[Store], suite: Suite, out: Output) -> None:
    total = PRIMES_EACH * len(stores)
    with out.progress("safe primes") as bar:
        for number, store in enumerate(stores):

            def report(progress: Progress, before: int = PRIMES_EACH * number) -> None:
                found = before + progress.done
                bar.update(found, total, f"{found} of {total}")

            fill_pool(store, suite.level, PRIMES_EACH, report)


def _node_file(index: int, root: str) -> NodeFile:
    """`root` is the way from the settings file to where the share files are."""
    port, metrics_port = PORTS[MEMBERS[index]]
    return NodeFile(
        index=index,
        gateway_url=GATEWAY_URL,
        host="127.0.0.1",
        port=port,
        metrics_port=metrics_port,
        n=len(MEMBERS),
        threshold=THRESHOLD,
        share_file=f"{root}/{share_file(MEMBERS[index])}",
    )


def _write_configuration(directory: Path) -> tuple[Path, ...]:
    """config/*.yaml for the daemons and the client, where there are none."""
    folder = directory / CONFIG
    texts = {
        "sign-gateway.yaml": gateway_yaml(GatewayFile("127.0.0.1", 8080, 50050, "127.0.0.1:50051")),
        "sign-service.yaml": node_yaml(_node_file(0, ".."), home=f"../{node_directory('service')}"),
        "client.yaml": client_yaml(
            ClientFile(
                gateway_url=GATEWAY_URL,
                n=len(MEMBERS),
                threshold=THRESHOLD,
                local_settings=f"../{node_directory('client')}/{SETTINGS}",
                local_port=50052,
                local_index=1,
                share_file=f"../{share_file('client')}",
            )
        ),
    }
    written = []
    for name, text in texts.items():
        path = folder / name
        if not path.exists():
            folder.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
            written.append(path)
    return tuple(written)
