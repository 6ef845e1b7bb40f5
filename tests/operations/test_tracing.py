"""One signature as one trace: from a caller through node and rounds to the gateway, as a collector sees it; nothing when off."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from collector import Collector, Seen, running_collector
from committee_processes import PATIENCE, create_account, running_committee
from processes import command, run_process

from kit import tracing
from kit.pb.wallet.v1 import wallet_pb2, wallet_pb2_grpc
from kit.settings import SettingsError

CALLER = "b7ad6b7169203331"
KNOWN_ATTRIBUTES = {"room", "size", "proposal", "session", "parties", "outcome"}


def call_with_trace(target: str, trace: str, request: wallet_pb2.SignRequest) -> wallet_pb2.SignResponse:
    with grpc.insecure_channel(target) as channel:
        metadata = (("traceparent", f"00-{trace}-{CALLER}-01"),)
        answer: wallet_pb2.SignResponse = wallet_pb2_grpc.WalletStub(channel).Sign(
            request, metadata=metadata, timeout=PATIENCE * 2
        )
        return answer


def is_complete(spans: list[Seen], trace: str) -> bool:
    """Whether all of the trace's spans are there, and what a signature is made of is among them."""
    mine = [span for span in spans if span.trace == trace]
    ids = {span.id for span in mine} | {CALLER}
    names = {(span.service, span.name) for span in mine}
    return {("sign-service", "wallet.v1.Wallet/Sign"), ("sign-gateway", "room append")} <= names and all(
        span.parent in ids for span in mine
    )


async def test_a_signature_is_one_trace_through_node_rounds_and_gateway(tmp_path: Path) -> None:
    with running_collector() as (collector, endpoint):
        settings = {"tracing": {"endpoint": endpoint}}
        with running_committee(tmp_path, n=2, t=2, settings=settings, gateway_settings=settings) as committee:
            async with committee.nodes[0].client() as node:
                await create_account(node, "main")
            trace, digest = os.urandom(16).hex(), os.urandom(32)
            request = wallet_pb2.SignRequest(request_id=os.urandom(16), account_id="main", digest=digest)
            call_with_trace(committee.nodes[0].target, trace, request)
            assert call_fails(committee.nodes[0].target)
            # What is not sent yet goes with the daemons' ends.
            assert committee.nodes[0].stop() == 0
            assert committee.gateway is not None
            assert committee.gateway.process.terminate() == 0
        spans = collector.wait_for(lambda spans: is_complete(spans, trace))
    check_trace([span for span in spans if span.trace == trace])
    check_nothing_is_told(collector, digest, spans)


def call_fails(target: str) -> bool:
    """A call whose failure's text holds what the caller sent."""
    with grpc.insecure_channel(target) as channel:
        request = wallet_pb2.GetAccountRequest(account_id="hidden words of a caller")
        with pytest.raises(grpc.RpcError):
            wallet_pb2_grpc.WalletStub(channel).GetAccount(request, timeout=PATIENCE)
    return True


def check_trace(spans: list[Seen]) -> None:
    by_id = {span.id: span for span in spans}

    def line(span: Seen) -> list[str]:
        """Names from the caller's span down to this one."""
        above = line(by_id[span.parent]) if span.parent != CALLER else []
        return [*above, f"{span.service} {span.name}"]

    ways = {tuple(line(span)) for span in spans}
    kinds = {way[1] for way in ways if len(way) > 1}
    (session,) = [kind for kind in kinds if kind.startswith("sign-service session ")]
    posted = [way for way in ways if way[-1] == "sign-gateway room append"]
    assert posted
    rounds = {way[2] for way in ways if len(way) > 2 and way[1] == session}
    assert len(rounds & {name for name in rounds if "." in name}) >= 2, rounds
    # In every way to the gateway lies what the node posted, and why.
    for way in posted:
        assert way[0] == "sign-service wallet.v1.Wallet/Sign", way
        assert way[-2] == "sign-service post into room", way
    assert any(way[1] == session for way in posted)
    ended = next(span for span in spans if f"sign-service {span.name}" == session)
    assert "done" in ended.attributes["outcome"]
    assert ended.attributes["session"]


def check_nothing_is_told(collector: Collector, digest: bytes, spans: list[Seen]) -> None:
    assert {key for span in spans for key in span.attributes} <= KNOWN_ATTRIBUTES
    assert not any(span.events for span in spans)
    for secret in (digest, digest.hex().encode(), base64.b64encode(digest), b"hidden words"):
        assert secret not in collector.raw
    assert any(span.status for span in spans if span.name == "wallet.v1.Wallet/GetAccount")


# Off


def test_without_an_endpoint_nothing_of_opentelemetry_is_loaded() -> None:
    code = (
        "import sys, gateway.service, sign_service.service\n"
        "from kit import tracing\n"
        "tracing.configure(tracing.TracingSettings(), 'a', 'b')\n"
        "with tracing.span('x', room='r'): tracing.note(a=1)\n"
        "assert tracing.headers() == {}\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_off_it_makes_no_object() -> None:
    assert tracing.span("a") is tracing.span("b", room="r") is tracing.span_of((), "c")
    assert tracing.within(tracing.here()) is tracing.span("a")
    stages = tracing.Stages()
    stages.enter("one")
    assert stages._open is None
    stages.close()


def test_without_the_extra_the_setting_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(SettingsError, match=r"pip install 'wallet-mpc\[tracing\]'"):
        tracing.configure(tracing.TracingSettings(endpoint="http://127.0.0.1:1/v1/traces"), "a", "b")


def test_a_collector_that_is_away_harms_nobody(tmp_path: Path) -> None:
    """Nothing listens at the endpoint: the gateway serves, and ends in time."""
    from gateway_testing import running_gateway

    with running_gateway(tmp_path, {"tracing": {"endpoint": "http://127.0.0.1:9/v1/traces"}}) as gateway:
        assert gateway.post("room", "m").status_code == 200
        assert gateway.process.terminate() == 0
        assert "Traceback" not in gateway.process.output


def test_an_endpoint_is_an_address(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text("tracing: {endpoint: collector}\n")
    code, process = run_process(command("sign-gateway", "--check", path))
    assert code == 2
    assert "tracing.endpoint: expected http://host:port/v1/traces" in process.output
