"""The gRPC proxy before a real upstream that the test runs."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import grpc
import pytest
from certificates import Authority
from gateway_testing import PATIENCE, running_gateway
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

from kit.pb import mpc_pb2, mpc_pb2_grpc

ASK = mpc_pb2.SignMessage(
    tx_id=-7,
    execution_id=bytes(range(16)),
    chain=mpc_pb2.Bitcoin,
    data=b"\x11" * 32,
    account_id="m/44'/60'/0'/0/0",
)
ANSWER = mpc_pb2.SignatureMessage(r=b"\x01" * 32, s=b"\x02" * 32, v=1)

Behaviour = Callable[[mpc_pb2.SignMessage, aio.ServicerContext], Awaitable[mpc_pb2.SignatureMessage]]


class Upstream(mpc_pb2_grpc.ParticipantServicer):
    """A sign-service whose answer each test decides."""

    def __init__(self) -> None:
        self.requests: list[mpc_pb2.SignMessage] = []
        self.metadata: list[dict[str, str | bytes]] = []
        self.time_remaining: list[float] = []
        self.behave: Behaviour = self.answer
        self.port = 0
        self.server = aio.server()

    @staticmethod
    async def answer(_: mpc_pb2.SignMessage, __: aio.ServicerContext) -> mpc_pb2.SignatureMessage:
        return ANSWER

    async def SignTx(self, request, context):
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        self.time_remaining.append(context.time_remaining())
        return await self.behave(request, context)

    async def start(self, credentials: grpc.ServerCredentials | None = None) -> None:
        mpc_pb2_grpc.add_ParticipantServicer_to_server(self, self.server)
        if credentials is None:
            self.port = self.server.add_insecure_port("127.0.0.1:0")
        else:
            self.port = self.server.add_secure_port("127.0.0.1:0", credentials)
        await self.server.start()


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    service = Upstream()
    await service.start()
    yield service
    await service.server.stop(None)


@pytest.fixture
def gateway(tmp_path: Path, upstream: Upstream):
    with running_gateway(tmp_path, {"sign_service": {"url": f"http://127.0.0.1:{upstream.port}"}}) as process:
        yield process


@pytest.fixture
async def channel(gateway) -> AsyncIterator[aio.Channel]:
    async with aio.insecure_channel(gateway.grpc) as connection:
        yield connection


@pytest.mark.parametrize("stub", [mpc_pb2_grpc.SignGatewayStub, mpc_pb2_grpc.ParticipantStub])
async def test_both_services_pass_requests_and_answers_on(channel, upstream: Upstream, stub) -> None:
    assert await stub(channel).SignTx(ASK, timeout=PATIENCE) == ANSWER
    assert upstream.requests == [ASK]


async def test_fields_that_the_gateway_does_not_know_go_through(channel, upstream: Upstream) -> None:
    unknown = ASK.SerializeToString() + b"\xaa\x06\x03new"
    call = channel.unary_unary("/mpc.SignGateway/SignTx")
    assert await call(unknown, timeout=PATIENCE) == ANSWER.SerializeToString()
    assert upstream.requests[0].SerializeToString() == unknown


async def test_the_callers_credentials_go_along_and_nobody_elses(channel, upstream: Upstream) -> None:
    stub = mpc_pb2_grpc.SignGatewayStub(channel)
    metadata = (("authorization", "Bearer of-the-caller"), ("x-request-id", "r1"), ("x-internal", "forged"))
    await stub.SignTx(ASK, timeout=PATIENCE, metadata=metadata)
    await stub.SignTx(ASK, timeout=PATIENCE)
    first, second = upstream.metadata
    assert (first["authorization"], first["x-request-id"]) == ("Bearer of-the-caller", "r1")
    assert "x-internal" not in first
    assert "authorization" not in second


def rich_error() -> status_pb2.Status:
    detail = any_pb2.Any()
    detail.Pack(
        error_details_pb2.ErrorInfo(reason="KEY_SHARE_NOT_FOUND", domain="wallet-mpc", metadata={"a": "b"})
    )
    return status_pb2.Status(
        code=grpc.StatusCode.NOT_FOUND.value[0], message='Key share not found: "räume" %25', details=[detail]
    )


async def test_errors_come_back_intact_with_their_details(channel, upstream: Upstream) -> None:
    async def fail(_, context):
        await context.abort_with_status(rpc_status.to_status(rich_error()))

    upstream.behave = fail
    with pytest.raises(aio.AioRpcError) as caught:
        await mpc_pb2_grpc.SignGatewayStub(channel).SignTx(ASK, timeout=PATIENCE)
    error = caught.value
    assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, 'Key share not found: "räume" %25')
    details = dict(error.trailing_metadata())["grpc-status-details-bin"]
    assert status_pb2.Status.FromString(details) == rich_error()


@pytest.mark.parametrize(
    "code", [code for code in grpc.StatusCode if code.value[0] not in (0, 1)], ids=lambda c: c.name
)
async def test_every_code_and_message_is_kept(channel, upstream: Upstream, code: grpc.StatusCode) -> None:
    async def fail(_, context):
        await context.abort(code, f"said by the sign-service: {code.name}", (("x-evidence", "e1"),))

    upstream.behave = fail
    with pytest.raises(aio.AioRpcError) as caught:
        await mpc_pb2_grpc.SignGatewayStub(channel).SignTx(ASK, timeout=PATIENCE)
    assert caught.value.code() is code
    assert caught.value.details() == f"said by the sign-service: {code.name}"
    assert dict(caught.value.trailing_metadata())["x-evidence"] == "e1"


async def test_without_an_upstream_unavailable_says_what_to_do_and_comes_back(tmp_path: Path) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with running_gateway(tmp_path, {"sign_service": {"url": url}}) as gateway:
        async with aio.insecure_channel(gateway.grpc) as channel:
            stub = mpc_pb2_grpc.SignGatewayStub(channel)
            with pytest.raises(aio.AioRpcError) as caught:
                await stub.SignTx(ASK, timeout=PATIENCE)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            text = caught.value.details()
            assert f"the sign-service at {url} cannot be reached" in text
            assert "Connection refused" in text
            assert "sign_service.url" in text
            assert (
                gateway.metric('gateway_grpc_calls_total{code="UNAVAILABLE",method="mpc.SignGateway/SignTx"}')
                == 1
            )
            service = Upstream()
            mpc_pb2_grpc.add_ParticipantServicer_to_server(service, service.server)
            service.server.add_insecure_port(f"127.0.0.1:{port}")
            await service.server.start()
            try:
                async with asyncio.timeout(PATIENCE):
                    while True:
                        call = stub.SignTx(ASK, timeout=PATIENCE)
                        code = await call.code()
                        if code is grpc.StatusCode.OK:
                            assert await call == ANSWER
                            break
                        assert code is grpc.StatusCode.UNAVAILABLE
            finally:
                await service.server.stop(None)


async def test_an_upstream_that_dies_during_the_call_is_said(channel, upstream: Upstream) -> None:
    arrived = asyncio.Event()

    async def hang(_, __):
        arrived.set()
        await asyncio.Event().wait()

    upstream.behave = hang
    call = mpc_pb2_grpc.SignGatewayStub(channel).SignTx(ASK, timeout=PATIENCE)
    pending = asyncio.ensure_future(call)
    await asyncio.wait_for(arrived.wait(), PATIENCE)
    await upstream.server.stop(None)
    with pytest.raises(aio.AioRpcError) as caught:
        await pending
    assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


async def test_calls_do_not_wait_for_one_another(channel, upstream: Upstream) -> None:
    together = asyncio.Barrier(20)

    async def meet(_, __):
        await together.wait()
        return ANSWER

    upstream.behave = meet
    stub = mpc_pb2_grpc.SignGatewayStub(channel)
    answers = await asyncio.gather(*(stub.SignTx(ASK, timeout=PATIENCE) for _ in range(20)))
    assert answers == [ANSWER] * 20


async def test_a_cancelled_call_is_cancelled_upstream(channel, upstream: Upstream) -> None:
    arrived, cancelled = asyncio.Event(), asyncio.Event()

    async def hang(_, __):
        arrived.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    upstream.behave = hang
    call = mpc_pb2_grpc.SignGatewayStub(channel).SignTx(ASK, timeout=PATIENCE)
    pending = asyncio.ensure_future(call)
    await asyncio.wait_for(arrived.wait(), PATIENCE)
    pending.cancel()
    await asyncio.wait_for(cancelled.wait(), PATIENCE)


async def test_the_callers_deadline_goes_along(channel, upstream: Upstream) -> None:
    stub = mpc_pb2_grpc.SignGatewayStub(channel)
    await stub.SignTx(ASK, timeout=PATIENCE)
    await stub.SignTx(ASK)
    # gRPC rounds deadlines up on the way.
    assert 0 < upstream.time_remaining[0] < PATIENCE + 5
    assert PATIENCE + 5 < upstream.time_remaining[1] < 305


@pytest.mark.fault(13)
async def test_calls_and_messages_are_bounded(tmp_path: Path, upstream: Upstream) -> None:
    arrived, go = asyncio.Event(), asyncio.Event()

    async def hold(_, __):
        arrived.set()
        await go.wait()
        return ANSWER

    upstream.behave = hold
    settings = {
        "sign_service": {"url": f"http://127.0.0.1:{upstream.port}"},
        "grpc": {"max_calls": 1, "max_message_bytes": 4096},
    }
    with running_gateway(tmp_path, settings) as gateway:
        async with aio.insecure_channel(gateway.grpc) as channel:
            stub = mpc_pb2_grpc.SignGatewayStub(channel)
            with pytest.raises(aio.AioRpcError) as caught:
                await stub.SignTx(mpc_pb2.SignMessage(data=b"x" * 5000), timeout=PATIENCE)
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            held = asyncio.ensure_future(stub.SignTx(ASK, timeout=PATIENCE))
            await asyncio.wait_for(arrived.wait(), PATIENCE)
            with pytest.raises(aio.AioRpcError) as caught:
                await stub.SignTx(ASK, timeout=PATIENCE)
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            go.set()
            assert await held == ANSWER


async def test_health_and_reflection(channel) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    for service in ("", "mpc.SignGateway", "mpc.Participant"):
        answer = await health.Check(health_pb2.HealthCheckRequest(service=service), timeout=PATIENCE)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
    ask = reflection_pb2.ServerReflectionRequest(list_services="")
    async for answer in reflection.ServerReflectionInfo(iter([ask]), timeout=PATIENCE):
        names = {service.name for service in answer.list_services_response.service}
    assert {"mpc.SignGateway", "mpc.Participant", "grpc.health.v1.Health"} <= names
    ask = reflection_pb2.ServerReflectionRequest(file_containing_symbol="mpc.SignGateway")
    async for answer in reflection.ServerReflectionInfo(iter([ask]), timeout=PATIENCE):
        assert answer.file_descriptor_response.file_descriptor_proto == [mpc_pb2.DESCRIPTOR.serialized_pb]


async def test_a_call_under_way_is_finished_when_the_gateway_ends(
    gateway, channel, upstream: Upstream
) -> None:
    arrived, go = asyncio.Event(), asyncio.Event()

    async def hold(_, __):
        arrived.set()
        await go.wait()
        return ANSWER

    upstream.behave = hold
    pending = asyncio.ensure_future(mpc_pb2_grpc.SignGatewayStub(channel).SignTx(ASK, timeout=PATIENCE))
    await asyncio.wait_for(arrived.wait(), PATIENCE)
    ending = asyncio.create_task(asyncio.to_thread(gateway.process.terminate))
    await asyncio.to_thread(gateway.process.wait_for, '"draining"')
    go.set()
    assert await pending == ANSWER
    assert await ending == 0


async def test_tls_to_the_sign_service_and_from_the_caller(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server, client = authority.issue("server"), authority.issue("caller", client=True)
    upstream = Upstream()
    await upstream.start(
        grpc.ssl_server_credentials([(server.key.read_bytes(), server.certificate.read_bytes())])
    )
    settings = {
        "sign_service": {"url": f"https://127.0.0.1:{upstream.port}", "ca": str(authority.ca)},
        "tls": {"certificate": "server.pem", "key": "server.key", "client_ca": "test-authority.pem"},
    }
    try:
        with running_gateway(tmp_path, settings) as gateway:
            good = grpc.ssl_channel_credentials(
                authority.ca.read_bytes(), client.key.read_bytes(), client.certificate.read_bytes()
            )
            async with aio.secure_channel(gateway.grpc, good) as channel:
                assert await mpc_pb2_grpc.SignGatewayStub(channel).SignTx(ASK, timeout=PATIENCE) == ANSWER
            nobody = grpc.ssl_channel_credentials(authority.ca.read_bytes())
            async with aio.secure_channel(gateway.grpc, nobody) as channel:
                with pytest.raises(aio.AioRpcError):
                    await mpc_pb2_grpc.SignGatewayStub(channel).SignTx(ASK, timeout=PATIENCE)
        assert len(upstream.requests) == 1
    finally:
        await upstream.server.stop(None)
