"""Committees for the tests of tss/cggmp24: keys, aux sets and presignatures at once, and runs of every protocol.

Keys and presignatures come from a trusted dealer, so a test knows the secrets, and what it needs costs milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from cggmp24_cheating import loaded, lying
from session_testing import Anything, Committee, Outcomes, Program, Round0, holder, identity_of
from tss_testing import TINY, SeededRng, safe_primes

from tss.cggmp24 import aux_info, keygen, presign, refresh, sign
from tss.cggmp24.presignature import Presignature, PresignaturePublic
from tss.cggmp24.sign import Signature, SignRequest
from tss.effects import SessionContext
from tss.encoding import decode
from tss.envelope import Body, Kind, PartyId, Signed, SignFunction, decode_body
from tss.envelope import sign as sign_body
from tss.groups import Group
from tss.hd import derive
from tss.paillier import PaillierSecret
from tss.params import Suite
from tss.proposal import Proposal
from tss.rand import scalar
from tss.records import AuxPublic, AuxSet, KeyShare
from tss.ring_pedersen import RingPedersenSecret
from tss.vss import Polynomial, lagrange

# -- what a committee has ----------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def dealt_key(
    suite: Suite, n: int, t: int, seed: object = 0, secret: int | None = None, chain_code: bytes | None = None
) -> dict[int, KeyShare]:
    """Shares {I_j: share} of one key, by a trusted dealer. `secret` is the private key, random when none is given."""
    rng, group = SeededRng(("key", suite.proto, n, t, seed)), suite.group
    f = Polynomial.random(group, t, rng, constant=secret)
    public = {j: group.mul_base(f.evaluate(j)) for j in range(1, n + 1)}
    key_id, epoch, code = rng(32), rng(32), rng(32)
    return {
        j: KeyShare(
            suite,
            key_id,
            epoch,
            t,
            j,
            group.mul_base(f.coefficients[0]),
            public,
            code if chain_code is None else chain_code,
            f.evaluate(j),
        )
        for j in public
    }


def secret_of(shares: Mapping[int, KeyShare], signers: Iterable[int] | None = None) -> int:
    """The private key, from the shares of `signers` (of the first t when none are named)."""
    some = next(iter(shares.values()))
    S, q = list(signers or list(shares)[: some.t]), some.suite.group.q
    return sum(lagrange(S, j, 0, q) * shares[j].x for j in S) % q


@lru_cache(maxsize=64)
def dealt_aux(suite: Suite, n: int) -> dict[int, AuxSet]:
    """Aux sets {I_j: set} of a committee, made without the protocol."""
    return aux_of(suite, primes_of(suite, n))


def aux_of(suite: Suite, primes: Mapping[int, Sequence[int]]) -> dict[int, AuxSet]:
    """Aux sets made of four safe primes for each party."""
    level, keys = suite.level, {}
    for j, (p, q_, p_hat, q_hat) in primes.items():
        rng = SeededRng(("aux", j))
        ring = RingPedersenSecret.generate(level, rng, (p_hat, q_hat))
        keys[j] = PaillierSecret.generate(level, rng, (p, q_)), ring
    public = {
        j: AuxPublic(key.public.N, ring.public.N_hat, ring.public.s, ring.public.t)
        for j, (key, ring) in keys.items()
    }
    aux_id = SeededRng(("aux", suite.proto, len(primes)))(32)
    return {j: AuxSet(suite, aux_id, j, public, *keys[j]) for j in keys}


def dealt_presignature(
    shares: Mapping[int, KeyShare],
    signers: Iterable[int],
    owner: int | None = None,
    *,
    seed: object = 0,
    gamma: int | None = None,
) -> dict[int, Presignature]:
    """One fresh presignature {I_j: its part}, by a trusted dealer; `gamma` is the nonce of R before re-randomisation."""
    S = sorted(signers)
    share = shares[S[0]]
    suite, group, q = share.suite, share.suite.group, share.suite.group.q
    rng = SeededRng(("presignature", suite.proto, tuple(S), seed))
    gamma = 1 + scalar(rng, q - 1) if gamma is None else gamma
    k, chi = ({j: scalar(rng, q) for j in S} for _ in range(2))
    inverse = pow(gamma, -1, q)
    k[S[0]] = (k[S[0]] + inverse - sum(k.values())) % q
    chi[S[0]] = (chi[S[0]] + inverse * secret_of(shares, S) - sum(chi.values())) % q
    Gamma = group.mul_base(gamma)
    public = PresignaturePublic(
        id=rng(32),
        sid=rng(32),
        key_id=share.key_id,
        share_epoch=share.share_epoch,
        aux_id=rng(32),
        owner=S[0] if owner is None else owner,
        signers=tuple(S),
        X=share.X,
        Gamma=Gamma,
        Delta={j: k[j] * Gamma for j in S},
        S={j: chi[j] * Gamma for j in S},
    )
    return {j: Presignature(suite, j, public, k[j], chi[j]) for j in S}


def _points(n: int) -> range:
    return range(1, n + 1)


X_ZERO_LOG = 848618396
"""The discrete logarithm of a point of the toy curve with x = 0 mod q, once found by baby and giant steps."""


# -- runs --------------------------------------------------------------------------------------------------------


Programs = Mapping[int, Program]


def run_keygen(
    n: int,
    t: int,
    seed: object = 0,
    *,
    suite: Suite = TINY,
    aux_id: bytes | None = None,
    programs: Programs | None = None,
    **options: Any,
) -> Outcomes:
    """Key generation by n parties; `programs` replaces those of cheaters."""
    honest: Program = lambda ctx: keygen.keygen(ctx, t, aux_id)  # noqa: E731 - one expression
    return _run(
        dict.fromkeys(_points(n), honest), programs, seed, suite, "keygen", keygen.tail(n, t), options
    )


def primes_of(suite: Suite, n: int, seed: object = 0) -> dict[int, tuple[int, ...]]:
    """Four safe primes for each of n parties."""
    primes = safe_primes(suite.level, 4 * n, seed)
    return {j: tuple(primes[4 * j - 4 : 4 * j]) for j in _points(n)}


def aux_program(primes: Sequence[int]) -> Program:
    return lambda ctx: aux_info.aux_info(ctx, lambda: tuple(primes))  # type: ignore[arg-type,return-value]


def run_aux(
    n: int,
    seed: object = 0,
    *,
    suite: Suite = TINY,
    programs: Programs | None = None,
    primes: Mapping[int, Sequence[int]] | None = None,
    **options: Any,
) -> Outcomes:
    """An aux run of n parties, with `primes` or those of `primes_of`."""
    given = primes or primes_of(suite, n)
    honest = {j: aux_program(given[j]) for j in _points(n)}
    return _run(honest, programs, seed, suite, "aux", aux_info.tail(None), options)


def refresh_program(shares: Sequence[KeyShare], primes: Sequence[int] | None) -> Program:
    take = None if primes is None else lambda: tuple(primes)
    return lambda ctx: refresh.refresh(ctx, shares, take)  # type: ignore[arg-type]


def run_refresh(
    keys: Sequence[Mapping[int, KeyShare]],
    seed: object = 0,
    *,
    programs: Programs | None = None,
    primes: Mapping[int, Sequence[int]] | None = None,
    **options: Any,
) -> Outcomes:
    """A refresh of dealt keys, each {I_j: share} of one committee, with `primes` or those of `primes_of`."""
    one = keys[0][min(keys[0])]
    aux = one.suite.has_aux
    given = primes or (primes_of(one.suite, one.n) if aux else {})
    honest = {j: refresh_program([key[j] for key in keys], given.get(j)) for j in _points(one.n)}
    tail = refresh.tail([key[min(key)] for key in keys], [b"\xaa" * 32 if aux else None] * len(keys))
    return _run(honest, programs, seed, one.suite, "refresh", tail, options)


@dataclass(frozen=True)
class Signers:
    """A signer set S of a dealt committee with its keys; `owner` is the first of S unless named."""

    S: tuple[int, ...] = (1, 2, 3)
    n: int = 4
    suite: Suite = TINY
    seed: object = 0
    owner_: int | None = None

    @property
    def shares(self) -> dict[int, KeyShare]:
        return dealt_key(self.suite, self.n, len(self.S), self.seed)

    @property
    def aux(self) -> dict[int, AuxSet]:
        return dealt_aux(self.suite, self.n)

    @property
    def stored(self) -> list[KeyShare | AuxSet]:
        """What the stores of all of S hold for this account."""
        return [record for j in self.S for record in (self.shares[j], self.aux[j])]

    @property
    def owner(self) -> PartyId:
        return holder(self.S[0] if self.owner_ is None else self.owner_)

    @property
    def share(self) -> KeyShare:
        return self.shares[self.S[0]]

    def presigning(self, ctx: SessionContext, kind: type[presign.Presigning] = presign.Presigning) -> Any:
        """One party's run, of a class that may cheat."""
        j = ctx.me.index
        return kind(ctx, self.shares[j], self.aux[j], self.owner)

    def presign(
        self, seed: object = 0, *, batch: int = 1, programs: Programs | None = None, **options: Any
    ) -> Outcomes:
        j = self.S[0]
        tail = presign.tail(self.shares[j], self.aux[j], self.S, self.owner.index, batch)
        honest = {i: self._presign_program(i, batch) for i in self.S}
        options.setdefault("round0", Round0.WITH_ROUND_1)
        options["stored"] = self.stored
        return _run(honest, programs, seed, self.suite, "presign", tail, options)

    def _presign_program(self, j: int, batch: int) -> Program:
        return lambda ctx: presign.presign(ctx, self.shares[j], self.aux[j], self.owner, batch)

    def full_sign(
        self, request: SignRequest, seed: object = 0, *, programs: Programs | None = None, **options: Any
    ) -> Outcomes:
        j = self.S[0]
        tail = presign.full_tail(self.shares[j], self.aux[j], self.S, self.owner.index, request)
        honest = {i: self._full_program(i, request) for i in self.S}
        options.setdefault("round0", Round0.WITH_ROUND_1)
        options["stored"] = self.stored
        return _run(honest, programs, seed, self.suite, "full-sign", tail, options)

    def _full_program(self, j: int, request: SignRequest) -> Program:
        return lambda ctx: presign.full_sign(ctx, self.shares[j], self.aux[j], self.owner, request)

    def stock(self, seed: object = 0) -> dict[int, Presignature]:
        """A fresh presignature of these signers."""
        return dealt_presignature(self.shares, self.S, self.owner.index, seed=seed)

    def made_stock(self, seed: object = 0) -> dict[int, Presignature]:
        """A fresh one out of a real run, with its transcript."""
        return {j: clone(made) for j, made in _presigned(self, seed).items()}

    def tau(self, request: SignRequest) -> int:
        return derive(self.share.X, self.share.chain_code, request.path).tau

    def stock_sign(
        self,
        request: SignRequest,
        presignature: Mapping[int, Presignature] | None = None,
        seed: object = 0,
        *,
        programs: Programs | None = None,
        **options: Any,
    ) -> Outcomes:
        """Sign from stock: the owner promises, proposes, and all run."""
        parts = presignature or self.stock()
        tau = self.tau(request)
        e = parts[self.owner.index].promise(request.digest, request.path, tau, SeededRng(("e", seed)))
        honest = {j: self._stock_program(parts[j], request, e) for j in self.S}
        tail = sign.tail(parts[self.owner.index].id, request, tau, self.S, e)
        options.setdefault("round0", Round0.NONE)
        options["stored"] = self.stored
        made = parts[self.owner.index].transcript
        if made is not None and not {"ph", "phs"} & set(options):
            proposed = self._proposal(tail)
            options |= {
                "ph": proposed.body.sid,
                "preimages": (made.preimage,),
                "background": (proposed, *made.messages),
            }
        return _run(honest, programs, seed, self.suite, "sign", tail, options)

    def sign_with_made_stock(self, request: SignRequest, seed: object = 0, **options: Any) -> Outcomes:
        """With all that evidence needs: a presignature out of a real run, and a signed proposal."""
        return self.stock_sign(request, self.made_stock(), seed, **options)

    def _proposal(self, tail: list[Any]) -> Signed:
        """The owner's signed proposal to sign from stock."""
        proposal = Proposal(self.owner, b"c" * 32, "main", sign.KIND, b"r" * 16, tail, None, 1)
        return sign_body(proposal.body(self.suite), identity_of(self.owner).sign)

    def _stock_program(self, part: Presignature, request: SignRequest, e: bytes) -> Program:
        code = self.share.chain_code
        return lambda ctx: sign.stock_sign(ctx, part, code, self.owner, request, e)


@lru_cache(maxsize=64)
def _presigned(signers: Signers, seed: object) -> dict[int, Presignature]:
    made = signers.presign(("stock", seed)).results()
    return {j: presignatures[0] for j, presignatures in made.items()}


def clone(presignature: Presignature) -> Presignature:
    """The same presignature once more, as it was when it was fresh."""
    k, chi = presignature._secrets or (0, 0)
    return Presignature(
        presignature.suite, presignature.me, presignature.public, k, chi, presignature.transcript
    )


def _run(
    honest: Mapping[int, Program],
    programs: Programs | None,
    seed: object,
    suite: Suite,
    kind: str,
    tail: Any,
    options: Mapping[str, Any],
) -> Outcomes:
    """Whoever runs a program of its own cheats. Options beyond the harness's: `dice` {I_j: draws} of honest parties,
    `bodies`, a list that takes what everybody signed in order, `stored`, records that stay as they are byte for byte.
    """
    given = dict(options)
    own = programs or {}
    honest = dict(honest)
    for party, draws in given.pop("dice", {}).items():
        honest[party] = lying(honest[party], rng=loaded(draws))
    bodies = given.pop("bodies", None)
    cheaters = {*given.pop("cheaters", ()), *own}
    programs = {**honest, **own}
    stored = given.pop("stored", ())
    before = [record.to_bytes() for record in stored]
    committee = Committee(
        programs, seed, suite=suite, kind=kind, cheaters=cheaters, **{"tail": tail, **given}
    )
    if bodies is not None:
        record_bodies(committee, bodies)
    outcomes = committee.run()
    assert [record.to_bytes() for record in stored] == before, f"a stored share changed; seed {seed!r}"
    return outcomes


def record_bodies(committee: Committee, bodies: list[Body]) -> None:
    """Put every body that a party of `committee` signs into `bodies`, peer-to-peer ones unsealed."""

    def recording(sign_function: SignFunction) -> SignFunction:
        def recorded(encoded: bytes) -> bytes:
            bodies.append(decode_body(encoded))
            return sign_function(encoded)

        return recorded

    for node in committee.nodes.values():
        node.session._runtime.sign = recording(node.session._runtime.sign)


def said(
    bodies: Iterable[Body],
    party: int,
    round_: int,
    *,
    to: int | None = None,
    kind: Kind = Kind.MSG,
    group: Group = TINY.group,
) -> Any:
    """The value that `party` sent in a round, to all or to one, without the echo in it. Round 0 is the acceptance."""
    (body,) = {
        b.encode(): b
        for b in bodies
        if (b.sender.index, b.round, b.kind, b.to and b.to.index) == (party, round_, kind, to)
    }.values()
    value = decode(body.payload, Anything(group))
    return value[1] if to is None and round_ > 0 else value


def one_signature(results: Mapping[int, Signature]) -> Signature:
    """The signature that everybody holds."""
    (signature,) = set(results.values())
    return signature
