"""`sign-gateway [CONFIG]`: the room broker and gRPC proxy as a daemon."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from gateway.settings import DEFAULT_PATH, ENV_PREFIX, NAME, load
from kit import tracing
from kit.daemon import EXIT_SETTINGS, StopSignal, announce, complain, run_daemon
from kit.logs import configure_logging, get_logger
from kit.settings import SettingsError, settings_file
from kit.tls import server_context
from kit.version import version

HELP = f"""Runs the gateway: rooms by HTTP and server-sent events, and the gRPC proxy to the sign-service.

CONFIG is a YAML file; without it {DEFAULT_PATH} is read if it exists, else built-in defaults are used.
Environment variables win over the file: {ENV_PREFIX}__SERVER__PORT=0 sets server.port, with __ between the levels.

\b
Started, it prints
  Listening on http://127.0.0.1:8080
  gRPC server on 127.0.0.1:50050
on standard output; its log goes to standard error. Port 0 takes any free port; the line shows which.

\b
Endpoints:
  GET  /rooms/ROOM/subscribe            server-sent events
  POST /rooms/ROOM/broadcast            a message to everybody in the room
  POST /rooms/ROOM/issue_unique_idx     {{"unique_idx": n}}
  GET  /healthz  /readyz  /metrics
  gRPC mpc.SignGateway, mpc.Participant, grpc.health.v1.Health, reflection

SIGHUP reads the settings and the files that they name again; the log names what has to wait for a restart.
SIGTERM or SIGINT ends it: streams are closed so that clients reconnect, open requests are finished, exit code 0.
Exit codes: 1 a port cannot be listened on or an internal failure, 2 wrong settings.
"""


@click.command(
    NAME, help=HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.argument("config", required=False, type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Check the settings, say what is wrong with them, and end.")
@click.version_option(version(), prog_name=NAME)
def main(config: Path | None, *, check: bool) -> None:
    """Entry point of the command."""
    try:
        settings = load(config)
        if check:
            from gateway.key_set import open_key_set

            server_context(settings.tls)
            open_key_set(settings.access.key_set)
            tracing.check(settings.tracing)
    except SettingsError as error:
        complain(NAME, error)
        sys.exit(EXIT_SETTINGS)
    file = settings_file(DEFAULT_PATH, config)
    if check:
        announce(f"{file or 'built-in defaults'}: the settings are good")
        return
    configure_logging(settings.logging, NAME)
    get_logger(__name__).info("settings read", file=str(file) if file else "built-in defaults")

    async def serve(stop: StopSignal) -> None:
        # Here, so that gRPC is imported after run_daemon prepared it.
        from gateway.service import Gateway

        with tracing.exported(settings.tracing, NAME, version()):
            await Gateway(settings, lambda: load(config)).run(stop)

    sys.exit(run_daemon(NAME, serve))


if __name__ == "__main__":
    main()
