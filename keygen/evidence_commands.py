"""The commands about evidence: list and export what a node keeps, and judge a file without having been there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from keygen.console import json_option, moment, output
from keygen.errors import EXIT_CODES_HELP, Exit, KeygenError, Misuse
from keygen.node_files import COMMITTEE, NodeFiles, node_options
from keygen.reach import Daemon, node_or_daemon, operator_option
from participant.committee import Committee, read_committee
from participant.identity import hex_field
from participant.store import Store
from tss.envelope import HOLDER, PartyId, holder
from tss.errors import SchemaViolation
from tss.evidence import MAX_EVIDENCE_BYTES, claim_in
from tss.judge import Verdict, judge
from tss.params import spoken

if TYPE_CHECKING:
    from kit.pb.wallet.v1 import operator_pb2
    from participant.grpc_client import ServiceClient


class EvidenceFileError(KeygenError):
    """An evidence file that cannot be read or written, or holds no evidence."""

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(text, exit_code=Exit.FILES, reason=reason)


@click.command("verify-evidence", epilog=EXIT_CODES_HELP, short_help="Judge an evidence file.")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--committee",
    "committee_file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path(COMMITTEE),
    show_default=True,
    help="The committee's public file: whose keys the messages are verified with.",
)
@json_option
@click.pass_context
def verify_evidence(ctx: click.Context, file: Path, committee_file: Path) -> None:
    """Repeat the check that the evidence in FILE says a member failed, and say whether it is proven.

    Needs nothing but the committee's public file: no store, no network, nobody's word. "Guilty" means that the holder of the
    named identity key signed a message that fails the named check of the protocol; a broken disk fails checks too. "Not
    proven" says what is missing; it clears nobody.

    Ends with 0 when guilt is proven, with 7 when it is not, with 3 when FILE holds no evidence.
    """
    out = output()
    committee = read_committee(committee_file)
    identities = {holder(index + 1): identity for index, identity in enumerate(committee.identities)}
    suites = spoken(out.suites.values())
    try:
        verdict = judge(_read(file), identities, suites)
    except SchemaViolation as error:
        raise EvidenceFileError(f"{file} holds no evidence: {error.what}", "NO_EVIDENCE") from None
    identity = identities.get(verdict.accused, b"").hex()
    found = {
        "guilty": verdict.guilty,
        "cleared": verdict.cleared,
        "index": verdict.accused.index - 1,
        "role": verdict.accused.role,
        "identity": identity,
        "check": verdict.check,
        "section": verdict.section,
        "reason": verdict.reason,
        "committee_id": committee.committee_id.hex(),
    }
    out.result(found, _lines(verdict, identity, committee))
    if not verdict.guilty:
        ctx.exit(Exit.NOT_PROVEN)


def _read(file: Path) -> bytes:
    with file.open("rb") as opened:
        data = opened.read(MAX_EVIDENCE_BYTES + 1)
    if len(data) > MAX_EVIDENCE_BYTES:
        raise EvidenceFileError(f"{file} is longer than any evidence", "NO_EVIDENCE")
    return data


def _lines(verdict: Verdict, identity: str, committee: Committee) -> list[str]:
    who = f"index {verdict.accused.index - 1}{_role(verdict.accused)} of committee {committee.committee_id.hex()}"
    if verdict.guilty:
        return [
            f"GUILTY: {who}",
            f"  identity {identity}",
            f"  check {verdict.check} (protocol.md {verdict.section})",
            f"  {verdict.reason}",
        ]
    lines = [f"not proven against {who}", f"  check {verdict.check}", f"  {verdict.reason}"]
    if verdict.cleared:
        lines.append("  the evidence is complete: whoever signed a complaint with it accuses falsely")
    return lines


def _role(party: PartyId) -> str:
    return "" if party.role == HOLDER else f" ({party.role})"


@click.group(epilog=EXIT_CODES_HELP, short_help="Evidence that a node keeps: list, export.")
def evidence() -> None:
    """Evidence against peers that failed a check. It holds no secret and may be shown to anybody."""


@evidence.command("list", epilog=EXIT_CODES_HELP)
@node_options
@operator_option
@json_option
def list_(files: NodeFiles, operator: str | None) -> None:
    """Show the evidence that the node in DIR keeps, newest first.

    When the daemon of DIR runs, asks it through its operator socket; otherwise opens DIR's store itself.
    """
    out = output()
    with node_or_daemon(files, operator, out) as node:
        found = _of_daemon(node) if isinstance(node, Daemon) else _of_store(node)
    lines = [
        f"{one['evidence_id']}  {one['check']}  {one['text']}{_since(one['recorded_at'])}" for one in found
    ]
    out.result({"evidence": found}, lines or ["there is no evidence"])


def _since(seconds: int) -> str:
    return f"  {moment(seconds)}" if seconds else ""


def _of_store(store: Store) -> list[dict[str, Any]]:
    marks = {mark.evidence_id: mark for mark in store.quarantine.entries()}
    found = []
    for evidence_id in reversed(store.quarantine.evidence_ids()):
        mark = marks.get(evidence_id)
        check, text = _claim(store.quarantine.evidence(evidence_id) or b"")
        found.append(
            {
                "evidence_id": evidence_id.hex(),
                "identity": "" if mark is None else mark.peer.hex(),
                "check": check,
                "text": text,
                "recorded_at": 0 if mark is None else mark.added_at // 1000,
            }
        )
    return found


def _claim(file: bytes) -> tuple[str, str]:
    try:
        accused, check = claim_in(file)
    except SchemaViolation as error:
        return "", f"the file cannot be read: {error.what}"
    return check, f"against party index {accused.index - 1} ({accused.role})"


def _of_daemon(daemon: Daemon) -> list[dict[str, Any]]:
    async def conversation(client: ServiceClient) -> list[operator_pb2.Evidence]:
        from kit.pb.wallet.v1 import operator_pb2 as pb

        found: list[operator_pb2.Evidence] = []
        token = ""
        while True:
            request = pb.ListEvidenceRequest(page_token=token)
            page = await client.call(client.operator.ListEvidence, request)
            found += page.evidence
            token = page.next_page_token
            if not token:
                return found

    return [
        {
            "evidence_id": one.evidence_id,
            "identity": one.identity_key.hex(),
            "check": one.check,
            "text": one.text,
            "recorded_at": one.recorded_at,
        }
        for one in daemon.talk(conversation)
    ]


@evidence.command(epilog=EXIT_CODES_HELP)
@click.argument("evidence_id", metavar="EVIDENCE")
@node_options
@click.option(
    "-o",
    "--output",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="File to write; an existing one is not overwritten.",
)
@operator_option
@json_option
def export(evidence_id: str, files: NodeFiles, path: Path, operator: str | None) -> None:
    """Write the evidence of this id (EVIDENCE: 64 hexadecimal digits, see `list`) to a file for `verify-evidence`.

    When the daemon of DIR runs, asks it through its operator socket; otherwise opens DIR's store itself.
    """
    out = output()
    try:
        wanted = hex_field(evidence_id, 32, "the evidence's id")
    except ValueError as error:
        raise Misuse(str(error)) from None
    with node_or_daemon(files, operator, out) as node:
        blob = _from_daemon(node, wanted) if isinstance(node, Daemon) else node.quarantine.evidence(wanted)
    if blob is None:
        raise EvidenceFileError(
            f"this node keeps no evidence {evidence_id}: see `mpc-keygen evidence list`", "EVIDENCE_NOT_FOUND"
        )
    with path.open("xb") as file:
        file.write(blob)
        file.flush()
        os.fsync(file.fileno())
    out.result({"evidence_id": evidence_id, "file": str(path), "bytes": len(blob)}, [f"written to {path}"])


def _from_daemon(daemon: Daemon, evidence_id: bytes) -> bytes:
    async def conversation(client: ServiceClient) -> operator_pb2.GetEvidenceResponse:
        from kit.pb.wallet.v1 import operator_pb2 as pb

        request = pb.GetEvidenceRequest(evidence_id=evidence_id.hex())
        return await client.call(client.operator.GetEvidence, request)

    return daemon.talk(conversation).file


COMMANDS: Final = (verify_evidence, evidence)
