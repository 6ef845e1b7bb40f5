"""The daemon behind TLS: callers by certificate or token, operators by certificate, and the node's way to its gateway."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from certificates import Authority
from committee_processes import CommitteeProcesses, NodeProcess, make_committee

from kit.pb.wallet.v1 import operator_pb2 as operator
from kit.pb.wallet.v1 import wallet_pb2 as wallet
from participant.callers import write_token_file
from participant.grpc_client import CallFailed, Credentials, ServiceClient

LIST = wallet.ListAccountsRequest()


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def committee(tmp_path) -> Iterator[CommitteeProcesses]:
    committee = make_committee(tmp_path, primes=False)
    yield committee
    committee.close()


@pytest.fixture
def node(committee) -> NodeProcess:
    return committee.nodes[0]


def server_tls(authority: Authority, *, clients: bool = True) -> dict[str, str]:
    pair = authority.issue("server")
    files = {"certificate": str(pair.certificate), "key": str(pair.key)}
    return files | ({"client_ca": str(authority.ca)} if clients else {})


def of(authority: Authority, name: str) -> Credentials:
    pair = authority.issue(name, client=True)
    return Credentials(authority.ca, pair.certificate, pair.key)


async def refusal(client: ServiceClient, method, request) -> CallFailed:
    with pytest.raises(CallFailed) as caught:
        await client.call(method, request, timeout=20)
    return caught.value


async def test_callers_and_operators_have_certificates_of_their_own(authority, node) -> None:
    node.write_settings(
        {
            "tls": server_tls(authority),
            "callers": {"certificates": {"app.example": None}},
            "operator": {"port": 0, "certificates": ["ops.example"]},
        }
    )
    node.start()
    callers = f"https://127.0.0.1:{node.port}"
    operators = "https://" + node.running.wait_for(r"Operator on (127\.0\.0\.1:\d+)")[1]
    status = operator.GetStatusRequest()
    async with ServiceClient(callers, of(authority, "app.example")) as client:
        await client.call(client.wallet.ListAccounts, LIST)
        assert (await refusal(client, client.operator.GetStatus, status)).reason == "NOT_OFFERED"
    async with ServiceClient(callers, of(authority, "ops.example")) as client:
        assert (await refusal(client, client.wallet.ListAccounts, LIST)).reason == "UNAUTHENTICATED"
    async with ServiceClient(operators, of(authority, "ops.example")) as client:
        answer = await client.call(client.operator.GetStatus, status)
        assert answer.identity_key == node.identity
        assert (await refusal(client, client.wallet.ListAccounts, LIST)).reason == "NOT_OFFERED"
    async with ServiceClient(operators, of(authority, "app.example")) as client:
        assert (await refusal(client, client.operator.GetStatus, status)).reason == "UNAUTHENTICATED"
    async with ServiceClient(operators, Credentials(authority.ca)) as client:
        assert not (await refusal(client, client.operator.GetStatus, status)).from_service
    # The socket needs no certificate: the file system says who may.
    async with node.operator() as client:
        await client.call(client.operator.GetStatus, status)
    assert node.stop() == 0


async def test_tokens_go_by_tls_and_none_of_them_is_in_the_log(authority, node) -> None:
    tokens = write_token_file(node.directory / "tokens", {"app": None})
    node.write_settings(
        {"tls": server_tls(authority, clients=False), "callers": {"token_file": "tokens", "rate": "5/minute"}}
    )
    node.start()
    target = f"https://127.0.0.1:{node.port}"
    async with ServiceClient(target, Credentials(authority.ca, token=tokens["app"])) as client:
        for _ in range(5):
            await client.call(client.wallet.ListAccounts, LIST)
        limited = await refusal(client, client.wallet.ListAccounts, LIST)
        assert (limited.code, limited.reason) == ("RESOURCE_EXHAUSTED", "RATE_LIMITED")
    async with ServiceClient(target, Credentials(authority.ca, token="wmpc_wrong")) as client:
        wrong = await refusal(client, client.wallet.ListAccounts, LIST)
        assert (wrong.code, wrong.reason) == ("UNAUTHENTICATED", "UNAUTHENTICATED")
    async with ServiceClient(f"http://127.0.0.1:{node.port}", Credentials(token=tokens["app"])) as client:
        assert not (await refusal(client, client.wallet.ListAccounts, LIST)).from_service
    assert node.stop() == 0
    assert tokens["app"] not in node.output
    assert "wmpc_wrong" not in node.output


async def test_the_gateway_is_reached_by_tls_with_a_certificate(authority, committee, node) -> None:
    committee.gateway_settings["tls"] = server_tls(authority)
    gateway = committee.start_gateway()
    ours = authority.issue("node-0.example", client=True)
    node.write_settings(
        {
            "gateway": {
                "url": gateway.url,
                "ca": str(authority.ca),
                "certificate": str(ours.certificate),
                "key": str(ours.key),
            }
        }
    )
    assert gateway.url.startswith("https://")
    node.start()
    node.running.wait_for(f"^Connected to gateway at {gateway.url}$")
    node.wait_ready()
    assert node.stop() == 0


@pytest.mark.fault(10)
def test_a_gateway_of_another_authority_is_not_talked_to(authority, committee, node, tmp_path) -> None:
    committee.gateway_settings["tls"] = server_tls(authority, clients=False)
    gateway = committee.start_gateway()
    other = Authority(tmp_path, "other authority")
    node.write_settings({"gateway": {"url": gateway.url, "ca": str(other.ca)}})
    node.start()
    line = node.running.wait_for("Lost the gateway").string
    assert "certificate" in line.lower()
    assert "gateway" in node.failing()
    assert node.stop() == 0
