"""Where a session's records become durable, and how state that waits for its certificate reaches it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from participant.node.cases import encode_run
from participant.node.plan import Plan
from participant.node.refresh_plan import MOVING, touched
from participant.store import Certificate as StoredCertificate
from participant.store import Kept, NewAux, NewShare, NewState, Pending, PendingNotFound, Store
from participant.store.recoveries import RecoveredShare
from tss.cggmp24 import refresh, reshare
from tss.cggmp24.completion import DONE_ROUND, Certificate, check_certificate
from tss.cggmp24.completion import NewState as RunState
from tss.cggmp24.identify import AbortMessage, Begun
from tss.cggmp24.sign import Answered
from tss.effects import Durable
from tss.encoding import Bytes, NoValue, Text, Tuple, decode, encode
from tss.envelope import Kind, PartyId, unpack_broadcast
from tss.errors import InternalError, SchemaViolation
from tss.setting import AllAccepted, SessionStarted

_PUBLIC: Final = Tuple(Text(64), Bytes(32))


def public_of(proto: str, done: bytes) -> bytes:
    """What is kept beside pending state to check a certificate with: ENC of PROTO and the value of `done`."""
    return encode([proto, done])


def check_pending(pending: Pending, identities: dict[PartyId, bytes], envelopes: list[bytes]) -> None:
    """Raise SchemaViolation unless `envelopes` are the certificate of this pending state."""
    proto, done = decode(pending.public, _PUBLIC)
    check_certificate(proto, pending.sid, done, identities, envelopes)


def says_done(pending: Pending, envelope: bytes) -> bool:
    """Whether an envelope, whose signature was checked, is a `done` to exactly this pending state."""
    proto, done = decode(pending.public, _PUBLIC)
    body, _, _ = unpack_broadcast(envelope)
    if (body.proto, body.sid, body.round, body.kind) != (proto, pending.sid, DONE_ROUND, Kind.DONE):
        return False
    try:
        said = decode(body.payload, Tuple(NoValue(), Bytes(32)))[1]
    except SchemaViolation:
        return False
    return bool(said == done)


def erase_given_up(store: Store, certificate: StoredCertificate) -> None:
    """Erase what its holders gave up for the run that is in force now.

    These are all members' work, so everybody who holds the state has accepted the later run, and nobody may bring it into
    force any more (protocol.md 0.8, completion).
    """
    for pending in store.sessions.pendings():
        if not pending.voided or pending.committee_id != certificate.committee_id:
            continue
        if certificate.kind == refresh.KIND:
            replaced = pending.kind in MOVING and not touched(pending).isdisjoint(certificate.accounts)
        else:
            subset = set(pending.state.account_ids) <= set(certificate.accounts)
            replaced = pending.kind == certificate.kind and subset
        if replaced:
            # Another thread may have brought or erased it meanwhile.
            with contextlib.suppress(PendingNotFound):
                store.sessions.erase_voided(pending.sid)


class Persistence:
    """`Runtime.persist` of one session. Runs in a worker thread; what it raises ends the session before anything leaves."""

    def __init__(self, store: Store, plan: Plan, activated: Callable[[StoredCertificate], None]) -> None:
        """`activated` is called, in the worker thread, after new state came into force."""
        self._store = store
        self._plan = plan
        self._activated = activated
        self._sid: bytes | None = None
        self.identifying = False
        """Whether the session has turned to finding out who cheated."""

    def __call__(self, record: object) -> Any:
        """Make one record durable."""
        plan, store = self._plan, self._store
        match record:
            case SessionStarted(sid=sid, kind=kind, ph=ph):
                self._sid = sid
                store.sessions.remember(plan.row(sid), kind, plan.membership.record_id, ph)
                if kind == reshare.KIND and sid != ph:
                    store.resharings.began(sid, plan.membership.committee_id)
            case AllAccepted():
                plan.check_base()
                if plan.kind in MOVING:
                    store.sessions.fence(plan.membership.record_id, MOVING)
                elif plan.kind == reshare.KIND:
                    store.sessions.fence(plan.membership.record_id, {reshare.KIND})
            case Durable(record=RunState() as state, envelope=envelope):
                self._put_pending(state, envelope)
            case Durable(record=Answered(presignature_id=presignature_id, req=req), envelope=envelope):
                audit = replace(plan.audit, session=self._sid)
                store.answers.put(presignature_id, req, envelope, audit, sid=self._sid)
            case RecoveredShare():
                store.recoveries.put_share(record)
            case Begun():
                self._block(record)
            case Durable(record=AbortMessage(sid=sid), envelope=envelope):
                with store.transaction():
                    store.sessions.keep(sid, Kept.ABORT, envelope)
                    store.blocked.add_opening(sid, plan.setup.me.index, envelope)
            case Certificate(sid=sid, envelopes=envelopes):
                self._activated(store.sessions.activate(sid, list(envelopes)))
            case _:
                raise InternalError(f"a record of type {type(record).__name__} has no place in the store")

    def _block(self, begun: Begun) -> None:
        plan = self._plan
        self._store.blocked.block(
            begun.sid,
            plan.membership.record_id,
            begun.signers,
            encode_run(plan.setup.suite, begun),
            f"presigning gave no usable {begun.case}: somebody in this set cheated, and it is being found out who",
        )
        self.identifying = True

    def _put_pending(self, state: RunState, envelope: bytes) -> None:
        plan = self._plan
        if state.shares and len(plan.accounts) != len(state.shares):
            raise InternalError("a run that makes shares names other accounts")
        shares = tuple(map(NewShare.of, plan.accounts, state.shares))
        aux = None if state.aux is None else NewAux.of(state.aux, plan.accounts)
        self._store.sessions.put_pending(
            state.sid,
            state.kind,
            plan.membership.record_id,
            NewState(shares, aux),
            public_of(plan.setup.suite.proto, state.done),
            envelope,
            party=plan.setup.me.index,
            aux_id=state.aux_id,
        )
