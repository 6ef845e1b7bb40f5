"""The commands that give a lost node its shares back: recover, recoveries."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keygen.ceremony_commands import node_directory_option, operator_of
from keygen.console import json_option, output
from keygen.errors import EXIT_CODES_HELP, Misuse
from keygen.node_files import COMMITTEE
from keygen.reach import FILE, Daemon, follow, operator_option
from keygen.reshare_commands import approve_request, committee_in, indices_in, read_request

if TYPE_CHECKING:
    from kit.pb.wallet.v1.common_pb2 import Progress, Recovery
    from participant.grpc_client import ServiceClient


@click.command(epilog=EXIT_CODES_HELP, short_help="Give a lost node its shares back.")
@click.argument("accounts", metavar="[ACCOUNT...]", nargs=-1)
@click.option(
    "--lost", type=click.IntRange(0, 15), help="Index of the node that lost its shares; to write a request."
)
@click.option(
    "--to",
    "target",
    type=FILE,
    help="The committee's file, with the new identity in the lost place if it has one [default: committee.yaml of --node]",
)
@click.option(
    "--request",
    "file",
    type=FILE,
    required=True,
    help="The request, for the operators of all members to approve: written if it is not there.",
)
@click.option(
    "--helpers",
    metavar="INDEX,...",
    help="Who gives the shares back, as many as sign together [default: the lowest]",
)
@click.option("--request-only", is_flag=True, help="Write the request, and end.")
@node_directory_option
@operator_option
@json_option
def recover(
    accounts: tuple[str, ...],
    lost: int | None,
    target: Path | None,
    file: Path,
    helpers: str | None,
    request_only: bool,  # noqa: FBT001 - click passes flags by name
    node: Path,
    operator: str | None,
) -> None:
    """Give the node at --lost its shares of ACCOUNT... (default: all) back, in its own place, through the daemon of --node.

    The lost node runs again on an empty machine, with its former identity or one made for the place (mpc-keygen identity
    --in-place-of). Writes the request on a helper's node, approves it there, and waits for the others: the operators of all
    members, the lost one too, run `mpc-keygen approve FILE` on the own node. Then the helpers give the shares back, and all
    members refresh the accounts: what is left on the lost device is worth nothing afterwards. Key and addresses stay. Given
    again it goes on where it was.
    """
    out, daemon = output(), operator_of(node, operator)
    if file.exists():
        text = read_request(file)
    else:
        if lost is None:
            raise Misuse("name the node that lost its shares (--lost INDEX)")
        text = _ask_for(daemon, lost, target or node / COMMITTEE, helpers, accounts)
        file.write_text(text, encoding="utf-8")
        out.say(f"{file}: have the operators of all members approve it (mpc-keygen approve)")
    if request_only:
        out.result({"request": str(file)}, [f"{file}: the request"])
        return
    approved = _approve(daemon, text)

    async def conversation(client: ServiceClient) -> Progress:
        from kit.pb.wallet.v1 import operator_pb2 as pb

        request = pb.RecoverRequest(request_id=approved.request_id)
        return await follow(client.stream(client.operator.Recover, request), "recovery", out)

    made = daemon.talk(conversation).recovery
    out.result(recovery_fields(made), recovery_lines(made))


def _ask_for(daemon: Daemon, lost: int, target: Path, helpers: str | None, accounts: tuple[str, ...]) -> str:
    indices, committee = indices_in(helpers, "--helpers"), committee_in(target)

    async def ask(client: ServiceClient, pb: Any) -> Any:
        request = pb.MakeRecoveryRequestRequest(
            lost=lost, committee=committee, helpers=indices, account_ids=accounts
        )
        return await client.call(client.operator.MakeRecoveryRequest, request)

    return str(daemon.ask(ask).request)


def _approve(daemon: Daemon, text: str) -> Recovery:
    found = approve_request(daemon, text)
    if found.WhichOneof("request") != "recovery":
        raise Misuse("the file is a request of another kind: see mpc-keygen reshare")
    approved: Recovery = found.recovery
    return approved


@click.command(epilog=EXIT_CODES_HELP, short_help="Show lost shares on their way back.")
@node_directory_option
@operator_option
@json_option
def recoveries(node: Path, operator: str | None) -> None:
    """Show what recoveries the operator of --node approved, and how far they are."""

    async def ask(client: ServiceClient, pb: Any) -> Any:
        return await client.call(client.operator.ListRecoveries, pb.ListRecoveriesRequest())

    found = operator_of(node, operator).ask(ask).recoveries
    lines = [line for entry in found for line in recovery_lines(entry)]
    output().result(
        {"recoveries": [recovery_fields(entry) for entry in found]}, lines or ["nothing was approved here"]
    )


def recovery_fields(found: Recovery) -> dict[str, Any]:
    """For --json."""
    return {
        "request_id": found.request_id.hex(),
        "old_committee_id": found.old_committee_id.hex(),
        "new_committee_id": found.new_committee_id.hex(),
        "lost": found.lost,
        "identity": found.identity_key.hex(),
        "helpers": list(found.helpers),
        "account_ids": list(found.account_ids),
        "back": list(found.back),
        "settled": list(found.settled),
        "withdrawn": found.withdrawn,
        "complete": found.complete,
        "text": found.text,
    }


def recovery_lines(found: Recovery) -> list[str]:
    """For people."""
    names, helpers = ", ".join(map(repr, found.account_ids)), ", ".join(map(str, found.helpers))
    return [
        f"shares of index {found.lost} (identity {found.identity_key.hex()[:16]}) of {names}, from index {helpers}",
        f"  {found.text}",
    ]


COMMANDS = (recover, recoveries)
