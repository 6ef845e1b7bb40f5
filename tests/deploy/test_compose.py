"""`docker-compose up` to a signature: real images, real containers, one of them restarted in between."""

import hashlib
import json
import os
from collections.abc import Iterator

import pytest
from docker_testing import Project, docker_engine, have_base_image
from ecdsa import SECP256k1, VerifyingKey

pytestmark = pytest.mark.docker

NODES = ("node-0", "node-1", "node-2")
SERVICES = ("gateway", *NODES)
USER = "10001"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with docker_engine(tmp_path_factory.mktemp("docker")):
        have_base_image()
        name = f"wallet-mpc-test-{os.getpid()}"
        project = Project(name, tag=name)
        try:
            project.build()
            project.compose("run", "--rm", "-T", "setup")
            project.compose("up", "-d", "--no-build")
            for service in SERVICES:
                project.wait_until_healthy(service)
            yield project
        finally:
            project.remove()


@pytest.fixture(scope="module")
def account(project: Project) -> str:
    project.compose(
        "exec", "-T", "node-0", "mpc-keygen", "create", "main", "--node", "/var/lib/wallet", seconds=900
    )
    return "main"


def sign(project: Project, account: str, text: str, signers: str) -> dict:
    """A signature that the first of the signers was asked for, checked with a foreign library."""
    first = int(signers[0])
    service = f"https://node-{first}:{50051 + 10 * first}"
    digest = hashlib.sha256(text.encode()).digest()
    answer = json.loads(
        project.client(
            "mpc-client", "sign", account, digest.hex(), "--signers", signers, "--service", service, "--json"
        )
    )
    key = VerifyingKey.from_string(bytes.fromhex(answer["public_key"].removeprefix("0x")), curve=SECP256k1)
    r, s = (bytes.fromhex(answer[name].removeprefix("0x")) for name in "rs")
    assert key.verify_digest(r + s, digest)
    assert answer["signers"] == [int(index) for index in signers.split(",")]
    return answer


def test_signs_and_signs_again_after_a_container_restarted(project: Project, account: str) -> None:
    first = sign(project, account, "before", "0,1")
    started = project.inspect("node-1")["State"]["StartedAt"]
    project.compose("restart", "node-1")
    project.wait_until_healthy("node-1")
    assert project.inspect("node-1")["State"]["StartedAt"] != started
    second = sign(project, account, "after", "0,1")
    third = sign(project, account, "after", "1,2")
    assert first["public_key"] == second["public_key"] == third["public_key"]


def test_shares_outlive_their_containers(project: Project, account: str) -> None:
    before = project.inspect("node-2")["Id"]
    project.compose("up", "-d", "--no-build", "--no-deps", "--force-recreate", "node-2")
    project.wait_until_healthy("node-2")
    assert project.inspect("node-2")["Id"] != before
    sign(project, account, "a new container", "0,2")


@pytest.mark.parametrize("service", SERVICES)
def test_nothing_runs_as_root_or_can_change_its_image(project: Project, service: str) -> None:
    processes = project.compose(
        "exec", "-T", service, "sh", "-c", "cat /proc/[0-9]*/status 2>/dev/null || true"
    )
    fields = [line.split() for line in processes.splitlines() if ":" in line]
    users = {user for name, *values in fields if name in {"Uid:", "Gid:"} for user in values}
    assert users == {USER}
    capabilities = {int(value, 16) for name, *values in fields if name == "CapEff:" for value in values}
    assert capabilities == {0}
    assert {values[0] for name, *values in fields if name == "NoNewPrivs:"} == {"1"}
    target = "import pathlib; pathlib.Path('/opt/wallet-mpc/changed').write_text('x')"
    answer = project.compose(
        "exec", "-T", service, "sh", "-c", f'python3 -c "{target}" 2>&1 && echo changed || true'
    )
    assert "Read-only file system" in answer
    assert "changed\n" not in answer


@pytest.mark.parametrize(("service", "sends"), [("gateway", True), ("node-0", False)])
def test_images_send_traces_if_they_were_built_for_it(project: Project, service: str, *, sends: bool) -> None:
    settings = "tracing.TracingSettings(endpoint='http://127.0.0.1:1')"
    call = f"from kit import tracing; tracing.configure({settings}, 'test', '1')"
    answer = project.compose(
        "exec", "-T", service, "sh", "-c", f'python3 -c "{call}" 2>&1 && echo can || true'
    )
    assert answer.endswith("can\n") == sends
    assert ("OpenTelemetry is not installed" in answer) != sends


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_has_one_volume_and_no_secret_in_its_environment(project: Project, service: str) -> None:
    container = project.inspect(service)
    assert container["HostConfig"]["ReadonlyRootfs"]
    volumes = [mount for mount in container["Mounts"] if mount["Type"] != "tmpfs"]
    assert [mount["Name"] for mount in volumes] == [f"{project.name}_{service}"]
    names = {variable.split("=")[0] for variable in container["Config"]["Env"]}
    assert not {
        name for name in names if any(word in name for word in ("KEY", "PASSWORD", "TOKEN", "SECRET"))
    }


@pytest.mark.parametrize("node", NODES)
def test_secret_files_are_the_nodes_alone(project: Project, node: str) -> None:
    files = "store.db seal.key tokens tls/server.key"
    listing = project.compose(
        "exec", "-T", node, "sh", "-c", f"cd /var/lib/wallet && stat -c '%n %a %u' . {files}"
    )
    modes = dict(line.split(" ", 1) for line in listing.splitlines())
    assert modes.pop(".") == f"700 {USER}"
    assert modes == dict.fromkeys(files.split(), f"600 {USER}")
