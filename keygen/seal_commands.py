"""What opens a store: list, add, remove, renew; and the agent that gives a passphrase at start."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from keygen.console import json_option, moment, output
from keygen.errors import EXIT_CODES_HELP, Misuse
from keygen.node_files import NodeFiles, node_options
from keygen.reach import FILE, Daemon, node_or_daemon, operator_option
from participant.store import AuditRecord, Store

if TYPE_CHECKING:
    from kit.pb.wallet.v1 import operator_pb2
    from participant.grpc_client import ServiceClient


@click.group(epilog=EXIT_CODES_HELP, short_help="What opens a node's store: list, add, remove, renew.")
def seal() -> None:
    """The keys that open a node's store, each in a slot of its own, and the data key behind them.

    To change the key: add the new one, name it in the settings (or in DIR/seal.yaml), remove the old one. To be safe from
    who may have read this machine's memory: renew. A running daemon goes on working through all of it, and whatever
    interrupts it, the store still opens.
    """


@seal.command("list", epilog=EXIT_CODES_HELP)
@node_options
@operator_option
@json_option
def list_(files: NodeFiles, operator: str | None) -> None:
    """Show the slots: number, kind of key, which one, since when, and which of them opened the store."""
    out = output()
    with node_or_daemon(files, operator, out) as node:
        if isinstance(node, Daemon):

            async def ask(client: ServiceClient, pb: Any) -> operator_pb2.ListSealsResponse:
                return await client.call(client.operator.ListSeals, pb.ListSealsRequest())

            found = _told(node.ask(ask))
        else:
            found = _stored(node)
    out.result(found, _lines(found))


@seal.command(epilog=EXIT_CODES_HELP)
@click.argument("new", metavar="SEAL_FILE", type=FILE)
@node_options
@click.option("--make-token-key", is_flag=True, help="Make the AES key on the PKCS#11 token first.")
@operator_option
@json_option
def add(new: Path, files: NodeFiles, make_token_key: bool, operator: str | None) -> None:  # noqa: FBT001 - click's signature
    """Let the key that SEAL_FILE names open the store, too.

    SEAL_FILE is YAML on the node's machine with one of key_file, password_file, password_agent, pkcs11, kms. The key is tried
    before anything is stored.
    """
    out = output()
    path = new.absolute()
    with node_or_daemon(files, operator, out) as node:
        if isinstance(node, Daemon):

            async def ask(client: ServiceClient, pb: Any) -> operator_pb2.ListSealsResponse:
                request = pb.AddSealRequest(seal_file=str(path), make_token_key=make_token_key)
                await client.call(client.operator.AddSeal, request)
                return await client.call(client.operator.ListSeals, pb.ListSealsRequest())

            found = _told(node.ask(ask))
        else:
            from participant.seal_file import wrapper_of

            slot = node.seals.add(wrapper_of(path, make_token_key=make_token_key))
            _audit(node, "sealing key added", f"slot {slot.number}: {slot.form}, {slot.note}")
            found = _stored(node)
    out.result(found, _lines(found))


@seal.command(epilog=EXIT_CODES_HELP)
@click.argument("number", type=click.IntRange(1))
@node_options
@operator_option
@json_option
def remove(number: int, files: NodeFiles, operator: str | None) -> None:
    """Let the key of slot NUMBER open the store no more.

    Copies of the store that were made before still open with it. Make sure first that settings name another one: the
    next start needs it.
    """
    out = output()
    with node_or_daemon(files, operator, out) as node:
        if isinstance(node, Daemon):

            async def ask(client: ServiceClient, pb: Any) -> operator_pb2.ListSealsResponse:
                return await client.call(client.operator.RemoveSeal, pb.RemoveSealRequest(number=number))

            found = _told(node.ask(ask))
        else:
            node.seals.remove(number)
            _audit(node, "sealing key removed", f"slot {number}")
            found = _stored(node)
    out.result(found, _lines(found))


@seal.command(epilog=EXIT_CODES_HELP)
@node_options
@operator_option
@json_option
def renew(files: NodeFiles, operator: str | None) -> None:
    """Seal every secret of the store under a new data key. Interrupted, it goes on when it is called again."""
    out = output()
    with node_or_daemon(files, operator, out) as node:
        if isinstance(node, Daemon):

            async def ask(client: ServiceClient, pb: Any) -> operator_pb2.RenewDataKeyResponse:
                return await client.call(client.operator.RenewDataKey, pb.RenewDataKeyRequest())

            count = node.ask(ask).values
        else:
            count = node.seals.renew()
            _audit(node, "data key renewed", f"{count} values sealed anew")
    out.result({"values": count}, [f"{count} secrets are sealed under a new data key; the old one is gone"])


@click.command(epilog=EXIT_CODES_HELP, short_help="Give a passphrase or PIN to daemons at start.")
@click.argument("socket", type=FILE)
@click.option("--once", is_flag=True, help="End after it was given once.")
def agent(socket: Path, once: bool) -> None:  # noqa: FBT001 - click's signature
    """Keep a passphrase or PIN in memory and give it, at the unix socket SOCKET, to processes of this user and root.

    It is asked for on the terminal, or read from standard input where that is none. Name SOCKET as password_agent or
    pin_agent in the seal file. It runs until it is ended; nothing is written to any file.
    """
    from participant.agent import Agent

    if sys.stdin.isatty():
        secret = str(click.prompt("Passphrase", hide_input=True, err=True)).encode()
    else:
        secret = sys.stdin.buffer.readline().removesuffix(b"\n").removesuffix(b"\r")
    if not secret:
        raise Misuse("the passphrase is empty")
    here = Agent(socket, secret)
    click.echo(f"Agent at {socket}")
    try:
        here.serve(once=once, said=lambda text: click.echo(text, err=True))
    finally:
        here.close()


def _stored(store: Store) -> dict[str, Any]:
    slots = [
        {
            "number": slot.number,
            "form": slot.form,
            "note": slot.note,
            "added_at": slot.added_at // 1000,
            "in_use": slot.in_use,
        }
        for slot in store.seals.slots()
    ]
    return {"slots": slots, "data_keys": store.seals.data_keys()}


def _told(found: operator_pb2.ListSealsResponse) -> dict[str, Any]:
    slots = [
        {
            "number": slot.number,
            "form": slot.form,
            "note": slot.note,
            "added_at": slot.added_at,
            "in_use": slot.in_use,
        }
        for slot in found.slots
    ]
    return {"slots": slots, "data_keys": list(found.data_keys)}


def _lines(found: dict[str, Any]) -> list[str]:
    lines = [
        f"slot {slot['number']}  {slot['form']}  {slot['note']}  since {moment(slot['added_at'])}"
        + ("  opened the store" if slot["in_use"] else "")
        for slot in found["slots"]
    ]
    if len(found["data_keys"]) > 1:
        lines.append("a renewal of the data key is unfinished: call mpc-keygen seal renew again")
    return lines


def _audit(store: Store, decision: str, reason: str) -> None:
    store.audit.append(AuditRecord("operator", "operator", decision, reason[:400]))


COMMANDS = (seal, agent)
