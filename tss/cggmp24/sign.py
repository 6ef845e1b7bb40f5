"""Signing with a presignature (protocol.md 3.4, 3.5): re-randomised always, one round, every partial checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from tss.cggmp24.presignature import ENTROPY_BYTES, Presignature, PresignaturePublic, State
from tss.ecdsa import digest_to_scalar, normalise, recover, recovery_id, verify
from tss.effects import (
    Compare,
    Dispute,
    Echo,
    Protocol,
    PublicContext,
    Recall,
    Receive,
    Send,
    SendDurably,
    SessionContext,
    Transcript,
)
from tss.encoding import Bytes, Integer, ListOf, NoValue, Schema, Tuple, Value, decode
from tss.envelope import SIGNED_SCHEMA, Kind, PartyId, decode_body, verify_signature
from tss.errors import (
    BadDigest,
    BadPartial,
    BadSignerSet,
    Degenerate,
    InternalError,
    OutOfDomain,
    PeerFault,
    SchemaViolation,
    SessionMismatch,
    blaming,
)
from tss.evidence import Evidence
from tss.groups import Point
from tss.hd import check_path, derive
from tss.params import Suite
from tss.transcript import hash_commit, low_bits, xof

KIND: Final = "sign"
SIGMA_ROUND: Final = 4
"""Of full signing: it follows those of presigning."""
DIGEST_BYTES: Final = 32


@dataclass(frozen=True)
class SignRequest:
    """What is to be signed: a digest of exactly 32 bytes under the key at a soft derivation path.

    Raises BadDigest, HardenedPath, BadIndex.
    """

    digest: bytes
    path: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if len(self.digest) != DIGEST_BYTES:
            raise BadDigest(f"the digest has {len(self.digest)} bytes, {DIGEST_BYTES} are due")
        check_path(self.path)


@dataclass(frozen=True)
class Signature:
    """A finished ECDSA signature: low s, recovery id v (bit 0: parity of y(R), bit 1: x(R) >= q)."""

    r: int
    s: int
    v: int
    X_c: Point
    digest: bytes
    path: tuple[int, ...]


@dataclass(frozen=True)
class Answered:
    """Durable together with the audit record before sigma_i leaves (protocol.md 3.5). A plain value, no secret."""

    presignature_id: bytes
    req: bytes


@dataclass(frozen=True)
class Terms:
    """What all signers compute from a request, the joint entropy and the presignature (protocol.md 3.4)."""

    req: bytes
    m: int
    xi: int
    R: Point
    r: int
    tau: int
    X_c: Point = field(repr=False)
    req_preimage: Sequence[Value] = field(default=(), repr=False)
    """The list whose hash is req."""


def tail(
    presignature_id: bytes, request: SignRequest, tau: int, signers: Sequence[int], e_owner: bytes
) -> list[Value]:
    """What protocol.md 0.7 lists for signing from stock."""
    return [presignature_id, request.digest, list(request.path), tau, sorted(signers), e_owner]


def terms(
    suite: Suite,
    public: PresignaturePublic,
    request: SignRequest,
    tau: int,
    X_c: Point,
    e: Mapping[int, bytes],
) -> Terms:
    """Entropy, xi, R, r and req. Raises Degenerate when r is 0."""
    group, proto = suite.group, suite.proto
    listed = [[j, e[j]] for j in public.signers]
    entropy = hash_commit(proto, "joint", public.id, request.digest, tau, listed)
    seed = hash_commit(
        proto, "rerand", public.id, public.X, tau, request.digest, public.Gamma, list(public.signers), entropy
    )
    xi = _multiplier(seed, group.q)
    R = xi * public.Gamma
    r = group.x(R) % group.q
    if r == 0:
        raise Degenerate("r is 0")
    asked: list[Value] = [public.id, request.digest, tau, entropy]
    req, m = hash_commit(proto, "req", *asked), digest_to_scalar(request.digest, group.q)
    return Terms(req, m, xi, R, r, tau, X_c, req_preimage=[proto, "req", *asked])


def _multiplier(seed: bytes, q: int) -> int:
    """xi: the first value in (0, q)."""
    bits = q.bit_length()
    counter = 0
    while True:
        value = low_bits(xof(seed, (bits + 7) // 8, counter), bits)
        if 0 < value < q:
            return value
        counter += 1


def check_partial(suite: Suite, public: PresignaturePublic, at: Terms, j: int, sigma_j: int) -> None:
    """sigma_j*R = m*Delta~_j + r*(S~_j + tau*Delta~_j). Raises OutOfDomain or BadPartial without a peer."""
    if not 0 <= sigma_j < suite.group.q:
        raise OutOfDomain("the partial signature is not reduced", check="range")
    Delta, S = public.Delta[j], public.S[j]
    if sigma_j * at.R != at.m * Delta + at.r * (S + at.tau * Delta):
        raise BadPartial("the partial signature does not satisfy its equation", check="equation")


def combine(suite: Suite, at: Terms, request: SignRequest, partials: Sequence[int]) -> Signature:
    """Steps 4 and 5 of protocol.md 3.5, after every partial was checked. Raises Degenerate, InternalError."""
    q = suite.group.q
    sigma = sum(partials) % q
    if sigma == 0:
        raise Degenerate("sigma is 0")
    s, v = normalise(sigma, recovery_id(at.R), q)
    if not verify(at.X_c, request.digest, at.r, s):
        raise InternalError("the signature does not verify though every partial does")
    if recover(request.digest, at.r, s, v, suite.group) != at.X_c:
        raise InternalError("the recovery id does not recover the public key")
    return Signature(at.r, s, v, at.X_c, request.digest, request.path)


def sigma_schema(suite: Suite) -> Schema:
    """[req, sigma_j]."""
    return Tuple(Bytes(32), Integer(suite.group.q.bit_length()))


def rounds(suite: Suite, signers: int) -> tuple[Receive, ...]:
    """What is received in signing from stock.

    Two signers: [e, [req, sigma]] by the owner, [req, sigma] by the other. More: [e, none] by the owner, all signed
    acceptances by the others, [req, sigma] by everybody.
    """
    e, sigma = Bytes(ENTROPY_BYTES), sigma_schema(suite)
    if signers == 2:
        return (
            Receive(0, broadcast=Tuple(e, sigma), echo=Echo.NONE),
            Receive(1, broadcast=sigma, echo=Echo.NONE),
        )
    return (
        Receive(0, broadcast=_ACCEPTANCE, echo=Echo.NONE),
        Receive(1, broadcast=ListOf(SIGNED_SCHEMA, signers - 1), echo=Echo.NONE),
        Receive(2, broadcast=sigma, echo=Echo.NONE),
    )


_ACCEPTANCE: Final = Tuple(Bytes(ENTROPY_BYTES), NoValue())


def exchange_sigmas(
    ctx: SessionContext,
    round_: int,
    presignature: Presignature,
    request: SignRequest,
    at: Terms,
    e: bytes,
    entropies: Sequence[int] = (),
) -> Protocol[Signature]:
    """Send (req, sigma_i), check everybody's, combine. `entropies`: the rounds without an echo in which they were sent."""
    own = presignature.answer(at.req, e, at.m, at.r, at.xi)
    answered = Answered(presignature.id, at.req)
    yield SendDurably(round_, broadcast=[at.req, own], record=answered)
    said = yield Receive(round_, broadcast=sigma_schema(ctx.suite), echo=Echo.NONE)
    theirs = []
    for j in ctx.others:
        try:
            sigma_j = yield from _checked_sigma(
                ctx, presignature.public, at, j, said[j].broadcast, entropies=entropies
            )
        except PeerFault as fault:
            if not entropies:
                transcript = yield Recall(range(round_ + 1))
                fault.evidence = _full_signing_evidence(ctx, transcript, at, j, fault)
            raise
        theirs.append(sigma_j)
    return combine(ctx.suite, at, request, [own, *theirs])


def _full_signing_evidence(
    ctx: SessionContext, transcript: Transcript, at: Terms, j: PartyId, fault: PeerFault
) -> bytes:
    """The run, and what the accused's req is the hash of: nothing else there says tau."""
    messages = [
        signed
        for signed in transcript.messages
        if signed.body.sender == j or (signed.body.kind is Kind.MSG and 2 <= signed.body.round < SIGMA_ROUND)
    ]
    return Evidence.collect(
        proto=ctx.suite.proto,
        sid_preimages=(transcript.preimage, at.req_preimage),
        accused=j,
        check=fault.check,
        messages=messages,
    ).encode()


def _checked_sigma(
    ctx: SessionContext,
    public: PresignaturePublic,
    at: Terms,
    j: PartyId,
    value: list[Value],
    *,
    entropies: Sequence[int],
) -> Protocol[int]:
    req, sigma_j = value
    if req != at.req:
        # Somebody showed two entropies, or a party is confused: this says nothing about sigma_j.
        if entropies:
            yield Dispute(entropies)
        raise SessionMismatch(f"party {j.index} signed another request")
    with blaming(j.index, "sign.partial"):
        check_partial(ctx.suite, public, at, j.index, sigma_j)
    return int(sigma_j)


def stock_sign(
    ctx: SessionContext,
    presignature: Presignature,
    chain_code: bytes,
    owner: PartyId,
    request: SignRequest,
    e_owner: bytes,
) -> Protocol[Signature]:
    """Sign `request` with a presignature from stock; e_owner came with the owner's proposal.

    Two signers: the responder's acceptance carries its e and its sigma. More: acceptances carry e, the owner shows all of
    them, then everybody sends sigma. Raises PresignatureSpent, PeerFault, SessionMismatch, Degenerate.
    """
    public = presignature.public
    if public.owner != owner.index or [p.index for p in ctx.parties] != list(public.signers):
        raise BadSignerSet("the presignature belongs to another owner or signer set")
    child = derive(public.X, chain_code, request.path)
    e_me = presignature.promise(request.digest, request.path, child.tau, ctx.rng)
    try:
        run = _stock_two if len(ctx.parties) == 2 else _stock_many
        return (yield from run(ctx, presignature, owner, request, child.tau, child.X_c, e_owner, e_me))
    finally:
        if presignature.state is not State.ANSWERED:
            presignature.destroy()


def _stock_two(
    ctx: SessionContext,
    presignature: Presignature,
    owner: PartyId,
    request: SignRequest,
    tau: int,
    X_c: Point,
    e_owner: bytes,
    e_me: bytes,
) -> Protocol[Signature]:
    suite, public = ctx.suite, presignature.public
    (other,) = ctx.others
    acceptance, sigma_alone = rounds(suite, 2)
    if ctx.me == owner:
        accepted = yield acceptance
        e_other, value = accepted[other].broadcast
        at = terms(suite, public, request, tau, X_c, {owner.index: e_owner, other.index: e_other})
        theirs = yield from _checked_sigma(ctx, public, at, other, value, entropies=(0,))
        own = presignature.answer(at.req, e_me, at.m, at.r, at.xi)
        yield SendDurably(1, broadcast=[at.req, own], record=Answered(presignature.id, at.req))
        return combine(suite, at, request, [own, theirs])
    at = terms(suite, public, request, tau, X_c, {owner.index: e_owner, ctx.me.index: e_me})
    own = presignature.answer(at.req, e_me, at.m, at.r, at.xi)
    yield SendDurably(0, broadcast=[e_me, [at.req, own]], record=Answered(presignature.id, at.req))
    said = yield sigma_alone
    theirs = yield from _checked_sigma(ctx, public, at, owner, said[owner].broadcast, entropies=(0,))
    return combine(suite, at, request, [own, theirs])


def _stock_many(
    ctx: SessionContext,
    presignature: Presignature,
    owner: PartyId,
    request: SignRequest,
    tau: int,
    X_c: Point,
    e_owner: bytes,
    e_me: bytes,
) -> Protocol[Signature]:
    responders = tuple(party for party in ctx.parties if party != owner)
    acceptance, show, _ = rounds(ctx.suite, len(ctx.parties))
    if ctx.me == owner:
        accepted = yield acceptance
        shown = [accepted[j].signed_broadcast.as_value() for j in responders]
        yield Send(1, broadcast=shown)
        e = {j.index: accepted[j].broadcast[0] for j in responders}
    else:
        yield Send(0, broadcast=[e_me, None])
        shows = yield replace(show, senders=(owner,))
        shown = shows[owner].broadcast
        e = shown_entropies(ctx, owner, responders, shown)
        if e[ctx.me.index] != e_me:
            raise SessionMismatch("the owner shows an acceptance that this party did not send")
        yield Compare(shown)
    at = terms(ctx.suite, presignature.public, request, tau, X_c, {**e, owner.index: e_owner})
    return (yield from exchange_sigmas(ctx, 2, presignature, request, at, e_me, entropies=(0, 1)))


def shown_entropies(
    ctx: PublicContext, owner: PartyId, responders: Sequence[PartyId], shown: Sequence[list[bytes]]
) -> dict[int, bytes]:
    """e_j of every responder from the signed acceptances that the owner shows. Blames the owner for a bad show."""
    e: dict[int, bytes] = {}
    with blaming(owner.index, "sign.show"):
        for j, (encoded, signature) in zip(responders, shown, strict=True):
            body = decode_body(encoded)
            place = (body.proto, body.sid, body.round, body.kind, body.sender, body.to)
            if place != (ctx.suite.proto, ctx.sid, 0, Kind.MSG, j, None):
                raise SchemaViolation("a shown acceptance is not of this session", check="place")
            if not verify_signature(ctx.identities[j], encoded, signature):
                raise SchemaViolation("a shown acceptance is not signed by its sender", check="signature")
            _, (e_j, _none) = decode(body.payload, Tuple(NoValue(), _ACCEPTANCE))
            e[j.index] = e_j
    return e
