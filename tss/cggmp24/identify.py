"""Finding out who cheated when the presigning outputs do not fit together (protocol.md 4.2).

"Failed nonce" (delta) and "failed chi" (chi): every signer opens what it sent in round 2 and proves, to everybody, that it
and the value that it broadcast in round 3 are right. Nothing secret is published. An honest party is never blamed, and of
those who cheated at least one is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, NoReturn

from gmpy2 import mpz

from tss.cggmp24 import presign_checks
from tss.cggmp24.identify_checks import ROUND, Case, Opened, check_dec, check_mask, check_openings, receive
from tss.effects import (
    Compute,
    Persist,
    Progress,
    Protocol,
    Recall,
    Received,
    SendDurably,
    Transcript,
)
from tss.encoding import Value
from tss.envelope import PartyId
from tss.errors import PeerFault, Unattributable
from tss.zk import aff_g_star, dec

if TYPE_CHECKING:
    from tss.cggmp24.presign import Presigning
    from tss.cggmp24.presign_prove import Item, Mask

DELTA: Final = presign_checks.DELTA
CHI: Final = presign_checks.CHI


@dataclass(frozen=True)
class Begun:
    """Durable before this party opens anything: this signer set does not work together until it is known who cheated."""

    sid: bytes
    signers: tuple[int, ...]
    """S, ascending evaluation points."""
    case: str
    """DELTA or CHI."""
    k: int
    """Which item of the batch."""
    transcript: Transcript
    """Rounds 1 to 3: with everybody's abort message it is all that a third party needs."""


@dataclass(frozen=True)
class AbortMessage:
    """Durable together with this party's message of the identification, which is sent again to whoever lacks it."""

    sid: bytes


def identify(
    run: Presigning, item: Item, case: Case, received: Mapping[PartyId, Received]
) -> Protocol[NoReturn]:
    """Prove, hear the others' proofs, and raise the faults that they show. `received`: round 2, with its [P] part.

    Raises PeerFault, about every party that fails in the first step in which one does, or Unattributable when nobody can
    be blamed.
    """
    ctx = run.ctx
    transcript = yield Recall((1, 2, 3))
    yield Persist(Begun(ctx.sid, tuple(run.S), case.name, case.k, transcript))
    yield Progress(f"presign: failed {case.name}, finding out who is at fault")
    own = {j: item.masks[j].ciphertexts() for j in ctx.others}
    # What the others sent to this party stands for their openings: it matched the hashes of round 2.
    sent_to_me = {j: {ctx.me: received[j].p2p[case.k][:4]} for j in ctx.others}
    statement = case.decryption(ctx.me, {**sent_to_me, ctx.me: own})
    *psi_star, psi_dec = yield Compute(
        [
            *(partial(_prove_mask, run, item, case, j) for j in ctx.others),
            partial(_prove_dec, run, item, case, statement),
        ]
    )
    mine = [case.k, [own[j] for j in ctx.others], psi_star, psi_dec]
    yield SendDurably(ROUND, broadcast=mine, record=AbortMessage(ctx.sid))
    said = yield receive(run.suite, len(run.S))
    values: dict[PartyId, list[Value]] = {j: said[j].broadcast for j in ctx.others}
    # 4.2, steps i and ii
    opened: dict[PartyId, Opened] = {ctx.me: own}
    faults: list[PeerFault] = []
    for i, value in values.items():
        try:
            opened[i] = check_openings(case, i, value)
        except PeerFault as fault:
            faults.append(fault)
    pairs = [(i, j) for i in ctx.others if i in opened for j in case.signing.recipients(i)]
    found = yield Compute(
        [partial(_faults_in, partial(check_mask, case, i, j, opened[i][j], values[i])) for i, j in pairs]
    )
    _raise_all(faults, *found)
    # 4.2, step iii
    found = yield Compute(
        [partial(_faults_in, partial(check_dec, case, i, opened, values[i])) for i in ctx.others]
    )
    _raise_all(*found)
    raise Unattributable(f"failed {case.name}: every opening and every proof of every signer holds")


def _prove_mask(run: Presigning, item: Item, case: Case, j: PartyId) -> list[Value]:
    ctx, mask = run.ctx, item.masks[j]
    statement = case.affine(ctx.me, j, mask.ciphertexts())
    return aff_g_star.prove(
        run.suite, ctx.proof(f"abort-{case.name}", ctx.me, j, sid=item.isid), statement,
        aff_g_star.Witness(_secret(run, item, case), *_mask_witness(mask, case)),
        run.dice(item.isid, f"aff-g* {case.name}", j.as_list(), statement.items()),
    ).to_value()  # fmt: skip


def _secret(run: Presigning, item: Item, case: Case) -> int:
    """The witness of X of the proofs: gamma_i or x_i."""
    return item.gamma if case.name == DELTA else run.x


def _mask_witness(mask: Mask, case: Case) -> tuple[mpz, mpz, mpz]:
    """(y, rho, rho_y)."""
    return (mask.y, mask.s, mask.r) if case.name == DELTA else (mask.y_hat, mask.s_hat, mask.r_hat)


def _prove_dec(run: Presigning, item: Item, case: Case, statement: dec.Statement) -> list[Value]:
    ctx, own, secret = run.ctx, run.own, _secret(run, item, case)
    y = item.delta if case.name == DELTA else item.chi
    combined = own.public.oplus(own.public.otimes_secret(secret, item.K), statement.D)
    rho = own.extract_nonce(combined)
    return dec.prove(
        run.suite, ctx.proof(f"abort-{case.name}", ctx.me, sid=item.isid), statement,
        dec.Witness(secret, y, rho), run.dice(item.isid, f"dec {case.name}", statement.items()),
    ).to_value()  # fmt: skip


def _faults_in(check: Callable[[], None]) -> list[PeerFault]:
    """What a check finds, as a value: of faults that jobs raise only the first one would come back."""
    try:
        check()
    except PeerFault as fault:
        return [fault]
    return []


def _raise_all(*found: Sequence[PeerFault]) -> None:
    """One fault a party, in the order of the parties: the first of them, with the others in its `also`."""
    first: dict[int | None, PeerFault] = {}
    for fault in (fault for faults in found for fault in faults):
        first.setdefault(fault.peer, fault)
    if first:
        told, *also = sorted(first.values(), key=lambda fault: fault.peer or 0)
        told.also = tuple(also)
        raise told
