"""The commands about shares as files: inspect, export, import, deal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from keygen.console import Output, json_option, output
from keygen.dealer import deal as deal_key
from keygen.dealer import read_key
from keygen.errors import EXIT_CODES_HELP, Exit, Misuse
from keygen.node_files import NodeFiles, node_options
from keygen.protection import FILE, PLAIN_WARNING, Protection, opened, protection_options, unlock_options
from keygen.reach import Daemon, node_or_daemon, operator_option
from participant.committee import Committee, read_committee
from participant.files import create_private
from participant.node.records import Records
from participant.node.shares import Shares
from participant.node.views import Views
from participant.payloads import all_addresses
from participant.policy import PolicySettings, RulePolicy
from participant.sharefile import ShareEntry, encode_share_file
from participant.store import Store

DEALER_WARNING = (
    "this was a trusted dealer: it had the whole key, as had everything that the key was kept in before. Destroy the "
    "original; for a key that never was in one place use `mpc-keygen create`"
)


@click.command(epilog=EXIT_CODES_HELP, short_help="Show what is public of share files; are they sound?")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=FILE)
@unlock_options
@json_option
def inspect(files: tuple[Path, ...], password_file: Path | None, age_identity: Path | None) -> None:
    """Show what is public of share files, and whether they are sound.

    Every account is checked whole: that the secret share belongs to its public share, that the public shares lie on one
    polynomial that gives the public key, that the threshold is what the file says, and the primes of its auxiliary data.
    A file with anything wrong ends with exit code 3. Nothing secret is shown.
    """
    out = output()
    found: dict[str, list[dict[str, Any]]] = {}
    lines: list[str] = []
    for path in files:
        entries = opened(path, password_file, age_identity, out)
        found[str(path)] = [describe(entry) for entry in entries.values()]
        lines.append(f"{path}: sound, {len(entries)} account{'' if len(entries) == 1 else 's'}")
        for described in found[str(path)]:
            lines += _lines_of(described)
    out.result({"files": found, "sound": True}, lines)


def describe(entry: ShareEntry) -> dict[str, Any]:
    """What is public of one account of a share file."""
    share = entry.share
    public_key = share.X.to_bytes()
    return {
        "account_id": entry.account_id,
        "curve": share.suite.group.name,
        "public_key": public_key.hex(),
        "addresses": all_addresses(public_key) if share.suite.group.name == "secp256k1" else {},
        "threshold": share.t,
        "parties": share.n,
        "index": share.indices.index(share.me),
        "evaluation_points": share.indices,
        "public_shares": [share.public_shares[point].to_bytes().hex() for point in share.indices],
        "key_id": share.key_id.hex(),
        "share_epoch": share.share_epoch.hex(),
        "aux_id": None if entry.aux is None else entry.aux.aux_id.hex(),
        "foreign": entry.foreign,
    }


def _lines_of(described: dict[str, Any]) -> list[str]:
    aux = described["aux_id"] or "none: run mpc-keygen aux among all members after the import"
    lines = [
        f"  account {described['account_id']!r}",
        f"    index {described['index']} of {described['parties']}, {described['threshold']} must sign",
        f"    {described['curve']} public key {described['public_key']}",
        *(f"      {kind:<16} {text}" for kind, text in described["addresses"].items()),
        f"    key id       {described['key_id']}",
        f"    share epoch  {described['share_epoch']}",
        f"    aux data     {aux}",
    ]
    return [*lines, "    from wallet-mpc: its auxiliary data is not used"] if described["foreign"] else lines


def _shares_of(store: Store, out: Output) -> Shares:
    """What the daemon itself does with its store. The policy is never asked: an operator's command asks nobody."""
    records = Records(store, out.suites)
    return Shares(store, records, Views(store, records, RulePolicy(PolicySettings())))


@click.command(epilog=EXIT_CODES_HELP, short_help="Write a node's shares to a file.")
@node_options
@click.option("--account", "accounts", multiple=True, help="Only this account; may be given several times.")
@click.option("-o", "--output", "path", type=FILE, required=True, help="New file to write (mode 0600).")
@protection_options
@operator_option
@json_option
def export(
    files: NodeFiles,
    *,
    accounts: tuple[str, ...],
    path: Path,
    recipients: tuple[str, ...],
    password_file: Path | None,
    plaintext: bool,
    operator: str | None,
) -> None:
    """Write shares of the node in DIR to a file, for a backup or to move them.

    Opens DIR's store itself; when a daemon holds it, asks that daemon through its operator socket, and says so. The file is in
    the format of the age tool unless --plaintext is given. Restore it with `import` on the node with the same identity.
    """
    out = output()
    protection = Protection(recipients, password_file, plaintext)
    protection.check()
    with node_or_daemon(files, operator, out) as node:
        if isinstance(node, Daemon):
            data, exported = _export_by_daemon(node, accounts, protection)
            create_private(path, data)
            if plaintext:
                out.warn(f"{path}: {PLAIN_WARNING}")
        else:
            entries = _shares_of(node, out).export(accounts)
            exported = [entry.account_id for entry in entries]
            protection.write(path, entries, out)
    names = ", ".join(map(repr, exported)) or "no account"
    out.result({"file": str(path), "accounts": exported}, [f"wrote {path}: {names}"])


def _export_by_daemon(
    node: Daemon, accounts: Sequence[str], protection: Protection
) -> tuple[bytes, list[str]]:
    from kit.pb.wallet.v1 import operator_pb2 as pb

    request = pb.ExportSharesRequest(account_ids=accounts)
    password = protection.password()
    if password is not None:
        request.passphrase = password.encode()
    elif protection.plaintext:
        request.plaintext = True
    else:
        request.recipients.keys.extend(protection.recipients)
    answer = node.talk(lambda client: client.call(client.operator.ExportShares, request))
    return answer.file, list(answer.account_ids)


@click.command("import", epilog=EXIT_CODES_HELP, short_help="Take the shares of a file into a node.")
@click.argument("share_file", metavar="FILE", type=FILE)
@node_options
@click.option("--account", "accounts", multiple=True, help="Only this account; may be given several times.")
@click.option(
    "--committee",
    "committee_file",
    type=FILE,
    help="committee.yaml, where the node knows none yet, or several.",
)
@unlock_options
@operator_option
@json_option
@click.pass_context
def import_(
    ctx: click.Context,
    share_file: Path,
    files: NodeFiles,
    *,
    accounts: tuple[str, ...],
    committee_file: Path | None,
    password_file: Path | None,
    age_identity: Path | None,
    operator: str | None,
) -> None:
    """Take the shares of FILE into the node in DIR.

    Both shapes are read: ours, and wallet-mpc's, whose auxiliary data is not used (the account can sign after `aux`). Everything
    is checked: that the share is sound, that it is this node's own by its index, and that the committee is the one that it was
    made for. An account that the store has already stays as it is.

    Opens DIR's store itself; when a daemon holds it, asks that daemon through its operator socket, and says so.
    """
    out = output()
    entries = opened(share_file, password_file, age_identity, out)
    unknown = [account_id for account_id in accounts if account_id not in entries]
    if unknown:
        raise Misuse(
            f"{share_file} has no account {unknown[0]!r}; its accounts: {', '.join(map(repr, entries)) or 'none'}"
        )
    wanted = [entry for name, entry in entries.items() if not accounts or name in accounts]
    with node_or_daemon(files, operator, out) as node:
        if isinstance(node, Daemon):
            if committee_file is not None:
                raise Misuse(
                    "--committee is for a store that no daemon holds; a daemon is told in its settings"
                )
            outcomes = _import_by_daemon(node, wanted)
        else:
            committee = _committee_of(node, committee_file)
            imported = _shares_of(node, out).import_entries(wanted, committee, node.identity().identity)
            outcomes = [
                (share.account_id, share.imported, share.account is not None, share.text)
                for share in imported
            ]
    lines = [
        f"{'imported' if done else 'NOT imported'}: {name!r}: {text}" for name, done, _, text in outcomes
    ]
    result = [{"account_id": name, "imported": done, "text": text} for name, done, _, text in outcomes]
    out.result({"accounts": result}, lines)
    if not all(done or known for _, done, known, _ in outcomes):
        ctx.exit(Exit.FILES)


def _committee_of(store: Store, file: Path | None) -> Committee:
    if file is not None:
        return read_committee(file)
    known = store.accounts.committees()
    if len(known) != 1:
        raise Misuse(
            f"this node belongs to {len(known)} committees: say with --committee FILE which one is meant"
        )
    return known[0]


def _import_by_daemon(node: Daemon, entries: Sequence[ShareEntry]) -> list[tuple[str, bool, bool, str]]:
    from kit.pb.wallet.v1 import operator_pb2 as pb

    # Decrypted and checked here; the socket is the same user's.
    request = pb.ImportSharesRequest(file=encode_share_file(entries))
    answer = node.talk(lambda client: client.call(client.operator.ImportShares, request))
    return [
        (share.account_id, share.imported, share.HasField("account"), share.text) for share in answer.shares
    ]


DEAL_HELP = """Split an existing private key: a TRUSTED DEALER, the opposite of a distributed key generation.

KEY is a file of mode 0600, or - for standard input, with the key as 64 hexadecimal digits or as an extended key (xprv...,
which keeps its chain code; without one the account gets a random chain code). The key is never printed; on a terminal it is
asked for and not shown.

Writes index-0.json, index-1.json, ... into the new directory given by --output, one share file for each member of the
committee, by index. Give each member its own and have it run `import`; if the committee has no auxiliary data yet, run
`aux` once among all of them. Encrypt with --recipient once for each member, in the order of their indices, or with one
password.

This process has the whole key while it runs, so run it on a machine that may have it, and destroy the original afterwards.
"""


@click.command(
    help=DEAL_HELP, epilog=EXIT_CODES_HELP, short_help="TRUSTED DEALER: split a key that exists already."
)
@click.argument("key", metavar="KEY", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--account", required=True, help="Account id of the key, free text.")
@click.option(
    "--committee", "committee_file", type=FILE, required=True, help="committee.yaml of those who get shares."
)
@click.option(
    "-t", "--threshold", type=click.IntRange(2, 16), help="How many must sign [default: the committee's]"
)
@click.option(
    "-o",
    "--output",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="New directory.",
)
@protection_options
@json_option
def deal(
    key: Path,
    account: str,
    committee_file: Path,
    threshold: int | None,
    directory: Path,
    recipients: tuple[str, ...],
    password_file: Path | None,
    *,
    plaintext: bool,
) -> None:
    """See DEAL_HELP."""
    out = output()
    protection = Protection(recipients, password_file, plaintext)
    protection.check()
    committee = read_committee(committee_file)
    t = threshold or committee.threshold
    if t > committee.n:
        raise Misuse(f"threshold {t} is more than the committee's {committee.n} members")
    if recipients and len(recipients) != committee.n:
        raise Misuse(
            f"{len(recipients)} recipients for {committee.n} members: give one for each, in the order of their indices"
        )
    suite = out.suites["secp256k1"]
    entries = deal_key(account, read_key(key, suite), committee.n, t, suite)
    directory.mkdir(mode=0o700, parents=True)
    written = []
    for index, entry in enumerate(entries):
        one = Protection((recipients[index],), None) if recipients else protection
        path = directory / f"index-{index}.json"
        one.write(path, [entry], out)
        written.append(path)
    out.warn(DEALER_WARNING)
    described = describe(entries[0])
    out.result(
        {
            "account_id": account,
            "public_key": described["public_key"],
            "addresses": described["addresses"],
            "threshold": t,
            "files": [str(path) for path in written],
        },
        [
            f"account {account!r}: public key {described['public_key']}, {t} of {committee.n}",
            *(f"  {kind:<16} {text}" for kind, text in described["addresses"].items()),
            *(
                f"wrote {path} for index {index}, {committee.members[index].identity.hex()}"
                for index, path in enumerate(written)
            ),
            "next: import each on its own node, and if the committee has no auxiliary data yet, run mpc-keygen aux",
        ],
    )


COMMANDS = (inspect, export, import_, deal)
