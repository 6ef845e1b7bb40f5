"""Peers that failed a check, and signer sets in which somebody cheated: list, clear."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Any

import click

from keygen.console import Output, json_option, moment, output
from keygen.errors import EXIT_CODES_HELP, Misuse
from keygen.node_files import NodeFiles, node_options
from keygen.reach import Daemon, node_or_daemon, operator_option
from participant.committee import Committee
from participant.identity import hex_field
from participant.store import Store

if TYPE_CHECKING:
    from kit.pb.wallet.v1 import operator_pb2
    from participant.grpc_client import ServiceClient


@click.group(
    epilog=EXIT_CODES_HELP, short_help="Peers that failed a check, blocked signer sets: list, clear."
)
def quarantine() -> None:
    """Peers that failed a check, and signer sets in which somebody cheated and it is not known yet who.

    This node does not work with them until an operator clears them; a set also becomes free when it is found out who it was.
    """


@quarantine.command("list", epilog=EXIT_CODES_HELP)
@node_options
@operator_option
@json_option
def list_(files: NodeFiles, operator: str | None) -> None:
    """Show who is in quarantine, since when, which check failed and whether evidence is kept; then the blocked signer sets.

    When the daemon of DIR runs, asks it through its operator socket; otherwise opens DIR's store itself.
    """
    out = output()
    with node_or_daemon(files, operator, out) as node:
        found = _listed_by_daemon(node) if isinstance(node, Daemon) else _listed_in_store(node)
    out.result(found, _lines(found))


def _lines(found: dict[str, Any]) -> list[str]:
    lines = []
    for peer in found["peers"]:
        places = (
            ", ".join(f"index {place['index']}" for place in peer["places"]) or "of no committee of this node"
        )
        evidence = f"evidence {peer['evidence_id']}" if peer["evidence_id"] else "no evidence is kept"
        lines.append(
            f"{peer['identity']}  {places}  since {moment(peer['since'])}  {peer['check']}  {evidence}"
        )
    for blocked in found["signer_sets"]:
        indices = ", ".join(map(str, blocked["signers"]))
        lines.append(
            f"{blocked['session_id']}  signers {indices}  since {moment(blocked['since'])}  {blocked['text']}"
        )
    return lines or ["nobody is in quarantine, no signer set is blocked"]


def _listed_in_store(store: Store) -> dict[str, Any]:
    committees = {committee.committee_id: committee for committee in store.accounts.committees()}
    peers = [
        {
            "identity": entry.peer.hex(),
            "places": _places(committees.get(entry.committee_id), entry.peer),
            "check": entry.reason,
            "evidence_id": "" if entry.evidence_id is None else entry.evidence_id.hex(),
            "since": entry.added_at // 1000,
        }
        for entry in store.quarantine.entries()
    ]
    sets = [
        {
            "session_id": entry.sid.hex(),
            "committee_id": entry.committee_id.hex(),
            "signers": [point - 1 for point in entry.signers],
            "lacking": [point - 1 for point in entry.lacking],
            "text": entry.reason,
            "since": entry.blocked_at // 1000,
        }
        for entry in store.blocked.entries()
    ]
    return {"peers": peers, "signer_sets": sets}


def _places(committee: Committee | None, peer: bytes) -> list[dict[str, Any]]:
    if committee is None or peer not in committee.identities:
        return []
    return [{"committee_id": committee.committee_id.hex(), "index": committee.identities.index(peer)}]


def _listed_by_daemon(daemon: Daemon) -> dict[str, Any]:
    async def conversation(client: ServiceClient) -> operator_pb2.ListQuarantineResponse:
        from kit.pb.wallet.v1 import operator_pb2 as pb

        return await client.call(client.operator.ListQuarantine, pb.ListQuarantineRequest())

    found = daemon.talk(conversation)
    peers = [
        {
            "identity": peer.identity_key.hex(),
            "places": [
                {"committee_id": place.committee_id.hex(), "index": place.index} for place in peer.places
            ],
            "check": peer.check,
            "evidence_id": peer.evidence_id,
            "since": peer.since,
        }
        for peer in found.peers
    ]
    sets = [
        {
            "session_id": blocked.session_id.hex(),
            "committee_id": blocked.committee_id.hex(),
            "signers": list(blocked.signers),
            "lacking": list(blocked.lacking),
            "text": blocked.text,
            "since": blocked.since,
        }
        for blocked in found.signer_sets
    ]
    return {"peers": peers, "signer_sets": sets}


@quarantine.command(epilog=EXIT_CODES_HELP)
@click.argument("id_", metavar="ID")
@node_options
@click.option("--reason", required=True, help="Why they are trusted again; kept in the audit log.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@operator_option
@json_option
def clear(id_: str, files: NodeFiles, reason: str, yes: bool, operator: str | None) -> None:  # noqa: FBT001 - click's signature
    """Work with a peer or in a signer set again. ID: the first 64 hexadecimal digits of its line in `list`.

    Find out first why it was there: who failed a check is broken or has been taken over, and the next check that fails may
    cost a key. When the daemon of DIR runs, asks it through its operator socket; otherwise opens DIR's store itself.
    """
    out = output()
    try:
        wanted = hex_field(id_, 32, "ID")
    except ValueError as error:
        raise Misuse(str(error)) from None
    with node_or_daemon(files, operator, out) as node:
        found = _listed_by_daemon(node) if isinstance(node, Daemon) else _listed_in_store(node)
        is_set = any(blocked["session_id"] == id_ for blocked in found["signer_sets"])
        is_peer = any(peer["identity"] == id_ for peer in found["peers"])
        if is_set or is_peer:
            _confirm(out, found, id_, yes=yes)
        cleared = (
            _clear_by_daemon(node, wanted, reason, is_set=is_set)
            if isinstance(node, Daemon)
            else _clear_in_store(node, wanted, reason, is_set=is_set)
        )
    what = "in it" if is_set else "with it"
    line = f"cleared: this node works {what} again" if cleared else "it was not in quarantine"
    out.result({"id": id_, "cleared": cleared}, [line])


def _confirm(out: Output, found: dict[str, Any], id_: str, *, yes: bool) -> None:
    """Ask whoever runs this, unless that was done. Raises Misuse."""
    if yes:
        return
    unconfirmed = Misuse("nothing was cleared: confirm it, or give --yes where nobody can be asked")
    if out.as_json:
        raise unconfirmed
    for line in _lines(found):
        if line.startswith(id_):
            out.say(line)
    try:
        confirmed = click.confirm("Trust it again?", err=True)
    except click.Abort:
        raise unconfirmed from None
    if not confirmed:
        raise unconfirmed


def _clear_in_store(store: Store, wanted: bytes, reason: str, *, is_set: bool) -> bool:
    # Not before it is used: it brings the whole node with it.
    from participant.node.blame import clear_marks, lift_block

    by = getpass.getuser()
    if is_set:
        return lift_block(store, wanted, by, reason)
    return clear_marks(store, wanted, by, reason) > 0


def _clear_by_daemon(daemon: Daemon, wanted: bytes, reason: str, *, is_set: bool) -> bool:
    async def conversation(client: ServiceClient) -> operator_pb2.ClearQuarantineResponse:
        from kit.pb.wallet.v1 import operator_pb2 as pb

        request = pb.ClearQuarantineRequest(reason=reason)
        if is_set:
            request.session_id = wanted
        else:
            request.identity_key = wanted
        return await client.call(client.operator.ClearQuarantine, request)

    return daemon.talk(conversation).cleared


COMMANDS = (quarantine,)
