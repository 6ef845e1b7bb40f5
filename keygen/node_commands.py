"""The commands about one node: primes, status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from keygen.console import json_option, output
from keygen.errors import EXIT_CODES_HELP
from keygen.node_files import NodeFiles, node_options
from keygen.prime_pool import fill_pool
from keygen.reach import Daemon, follow, node_or_daemon, operator_option
from participant.committee import Committee, NotAMember
from participant.node.api import Progress
from participant.store import Store

if TYPE_CHECKING:
    from kit.pb.wallet.v1 import operator_pb2
    from kit.pb.wallet.v1.common_pb2 import Progress as Step
    from participant.grpc_client import ServiceClient

PRIMES: Final = 4


@click.command(epilog=EXIT_CODES_HELP, short_help="Fill a node's pool of safe primes beforehand.")
@node_options
@click.option(
    "--count",
    type=click.IntRange(1, 64),
    default=PRIMES,
    show_default=True,
    help="How many the pool holds in the end; auxiliary information takes four.",
)
@click.option("--processes", type=click.IntRange(1, 64), help="Processes that search [default: one a core]")
@operator_option
@json_option
def primes(files: NodeFiles, count: int, processes: int | None, operator: str | None) -> None:
    """Fill the pool of safe primes of the node in DIR, so that making keys later does not wait for them.

    Opens DIR's store itself; when a daemon holds it, asks that daemon through its operator socket, and says so. Each takes some
    seconds of one core. Primes that were found are kept when this is interrupted.
    """
    out = output()
    with node_or_daemon(files, operator, out) as node:
        if isinstance(node, Daemon):

            async def conversation(client: ServiceClient) -> Step:
                from kit.pb.wallet.v1 import operator_pb2 as pb

                request = pb.FillPrimesRequest(count=count)
                return await follow(client.stream(client.operator.FillPrimes, request), "safe primes", out)

            available = node.talk(conversation).primes.available
        else:
            with out.progress("safe primes") as bar:

                def report(progress: Progress) -> None:
                    bar.update(
                        progress.done, progress.total, f"{progress.done} of {progress.total}", progress.text
                    )

                level = out.suites["secp256k1"].level
                available = fill_pool(node, level, count, report, processes or 0).available
    out.result({"available": available}, [f"{available} safe primes in the pool"])


@click.command(epilog=EXIT_CODES_HELP, short_help="Show a node and what to look at.")
@node_options
@operator_option
@json_option
def status(files: NodeFiles, operator: str | None) -> None:
    """Show the node in DIR: who it is, its committees, accounts, primes, and what an operator should look at.

    When its daemon runs, asks it through its operator socket; otherwise opens DIR's store itself.
    """
    out = output()
    with node_or_daemon(files, operator, out) as node:
        found = (
            _status_of_daemon(node)
            if isinstance(node, Daemon)
            else _status_of_store(node, out.suites["secp256k1"].level.pb)
        )
    out.result(found, _status_lines(found))


def _status_of_store(store: Store, bits: int) -> dict[str, Any]:
    identity = store.identity().identity
    committees = store.accounts.committees()
    return {
        "running": False,
        "identity": identity.hex(),
        "accounts": [record.account_id for record in store.accounts.accounts()],
        "primes": store.primes.count(bits),
        "committees": [
            {
                "committee_id": committee.committee_id.hex(),
                "threshold": committee.threshold,
                "index": _index(committee, identity),
                "members": [
                    {"index": index, "identity": card.identity.hex()}
                    for index, card in enumerate(committee.members)
                ],
            }
            for committee in committees
        ],
        "warnings": [str(finding.text) for finding in store.check()],
    }


def _index(committee: Committee, identity: bytes) -> int | None:
    try:
        return committee.index_of(identity)
    except NotAMember:
        return None


def _status_of_daemon(daemon: Daemon) -> dict[str, Any]:
    async def conversation(client: ServiceClient) -> operator_pb2.GetStatusResponse:
        from kit.pb.wallet.v1 import operator_pb2 as pb

        return await client.call(client.operator.GetStatus, pb.GetStatusRequest())

    found = daemon.talk(conversation)
    return {
        "running": True,
        "version": found.version,
        "identity": found.identity_key.hex(),
        "uptime_seconds": found.uptime_seconds,
        "gateway": {"url": found.gateway_url, "connected": found.gateway_connected},
        "accounts": found.accounts,
        "sessions": found.sessions,
        "primes": found.primes.available,
        "committees": [
            {
                "committee_id": committee.committee_id.hex(),
                "threshold": committee.threshold,
                "index": committee.index,
                "is_left": committee.is_left,
                "members": [
                    {
                        "index": member.index,
                        "identity": member.identity_key.hex(),
                        "online": member.online or member.identity_key == found.identity_key,
                        "quarantined": member.quarantined,
                    }
                    for member in committee.members
                ],
            }
            for committee in found.committees
        ],
        "warnings": list(found.warnings),
    }


def _status_lines(found: dict[str, Any]) -> list[str]:
    accounts = found["accounts"]
    lines = [f"identity {found['identity']}"]
    if found["running"]:
        connected = "connected to" if found["gateway"]["connected"] else "NOT CONNECTED to"
        lines += [
            f"running for {found['uptime_seconds']} s, version {found['version']}, {connected} {found['gateway']['url']}",
            f"{accounts} accounts, {found['sessions']} sessions under way, {found['primes']} safe primes",
        ]
    else:
        lines += [
            "no daemon is running on this store",
            f"{len(accounts)} accounts, {found['primes']} safe primes",
            *(f"  account {name!r}" for name in accounts),
        ]
    for committee in found["committees"]:
        left = ", which all its accounts have left" if committee.get("is_left") else ""
        lines.append(
            f"committee {committee['committee_id']}, {committee['threshold']} of {len(committee['members'])}{left}"
        )
        for member in committee["members"]:
            notes = []
            if member["index"] == committee["index"]:
                notes.append("this node")
            elif "online" in member:
                notes.append("online" if member["online"] else "away")
            if member.get("quarantined"):
                notes.append("IN QUARANTINE")
            lines.append(f"  index {member['index']}  {member['identity']}  {', '.join(notes)}".rstrip())
    return [*lines, *(f"look at this: {warning}" for warning in found["warnings"])]


COMMANDS = (primes, status)
