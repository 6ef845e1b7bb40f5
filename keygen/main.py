"""`mpc-keygen`: key ceremonies, import, export and inspection of shares."""

from __future__ import annotations

from typing import Final

import click

from keygen.console import NAME, Commands
from keygen.errors import EXIT_CODES_HELP
from kit.hardening import forbid_memory_dumps
from kit.version import version

CONTEXT: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 110}

PLACES: Final = {
    "quickstart": "keygen.quickstart_command",
    "identity": "keygen.setup_commands",
    "committee": "keygen.setup_commands",
    "init": "keygen.setup_commands",
    "gateway-keys": "keygen.gateway_commands",
    "renew-access": "keygen.gateway_commands",
    "create": "keygen.ceremony_commands",
    "aux": "keygen.ceremony_commands",
    "refresh": "keygen.ceremony_commands",
    "reshare": "keygen.reshare_commands",
    "approve": "keygen.reshare_commands",
    "resharings": "keygen.reshare_commands",
    "recover": "keygen.recover_commands",
    "recoveries": "keygen.recover_commands",
    "primes": "keygen.node_commands",
    "status": "keygen.node_commands",
    "doctor": "keygen.doctor_command",
    "recovery-key": "keygen.backup_commands",
    "backup": "keygen.backup_commands",
    "verify-backup": "keygen.backup_commands",
    "restore": "keygen.backup_commands",
    "seal": "keygen.seal_commands",
    "agent": "keygen.seal_commands",
    "xpub": "keygen.account_commands",
    "freeze": "keygen.account_commands",
    "unfreeze": "keygen.account_commands",
    "delete": "keygen.account_commands",
    "quarantine": "keygen.quarantine_commands",
    "evidence": "keygen.evidence_commands",
    "verify-evidence": "keygen.evidence_commands",
    "inspect": "keygen.share_commands",
    "export": "keygen.share_commands",
    "import": "keygen.share_commands",
    "deal": "keygen.share_commands",
}
"""Where each command is defined."""


@click.group(
    NAME,
    cls=Commands,
    places=PLACES,
    context_settings=CONTEXT,
    epilog=EXIT_CODES_HELP,
    invoke_without_command=True,
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
        quickstart = main.get_command(ctx, "quickstart")
        assert quickstart is not None  # noqa: S101 - it is in PLACES
        ctx.invoke(quickstart)


if __name__ == "__main__":
    main()
