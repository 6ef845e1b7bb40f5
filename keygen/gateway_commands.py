"""What lets nodes into a gateway: its key set, made of their cards, and another key for a node."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import click

from keygen.console import grouped, json_option, output
from keygen.errors import EXIT_CODES_HELP, Exit, KeygenError
from keygen.node_files import CARD, NodeFiles, password_option
from participant.committee import MAX_COMMITTEE_FILE, BadCommittee, Committee
from participant.files import sync_directory
from participant.gateway_tokens import key_set_text
from participant.identity import BadCard, Card

FILE_MODE: Final = 0o644


@click.command(
    "gateway-keys", epilog=EXIT_CODES_HELP, short_help="Make a gateway's key set from nodes' cards."
)
@click.argument("cards", metavar="CARD...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write; one that is there is replaced as a whole [default: standard output]",
)
def gateway_keys(cards: tuple[Path, ...], path: Path | None) -> None:
    """Make the key set by which a gateway lets nodes in (its setting access.key_set), a JWK Set, from their cards.

    Each CARD is a file that `mpc-keygen identity` made, a node's directory, or a committee file, which holds the cards of all
    members. Only the gateway-access keys are taken, which are public. A gateway reads the file again when it changes, so
    nodes come and go without a restart.
    """
    members = [card for place in cards for card in read_cards(place)]
    text = key_set_text(members)
    count = len({card.gateway_access for card in members})
    if path is None:
        click.echo(text, nl=False)
    else:
        write_key_set(path, text)
        output().say(f"{count} keys written to {path}")


def read_cards(place: Path) -> list[Card]:
    """The cards of a card file, a node's directory or a committee file. Raises BadCard, BadCommittee."""
    file = place / CARD if place.is_dir() else place
    try:
        with file.open("rb") as content:
            data = content.read(MAX_COMMITTEE_FILE + 1)
    except OSError as error:
        raise BadCard(f"cannot read the card {file}: {error.strerror}") from None
    try:
        if data.lstrip().startswith(b"{"):
            return [Card.from_json(data)]
        return list(Committee.from_yaml(data.decode("utf-8", "replace")).members)
    except BadCard as error:
        raise BadCard(f"{file}: {error}") from None
    except BadCommittee as error:
        raise BadCommittee(f"{file} is neither a card nor a committee file: {error}") from None


def write_key_set(path: Path, text: str) -> None:
    """Replace the file at once, so that nobody reads a part of it. Raises KeygenError."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), FILE_MODE)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        sync_directory(path.absolute().parent)
    except OSError as error:
        raise KeygenError(
            f"cannot write {path}: {error.strerror}", exit_code=Exit.FILES, reason="NOT_WRITTEN"
        ) from None


@click.command(
    "renew-access", epilog=EXIT_CODES_HELP, short_help="Give a node another gateway-access key and card."
)
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path, file_okay=False), default=".")
@password_option
@json_option
def renew_access(directory: Path, store_password_file: Path | None) -> None:
    """Give the node in DIR, whose daemon is stopped, another gateway-access key, and print its new card.

    Identity and shares stay as they are, and so do committees: their files may go on holding the former card. Before the
    node starts again, its gateway's key set needs the new card: `mpc-keygen gateway-keys`.
    """
    files = NodeFiles.of(directory, password_file=store_password_file)
    with files.open() as store:
        store.renew_gateway_access()
    card = files.make()
    output().say(
        f"identity {grouped(card.identity)} has another gateway-access key; card in {files.card}. Add it to the gateway's key "
        "set before this node starts"
    )
    output().result(card.as_dict(), [card.to_json()])


COMMANDS = (gateway_keys, renew_access)
