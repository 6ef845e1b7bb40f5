"""`mpc-client`: signatures, keys and accounts from the command line."""

from __future__ import annotations

from kit.tls import refuse_old_tls_in_grpc


def main() -> None:
    """Entry point of the command."""
    # Before anything imports gRPC.
    refuse_old_tls_in_grpc()
    from client.commands import cli

    cli()


if __name__ == "__main__":
    main()
