"""The command that runs when no command is given."""

from __future__ import annotations

from pathlib import Path

import click

from keygen.console import grouped, json_option, output
from keygen.errors import EXIT_CODES_HELP
from keygen.quickstart import MEMBERS, quick_start
from participant.payloads import all_addresses

DEFAULT_ACCOUNT = "account1"

ONE_MACHINE = (
    "all shares of these keys were in one process on one machine: whoever had this machine has the keys. For trying out "
    "only; between machines use `mpc-keygen identity`, `committee` and `create`"
)
PLAIN_FILES = "the share files are plain text (mode 0600): keep each with its own participant, or encrypt it with `export`"

HELP = """Make the keys of the quick start (what `mpc-keygen` does without a command).

A distributed key generation among three participants that all run here for its duration. No process ever puts the private
key together, not even this one.

\b
client_key_shares.json     index 1, for mpc-client
service_key_shares.json    index 0, for sign-service
backup_key_shares.json     index 2, to be kept elsewhere
client_node/, service_node/, backup_node/     each participant's identity, sealed store, and settings
committee.yaml             who they are, public
config/*.yaml              written when there are none

\b
Then, each in a terminal of its own:
  sign-gateway
  sign-service
  mpc-client

Any two participants can sign; to use the backup start `sign-service backup_node/sign-service.yaml`. It takes about a
minute, most of it for safe primes. Nothing is overwritten, and when it is interrupted nothing is left behind.
"""


@click.command(
    help=HELP, epilog=EXIT_CODES_HELP, short_help="Make the keys of the quick start; what no command means."
)
@click.option(
    "--account",
    "accounts",
    multiple=True,
    default=(DEFAULT_ACCOUNT,),
    show_default=True,
    help="Account id, free text; may be given several times.",
)
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=Path(),
    help="Where everything is written; the current directory by default.",
)
@json_option
def quickstart(accounts: tuple[str, ...], directory: Path) -> None:
    """See HELP."""
    out = output()
    made = quick_start(directory, tuple(dict.fromkeys(accounts)), out.suites["secp256k1"], out)
    out.warn(ONE_MACHINE)
    out.warn(PLAIN_FILES)
    lines = []
    for account_id, public_key in made.public_keys.items():
        lines.append(f"account {account_id!r}: public key {public_key.hex()}")
        lines += [f"  {kind:<16} {text}" for kind, text in all_addresses(public_key).items()]
    lines.append(f"committee {grouped(made.committee.committee_id)}")
    lines += [
        f"wrote {path} (index {index}, {MEMBERS[index]})" for index, path in enumerate(made.share_files)
    ]
    lines += [f"wrote {path}" for path in made.configuration]
    lines.append("next, each in a terminal of its own: sign-gateway, sign-service, mpc-client")
    out.result(
        {
            "accounts": {name: key.hex() for name, key in made.public_keys.items()},
            "committee_id": made.committee.committee_id.hex(),
            "share_files": {
                member: str(path) for member, path in zip(MEMBERS, made.share_files, strict=True)
            },
            "configuration": [str(path) for path in made.configuration],
        },
        lines,
    )


COMMANDS = (quickstart,)
