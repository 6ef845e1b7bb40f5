"""The two ways to a node: its files, under the store's lock, or its running daemon."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from keygen.console import Output
from keygen.errors import KeygenError, Misuse
from keygen.node_files import OPERATOR_SOCKET, NodeFiles
from kit.tls import refuse_old_tls_in_grpc
from participant.store import Store, StoreLocked

if TYPE_CHECKING:
    from kit.pb.wallet.v1.common_pb2 import Progress
    from participant.grpc_client import ServiceClient

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

FILE: Final = click.Path(path_type=Path, dir_okay=False)
DEFAULT_SERVICE: Final = "http://127.0.0.1:50051"


@dataclass(frozen=True)
class Daemon:
    """A gRPC listener and what proves who we are to it."""

    target: str
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    token_file: Path | None = None
    operator: bool = False
    """Whether wallet.v1.Operator is there, which needs nobody's permission."""

    @classmethod
    def at_socket(cls, path: Path) -> Daemon:
        """The operator socket of a daemon on this machine."""
        return cls(f"unix:{path.absolute()}", operator=True)

    def talk(self, conversation: Callable[[ServiceClient], Awaitable[T]]) -> T:
        """Have a conversation with it. Raises CallFailed, SettingsError, Misuse for a target that cannot be."""
        # Before gRPC is imported, which commands without a network do without.
        refuse_old_tls_in_grpc()
        from participant.grpc_client import Credentials, ServiceClient

        credentials = Credentials.of_files(self.ca, self.certificate, self.key, self.token_file)

        async def whole() -> T:
            try:
                client = ServiceClient(self.target, credentials)
            except ValueError as error:
                raise Misuse(str(error)) from None
            async with client:
                return await conversation(client)

        return asyncio.run(whole())

    def ask(self, question: Callable[[ServiceClient, Any], Awaitable[T]]) -> T:
        """Have a conversation in the operator's messages, which the question gets with the client. Raises as `talk`."""

        async def conversation(client: ServiceClient) -> T:
            from kit.pb.wallet.v1 import operator_pb2

            return await question(client, operator_pb2)

        return self.talk(conversation)


@contextmanager
def node_or_daemon(files: NodeFiles, operator: str | None, out: Output) -> Iterator[Store | Daemon]:
    """The open store, or the daemon that holds it. Says which, where that is not what was asked for.

    With `operator` (unix:/path or https://host:port) it is the daemon there.
    """
    if operator is not None:
        yield Daemon(operator, operator=True)
        return
    try:
        store = files.open()
    except StoreLocked:
        socket = files.store.with_name(OPERATOR_SOCKET)
        if not socket.is_socket():
            raise
        out.say(f"a daemon holds the store: asked through its operator socket {socket}")
        yield Daemon.at_socket(socket)
        return
    with store:
        yield store


def operator_option(command: F) -> F:
    """Adds --operator."""
    return click.option(
        "--operator",
        metavar="ADDRESS",
        help="Ask the running daemon here (unix:/path/operator.sock) [default: DIR's store, or operator.sock if a daemon "
        "holds it]",
    )(command)


def daemon_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --node, --target and credentials; the command gets `daemon`."""

    @functools.wraps(command)
    def with_daemon(
        *arguments: Any,
        target: str | None,
        node: Path | None,
        ca: Path | None,
        certificate: Path | None,
        key: Path | None,
        token_file: Path | None,
        **options: Any,
    ) -> Any:
        if target is not None and node is not None:
            raise Misuse("--target and --node name two daemons: give one of them")
        if (certificate is None) != (key is None):
            raise Misuse("--certificate and --key belong together")
        if node is not None:
            daemon = Daemon.at_socket(node / OPERATOR_SOCKET)
        else:
            address = target or DEFAULT_SERVICE
            # Only the operator's listener is a unix socket.
            socket = address.startswith("unix:")
            daemon = Daemon(address, ca, certificate, key, token_file, operator=socket)
        return command(*arguments, daemon=daemon, **options)

    decorated: Callable[..., Any] = with_daemon
    for option in (
        click.option("--token-file", type=FILE, help="File (mode 0600) with our bearer token."),
        click.option("--key", type=FILE, help="Private key of our certificate, PEM."),
        click.option("--certificate", type=FILE, help="Our client certificate, PEM."),
        click.option("--ca", type=FILE, help="Authorities of the service's certificate, PEM."),
        click.option(
            "--node",
            type=click.Path(path_type=Path, file_okay=False),
            metavar="DIR",
            help="Ask the daemon whose directory this is, as its operator (DIR/operator.sock).",
        ),
        click.option(
            "--target",
            metavar="ADDRESS",
            help=f"Ask the daemon at this gRPC address, as a caller, or as its operator at unix:/path/operator.sock "
            f"[default: {DEFAULT_SERVICE}]",
        ),
    ):
        decorated = option(decorated)
    return decorated


async def follow(steps: AsyncGenerator[Progress, None], title: str, out: Output) -> Progress:
    """Show the steps of a ceremony as they come; the last one, which carries the result."""
    last: Progress | None = None
    with out.progress(title) as bar:
        async for step in steps:
            last = step
            where = f"{step.operation} {step.phase}".strip()
            waiting = ", ".join(map(str, step.waiting_for))
            detail = "; ".join(filter(None, (step.text, f"waits for index {waiting}" if waiting else "")))
            bar.update(step.done, step.total, where, detail)
    if last is None or last.WhichOneof("result") is None:
        raise KeygenError("the service ended the ceremony without a result; see its log", reason="NO_RESULT")
    return last
