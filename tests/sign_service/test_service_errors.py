"""Failures of a node as they arrive at callers: code, reason, metadata, text."""

from __future__ import annotations

import inspect

import grpc
import pytest
from scripted_node import ScriptedNode, caller, served
from structlog.testing import capture_logs

from kit.pb import mpc_pb2 as mpc
from kit.pb.wallet.v1 import wallet_pb2 as wallet
from participant.grpc_client import CallFailed
from participant.node import errors
from participant.node.errors import (
    AccountUnknown,
    BadDigestGiven,
    InternalFailure,
    NodeFailure,
    PeerAtFault,
    PolicyRefused,
    ThresholdNotMet,
    TimedOut,
)
from participant.services.operator import EvidenceUnknown
from participant.services.status import CODES, MAX_TEXT, PARTICIPANT_CODES
from participant.store import StoreUnavailable
from tss.errors import Timeout

GET = wallet.GetAccountRequest(account_id="main")


def all_failures() -> list[type[NodeFailure]]:
    found = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, NodeFailure)]
    return [*found, EvidenceUnknown]


@pytest.mark.parametrize("kind", all_failures(), ids=lambda kind: kind.__name__)
def test_every_failure_has_a_code_of_its_own_choosing(kind: type[NodeFailure]) -> None:
    assert kind.reason in CODES
    assert kind.reason in PARTICIPANT_CODES
    assert (CODES[kind.reason] is grpc.StatusCode.INTERNAL) == (kind.reason in {"INTERNAL", "STORE_FAILED"})


async def failing(error: Exception) -> CallFailed:
    async with served(ScriptedNode(account=error)) as listener, caller(listener) as client:
        with pytest.raises(CallFailed) as caught:
            await client.call(client.wallet.GetAccount, GET)
    return caught.value


@pytest.mark.parametrize(
    ("error", "code", "reason", "metadata"),
    [
        (AccountUnknown("Key share not found: no account 'x'"), "NOT_FOUND", "KEY_SHARE_NOT_FOUND", {}),
        (
            ThresholdNotMet("index 2 is away", needed=2, missing=[2, 1]),
            "UNAVAILABLE",
            "THRESHOLD_NOT_MET",
            {"needed": "2", "missing": "1,2"},
        ),
        (
            PeerAtFault("index 1 sent a bad proof", peer=1, check="presign.r1.enc-elg.k", evidence_id="ab"),
            "ABORTED",
            "PEER_FAULT",
            {"peer": "1", "check": "presign.r1.enc-elg.k", "evidence_id": "ab"},
        ),
        (
            PolicyRefused("no", rule="NO_RULE", by=0),
            "PERMISSION_DENIED",
            "POLICY_REFUSED",
            {"rule": "NO_RULE", "by": "0"},
        ),
        (TimedOut("index 1 is silent", silent="1"), "DEADLINE_EXCEEDED", "TIMEOUT", {"silent": "1"}),
        (StoreUnavailable("the disk is full"), "INTERNAL", "STORE_FAILED", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_code_reason_metadata_and_text_arrive(error, code, reason, metadata) -> None:
    found = await failing(error)
    assert (found.code, found.reason, dict(found.metadata)) == (code, reason, metadata)
    assert found.from_service
    assert str(found) == str(error)


async def test_a_protocol_error_of_below_keeps_its_reason() -> None:
    found = await failing(Timeout([2], "presign.r2"))
    assert (found.reason, found.metadata["silent"]) == ("TIMEOUT", "1")


async def test_a_bug_of_ours_says_nothing_about_itself() -> None:
    with capture_logs() as logged:
        found = await failing(KeyError("0123456789 a secret"))
    assert (found.code, found.reason) == ("INTERNAL", "INTERNAL")
    assert "secret" not in str(found)
    # The operator's log has its traceback.
    (entry,) = [entry for entry in logged if entry["event"] == "internal error"]
    assert isinstance(entry["exc_info"], KeyError)


async def test_a_long_text_is_cut_to_what_trailers_carry() -> None:
    found = await failing(AccountUnknown("ä" * 5000, detail="x" * 9000))
    assert str(found).startswith("ää")
    assert str(found).endswith("...")
    assert len(str(found).encode()) <= MAX_TEXT
    assert len(found.metadata["detail"]) <= MAX_TEXT


async def test_control_characters_forge_no_second_line() -> None:
    assert str(await failing(AccountUnknown("one\r\ntwo\tthree"))) == "one two three"


ASK = mpc.SignMessage(tx_id=-5, execution_id=b"e" * 16, chain=mpc.Ethereum, data=b"d" * 32, account_id="main")


@pytest.mark.parametrize(
    ("changes", "code", "reason"),
    [
        ({"account_id": ""}, "INVALID_ARGUMENT", "INVALID_REQUEST"),
        ({"chain": 7}, "INTERNAL", "INTERNAL"),
        ({"data": b"d" * 31}, "INVALID_ARGUMENT", "BAD_DIGEST"),
        ({"data": b""}, "INVALID_ARGUMENT", "BAD_DIGEST"),
        ({"execution_id": b"e" * 15}, "INVALID_ARGUMENT", "INVALID_REQUEST"),
    ],
)
async def test_the_old_wires_mistakes_have_its_codes(changes, code, reason) -> None:
    request = mpc.SignMessage()
    request.CopyFrom(ASK)
    for key, value in changes.items():
        setattr(request, key, value)
    node = ScriptedNode()
    async with served(node) as listener, caller(listener) as client:
        with pytest.raises(CallFailed) as caught:
            await client.call(client.participant.SignTx, request)
    assert (caught.value.code, caught.value.reason) == (code, reason)
    assert not node.calls


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (AccountUnknown("Key share not found"), "NOT_FOUND"),
        (BadDigestGiven("31 bytes"), "INVALID_ARGUMENT"),
        (ThresholdNotMet("nobody", needed=2), "INTERNAL"),
        (PeerAtFault("bad", peer=1, check="c", evidence_id=""), "INTERNAL"),
        (TimedOut("silent"), "INTERNAL"),
        (InternalFailure("bug"), "INTERNAL"),
        (PolicyRefused("no"), "PERMISSION_DENIED"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
)
async def test_a_failed_signing_is_internal_on_the_old_wire_and_keeps_its_reason(error, code) -> None:
    async with served(ScriptedNode(sign_tx=error)) as listener, caller(listener) as client:
        with pytest.raises(CallFailed) as caught:
            await client.call(client.participant.SignTx, ASK)
    assert (caught.value.code, caught.value.reason) == (code, error.reason)


async def test_a_service_that_is_another_ones_is_told_apart() -> None:
    async with served(ScriptedNode()) as listener, caller(listener) as client:
        with pytest.raises(CallFailed) as caught:
            await client.call(client.sign_gateway.SignTx, ASK)
    assert (caught.value.reason, caught.value.code) == ("NOT_OFFERED", "UNIMPLEMENTED")
    assert not caught.value.from_service


async def test_the_callers_own_deadline_is_told_apart_from_the_nodes() -> None:
    import asyncio

    started = asyncio.Event()

    async def slow(_call):
        started.set()
        await asyncio.Event().wait()

    request = wallet.SignRequest(request_id=b"r" * 16, account_id="main", digest=b"d" * 32)
    async with served(ScriptedNode(sign=slow)) as listener, caller(listener) as client:
        with pytest.raises(CallFailed) as caught:
            await client.call(client.wallet.Sign, request, timeout=0.2)
        assert started.is_set()
    assert (caught.value.reason, caught.value.from_service) == ("TIMEOUT", False)
