"""The manifests: rendered by kustomize, valid by Kubernetes' schemas, and about the daemons as they are."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import kubernetes_validate
import pytest
import yaml
from programs import needed
from prometheus_client import CollectorRegistry

import gateway.settings
import sign_service.settings
from kit.health import Health, health_routes
from kit.settings import Section

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "deploy" / "kubernetes"
OVERLAY = MANIFESTS / "overlays" / "three-nodes"
NEWEST = "1.37"
OLDEST = "1.31"
"""Kubernetes' versions that the manifests are checked against; whatever the schemas' package has no schema for is an error."""
USER = 10001


def render(directory: Path) -> list[dict[str, Any]]:
    tool = ["kustomize", "build"] if shutil.which("kustomize") else ["kubectl", "kustomize"]
    needed(tool[0], at_import=True)
    done = subprocess.run([*tool, str(directory)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return list(yaml.safe_load_all(done.stdout))


OBJECTS = render(OVERLAY)


def of(kind: str) -> dict[str, dict[str, Any]]:
    """{name: object}."""
    return {one["metadata"]["name"]: one for one in OBJECTS if one["kind"] == kind}


WORKLOADS = of("Deployment") | of("StatefulSet")
NODES = [f"sign-service-{index}" for index in range(3)]


def pod(name: str) -> dict[str, Any]:
    found: dict[str, Any] = WORKLOADS[name]["spec"]["template"]["spec"]
    return found


def containers(name: str) -> Iterator[dict[str, Any]]:
    yield from pod(name)["containers"]
    yield from pod(name).get("initContainers", ())


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_kubernetes_schemas_accept_everything_and_know_every_field(version: str) -> None:
    for one in OBJECTS:
        kubernetes_validate.validate(one, version, strict=True)


def test_an_unknown_field_would_be_noticed() -> None:
    spoilt = yaml.safe_load(yaml.safe_dump(WORKLOADS["sign-gateway"]))
    spoilt["spec"]["template"]["spec"]["automountServiceAccountTokens"] = False
    with pytest.raises(kubernetes_validate.ValidationError, match="automountServiceAccountTokens"):
        kubernetes_validate.validate(spoilt, NEWEST, strict=True)


def test_what_is_there() -> None:
    assert set(WORKLOADS) == {"sign-gateway", *NODES}
    assert set(of("StatefulSet")) == set(NODES)
    assert {one["metadata"].get("namespace", "wallet-mpc") for one in OBJECTS} == {"wallet-mpc"}


# What pods may do


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_pod_runs_as_the_images_user_and_has_no_rights(name: str) -> None:
    spec = pod(name)
    assert spec["automountServiceAccountToken"] is False
    assert spec["serviceAccountName"] in of("ServiceAccount")
    assert of("ServiceAccount")[spec["serviceAccountName"]]["automountServiceAccountToken"] is False
    context = spec["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] == context["runAsGroup"] == context["fsGroup"] == USER
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    image = "Dockerfile.gateway" if name == "sign-gateway" else "Dockerfile.service"
    assert f"USER {USER}:{USER}" in (ROOT / image).read_text()
    for container in containers(name):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert set(container["resources"]) == {"requests", "limits"}
        assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]} or (  # noqa: S108 - a mount
            container["name"] == "secrets"
        )


def test_no_secret_stands_in_a_manifest_or_an_environment() -> None:
    assert not of("Secret")
    for name in WORKLOADS:
        for container in containers(name):
            for variable in container.get("env", ()):
                assert "SECRET" not in variable["name"]
                assert "valueFrom" not in variable


# Configuration


def settings_of(name: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Section:
    """What the daemon of a workload would run with: its ConfigMap's file, read by its own loader in its environment."""
    (container,) = pod(name)["containers"]
    (path,) = container["args"]
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod(name)["volumes"]}
    source = volumes[mounts[str(PurePosixPath(path).parent)]]["configMap"]["name"]
    file = directory / f"{name}.yaml"
    file.write_text(of("ConfigMap")[source]["data"][PurePosixPath(path).name])
    for variable in container.get("env", ()):
        monkeypatch.setenv(variable["name"], variable["value"])
    package = gateway.settings if name == "sign-gateway" else sign_service.settings
    return package.load(file)


def paths_in(settings: Section) -> Iterator[Path]:
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, Section):
            yield from paths_in(value)
        elif isinstance(value, Path):
            yield value


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_daemons_own_loader_takes_its_settings(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(name, tmp_path, monkeypatch)
    (container,) = pod(name)["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    if name == "sign-gateway":
        assert isinstance(settings, gateway.settings.GatewaySettings)
        assert ports == {
            "rooms": settings.server.port,
            "grpc": settings.grpc.port,
            "metrics": settings.metrics.port,
        }
        hosts = {settings.server.host, settings.grpc.host, settings.metrics.host}
        assert settings.redis.url is not None, "replicas share no rooms"
        assert settings.access.key_set is not None
    else:
        assert isinstance(settings, sign_service.settings.ServiceSettings)
        assert ports == {"grpc": settings.server.port, "metrics": settings.metrics.port}
        hosts = {settings.server.host, settings.metrics.host}
        assert settings.callers.token_file is not None
        assert settings.policy.rules == []
    assert hosts == {"0.0.0.0"}  # noqa: S104 - in a pod of its own
    assert settings.tls.enabled
    # Every file that the settings name lies on something that is mounted.
    mounted = [PurePosixPath(mount["mountPath"]) for mount in container["volumeMounts"]]
    for path in paths_in(settings):
        assert any(PurePosixPath(path).is_relative_to(place) for place in mounted), path


@pytest.mark.parametrize("name", WORKLOADS)
def test_probes_ask_what_the_daemon_answers_and_an_end_has_its_time(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: Any = settings_of(name, tmp_path, monkeypatch)
    (container,) = pod(name)["containers"]
    served = {route.path for route in health_routes(Health(), CollectorRegistry())}
    probes = {key: container[key]["httpGet"] for key in ("startupProbe", "livenessProbe", "readinessProbe")}
    for probe in probes.values():
        assert probe["path"] in served
        assert probe["port"] == "metrics"
        assert "scheme" not in probe, "the metrics' listener speaks plain HTTP"
    assert probes["livenessProbe"]["path"] == "/healthz"
    assert probes["readinessProbe"]["path"] == "/readyz"
    command, seconds = container["lifecycle"]["preStop"]["exec"]["command"]
    assert command == "sleep"
    assert pod(name)["terminationGracePeriodSeconds"] >= int(seconds) + settings.server.drain_seconds + 10


@pytest.mark.parametrize("name", NODES)
def test_a_node_has_one_volume_and_one_secret_of_its_own_and_is_alone(name: str) -> None:
    spec = WORKLOADS[name]["spec"]
    assert spec["replicas"] == 1
    (claim,) = spec["volumeClaimTemplates"]
    assert claim["spec"]["accessModes"] == ["ReadWriteOncePod"]
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    secrets = [volume["secret"]["secretName"] for volume in pod(name)["volumes"] if "secret" in volume]
    assert secrets == [name]
    # Whoever shares a machine with it is none of its peers.
    (rule,) = pod(name)["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    for other in NODES:
        labels = WORKLOADS[other]["spec"]["template"]["metadata"]["labels"]
        assert matches(rule["labelSelector"], labels)


def test_a_secret_reaches_a_node_as_its_users_own(tmp_path: Path) -> None:
    """The command of the init container, on files as Kubernetes mounts them."""
    secret, run = tmp_path / "secret", tmp_path / "run"
    secret.mkdir()
    run.mkdir()
    (secret / "..data").mkdir()
    (secret / "..data" / "store-password").write_text("correct horse")
    (secret / "store-password").symlink_to("..data/store-password")
    (init,) = [one for one in pod(NODES[0])["initContainers"] if one["name"] == "secrets"]
    text = init["command"][2].replace("/etc/wallet-secret", str(secret)).replace("/run/wallet", str(run))
    subprocess.run([*init["command"][:2], text], check=True)
    copied = run / "store-password"
    assert not copied.is_symlink()
    assert copied.stat().st_mode & 0o777 == 0o600
    assert copied.read_text() == "correct horse"


# Who reaches whom


def matches(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    return selector.get("matchLabels", {}).items() <= labels.items()


def labels_of(name: str) -> dict[str, str]:
    found: dict[str, str] = WORKLOADS[name]["spec"]["template"]["metadata"]["labels"]
    return found


def test_services_select_one_workload_each_and_lead_to_ports_that_it_has() -> None:
    expected = {"sign-gateway": "sign-gateway", "sign-gateway-metrics": "sign-gateway"}
    expected |= {name: name for name in NODES}
    assert set(of("Service")) == set(expected)
    for name, service in of("Service").items():
        selected = [
            other for other in WORKLOADS if service["spec"]["selector"].items() <= labels_of(other).items()
        ]
        assert selected == [expected[name]]
        (container,) = pod(selected[0])["containers"]
        named = {port["name"]: port["containerPort"] for port in container["ports"]}
        for port in service["spec"]["ports"]:
            assert named[port["targetPort"]] == port["port"]


def allowed(source: dict[str, str], target: str, port: str) -> bool:
    """Whether some policy lets pods with these labels reach a port of the target."""
    for policy in of("NetworkPolicy").values():
        if not matches(policy["spec"]["podSelector"], labels_of(target)):
            continue
        for rule in policy["spec"].get("ingress", ()):
            peers = [peer["podSelector"] for peer in rule["from"] if "podSelector" in peer]
            if {"port": port} in rule["ports"] and any(matches(peer, source) for peer in peers):
                return True
    return False


def leaves(name: str, target: dict[str, str], port: int) -> bool:
    """Whether some policy lets a workload's pods out to this port of pods with these labels."""
    for policy in of("NetworkPolicy").values():
        if matches(policy["spec"]["podSelector"], labels_of(name)):
            for rule in policy["spec"].get("egress", ()):
                peers = [peer["podSelector"] for peer in rule["to"] if set(peer) == {"podSelector"}]
                if {"port": port} in rule["ports"] and any(matches(peer, target) for peer in peers):
                    return True
    return False


def test_everything_is_denied_that_no_policy_allows() -> None:
    deny = of("NetworkPolicy")["default-deny"]["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_rooms_are_for_nodes_and_signatures_for_callers() -> None:
    stranger, caller = {"app": "shop"}, {"wallet-mpc/uses": "signatures"}
    for node in NODES:
        assert allowed(labels_of(node), "sign-gateway", "rooms")
        assert leaves(node, labels_of("sign-gateway"), 8080)
        assert allowed(labels_of("sign-gateway"), node, "grpc")
        assert leaves("sign-gateway", labels_of(node), 50051)
        assert allowed(caller, node, "grpc")
        assert not allowed(stranger, node, "grpc")
        for other in NODES:
            assert not allowed(labels_of(other), node, "grpc"), "nodes meet in rooms alone"
            assert not leaves(node, labels_of(other), 50051)
    assert allowed(caller, "sign-gateway", "grpc")
    assert not allowed(caller, "sign-gateway", "rooms")
    for port in ("rooms", "grpc", "metrics"):
        assert not allowed(stranger, "sign-gateway", port)
    assert leaves("sign-gateway", {"app.kubernetes.io/name": "redis"}, 6379)


def test_gateways_scale_and_are_not_all_disrupted_at_once() -> None:
    scaler = of("HorizontalPodAutoscaler")["sign-gateway"]["spec"]
    assert scaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "sign-gateway"}
    assert scaler["minReplicas"] >= 3
    assert "replicas" not in WORKLOADS["sign-gateway"]["spec"]
    budget = of("PodDisruptionBudget")["sign-gateway"]["spec"]
    assert budget["maxUnavailable"] < scaler["minReplicas"]
    assert matches(budget["selector"], labels_of("sign-gateway"))


def test_hosts_that_settings_name_are_services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from_gateway: Any = settings_of("sign-gateway", tmp_path, monkeypatch)
    assert from_gateway.sign_service.url == "https://sign-service-0:50051"
    assert "sign-service-0" in of("Service")
    for node in NODES:
        from_node: Any = settings_of(node, tmp_path, monkeypatch)
        assert from_node.gateway.url == "https://sign-gateway:8080"
