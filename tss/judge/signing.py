"""Signing, from stock and full (protocol.md 3.4, 3.5): partial signatures, and the entropies that an owner shows.

Of the entropies none has an echo: the accused's own signed req binds them, together with tau.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from tss.cggmp24 import presign as presign_protocol
from tss.cggmp24 import presign_checks, sign
from tss.cggmp24.presignature import Batch, PresignaturePublic, item_of, public_record
from tss.cggmp24.sign import SignRequest
from tss.effects import Receive
from tss.encoding import Bytes, Integer, Text, Tuple, Value, decode
from tss.envelope import Kind, PartyId, Signed, holder
from tss.errors import PeerFault, SchemaViolation, blaming
from tss.evidence import request_preimages
from tss.judge import presign
from tss.judge.reader import Reader, Step, always
from tss.judge.record import NotProven, Preimage, Record
from tss.params import Suite
from tss.proposal import WITHOUT_ROUND_0, decode_proposal, signers_in


def proposed(session: Preimage, messages: Iterable[Signed], identities: Mapping[PartyId, bytes]) -> Preimage:
    """A session that began with its proposal with the members and the tail of that, where it is here, signed.

    Raises NotProven for a proposal that no member of this committee takes up.
    """
    if session.kind not in WITHOUT_ROUND_0:
        return session
    for signed in messages:
        if (signed.body.kind, signed.body.sid) == (Kind.PROPOSE, session.ph):
            try:
                proposal = decode_proposal(session.suite, signed.body)
            except PeerFault as error:
                raise NotProven(f"the proposal cannot be read: {error.what}") from None
            if proposal.kind != session.kind:
                raise NotProven("the proposal is for something else than this session")
            signers = signers_in(proposal.kind, proposal.tail) or ()
            members = {holder(j): identities.get(holder(j), b"") for j in signers}
            if not all(members.values()):
                raise NotProven("the proposal is for others than this committee")
            return replace(session, members=members, tail=proposal.tail)
    return session


def _rounds(session: Preimage) -> Sequence[Receive]:
    """None while it is not known how many sign: the proposal is missing."""
    return sign.rounds(session.suite, len(session.members)) if session.members else ()


def _stock_partial(record: Record) -> None:
    """[transcript of 3.3, the proposal, all signed e_j, the accused's signed (req, sigma_j)]."""
    owner = _owner(record)
    if len(record.preimages) < 2 or record.preimages[1].kind != presign_protocol.KIND:
        raise NotProven("the presigning's session id is missing, with what it is the hash of")
    made = record.preimages[1]
    presigning = replace(record, preimages=(made,), rounds=presign.rounds(made))
    named, digest, path, tau, S, e_owner = record.session.tail
    if made.tail[4] != S or made.tail[7] != owner.index:
        raise NotProven("the presignature is another owner's or another signer set's than the proposal's")
    k = item_of(presigning.ctx, int(made.tail[8]), named)
    if k is None:
        raise NotProven("the presigning did not make the presignature of the proposal")
    two, e = len(S) == 2, {owner.index: e_owner}
    for party in record.ctx.parties:
        if party != owner:
            said = record.said(0) if party == record.accused else record.own_word(party, 0)
            e[party.index] = said[0]
    if not two:
        value = record.said(2)
    else:
        value = record.said(1) if record.accused == owner else record.said(0)[1]
    request = SignRequest(digest, tuple(int(step) for step in path))
    _check(record, _public(presigning, k), request, tau, e, value)


def _full_partial(record: Record) -> None:
    """[rounds 2 and 3 of all, the accused's signed (req, sigma_j), and what its req is the hash of]."""
    *_, digest, path = record.session.tail
    value = record.said(4)
    tau = _tau(record, value[0])
    e = {party.index: said[1] for party, said in record.broadcasts(3).items()}
    request = SignRequest(digest, tuple(int(step) for step in path))
    _check(record, _public(record, 0), request, tau, e, value)


def _tau(record: Record, req: bytes) -> int:
    """The tweak that the accused's req names. Raises NotProven."""
    schema = _request_schema(record.session.suite)
    for encoded in request_preimages(record.claim.preimages, req):
        try:
            _, _, _, _, tau, _ = decode(encoded, schema)
        except SchemaViolation:
            continue
        return int(tau)
    raise NotProven("what the accused's req is the hash of is missing")


def _request_schema(suite: Suite) -> Tuple:
    """[PROTO, "req", id, digest, tau, entropy]."""
    scalar = Integer(suite.group.q.bit_length(), below=suite.group.q)
    return Tuple(Text(64), Text(16), Bytes(32), Bytes(32), scalar, Bytes(32))


def _public(presigning: Record, k: int) -> PresignaturePublic:
    """The public record of item k, from what everybody said in rounds 2 and 3. Raises NotProven."""
    key_id, X, share_epoch, aux_id, S, _, _, owner, *_ = presigning.session.tail
    Gamma = presign.nonce_point(presigning, presigning.broadcasts(2), k)
    sums = {party: said[0][k][:3] for party, said in presigning.broadcasts(3).items()}
    if presign_checks.failed(presign.presigned(presigning), list(sums.values())) is not None:
        raise NotProven("the presigning's outputs do not fit together: nobody has a presignature of it")
    batch = Batch(key_id, share_epoch, aux_id, int(owner), tuple(int(j) for j in S), X)
    public, _ = public_record(presigning.ctx, batch, k, Gamma, sums)
    return public


def _check(
    record: Record,
    public: PresignaturePublic,
    request: SignRequest,
    tau: int,
    e: Mapping[int, bytes],
    value: Sequence[Value],
) -> None:
    suite, accused, (req, sigma) = record.session.suite, record.accused, value
    at = sign.terms(suite, public, request, tau, public.X + tau * suite.group.G, e)
    if req != at.req:
        raise NotProven("the accused signed another request than this one")
    with blaming(accused.index, "sign.partial"):
        sign.check_partial(suite, public, at, accused.index, sigma)


def _show(record: Record) -> None:
    """[the owner's show]."""
    owner = _owner(record)
    if owner != record.accused or len(record.ctx.parties) < 3:
        raise NotProven("the accused is not the owner, who alone shows entropies")
    responders = [party for party in record.ctx.parties if party != owner]
    sign.shown_entropies(record.ctx, owner, responders, record.said(1))


def _owner(record: Record) -> PartyId:
    """Who signed the proposal. Raises NotProven."""
    for slot in (*record.own, *record.others):
        if (slot.sid, slot.kind) == (record.session.ph, Kind.PROPOSE) and slot.sender in record.ctx.parties:
            return slot.sender
    raise NotProven("the signed proposal is missing")


READER: Final = Reader(
    _rounds,
    {
        "partial": Step(_stock_partial, "3.5", always((0, 1, 2, 3), (0, 2, 3))),
        "show": Step(_show, "3.4", always((1,))),
    },
)

FULL_STEPS: Final = {"partial": Step(_full_partial, "3.5", always((2, 3, 4), (2, 3)))}
