"""Who is let in, for which accounts, how often; what stands on which listener."""

from __future__ import annotations

import asyncio

import pytest
from certificates import Authority
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from scripted_node import ACCOUNT, ScriptedNode, caller, operated, served

from kit.pb.wallet.v1 import operator_pb2 as operator
from kit.pb.wallet.v1 import wallet_pb2 as wallet
from kit.tls import TlsSettings
from participant.callers import ANONYMOUS, Caller, CallerAuth, Tokens, hash_token
from participant.files import SecretFileError, create_private
from participant.grpc_client import CallFailed, Credentials, ServiceClient, read_token
from participant.services.gate import _host
from participant.services.listener import Limits

GET = wallet.GetAccountRequest(account_id="main")
TOKENS = Tokens.of(
    [
        (hash_token("wmpc_app"), Caller("app", frozenset({"main"}))),
        (hash_token("wmpc_all"), Caller("all")),
    ]
)


async def get(client: ServiceClient):
    return await client.call(client.wallet.GetAccount, GET)


async def refused(client: ServiceClient) -> CallFailed:
    with pytest.raises(CallFailed) as caught:
        await get(client)
    return caught.value


async def test_without_authentication_everybody_on_this_machine_is_the_loopback_caller() -> None:
    node = ScriptedNode(account=ACCOUNT)
    async with served(node) as listener, caller(listener) as client:
        await get(client)
    assert node.asked == ("account", ("main", Caller(ANONYMOUS)), {})


@pytest.mark.parametrize(
    ("token", "name", "accounts"), [("wmpc_app", "app", {"main"}), ("wmpc_all", "all", None)]
)
async def test_a_token_tells_the_caller_and_his_accounts(token, name, accounts) -> None:
    node = ScriptedNode(account=ACCOUNT)
    async with (
        served(node, auth=CallerAuth(TOKENS)) as listener,
        ServiceClient(f"127.0.0.1:{listener.port}", Credentials(token=token)) as client,
    ):
        await get(client)
    expected = Caller(name, None if accounts is None else frozenset(accounts))
    assert node.asked == ("account", ("main", expected), {})


@pytest.mark.parametrize("token", [None, "", "wmpc_ap", "wmpc_appp", "WMPC_APP", "x" * 600])
async def test_a_missing_or_wrong_token_is_refused_before_the_node_is_asked(token) -> None:
    node = ScriptedNode(account=ACCOUNT)
    async with (
        served(node, auth=CallerAuth(TOKENS)) as listener,
        ServiceClient(f"127.0.0.1:{listener.port}", Credentials(token=token)) as client,
    ):
        error = await refused(client)
    assert (error.code, error.reason) == ("UNAUTHENTICATED", "UNAUTHENTICATED")
    assert not node.calls


async def test_two_tokens_in_one_call_are_refused() -> None:
    node = ScriptedNode(account=ACCOUNT)
    async with served(node, auth=CallerAuth(TOKENS)) as listener, caller(listener) as client:
        metadata = aio.Metadata(("authorization", "Bearer wmpc_all"), ("authorization", "Bearer wmpc_app"))
        with pytest.raises(aio.AioRpcError) as caught:
            await client.wallet.GetAccount(GET, metadata=metadata)
    assert caught.value.code().name == "UNAUTHENTICATED"
    assert not node.calls


async def test_a_certificates_name_tells_the_caller(tmp_path) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "other authority")
    server = authority.issue("server")
    tls = TlsSettings(certificate=server.certificate, key=server.key, client_ca=authority.ca)
    auth = CallerAuth(certificates={"app.example": frozenset({"main"})})
    node = ScriptedNode(account=ACCOUNT)
    async with served(node, auth=auth, tls=tls) as listener:
        target = f"https://127.0.0.1:{listener.port}"
        for name, issuer in (
            ("app.example", authority),
            ("stranger.example", authority),
            ("app.example", other),
        ):
            pair = issuer.issue(name, client=True)
            credentials = Credentials(authority.ca, pair.certificate, pair.key)
            async with ServiceClient(target, credentials) as client:
                if (name, issuer) == ("app.example", authority):
                    await get(client)
                    assert node.asked[1][1] == Caller("app.example", frozenset({"main"}))
                elif issuer is authority:
                    assert (await refused(client)).reason == "UNAUTHENTICATED"
                else:
                    # The handshake fails: nobody got as far as a method.
                    assert (await refused(client)).reason in {"TLS_FAILED", "UNREACHABLE"}
        async with ServiceClient(target, Credentials(authority.ca)) as client:
            assert (await refused(client)).reason in {"TLS_FAILED", "UNREACHABLE"}
        async with ServiceClient(f"http://127.0.0.1:{listener.port}") as client:
            assert not (await refused(client)).from_service
    assert len(node.calls) == 1


async def test_tokens_work_over_tls_without_client_certificates(tmp_path) -> None:
    authority = Authority(tmp_path)
    server = authority.issue("server")
    tls = TlsSettings(certificate=server.certificate, key=server.key)
    node = ScriptedNode(account=ACCOUNT)
    async with served(node, auth=CallerAuth(TOKENS), tls=tls) as listener:
        target = f"https://127.0.0.1:{listener.port}"
        async with ServiceClient(target, Credentials(authority.ca, token="wmpc_all")) as client:
            await get(client)
        async with ServiceClient(
            target, Credentials(Authority(tmp_path, "x").ca, token="wmpc_all")
        ) as client:
            assert (await refused(client)).reason in {"TLS_FAILED", "UNREACHABLE"}
    assert len(node.calls) == 1


async def test_the_client_sends_no_token_in_plain_text_to_another_machine() -> None:
    with pytest.raises(ValueError, match="plain text"):
        ServiceClient("http://192.0.2.1:50051", Credentials(token="wmpc_app"))


async def test_a_token_file_is_private_and_holds_one_token(tmp_path) -> None:
    good, two = tmp_path / "token", tmp_path / "two"
    create_private(good, b"wmpc_app\n")
    create_private(two, b"wmpc_app\nwmpc_all\n")
    assert read_token(good) == "wmpc_app"
    with pytest.raises(SecretFileError, match="one line"):
        read_token(two)
    good.chmod(0o644)
    with pytest.raises(SecretFileError, match="chmod 600"):
        read_token(good)
    assert "wmpc_app" not in repr(Credentials(token="wmpc_app"))


@pytest.mark.fault(15)
async def test_limits_are_a_callers_own() -> None:
    node = ScriptedNode(account=ACCOUNT)
    async with served(node, auth=CallerAuth(TOKENS), rate="3/minute") as listener:
        target = f"127.0.0.1:{listener.port}"
        async with (
            ServiceClient(target, Credentials(token="wmpc_app")) as app,
            ServiceClient(target, Credentials(token="wmpc_all")) as other,
        ):
            for _ in range(3):
                await get(app)
            error = await refused(app)
            await get(other)
    assert (error.code, error.reason) == ("RESOURCE_EXHAUSTED", "RATE_LIMITED")
    assert 0 < float(error.metadata["retry_after"]) <= 60
    assert len(node.calls) == 4


@pytest.mark.fault(15)
async def test_more_calls_than_the_listener_takes_are_refused() -> None:
    entered, leave = asyncio.Event(), asyncio.Event()

    async def slow(_call):
        entered.set()
        await leave.wait()
        raise RuntimeError("the test is over")

    request = wallet.SignRequest(request_id=b"r" * 16, account_id="main", digest=b"d" * 32)
    node = ScriptedNode(sign=slow, account=ACCOUNT)
    async with served(node, limits=Limits(max_calls=1)) as listener, caller(listener) as client:
        first = asyncio.ensure_future(client.call(client.wallet.Sign, request))
        await entered.wait()
        assert (await refused(client)).code == "RESOURCE_EXHAUSTED"
        leave.set()
        with pytest.raises(CallFailed):
            await first


@pytest.mark.fault(13)
async def test_a_request_above_the_limit_is_refused() -> None:
    node = ScriptedNode()
    async with served(node, limits=Limits(max_message_bytes=1000)) as listener, caller(listener) as client:
        with pytest.raises(CallFailed) as caught:
            await client.call(client.wallet.GetAccount, wallet.GetAccountRequest(account_id="x" * 2000))
    assert caught.value.code == "RESOURCE_EXHAUSTED"
    assert not node.calls


async def test_the_operators_methods_are_not_on_the_callers_listener_and_not_the_other_way_round(
    tmp_path,
) -> None:
    node = ScriptedNode()
    async with served(node) as listener, caller(listener) as client:
        with pytest.raises(CallFailed) as caught:
            await client.call(client.operator.GetIdentity, operator.GetIdentityRequest())
        assert caught.value.reason == "NOT_OFFERED"
    async with operated(node, tmp_path / "operator") as client:
        assert (await refused(client)).reason == "NOT_OFFERED"
    assert not node.calls


async def names_by_reflection(channel: aio.Channel) -> list[str]:
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    answer = await anext(aiter(call))
    return sorted(service.name for service in answer.list_services_response.service)


async def test_health_and_reflection_stand_on_both_listeners(tmp_path) -> None:
    node = ScriptedNode()
    common = ["grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"]
    async with (
        served(node) as listener,
        operated(node, tmp_path / "operator") as at_socket,
        caller(listener) as client,
    ):
        for channel, services in (
            (client.channel, ["mpc.Participant", "wallet.v1.Wallet"]),
            (at_socket.channel, ["wallet.v1.Operator"]),
        ):
            health = health_pb2_grpc.HealthStub(channel)
            for name in ("", *services):
                answer = await health.Check(health_pb2.HealthCheckRequest(service=name))
                assert answer.status == health_pb2.HealthCheckResponse.SERVING, name
            assert await names_by_reflection(channel) == sorted([*common, *services])


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        ("ipv4:127.0.0.1:4711", "127.0.0.1"),
        ("ipv6:%5B::1%5D:4711", "::1"),
        ("ipv6:[::1]:4711", "::1"),
        ("unix:", ""),
        ("unix:/tmp/x", ""),
        ("unknown", ""),
    ],
)
def test_the_address_of_a_peer(peer, host) -> None:
    assert _host(peer) == host


async def test_every_call_is_counted_with_its_outcome() -> None:
    seen: list[tuple[str, str]] = []
    node = ScriptedNode(account=ACCOUNT, accounts=[])
    async with (
        served(node, rate="2/minute", observe=lambda name, code, _: seen.append((name, code))) as listener,
        caller(listener) as client,
    ):
        await get(client)
        await client.call(client.wallet.ListAccounts, wallet.ListAccountsRequest())
        await refused(client)
    assert seen == [
        ("wallet.v1.Wallet/GetAccount", "OK"),
        ("wallet.v1.Wallet/ListAccounts", "OK"),
        ("wallet.v1.Wallet/GetAccount", "RESOURCE_EXHAUSTED"),
    ]
