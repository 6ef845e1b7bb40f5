"""A whole development setting in one directory: gateway, committee, nodes, client. Every secret is on one machine."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from keygen.certificates import CA, DevelopmentAuthority
from keygen.errors import Exit, KeygenError, Misuse
from keygen.node_files import COMMITTEE, OPERATOR_SOCKET, SETTINGS, TLS, TOKENS, NodeFiles
from keygen.templates import ClientFile, GatewayFile, NodeFile, Tls, client_yaml, gateway_yaml, node_yaml
from participant.callers import hash_token, is_loopback, new_token
from participant.committee import Committee, write_committee
from participant.files import create_private, sync_directory
from participant.gateway_tokens import key_set_text
from participant.identity import NodeKeys

GATEWAY_FILE: Final = "sign-gateway.yaml"
GATEWAY_KEYS: Final = "gateway-keys.json"
CLIENT_FILE: Final = "client.yaml"
CLIENT_TOKEN: Final = "client.token"  # noqa: S105 - a file's name
CLIENT_INDEX: Final = 1
CLIENT_DIRECTORY: Final = "client"
CALLER: Final = "client"

MAX_SOCKET_PATH: Final = 107
"""Bytes that a unix socket's path may have."""


class DirectoryTaken(KeygenError):
    """Something is there already, and nothing is overwritten."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} exists already and is not overwritten; name another directory, or move it away first",
            exit_code=Exit.FILES,
            reason="EXISTS",
        )


@dataclass(frozen=True)
class Ports:
    """Where everything listens. Node i is at `grpc + step * i` and `metrics + step * i`."""

    gateway: int = 8080
    gateway_grpc: int = 50050
    grpc: int = 50051
    metrics: int = 9451
    client: int = 50052
    step: int = 10

    @classmethod
    def block(cls, base: int) -> Ports:
        """One block from `base` on: gateway base and base+1, client base+2, node i at base+10+10i (metrics one more)."""
        return cls(base, base + 1, base + 10, base + 11, base + 2, 10)

    def check(self, n: int, *, client: bool) -> None:
        """Raise Misuse for a port out of range or given twice."""
        used = [self.gateway, self.gateway_grpc]
        for index in range(n):
            if client and index == CLIENT_INDEX:
                used.append(self.client)
            else:
                used += [self.grpc + self.step * index, self.metrics + self.step * index]
        for port in used:
            if not 1 <= port <= 65535:
                raise Misuse(f"port {port} is not one of 1 to 65535")
            if used.count(port) > 1:
                raise Misuse(f"port {port} would be used twice: choose other base ports")


@dataclass(frozen=True)
class Development:
    """What `init` makes.

    `host` is what everything listens on; `gateway_name` and `node_name` (with {index}) are what others connect to.
    """

    n: int = 3
    threshold: int = 2
    client: bool = False
    host: str = "127.0.0.1"
    gateway_name: str | None = None
    node_name: str | None = None
    ports: Ports = Ports()
    tls: bool = False

    def check(self) -> None:
        """Raise Misuse for what cannot be meant."""
        if not 2 <= self.threshold <= self.n <= 16:
            raise Misuse(f"threshold {self.threshold} of {self.n} nodes: 2 <= t <= n <= 16 is needed")
        self.ports.check(self.n, client=self.client)
        if not self.tls and not is_loopback(self.host):
            raise Misuse(
                f"{self.host} can be reached from other machines: add --tls, which gives every listener a certificate and "
                "asks callers for a token"
            )
        wildcard = self.host in ("0.0.0.0", "::")  # noqa: S104 - compared, not listened on
        if wildcard and (self.gateway_name is None or self.node_name is None):
            raise Misuse(f"{self.host} is no address to connect to: give --gateway-name and --node-name")

    @property
    def scheme(self) -> str:
        """Of every URL."""
        return "https" if self.tls else "http"

    @property
    def gateway_host(self) -> str:
        """What nodes and callers connect to."""
        return self.gateway_name or self.host

    @property
    def gateway_url(self) -> str:
        """Of the rooms."""
        return f"{self.scheme}://{bracketed(self.gateway_host)}:{self.ports.gateway}"

    def node_host(self, index: int) -> str:
        """What callers connect to."""
        return (self.node_name or self.host).replace("{index}", str(index))

    def node_address(self, index: int) -> str:
        """host:port of a node's gRPC."""
        if self.client and index == CLIENT_INDEX:
            return f"127.0.0.1:{self.ports.client}"
        return f"{bracketed(self.node_host(index))}:{self.ports.grpc + self.ports.step * index}"

    def directory_of(self, index: int) -> str:
        """A node's directory below DIR."""
        return CLIENT_DIRECTORY if self.client and index == CLIENT_INDEX else f"node-{index}"


def bracketed(host: str) -> str:
    """An IPv6 address as it stands in a URL."""
    return f"[{host}]" if ":" in host else host


@contextmanager
def appearing(directory: Path) -> Iterator[Path]:
    """A private directory to fill; it gets its name when the block is left, and vanishes when the block raises.

    Raises DirectoryTaken when `directory` is there and not empty.
    """
    directory = directory.absolute()
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise DirectoryTaken(directory)
    directory.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        yield partial
        # Replaces an empty directory, and nothing else.
        partial.rename(directory)
        sync_directory(directory.parent)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def new_members(n: int) -> list[NodeKeys]:
    """Fresh identities, by index."""
    return sorted((NodeKeys.generate() for _ in range(n)), key=lambda keys: keys.identity)


def write_development(setting: Development, directory: Path) -> tuple[Committee, bool]:
    """Fill `directory` (see `appearing`); the committee, and whether the operator sockets had to be left out.

    Raises Misuse, DirectoryTaken, OSError.
    """
    setting.check()
    final = directory.absolute()
    longest = max((setting.directory_of(i) for i in range(setting.n)), key=len)
    sockets = len(os.fsencode(final / longest / OPERATOR_SOCKET)) <= MAX_SOCKET_PATH
    members = new_members(setting.n)
    committee = Committee.of([keys.card() for keys in members], setting.threshold)
    with appearing(directory) as partial:
        authority = DevelopmentAuthority()
        token = new_token()
        write_committee(partial / COMMITTEE, committee)
        _write_gateway(setting, partial, authority, committee)
        for index, keys in enumerate(members):
            node = partial / setting.directory_of(index)
            make_node(node, keys, committee)
            hosts = dict.fromkeys([setting.node_host(index), "localhost", "127.0.0.1"])
            (node / TLS).mkdir(mode=0o700)
            authority.write_ca(node / TLS)
            authority.issue_server(node / TLS, list(hosts))
            if setting.tls:
                write_tokens(node / TOKENS, token)
            (node / SETTINGS).write_text(
                node_yaml(_node_file(setting, index, sockets=sockets)), encoding="utf-8"
            )
        if setting.tls:
            create_private(partial / CLIENT_TOKEN, token.encode() + b"\n")
        (partial / CLIENT_FILE).write_text(client_yaml(_client_file(setting)), encoding="utf-8")
    return committee, not sockets


def make_node(directory: Path, keys: NodeKeys, committee: Committee) -> None:
    """Store, sealing key, card and committee of one member."""
    files = NodeFiles.of(directory)
    files.make(keys)
    write_committee(directory / COMMITTEE, committee)
    with files.open() as store:
        store.accounts.put_committee(committee)


def write_tokens(path: Path, token: str) -> None:
    """A node's token file, which knows the one caller by the hash of its token."""
    entries = [{"name": CALLER, "sha256": hash_token(token).hex()}]
    create_private(path, yaml.safe_dump(entries, sort_keys=False).encode())


def _write_gateway(
    setting: Development, partial: Path, authority: DevelopmentAuthority, committee: Committee
) -> None:
    (partial / GATEWAY_KEYS).write_text(key_set_text(committee.members), encoding="utf-8")
    (partial / TLS).mkdir(mode=0o700)
    authority.write_ca(partial / TLS)
    authority.issue_server(
        partial / TLS, list(dict.fromkeys([setting.gateway_host, "localhost", "127.0.0.1"]))
    )
    file = GatewayFile(
        host=setting.host,
        port=setting.ports.gateway,
        grpc_port=setting.ports.gateway_grpc,
        service=setting.node_address(0),
        tls=_tls() if setting.tls else None,
        key_set=GATEWAY_KEYS if setting.tls else None,
    )
    (partial / GATEWAY_FILE).write_text(gateway_yaml(file), encoding="utf-8")


def _tls() -> Tls:
    return Tls(f"{TLS}/{CA}", f"{TLS}/server.pem", f"{TLS}/server.key")


def _node_file(setting: Development, index: int, *, sockets: bool) -> NodeFile:
    own = setting.client and index == CLIENT_INDEX
    return NodeFile(
        index=index,
        gateway_url=setting.gateway_url,
        host="127.0.0.1" if own else setting.host,
        port=setting.ports.client if own else setting.ports.grpc + setting.ports.step * index,
        metrics_port=None if own else setting.ports.metrics + setting.ports.step * index,
        n=setting.n,
        threshold=setting.threshold,
        operator_socket=sockets,
        gateway_ca=f"{TLS}/{CA}" if setting.tls else None,
        # The client's own participant is asked by the client alone, over loopback.
        tls=_tls() if setting.tls and not own else None,
    )


def _client_file(setting: Development) -> ClientFile:
    targets = [f"{setting.scheme}://{setting.node_address(index)}" for index in range(setting.n)]
    return ClientFile(
        gateway_url=setting.gateway_url,
        n=setting.n,
        threshold=setting.threshold,
        targets=[] if setting.client else targets,
        local_settings=f"{CLIENT_DIRECTORY}/{SETTINGS}" if setting.client else None,
        local_port=setting.ports.client,
        local_index=CLIENT_INDEX,
        ca=f"{TLS}/{CA}" if setting.tls else None,
        token_file=CLIENT_TOKEN if setting.tls else None,
    )
