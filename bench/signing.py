"""Signing from stock, in tss alone: what the processor does between a request and its signature, without daemons."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from functools import partial
from statistics import median
from typing import Final

from bench.keys import SUITE, deal_presignature, key_shares
from bench.measure import Figures, Reference, Topic
from bench.parties import Agreed, Party, committee, run_session
from tss.cggmp24 import sign
from tss.cggmp24.presignature import Presignature
from tss.cggmp24.sign import SignRequest
from tss.envelope import pack, unpack_broadcast, verify_signature
from tss.envelope import sign as sign_body
from tss.hd import derive
from tss.proposal import Proposal, decode_proposal
from tss.session import Round0

OWNER: Final = 1
SIGNATURES: Final = 200


def sign_together(parties: Sequence[Party], n: int, halves: dict[int, Presignature]) -> None:
    """The owner proposes, everybody checks the proposal, and all sign, each at its own expense."""
    points = tuple(party.point for party in parties)
    shares = key_shares(n, len(points))
    owner, *others = parties
    request = SignRequest(os.urandom(32))

    def propose() -> tuple[Agreed, bytes, bytes]:
        share = shares[OWNER]
        tau = derive(share.X, share.chain_code, request.path).tau
        e = halves[OWNER].promise(request.digest, request.path, tau, os.urandom)
        tail = sign.tail(halves[OWNER].id, request, tau, points, e)
        message, expiry = b"", int(time.time()) + 60
        proposal = Proposal(owner.party, bytes(32), "main", sign.KIND, bytes(16), tail, message, expiry)
        body = proposal.body(SUITE)
        return Agreed(sign.KIND, tail, Round0.NONE, body.sid), pack(sign_body(body, owner.sign)), e

    def accept(envelope: bytes) -> None:
        body, encoded, signature = unpack_broadcast(envelope)
        if not verify_signature(owner.identity, encoded, signature):
            raise RuntimeError("the proposal's signature does not verify")
        decode_proposal(SUITE, body)

    agreed, envelope, e = owner.charged(propose)
    for party in others:
        party.charged(partial(accept, envelope))
    programs = {
        j: partial(
            sign.stock_sign, presignature=halves[j], chain_code=shares[j].chain_code, owner=owner.party,
            request=request, e_owner=e,
        )
        for j in points
    }  # fmt: skip
    run_session(parties, agreed, programs)


def _run(n: int, t: int, count: int) -> list[list[float]]:
    """Milliseconds of each party, for each of `count` signatures."""
    parties = committee(t)
    points = [party.point for party in parties]
    spent = []
    for _ in range(count):
        for party in parties:
            party.reset()
        sign_together(parties, n, deal_presignature(key_shares(n, t), points, OWNER))
        spent.append([party.ms for party in parties])
    return spent


def _two(reference: Reference) -> Figures:
    """Of the party that has more to do."""
    reference.sample()
    spent = _run(2, 2, SIGNATURES)
    reference.sample()
    return {"sign_stock_cpu": max(median(one) for one in zip(*spent, strict=True))}


def _three_of_five(reference: Reference) -> Figures:
    """Of the three signers together."""
    reference.sample()
    spent = _run(5, 3, SIGNATURES)
    reference.sample()
    return {"sign_3of5_stock": median(sum(each) for each in spent)}


TOPICS: Final = (
    Topic(("sign_stock_cpu",), "ms", _two),
    Topic(("sign_3of5_stock",), "ms", _three_of_five),
)
