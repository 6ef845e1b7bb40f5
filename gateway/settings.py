"""Settings of the gateway: `config/sign-gateway.yaml` and `SIGN_GATEWAY__...`."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from kit.http import HttpLimits
from kit.logs import LoggingSettings
from kit.settings import PathBesideFile, Section, load_settings, read_secret
from kit.tls import TlsSettings
from kit.tracing import TracingSettings

NAME = "sign-gateway"
ENV_PREFIX = "SIGN_GATEWAY"
DEFAULT_PATH = Path("config/sign-gateway.yaml")

KIB = 1024
MIB = 1024 * KIB

Port = Annotated[int, Field(ge=0, le=65535)]
Count = Annotated[int, Field(ge=1)]
# No bound when 0.
Bound = Annotated[int, Field(ge=0)]
# A second; no bound when 0.
Rate = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _origin(text: str) -> str:
    if text == "*":
        return text
    parts = urlsplit(text)
    if (
        parts.scheme not in ("http", "https")
        or not parts.netloc
        or parts.path
        or parts.query
        or parts.fragment
    ):
        raise ValueError("expected an origin such as http://localhost:3000, without a path, or *")
    return text


def _service_url(text: str) -> str:
    parts = urlsplit(text if "//" in text else f"http://{text}")
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or parts.port is None
        or parts.path not in ("", "/")
    ):
        raise ValueError("expected http://host:port or https://host:port")
    return f"{parts.scheme}://{parts.netloc}"


def _redis_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("redis", "rediss", "unix") or not (parts.hostname or parts.path):
        raise ValueError("expected redis://host:port/db, rediss://host:port/db or unix:///path")
    if parts.username or parts.password:
        raise ValueError("user and password belong in redis.username and redis.password_file")
    return text


def _nats_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("nats", "tls") or not parts.hostname or parts.path not in ("", "/"):
        raise ValueError("expected nats://host:port or tls://host:port")
    if parts.username or parts.password:
        raise ValueError("credentials belong in files: nats.password_file, nats.token_file, nats.certificate")
    return text


class ServerSettings(Section):
    """`server`: the HTTP listener and its bounds."""

    host: str = Field(default="127.0.0.1", description="address or name to listen on")
    port: Port = Field(default=8080, description="0 = any free port; it is printed at start")
    cors_origins: list[Annotated[str, AfterValidator(_origin)]] = Field(
        default_factory=list, description='origins of web pages that may use the gateway; "*" = all'
    )
    max_body_bytes: Count = Field(default=8 * MIB, description="largest message; larger ones get 413")
    max_bodies_bytes: Count = Field(
        default=256 * MIB, description="message bytes being received at a time, in all"
    )
    max_head_bytes: Annotated[int, Field(ge=1 * KIB)] = Field(
        default=32 * KIB, description="largest request head"
    )
    max_connections: Bound = Field(default=12_000, description="open connections; 0 = no bound")
    max_connections_per_address: Bound = Field(
        default=2_048,
        description="open connections of one client address; 0 = no bound (behind a load balancer)",
    )
    head_seconds: Seconds = Field(
        default=10, description="time for a request's head, and for the TLS handshake"
    )
    body_seconds: Seconds = Field(default=30, description="time for a request's body")
    keep_alive_seconds: Seconds = Field(default=60, description="how long an idle connection stays open")
    drain_seconds: Seconds = Field(default=10, description="time to end open requests after SIGTERM")

    def limits(self) -> HttpLimits:
        """The part of it that the listener enforces."""
        return HttpLimits(
            head_seconds=self.head_seconds,
            body_seconds=self.body_seconds,
            keep_alive_seconds=self.keep_alive_seconds,
            max_head_bytes=self.max_head_bytes,
            max_connections=self.max_connections,
            max_connections_per_address=self.max_connections_per_address,
        )


class RoomsSettings(Section):
    """`rooms`: what a room keeps, for whom and how long."""

    first_index: Bound = Field(
        default=0, description="first answer of issue_unique_idx (ZenGo's clients need 1)"
    )
    max_rooms: Count = Field(
        default=10_000, description="rooms; beyond it the longest idle ones without subscribers go"
    )
    max_messages: Count = Field(
        default=16_384, description="messages that a room keeps; older ones are dropped"
    )
    max_bytes: Count = Field(
        default=128 * MIB, description="bytes that a room keeps; older messages are dropped"
    )
    max_total_bytes: Count = Field(default=1024 * MIB, description="bytes that all rooms keep")
    messages_per_second: Rate = Field(
        default=2_000,
        description="messages that a room takes from all its clients, by way of one gateway; more get 429; 0 = no bound",
    )
    bytes_per_second: Rate = Field(
        default=128 * MIB,
        description="message bytes that a room takes, by way of one gateway; 0 = no bound",
    )
    burst_seconds: Seconds = Field(
        default=10, description="what these two rates give in so many seconds may come at once"
    )
    max_subscribers: Count = Field(default=10_000, description="open subscriptions in all")
    max_subscribers_per_room: Count = Field(default=256, description="open subscriptions of a room")
    idle_seconds: Seconds = Field(
        default=3600, description="life of a room without subscribers and without posts"
    )
    min_idle_seconds: Annotated[float, Field(ge=0)] = Field(
        default=60, description="a room idle for less than this is never dropped to make place for another"
    )
    heartbeat_seconds: Seconds = Field(
        default=15, description="a comment line goes to subscribers that often"
    )
    slow_reader_seconds: Seconds = Field(
        default=30, description="a subscriber that takes less than 16 KiB in that time is cut off"
    )
    max_backlog_messages: Count = Field(
        default=1_024, description="a subscriber that is so many new messages behind is cut off"
    )


class ClientsSettings(Section):
    """`clients`: what one client address may do, an IPv6 address with all of its /64."""

    messages_per_second: Rate = Field(
        default=2_000,
        description="messages, indices and new subscriptions of a client address; more get 429; 0 = no bound",
    )
    bytes_per_second: Rate = Field(
        default=128 * MIB, description="message bytes of a client address; 0 = no bound"
    )
    rooms_per_second: Rate = Field(
        default=100, description="rooms new to this gateway that a client address may name; 0 = no bound"
    )
    burst_seconds: Seconds = Field(
        default=10, description="what these rates give in so many seconds may come at once"
    )
    max_subscriptions: Bound = Field(
        default=2_048, description="open subscriptions of a client address; 0 = no bound"
    )
    max_tracked: Count = Field(
        default=16_384, description="client addresses remembered; the longest quiet are forgotten first"
    )


def _network(text: str) -> str:
    ipaddress.ip_network(text)
    return text


Network = Annotated[str, AfterValidator(_network)]


class AccessSettings(Section):
    """`access`: who may use the rooms. Everything off: everybody who reaches the listener."""

    key_set: PathBesideFile | None = Field(
        default=None,
        description="JWK Set file, read again when it changes: rooms ask for tokens of its keys; null = for none",
    )
    max_token_seconds: Seconds = Field(default=300, description="longest life of a token, from nbf to exp")
    leeway_seconds: Annotated[float, Field(ge=0, le=60)] = Field(
        default=30, description="by which the clock of who mints tokens may be off"
    )
    token_in_query: bool = Field(
        default=False,
        description="subscribe takes ?access_token= too, for browsers' EventSource; addresses end up in others' logs",
    )
    certificates: list[str] = Field(
        default_factory=list,
        description="names of client certificates that may use rooms; needs tls.client_ca; [] = all of its certificates",
    )
    networks: list[Network] = Field(
        default_factory=list,
        description="client addresses that server.port answers, such as 10.0.0.0/8; [] = all",
    )
    trusted_proxies: list[Network] = Field(
        default_factory=list,
        description="addresses whose X-Forwarded-For says who the client is; [] = nobody's",
    )


class RedisSettings(Section):
    """`redis`: a server that any number of gateways share; without it rooms are in this process's memory."""

    url: Annotated[str, AfterValidator(_redis_url)] | None = Field(
        default=None, description="redis://host:port/db, rediss:// for TLS, unix:///path; null = memory"
    )
    username: str | None = Field(default=None, description="user of its access list; null = the default one")
    password_file: PathBesideFile | None = Field(default=None, description="file with the password")
    ca: PathBesideFile | None = Field(
        default=None, description="PEM file: authorities of its certificate instead of the system's"
    )
    prefix: str = Field(
        default="wallet-mpc",
        pattern=r"^[A-Za-z0-9._-]+$",
        description="of all keys; gateways with one prefix share rooms",
    )
    timeout_seconds: Seconds = Field(default=2, description="an answer that takes longer is a 503")
    max_connections: Count = Field(default=32, description="connections that requests share")

    def read_password(self) -> str | None:
        """The password. Raises SettingsError."""
        if self.password_file is None:
            return None
        return read_secret(self.password_file, "redis.password_file").decode().strip()


class NatsSettings(Section):
    """`nats`: NATS with JetStream, in the place of Redis."""

    servers: list[Annotated[str, AfterValidator(_nats_url)]] = Field(
        default_factory=list,
        description="nats://host:port, tls:// for TLS; any one of them is connected to; empty = no NATS",
    )
    username: str | None = Field(default=None, description="user, with password_file")
    password_file: PathBesideFile | None = Field(default=None, description="file with the password")
    token_file: PathBesideFile | None = Field(
        default=None, description="file with a token instead of user and password"
    )
    ca: PathBesideFile | None = Field(
        default=None, description="PEM file: authorities of its certificate instead of the system's"
    )
    certificate: PathBesideFile | None = Field(
        default=None, description="PEM file: our own certificate, for servers that ask for one"
    )
    key: PathBesideFile | None = Field(default=None, description="PEM file: its private key, mode 0600")
    prefix: str = Field(
        default="wallet-mpc",
        pattern=r"^[A-Za-z0-9_-]+$",
        description="of all streams and subjects; gateways with one prefix share rooms",
    )
    storage: Literal["file", "memory"] = Field(default="file", description="where the server keeps rooms")
    replicas: Literal[1, 3, 5] = Field(default=1, description="servers of a cluster that each keep all rooms")
    max_age_seconds: Seconds = Field(
        default=86_400, description="an older message is dropped, also of a room in use"
    )
    timeout_seconds: Seconds = Field(default=2, description="an answer that takes longer is a 503")

    @model_validator(mode="after")
    def _complete(self) -> NatsSettings:
        if (self.username is None) != (self.password_file is None):
            raise ValueError("username and password_file belong together: set both or neither")
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together: set both or neither")
        if self.username is not None and self.token_file is not None:
            raise ValueError("either username and password_file or token_file")
        if len({urlsplit(url).scheme for url in self.servers}) > 1:
            raise ValueError("servers are either all nats:// or all tls://")
        if not self.tls and (self.ca is not None or self.certificate is not None):
            raise ValueError("ca or certificate is set but servers are not tls://")
        return self

    @property
    def tls(self) -> bool:
        """Whether nothing is said to a server without TLS."""
        return bool(self.servers) and self.servers[0].startswith("tls:")

    def read_credentials(self) -> dict[str, str]:
        """`user` and `password`, or `token`, or nothing. Raises SettingsError."""
        if self.username is not None and self.password_file is not None:
            password = read_secret(self.password_file, "nats.password_file").decode().strip()
            return {"user": self.username, "password": password}
        if self.token_file is not None:
            return {"token": read_secret(self.token_file, "nats.token_file").decode().strip()}
        return {}


class MetricsSettings(Section):
    """`metrics`: where /metrics is served."""

    host: str = Field(default="127.0.0.1", description="address of the separate listener")
    port: Port | None = Field(
        default=None,
        description="separate listener for /metrics, /healthz, /readyz; null = /metrics on server.port",
    )


class GrpcSettings(Section):
    """`grpc`: the listener of the gRPC proxy."""

    host: str = Field(default="127.0.0.1", description="address or name to listen on")
    port: Port = Field(default=50050, description="0 = any free port; it is printed at start")
    max_calls: Count = Field(default=1_024, description="calls at a time; more get RESOURCE_EXHAUSTED")
    max_message_bytes: Count = Field(default=1 * MIB, description="largest request or answer")


class SignServiceSettings(Section):
    """`sign_service`: where the proxy sends its calls."""

    url: Annotated[str, AfterValidator(_service_url)] = Field(
        default="http://127.0.0.1:50051", description="gRPC address of the sign-service; https:// for TLS"
    )
    ca: PathBesideFile | None = Field(
        default=None,
        description="PEM file: authorities of its certificate instead of the system's (https only)",
    )
    timeout_seconds: Seconds = Field(
        default=300, description="longest call, also if the caller sets no deadline"
    )

    @model_validator(mode="after")
    def _ca_needs_tls(self) -> SignServiceSettings:
        if self.ca is not None and not self.url.startswith("https://"):
            raise ValueError("ca is set but url is not https://")
        return self


class GatewaySettings(Section):
    """All of it."""

    server: ServerSettings = ServerSettings()
    logging: LoggingSettings = LoggingSettings()
    tls: TlsSettings = TlsSettings()
    rooms: RoomsSettings = RoomsSettings()
    clients: ClientsSettings = ClientsSettings()
    access: AccessSettings = AccessSettings()
    redis: RedisSettings = RedisSettings()
    nats: NatsSettings = NatsSettings()
    metrics: MetricsSettings = MetricsSettings()
    tracing: TracingSettings = TracingSettings()
    grpc: GrpcSettings = GrpcSettings()
    sign_service: SignServiceSettings = SignServiceSettings()

    @model_validator(mode="after")
    def _access_is_possible(self) -> GatewaySettings:
        if self.access.certificates and self.tls.client_ca is None:
            raise ValueError("access.certificates names client certificates, but tls.client_ca is not set")
        if self.access.token_in_query and self.access.key_set is None:
            raise ValueError("access.token_in_query is set, but without access.key_set there are no tokens")
        return self

    @model_validator(mode="after")
    def _one_store(self) -> GatewaySettings:
        if self.redis.url is not None and self.nats.servers:
            raise ValueError("redis.url and nats.servers are both set: rooms are in one store")
        if self.nats.servers and self.nats.max_age_seconds < self.rooms.idle_seconds:
            raise ValueError("nats.max_age_seconds is smaller than rooms.idle_seconds")
        return self

    @model_validator(mode="after")
    def _a_message_fits(self) -> GatewaySettings:
        # A body of newlines grows sevenfold as SSE ("data: \n" each).
        largest = 7 * self.server.max_body_bytes + KIB
        if self.rooms.max_total_bytes < self.rooms.max_bytes:
            raise ValueError("rooms.max_total_bytes is smaller than rooms.max_bytes")
        if self.rooms.max_bytes < largest:
            raise ValueError(
                f"rooms.max_bytes must be at least 7 * server.max_body_bytes + {KIB} = {largest}, "
                "so that a message always fits"
            )
        if self.server.max_bodies_bytes < self.server.max_body_bytes:
            raise ValueError("server.max_bodies_bytes is smaller than server.max_body_bytes")
        return self


def load(path: Path | None) -> GatewaySettings:
    """Reads the file, or the default one if it exists, and the environment. Raises SettingsError."""
    return load_settings(GatewaySettings, DEFAULT_PATH, path, ENV_PREFIX)
