"""Auxiliary information (protocol.md 2.1): everybody's Paillier modulus and ring-Pedersen parameters, proven sound."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import Final

import gmpy2
from gmpy2 import mpz

from tss.cggmp24.completion import complete, new_state
from tss.cggmp24.keygen import xor
from tss.effects import (
    Compute,
    Echo,
    Progress,
    Protocol,
    PublicContext,
    Receive,
    Received,
    Send,
    SessionContext,
)
from tss.encoding import Bytes, Schema, Tuple, Value
from tss.envelope import PartyId
from tss.errors import BadDecommit, BadPedersen, CallerError, PeerFault, SharedPrime, blaming
from tss.paillier import PaillierSecret, check_modulus
from tss.params import Suite
from tss.rand import Rng
from tss.records import AuxPublic, AuxSet
from tss.ring_pedersen import RingPedersen, RingPedersenSecret
from tss.zk import fac, mod, prm
from tss.zk.common import PedersenKey, natural

KIND: Final = "aux"

_MOD_SHARES: Final = 4
"""Jobs that Π^mod is proved in, so that every core has some."""

TakePrimes = Callable[[], tuple[int, int, int, int]]
"""Hands out four safe primes of pb bits that were never used before: p, q_ of N and p, q_ of N^. May block."""


def tail(key_ids: Sequence[bytes] | None) -> list[Value]:
    """What protocol.md 0.7 lists for an aux run: the keys of the accounts that will use it, or none."""
    return [None if key_ids is None else list(key_ids)]


def rounds(suite: Suite) -> tuple[Receive, Receive, Receive]:
    """What is received: V; (N, N^, s, t, psi^prm, rho, u); psi^mod with psi^fac to each."""
    return (
        Receive(1, broadcast=Bytes(32), echo=Echo.BLOCKING),
        Receive(2, broadcast=Tuple(*reveal_schema(suite)), echo=Echo.NEXT),
        Receive(3, broadcast=mod.schema(suite), p2p=fac.schema(suite), echo=Echo.BLOCKING),
    )


def reveal_schema(suite: Suite) -> tuple[Schema, ...]:
    """N, N^, s, t, psi^prm, rho, u."""
    number = natural(suite)
    return number, number, number, number, prm.schema(suite), Bytes(32), Bytes(32)


def aux_info(ctx: SessionContext, take_primes: TakePrimes) -> Protocol[AuxSet]:
    """Make this party's Paillier key and ring-Pedersen parameters and verify everybody else's.

    Raises PeerFault (with the peer), SharedPrime, SessionMismatch.
    """
    suite, i = ctx.suite, ctx.me.index
    round1, round2, round3 = rounds(suite)

    # Round 1
    paillier, pedersen, revealed_i = yield from own_parameters(ctx, take_primes, KIND)
    yield Send(1, broadcast=_commitment(ctx, i, revealed_i))
    committed = yield round1

    # Round 2
    yield Send(2, broadcast=revealed_i)
    revealed = yield round2
    yield Progress("aux: checking the others' parameters")
    yield Compute(
        [partial(check_reveal, ctx, j, committed[j].broadcast, revealed[j].broadcast) for j in ctx.others]
    )
    parties = everybody(ctx.me, revealed_i, {j: revealed[j].broadcast for j in ctx.others})

    # Round 3
    rid = xor([revealed_i[5], *(revealed[j].broadcast[5] for j in ctx.others)])
    psi_mod, psi_fac = yield from prove_moduli(ctx, ctx.others, rid, paillier, parties)
    yield Send(3, broadcast=psi_mod, p2p=psi_fac)
    proofs = yield round3
    yield Progress("aux: checking the others' moduli")
    yield from check_moduli(ctx, rid, parties, pedersen, proofs, KIND)

    aux = AuxSet(suite, aux_id(ctx, rid, parties), i, parties, paillier, pedersen)
    yield from complete(ctx, new_state(ctx, KIND, aux=aux))
    return aux


# -- what refresh and resharing have in common with it -----------------------------------------------------------


def own_parameters(
    ctx: SessionContext, take_primes: TakePrimes, kind: str
) -> Protocol[tuple[PaillierSecret, RingPedersenSecret, list[Value]]]:
    """Round 1: own keys, and what round 2 reveals of them: N, N^, s, t, psi^prm, rho, u."""
    suite = ctx.suite
    yield Progress(f"{kind}: safe primes")
    (primes,) = yield Compute([take_primes])
    yield Progress(f"{kind}: own parameters")
    paillier, (pedersen, psi_prm) = yield Compute(
        [
            partial(PaillierSecret.generate, suite.level, ctx.rng, primes[:2]),
            partial(_own_pedersen, ctx, primes[2:]),
        ]
    )
    own = AuxPublic(paillier.public.N, pedersen.public.N_hat, pedersen.public.s, pedersen.public.t)
    rho_i, u_i = ctx.rng(32), ctx.rng(32)
    return paillier, pedersen, [*own.as_list(), psi_prm.to_value(), rho_i, u_i]


def own_parameters_if_due(
    ctx: SessionContext, take_primes: TakePrimes | None, kind: str
) -> Protocol[tuple[tuple[PaillierSecret, RingPedersenSecret] | None, list[Value]]]:
    """The same for a suite that may do without: then no keys, and rho, u alone.

    Raises CallerError unless `take_primes` is there exactly where the suite needs it.
    """
    if ctx.suite.has_aux != (take_primes is not None):
        raise CallerError("primes are for accounts that need auxiliary information")
    if take_primes is None:
        return None, [ctx.rng(32), ctx.rng(32)]
    paillier, pedersen, revealed_i = yield from own_parameters(ctx, take_primes, kind)
    return (paillier, pedersen), revealed_i


def everybody(
    me: PartyId, own: Sequence[Value], revealed: Mapping[PartyId, Sequence[Value]]
) -> dict[int, AuxPublic]:
    """Everybody's parameters, out of reveals that were checked one by one. Raises SharedPrime."""
    parties = {j.index: AuxPublic(*reveal[:4]) for j, reveal in revealed.items()}
    parties[me.index] = AuxPublic(*own[:4])
    _check_distinct(parties)
    return parties


def prove_moduli(
    ctx: SessionContext,
    others: Sequence[PartyId],
    rid: bytes,
    paillier: PaillierSecret,
    parties: Mapping[int, AuxPublic],
) -> Protocol[tuple[list[Value], dict[PartyId, Value]]]:
    """Round 3: psi^mod for all, psi^fac for each of `others`."""
    suite = ctx.suite
    place = ctx.proof("mod", ctx.me, rid=rid)
    statement = mod.Statement(paillier.public.N)
    ((w, ys),) = yield Compute([partial(mod.begin, suite, place, statement, ctx.rng)])
    shares = [ys[first::_MOD_SHARES] for first in range(_MOD_SHARES)]
    proved = yield Compute(
        [
            *(partial(mod.roots, paillier.own, w, share) for share in shares),
            *(partial(_prove_fac, ctx, j, rid, paillier, parties[j.index]) for j in others),
        ]
    )
    roots, psi_fac = proved[:_MOD_SHARES], proved[_MOD_SHARES:]
    psi_mod = mod.Proof(w, tuple(roots[k % _MOD_SHARES][k // _MOD_SHARES] for k in range(len(ys))))
    return psi_mod.to_value(), {j: psi.to_value() for j, psi in zip(others, psi_fac, strict=True)}


def check_moduli(
    ctx: SessionContext,
    rid: bytes,
    parties: Mapping[int, AuxPublic],
    own: RingPedersenSecret,
    proofs: Mapping[PartyId, Received],
    kind: str,
) -> Protocol[None]:
    """Checks 6 and 7 of everybody who proved: in `proofs`, the broadcast is psi^mod and what was told is psi^fac."""
    faults = yield Compute(
        [
            partial(_round3_faults, ctx, j, rid, parties[j.index].N, own, proof, kind)
            for j, proof in proofs.items()
        ]
    )
    for fault in (*(mod_fault for mod_fault, _ in faults), *(fac_fault for _, fac_fault in faults)):
        if fault is not None:
            raise fault


def aux_id(ctx: PublicContext, rid: bytes, parties: Mapping[int, AuxPublic]) -> bytes:
    """Hc("aux", sid, rid, all (N_j, N^_j, s_j, t_j))."""
    return ctx.hc("aux", ctx.sid, rid, [parties[index].as_list() for index in sorted(parties)])


def _own_pedersen(ctx: SessionContext, primes: tuple[int, int]) -> tuple[RingPedersenSecret, prm.Proof]:
    pedersen = RingPedersenSecret.generate(ctx.suite.level, ctx.rng, primes)
    psi = prm.prove(ctx.suite, ctx.proof("prm", ctx.me), prm.Statement(pedersen.public), pedersen, ctx.rng)
    return pedersen, psi


def _commitment(ctx: PublicContext, i: int, reveal: Sequence[Value]) -> bytes:
    """V_i over N, N^, s, t, psi^prm, rho, u."""
    return ctx.hc("aux-commit", ctx.sid, i, *reveal)


def check_reveal(ctx: PublicContext, j: PartyId, V_j: bytes, reveal: Sequence[Value]) -> None:
    """Checks 1-5 of protocol.md 2.1, in their order."""
    with blaming(j, "aux.r2"):
        # 1
        if V_j != _commitment(ctx, j.index, reveal):
            raise BadDecommit("the reveal does not match the commitment of round 1", check="decommit")
    check_parameters(ctx, j, reveal, KIND)


def check_parameters(ctx: PublicContext, j: PartyId, reveal: Sequence[Value], kind: str) -> None:
    """Checks 2-5, of a reveal that begins with N, N^, s, t, psi^prm."""
    N, N_hat, s, t, psi = reveal[:5]
    level = ctx.suite.level
    with blaming(j, f"{kind}.r2"):
        # 2
        for name, modulus in (("N", N), ("N^", N_hat)):
            with blaming(j, f"{kind}.r2.{name}"):
                check_modulus(modulus, level, name)
        # 3, the part that concerns one party
        if gmpy2.gcd(N, N_hat) != 1:
            raise BadPedersen("N and N^ share a factor", check="gcd")
        # 4
        ring = RingPedersen(N_hat, s, t)
        with blaming(j, f"{kind}.r2.ring-pedersen"):
            ring.check(level)
        # 5
        proof = prm.Proof.from_value(psi)
        prm.verify(ctx.suite, ctx.proof("prm", j), prm.Statement(ring), proof)


def _check_distinct(parties: dict[int, AuxPublic]) -> None:
    """Check 3, the part between parties: nobody knows who copied, so nobody is blamed."""
    for (i, first), (j, second) in combinations(sorted(parties.items()), 2):
        if gmpy2.gcd(first.N * first.N_hat, second.N * second.N_hat) != 1:
            raise SharedPrime(f"the moduli of parties {i} and {j} share a factor")


def _prove_fac(
    ctx: SessionContext, j: PartyId, rid: bytes, paillier: PaillierSecret, verifier: AuxPublic
) -> fac.Proof:
    ring = RingPedersen(verifier.N_hat, verifier.s, verifier.t)
    statement = fac.Statement(paillier.public.N, ring)
    witness = fac.Witness(paillier.p, paillier.q_)
    return fac.prove(ctx.suite, ctx.proof("fac", ctx.me, j, rid), statement, witness, ctx.rng)


def _round3_faults(
    ctx: SessionContext,
    j: PartyId,
    rid: bytes,
    N: mpz,
    own: RingPedersenSecret,
    proofs: Received,
    kind: str = KIND,
) -> tuple[PeerFault | None, PeerFault | None]:
    """What checks 6 and 7 find. 7 comes first: an N without small factors lets 6 test its N-th powers together."""
    fac_fault = _fault(partial(check_fac, ctx, j, ctx.me, rid, N, own, proofs.p2p, kind))
    rng = ctx.rng if fac_fault is None else None
    return _fault(partial(check_mod, ctx, j, rid, N, proofs.broadcast, rng, kind)), fac_fault


def _fault(check: Callable[[], None]) -> PeerFault | None:
    try:
        check()
    except PeerFault as fault:
        return fault
    return None


def check_mod(
    ctx: PublicContext,
    j: PartyId,
    rid: bytes,
    N: mpz,
    value: list[Value],
    rng: Rng | None = None,
    kind: str = KIND,
) -> None:
    """Check 6. With `rng`, for a party that found check 7 to hold, the N-th powers are tested together."""
    with blaming(j, f"{kind}.r3"):
        place, proof = ctx.proof("mod", j, rid=rid), mod.Proof.from_value(value)
        mod.verify(ctx.suite, place, mod.Statement(N), proof, rng)


def check_fac(
    ctx: PublicContext,
    j: PartyId,
    i: PartyId,
    rid: bytes,
    N: mpz,
    ring: PedersenKey,
    value: list[Value],
    kind: str = KIND,
) -> None:
    """Check 7, with the ring-Pedersen parameters `ring` of the verifier i, whose own secret form is faster."""
    with blaming(j, f"{kind}.r3"):
        proof = fac.Proof.from_value(value)
        fac.verify(ctx.suite, ctx.proof("fac", j, i, rid), fac.Statement(N, ring), proof)
