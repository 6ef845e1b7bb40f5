"""The commands about one account: extended public key and addresses, freeze, delete."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from keygen.console import json_option, moment, output
from keygen.errors import EXIT_CODES_HELP, Exit, KeygenError, Misuse
from keygen.node_files import NodeFiles, node_options
from keygen.reach import FILE, Daemon, node_or_daemon, operator_option
from participant.files import read_private
from participant.payloads import all_addresses
from participant.payloads.addresses import cosmos
from participant.payloads.errors import PayloadError
from participant.payloads.extended import ExtendedPublicKey
from participant.store import Store
from tss.hd import parse_path
from tss.params import MAX_PARTIES
from tss.records import KeyShare

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from kit.pb.wallet.v1 import operator_pb2
    from participant.grpc_client import ServiceClient

MAX_APPROVAL: Final = 4096

WARNING: Final = (
    "whoever has this key sees every address of the account, past and future; together with one private key below it, it "
    "gives all private keys"
)


@click.command(epilog=EXIT_CODES_HELP, short_help="Show an account's extended public key and addresses.")
@click.argument("account")
@node_options
@click.option("--path", default="m", show_default=True, help="Soft indices, such as m/0.")
@click.option("--testnet", is_flag=True, help="tpub instead of xpub.")
@click.option(
    "--count", type=click.IntRange(0, 1000), default=0, help="So many addresses below it, from index 0."
)
@click.option(
    "--hrp", default="cosmos", show_default=True, help="Prefix of Cosmos addresses: osmo, juno, ..."
)
@operator_option
@json_option
def xpub(
    account: str,
    files: NodeFiles,
    path: str,
    testnet: bool,  # noqa: FBT001 - click's signature
    count: int,
    hrp: str,
    operator: str | None,
) -> None:
    """Show ACCOUNT's extended public key (BIP-32) at a path, and addresses: Ethereum, Bitcoin, Cosmos, Tron.

    Giving it out is your decision: whoever has it sees every address of the account. It is noted in the audit log. When the
    daemon of DIR runs, asks it through its operator socket; otherwise opens DIR's store itself.
    """
    out = output()
    with node_or_daemon(files, operator, out) as node:
        text = (
            _xpub_of_daemon(node, account, path, testnet=testnet)
            if isinstance(node, Daemon)
            else _xpub_of_store(node, account, path, testnet=testnet)
        )
    key = ExtendedPublicKey.from_text(text)
    try:
        own = _addresses(key.key, hrp)
    except PayloadError as error:
        raise Misuse(str(error)) from None
    below = [{"index": index, **_addresses(key.at([index]), hrp)} for index in range(count)]
    out.warn(WARNING)
    found = {"account_id": account, "path": path, "extended_key": text, "addresses": own, "below": below}
    lines = [text, *(f"{kind}  {address}" for kind, address in own.items())]
    for entry in below:
        lines += [
            f"{entry['index']}  {kind}  {address}" for kind, address in entry.items() if kind != "index"
        ]
    out.result(found, lines)


def _addresses(key: bytes, hrp: str) -> dict[str, str]:
    return {**all_addresses(key), "cosmos": cosmos(key, hrp)}


def _xpub_of_daemon(daemon: Daemon, account: str, path: str, *, testnet: bool) -> str:
    async def ask(client: ServiceClient, pb: Any) -> operator_pb2.GetExtendedPublicKeyResponse:
        request = pb.GetExtendedPublicKeyRequest(account_id=account, path=path, testnet=testnet)
        return await client.call(client.operator.GetExtendedPublicKey, request)

    return str(daemon.ask(ask).extended_key)


def _xpub_of_store(store: Store, account: str, path: str, *, testnet: bool) -> str:
    from participant.store import AuditRecord

    record = store.accounts.account(account)
    suites = output().suites
    if record.curve not in suites:
        raise Misuse(f"account {account!r} is of curve {record.curve}, which has no public derivation")
    share = KeyShare.from_bytes(suites[record.curve], store.accounts.share(account))
    key = ExtendedPublicKey.of(share.X, share.chain_code, parse_path(path))
    store.audit.append(
        AuditRecord("operator", "operator", "extended key given out", account=account, path=path)
    )
    return key.to_text(testnet=testnet)


@click.command(epilog=EXIT_CODES_HELP, short_help="Let a node sign no more with an account.")
@click.argument("account")
@node_options
@click.option("--reason", required=True, help="Kept in the audit log.")
@operator_option
@json_option
def freeze(account: str, files: NodeFiles, reason: str, operator: str | None) -> None:
    """Let the node in DIR sign no more with ACCOUNT, until it is unfrozen. Its daemon must run.

    With n-t+1 nodes frozen nobody signs.
    """

    async def ask(client: ServiceClient, pb: Any) -> Any:
        request = pb.FreezeAccountRequest(account_id=account, reason=reason)
        return await client.call(client.operator.FreezeAccount, request)

    _ask(files, operator, ask)
    output().result({"account_id": account, "frozen": True}, [f"{account!r} is frozen on this node"])


@click.command(epilog=EXIT_CODES_HELP, short_help="Let a node sign with an account again.")
@click.argument("account")
@node_options
@operator_option
@json_option
def unfreeze(account: str, files: NodeFiles, operator: str | None) -> None:
    """Let the node in DIR sign with ACCOUNT again. Its daemon must run."""

    async def ask(client: ServiceClient, pb: Any) -> Any:
        return await client.call(
            client.operator.UnfreezeAccount, pb.UnfreezeAccountRequest(account_id=account)
        )

    _ask(files, operator, ask)
    output().result({"account_id": account, "frozen": False}, [f"{account!r} signs again on this node"])


@click.group(
    epilog=EXIT_CODES_HELP, short_help="Erase a node's share of an account: approve, decide, cancel, list."
)
def delete() -> None:
    """Erase shares of an account for ever, when as many operators as could move its funds approve.

    Each of t operators runs `approve` on his own node and hands the file to those whose nodes are to erase their shares;
    there `decide` takes the files. The node signs no more from then on, and erases its share after the time of grace
    (accounts.deletion_grace_seconds). Backups and exported files are not reached. The daemons must run.
    """


@delete.command(epilog=EXIT_CODES_HELP)
@click.argument("account")
@node_options
@click.option("--reason", required=True, help="Kept in the audit log.")
@click.option("-o", "--out", "target", type=FILE, required=True, help="New file for this node's approval.")
@operator_option
@json_option
def approve(account: str, files: NodeFiles, reason: str, target: Path, operator: str | None) -> None:
    """Write this node's signed approval for deleting ACCOUNT. It is good for 30 days, for this key alone."""
    from participant.files import create_private

    async def ask(client: ServiceClient, pb: Any) -> Any:
        request = pb.ApproveDeletionRequest(account_id=account, reason=reason)
        return await client.call(client.operator.ApproveDeletion, request)

    create_private(target, _ask(files, operator, ask).approval.hex().encode() + b"\n")
    output().result({"account_id": account, "approval": str(target)}, [f"{target}: this node approves"])


@delete.command(epilog=EXIT_CODES_HELP)
@click.argument("account")
@click.argument("approvals", metavar="APPROVAL...", nargs=-1, required=True, type=FILE)
@click.option(
    "--node",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=".",
    help="DIR of the node.",
)
@operator_option
@json_option
def decide(account: str, approvals: tuple[Path, ...], directory: Path, operator: str | None) -> None:
    """Let the node in DIR sign no more with ACCOUNT, and erase its share after the time of grace."""
    if len(approvals) > MAX_PARTIES:
        raise Misuse(f"at most {MAX_PARTIES} approvals")
    words = [_approval(path) for path in approvals]

    async def ask(client: ServiceClient, pb: Any) -> Any:
        request = pb.DeleteAccountRequest(account_id=account, approvals=words)
        return await client.call(client.operator.DeleteAccount, request)

    found = _ask(NodeFiles.of(directory), operator, ask)
    when = moment(found.erase_at)
    line = f"{account!r} signs no more on this node; its share is erased at {when}"
    output().result({"account_id": account, "erase_at": found.erase_at}, [line])


def _approval(path: Path) -> bytes:
    try:
        return bytes.fromhex(read_private(path, 2 * MAX_APPROVAL).decode("ascii").strip())
    except ValueError:
        raise Misuse(f"{path} is no approval: hexadecimal digits are expected") from None


@delete.command(epilog=EXIT_CODES_HELP)
@click.argument("account")
@node_options
@operator_option
@json_option
def cancel(account: str, files: NodeFiles, operator: str | None) -> None:
    """Call the deletion of ACCOUNT off, while the time of grace lasts."""

    async def ask(client: ServiceClient, pb: Any) -> Any:
        return await client.call(client.operator.CancelDeletion, pb.CancelDeletionRequest(account_id=account))

    _ask(files, operator, ask)
    output().result({"account_id": account, "cancelled": True}, [f"{account!r} is not deleted"])


@delete.command("list", epilog=EXIT_CODES_HELP)
@node_options
@operator_option
@json_option
def list_(files: NodeFiles, operator: str | None) -> None:
    """Show what is to be erased, when and who approved it, and what was."""

    async def ask(client: ServiceClient, pb: Any) -> Any:
        return await client.call(client.operator.ListDeletions, pb.ListDeletionsRequest())

    deletions = [
        {
            "account_id": entry.account_id,
            "key_id": entry.key_id.hex(),
            "erase_at": entry.erase_at,
            "erased": entry.erased,
            "approved_by": list(entry.approved_by),
        }
        for entry in _ask(files, operator, ask).deletions
    ]
    lines = [
        f"{entry['account_id']!r}  {'erased' if entry['erased'] else 'to be erased at ' + moment(entry['erase_at'])}"
        for entry in deletions
    ]
    output().result({"deletions": deletions}, lines or ["nothing is deleted"])


def _ask(files: NodeFiles, operator: str | None, ask: Callable[[ServiceClient, Any], Awaitable[Any]]) -> Any:
    """What the daemon of DIR answers. Raises KeygenError when none runs."""
    with node_or_daemon(files, operator, output()) as node:
        if isinstance(node, Daemon):
            return node.ask(ask)
    raise KeygenError(
        "no daemon is running on this store: start it, it has to know",
        exit_code=Exit.UNREACHABLE,
        reason="NOT_RUNNING",
    )


COMMANDS = (xpub, freeze, unfreeze, delete)
