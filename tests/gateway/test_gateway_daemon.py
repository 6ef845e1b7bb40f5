"""The command itself: settings, start-up lines, CORS, TLS, ports in use, what it warns of."""

from __future__ import annotations

import os
import re
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import yaml
from certificates import Authority
from gateway_testing import GRPC, LISTENING, PATIENCE, GatewayProcess, new_room, running_gateway, subscribed
from processes import command, run_process, start_process

from gateway.settings import GatewaySettings, load
from kit.settings import Section

REPOSITORY = Path(__file__).parents[2]
CONFIG = REPOSITORY / "config" / "sign-gateway.yaml"
EPHEMERAL = {"SIGN_GATEWAY__SERVER__PORT": "0", "SIGN_GATEWAY__GRPC__PORT": "0"}


# Start-up and settings


def test_the_seeds_start_up_lines_stand_on_standard_output(tmp_path: Path) -> None:
    with running_gateway(tmp_path) as gateway:
        host, port = gateway.host, gateway.port
        assert gateway.process.stdout[:2] == [
            f"Listening on http://{host}:{port}",
            f"gRPC server on {gateway.grpc}",
        ]
        assert port != 0
        assert gateway.grpc_port != 0
        gateway.process.wait_for(rf'"event": "started", "http": "{gateway.url}"')


def test_the_shipped_file_is_read_by_default_and_the_environment_wins(tmp_path: Path) -> None:
    with start_process(command("sign-gateway"), LISTENING, EPHEMERAL, cwd=REPOSITORY) as process:
        gateway = GatewayProcess(process)
        assert gateway.port != 8080
        assert any(line.get("file") == "config/sign-gateway.yaml" for line in gateway.log())
        # Its cors_origins is in force.
        answer = httpx2.get(f"{gateway.url}/healthz", headers={"Origin": "http://localhost:3000"})
        assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"


def test_without_any_file_the_defaults_are_used(tmp_path: Path) -> None:
    with start_process(command("sign-gateway"), LISTENING, EPHEMERAL, cwd=tmp_path) as process:
        assert any(line.get("file") == "built-in defaults" for line in GatewayProcess(process).log())


def leaves(model: type[Section], prefix: str = "") -> Iterator[str]:
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, Section):
            yield from leaves(info.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name


def test_the_shipped_file_shows_every_key_with_its_default() -> None:
    tree = yaml.safe_load(CONFIG.read_text())
    shown = {f"{section}.{key}" for section, values in tree.items() for key in values}
    assert shown == set(leaves(GatewaySettings))
    defaults = GatewaySettings().model_dump()
    for section, values in tree.items():
        for key, value in values.items():
            if (section, key) != ("server", "cors_origins"):
                assert value == defaults[section][key], f"{section}.{key}"


def test_the_seeds_own_file_works(tmp_path: Path) -> None:
    path = tmp_path / "seed.yaml"
    path.write_text(
        'server:\n  host: "127.0.0.1"\n  port: 8080\n  cors_origins: ["http://localhost:3000"]\n'
        'logging:\n  level: "info"\n  format: "json"\n'
    )
    assert load(path).server.cors_origins == ["http://localhost:3000"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("server:\n  prot: 1\n", r"\.yaml: unknown key server\.prot; did you mean server\.port\?"),
        (
            "server:\n  port: 70000\n",
            r"\.yaml: server\.port: expected less than or equal to 65535; found 70000",
        ),
        ("server:\n  port: http\n", r"\.yaml: server\.port: expected a valid integer.*found 'http'"),
        ("server:\n  cors_origins: [localhost]\n", r"server\.cors_origins\[0\]: expected an origin such as"),
        ("logging:\n  format: xml\n", r"logging\.format: expected 'json', 'text'"),
        ("tls:\n  certificate: a.pem\n", r"tls: certificate and key belong together"),
        ("sign_service:\n  url: ftp://x\n", r"sign_service\.url: expected http://host:port"),
        ("rooms:\n  max_bytes: 5\n", r"rooms\.max_bytes must be at least"),
        ("server: [1, 2]\n", r"server: expected a valid dictionary"),
        ("server:\n  port: 1\n  port: 2\n", r"\.yaml:3: not valid YAML: key 'port' stands twice"),
        ("server: {\n", r"\.yaml:2: not valid YAML"),
    ],
    ids=lambda value: value.split("\n")[-2].strip() if value.endswith("\n") else "",
)
def test_wrong_settings_are_explained_and_nothing_starts(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    code, process = run_process(command("sign-gateway", path))
    assert code == 2
    assert re.search(expected, process.output), process.output
    assert str(path) in process.output
    assert process.stdout == []


def test_a_wrong_variable_is_named(tmp_path: Path) -> None:
    env = {"SIGN_GATEWAY__SERVER__PORT": "x", "SIGN_GATEWAY__SERVER__HOTS": "y"}
    code, process = run_process(command("sign-gateway"), env, cwd=tmp_path)
    assert code == 2
    assert "SIGN_GATEWAY__SERVER__PORT: server.port: expected a valid integer" in process.output
    assert "SIGN_GATEWAY__SERVER__HOTS: unknown key server.hots; did you mean server.host?" in process.output


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    code, process = run_process(command("sign-gateway", tmp_path / "none.yaml"))
    assert code == 2
    assert "none.yaml: there is no such settings file" in process.output


def test_check_and_help_and_version(tmp_path: Path) -> None:
    code, process = run_process(command("sign-gateway", "--check", CONFIG))
    assert (code, "the settings are good" in process.output) == (0, True)
    code, process = run_process(command("sign-gateway", "--help"))
    assert code == 0
    for word in ("CONFIG", "SIGN_GATEWAY__SERVER__PORT", "Listening on", "/subscribe", "SIGTERM", "--check"):
        assert word in process.output
    assert run_process(command("sign-gateway", "--version"))[0] == 0


@pytest.mark.parametrize("which", ["server", "grpc"])
def test_a_port_in_use_is_a_clear_error(tmp_path: Path, which: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        env = {**EPHEMERAL, f"SIGN_GATEWAY__{which.upper()}__PORT": str(port)}
        code, process = run_process(command("sign-gateway"), env, cwd=tmp_path)
    assert code == 1
    assert (
        f"127.0.0.1:{port} is in use: stop the process that listens there, or set {which}.port"
        in process.output
    )
    assert "Traceback" not in process.output


def test_two_gateways_never_share_a_port(tmp_path: Path) -> None:
    with running_gateway(tmp_path) as gateway:
        for which, port in (("SERVER", gateway.port), ("GRPC", gateway.grpc_port)):
            env = {**EPHEMERAL, f"SIGN_GATEWAY__{which}__PORT": str(port)}
            code, process = run_process(command("sign-gateway"), env, cwd=tmp_path)
            assert (code, "is in use" in process.output) == (1, True)


def test_a_restarted_gateway_gets_its_port_back_at_once(tmp_path: Path) -> None:
    with running_gateway(tmp_path) as gateway:
        with gateway.connect() as client:
            client.send(b"GET /rooms/r/subscribe HTTP/1.1\r\nHost: g\r\n\r\n").read_until(b"retry")
            gateway.process.kill()
        with running_gateway(
            tmp_path, {"server": {"port": gateway.port}, "grpc": {"port": gateway.grpc_port}}
        ):
            pass


@pytest.mark.parametrize("host", ["no.such.host.invalid", "203.0.113.7"])
def test_a_host_that_is_not_ours_is_a_clear_error(tmp_path: Path, host: str) -> None:
    env = {**EPHEMERAL, "SIGN_GATEWAY__SERVER__HOST": host}
    code, process = run_process(command("sign-gateway"), env, cwd=tmp_path)
    assert (code, "server.host" in process.output) == (1, True)
    assert "Traceback" not in process.output


def test_listening_elsewhere_without_tls_is_said_loudly(tmp_path: Path) -> None:
    with running_gateway(tmp_path, {"server": {"host": "0.0.0.0"}}) as gateway:  # noqa: S104 - that is the test
        gateway.process.wait_for("LISTENING BEYOND THIS MACHINE WITHOUT TLS.*server.host")
        gateway.process.wait_for("ANYBODY ON THE NETWORK MAY USE EVERY ROOM.*access.key_set")
        assert gateway.metric("gateway_exposed") == 1
    with running_gateway(tmp_path) as gateway:
        gateway.process.wait_for('"event": "started"')
        assert "WITHOUT TLS" not in gateway.process.output
        assert "ANYBODY" not in gateway.process.output
        assert gateway.metric("gateway_exposed") == 0


def test_text_logs(tmp_path: Path) -> None:
    with running_gateway(tmp_path, {"logging": {"format": "text"}}) as gateway:
        gateway.process.wait_for(r"^\S+Z INFO    started .*http=http://")
        gateway.post("room", b"\xff")
        gateway.process.wait_for(r"WARNING refused .*reason=not_utf8")


@pytest.mark.fault(15)
def test_a_flood_of_refusals_does_not_fill_the_log(tmp_path: Path) -> None:
    with running_gateway(tmp_path) as gateway:
        with httpx2.Client() as http:
            for _ in range(100):
                http.get(f"{gateway.url}/nowhere")
        assert gateway.metric('gateway_refusals_total{reason="not_found"}') == 100
        assert sum(line.get("reason") == "not_found" for line in gateway.log()) <= 40


# CORS

ORIGIN = "http://app.example:3000"


@pytest.fixture(scope="module")
def cors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with running_gateway(tmp_path_factory.mktemp("cors"), {"server": {"cors_origins": [ORIGIN]}}) as process:
        yield process


def preflight(
    gateway: GatewayProcess, origin: str, method: str = "POST", headers: str = "content-type"
) -> httpx2.Response:
    return httpx2.request(
        "OPTIONS",
        gateway.room("room", "broadcast"),
        headers={
            "Origin": origin,
            "Access-Control-Request-Method": method,
            "Access-Control-Request-Headers": headers,
        },
    )


def test_a_preflight_of_an_allowed_origin_passes(cors: GatewayProcess) -> None:
    for method, headers in (("POST", "content-type"), ("GET", "last-event-id"), ("GET", "authorization")):
        answer = preflight(cors, ORIGIN, method, headers)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert method in answer.headers["access-control-allow-methods"]


def test_a_preflight_of_another_origin_or_method_fails(cors: GatewayProcess) -> None:
    answer = preflight(cors, "http://evil.example")
    assert answer.status_code == 400
    assert "access-control-allow-origin" not in answer.headers
    assert preflight(cors, ORIGIN, "DELETE").status_code == 400


async def test_streams_and_errors_carry_the_headers_too(cors: GatewayProcess) -> None:
    async with subscribed(cors, new_room(), headers={"Origin": ORIGIN}) as reader:
        assert reader.response.headers["access-control-allow-origin"] == ORIGIN
        assert "Room-Incarnation" in reader.response.headers["access-control-expose-headers"]
    refused = cors.post(new_room(), b"\xff", headers={"Origin": ORIGIN})
    assert refused.headers["access-control-allow-origin"] == ORIGIN


async def test_what_pages_of_other_origins_send_reaches_no_room(cors: GatewayProcess) -> None:
    """A plain POST is sent by a browser without asking."""
    room = new_room()
    for origin in (
        "http://evil.example",
        "null",
        "",
        "http://[",
        ORIGIN + ".evil.example",
        ORIGIN.replace("http", "https"),
    ):
        other = cors.post(room, b"theirs", headers={"Origin": origin})
        assert (other.status_code, other.json()["error"]) == (403, "foreign_origin")
        assert "access-control-allow-origin" not in other.headers
        assert httpx2.get(cors.room(room, "subscribe"), headers={"Origin": origin}).status_code == 403
    assert cors.post(room, b"of this host", headers={"Origin": cors.url}).status_code == 200
    assert cors.post(room, b"ours", headers={"Origin": ORIGIN}).status_code == 200
    async with subscribed(cors, room) as reader:
        assert [event.data for event in await reader.messages(2)] == ["of this host", "ours"]


def test_without_origins_there_is_no_cors(tmp_path: Path) -> None:
    with running_gateway(tmp_path) as gateway:
        assert preflight(gateway, ORIGIN).status_code == 405
        answer = gateway.post("room", "m", headers={"Origin": ORIGIN})
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers


# TLS


def client_context(authority: Authority, **pair: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=os.fspath(authority.ca))
    if pair:
        context.load_cert_chain(pair["certificate"], pair["key"])
    return context


async def test_tls_serves_rooms_and_nothing_older_than_1_3(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.issue("server")
    settings = {"tls": {"certificate": "server.pem", "key": "server.key"}}
    with running_gateway(tmp_path, settings) as gateway:
        assert gateway.scheme == "https"
        context = client_context(authority)
        gateway.post("room", "m", verify=context)
        async with subscribed(gateway, "room", verify=context) as reader:
            assert (await reader.message()).data == "m"
        old = client_context(authority)
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        for port in (gateway.port, gateway.grpc_port):
            old.set_alpn_protocols(["h2"] if port == gateway.grpc_port else ["http/1.1"])
            with socket.create_connection((gateway.host, port), PATIENCE) as sock, pytest.raises(OSError):
                old.wrap_socket(sock, server_hostname="localhost")
        context.set_alpn_protocols(["h2"])
        with (
            socket.create_connection((gateway.host, gateway.grpc_port), PATIENCE) as sock,
            context.wrap_socket(sock, server_hostname="localhost") as secure,
        ):
            assert secure.version() == "TLSv1.3"


def test_client_certificates_are_required_when_an_authority_is_set(tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    authority.issue("server")
    good, bad = authority.issue("node", client=True), stranger.issue("intruder", client=True)
    settings = {"tls": {"certificate": "server.pem", "key": "server.key", "client_ca": "test-authority.pem"}}
    with running_gateway(tmp_path, settings) as gateway:
        context = client_context(authority, certificate=good.certificate, key=good.key)
        assert gateway.post("room", "m", verify=context).status_code == 200
        for refused in (
            client_context(authority),
            client_context(authority, certificate=bad.certificate, key=bad.key),
        ):
            with pytest.raises(httpx2.TransportError):
                gateway.post("room", "m", verify=refused)


@pytest.mark.fault(14)
def test_a_half_open_handshake_is_closed(tmp_path: Path) -> None:
    Authority(tmp_path).issue("server")
    settings = {"tls": {"certificate": "server.pem", "key": "server.key"}, "server": {"head_seconds": 0.3}}
    with running_gateway(tmp_path, settings) as gateway, gateway.connect() as client:
        assert client.send(b"\x16\x03\x01").read_all() == b""


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda directory: (directory / "server.pem").unlink(), "cannot read the certificate: No such file"),
        (lambda directory: (directory / "server.pem").write_text("none"), "not a PEM certificate"),
        (lambda directory: (directory / "server.key").chmod(0o644), "may be read by every user.*chmod 600"),
        (
            lambda directory: (directory / "server.key").write_bytes(
                Authority(directory, "other").issue("else").key.read_bytes()
            ),
            "does not belong to the private key",
        ),
    ],
    ids=["missing", "no PEM", "open key", "another's key"],
)
def test_unusable_tls_files_are_explained(tmp_path: Path, spoil, expected: str) -> None:
    Authority(tmp_path).issue("server")
    spoil(tmp_path)
    path = tmp_path / "gateway.yaml"
    path.write_text("tls: {certificate: server.pem, key: server.key}\n")
    for arguments in ((), ("--check",)):
        code, process = run_process(command("sign-gateway", *arguments, path), EPHEMERAL)
        assert code == 2
        assert re.search(expected, process.output), process.output
        assert "Traceback" not in process.output


def test_the_grpc_line_has_the_pattern_that_others_wait_for(tmp_path: Path) -> None:
    with running_gateway(tmp_path) as gateway:
        assert gateway.process.wait_for(GRPC)[2] == str(gateway.grpc_port)
