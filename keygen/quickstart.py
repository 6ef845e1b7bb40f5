"""The quick start: a committee of service, client and backup on this machine, and keys that its members made together.

Beside the three share files of the seed there are three nodes, which are what a sign-service needs to use a share: an
identity that the others know, a sealed store, and what opens it.

    client_key_shares.json  service_key_shares.json  backup_key_shares.json
    nodes/service  nodes/client  nodes/backup        as `mpc-keygen init` makes them
    config/*.yaml                                    written only when there are none
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from keygen.console import Output
from keygen.development import DirectoryTaken, appearing, make_node, new_members
from keygen.local_committee import LocalCommittee, arithmetic
from keygen.node_files import COMMITTEE, SETTINGS, NodeFiles
from keygen.prime_pool import fill_pool
from keygen.templates import ClientFile, GatewayFile, NodeFile, client_yaml, gateway_yaml, node_yaml
from participant.committee import Committee, write_committee
from participant.node.api import Progress
from participant.sharefile import ShareEntry, write_share_file
from participant.store import Store, check_account_id
from tss.params import Suite
from tss.records import AuxSet

NODES: Final = "nodes"
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


def quick_start(directory: Path, accounts: Sequence[str], suite: Suite, out: Output) -> Made:
    """Make committee, nodes, keys and files in `directory`. Nothing is overwritten, and a failure leaves nothing behind.

    Raises DirectoryTaken, StoreError, ProtocolError.
    """
    for account_id in accounts:
        check_account_id(account_id)
    share_files = tuple(directory / share_file(member) for member in MEMBERS)
    for path in share_files:
        if path.exists() or path.is_symlink():
            raise DirectoryTaken(path)
    members = new_members(len(MEMBERS))
    committee = Committee.of([keys.card() for keys in members], THRESHOLD)
    with appearing(directory / NODES) as partial, _removed_on_failure(share_files):
        write_committee(partial / COMMITTEE, committee)
        for index, (member, keys) in enumerate(zip(MEMBERS, members, strict=True)):
            make_node(partial / member, keys, committee)
            (partial / member / SETTINGS).write_text(node_yaml(_node_file(index, "../..")), encoding="utf-8")
        with ExitStack() as stack:
            stores = [stack.enter_context(NodeFiles.of(partial / member).open()) for member in MEMBERS]
            entries = _make_keys(committee, stores, accounts, suite, out)
        for path, entries_of_one in zip(share_files, entries, strict=True):
            write_share_file(path, entries_of_one, plaintext=True)
    public_keys = {entry.account_id: entry.share.X.to_bytes() for entry in entries[0]}
    return Made(committee, share_files, public_keys, _write_configuration(directory))


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


@contextmanager
def _removed_on_failure(paths: Sequence[Path]) -> Iterator[None]:
    """They were not there before; so after a failure they are not there either."""
    try:
        yield
    except BaseException:
        for path in paths:
            path.unlink(missing_ok=True)
        raise


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
        "sign-service.yaml": node_yaml(_node_file(0, ".."), home=f"../{NODES}/service"),
        "client.yaml": client_yaml(
            ClientFile(
                gateway_url=GATEWAY_URL,
                n=len(MEMBERS),
                threshold=THRESHOLD,
                local_settings=f"../{NODES}/client/{SETTINGS}",
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
