"""Settings of a client: `config/client.yaml` and `MPC_CLIENT__...`; in a program, `MpcConfig(...)`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from kit.logs import LoggingSettings
from kit.net import bracketed
from kit.settings import PathBesideFile, PathBesideFileOrHere, Section, load_settings
from participant.grpc_client import Credentials, Target

NAME = "mpc-client"
ENV_PREFIX = "MPC_CLIENT"
DEFAULT_PATH = Path("config/client.yaml")
DEFAULT_SERVICE = "http://127.0.0.1:50051"
"""Who is asked when the settings name nobody: a sign-service on this machine."""

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _grpc_target(text: str) -> str:
    return str(Target.parse(text))


def _http_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("expected a URL such as http://127.0.0.1:8080")
    return text.rstrip("/")


GrpcTarget = Annotated[str, AfterValidator(_grpc_target)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]


class GatewaySettings(Section):
    """`gateway`: the rooms through which our own participant talks with the others."""

    url: HttpUrl = Field(default="http://127.0.0.1:8080", description="of sign-gateway")


class LocalParticipantSettings(Section):
    """`local_participant`: our own share. The participant that holds it is a sign-service of ours, started and stopped with us."""

    host: str = Field(default="127.0.0.1", description="address that it listens on for us")
    port: Port = Field(default=50052, description="0 = any free port")
    index: Annotated[int, Field(ge=0, le=15)] | None = Field(
        default=None, description="which participant we are, counted from 0; null = what its identity says"
    )
    key_share_file: PathBesideFileOrHere | None = Field(
        default=None, description="share file taken at start for accounts that its store does not have"
    )
    settings: PathBesideFile | None = Field(
        default=None,
        description="its sign-service.yaml (identity, committee, seal, store); null = we hold no share",
    )
    start_seconds: Seconds = Field(default=60, description="longest wait until it answers")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.key_share_file is not None and self.settings is None:
            raise ValueError(
                "key_share_file needs settings beside it, the participant's sign-service.yaml with its identity and "
                "committee: `mpc-keygen` and `mpc-keygen init --client` write one"
            )
        return self


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

    def check_targets(self, targets: Sequence[str]) -> None:
        """Raise ValueError where these credentials cannot or must not go to one of `targets`."""
        for target in map(Target.parse, targets):
            if target.tls:
                continue
            if self.ca is not None or self.certificate is not None:
                raise ValueError(f"{target} speaks no TLS, but a ca or certificate is set: write https://")
            if self.token_file is not None and not target.local:
                raise ValueError(
                    f"the token would travel to {target} in plain text: use https://, or keep to this machine"
                )

    def credentials(self) -> Credentials:
        """As a gRPC client takes them. Raises SecretFileError."""
        return Credentials.of_files(self.ca, self.certificate, self.key, self.token_file)


class ServiceSettings(CallerCredentials):
    """`service`: sign-services whose `wallet.v1.Wallet` we call."""

    targets: list[GrpcTarget] = Field(
        default_factory=list,
        description=f"asked in this order until one answers; [] = our own participant, without one {DEFAULT_SERVICE}",
    )
    timeout_seconds: Seconds = Field(default=150, description="longest wait for a signature")
    answer_seconds: Seconds = Field(
        default=15, description="longest wait for anything else; then the next target is asked"
    )

    @model_validator(mode="after")
    def _safe(self) -> Self:
        self.check_targets(self.targets)
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
        return f"{scheme or 'http'}://{bracketed(host)}:{self.participant_port}"

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
        default=None, description="of the accounts; those with another one are refused; null = any"
    )
    total_participants: Annotated[int, Field(ge=2, le=16)] | None = Field(
        default=None, description="holders of a share; accounts with another number are refused; null = any"
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.threshold and self.total_participants and self.threshold > self.total_participants:
            raise ValueError("threshold is larger than total_participants")
        return self


class MpcConfig(Section):
    """Everything that can be set about a client; `load` reads it from where the command line does."""

    gateway: GatewaySettings = GatewaySettings()
    local_participant: LocalParticipantSettings = LocalParticipantSettings()
    service: ServiceSettings = ServiceSettings()
    remote_services: RemoteServices = RemoteServices()
    ethereum: EthereumSettings = EthereumSettings()
    mpc: MpcSettings = MpcSettings()
    logging: LoggingSettings = LoggingSettings(level="warn", format="text")

    @property
    def holds_share(self) -> bool:
        """Whether a participant of our own is to be started."""
        return self.local_participant.settings is not None

    @property
    def targets(self) -> tuple[str, ...]:
        """The services of others that are called, in the order of asking."""
        return tuple(self.service.targets) or (DEFAULT_SERVICE,)

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.holds_share and self.service.targets:
            raise ValueError(
                "service.targets and local_participant.settings exclude each other: with a share of our own our own "
                "participant is asked"
            )
        if not self.holds_share:
            self.service.check_targets(self.targets)
        if self.remote_services.sign_gateway is not None and not self.holds_share:
            raise ValueError(
                "remote_services.sign_gateway asks a second participant beside our own, and there is none: set "
                "local_participant.settings, or set service.targets to a sign-service instead"
            )
        return self

    @classmethod
    def load(cls, path: Path | str | None = None) -> MpcConfig:
        """From a YAML file (config/client.yaml when there is one), environment variables MPC_CLIENT__... over it.

        Raises SettingsError, which names every wrong key, its place, and what was expected.
        """
        return load_settings(cls, DEFAULT_PATH, Path(path) if path is not None else None, ENV_PREFIX)
