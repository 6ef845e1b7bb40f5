"""Presigning and full signing up to their sigmas (protocol.md 3.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from tss.cggmp24 import identify_checks, presign_checks
from tss.cggmp24.presign import MAX_BATCH
from tss.cggmp24.presign_checks import Presigned, Round1
from tss.cggmp24.sign import sigma_schema
from tss.effects import Echo, Receive
from tss.encoding import Value
from tss.envelope import PartyId
from tss.groups import Point
from tss.judge.reader import Step, always
from tss.judge.record import NotProven, Preimage, Record
from tss.paillier import PaillierPublic
from tss.records import AuxPublic
from tss.ring_pedersen import RingPedersen


def rounds(session: Preimage) -> Sequence[Receive]:
    """Rounds 1 to 3, sigma in full signing, and identification. Raises NotProven."""
    _, _, _, _, S, X_eff, parameters, _, batch, *request = session.tail
    signers = [party.index for party in sorted(session.members)]
    if not (signers == S and len(S) == len(X_eff) == len(parameters) and 1 <= batch <= MAX_BATCH):
        raise NotProven("the session's id does not say who signs, and under which keys")
    three = presign_checks.rounds(session.suite, len(S), batch, entropy=bool(request))
    sigma = [Receive(4, broadcast=sigma_schema(session.suite), echo=Echo.NONE)] if request else []
    return *three, *sigma, identify_checks.receive(session.suite, len(S))


def presigned(record: Record) -> Presigned:
    """What the session's id binds. Raises ShareCorrupt for auxiliary data that no honest signer accepts."""
    _, X, _, _, _, X_eff, parameters, *_ = record.session.tail
    parties = record.ctx.parties
    aux = {party: AuxPublic(*values) for party, values in zip(parties, parameters, strict=True)}
    for public in aux.values():
        public.check(record.session.suite)
    return Presigned(
        record.ctx,
        X,
        dict(zip(parties, X_eff, strict=True)),
        {party: PaillierPublic(public.N) for party, public in aux.items()},
        {party: RingPedersen(public.N_hat, public.s, public.t) for party, public in aux.items()},
    )


def _round1(record: Record) -> None:
    """[signed [B] r1 + signed [P] r1; the verifier's (N^, s, t) and N_j are in the session's id]."""
    case, accused = presigned(record), record.accused
    items, told = record.said(1), record.told(1)
    for k, value in enumerate(items):
        said = presign_checks.check_said1(case, k, accused, value)
        for verifier, proofs in told.items():
            presign_checks.check_told1(case, k, accused, verifier, said, proofs[k])
    record.need_told(told, 1)


def _round2(record: Record) -> None:
    """[r1 [B] of both + r2 [B] and [P] of the prover]."""
    case, accused = presigned(record), record.accused
    items1, items2, told = record.said(1), record.said(2), record.told(2)
    for k, (value1, value2) in enumerate(zip(items1, items2, strict=True)):
        presign_checks.check_said2(case, k, accused, Round1(*value1), value2)
        for recipient, masks in told.items():
            K = record.broadcast(recipient, 1)[k][0]
            case.key(recipient).check_ciphertext(K, "K of the recipient")
            presign_checks.check_told2(case, k, accused, recipient, K, value2, masks[k])
    record.need_told(told, 2)


def _round3(record: Record) -> None:
    """[r1 [B] of the prover, r2 [B] of all, r3 [B] of the prover]."""
    case, accused = presigned(record), record.accused
    items1, (items3, _) = record.said(1), record.said(3)
    items2 = record.broadcasts(2)
    for k, (value1, value3) in enumerate(zip(items1, items3, strict=True)):
        Gamma = nonce_point(record, items2, k)
        presign_checks.check_said3(case, k, accused, Round1(*value1), Gamma, value3)


def nonce_point(record: Record, items2: Mapping[PartyId, Sequence[Sequence[Value]]], k: int) -> Point:
    """Gamma of item k, from what everybody broadcast in round 2. Raises NotProven where it is useless."""
    group = record.session.suite.group
    Gamma = group.sum([items[k][0] for items in items2.values()])
    if Gamma.is_identity or group.x(Gamma) % group.q == 0:
        raise NotProven("Gamma is the identity or its x is 0 mod q: nobody goes on with it")
    return Gamma


STEPS: Final = {
    "r1": Step(_round1, "3.2", always((1,), told=(1,))),
    "r2": Step(_round2, "3.2", always((1, 2), (1,), told=(2,))),
    "r3": Step(_round3, "3.2", always((1, 2, 3), (2,))),
}
