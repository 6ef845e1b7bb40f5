"""Index 0 of a committee at work, and its peers' mouths: what it answers to their proposals."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from node_network import PATIENT, Member, Network, network
from node_testing import aux_sets, deal
from tss_testing import SMALL_SECP

from participant.node.driver import SessionDriver
from participant.payloads import Digest, to_value
from participant.store import NewAux, NewShare, Origin
from tss.cggmp24 import aux_info, keygen, presign
from tss.cggmp24.sign import SignRequest
from tss.encoding import Text, Tuple, decode, encode
from tss.envelope import Kind, Signed, holder, routing, sign, unpack_broadcast
from tss.proposal import Proposal

SUITE = SMALL_SECP
DIGEST = b"d" * 32


class Stage:
    """Index 0 at work, index 1's mouth, and what index 0 answers."""

    def __init__(self, net: Network) -> None:
        self.member: Member = net[0]
        self.node = net[0].node
        self.store = net[0].store
        self.speaker = net[1].keys
        self.committee_id = net.committee.committee_id
        self.share = deal(SUITE, 2, 3, "alice")[0]
        self.aux = aux_sets(SUITE)[0]
        self.store.accounts.put_aux(self.committee_id, NewAux.of(self.aux))
        self.store.accounts.add(NewShare.of("alice", self.share), self.committee_id, Origin.KEYGEN)
        self.membership = self.node._memberships[self.committee_id]
        self.proposals = self.node._proposals
        self.number = 0
        self.posted: list[bytes] = []

    def propose(self, kind: str = presign.FULL_KIND, **fields: Any) -> Proposal:
        self.number += 1
        tails: dict[str, Callable[[], list[Any]]] = {
            presign.FULL_KIND: lambda: presign.full_tail(
                self.share, self.aux, (1, 2), 2, SignRequest(DIGEST, ())
            ),
            presign.KIND: lambda: presign.tail(self.share, self.aux, (1, 2), 2, 1),
            keygen.KIND: lambda: keygen.tail(3, 2),
            aux_info.KIND: lambda: aux_info.tail(None),
        }
        values: dict[str, Any] = {
            "initiator": holder(2),
            "committee_id": self.committee_id,
            "account_id": {keygen.KIND: "new", aux_info.KIND: None}.get(kind, "alice"),
            "kind": kind,
            "request_id": self.number.to_bytes(16, "big"),
            "tail": fields["tail"] if "tail" in fields else tails[kind](),
            "message": encode(to_value(Digest(DIGEST))) if kind == presign.FULL_KIND else None,
            "expiry": self.proposals.expiry(),
        }
        return Proposal(**(values | fields))

    def signed(self, proposal: Proposal) -> Signed:
        return sign(proposal.body(SUITE), self.speaker.sign)

    async def take(self, proposal: Proposal | Signed, **options: Any) -> SessionDriver | None:
        signed = self.signed(proposal) if isinstance(proposal, Proposal) else proposal
        return await self.proposals.take(self.membership, signed, self.membership.room, **options)

    async def answer(self, scope: bytes) -> tuple[str, str] | None:
        """The (code, text) of the refusal that was posted under a proposal's hash."""
        await self.membership.room.flushed()
        for envelope in self.posted:
            found, kind, _ = routing(envelope)
            if found == scope and kind is Kind.ABORT:
                code, text = decode(unpack_broadcast(envelope)[0].payload, Tuple(Text(64), Text(512)))
                return code, text
        return None

    async def declined(self, proposal: Proposal, **options: Any) -> str:
        """Take it, and see it declined in the room; the code."""
        assert await self.take(proposal, **options) is None
        answer = await self.answer(proposal.hash(SUITE))
        assert answer is not None
        assert self.node._sessions.is_known(proposal.hash(SUITE))
        return answer[0]

    def audit(self) -> list[tuple[str, str]]:
        return [(entry.record.kind, entry.record.decision) for entry in self.store.audit.export()]


@asynccontextmanager
async def staged(directory: Path, gateway_url: str) -> AsyncIterator[Stage]:
    """A stage with a store in `directory`, which has room for two sessions."""
    config = replace(PATIENT, max_sessions=2)
    async with network(directory, gateway_url, config=config, start=[0]) as net:
        made = Stage(net)

        async def watch(envelope: bytes) -> None:
            made.posted.append(envelope)

        net[0].channel.on_post = watch
        yield made
