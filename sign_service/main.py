"""`sign-service [CONFIG]`: a participant that holds shares and signs with the others, as a daemon."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import click

from kit import tracing
from kit.daemon import EXIT_OK, EXIT_SETTINGS, StopSignal, announce, complain, run_daemon
from kit.hardening import forbid_memory_dumps
from kit.logs import configure_logging, get_logger
from kit.settings import SettingsError, settings_file
from kit.tls import client_context, server_context
from kit.version import version
from participant.errors import NodeError
from participant.sharefile import SUITES
from sign_service.opening import EXIT_FILES, auth_of, choose_powers
from sign_service.settings import DEFAULT_PATH, ENV_ALIASES, ENV_PREFIX, NAME, ServiceSettings, load
from tss.params import Suite

HELP = f"""Runs a participant: it holds this node's key shares, makes keys and signs together with the others of its
committee, as its own policy allows.

CONFIG is a YAML file; without it {DEFAULT_PATH} is read if it exists, else built-in defaults are used.
Environment variables win over the file: {ENV_PREFIX}__SERVER__PORT=0 sets server.port, with __ between the levels.
{next(iter(ENV_ALIASES))} sets mpc.key_share_file. Secrets come from files only.

The node itself (store, sealing key, identity, committee) is made by `mpc-keygen`: `init` for development, `identity` and
`committee` for machines of their own.

\b
Started, it prints
  gRPC server on 127.0.0.1:50051
  Operator on unix:/.../operator.sock
  Listening on http://127.0.0.1:9451
  Connected to gateway at http://127.0.0.1:8080      (as soon as the gateway answers)
on standard output; its log goes to standard error. Port 0 takes any free port; the line shows which.

\b
Endpoints:
  gRPC mpc.Participant, wallet.v1.Wallet, grpc.health.v1.Health, reflection
  gRPC wallet.v1.Operator, on the unix socket and with an operator's certificate only
  HTTP GET /healthz  /readyz  /metrics

SIGHUP reads callers, operators, certificates and the log level again; the log names what has to wait for a restart.
SIGTERM or SIGINT ends it: open calls are finished, exit code 0.
Exit codes: 1 a port cannot be listened on or an internal failure, 2 wrong settings, 3 a file, store or share is missing,
damaged, exposed, in use, or does not open (wrong password or key).
"""


@click.command(
    NAME, help=HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120}
)
@click.argument("config", required=False, type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Check the settings, say what is wrong with them, and end.")
@click.version_option(version(), prog_name=NAME)
def main(config: Path | None, *, check: bool) -> None:
    """Entry point of the command."""
    sys.exit(run(config, check=check))


def run(config: Path | None, *, check: bool = False, suites: Mapping[str, Suite] = SUITES) -> int:
    """What the command does; its exit code. `suites` are the signature schemes by curve."""
    forbid_memory_dumps()
    try:
        settings = load(config)
        if check:
            _check(settings)
    except SettingsError as error:
        complain(NAME, error)
        return EXIT_SETTINGS
    except NodeError as error:
        complain(NAME, error)
        return EXIT_FILES
    file = settings_file(DEFAULT_PATH, config)
    if check:
        announce(f"{file or 'built-in defaults'}: the settings are good")
        return EXIT_OK
    configure_logging(settings.logging, NAME)
    get_logger(__name__).info("settings read", file=str(file) if file else "built-in defaults")

    async def body(stop: StopSignal) -> None:
        # Here, so that gRPC is imported after run_daemon prepared it.
        from sign_service.service import serve

        with tracing.exported(settings.tracing, NAME, version()):
            await serve(settings, lambda: load(config), suites, stop)

    return run_daemon(NAME, body)


def _check(settings: ServiceSettings) -> None:
    """What can be said without the store. Raises SettingsError, NodeError."""
    server_context(settings.tls)
    auth_of(settings)
    choose_powers(settings)
    tracing.check(settings.tracing)
    if settings.gateway.url.startswith("https://"):
        client_context(settings.gateway.ca, settings.gateway.certificate, settings.gateway.key)


if __name__ == "__main__":
    main()
