"""Settings of a node's daemon: `config/sign-service.yaml` and `SIGN_SERVICE__...`."""

from __future__ import annotations

from os.path import abspath
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from kit.logs import LoggingSettings
from kit.settings import PathBesideFile, Section, load_settings
from kit.tls import TlsSettings
from kit.tracing import TracingSettings
from participant.callers import CallerLimits
from participant.policy import PolicySettings
from participant.seal_file import SEAL_FILE, SEAL_KEY
from tss.params import MAX_PARTIES

NAME = "sign-service"
ENV_PREFIX = "SIGN_SERVICE"
DEFAULT_PATH = Path("config/sign-service.yaml")
ENV_ALIASES = {"SIGN_SERVICE_KEY_SHARE_FILE": "mpc.key_share_file"}

MIB = 1024 * 1024
# What a unix socket's address has room for.
MAX_SOCKET_PATH = 107

Port = Annotated[int, Field(ge=0, le=65535)]
Count = Annotated[int, Field(ge=1)]
Amount = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Index = Annotated[int, Field(ge=0, lt=MAX_PARTIES)]
Parties = Annotated[int, Field(ge=2, le=MAX_PARTIES)]


def _http_url(text: str) -> str:
    parts = urlsplit(text)
    try:
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment:
        raise ValueError("expected a URL such as http://127.0.0.1:8080")
    return text.rstrip("/")


def _rate(text: str) -> str:
    CallerLimits(text)
    return text


def _beside_or_here(path: Path, info: ValidationInfo) -> Path:
    directory = (info.context or {}).get("directory")
    if directory is None or path.is_absolute():
        return path
    beside: Path = directory / path
    return path if not beside.exists() and path.exists() else beside


# wallet-mpc's own files name the share file from the working directory.
PathBesideFileOrHere = Annotated[Path, AfterValidator(_beside_or_here)]


class GatewaySettings(Section):
    """`gateway`: the rooms through which the nodes of a committee talk."""

    url: Annotated[str, AfterValidator(_http_url)] = Field(
        default="http://127.0.0.1:8080", description="of sign-gateway; https:// for TLS"
    )
    ca: PathBesideFile | None = Field(
        default=None, description="PEM file: authorities of its certificate instead of the system's"
    )
    certificate: PathBesideFile | None = Field(
        default=None, description="PEM file: our certificate, for a gateway that asks for one"
    )
    key: PathBesideFile | None = Field(default=None, description="PEM file: its private key, mode 0600")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together: set both or neither")
        if (self.ca is not None or self.certificate is not None) and not self.url.startswith("https://"):
            raise ValueError("ca or certificate is set but url is not https://")
        return self


class ServerSettings(Section):
    """`server`: the gRPC listener for callers, and this node's place."""

    host: str = Field(default="127.0.0.1", description="address or name to listen on")
    port: Port = Field(default=50051, description="0 = any free port; it is printed at start")
    index: Index | None = Field(
        default=None,
        description="this participant's index, counted from 0; another than its identity has is an error; null = unchecked",
    )
    max_calls: Count = Field(default=256, description="calls at a time; more get RESOURCE_EXHAUSTED")
    max_message_bytes: Count = Field(default=8 * MIB, description="largest request")
    drain_seconds: Seconds = Field(default=10, description="time to end open calls after SIGTERM")


class CallersSettings(Section):
    """`callers`: who may call. Without token file and certificates only a loopback address is served, to anybody there."""

    token_file: PathBesideFile | None = Field(
        default=None,
        description="YAML list of {name, sha256, accounts}, mode 0600; callers send a bearer token",
    )
    certificates: dict[str, list[str] | None] = Field(
        default_factory=dict,
        description="names of client certificates that may call, each with its account ids (null = all); needs tls.client_ca",
    )
    rate: Annotated[str, AfterValidator(_rate)] = Field(
        default="50/second; 1200/minute", description="requests of one caller; more get RATE_LIMITED"
    )

    @property
    def asked(self) -> bool:
        """Whether callers have to prove who they are."""
        return self.token_file is not None or bool(self.certificates)


class OperatorSettings(Section):
    """`operator`: the listeners of wallet.v1.Operator, which can import and export shares."""

    local: bool = Field(
        default=True, description="serve a unix socket of mode 0600, for this daemon's own user"
    )
    socket: PathBesideFile | None = Field(
        default=None, description="where; null = operator.sock beside the store"
    )
    host: str = Field(default="127.0.0.1", description="address of the listener with certificates")
    port: Port | None = Field(
        default=None, description="listener that asks for an operator's certificate; null = none"
    )
    certificates: list[str] = Field(
        default_factory=list, description="names of the certificates that operators have; needs tls.client_ca"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.port is not None and not self.certificates:
            raise ValueError("port is set but certificates names no operator")
        return self


class MetricsSettings(Section):
    """`metrics`: the HTTP listener of /healthz, /readyz and /metrics."""

    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: Port | None = Field(default=9451, description="0 = any free port; null = no such listener")


class StoreSettings(Section):
    """`store`: where this node keeps its identity, shares and audit log, and what opens it."""

    path: PathBesideFile = Field(
        default=Path("store.db"), description="made by `mpc-keygen identity` or `init`"
    )
    key_file: PathBesideFile | None = Field(
        default=None, description="sealing key, mode 0600; where nothing else is named: seal.key"
    )
    password_file: PathBesideFile | None = Field(
        default=None, description="the store's password in a file of mode 0600, instead of key_file"
    )
    seal_file: PathBesideFile | None = Field(
        default=None,
        description="YAML file that names a token, a service or an agent instead; null = seal.yaml beside the store, if there",
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if sum(path is not None for path in (self.key_file, self.password_file, self.seal_file)) > 1:
            raise ValueError(
                "key_file, password_file and seal_file exclude each other: the store opens with one of them"
            )
        return self

    @property
    def opened_by(self) -> Path:
        """The file that opens the store, or says what does."""
        beside = self.path.with_name(SEAL_FILE)
        usual = beside if beside.exists() else self.path.with_name(SEAL_KEY)
        return self.seal_file or self.password_file or self.key_file or usual


class MpcSettings(Section):
    """`mpc`: the committee, and shares to take in at start."""

    committee: PathBesideFile | None = Field(
        default=None,
        description="committee.yaml of `mpc-keygen committee` or `init`; null = those that the store knows",
    )
    threshold: Parties | None = Field(
        default=None, description="of the committee; another one there is an error; null = unchecked"
    )
    total_participants: Parties | None = Field(
        default=None, description="members of the committee; another number is an error; null = unchecked"
    )
    key_share_file: PathBesideFileOrHere | None = Field(
        default=None,
        description="shares taken in for accounts that the store does not have (SIGN_SERVICE_KEY_SHARE_FILE wins)",
    )
    key_share_password_file: PathBesideFile | None = Field(
        default=None, description="opens an encrypted share file: its password in a file of mode 0600"
    )
    key_share_identity_file: PathBesideFile | None = Field(
        default=None, description="opens an encrypted share file: age identities in a file of mode 0600"
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.threshold and self.total_participants and self.threshold > self.total_participants:
            raise ValueError("threshold is larger than total_participants")
        if self.key_share_file is None and (self.key_share_password_file or self.key_share_identity_file):
            raise ValueError("there is something to open a share file with, but no key_share_file")
        return self


class StockSettings(Section):
    """`stock`: presignatures made beforehand, in memory only, so that a signature takes one message each way."""

    target: Amount = Field(default=4, description="fresh ones a signer set of an account; 0 = none are made")
    batch: Count = Field(default=4, description="made in one session, at most")
    sets: Amount = Field(
        default=10, description="up to so many signer sets all are stocked, else those in use"
    )
    cap: Amount = Field(default=1024, description="of this node in all")
    recent_seconds: Seconds = Field(
        default=86_400, description="accounts that signed within this time are stocked"
    )
    lifetime_seconds: Seconds = Field(default=86_400, description="older ones are destroyed")
    idle_seconds: Seconds = Field(default=2, description="quiet time before some are made")
    pool: Amount = Field(
        default=8, description="presignatures whose random numbers the idle node keeps ready; 0 = none"
    )


class AccountsSettings(Section):
    """`accounts`: how long shares are used, and how accounts end."""

    max_share_seconds: Seconds | None = Field(
        default=None,
        description="a share that is older signs no more until it is refreshed; null = no limit. Presignatures: stock.lifetime_seconds",
    )
    deletion_grace_seconds: Seconds = Field(
        default=604_800, description="between the decision to delete an account and the erasure of its share"
    )


class RefreshSettings(Section):
    """`refresh`: new shares of the same keys, so that what leaked of old ones is worth nothing."""

    enabled: bool = Field(
        default=False, description="whether this node refreshes old shares by itself; operators can always"
    )
    every_seconds: Seconds = Field(default=86_400, description="shares older than this are old")
    jitter_seconds: Seconds = Field(
        default=600, description="this node waits a random time up to this, so that one of all proposes"
    )


class PrimesSettings(Section):
    """`primes`: safe primes found in idle time; auxiliary information takes four."""

    target: Amount = Field(
        default=4, description="how many the idle node keeps; 0 = none are searched beforehand"
    )
    processes: Count = Field(default=1, description="processes that search while the node is idle")


class NodeSettings(Section):
    """`node`: bounds and times of the protocols. The defaults suit a committee on the internet."""

    workers: Amount = Field(
        default=0, description="threads for heavy arithmetic; 0 = one a core that it may run on"
    )
    powers: str = Field(
        default="fastest",
        description="what computes powers: `gmpy2`, `openssl`, `crypto_mb`, or the `fastest` that is there",
    )
    max_sessions: Count = Field(default=64, description="sessions of one committee at a time")
    max_signing: Count = Field(
        default=32, description="requests that this node coordinates at a time; more wait"
    )
    sign_seconds: Seconds = Field(default=120, description="longest time for a signature")
    gather_seconds: Seconds = Field(
        default=10, description="wait for gateway and peers before a request says who is missing"
    )
    hello_seconds: Seconds = Field(default=30, description="this node shows itself to its peers that often")
    away_seconds: Seconds = Field(default=90, description="a peer that was silent for so long counts as away")
    proposal_seconds: Seconds = Field(
        default=120, description="proposals older than this are refused, by the wall clock"
    )
    clock_skew_seconds: Seconds = Field(
        default=300, description="proposals of a peer whose clock is further ahead are refused"
    )
    phase_seconds: Seconds = Field(
        default=30, description="longest wait for the messages of one round before the silent ones are named"
    )
    identification_seconds: Seconds = Field(
        default=600,
        description="longest wait for the proofs of a signer when somebody cheated; minutes at full size",
    )
    deadlines: dict[str, Seconds] = Field(
        default_factory=dict,
        description='seconds by phase where they differ, such as {"presign.r2": 10, "aux": 300}',
    )
    ask_gather_seconds: Seconds = Field(
        default=30,
        description="wallet-mpc's way of asking: wait until enough participants were asked the same",
    )
    ask_turn_seconds: Seconds = Field(
        default=20, description="wallet-mpc's way: time of a proposing node before the next index proposes"
    )
    ask_total_seconds: Seconds = Field(
        default=90, description="wallet-mpc's way: longest time for a signature"
    )


class ServiceSettings(Section):
    """All of it."""

    gateway: GatewaySettings = GatewaySettings()
    server: ServerSettings = ServerSettings()
    tls: TlsSettings = TlsSettings()
    callers: CallersSettings = CallersSettings()
    operator: OperatorSettings = OperatorSettings()
    metrics: MetricsSettings = MetricsSettings()
    tracing: TracingSettings = TracingSettings()
    logging: LoggingSettings = LoggingSettings()
    store: StoreSettings = StoreSettings()
    mpc: MpcSettings = MpcSettings()
    policy: PolicySettings = PolicySettings()
    stock: StockSettings = StockSettings()
    accounts: AccountsSettings = AccountsSettings()
    refresh: RefreshSettings = RefreshSettings()
    primes: PrimesSettings = PrimesSettings()
    node: NodeSettings = NodeSettings()

    @model_validator(mode="before")
    @classmethod
    def _store_beside_file(cls, tree: Any) -> Any:
        # A section that is left out is not validated, and its path would be relative to the working directory.
        return {"store": {}, **tree} if isinstance(tree, dict) else tree

    @property
    def operator_socket(self) -> Path | None:
        """Where the operator's socket is."""
        if not self.operator.local:
            return None
        return Path(abspath(self.operator.socket or self.store.path.with_name("operator.sock")))  # noqa: PTH100 - `..` goes too

    @model_validator(mode="after")
    def _socket_fits(self) -> Self:
        path = self.operator_socket
        if path is not None and len(str(path).encode()) > MAX_SOCKET_PATH:
            raise ValueError(
                f"operator.socket: {path} is longer than the {MAX_SOCKET_PATH} bytes that a socket's path may have: "
                "set it to a shorter one"
            )
        return self

    @model_validator(mode="after")
    def _certificates_are_asked_for(self) -> Self:
        named = {
            "callers.certificates": self.callers.certificates,
            "operator.certificates": self.operator.certificates,
        }
        for key, names in named.items():
            if names and self.tls.client_ca is None:
                raise ValueError(
                    f"{key} names client certificates, but tls.client_ca, which would ask for them, is not set"
                )
        if self.tls.client_ca is not None and not any(named.values()):
            raise ValueError(
                "tls.client_ca is set, but neither callers.certificates nor operator.certificates names anybody: say who "
                "may call with its certificates"
            )
        return self


def load(path: Path | None) -> ServiceSettings:
    """Reads the file, or the default one if it exists, and the environment. Raises SettingsError."""
    return load_settings(ServiceSettings, DEFAULT_PATH, path, ENV_PREFIX, env_aliases=ENV_ALIASES)
