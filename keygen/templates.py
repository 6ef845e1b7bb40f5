"""The settings files that `init` and the quick start write. Paths in them are relative to the file they stand in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

from keygen.node_files import COMMITTEE, STORE, TOKENS
from participant.policy import permissive_development_policy
from participant.seal_file import SEAL_KEY

_DEVELOPMENT: Final = """\
# Written by mpc-keygen for development: everything on one machine, and a policy that allows everything.
"""


@dataclass(frozen=True)
class Tls:
    """Where a listener's or caller's files are, relative to its settings file."""

    ca: str
    certificate: str
    key: str


@dataclass(frozen=True)
class GatewayFile:
    """What differs between two gateways."""

    host: str
    port: int
    grpc_port: int
    service: str
    """host:port of the sign-service that the gRPC proxy asks."""
    tls: Tls | None = None
    key_set: str | None = None
    """The nodes' gateway-access keys; with it rooms ask for tokens."""


@dataclass(frozen=True)
class NodeFile:
    """What differs between two sign-services. Everything of a node lies in its own directory, which can be moved."""

    index: int
    gateway_url: str
    host: str
    port: int
    metrics_port: int | None
    n: int
    threshold: int
    share_file: str | None = None
    password_file: str | None = None
    operator_socket: bool = True
    """Whether the way to operator.sock beside the store is short enough."""
    gateway_ca: str | None = None
    tls: Tls | None = None
    """With it callers show a token of `tokens`."""


@dataclass(frozen=True)
class ClientFile:
    """What differs between two clients."""

    gateway_url: str
    n: int
    threshold: int
    targets: Sequence[str] = ()
    """For a caller without a share."""
    local_settings: str | None = None
    """The sign-service.yaml of its own participant."""
    local_port: int = 0
    local_index: int = 1
    share_file: str | None = None
    ca: str | None = None
    token_file: str | None = None


def _section(name: str, value: Any) -> str:
    return yaml.safe_dump({name: value}, sort_keys=False, default_flow_style=False, width=110)


def gateway_yaml(file: GatewayFile) -> str:
    """sign-gateway.yaml."""
    scheme = "http" if file.tls is None else "https"
    lines = [
        _DEVELOPMENT,
        _section("server", {"host": file.host, "port": file.port}),
        _section("grpc", {"host": file.host, "port": file.grpc_port}),
        _section("logging", {"level": "info", "format": "text"}),
    ]
    service = {"url": f"{scheme}://{file.service}"}
    if file.tls is not None:
        lines.append(_section("tls", {"certificate": file.tls.certificate, "key": file.tls.key}))
        service["ca"] = file.tls.ca
    if file.key_set is not None:
        lines.append(_section("access", {"key_set": file.key_set}))
    return "\n".join([*lines, _section("sign_service", service)])


def client_yaml(file: ClientFile) -> str:
    """client.yaml."""
    lines = [_DEVELOPMENT, _section("gateway", {"url": file.gateway_url})]
    if file.local_settings is not None:
        local = {
            "host": "127.0.0.1", "port": file.local_port, "index": file.local_index,
            "settings": file.local_settings,
        }  # fmt: skip
        if file.share_file is not None:
            local["key_share_file"] = file.share_file
        lines.append(_section("local_participant", local))
    else:
        service: dict[str, Any] = {"targets": list(file.targets)}
        if file.ca is not None:
            service |= {"ca": file.ca, "token_file": file.token_file}
        lines.append(_section("service", service))
    lines.append(_section("mpc", {"threshold": file.threshold, "total_participants": file.n}))
    lines.append(_section("logging", {"level": "warn", "format": "text"}))
    return "\n".join(lines)


def node_yaml(file: NodeFile, home: str = "") -> str:
    """sign-service.yaml, for the node's directory itself or, with `home`, for a place from which that is the way there."""

    def at(name: str) -> str:
        return f"{home}/{name}" if home else name

    gateway: dict[str, Any] = {"url": file.gateway_url}
    store: dict[str, Any] = {"path": at(STORE)}
    if file.password_file is None:
        store["key_file"] = at(SEAL_KEY)
    else:
        store["password_file"] = file.password_file
    mpc: dict[str, Any] = {
        "committee": at(COMMITTEE), "threshold": file.threshold, "total_participants": file.n,
    }  # fmt: skip
    if file.share_file is not None:
        mpc["key_share_file"] = file.share_file
    if file.gateway_ca is not None:
        gateway["ca"] = file.gateway_ca
    lines = [_DEVELOPMENT]
    secured = []
    if file.tls is not None:
        secured.append(_section("tls", {"certificate": file.tls.certificate, "key": file.tls.key}))
        secured.append(_section("callers", {"token_file": at(TOKENS)}))
    lines += [
        _section("gateway", gateway),
        _section("server", {"host": file.host, "port": file.port, "index": file.index}),
        *secured,
        *([] if file.operator_socket else [_section("operator", {"local": False})]),
        _section("metrics", {"host": "127.0.0.1", "port": file.metrics_port}),
        _section("store", store),
        _section("mpc", mpc),
        _section("logging", {"level": "info", "format": "text"}),
        _section("policy", permissive_development_policy().model_dump(mode="json")),
    ]
    return "\n".join(lines)
