"""The commands of mpc-client."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from client.console import Output
from client.errors import EXIT_CODES_HELP, RequestFailed
from client.request import new_request, payload_of, request_id_of
from client.running import Run
from client.session import Session, parse_signers
from client.settings import DEFAULT_PATH, ENV_PREFIX, NAME
from client.signer import MpcSigner
from kit.version import version
from participant.payloads import HASHES, MAX_BODY, NO_HASH, Digest
from participant.payloads.psbt import MAGIC

CONTEXT: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 110}

F = TypeVar("F", bound=Callable[..., Any])

HELP = f"""Sign with keys that no single machine holds. Without a command an interactive session begins.

Settings come from --config, without it from {DEFAULT_PATH} if it exists; environment variables win over the file
({ENV_PREFIX}__SERVICE__TIMEOUT_SECONDS=60 sets service.timeout_seconds).

With a share of its own in the settings (local_participant) the client runs a participant of its own as long as it lasts and
asks that; without one it asks sign-services (service.targets, or --service).
"""


SIGN_HELP = """Sign with ACCOUNT: DIGEST (32 bytes as 64 hexadecimal digits, signed as they are), or what an option names.

\b
mpc-client sign main 0x5f16f4c7f149ac4f9510d9cf8cf384038ad348b3bcdc01915f95de12df9d1b02
mpc-client sign main --transaction unsigned.json --path m/0/5 --json
"""


def _set_config(ctx: click.Context, _parameter: click.Parameter, value: Path | None) -> None:
    if value is not None:
        ctx.ensure_object(Run).config = value


def _set_services(ctx: click.Context, _parameter: click.Parameter, value: tuple[str, ...]) -> None:
    if value:
        ctx.ensure_object(Run).services = value


def _set_json(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's signature
    if value:
        ctx.ensure_object(Run).output = Output(as_json=True)


def common(command: F) -> F:
    """The options that every command takes, before its name or after it."""
    for option in (
        click.option(
            "--json",
            is_flag=True,
            expose_value=False,
            callback=_set_json,
            help="Print one JSON object on standard output; an error is one on standard error.",
        ),
        click.option(
            "--service",
            metavar="URL",
            multiple=True,
            expose_value=False,
            callback=_set_services,
            help="Ask this sign-service instead of those in the settings; may be repeated.",
        ),
        click.option(
            "-c",
            "--config",
            metavar="FILE",
            type=click.Path(path_type=Path, dir_okay=False),
            expose_value=False,
            callback=_set_config,
            help=f"Settings file.  [default: {DEFAULT_PATH}]",
        ),
    ):
        command = option(command)
    return command


@click.group(NAME, help=HELP, epilog=EXIT_CODES_HELP, invoke_without_command=True, context_settings=CONTEXT)
@common
@click.version_option(version(), prog_name=NAME)
@click.pass_context
def cli(ctx: click.Context) -> None:
    """See HELP."""
    run = ctx.ensure_object(Run)
    if ctx.invoked_subcommand is None:
        run.do(lambda signer, _: Session(signer, run.output).run())


@cli.command(help=SIGN_HELP, epilog=EXIT_CODES_HELP)
@click.argument("account")
@click.argument("digest", required=False)
@click.option("--digest", "digest_option", metavar="HEX", help="The same as the argument DIGEST.")
@click.option("--message", metavar="TEXT", help="Sign a message: its UTF-8, hashed as --hash says.")
@click.option(
    "--message-file", metavar="FILE", type=click.File("rb"), help="The same from a file; - is standard input."
)
@click.option(
    "--hash",
    "hash_name",
    type=click.Choice(sorted([*HASHES, NO_HASH])),
    default="eip191",
    show_default=True,
    help="Hash of a message; none with an account of Ed25519, which signs the message itself.",
)
@click.option(
    "--transaction",
    metavar="FILE",
    type=click.File("rb"),
    help="An unsigned Ethereum transaction (legacy, EIP-2930, EIP-1559; JSON) or a Bitcoin PSBT (binary, base64 or "
    "hex); - is standard input. It is printed signed.",
)
@click.option("--typed-data", metavar="FILE", type=click.File("rb"), help="EIP-712 typed data (JSON).")
@click.option(
    "--solana", metavar="FILE", type=click.File("rb"), help="The message of a Solana transaction (binary)."
)
@click.option(
    "--ssh-namespace",
    metavar="NAME",
    help='Sign the message as OpenSSH does in this namespace, such as "file" or "git" (Ed25519).',
)
@click.option(
    "--bip340",
    metavar="WHICH",
    help="Sign a digest or message by BIP-340 and not by ECDSA: key, taproot for the key's Taproot output, or that output's "
    "merkle root (hex).",
)
@click.option(
    "--path", metavar="PATH", default="m", show_default=True, help="Key to sign with, such as m/0/5."
)
@click.option(
    "--signers", metavar="I,J", help="Who signs, counted from 0, such as 0,2; else the service chooses."
)
@click.option(
    "--request-id", metavar="UUID", help="Repeat a request with the same one and you get the same signature."
)
@common
@click.pass_obj
def sign(
    run: Run,
    account: str,
    digest: str | None,
    digest_option: str | None,
    message: str | None,
    message_file: Any,
    hash_name: str,
    transaction: Any,
    typed_data: Any,
    solana: Any,
    ssh_namespace: str | None,
    bip340: str | None,
    path: str,
    signers: str | None,
    request_id: str | None,
) -> None:
    """See SIGN_HELP."""

    # Before anybody is connected to: what cannot be meant needs no service to say so.
    def prepare() -> dict[str, Any]:
        content = _content(transaction)
        psbt = content is not None and is_psbt(content)
        what: dict[str, Any] = {
            "digest": _one_digest(digest, digest_option),
            "message": _one_message(message, message_file),
            "typed_data": _content(typed_data),
            "psbt": content if psbt else None,
            "solana": _content(solana),
            "ssh_namespace": ssh_namespace,
            "bip340": bip340,
        }
        chosen = parse_signers(signers)
        identifier = request_id_of(request_id) if request_id is not None else None
        given = {name: value for name, value in what.items() if value is not None}
        # A transaction may have gaps, which the settings fill.
        payload = payload_of(**given, hash=hash_name) if content is None or psbt or given else None
        new_request(account, payload or Digest(bytes(32)), path=path, signers=chosen, request_id=identifier)
        return {
            **what,
            "transaction": None if psbt else content,
            "hash": hash_name,
            "path": path,
            "signers": chosen,
            "request_id": identifier,
        }

    async def work(signer: MpcSigner, what: dict[str, Any]) -> None:
        with run.output.waiting("signing"):
            result = await signer.sign(account, **what)
        run.output.signature(result)

    run.do(work, prepare)


@cli.command(epilog=EXIT_CODES_HELP)
@click.argument("account")
@click.option("--path", metavar="PATH", default="m", show_default=True, help="Of the key, such as m/0/5.")
@common
@click.pass_obj
def pubkey(run: Run, account: str, path: str) -> None:
    """Show ACCOUNT's public key, or the one at a path below it, with its addresses."""

    async def work(signer: MpcSigner, _: None) -> None:
        run.output.public_key(await signer.public_key(account, path))

    run.do(work)


@cli.command(epilog=EXIT_CODES_HELP)
@common
@click.pass_obj
def accounts(run: Run) -> None:
    """List the accounts that the asked participant lets us use."""

    async def work(signer: MpcSigner, _: None) -> None:
        run.output.accounts(await signer.accounts())

    run.do(work)


@cli.command(epilog=EXIT_CODES_HELP)
@click.argument("account", required=False)
@common
@click.pass_obj
def stock(run: Run, account: str | None) -> None:
    """Show the presignatures that the asked participant holds, of ACCOUNT or of all: with one, a signature takes one round."""

    async def work(signer: MpcSigner, _: None) -> None:
        run.output.stock(await signer.stock(account))

    run.do(work)


def is_psbt(content: bytes) -> bool:
    """Whether a transaction file holds a PSBT (binary, base64 or hexadecimal) and not a transaction of Ethereum."""
    start = content.lstrip()[:10]
    return start.startswith((MAGIC, b"cHNidP8")) or start.lower().startswith(MAGIC.hex().encode())


def _one_digest(argument: str | None, option: str | None) -> str | None:
    if argument is not None and option is not None:
        raise RequestFailed("the digest is given twice", reason="INVALID_REQUEST")
    return argument if argument is not None else option


def _one_message(text: str | None, file: Any) -> str | bytes | None:
    if text is not None and file is not None:
        raise RequestFailed("give --message or --message-file, not both", reason="INVALID_REQUEST")
    return text if text is not None else _content(file)


def _content(file: Any) -> bytes | None:
    if file is None:
        return None
    content: bytes = file.read(2 * MAX_BODY + 1)
    if len(content) > 2 * MAX_BODY:
        raise RequestFailed(f"{file.name} is too large", reason="INVALID_REQUEST")
    return content
