"""Presigning in three rounds, B items at once, and full signing (protocol.md 3.1, 3.2, 3.4).

Sign convention, everywhere: `y[j]` is the mask that *this* party draws for recipient j, `D[j] = K_j^secret * enc_j(y[j])`,
`F[j] = enc_i(y[j])`. The recipient adds the decryption, the sender subtracts the mask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from gmpy2 import mpz

from tss.alongside import Begun, alongside, begin
from tss.cggmp24 import identify, presign_checks
from tss.cggmp24.identify_checks import Case
from tss.cggmp24.presign_checks import (
    Round1,
    check_said1,
    check_said2,
    check_said3,
    check_told1,
    check_told2,
    rounds,
)
from tss.cggmp24.presign_prove import (
    Item,
    Making,
    effective_shares,
    make_round1,
    make_round2,
)
from tss.cggmp24.presign_verify import (
    Opened,
    OwnK,
    Verified,
    gather_round1,
    gather_said1,
    verify_round1,
    verify_round2,
)
from tss.cggmp24.presignature import ENTROPY_BYTES, Batch, Presignature, public_record
from tss.cggmp24.sign import Signature, SignRequest, exchange_sigmas, terms
from tss.effects import (
    Compute,
    Progress,
    Protocol,
    Recall,
    Receive,
    Received,
    Send,
    SessionContext,
    Transcript,
)
from tss.encoding import Value
from tss.envelope import PartyId
from tss.errors import (
    CallerError,
    Degenerate,
    InternalError,
)
from tss.groups import Point
from tss.hd import derive
from tss.randomizers import PLAIN, Randomizers
from tss.records import AuxSet, KeyShare
from tss.zk import elog

KIND: Final = "presign"
FULL_KIND: Final = "full-sign"
MAX_BATCH: Final = 64
"""Items of one session: what keeps a round's message below the rooms' body limit at 16 signers."""


def tail(share: KeyShare, aux: AuxSet, signers: Sequence[int], owner: int, batch: int) -> list[Value]:
    """What protocol.md 0.7 lists for presigning."""
    S = sorted(signers)
    effective = effective_shares(share, S)
    return [
        share.key_id, share.X, share.share_epoch, aux.aux_id, S, [effective[j] for j in S],
        [aux.parties[j].as_list() for j in S], owner, batch,
    ]  # fmt: skip


def full_tail(
    share: KeyShare, aux: AuxSet, signers: Sequence[int], owner: int, request: SignRequest
) -> list[Value]:
    """What protocol.md 0.7 lists for full signing."""
    return [*tail(share, aux, signers, owner, 1), request.digest, list(request.path)]


class Presigning(Making):
    """One run: the keys, and the steps that the generators below put in order."""

    # -- round 1 -------------------------------------------------------------------------------------------------

    def check_round1(self, k_: int, j: PartyId, broadcast: list[Value], p2p: list[Value]) -> Round1:
        """Checks 1-3 of round 1."""
        said = check_said1(self.public, k_, j, broadcast)
        check_told1(self.public, k_, j, self.ctx.me, said, p2p)
        return said

    # -- round 2 -------------------------------------------------------------------------------------------------

    def check_round2(
        self, item: Item, k_: int, j: PartyId, broadcast: list[Value], p2p: list[Value]
    ) -> Point:
        """Checks 1-6 of round 2: Gamma_j."""
        Gamma_j = check_said2(self.public, k_, j, item.round1[j], broadcast)
        check_told2(self.public, k_, j, self.ctx.me, item.K, broadcast, p2p)
        return Gamma_j

    # -- round 3 -------------------------------------------------------------------------------------------------

    def open_masks(self, item: Item, received: Mapping[PartyId, Opened]) -> list[Value]:
        """delta_i, chi_i (kept as integers), Delta_i, S_i and the elog proof about k_i: the round-3 broadcast."""
        ctx, group = self.ctx, self.group
        Gamma = group.sum(list(item.Gamma_j.values()))
        if Gamma.is_identity or group.x(Gamma) % group.q == 0:
            raise Degenerate("Gamma is the identity or its x is 0 mod q")
        item.Gamma = Gamma
        delta, chi = mpz(item.gamma) * item.k, mpz(self.x) * item.k
        for j, masks in received.items():
            delta += masks.alpha - item.masks[j].y
            chi += masks.alpha_hat - item.masks[j].y_hat
        item.delta, item.chi = delta, chi
        Delta = group.mul_secret(item.k, Gamma)
        S = group.mul_secret(int(chi % group.q), Gamma)
        item.Delta_j[ctx.me], item.S_j[ctx.me] = Delta, S
        statement = elog.Statement(L=item.A1, M=item.A2, X=item.Y, Y=Delta, h=Gamma)
        psi = elog.prove(
            self.suite, ctx.proof("delta", ctx.me, sid=item.isid), statement,
            elog.Witness(y=item.k, lam=item.a), self.dice(item.isid, "elog delta", statement.items()),
        )  # fmt: skip
        return [int(delta % group.q), Delta, S, psi.to_value()]

    def check_round3(self, item: Item, k_: int, j: PartyId, broadcast: list[Value]) -> None:
        """Checks 1-2 of round 3."""
        if item.Gamma is None:
            raise InternalError("round 3 is checked before Gamma is known")
        check_said3(self.public, k_, j, item.round1[j], item.Gamma, broadcast)

    def failed(self, sums: Mapping[PartyId, Sequence[Value]]) -> str | None:
        """Which of the output conditions (a) and (b) does not hold. `sums`: [delta, Delta, S] of all."""
        return presign_checks.failed(self.public, list(sums.values()))

    def finish(
        self, item: Item, k_: int, sums: Mapping[PartyId, Sequence[Value]], transcript: Transcript
    ) -> Presignature:
        """The output condition (c) and the record, once (a) and (b) hold. `sums`: [delta, Delta, S] of all."""
        group, q, share = self.group, self.group.q, self.share
        if item.Gamma is None:
            raise InternalError("a presignature is finished before Gamma is known")
        batch = Batch(
            share.key_id, share.share_epoch, self.aux.aux_id, self.owner.index, tuple(self.S), share.X
        )
        public, delta = public_record(self.ctx, batch, k_, item.Gamma, sums)
        inverse = pow(delta, -1, q)
        k, chi = item.k * inverse % q, int(item.chi * inverse % q)
        if group.mul_secret(k, item.Gamma) != public.Delta[share.me]:
            raise InternalError("k~_i*Gamma is not Delta~_i")
        return Presignature(self.suite, share.me, public, k, chi, transcript)


def presign(
    ctx: SessionContext,
    share: KeyShare,
    aux: AuxSet,
    owner: PartyId,
    batch: int,
    randomizers: Randomizers = PLAIN,
) -> Protocol[list[Presignature]]:
    """Make `batch` presignatures for the session's signer set, with what `randomizers` has of nonces and masks.

    Raises BadSignerSet, CallerError for a batch that is not 1 to MAX_BATCH, PeerFault (with the peer), Degenerate,
    Unattributable.
    """
    if not 1 <= batch <= MAX_BATCH:
        raise CallerError(f"a batch of {batch}, 1 to {MAX_BATCH} are made at a time")
    run = Presigning(ctx, share, aux, owner, randomizers)
    presignatures, _ = yield from _rounds(run, batch, e=None)
    return presignatures


def full_sign(
    ctx: SessionContext,
    share: KeyShare,
    aux: AuxSet,
    owner: PartyId,
    request: SignRequest,
    randomizers: Randomizers = PLAIN,
) -> Protocol[Signature]:
    """Presign for one request and sign it: digest and path are in the sid, so Gamma was unknown when they were fixed."""
    run = Presigning(ctx, share, aux, owner, randomizers)
    child = derive(share.X, share.chain_code, request.path)
    e_me = ctx.rng(ENTROPY_BYTES)
    (presignature,), e = yield from _rounds(run, 1, e=e_me)
    presignature.promise_with(request.digest, request.path, child.tau, e_me)
    try:
        at = terms(ctx.suite, presignature.public, request, child.tau, child.X_c, {**e, ctx.me.index: e_me})
        return (yield from exchange_sigmas(ctx, 4, presignature, request, at, e_me))
    finally:
        presignature.destroy()


def _rounds(
    run: Presigning, batch: int, e: bytes | None
) -> Protocol[tuple[list[Presignature], dict[int, bytes]]]:
    """Rounds 1-3 of protocol.md 3.2. With `e` (full signing) round 3 carries every signer's entropy."""
    ctx, others = run.ctx, run.ctx.others
    pairs = [(k, j) for k in range(batch) for j in others]
    round1, round2, round3 = rounds(run.suite, len(run.S), batch, entropy=e is not None)

    # Round 1
    yield Progress("presign: round 1")
    items: list[Item] = yield Compute([partial(run.draw, k) for k in range(batch)], brief=batch == 1)
    yield Send(1, broadcast=[item.round1_value() for item in items])
    yield Send(1, p2p=(yield from make_round1(run, items)))

    # Round 2
    yield Progress("presign: round 2")
    said, gammas = yield from _verify_and_make(run, items, round1)
    yield Send(
        2,
        broadcast=[
            [*gamma, [run.commit_mask(item, ctx.me, j, item.masks[j].ciphertexts()) for j in others]]
            for item, gamma in zip(items, gammas, strict=True)
        ],
        p2p={
            j: [[*item.masks[j].ciphertexts(), item.masks[j].psi, item.masks[j].psi_hat] for item in items]
            for j in others
        },
    )
    r2 = yield round2
    masks2 = yield from verify_round2(
        run.public, ctx.me, ctx.rng, run.own, [OwnK(item.K, item.k) for item in items], said, r2,
        lambda k, j: run.check_round2(items[k], k, j, r2[j].broadcast[k], r2[j].p2p[k]),
    )  # fmt: skip
    for (k, j), opened_mask in masks2.items():
        items[k].Gamma_j[j] = opened_mask.Gamma

    # Round 3
    yield Progress("presign: round 3")
    opened = yield Compute(
        [partial(run.open_masks, item, {j: masks2[k, j] for j in others}) for k, item in enumerate(items)],
        brief=True,
    )
    yield Send(3, broadcast=[opened, e])
    r3 = yield round3
    checks = [partial(run.check_round3, items[k], k, j, r3[j].broadcast[0][k]) for k, j in pairs]
    yield Compute(checks, brief=True)

    # Output
    transcript = yield Recall((2, 3))
    presignatures: list[Presignature] = []
    for k, item in enumerate(items):
        delta = {ctx.me: opened[k][0], **{j: r3[j].broadcast[0][k][0] for j in others}}
        for j in others:
            item.Delta_j[j], item.S_j[j] = r3[j].broadcast[0][k][1:3]
        sums = {j: [delta[j], item.Delta_j[j], item.S_j[j]] for j in delta}
        failed = run.failed(sums)
        if failed is not None:
            for made in presignatures:
                made.destroy()
            yield from identify.identify(run, item, _case(run, item, k, failed, opened[k], r2, r3), r2)
        presignatures.append(run.finish(item, k, sums, transcript))
    return presignatures, {} if e is None else {j.index: r3[j].broadcast[1] for j in others}


def _verify_and_make(
    run: Presigning, items: list[Item], round1: Receive
) -> Protocol[tuple[Verified[Round1], list[list[Value]]]]:
    """Receive and verify round 1, and meanwhile make round 2, of which nothing leaves before that has passed.

    What round 2 needs of the others is what they say to all, which is there while their proofs are still on their way.
    """
    r1: dict[PartyId, Received] = {}

    def single(k: int, j: PartyId) -> Round1:
        return run.check_round1(k, j, r1[j].broadcast[k], r1[j].p2p[k])

    def keep(verified: Verified[Round1]) -> None:
        for (k, j), value in verified.items():
            items[k].round1[j] = value

    broadcasts = yield replace(round1, p2p=None)
    said = yield from gather_said1(run.public, broadcasts)
    begun: Begun[list[list[Value]]] | None = None
    if all(said.values()):
        keep({(k, j): value for j, values in said.items() for k, value in enumerate(values or ())})
        begun = yield from begin(make_round2(run, items))
    told = yield replace(round1, broadcast=None)
    r1 |= {j: replace(broadcasts[j], p2p=told[j].p2p, signed_p2p=told[j].signed_p2p) for j in told}
    gathered = yield from gather_round1(run.public, run.ctx.me, run.ctx.rng, said, r1)
    verifying = verify_round1(gathered, r1, single)
    if begun is not None:
        return (yield from alongside(verifying, begun))
    verified = yield from verifying
    keep(verified)
    return verified, (yield from make_round2(run, items))


def _case(
    run: Presigning,
    item: Item,
    k: int,
    failed: str,
    opened: list[Value],
    r2: dict[PartyId, Received],
    r3: dict[PartyId, Received],
) -> Case:
    """What the identification of item `k` begins with."""
    me, others = run.ctx.me, run.ctx.others
    own_hashes = [run.commit_mask(item, me, j, item.masks[j].ciphertexts()) for j in others]
    if item.Gamma is None:
        raise InternalError("identification begins before Gamma is known")
    return Case(
        run.public, k, failed,
        K={**{j: item.round1[j].K for j in others}, me: item.K},
        Gamma_j=item.Gamma_j, Gamma=item.Gamma,
        hashes={**{j: r2[j].broadcast[k][2] for j in others}, me: own_hashes},
        round3={**{j: r3[j].broadcast[0][k] for j in others}, me: opened},
    )  # fmt: skip
