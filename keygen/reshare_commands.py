"""The commands that bring an account to another committee: reshare, approve, resharings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keygen.ceremony_commands import node_directory_option, operator_of
from keygen.console import json_option, output
from keygen.errors import EXIT_CODES_HELP, KeygenError, Misuse
from keygen.reach import FILE, Daemon, follow, operator_option
from participant.committee import BadCommittee, read_committee
from participant.identity import hex_field
from participant.reshare_request import MAX_REQUEST_FILE

if TYPE_CHECKING:
    from kit.pb.wallet.v1.common_pb2 import Progress, Resharing
    from participant.grpc_client import ServiceClient


@click.command(epilog=EXIT_CODES_HELP, short_help="Bring an account to another committee.")
@click.argument("account", metavar="ACCOUNT")
@click.option("--to", "target", type=FILE, required=True, help="The new committee's file.")
@click.option(
    "--request",
    "file",
    type=FILE,
    required=True,
    help="The request, for the operators of all dealers and new members to approve: written if it is not there.",
)
@click.option(
    "-t", "--threshold", type=click.IntRange(2, 16), help="How many must sign [default: the committee's]"
)
@click.option(
    "--dealers",
    metavar="INDEX,...",
    help="Old members that take part, as many as sign together at least [default: all]",
)
@click.option("--request-only", is_flag=True, help="Write the request, and end.")
@node_directory_option
@operator_option
@json_option
def reshare(
    account: str,
    target: Path,
    file: Path,
    threshold: int | None,
    dealers: str | None,
    request_only: bool,  # noqa: FBT001 - click passes flags by name
    node: Path,
    operator: str | None,
) -> None:
    """Bring ACCOUNT to the committee of --to, through the daemon of --node, which has a share of it.

    Key, addresses and chain code stay; the old members' shares are destroyed. Writes the request, approves it on this node,
    and waits for the others: the operator of every dealer and of every new member runs `mpc-keygen approve FILE` on the own
    node. Until n-t+1 old members have destroyed their shares the old committee can still sign; `resharings` shows it. Given
    again it goes on where it was.
    """
    out, daemon = output(), operator_of(node, operator)
    committee = committee_in(target)
    if file.exists():
        text = read_request(file)
    else:
        text = _ask_for(daemon, account, committee, threshold, dealers)
        file.write_text(text, encoding="utf-8")
        out.say(f"{file}: have the operators of all dealers and new members approve it (mpc-keygen approve)")
    if request_only:
        out.result({"account_id": account, "request": str(file)}, [f"{file}: the request"])
        return
    approved: Resharing = approve_request(daemon, text).resharing
    if approved.account_id != account:
        raise Misuse(f"{file} is a request for account {approved.account_id!r}, not {account!r}")

    async def conversation(client: ServiceClient) -> Progress:
        from kit.pb.wallet.v1 import operator_pb2 as pb

        request = pb.ReshareRequest(request_id=approved.request_id)
        return await follow(client.stream(client.operator.Reshare, request), "resharing", out)

    made = daemon.talk(conversation).reshare
    out.result(_fields(made), _lines(made))


def _ask_for(daemon: Daemon, account: str, committee: str, threshold: int | None, dealers: str | None) -> str:
    indices = indices_in(dealers, "--dealers")

    async def ask(client: ServiceClient, pb: Any) -> Any:
        request = pb.MakeReshareRequestRequest(
            account_id=account, committee=committee, threshold=threshold or 0, dealers=indices
        )
        return await client.call(client.operator.MakeReshareRequest, request)

    return str(daemon.ask(ask).request)


def indices_in(text: str | None, option: str) -> list[int]:
    """Of a list such as 0,2; none without it. Raises Misuse."""
    try:
        return [int(index) for index in text.split(",")] if text else []
    except ValueError:
        raise Misuse(f"{option} is a list of indices, such as 0,2") from None


def public_keys_in(pairs: tuple[str, ...]) -> dict[str, bytes]:
    """Of ACCOUNT=HEX; an account's id may have "=" in it. Raises Misuse."""
    found = {}
    for pair in pairs:
        name, equals, digits = pair.rpartition("=")
        try:
            found[name] = bytes.fromhex(digits)
        except ValueError:
            equals = ""
        if not equals or not name:
            raise Misuse("--public-key is ACCOUNT=HEX, a compressed public key")
    return found


def read_request(file: Path) -> str:
    """A file that operators approve. Raises KeygenError."""
    try:
        with file.open(encoding="utf-8") as opened:
            return opened.read(MAX_REQUEST_FILE + 1)
    except (OSError, UnicodeDecodeError) as error:
        what = getattr(error, "strerror", None) or "it is not UTF-8"
        raise KeygenError(f"cannot read {file}: {what}", reason="BAD_REQUEST_FILE") from None


def approve_request(daemon: Daemon, text: str, public_keys: Mapping[str, bytes] | None = None) -> Any:
    """What the node answers to the approval of a request: ApproveRequestResponse."""

    async def ask(client: ServiceClient, pb: Any) -> Any:
        asked = pb.ApproveRequestRequest(request=text, public_keys=public_keys)
        return await client.call(client.operator.ApproveRequest, asked)

    return daemon.ask(ask)


def committee_in(file: Path) -> str:
    """The text of a committee's file, which was checked. Raises Misuse."""
    try:
        return read_committee(file).to_yaml()
    except BadCommittee as error:
        raise Misuse(str(error)) from None


@click.command(epilog=EXIT_CODES_HELP, short_help="Let a node take part in what a request asks for.")
@click.argument("request", metavar="FILE", type=FILE)
@click.option("--withdraw", is_flag=True, help="Take the approval back, while the account is where it was.")
@click.option(
    "--public-key",
    "public_keys",
    metavar="ACCOUNT=HEX",
    multiple=True,
    help="Of a recovery: an account's public key as you know it; a request with another one is refused.",
)
@node_directory_option
@operator_option
@json_option
def approve(
    request: Path,
    withdraw: bool,  # noqa: FBT001 - click passes flags by name
    public_keys: tuple[str, ...],
    node: Path,
    operator: str | None,
) -> None:
    """Approve the request in FILE, on the daemon of --node: its machine takes part because its operator says so.

    A new member, and one that lost its shares, knows key, threshold and public shares from this file alone: have it from
    somebody you trust, and compare the id that is printed with the other operators, by voice. Whoever has the account
    compares the file with its own records.
    """
    out, daemon, text = output(), operator_of(node, operator), read_request(request)
    if withdraw:
        request_id = _id_in(text)

        async def ask(client: ServiceClient, pb: Any) -> Any:
            asked = pb.WithdrawApprovalRequest(request_id=request_id)
            return await client.call(client.operator.WithdrawApproval, asked)

        daemon.ask(ask)
        out.result({"request_id": request_id.hex(), "withdrawn": True}, ["this node takes no part any more"])
        return
    answer = approve_request(daemon, text, public_keys_in(public_keys))
    if answer.WhichOneof("request") == "recovery":
        from keygen.recover_commands import recovery_fields, recovery_lines

        back = answer.recovery
        lines = [f"approved: request {back.request_id.hex()}", *recovery_lines(back)]
        out.result(recovery_fields(back), lines)
        return
    found = answer.resharing
    out.result(_fields(found), [f"approved: request {found.request_id.hex()}", *_lines(found)])


def _id_in(text: str) -> bytes:
    lines = [
        line.partition(":")[2].strip(" '\"") for line in text.splitlines() if line.startswith("request:")
    ]
    try:
        return hex_field(lines[0], 32, "the request's id")
    except (IndexError, ValueError):
        raise Misuse("the file has no request's id") from None


@click.command(epilog=EXIT_CODES_HELP, short_help="Show accounts on their way to another committee.")
@node_directory_option
@operator_option
@json_option
def resharings(node: Path, operator: str | None) -> None:
    """Show what the operator of --node approved, how far it is, and who can still sign."""

    async def ask(client: ServiceClient, pb: Any) -> Any:
        return await client.call(client.operator.ListResharings, pb.ListResharingsRequest())

    found = operator_of(node, operator).ask(ask).resharings
    lines = [line for entry in found for line in _lines(entry)]
    output().result(
        {"resharings": [_fields(entry) for entry in found]}, lines or ["nothing was approved here"]
    )


def _fields(found: Resharing) -> dict[str, Any]:
    return {
        "request_id": found.request_id.hex(),
        "account_id": found.account_id,
        "old_committee_id": found.old_committee_id.hex(),
        "new_committee_id": found.new_committee_id.hex(),
        "threshold": found.threshold,
        "new_threshold": found.new_threshold,
        "dealers": list(found.dealers),
        "withdrawn": found.withdrawn,
        "certified": found.certified,
        "deletions_due": found.deletions_due,
        "deleted": list(found.deleted),
        "not_deleted": list(found.not_deleted),
        "complete": found.complete,
        "text": found.text,
    }


def _lines(found: Resharing) -> list[str]:
    old, new = found.old_committee_id.hex()[:16], found.new_committee_id.hex()[:16]
    ways = f"from committee {old} ({found.threshold} sign) to {new} ({found.new_threshold} sign)"
    dealers = ", ".join(map(str, found.dealers))
    return [f"account {found.account_id!r}: {ways}, dealers {dealers}", f"  {found.text}"]


COMMANDS = (reshare, approve, resharings)
