"""Completion: how a run that makes new state ends in one state for all (protocol.md 0.8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from tss.effects import Echo, Persist, Protocol, Receive, SendDurably, SessionContext
from tss.encoding import Bytes, NoValue, Tuple, Value, decode
from tss.envelope import Kind, PartyId, Sealed, decode_body, pack, unpack, verify_signature
from tss.errors import SchemaViolation, SessionMismatch
from tss.records import AuxSet, KeyShare

DONE_ROUND: Final = 15
"""`done` has a slot of its own kind; the number is the same in all protocols."""

STEPS: Final = ("r0", "r1", "r2", "r3", "done", "ended")
"""The phases of a run that makes new state, for progress."""

_DONE_SCHEMA: Final = Bytes(32)

DONE: Final = Receive(DONE_ROUND, broadcast=_DONE_SCHEMA, echo=Echo.NONE, kind=Kind.DONE)
"""Everybody's done."""


@dataclass(frozen=True)
class NewState:
    """What a run made. Durable as *pending* before this party says done; a full certificate activates it.

    `shares` are in the order in which the session's id lists their accounts; `aux_id` is the aux set that these accounts
    will point to.
    """

    sid: bytes
    kind: str
    shares: tuple[KeyShare, ...] = field(repr=False)
    aux: AuxSet | None = field(repr=False)
    aux_id: bytes | None
    done: bytes

    @property
    def share(self) -> KeyShare | None:
        """The first one: of a run for one account, the only one."""
        return self.shares[0] if self.shares else None


@dataclass(frozen=True)
class Certificate:
    """All parties' signed `done`, transferable: whoever holds it can bring any other holder of the state up to date."""

    sid: bytes
    envelopes: tuple[bytes, ...]


def new_state(
    ctx: SessionContext,
    kind: str,
    *,
    shares: Sequence[KeyShare] = (),
    aux: AuxSet | None = None,
    aux_id: bytes | None = None,
) -> NewState:
    """Done = Hc("done", sid, [[new ids, X, c, [X'_j]] for each account], aux data).

    The new ids are [key_id, share_epoch, aux_id or none], so that parties with another idea of the aux set never
    complete one certificate.
    """
    accounts: list[Value] = []
    for share in shares:
        public = [share.public_shares[index] for index in share.indices]
        accounts.append(
            [[share.key_id, share.share_epoch, aux_id], share.X, share.chain_code or None, public]
        )
    aux_data: list[Value] | None = None
    if aux is not None:
        aux_data = [aux.aux_id, [aux.parties[index].as_list() for index in aux.indices]]
    done = ctx.hc("done", ctx.sid, accounts, aux_data)
    return NewState(ctx.sid, kind, tuple(shares), aux, aux_id, done)


def done_from(parties: Sequence[PartyId]) -> Receive:
    """The done of these parties."""
    return replace(DONE, senders=tuple(parties))


def complete(ctx: SessionContext, state: NewState, others: Sequence[PartyId] | None = None) -> Protocol[None]:
    """Say done, gather everybody's (or that of `others`, who hold new state with this party), activate."""
    holders = ctx.others if others is None else others
    own: bytes = yield SendDurably(DONE_ROUND, state.done, record=state, kind=Kind.DONE)
    said = yield done_from(holders)
    for party in holders:
        if said[party].broadcast != state.done:
            raise SessionMismatch(f"party {party.index} ended with another result")
    envelopes = (own, *(pack(said[party].signed_broadcast) for party in holders))
    yield Persist(Certificate(ctx.sid, envelopes))


def check_certificate(
    proto: str, sid: bytes, done: bytes, identities: Mapping[PartyId, bytes], envelopes: Sequence[bytes]
) -> None:
    """Verify a forwarded certificate against our own pending state.

    Raises SchemaViolation unless every party in `identities` signed `done` under `sid`, each exactly once.
    """
    missing = set(identities)
    for envelope in envelopes:
        parts = unpack(envelope)
        if isinstance(parts, Sealed):
            raise SchemaViolation("a certificate holds no sealed message")
        encoded, signature = parts
        body = decode_body(encoded)
        if (body.proto, body.sid, body.round, body.kind, body.to) != (
            proto,
            sid,
            DONE_ROUND,
            Kind.DONE,
            None,
        ):
            raise SchemaViolation("a certificate holds only this run's done messages")
        if body.sender not in missing:
            raise SchemaViolation("a certificate holds one done message of each party")
        if not verify_signature(identities[body.sender], encoded, signature):
            raise SchemaViolation(f"the done message of party {body.sender.index} is not signed by it")
        if decode(body.payload, Tuple(NoValue(), _DONE_SCHEMA))[1] != done:
            raise SchemaViolation(f"party {body.sender.index} said done to another result")
        missing.remove(body.sender)
    if missing:
        raise SchemaViolation(
            f"the certificate lacks {', '.join(str(party.index) for party in sorted(missing))}"
        )
