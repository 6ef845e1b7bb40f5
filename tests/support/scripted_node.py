"""A node whose answers a test writes down: what the services do with it is what the test is about."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from kit.pb import mpc_pb2
from kit.pb.wallet.v1 import operator_pb2, wallet_pb2
from kit.tls import TlsSettings
from participant.callers import CallerAuth, CallerLimits
from participant.grpc_client import ServiceClient
from participant.identity import NodeKeys
from participant.node import api
from participant.node.facade import NodeApi
from participant.services.gate import Gate, Lasting, Observe, callers_of, operator_at_socket
from participant.services.listener import Limits, Listener
from participant.services.operator import OperatorService
from participant.services.participant import ParticipantService
from participant.services.status import PARTICIPANT_CODES
from participant.services.wallet import WalletService

KEYS = NodeKeys(bytes(range(32)), bytes(range(1, 33)))

ACCOUNT = api.AccountView(
    account_id="main",
    curve="secp256k1",
    threshold=2,
    parties=3,
    committee_id=b"c" * 32,
    key_id=b"k" * 32,
    public_key=b"\x02" + b"p" * 32,
    addresses={"ethereum": "0xE", "bitcoin": "bc1b"},
    share_epoch=b"e" * 32,
    aux_id=b"a" * 32,
    index=1,
    status=api.AccountStatus.ACTIVE,
    created_at=1_700_000_000,
    last_signed_at=None,
)
_ASYNC = {"sign", "sign_tx", "import_share", "export_shares", "abort_session", "add_committee", "check_store"}
_ASYNC |= {"extended_key", "approve_deletion", "delete_account", "cancel_deletion", "deletions"}
_ASYNC |= {"make_backup", "seals", "add_seal", "remove_seal", "renew_data_key"}
_ASYNC |= {"reshare_request", "approve", "withdraw_approval", "resharings"}
_ASYNC |= {"recover_request", "approve_recovery", "recoveries"}
_STREAMS = {
    "recover",
    "reshare",
    "create_account",
    "fill_stock",
    "run_aux",
    "refresh_accounts",
    "fill_primes",
}


class ScriptedNode:
    """`answers` by method: a value, an exception to raise, or a function of the arguments. `calls` is what was asked."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        if not hasattr(NodeApi, name):
            raise AttributeError(name)

        def asked(*args: Any, **kwargs: Any) -> Any:
            self.calls.append((name, args, kwargs))
            answer = self.answers[name]
            if isinstance(answer, Exception):
                raise answer
            return answer(*args, **kwargs) if callable(answer) else answer

        async def later(*args: Any, **kwargs: Any) -> Any:
            answer = asked(*args, **kwargs)
            return await answer if asyncio.iscoroutine(answer) else answer

        async def stream(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            answer = asked(*args, **kwargs)
            if hasattr(answer, "__aiter__"):
                async with contextlib.aclosing(answer):
                    async for item in answer:
                        yield item
                return
            for item in answer:
                if isinstance(item, Exception):
                    raise item
                yield item

        return later if name in _ASYNC else stream if name in _STREAMS else asked

    @property
    def asked(self) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
        """The last call."""
        return self.calls[-1]


@contextlib.asynccontextmanager
async def served(
    node: Any,
    *,
    auth: CallerAuth | None = None,
    rate: str = "1000/second",
    tls: TlsSettings | None = None,
    limits: Limits | None = None,
    observe: Observe = lambda _method, _code, _seconds: None,
    host: str = "127.0.0.1",
) -> AsyncIterator[Listener]:
    """The callers' listener over `node`; its `port`."""
    lasting = Lasting()
    gate = Gate(callers_of(auth or CallerAuth()), CallerLimits(rate), observe)
    services: Mapping[str, Any] = mpc_pb2.DESCRIPTOR.services_by_name
    participant, wallet = services["Participant"], wallet_pb2.DESCRIPTOR.services_by_name["Wallet"]
    listener = Listener(
        [
            (
                participant.full_name,
                gate.handler(participant, ParticipantService(node, lasting), PARTICIPANT_CODES),
            ),
            (wallet.full_name, gate.handler(wallet, WalletService(node, lasting))),
        ],
        limits,
    )
    listener.bind(host, 0, "server.port", tls or TlsSettings())
    await listener.start()
    try:
        yield listener
    finally:
        await listener.stop(0)
        await lasting.close()


@contextlib.asynccontextmanager
async def operated(node: Any, path: Path) -> AsyncIterator[ServiceClient]:
    """The operator's socket over `node`, and a client of it."""
    gate = Gate(operator_at_socket)
    service = operator_pb2.DESCRIPTOR.services_by_name["Operator"]
    listener = Listener([(service.full_name, gate.handler(service, OperatorService(node, KEYS.card())))])
    listener.bind_socket(path)
    await listener.start()
    try:
        async with ServiceClient(f"unix:{path}") as client:
            yield client
    finally:
        await listener.stop(0)


def caller(listener: Listener) -> ServiceClient:
    """A caller without credentials."""
    return ServiceClient(f"127.0.0.1:{listener.port}")
