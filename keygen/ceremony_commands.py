"""The commands that ask a running committee: create, aux, refresh."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keygen.console import json_option, output
from keygen.errors import EXIT_CODES_HELP, Misuse
from keygen.node_files import OPERATOR_SOCKET, NodeFiles, node_options
from keygen.reach import Daemon, daemon_options, follow, operator_option
from participant.identity import hex_field

if TYPE_CHECKING:
    from kit.pb.wallet.v1.common_pb2 import Progress
    from participant.grpc_client import ServiceClient


def committee_id_of(text: str | None) -> bytes:
    """32 bytes, or none of them for "the only one". Raises Misuse."""
    if text is None:
        return b""
    try:
        return hex_field(text.replace(" ", ""), 32, "the committee id")
    except ValueError as error:
        raise Misuse(str(error)) from None


committee_option = click.option(
    "--committee", metavar="ID", help="The committee, 64 hexadecimal digits [default: the node's only one]"
)


node_directory_option = click.option(
    "--node",
    type=click.Path(path_type=Path, file_okay=False),
    default=".",
    metavar="DIR",
    help="Ask the daemon whose directory this is, as its operator (DIR/operator.sock) [default: here]",
)


@click.command(epilog=EXIT_CODES_HELP, short_help="Have a running committee make a new key.")
@click.argument("account", metavar="ACCOUNT")
@click.option(
    "-t", "--threshold", type=click.IntRange(2, 16), help="How many must sign [default: the committee's]"
)
@click.option(
    "--curve",
    type=click.Choice(["secp256k1", "ed25519"]),
    default="secp256k1",
    show_default=True,
    help="ed25519: signatures by FROST, for Solana, SSH and the like",
)
@committee_option
@daemon_options
@json_option
def create(account: str, threshold: int | None, curve: str, committee: str | None, daemon: Daemon) -> None:
    """Have a running committee make a new key, ACCOUNT (free text).

    Asks one daemon, which proposes the key generation to the others; each decides by its own policy. All members must be
    running. The first account of a committee takes a minute or two, for its auxiliary information is made before.
    """
    out = output()
    committee_id = committee_id_of(committee)

    async def conversation(client: ServiceClient) -> Progress:
        from kit.pb.wallet.v1 import common_pb2
        from kit.pb.wallet.v1 import wallet_pb2 as pb

        request = pb.CreateAccountRequest(
            account_id=account,
            curve=common_pb2.CURVE_ED25519 if curve == "ed25519" else common_pb2.CURVE_SECP256K1,
            threshold=threshold or 0,
            committee_id=committee_id,
        )
        method = client.operator.CreateAccount if daemon.operator else client.wallet.CreateAccount
        return await follow(client.stream(method, request), f"account {account}", out)

    made = daemon.talk(conversation).account
    addresses = {address.kind: address.text for address in made.addresses}
    result: dict[str, Any] = {
        "account_id": made.account_id,
        "curve": curve,
        "public_key": made.public_key.hex(),
        "addresses": addresses,
        "threshold": made.threshold,
        "parties": made.parties,
        "committee_id": made.committee_id.hex(),
        "key_id": made.key_id.hex(),
    }
    lines = [
        f"account {made.account_id!r}: public key {result['public_key']}, {made.threshold} of {made.parties}",
        *(f"  {kind:<16} {text}" for kind, text in addresses.items()),
    ]
    out.result(result, lines)


def operator_of(directory: Path, operator: str | None) -> Daemon:
    """The daemon of a node's directory, unless another is named."""
    if operator is None:
        return Daemon.at_socket(directory / OPERATOR_SOCKET)
    return Daemon(operator, operator=True)


@click.command(epilog=EXIT_CODES_HELP, short_help="Have a running committee make auxiliary information.")
@node_options
@click.option(
    "--account",
    "accounts",
    multiple=True,
    help="Accounts that move to it; those that have none always do. May be given several times.",
)
@committee_option
@operator_option
@json_option
def aux(files: NodeFiles, accounts: tuple[str, ...], committee: str | None, operator: str | None) -> None:
    """Have the committee make new auxiliary information, through the daemon of DIR.

    Needed once after shares were imported that came without any; `create` makes it by itself. All members must be running.
    Asks DIR's daemon through its operator socket (DIR/operator.sock).
    """
    out = output()
    committee_id = committee_id_of(committee)
    daemon = operator_of(files.store.parent, operator)

    async def conversation(client: ServiceClient) -> Progress:
        from kit.pb.wallet.v1 import operator_pb2 as pb

        request = pb.RunAuxRequest(committee_id=committee_id, account_ids=accounts)
        return await follow(client.stream(client.operator.RunAux, request), "auxiliary information", out)

    made = daemon.talk(conversation).aux
    moved = ", ".join(map(repr, made.account_ids)) or "no account yet"
    out.result(
        {
            "committee_id": made.committee_id.hex(),
            "aux_id": made.aux_id.hex(),
            "accounts": list(made.account_ids),
        },
        [f"auxiliary information {made.aux_id.hex()}", f"used from now on by: {moved}"],
    )


@click.command(epilog=EXIT_CODES_HELP, short_help="Have a running committee make new shares of its keys.")
@click.argument("accounts", metavar="[ACCOUNT]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All accounts of the committee.")
@node_directory_option
@committee_option
@operator_option
@json_option
def refresh(
    node: Path,
    accounts: tuple[str, ...],
    everything: bool,  # noqa: FBT001 - click passes flags by name
    committee: str | None,
    operator: str | None,
) -> None:
    """Have the committee make new shares of the keys of ACCOUNTs, and new auxiliary information, through the daemon of --node.

    Keys, addresses and chain codes stay. Old shares and presignatures are destroyed, so that whoever has stolen some of
    them has to begin anew. All members must be running; signing goes on meanwhile.
    """
    if everything == bool(accounts):
        raise Misuse("name the accounts to refresh, or give --all")
    out = output()
    committee_id = committee_id_of(committee)

    async def conversation(client: ServiceClient) -> Progress:
        from kit.pb.wallet.v1 import operator_pb2 as pb

        request = pb.RefreshAccountsRequest(committee_id=committee_id, account_ids=accounts, all=everything)
        return await follow(client.stream(client.operator.RefreshAccounts, request), "refresh", out)

    made = operator_of(node, operator).talk(conversation).refresh
    out.result(
        {
            "committee_id": made.committee_id.hex(),
            "accounts": [
                {
                    "account_id": account.account_id,
                    "public_key": account.public_key.hex(),
                    "share_epoch": account.share_epoch.hex(),
                    "aux_id": account.aux_id.hex(),
                }
                for account in made.accounts
            ],
        },
        [
            f"account {account.account_id!r}: same key {account.public_key.hex()}, epoch {account.share_epoch.hex()[:16]}"
            for account in made.accounts
        ],
    )


COMMANDS = (create, aux, refresh)
