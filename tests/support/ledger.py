"""Requests for signatures that are made while servers come and go, and what the nodes' own records say became of them.

    ledger = Ledger(committee)
    await ledger.sign_many(50, kill_something)
    ledger.audit()

A request that fails has to fail with an error that says "try again" (RETRYABLE), from the node itself, or by its caller's own
deadline. It is then asked again under the same id until it is signed: nothing that a node took on is lost.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from coincurve import PublicKey
from committee_processes import PATIENCE, CommitteeProcesses, NodeProcess, sign_digest

from kit.pb.wallet.v1 import wallet_pb2 as wallet
from participant.grpc_client import CallFailed, ServiceClient
from participant.sealing import KeyFileWrapper
from participant.store import Store
from participant.store.audit import AuditRecord

RETRYABLE = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "ABORTED", "RESOURCE_EXHAUSTED"})

_names = itertools.count()


@dataclass
class Request:
    """One, by its id; asked of one node."""

    request_id: bytes
    digest: bytes
    node: NodeProcess
    signers: Sequence[int] = ()
    signature: bytes | None = None
    refusals: list[str] = field(default_factory=list)
    refused: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when it was refused for the first time."""

    async def ask(self, client: ServiceClient) -> wallet.SignResponse:
        """Once."""
        return await sign_digest(
            client, "main", self.digest, request_id=self.request_id, signers=list(self.signers)
        )


@dataclass
class Ledger:
    """All requests of a test, for the account "main"."""

    committee: CommitteeProcesses
    requests: dict[bytes, Request] = field(default_factory=dict)

    def request(self, node: NodeProcess, signers: Sequence[int] = ()) -> Request:
        """A new one; the node chooses the signers if none are named."""
        digest = hashlib.sha256(b"ledger %d" % next(_names)).digest()
        made = Request(digest[:16], digest, node, signers)
        self.requests[made.request_id] = made
        return made

    async def sign(self, request: Request) -> None:
        """Ask until it is signed."""
        deadline = time.monotonic() + 10 * PATIENCE
        async with request.node.client() as client:
            while request.signature is None:
                try:
                    answer = await request.ask(client)
                except CallFailed as error:
                    # Without the service's word it is the caller's own deadline, of which it learns nothing.
                    asked = error.from_service or error.code == "DEADLINE_EXCEEDED"
                    if not asked or error.code not in RETRYABLE or time.monotonic() > deadline:
                        raise
                    request.refusals.append(error.reason)
                    request.refused.set()
                else:
                    request.signature = verified(answer, request.digest)

    async def sign_many(
        self,
        at_once: int,
        meanwhile: Callable[[], Awaitable[None]],
        nodes: Sequence[NodeProcess] | None = None,
        *,
        go_on: bool = False,
    ) -> None:
        """So many requests at once, asked of the nodes in turn; `meanwhile` is awaited when the first sessions run.

        With `go_on` each that is signed is followed by another, until `meanwhile` is over.
        """
        nodes = list(nodes or self.committee.nodes)
        over = asyncio.Event()

        async def one(node: NodeProcess) -> None:
            await self.sign(self.request(node))
            while go_on and not over.is_set():
                await self.sign(self.request(node))

        async with asyncio.TaskGroup() as tasks:
            calls = [tasks.create_task(one(nodes[number % len(nodes)])) for number in range(at_once)]
            # Every turn is a question to the process.
            while nodes[0].metric("sign_service_sessions") == 0 and not all(call.done() for call in calls):  # noqa: ASYNC110
                await asyncio.sleep(0)
            await meanwhile()
            over.set()

    async def ask_again(self) -> None:
        """Every request once more: the same signature, byte for byte."""
        for request in self.requests.values():
            async with request.node.client() as client:
                answer = await request.ask(client)
            assert answer.signature == request.signature

    def audit(self) -> dict[str, int]:
        """Stop the nodes and read their audit records: what is in them is what was asked for, and is there completely.

        Of each request there is a session in which all its signers say that they signed (a signature that nobody
        recorded there is not); no session, and so no presignature, served two requests; nobody signed anything else.
        """
        signed: dict[bytes, dict[bytes, set[int]]] = defaultdict(lambda: defaultdict(set))
        served: dict[bytes, set[bytes]] = defaultdict(set)
        members: dict[bytes, set[int]] = {}
        for node in self.committee.nodes:
            if node.process is not None:
                node.stop()
            for record in audit_records(node):
                if (record.kind, record.decision) != ("sign", "signed"):
                    continue
                request = self.requests.get(record.request_id or b"")
                assert request is not None, f"index {node.index} signed what nobody asked for"
                assert record.digest == request.digest
                assert record.session is not None
                assert record.signers is not None
                signed[request.request_id][record.session].add(node.index)
                served[record.session].add(request.request_id)
                members[record.session] = set(record.signers)
        twice = [session for session, requests in served.items() if len(requests) > 1]
        assert not twice, "a session served two requests"
        for request in self.requests.values():
            assert request.signature is not None, "a request was lost"
            sessions = signed[request.request_id]
            whole = [session for session, nodes in sessions.items() if nodes == members[session]]
            assert whole, f"{request.request_id.hex()} was signed without its signers' records"
        refusals = Counter(reason for request in self.requests.values() for reason in request.refusals)
        found = {
            "requests": len(self.requests),
            "signed at once": sum(not request.refusals for request in self.requests.values()),
            "sessions": len(served),
            **refusals,
        }
        print(found)  # noqa: T201 - the figures of docs/reliability.md
        return found


def verified(answer: wallet.SignResponse, digest: bytes) -> bytes:
    """The signature, by another library."""
    recovered = PublicKey.from_signature_and_message(answer.signature, digest, hasher=None)
    assert recovered.format() == answer.public_key
    return answer.signature


def audit_records(node: NodeProcess) -> list[AuditRecord]:
    """Of a node that does not run. Its chain is whole."""
    with Store.open(
        node.directory / "store.db", KeyFileWrapper.from_file(node.directory / "seal.key")
    ) as store:
        store.audit.verify_chain()
        return [entry.record for entry in store.audit.export()]
