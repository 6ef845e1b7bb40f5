"""`mpc-keygen`: key ceremonies, import, export and inspection of shares."""

from __future__ import annotations

import click

from keygen import setup_commands
from keygen.console import NAME, Commands
from keygen.errors import EXIT_CODES_HELP
from kit.version import version

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


@click.group(NAME, cls=Commands, context_settings=CONTEXT, epilog=EXIT_CODES_HELP)
@click.version_option(version(), prog_name=NAME)
def main() -> None:
    """Make keys that no single machine holds, and look after their shares."""


for command in setup_commands.COMMANDS:
    main.add_command(command)

if __name__ == "__main__":
    main()
