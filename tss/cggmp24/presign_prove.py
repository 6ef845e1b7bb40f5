"""What one signer makes in presigning (protocol.md 3.2): its values, its masks for the others, and the proofs about them.

k, gamma, a, b and all masks and nonces are of one presignature: their powers may come from tables, from pools and from one
squaring chain, whose time depends on them. x_i lasts: its powers are made alone, in constant time. Everything is drawn from
hedged randomness (`tss.hedge`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from gmpy2 import mpz

from tss.cggmp24.presign_checks import Presigned, Round1
from tss.effects import Compute, Protocol, SessionContext
from tss.encoding import Value
from tss.envelope import PartyId
from tss.errors import BadSignerSet, InternalError
from tss.groups import Point
from tss.hedge import hedged
from tss.modexp import powers_of
from tss.paillier import PaillierPublic
from tss.params import SecurityLevel
from tss.rand import Rng, plus_minus, scalar
from tss.randomizers import PLAIN, Needs, Pool, Randomizers, encrypt, lasting_power_of_s
from tss.records import AuxSet, KeyShare
from tss.ring_pedersen import RingPedersen, RingPedersenSecret
from tss.vss import lagrange
from tss.zk import aff_g, elog, enc_elg

K: Final = "k"
GAMMA: Final = "gamma"
X: Final = "x"
"""Labels of proofs: of round 1 "k" and "gamma", of round 2 "gamma" and "x"."""


def effective_shares(share: KeyShare, signers: Sequence[int]) -> dict[int, Point]:
    """X_j^eff = lam_j(S)*X_j for j in S (protocol.md 3.1). Raises BadSignerSet."""
    S = sorted(signers)
    if len(S) != share.t or len(set(S)) != len(S) or not set(S) <= set(share.public_shares):
        raise BadSignerSet(f"a signer set has {share.t} different parties of the key, this is {S}")
    q = share.suite.group.q
    effective = {j: lagrange(S, j, 0, q) * share.public_shares[j] for j in S}
    if share.suite.group.sum(list(effective.values())) != share.X:
        raise InternalError("the effective public shares do not sum to X")
    return effective


def aux_keys(aux: AuxSet, point: int) -> tuple[PaillierPublic, RingPedersen]:
    """A party's public keys in an aux set."""
    party = aux.parties[point]
    return PaillierPublic(party.N), RingPedersen(party.N_hat, party.s, party.t)


def needs(level: SecurityLevel, signers: int, presignatures: int) -> Needs:
    """What `presignatures` of `signers` signers take from a pool.

    Own nonces: K, G, and for each peer two D of enc-elg, F and F^, two By. Nonces of each peer: D and D^, two A. Masks for each
    peer: mu twice, m and mu twice; gam twice, gam and del twice.
    """
    return Needs(
        own=(2 + 6 * (signers - 1)) * presignatures,
        nonces=4 * presignatures,
        masks=[
            (mpz(1) << level.l, 6 * presignatures),
            (mpz(1) << level.l + level.eps, 6 * presignatures),
        ],
    )


def fill_for(pool: Pool, aux: AuxSet, signers: int, presignatures: int) -> None:
    """Let `pool` be filled for presignatures of `signers` signers with any peers of the aux set."""
    peers = [aux_keys(aux, point) for point in aux.indices if point != aux.me]
    pool.want(aux.paillier, peers, needs(aux.suite.level, signers, presignatures))


@dataclass(frozen=True)
class Powers:
    """Of a peer's K_j, for one item: the ephemeral ones, one squaring chain for all."""

    gamma: mpz = field(repr=False)
    """K_j^gamma_i."""
    ahead: aff_g.Ahead = field(repr=False)
    ahead_hat: aff_g.Ahead = field(repr=False)


@dataclass(frozen=True)
class Half:
    """What belongs to one of the two secrets in a `Mask`."""

    y: mpz = field(repr=False)
    s: mpz = field(repr=False)
    r: mpz = field(repr=False)
    D: mpz
    F: mpz
    psi: list[Value] = field(repr=False)


@dataclass(frozen=True)
class Mask:
    """What this party drew for one recipient, and the four ciphertexts that it made (protocol.md 3.2 round 2)."""

    y: mpz = field(repr=False)
    y_hat: mpz = field(repr=False)
    s: mpz = field(repr=False)
    r: mpz = field(repr=False)
    s_hat: mpz = field(repr=False)
    r_hat: mpz = field(repr=False)
    D: mpz
    F: mpz
    D_hat: mpz
    F_hat: mpz
    psi: list[Value] = field(repr=False)
    psi_hat: list[Value] = field(repr=False)

    def ciphertexts(self) -> list[Value]:
        """[D, F, D^, F^]."""
        return [self.D, self.F, self.D_hat, self.F_hat]


@dataclass
class Item:
    """Everything of one presignature of the batch: the paper's values of this party and what the others sent."""

    isid: bytes
    k: int = field(repr=False)
    gamma: int = field(repr=False)
    a: int = field(repr=False)
    b: int = field(repr=False)
    rho: mpz = field(repr=False)
    nu: mpz = field(repr=False)
    Y: Point
    K: mpz
    G: mpz
    A1: Point
    A2: Point
    B1: Point
    B2: Point
    powers: dict[PartyId, Powers] = field(default_factory=dict, repr=False)
    x_powers: dict[PartyId, mpz] = field(default_factory=dict, repr=False)
    """K_j^x_i."""
    halves: dict[PartyId, tuple[Half, Half]] = field(default_factory=dict, repr=False)
    masks: dict[PartyId, Mask] = field(default_factory=dict, repr=False)
    round1: dict[PartyId, Round1] = field(default_factory=dict)
    Gamma_j: dict[PartyId, Point] = field(default_factory=dict)
    Gamma: Point | None = None
    delta: mpz = field(default_factory=mpz, repr=False)
    chi: mpz = field(default_factory=mpz, repr=False)
    Delta_j: dict[PartyId, Point] = field(default_factory=dict)
    S_j: dict[PartyId, Point] = field(default_factory=dict)

    def round1_value(self) -> list[Value]:
        """[K, G, Y, A1, A2, B1, B2]."""
        return [self.K, self.G, self.Y, self.A1, self.A2, self.B1, self.B2]


class Making:
    """The steps that make what this party sends in rounds 1 and 2. Each is a job of its own, for any thread."""

    def __init__(
        self,
        ctx: SessionContext,
        share: KeyShare,
        aux: AuxSet,
        owner: PartyId,
        randomizers: Randomizers = PLAIN,
    ) -> None:
        S = [party.index for party in ctx.parties]
        if ctx.me.index != share.me or aux.me != share.me or owner not in ctx.parties:
            raise BadSignerSet("this party, its share and its aux set are not of one place")
        if not set(S) <= set(aux.parties):
            raise BadSignerSet("the aux set lacks a signer")
        self.ctx, self.suite, self.group = ctx, ctx.suite, ctx.suite.group
        self.share, self.aux, self.owner, self.S = share, aux, owner, S
        self.randomizers = randomizers
        q = self.group.q
        self.x = lagrange(S, share.me, 0, q) * share.x % q
        self.X_eff = effective_shares(share, S)
        self.own = aux.paillier
        self.keys: dict[PartyId, PaillierPublic] = {}
        self.rings: dict[PartyId, RingPedersen] = {}
        for j in ctx.others:
            self.keys[j], self.rings[j] = aux_keys(aux, j.index)
        self.s_x: dict[PartyId, mpz] = {}
        """s_j^x_i, secret, for this run."""
        own_ring: RingPedersen | RingPedersenSecret = aux.pedersen or aux_keys(aux, share.me)[1]
        self.public = Presigned(
            ctx,
            share.X,
            {j: self.X_eff[j.index] for j in ctx.parties},
            {**self.keys, ctx.me: self.own},
            {**self.rings, ctx.me: own_ring},
        )

    def dice(self, isid: bytes, *use: Value) -> Rng:
        """What one step of one item draws from."""
        return hedged(self.ctx.rng, self.x, [isid, *use])

    # -- round 1 -------------------------------------------------------------------------------------------------

    def draw(self, k_: int) -> Item:
        """Secrets and broadcast values of item `k_`."""
        group, q, isid = self.group, self.group.q, self.public.isid(k_)
        dice = self.dice(isid, "draw")
        k, gamma, a, b = (scalar(dice, q) for _ in range(4))
        Y = group.mul_base(1 + scalar(dice, q - 1))
        rho, nu = self.randomizers.nonce(self.own, dice), self.randomizers.nonce(self.own, dice)
        return Item(
            isid=isid,
            k=k, gamma=gamma, a=a, b=b, rho=rho.value, nu=nu.value, Y=Y,
            K=encrypt(self.own, k, rho), G=encrypt(self.own, gamma, nu),
            A1=group.mul_base(a), A2=group.mul_base(k) + group.mul_secret(a, Y),
            B1=group.mul_base(b), B2=group.mul_base(gamma) + group.mul_secret(b, Y),
        )  # fmt: skip

    def prove_round1(self, item: Item, j: PartyId, label: str) -> list[Value]:
        """psi0 about K ("k") or psi1 about G ("gamma"), for j."""
        if label == K:
            statement = enc_elg.Statement(self.own, item.K, item.Y, item.A1, item.A2, self.rings[j])
            witness = enc_elg.Witness(item.k, item.rho, item.a)
        else:
            statement = enc_elg.Statement(self.own, item.G, item.Y, item.B1, item.B2, self.rings[j])
            witness = enc_elg.Witness(item.gamma, item.nu, item.b)
        return enc_elg.prove(
            self.suite, self.ctx.proof(label, self.ctx.me, j, sid=item.isid), statement, witness,
            self.dice(item.isid, f"enc-elg {label}", j.as_list(), statement.items()), self.randomizers,
        ).to_value()  # fmt: skip

    # -- round 2 -------------------------------------------------------------------------------------------------

    def gamma_proof(self, item: Item) -> tuple[Point, list[Value]]:
        """Gamma_i and its elog proof."""
        Gamma = self.group.mul_base(item.gamma)
        statement = elog.Statement(L=item.B1, M=item.B2, X=item.Y, Y=Gamma, h=self.group.G)
        psi = elog.prove(
            self.suite, self.ctx.proof(GAMMA, self.ctx.me, sid=item.isid), statement,
            elog.Witness(y=item.gamma, lam=item.b), self.dice(item.isid, "elog gamma", statement.items()),
        )  # fmt: skip
        return Gamma, psi.to_value()

    def powers(self, item: Item, j: PartyId) -> Powers:
        """K_j's ephemeral powers, with the masks alpha of both affine proofs."""
        K_j, key = item.round1[j].K, self.keys[j]
        dice = self.dice(item.isid, "alpha", j.as_list(), K_j)
        alpha, alpha_hat = aff_g.draw_alpha(self.suite, dice), aff_g.draw_alpha(self.suite, dice)
        K_gamma, K_alpha, K_alpha_hat = powers_of(K_j, [item.gamma, alpha, alpha_hat], key.N2)
        return Powers(K_gamma, aff_g.Ahead(alpha, K_alpha), aff_g.Ahead(alpha_hat, K_alpha_hat))

    def x_power(self, item: Item, j: PartyId) -> mpz:
        """K_j^x_i, alone and in constant time."""
        return self.keys[j].otimes_secret(self.x, item.round1[j].K)

    def x_commitment(self, j: PartyId) -> mpz:
        """s_j^x_i, alone and in constant time: once a run."""
        return lasting_power_of_s(self.rings[j], self.x)

    def half_mask(self, item: Item, j: PartyId, label: str) -> Half:
        """D, F and their affine proof for recipient j, about gamma_i or x_i ("x"); `powers` and the others come before."""
        key, ring, K_j, powers = self.keys[j], self.rings[j], item.round1[j].K, item.powers[j]
        dice = self.dice(item.isid, f"aff-g {label}", j.as_list(), K_j)
        if label == GAMMA:
            secret, X_, power, ahead = item.gamma, item.Gamma_j[self.ctx.me], powers.gamma, powers.ahead
            s_power = self.randomizers.power_of_s(ring, item.gamma)
        else:
            secret, X_, power, ahead = (
                self.x, self.X_eff[self.ctx.me.index], item.x_powers[j], powers.ahead_hat,
            )  # fmt: skip
            s_power = self.s_x[j]
        y = plus_minus(dice, mpz(1) << self.suite.level.l_prime)
        s, r = self.randomizers.nonce(key, dice), self.randomizers.nonce(self.own, dice)
        D, F = key.oplus(power, encrypt(key, y, s)), encrypt(self.own, y, r)
        psi = aff_g.prove(
            self.suite, self.ctx.proof(label, self.ctx.me, j, sid=item.isid),
            aff_g.Statement(key, self.own, K_j, D, F, X_, ring),
            aff_g.Witness(secret, y, s.value, r.value, s_power), dice, self.randomizers, ahead,
        )  # fmt: skip
        return Half(y, s.value, r.value, D, F, psi.to_value())

    def mask(self, item: Item, j: PartyId) -> Mask:
        """D, F, D^, F^ for recipient j with their two affine proofs: both halves together."""
        one, hat = item.halves.pop(j)
        return Mask(
            y=one.y, y_hat=hat.y, s=one.s, r=one.r, s_hat=hat.s, r_hat=hat.r,
            D=one.D, F=one.F, D_hat=hat.D, F_hat=hat.F, psi=one.psi, psi_hat=hat.psi,
        )  # fmt: skip

    def commit_mask(self, item: Item, sender: PartyId, recipient: PartyId, ciphertexts: list[Value]) -> bytes:
        """h_{recipient,sender}: makes the later opening of D, F binding."""
        return self.public.mask_hash(item.isid, sender, recipient, ciphertexts)


def make_round1(run: Making, items: Sequence[Item]) -> Protocol[dict[PartyId, list[Value]]]:
    """[psi0, psi1] of all items, by recipient."""
    others = run.ctx.others
    places = [(item, j, label) for item in items for j in others for label in (K, GAMMA)]
    proofs = iter((yield Compute([partial(run.prove_round1, *place) for place in places])))
    made: dict[PartyId, list[Value]] = {j: [] for j in others}
    for _ in items:
        for j in others:
            made[j].append([next(proofs), next(proofs)])
    return made


def make_round2(run: Making, items: Sequence[Item]) -> Protocol[list[list[Value]]]:
    """[Gamma_i, psi_i] of all items; their masks are in the items then."""
    others = run.ctx.others
    pairs = [(item, j) for item in items for j in others]
    count = len(pairs)
    made = yield Compute(
        [
            *(partial(run.powers, item, j) for item, j in pairs),
            *(partial(run.x_power, item, j) for item, j in pairs),
            *(partial(run.x_commitment, j) for j in others),
            *(partial(run.gamma_proof, item) for item in items),
        ]
    )
    for (item, j), powers, x_power in zip(pairs, made[:count], made[count : 2 * count], strict=True):
        item.powers[j], item.x_powers[j] = powers, x_power
    run.s_x.update(zip(others, made[2 * count : 2 * count + len(others)], strict=True))
    gammas = made[2 * count + len(others) :]
    for item, (Gamma_i, _) in zip(items, gammas, strict=True):
        item.Gamma_j[run.ctx.me] = Gamma_i
    halves = iter(
        (yield Compute([partial(run.half_mask, *pair, label) for pair in pairs for label in (GAMMA, X)]))
    )
    for item, j in pairs:
        item.halves[j] = next(halves), next(halves)
        del item.powers[j], item.x_powers[j]
        item.masks[j] = run.mask(item, j)
    return [list(gamma) for gamma in gammas]
