"""`mpc-keygen`: key ceremonies, import, export and inspection of shares."""

from __future__ import annotations

import click

from keygen import ceremony_commands, node_commands, quickstart_command, setup_commands, share_commands
from keygen.console import NAME, Commands
from keygen.errors import EXIT_CODES_HELP
from kit.hardening import forbid_memory_dumps
from kit.version import version

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


@click.group(
    NAME, cls=Commands, context_settings=CONTEXT, epilog=EXIT_CODES_HELP, invoke_without_command=True
)
@click.version_option(version(), prog_name=NAME)
@click.pass_context
def main(ctx: click.Context) -> None:
    """Make keys that no single machine holds, and look after their shares.

    Without a command: the quick start, see `mpc-keygen quickstart --help`.
    """
    # A crash leaves no image of a memory that may hold whole keys (`deal`) or all shares of one (the quick start).
    forbid_memory_dumps()
    if ctx.invoked_subcommand is None:
        ctx.invoke(quickstart_command.quickstart)


for module in (quickstart_command, setup_commands, ceremony_commands, node_commands, share_commands):
    for command in module.COMMANDS:
        main.add_command(command)

if __name__ == "__main__":
    main()
