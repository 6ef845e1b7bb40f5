"""Settings of a client: `config/client.yaml` and `MPC_CLIENT__...`; in a program, `MpcConfig(...)`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from kit.net import is_loopback
from kit.settings import PathBesideFile, Section

NAME = "mpc-client"
ENV_PREFIX = "MPC_CLIENT"
DEFAULT_PATH = Path("config/client.yaml")
DEFAULT_SERVICE = "http://127.0.0.1:50051"
"""Who is asked when the settings name nobody: a sign-service on this machine."""

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _grpc_target(text: str) -> str:
    parts = urlsplit(text if "//" in text else f"http://{text}")
    try:
        complete = parts.hostname is not None and parts.port is not None
    except ValueError:
        complete = False
    if parts.scheme not in ("http", "https") or not complete or parts.path not in ("", "/"):
        raise ValueError("expected http://host:port, or https://host:port for TLS")
    return f"{parts.scheme}://{parts.netloc}"


def _http_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("expected a URL such as http://127.0.0.1:8080")
    return text.rstrip("/")


GrpcTarget = Annotated[str, AfterValidator(_grpc_target)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]


class CallerCredentials(Section):
    """Who we are to a gRPC service, and whom we take it for."""

    ca: PathBesideFile | None = Field(
        default=None, description="PEM file: authorities of its certificate instead of the system's"
    )
    certificate: PathBesideFile | None = Field(default=None, description="PEM file: our client certificate")
    key: PathBesideFile | None = Field(default=None, description="PEM file: its private key, mode 0600")
    token_file: PathBesideFile | None = Field(
        default=None, description="file that holds our bearer token, mode 0600"
    )

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together: set both or neither")
        return self

    def check_targets(self, targets: list[str]) -> None:
        """Raise ValueError where these credentials cannot or must not go to one of `targets`."""
        for target in targets:
            parts = urlsplit(target)
            if parts.scheme == "https":
                continue
            if self.ca is not None or self.certificate is not None:
                raise ValueError(f"{target} speaks no TLS, but a ca or certificate is set: write https://")
            if self.token_file is not None and not is_loopback(parts.hostname or ""):
                raise ValueError(
                    f"the token would travel to {target} in plain text: use https://, or keep to this machine"
                )


class ServiceSettings(CallerCredentials):
    """`service`: sign-services whose `wallet.v1.Wallet` we call."""

    targets: list[GrpcTarget] = Field(
        default_factory=list,
        description="one or more, asked in this order until one answers; [] = see the other sections",
    )
    timeout_seconds: Seconds = Field(default=150, description="longest wait for a signature")
    connect_seconds: Seconds = Field(default=10, description="longest wait for a connection")

    @model_validator(mode="after")
    def _safe(self) -> Self:
        self.check_targets(self.targets or [DEFAULT_SERVICE])
        return self


class SignGatewaySettings(CallerCredentials):
    """`remote_services.sign_gateway`: the gateway's gRPC port, through which a sign-service is asked wallet-mpc's way."""

    participant_host: str = Field(
        default="127.0.0.1", description="host of the gateway; https://HOST asks it by TLS"
    )
    participant_port: Port = Field(default=50050, description="its gRPC port")

    @property
    def target(self) -> str:
        """As a gRPC target."""
        scheme, _, host = self.participant_host.rpartition("://")
        host = f"[{host}]" if ":" in host and not host.startswith("[") else host
        return f"{scheme or 'http'}://{host}:{self.participant_port}"

    @model_validator(mode="after")
    def _safe(self) -> Self:
        self.check_targets([_grpc_target(self.target)])
        return self


class RemoteServices(Section):
    """`remote_services`."""

    sign_gateway: SignGatewaySettings | None = Field(
        default=None, description="null = nobody is asked wallet-mpc's way"
    )


class EthereumSettings(Section):
    """`ethereum`: defaults for transactions."""

    provider_url: HttpUrl | None = Field(
        default=None,
        description="JSON-RPC node that fills in nonce, gas and fees that a transaction leaves open",
    )
    chain_id: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="of transactions that name none; those that name another are refused"
    )


class MpcSettings(Section):
    """`mpc`: what the committee must be like."""

    threshold: Annotated[int, Field(ge=2, le=16)] | None = Field(
        default=None, description="of accounts that we create; null = the committee's"
    )
    total_participants: Annotated[int, Field(ge=2, le=16)] | None = Field(
        default=None, description="members of the committee; others are refused; null = any number"
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.threshold and self.total_participants and self.threshold > self.total_participants:
            raise ValueError("threshold is larger than total_participants")
        return self
